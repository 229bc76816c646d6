"""Looks at a line: what is derived from several instruments, and what a broken one does to it."""

import math
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import pytest

from drivers.errors import InstrumentTimeout
from drivers.roles import Frame, Humidity, Identity
from station.frames import FrameWatch
from station.line import Line
from station.safety import Supervisor, Trip
from station.safety.section import SafetySection
from station.twin.server import Twin

SENSOR = Identity("Sensirion", "SHT85", "1", "", "bus")
BATH = Identity("Julabo", "F32", "1", "", "port")


@dataclass
class Sensor:
    temperature_c: float = 20.0
    humidity_percent: float = 40.0
    answers: bool = True
    identity: Identity = SENSOR

    def read(self) -> Humidity:
        if not self.answers:
            raise InstrumentTimeout("no answer in time", port="bus")
        return Humidity(self.temperature_c, self.humidity_percent)

    def close(self) -> None:
        pass


@dataclass
class Switch:
    is_closed: bool = True

    def closed(self) -> bool:
        return self.is_closed


@dataclass
class Bath:
    temperature_c: float = 15.0
    identity: Identity = BATH

    def bath_c(self) -> float:
        return self.temperature_c

    def setpoint_c(self) -> float:
        return 15.0

    def running(self) -> bool:
        return True


def with_zone(line: Line) -> None:
    zone = {"name": "fixture", "x_mm": (1000.0, 1200.0), "y_mm": (300.0, 500.0), "top_z_mm": 30.0}
    data = line.profile.model_dump()
    data["gantry"]["zones"] = (zone,)
    line.profile = type(line.profile).model_validate(data)


def test_every_role_of_the_line_is_looked_at(line: Line) -> None:
    line.humidity = {"box": Sensor()}
    line.contacts = {"lid": Switch()}
    seen = line.observe()
    assert seen.silent == {}
    roles = {name.removesuffix(".silent_s") for name in seen.values if name.endswith(".silent_s")}
    assert roles == {
        "bias",
        "readout",
        "gantry",
        "gripper",
        "camera",
        "climate.box",
        "contact.lid",
    }
    assert seen.values["contact.lid.closed"] is True
    assert seen.values["gripper.vacuum_on"] is False
    assert seen.values["climate.box.dew_point_c"] == pytest.approx(6.0, abs=0.1)


def test_the_dew_margin_is_that_of_the_coldest_surface_and_the_wettest_reading(line: Line) -> None:
    line.humidity = {"box": Sensor()}
    line.chiller = Bath(15.0)  # type: ignore[assignment]
    seen = line.observe()
    plain_k = 15.0 - float(seen.values["climate.box.dew_point_c"])
    margin_k = float(seen.values["climate.box.dew_margin_k"])
    assert plain_k - 3.0 < margin_k < plain_k - 0.35


@pytest.mark.parametrize("humidity_percent", [math.nan, -1.0, 140.0])
def test_a_humidity_that_cannot_be_leaves_no_margin_that_passes(
    line: Line, humidity_percent: float
) -> None:
    line.humidity = {"box": Sensor(humidity_percent=humidity_percent)}
    assert math.isnan(float(line.observe().values["climate.box.dew_margin_k"]))


def test_a_silent_humidity_sensor_leaves_its_margin_missing(line: Line) -> None:
    line.humidity = {"box": Sensor(answers=False)}
    seen = line.observe()
    assert "climate.box.dew_margin_k" not in seen.values
    assert "bus" in seen.silent["climate.box"]
    assert seen.bias_voltage_v is not None


@pytest.mark.parametrize(
    ("x_mm", "z_mm", "nozzle", "camera"),
    [(1100.0, 10.0, True, True), (1100.0, 50.0, False, False), (950.0, 10.0, False, True)],
)
def test_a_zone_is_entered_by_the_nozzle_or_by_the_camera(
    line: Line, x_mm: float, z_mm: float, nozzle: bool, camera: bool
) -> None:
    with_zone(line)
    values: dict[str, float | bool | str] = {
        "gantry.x_mm": x_mm,
        "gantry.y_mm": 400.0,
        "gantry.z_mm": z_mm,
    }
    line.derive(values)
    assert values["gantry.inside.fixture"] is nozzle
    assert values["camera.inside.fixture"] is camera


def test_a_position_that_is_no_number_counts_as_inside(line: Line) -> None:
    with_zone(line)
    values: dict[str, float | bool | str] = {
        "gantry.x_mm": math.nan,
        "gantry.y_mm": 400.0,
        "gantry.z_mm": 10.0,
    }
    line.derive(values)
    assert values["gantry.inside.fixture"] is True


def rules_of(line: Line, *rules: dict[str, object]) -> SafetySection:
    return SafetySection.model_validate({**line.profile.safety.model_dump(), "rules": rules})


@pytest.mark.parametrize(
    ("rule", "harm", "cause"),
    [
        (
            {"name": "lid", "watch": "contact.lid.closed", "equals": False},
            lambda line, twin: setattr(line.contacts["lid"], "is_closed", False),
            "contact lid closed is false",
        ),
        (
            {"name": "dew", "watch": "climate.box.dew_margin_k", "below": 3.0},
            lambda line, twin: setattr(line.humidity["box"], "humidity_percent", 100.0),
            "climate box dew margin",
        ),
        (
            {
                "name": "tile lost",
                "watch": "gripper.holding",
                "equals": False,
                "when": ({"watch": "gripper.carrying", "equals": True},),
            },
            lambda line, twin: setattr(line, "carried", "tile 7"),
            "gripper holding is false",
        ),
    ],
)
def test_a_rule_of_the_profile_brings_the_bias_down(
    line: Line, twin: Twin, rule: dict[str, object], harm: object, cause: str
) -> None:
    line.humidity = {"box": Sensor()}
    line.contacts = {"lid": Switch()}
    trips: list[Trip] = []
    watch = Supervisor(
        line,
        rules_of(line, rule),
        on_state=lambda state: None,
        on_trip=lambda trip, unverified: trips.append(trip),
    )
    line.switch_bias_on()
    line.ramp_bias(20.0)
    watch.watch_once()
    assert trips == []
    harm(line, twin)  # type: ignore[operator]
    watch.watch_once()
    assert [trip.rule for trip in trips] == [rule["name"]]
    assert cause in trips[0].cause
    assert not twin.bias.output_is_on()


def frame(image: np.ndarray) -> Frame:
    return Frame(image.astype(np.uint8), datetime.now(UTC), 1)


def test_a_camera_that_repeats_itself_to_the_last_pixel_is_frozen() -> None:
    watch = FrameWatch()
    assert not watch.frozen
    assert watch.level is None
    noise = np.random.default_rng(1)
    for _ in range(5):
        watch.saw(frame(noise.integers(0, 255, (64, 64))))
        assert not watch.frozen
    still = noise.integers(0, 255, (64, 64))
    for _ in range(3):
        watch.saw(frame(still))
    assert watch.frozen
    watch.saw(frame(noise.integers(0, 255, (64, 64))))
    assert not watch.frozen


def test_no_dew_margin_passes_while_one_of_the_cold_surfaces_is_not_read(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that does not answer may be the coldest."""
    line.humidity = {"box": Sensor()}
    line.chiller = Bath(15.0)  # type: ignore[assignment]

    def silent() -> float:
        raise InstrumentTimeout("no answer in time", port="chiller")

    monkeypatch.setattr(line.chiller, "bath_c", silent)
    assert "climate.box.dew_margin_k" not in line.observe().values
