"""What a profile says of its instruments reaches their drivers, and a slip is told by its field."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from drivers.clock import RealClock, ScaledClock
from drivers.errors import InstrumentError, WrongInstrument
from drivers.huber import HuberSimulator
from drivers.julabo import JulaboSimulator
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.sensirion import SensirionSimulator, protocol
from drivers.tileboard_tester.protocol import DAC_MAX, MAX_ROCS, BoardConstants
from station import driver_table, instruments
from station.camera_section import CameraSection
from station.profile import SENSIRION_ADDRESSES, ChillerSection, ClimateSection, Profile
from station.profile_file import load_profile
from station.settings import SettingsError
from station.tester_section import TesterSection as BoardTester
from station.twin.server import Twin

EXAMPLE = Path(__file__).parents[2] / "docs" / "line-example.toml"
BOARD = """
[[tester.overvoltages]]
overvoltage_v = 2.0
dac_a = 180
dac_b = 90

[[tester.overvoltages]]
overvoltage_v = 4
dac_a = 120
dac_b = 30

[[tester.thermometers]]
name = "board"
channel = 3
"""


def written(tmp_path: Path, *changes: tuple[str, str], tail: str = "") -> Path:
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    path = tmp_path / "line.toml"
    path.write_text(text + tail, encoding="utf-8")
    return path


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        load_profile(path)
    return str(refused.value)


class Opened:
    """Takes the place of a driver and remembers what it was told."""

    identity = type("Who", (), {"serial": "", "maker": "", "model": ""})()

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        self.arguments, self.settings = arguments, settings

    @classmethod
    def open(cls, *arguments: Any, **settings: Any) -> "Opened":
        return cls(*arguments, **settings)

    def close(self) -> None:
        pass


def test_the_constants_of_a_board_reach_the_tester(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("drivers.tileboard_tester.driver.TileboardTester", Opened)
    path = written(
        tmp_path, ("n_rocs = 2", "n_rocs = 2\nbias_divider = 51.2\npush_port = 8889"), tail=BOARD
    )
    tester = instruments.open_readout(load_profile(path))
    assert tester.settings["push_port"] == 8889
    assert tester.settings["board_constants"] == BoardConstants(
        n_rocs=2,
        overvoltage_dacs={2.0: (180, 90), 4.0: (120, 30)},
        pt1000_channels={"board": 3},
        bias_divider=51.2,
    )
    without = instruments.open_readout(load_profile(EXAMPLE))
    assert without.settings["board_constants"] == BoardConstants(n_rocs=2)


def test_an_overvoltage_of_the_profile_can_be_set_on_the_board(twin: Twin) -> None:
    section = BoardTester.model_validate(
        {
            **twin.profile.tester.model_dump(),
            "overvoltages": [{"overvoltage_v": 2.0, "dac_a": 180, "dac_b": 90}],
            "thermometers": [{"name": "board", "channel": 0}],
        }
    )
    tester = instruments.open_readout(
        twin.profile.model_copy(update={"tester": section}), RealClock()
    )
    try:
        tester.set_overvoltage(2.0)
        assert tester.overvoltage_v() == 2.0
        assert set(tester.temperatures_c()) == {"board"}
    finally:
        tester.close()


@pytest.mark.parametrize(
    ("change", "field", "expected"),
    [
        (("dac_a = 180", "dac_a = 256"), "tester.overvoltages[0].dac_a", "255"),
        (("overvoltage_v = 4", "overvoltage_v = 2"), "tester.overvoltages", "2 V is there twice"),
        (("channel = 3", "channel = 8"), "tester.thermometers[0].channel", "7"),
        (("channel = 3", "chanel = 3"), "tester.thermometers[0].channel", "to be given"),
    ],
)
def test_a_constant_that_no_board_has_is_refused_with_its_line(
    tmp_path: Path, change: tuple[str, str], field: str, expected: str
) -> None:
    path = written(tmp_path, tail=BOARD.replace(*change))
    message = refusal(path)
    assert f" {field}: found " in message
    assert expected in message
    line = int(message.partition("line.toml:")[2].partition(":")[0])
    assert line > len(EXAMPLE.read_text().splitlines())


def test_the_profile_knows_the_limits_of_the_drivers() -> None:
    assert set(SENSIRION_ADDRESSES) == set(protocol.ADDRESSES)
    for n_rocs, dac in ((MAX_ROCS, DAC_MAX), (MAX_ROCS + 1, 0), (1, DAC_MAX + 1)):
        section = {
            "driver": "tileboard_tester",
            "host": "a",
            "data_folder": "b",
            "n_rocs": n_rocs,
            "overvoltages": [{"overvoltage_v": 1.0, "dac_a": dac, "dac_b": 0}],
        }
        if (n_rocs, dac) == (MAX_ROCS, DAC_MAX):
            BoardTester.model_validate(section)
        else:
            with pytest.raises(ValueError, match=r"less than or equal to (2|255)"):
                BoardTester.model_validate(section)


CAMERA = {
    "width_px": 1280,
    "height_px": 1024,
    "mm_per_px": 0.06,
    "mm_per_px_sigma_rel": 1e-3,
    "offset_x_mm": 0,
    "offset_y_mm": 0,
    "working_distance_mm": 100,
}


@pytest.mark.parametrize(
    ("camera", "reaches"),
    [
        (
            {"driver": "basler", "url": "24012345", "exposure_us": 4000, "gain_db": 3},
            {"exposure_us": 4000, "gain_db": 3},
        ),
        (
            {
                "driver": "opencv",
                "url": "/dev/video2",
                "exposure_us": 4000,
                "gain": 12,
                "pixel_format": "YUYV",
                "frames_per_s": 15,
                "latency_frames": 2,
            },
            {
                "exposure_s": pytest.approx(4e-3),
                "gain": 12,
                "pixel_format": "YUYV",
                "frames_per_s": 15,
                "latency_frames": 2,
            },
        ),
        ({"driver": "opencv", "url": "http://10.0.0.7/stream.mjpg"}, {}),
    ],
)
def test_the_settings_of_a_camera_reach_its_driver(
    monkeypatch: pytest.MonkeyPatch, camera: dict[str, object], reaches: dict[str, object]
) -> None:
    section = CameraSection.model_validate(CAMERA | camera)
    row = driver_table.CAMERA_DRIVERS[section.driver]
    monkeypatch.setattr(f"{row.module}.{row.name}", Opened)
    profile = load_profile(EXAMPLE).model_copy(update={"camera": section})
    opened: Any = instruments.open_camera(profile)
    assert opened.arguments == (section.url,)
    del opened.settings["clock"]
    assert opened.settings == {"width_px": 1280, "height_px": 1024, **reaches}


@pytest.mark.parametrize(
    ("camera", "complaint"),
    [
        ({"driver": "basler", "url": "1", "gain": 2}, "belongs to opencv"),
        ({"driver": "basler", "url": "1", "pixel_format": "GREY"}, "belongs to opencv"),
        ({"driver": "opencv", "url": "0", "gain_db": 2}, "belongs to basler"),
        ({"driver": "opencv", "url": "0", "pixel_format": "grey"}, "pattern"),
        ({"driver": "opencv", "url": "http://a/b", "exposure_us": 2}, "in the camera itself"),
        ({"driver": "opencv", "url": "rtsp://a/b"}, "the address of a stream"),
        ({"driver": "opencv", "url": "http:///b"}, "the address of a stream"),
    ],
)
def test_a_setting_that_a_camera_does_not_have_is_refused(
    camera: dict[str, object], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        CameraSection.model_validate(CAMERA | camera)


def two_sensors(bus: str, **expected: str) -> Profile:
    sections = tuple(
        ClimateSection(
            name=name,
            driver="sensirion",
            bus=bus,
            address=address,
            expected_serial=expected.get(name),
        )
        for name, address in (("outside", 0x45), ("box", 0x44))
    )
    return load_profile(EXAMPLE).model_copy(update={"climate": sections})


def test_two_sensors_on_one_bridge_open_and_close_together() -> None:
    bridge = BridgeSimulator(
        {
            0x44: SensirionSimulator(lambda: (5.0, 30.0), RealClock(), serial=0x11),
            0x45: SensirionSimulator(lambda: (21.0, 40.0), RealClock(), serial=0x22),
        }
    )
    bridge.start()
    try:
        sensors = instruments.open_climate(two_sensors(bridge.path))
        assert list(sensors) == ["outside", "box"]
        assert sensors["box"].read().temperature_c == pytest.approx(5.0, abs=0.01)
        sensors["box"].close()
        assert sensors["outside"].read().temperature_c == pytest.approx(21.0, abs=0.01)
        sensors["outside"].close()
        with pytest.raises(WrongInstrument, match="serial 00000011 answers, not X"):
            instruments.open_climate(two_sensors(bridge.path, box="X"))
        del bridge.devices[0x44]
        with pytest.raises(InstrumentError):
            instruments.open_climate(two_sensors(bridge.path))
        # the port was given back each time
        bridge.devices[0x44] = SensirionSimulator(lambda: (6.0, 30.0), RealClock(), serial=0x33)
        for sensor in instruments.open_climate(two_sensors(bridge.path)).values():
            sensor.close()
    finally:
        bridge.stop()


@pytest.mark.parametrize("driver", ["julabo", "huber"])
def test_the_chiller_of_a_profile_is_shown_and_given_back(twin: Twin, driver: str) -> None:
    simulator = {"julabo": JulaboSimulator, "huber": HuberSimulator}[driver](RealClock())
    simulator.start()
    try:
        section = ChillerSection(
            driver=driver,
            port=simulator.path,
            lowest_c=-10,
            highest_c=30,
        )
        profile = twin.profile.model_copy(update={"chiller": section})
        for _ in range(2):
            with ExitStack() as stack:
                line = instruments.connect_line(profile, ScaledClock(200), stack)
                seen = line.observe()
                assert seen.values["chiller.bath_c"] == pytest.approx(22.0, abs=0.5)
                assert seen.values["chiller.running"] is False
                (shown,) = [state for state in seen.states if state.role == "chiller"]
                assert shown.state == "stands"
                assert shown.name == line.chiller.identity.model  # type: ignore[union-attr]
    finally:
        simulator.stop()


def test_an_address_that_no_such_sensor_has_is_refused(tmp_path: Path) -> None:
    message = refusal(written(tmp_path, ("address = 0x44", "address = 0x46")))
    assert "climate[0].address" in message
    assert "0x44 or 0x45" in message
