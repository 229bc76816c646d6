"""Every bias supply of the table, from the lines of a profile to its terminals and back."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drivers.caen_a7585.protocol import Register
from drivers.caen_a7585.simulator import CaenA7585Simulator
from drivers.caen_hv import protocol as caen_hv
from drivers.caen_hv.simulator import CaenHvSimulator
from drivers.clock import ScaledClock
from drivers.errors import SetpointRefused
from drivers.iseg.simulator import IsegSimulator
from drivers.keithley.simulator import Keithley2450Simulator
from drivers.keithley2400.simulator import Keithley2400Simulator
from drivers.keithley6517.simulator import Keithley6517Simulator
from station.driver_table import BIAS_DRIVERS
from station.instruments import open_bias, open_contacts
from station.profile import Profile
from station.profile_file import load_profile
from station.settings import SettingsError

EXAMPLE = Path(__file__).parents[2] / "docs" / "line-example.toml"
CLOCK = ScaledClock(400.0)
COMPLIANCE_A = 2e-3
PANEL_FOR_LID = ('driver = "bias_interlock"', 'driver = "tester_gpio"\nbit = 5')
"""Not every supply tells of an interlock."""
Write = Callable[[str], Path]


def load(voltage_v: float) -> float:
    return 1e-9 * voltage_v


@dataclass(frozen=True)
class Bench:
    """A simulated supply, the lines of the profile that only it has, and what they came to.

    voltage_v: at the terminals that the profile names. told: whether the supply got the settings.
    """

    make: Callable[[], Any]
    lines: str = ""
    voltage_v: Callable[[Any], float] = lambda simulator: simulator.true_voltage_v()
    told: Callable[[Any], bool] = lambda simulator: True
    lid: Callable[[Any, bool], object] | None = None


class Lid:
    """A switch on the interlock plug."""

    closed = True

    def __call__(self) -> bool:
        return self.closed

    def turn(self, simulator: Any, closed: bool) -> None:
        self.closed = closed

    def turn_watched(self, simulator: Any, closed: bool) -> None:
        """On a supply that heeds its plug only once it is told to."""
        self.closed = closed
        simulator.answer(b":OUTP:ENAB ON")


LID = Lid()

BENCHES = {
    "keithley2450": Bench(lambda: Keithley2450Simulator(load, LID, CLOCK), lid=LID.turn),
    "keithley2400": Bench(
        lambda: Keithley2400Simulator(load, LID, CLOCK, link="pty", terminator=b"\r"),
        'terminator = "CR"\nterminals = "FRON"\nbaud = 19200',
        lid=LID.turn_watched,
    ),
    "keithley6517": Bench(
        lambda: Keithley6517Simulator(load, clock=CLOCK, link="pty", terminator=b"\n"),
        'terminator = "LF"\npause_s = 0.0',
    ),
    "caen_a7585": Bench(
        lambda: CaenA7585Simulator(load, clock=CLOCK),
        "max_temperature_c = 60.0\n"
        "compensation = { coefficient_mv_per_c = -35.0, sensor = [0.0, 50.0, 0.0] }",
        told=lambda simulator: (
            simulator.register(Register.MAX_C) == 60.0
            and simulator.register(Register.TEMPERATURE_COEFFICIENT) == -35.0
        ),
    ),
    "caen_hv": Bench(
        lambda: CaenHvSimulator(clock=CLOCK),
        "channel = 0\nboard = 0\ntrip_s = 2.5",
        told=lambda simulator: simulator.channel().setting(caen_hv.TRIP_TIME) == 2.5,
        lid=lambda simulator, closed: simulator.open_interlock(not closed),
    ),
    "iseg": Bench(
        lambda: IsegSimulator((load, load), CLOCK, series="standard"),
        "channel = 2\ntrip_step_a = 1.0e-9",
        voltage_v=lambda simulator: simulator.channel(2).true_voltage_v(),
        told=lambda simulator: simulator.channel(2).trip_a == pytest.approx(COMPLIANCE_A),
        lid=lambda simulator, closed: simulator.channel(2).inhibit(not closed),
    ),
}


@pytest.fixture
def written(tmp_path: Path) -> Write:
    """The example with another bias section, as a file."""

    def write(section: str) -> Path:
        text = EXAMPLE.read_text(encoding="utf-8")
        text = re.sub(r"\[bias\].*?(?=\n\[tester\])", f"[bias]\n{section}\n", text, flags=re.S)
        text = text.replace(*PANEL_FOR_LID)
        path = tmp_path / "line.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.fixture
def running() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def started(bench: Bench, running: ExitStack) -> Any:
    simulator = bench.make()
    simulator.start()
    running.callback(simulator.stop)
    return simulator


def section(driver: str, address: str, lines: str) -> str:
    return (
        f'driver = "{driver}"\naddress = "{address}"\nmax_voltage_v = 50.0\n'
        f"compliance_a = {COMPLIANCE_A!r}\n{lines}"
    )


def test_every_driver_of_the_table_has_its_bench() -> None:
    assert set(BENCHES) == set(BIAS_DRIVERS)


@pytest.mark.parametrize("driver", BENCHES)
def test_a_supply_opens_from_its_section_and_goes_up_and_down(
    written: Write, running: ExitStack, driver: str
) -> None:
    bench = BENCHES[driver]
    simulator = started(bench, running)
    profile = load_profile(written(section(driver, simulator.address, bench.lines)))
    supply = open_bias(profile, CLOCK)
    running.callback(supply.close)
    assert not simulator.output_is_on()
    supply.program_limits(
        max_voltage_v=profile.bias.max_voltage_v, compliance_a=profile.bias.compliance_a
    )
    assert bench.told(simulator)
    supply.switch_on()
    supply.ramp_to(25.0, rate_v_per_s=profile.bias.ramp_v_per_s)
    assert bench.voltage_v(simulator) == pytest.approx(25.0, abs=0.1)
    off = supply.ramp_down(rate_v_per_s=profile.bias.emergency_ramp_v_per_s)
    assert not off.output_on
    assert not simulator.output_is_on()
    assert abs(bench.voltage_v(simulator)) < 2.0


@pytest.mark.parametrize("driver", BENCHES)
def test_the_interlock_of_a_supply_is_a_contact_where_it_tells_of_it(
    written: Write, running: ExitStack, driver: str
) -> None:
    bench = BENCHES[driver]
    simulator = started(bench, running)
    path = written(section(driver, simulator.address, bench.lines))
    text = path.read_text(encoding="utf-8")
    path.write_text(text.replace(*PANEL_FOR_LID[::-1]), encoding="utf-8")
    if bench.lid is None:
        with pytest.raises(SettingsError, match=f"{driver} does not tell of an interlock"):
            load_profile(path)
        return
    profile = load_profile(path)
    supply = open_bias(profile, CLOCK)
    running.callback(supply.close)
    lid = open_contacts(profile, bias=supply)["lid"]
    for closed in (True, False, True):
        bench.lid(simulator, closed)
        # a line looks at its supply all the time; an iseg shows an inhibit that is over until then
        supply.read()
        assert lid.closed() is closed


def test_a_unit_that_does_not_tell_its_trip_asks_for_the_step(
    written: Write, running: ExitStack
) -> None:
    simulator = started(BENCHES["iseg"], running)
    profile: Profile = load_profile(written(section("iseg", simulator.address, "channel = 2")))
    supply = open_bias(profile, CLOCK)
    running.callback(supply.close)
    with pytest.raises(SetpointRefused, match="current trip") as refused:
        supply.program_limits(max_voltage_v=50.0, compliance_a=COMPLIANCE_A)
    assert "trip_step_a" in refused.value.advice


@pytest.mark.parametrize(
    ("driver", "lines", "field", "expected"),
    [
        ("keithley2450", "trip_s = 2.0", "bias.trip_s", "belongs to caen_hv"),
        ("caen_hv", "channel = 0\ntrip_step_a = 1e-9", "bias.trip_step_a", "belongs to iseg"),
        ("iseg", "channel = 1\nboard = 1", "bias.board", "belongs to caen_hv"),
        ("keithley2400", "pause_s = 0.1", "bias.pause_s", "belongs to keithley6517"),
        ("keithley6517", 'terminals = "REAR"', "bias.terminals", "belongs to keithley2400"),
        ("iseg", "channel = 1\nmax_temperature_c = 60.0", "bias.max_temperature_c", "caen_a7585"),
        (
            "caen_hv",
            "channel = 0\ncompensation = { coefficient_mv_per_c = -35.0 }",
            "bias.compensation",
            "belongs to caen_a7585",
        ),
        ("caen_hv", "channel = 0\ntrip_s = 1001.0", "bias.trip_s", "1000"),
        ("caen_hv", "channel = 0\ntrip_s = 0.0", "bias.trip_s", "greater than 0"),
        ("iseg", "channel = 1\ntrip_step_a = 1.0", "bias.trip_step_a", "0.001"),
        ("caen_a7585", "max_temperature_c = 200.0", "bias.max_temperature_c", "105"),
        ("caen_a7585", "compensation = {}", "bias.compensation.coefficient_mv_per_c", ""),
        ("caen_a7585", "polarity = -1", "bias.polarity", "positive voltages only"),
        ("keithley6517", "pause_s = 2.0", "bias.pause_s", "1"),
        ("keithley2400", 'terminator = "LFCR"', "bias.terminator", "CR"),
    ],
)
def test_a_setting_that_the_supply_does_not_take_is_refused_with_its_line(
    written: Write, driver: str, lines: str, field: str, expected: str
) -> None:
    path = written(section(driver, "/dev/ttyUSB7", lines))
    with pytest.raises(SettingsError) as refused:
        load_profile(path)
    (problem,) = refused.value.problems
    assert problem.field == field
    assert problem.line is not None
    found = path.read_text(encoding="utf-8").splitlines()[problem.line - 1]
    assert found.startswith(field.split(".")[1])
    assert expected in str(problem)
