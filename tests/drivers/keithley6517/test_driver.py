import contextlib
from collections.abc import Generator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.clock import ScaledClock
from drivers.errors import (
    BrokenReply,
    ComplianceTripped,
    InstrumentError,
    InstrumentRefused,
    LimitsNotProgrammed,
    SetpointRefused,
    WrongInstrument,
)
from drivers.keithley6517 import Keithley6517, Keithley6517Simulator, protocol
from drivers.roles import BiasSupply

from ..scripted import scripted_pty


class World:
    def __init__(self) -> None:
        self.interlock_closed = True
        self.load = lambda v: 1e-10 * v

    def current_a(self, voltage_v: float) -> float:
        return self.load(voltage_v)


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock(200)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["tcp", "pty"])
def simulator(request, world, clock) -> Generator[Keithley6517Simulator]:
    simulator = Keithley6517Simulator(
        world.current_a, lambda: world.interlock_closed, clock, link=request.param
    )
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def source(simulator, clock) -> Generator[Keithley6517]:
    source = Keithley6517.open(simulator.address, clock=clock, terminator="LF", pause_s=0)
    yield source
    simulator.faults.clear()
    source.close()


@pytest.fixture
def live(source) -> Keithley6517:
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.switch_on()
    return source


def test_it_fulfils_the_role_of_a_bias_supply(source):
    supply: BiasSupply = source
    assert supply.identity.model == "MODEL 6517B"


def test_another_box_is_refused():
    with (
        scripted_pty([(b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 6487,1,A\n")]) as (port, _),
        pytest.raises(WrongInstrument, match="MODEL 6487"),
    ):
        Keithley6517.open(port, terminator="LF")


@pytest.mark.parametrize(("max_voltage_v", "compliance_a"), [(50, 4e-5), (1001, 1), (200, 1e-4)])
def test_a_current_limit_that_nothing_holds_is_refused_with_what_would_be(
    source, max_voltage_v, compliance_a
):
    with pytest.raises(SetpointRefused) as refused:
        source.program_limits(max_voltage_v=max_voltage_v, compliance_a=compliance_a)
    if max_voltage_v == 50:
        assert "resistor of 1 Mohm lets 5e-05 A through" in str(refused.value)
    with pytest.raises(LimitsNotProgrammed):
        source.switch_on()


@pytest.mark.parametrize(
    ("max_voltage_v", "compliance_a", "holds"),
    [(50, 5e-5, 5e-5), (50, 9e-3, 5e-5), (50, 10e-3, 10e-3), (500, 1e-3, 1e-3)],
)
def test_what_is_accepted_is_held_by_the_hardware(
    source, simulator, max_voltage_v, compliance_a, holds
):
    source.program_limits(max_voltage_v=max_voltage_v, compliance_a=compliance_a)
    limit_v, most_a = simulator.true_limits()
    assert limit_v == max_voltage_v
    assert most_a == pytest.approx(holds)
    assert most_a <= compliance_a


def test_it_measures_picoamperes_once_the_zero_is_corrected(live, world):
    live.ramp_to(40, rate_v_per_s=50)
    reading = live.read()
    assert reading.current_a == pytest.approx(4e-9, rel=2e-3)
    assert reading.set_v == 40
    assert reading.voltage_v == pytest.approx(40 - 4e-9 * 1e6, abs=1e-4)
    assert not reading.in_compliance


def test_the_voltage_told_is_less_by_what_the_resistor_takes(live, world):
    world.load = lambda v: 1e-7 * v
    live.ramp_to(40, rate_v_per_s=50)
    reading = live.read()
    assert reading.voltage_v == pytest.approx(40 / 1.1, rel=1e-3)
    assert reading.current_a == pytest.approx(40 / 1.1 * 1e-7, rel=1e-3)


def test_a_current_at_the_programmed_limit_ends_a_ramp(source, world):
    source.program_limits(max_voltage_v=50, compliance_a=10e-3)
    source.switch_on()
    world.load = lambda v: 1e-3 * v
    with pytest.raises(ComplianceTripped):
        source.ramp_to(40, rate_v_per_s=50)
    assert source.read().in_compliance


def test_limits_lost_by_a_power_cut_in_a_ramp_end_it(live, simulator):
    @contextlib.contextmanager
    def power_cut_at_10():
        if simulator.true_voltage_v() > 9:
            simulator.power_cycle()
            simulator.press_output_button()
        yield

    with pytest.raises(LimitsNotProgrammed, match="reads back"):
        live.ramp_to(40, rate_v_per_s=20, checkpoint=power_cut_at_10)
    assert simulator.true_voltage_v() == pytest.approx(0, abs=0.1)


def test_an_open_interlock_keeps_the_output_off(source, simulator, world):
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    world.interlock_closed = False
    with pytest.raises(InstrumentRefused, match="refuses"):
        source.switch_on()
    assert not simulator.output_is_on()


def test_the_zero_is_not_corrected_under_a_live_output(live):
    with pytest.raises(InstrumentRefused, match="output is on"):
        live.correct_zero()


def test_a_reading_under_zero_check_is_refused_instead_of_returned(live, simulator):
    simulator.answer(b":SYST:ZCH ON")
    with pytest.raises(BrokenReply, match="zero check on"):
        live.read()


def test_an_overflow_is_refused_instead_of_returned(live, world, monkeypatch, simulator):
    monkeypatch.setattr(simulator.terminals, "current_a", lambda: 1.0)
    with pytest.raises(BrokenReply, match="overflow"):
        live.read()


@pytest.mark.parametrize("kind", ["lost", "garbled", "truncated", "disconnect", "misread"])
def test_ramping_down_gets_through_a_bad_line(live, simulator, kind):
    live._deadline_s = 0.3
    live.ramp_to(20, rate_v_per_s=100)
    for after in (1, 4, 7):
        simulator.faults.plan(kind, delay_s=0.1, after_replies=after)
    assert not live.ramp_down(rate_v_per_s=20).output_on
    assert not simulator.output_is_on()


def test_a_sweep_measures_at_every_point(live, world):
    curve = live.sweep(0, 5, 0.5, 0.1)
    assert len(curve.current_a) == 11
    assert curve.current_a[1:] == pytest.approx(
        [world.load(0.5 * k) for k in range(1, 11)], rel=5e-3
    )


def test_opening_leaves_a_live_output_alone_and_closing_ramps_it_down(clock, world):
    simulator = Keithley6517Simulator(world.current_a, clock=clock)
    simulator.start()
    first = Keithley6517.open(simulator.address, clock=clock)
    first.program_limits(max_voltage_v=50, compliance_a=1e-4)
    first.switch_on()
    first.ramp_to(30, rate_v_per_s=100)
    first.leave()
    second = Keithley6517.open(simulator.address, clock=clock)
    assert second.read().voltage_v == pytest.approx(30, abs=0.1)
    second.close()
    assert not simulator.output_is_on()
    assert simulator.true_voltage_v() == pytest.approx(0, abs=0.01)
    simulator.stop()


@given(st.binary(max_size=40))
def test_any_bytes_are_a_current_or_a_clear_error(reply):
    with contextlib.suppress(BrokenReply):
        assert abs(protocol.parse_current(reply.decode("latin-1"), port="", sent="")) < 9e37


@given(st.floats(-0.021, 0.021))
def test_a_current_survives_the_wire_with_and_without_letters(current_a):
    sent = protocol.format_number(current_a)
    for reply in (sent, sent + "NADC", sent + "N"):
        found = protocol.parse_current(reply, port="", sent="")
        assert found == pytest.approx(current_a, rel=1e-6, abs=1e-30)


@pytest.mark.parametrize(
    "bad", ["+9.900000E+37", "+1.0E-09ZADC", "+1.0E-09OADC", "+1.0E-09LADC", "NAN", "", "INF"]
)
def test_what_is_no_valid_current_is_never_taken_for_one(bad):
    with pytest.raises(InstrumentError):
        protocol.parse_current(bad, port="", sent="")
