import contextlib
import itertools
import math
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from drivers.clock import ScaledClock
from drivers.errors import (
    BrokenReply,
    ComplianceTripped,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    InterlockOpen,
    LimitsNotProgrammed,
    RampInterrupted,
    SetpointRefused,
    WrongInstrument,
)
from drivers.keithley import Keithley2450, Keithley2450Simulator, protocol
from drivers.roles import BiasSupply
from drivers.transport import VisaTransport

from ..scripted import scripted_socket


def test_it_fulfils_the_role_of_a_bias_supply(source):
    supply: BiasSupply = source
    assert supply.identity.model == "MODEL 2450"
    assert supply.identity.port.startswith("TCPIP::127.0.0.1::")


@pytest.mark.parametrize("language", ["SCPI2400", "TSP"])
def test_another_command_set_is_refused_with_advice(language):
    with (
        scripted_socket([(b"*LANG?\n", language.encode() + b"\n")]) as (address, peer),
        pytest.raises(WrongInstrument, match=rf"{language}.*Command Set, SCPI"),
    ):
        Keithley2450.open(address)
    peer.check()


def test_another_box_is_refused():
    dialogue = [
        (b"*LANG?\n", b"SCPI\n"),
        (b"*IDN?\n", b"KEITHLEY INSTRUMENTS,MODEL 2461,04412026,1.7.12b\n"),
    ]
    with (
        scripted_socket(dialogue) as (address, _),
        pytest.raises(WrongInstrument, match="MODEL 2461"),
    ):
        Keithley2450.open(address)


def test_an_address_where_nobody_listens_says_so_and_names_it():
    with pytest.raises(InstrumentLost, match=r"TCPIP::127\.0\.0\.1::1::SOCKET"):
        Keithley2450.open("TCPIP::127.0.0.1::1::SOCKET")


def test_the_output_stays_off_without_programmed_limits(source, simulator):
    with pytest.raises(LimitsNotProgrammed):
        source.switch_on()
    assert not simulator.output_is_on()


def test_limits_lost_by_a_power_cut_keep_the_output_off(source, simulator):
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    simulator.power_cycle()
    with pytest.raises(LimitsNotProgrammed, match="reads back"):
        source.switch_on()
    with pytest.raises(LimitsNotProgrammed):
        source.switch_on()
    assert not simulator.output_is_on()


def test_limits_are_not_changed_under_a_live_output(live):
    with pytest.raises(InstrumentRefused, match="output is on"):
        live.program_limits(max_voltage_v=50, compliance_a=1e-3)


@pytest.mark.parametrize(
    ("max_voltage_v", "step"),
    [(0.5, "PROT2"), (20, "PROT20"), (20.01, "PROT40"), (50, "PROT60"), (180, "PROT180")],
)
def test_the_protection_is_the_next_step_at_or_above_the_maximum(max_voltage_v, step):
    assert protocol.overvoltage_step(max_voltage_v) == step


@pytest.mark.parametrize(
    ("max_voltage_v", "compliance_a"),
    [
        (0, 1e-4),
        (-50, 1e-4),
        (math.nan, 1e-4),
        (math.inf, 1e-4),
        (181, 1e-4),
        (50, 0),
        (50, math.nan),
        (50, 0.2),
        (20, 1.06),
    ],
)
def test_limits_beyond_the_instrument_are_refused(source, max_voltage_v, compliance_a):
    with pytest.raises(SetpointRefused):
        source.program_limits(max_voltage_v=max_voltage_v, compliance_a=compliance_a)
    with pytest.raises(LimitsNotProgrammed):
        source.switch_on()


def test_a_ramp_reaches_its_target_and_reads_what_the_load_draws(live, world, free):
    live.ramp_to(42, rate_v_per_s=10, checkpoint=free)
    reading = live.read()
    assert reading.set_v == 42
    assert reading.voltage_v == pytest.approx(42, abs=2e-3)
    assert reading.current_a == pytest.approx(world.load(42), rel=2e-3)
    assert reading.output_on
    assert not reading.in_compliance


def test_a_ramp_is_never_faster_than_asked(simulator, world, clock, free):
    written = []
    load = world.load
    world.load = lambda v: written.append((clock.now_s(), v)) or load(v)
    source = Keithley2450.open(simulator.address, clock=clock)
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.switch_on()
    start_s = clock.now_s()
    source.ramp_to(36, rate_v_per_s=12, checkpoint=free)
    assert clock.now_s() - start_s >= 36 / 12
    voltages = [v for _, v in written]
    steps = [b - a for a, b in itertools.pairwise(voltages)]
    assert max(steps) <= 12 * 0.1 + 1e-6
    source.close()


def test_every_rising_step_is_inside_a_checkpoint_and_falling_ones_need_none(live):
    entered = 0

    @contextlib.contextmanager
    def count():
        nonlocal entered
        entered += 1
        yield

    live.ramp_to(10, rate_v_per_s=10, checkpoint=count)
    assert entered == 10
    live.ramp_to(5, rate_v_per_s=10, checkpoint=count)
    assert entered == 10


def test_a_checkpoint_that_raises_stops_the_ramp_where_it_is(live):
    class TrippedError(Exception):
        pass

    passes = iter(range(3))

    @contextlib.contextmanager
    def three_then_trip():
        if next(passes, None) is None:
            raise TrippedError
        yield

    with pytest.raises(TrippedError):
        live.ramp_to(10, rate_v_per_s=10, checkpoint=three_then_trip)
    assert live.read().set_v == pytest.approx(3)


def test_the_current_limit_interrupts_a_ramp_and_names_the_reading(live, world, free):
    world.load = lambda v: 1e-5 * v
    with pytest.raises(ComplianceTripped, match=r"on the way to 40 V.*(9\.99|1\.?0*).*A at") as hit:
        live.ramp_to(40, rate_v_per_s=20, checkpoint=free)
    assert isinstance(hit.value, RampInterrupted)
    reading = live.read()
    assert reading.in_compliance
    assert reading.voltage_v == pytest.approx(10, abs=0.01)
    assert reading.set_v < 14


def test_a_source_in_compliance_goes_down_but_not_up(live, world, free):
    live.ramp_to(30, rate_v_per_s=50, checkpoint=free)
    world.load = lambda v: 1e-5 * v
    with pytest.raises(ComplianceTripped):
        live.ramp_to(31, rate_v_per_s=50, checkpoint=free)
    assert live.read().set_v == 30
    live.ramp_to(5, rate_v_per_s=50, checkpoint=free)
    assert not live.read().in_compliance


def test_above_37_volts_an_open_interlock_is_refused_before_the_first_step(live, world, free):
    world.interlock_closed = False
    with pytest.raises(InterlockOpen, match="interlock"):
        live.ramp_to(40, rate_v_per_s=50, checkpoint=free)
    assert live.read().set_v == 0
    live.ramp_to(37, rate_v_per_s=50, checkpoint=free)


def test_an_interlock_that_opens_in_a_ramp_ends_it(live, world):
    @contextlib.contextmanager
    def open_the_lid_at_41():
        yield
        if live.read().set_v > 41:
            world.interlock_closed = False

    with pytest.raises(RampInterrupted, match="interlock"):
        live.ramp_to(44, rate_v_per_s=10, checkpoint=open_the_lid_at_41)
    assert not live.output_is_on()


def test_a_button_pressed_at_the_front_panel_ends_a_ramp(live, simulator):
    @contextlib.contextmanager
    def press():
        yield
        simulator.press_output_button()

    with pytest.raises(RampInterrupted, match="went off by itself"):
        live.ramp_to(20, rate_v_per_s=10, checkpoint=press)


@pytest.mark.parametrize("way_down", ["ramp_down", "switch_off"])
def test_a_ramp_never_rises_again_after_another_thread_brought_the_supply_down(live, way_down):
    act = {"ramp_down": lambda: live.ramp_down(rate_v_per_s=100), "switch_off": live.switch_off}
    heights = []

    @contextlib.contextmanager
    def bring_it_down_at_5():
        heights.append(live.read().set_v)
        if heights[-1] >= 5:
            thread = threading.Thread(target=act[way_down])
            thread.start()
            thread.join(10)
        yield

    with pytest.raises(RampInterrupted, match="brought down"):
        live.ramp_to(20, rate_v_per_s=10, checkpoint=bring_it_down_at_5)
    reading = live.read()
    assert not reading.output_on
    assert reading.set_v <= 5


def test_a_ramp_with_the_output_off_is_refused(source, free):
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    with pytest.raises(InstrumentRefused, match="output is off"):
        source.ramp_to(10, rate_v_per_s=10, checkpoint=free)


@pytest.mark.parametrize("rate", [0, -1, math.nan, math.inf])
def test_a_ramp_without_a_positive_rate_is_refused(live, free, rate):
    with pytest.raises(SetpointRefused):
        live.ramp_to(10, rate_v_per_s=rate, checkpoint=free)
    with pytest.raises(SetpointRefused):
        live.ramp_down(rate_v_per_s=rate)


@given(
    st.one_of(
        st.floats(allow_nan=True, allow_infinity=True).filter(lambda v: not 0 <= v <= 50),
        st.floats(50, 51, exclude_min=True),
        st.floats(-1, 0, exclude_max=True).filter(lambda v: v < 0),
    )
)
@example(math.nextafter(50, math.inf))
@example(-5e-324)
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_set_point_outside_the_limits_never_reaches_the_instrument(live, free, voltage_v):
    with pytest.raises(SetpointRefused):
        live.ramp_to(voltage_v, rate_v_per_s=100, checkpoint=free)
    assert live.read().set_v == 0


@given(st.floats(0, 50))
@example(50.0)
@example(0.0)
@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_set_point_inside_the_limits_is_set_as_asked(live, world, free, voltage_v):
    world.load = lambda v: 1e-8 * v
    live.ramp_to(voltage_v, rate_v_per_s=100, checkpoint=free)
    assert live.read().set_v == pytest.approx(voltage_v, rel=1e-6, abs=1e-12)


def test_a_negative_supply_takes_negative_voltages_only(simulator, clock, free):
    source = Keithley2450.open(simulator.address, clock=clock, polarity=-1)
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.switch_on()
    source.ramp_to(-20, rate_v_per_s=50, checkpoint=free)
    assert source.read().voltage_v == pytest.approx(-20, abs=0.01)
    with pytest.raises(SetpointRefused, match="wrong sign"):
        source.ramp_to(20, rate_v_per_s=50, checkpoint=free)
    source.close()
    assert not simulator.output_is_on()


def test_opening_leaves_a_live_output_alone_and_ramps_it_down_from_where_it_is(
    simulator, clock, free
):
    crashed = Keithley2450.open(simulator.address, clock=clock)
    crashed.program_limits(max_voltage_v=50, compliance_a=1e-4)
    crashed.switch_on()
    crashed.ramp_to(42, rate_v_per_s=50, checkpoint=free)
    crashed._transport.close()

    restarted = Keithley2450.open(simulator.address, clock=clock)
    assert restarted.read().voltage_v == pytest.approx(42, abs=0.01)
    with pytest.raises(LimitsNotProgrammed):
        restarted.ramp_to(43, rate_v_per_s=50, checkpoint=free)
    start_s = clock.now_s()
    reading = restarted.ramp_down(rate_v_per_s=20)
    assert clock.now_s() - start_s >= 2
    assert (reading.output_on, reading.set_v) == (False, 0)
    assert simulator.true_voltage_v() == pytest.approx(0, abs=0.01)
    restarted.close()


def test_closing_ramps_down(live, simulator, free):
    live.ramp_to(20, rate_v_per_s=100, checkpoint=free)
    live.close()
    assert not simulator.output_is_on()


def test_ramping_down_what_is_off_leaves_the_set_point_at_zero(source):
    reading = source.ramp_down(rate_v_per_s=10)
    assert (reading.output_on, reading.set_v) == (False, 0)


def test_ramping_down_a_current_source_switches_it_off(simulator, clock):
    transport = VisaTransport(simulator.address)
    transport.write(":SOUR:FUNC CURR", deadline_s=1)
    transport.write(":OUTP ON", deadline_s=1)
    transport.close()
    source = Keithley2450.open(simulator.address, clock=clock)
    assert source.output_is_on()
    assert not source.ramp_down(rate_v_per_s=10).output_on
    source.close()


@pytest.mark.parametrize("kind", ["lost", "garbled", "truncated", "disconnect", "late"])
def test_ramping_down_gets_through_a_bad_line(live, simulator, free, kind):
    live._deadline_s = 0.15
    live.ramp_to(20, rate_v_per_s=100, checkpoint=free)
    for after in (1, 4, 7):
        simulator.faults.plan(kind, delay_s=0.2, after_replies=after)
    reading = live.ramp_down(rate_v_per_s=20)
    assert not reading.output_on
    assert not simulator.output_is_on()


@pytest.mark.parametrize("lost", ["output_is_on", "_walk_down"])
def test_the_output_goes_off_although_its_state_or_a_step_is_lost(
    live, simulator, free, monkeypatch, lost
):
    live.ramp_to(20, rate_v_per_s=100, checkpoint=free)

    def silent(*_):
        raise InstrumentTimeout("no answer", port=live.port)

    monkeypatch.setattr(live, lost, silent)
    assert not live.ramp_down(rate_v_per_s=100).output_on
    assert not simulator.output_is_on()


def test_an_output_that_does_not_go_off_is_reported():
    stuck = [(b":OUTP OFF\n", b""), (b":SYST:ERR?\n", b'0,"No error;0;0 0"\n')]
    opening = [
        (b"*LANG?\n", b"SCPI\n"),
        (b"*IDN?\n", b"KEITHLEY INSTRUMENTS,MODEL 2450,1,1\n"),
        (b":SYST:ERR?\n", b'0,"No error;0;0 0"\n'),
    ]
    asked = [(b":OUTP?\n", b"1\n")] * 2
    with scripted_socket([*opening, *stuck, *asked]) as (address, _):
        source = Keithley2450.open(address)
        with pytest.raises(InstrumentRefused, match="front panel"):
            source.switch_off()
        source._transport.close()


def test_a_late_answer_is_never_taken_for_the_next_one(source, simulator):
    source._deadline_s = 0.1
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    for _ in range(3):
        simulator.faults.plan("late", delay_s=0.15)
        with pytest.raises(InstrumentTimeout):
            source.output_is_on()
        assert source.read().set_v == 0
        assert source.output_is_on() is False


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("lost", InstrumentTimeout),
        ("truncated", InstrumentTimeout),
        ("garbled", BrokenReply),
        ("disconnect", InstrumentLost),
    ],
)
def test_a_bad_reply_is_an_error_and_the_next_question_is_answered(source, simulator, kind, error):
    source._deadline_s = 0.1
    simulator.faults.plan(kind)
    with pytest.raises(error):
        source.read()
    assert source.read().output_on is False


def test_a_reading_that_overflows_is_refused_instead_of_returned(source, world):
    world.load = lambda v: 9.9e37
    with pytest.raises(BrokenReply, match="overflow"):
        source.read()


def test_another_instrument_behind_the_address_after_a_reconnect_is_refused(clock):
    first = Keithley2450Simulator(lambda v: 0.0, clock=clock)
    first.start()
    source = Keithley2450.open(first.address, clock=clock)
    first.stop()
    port = int(first.address.split("::")[2])
    other = Keithley2450Simulator(
        lambda v: 0.0,
        clock=clock,
        port=port,
        identity="KEITHLEY INSTRUMENTS,MODEL 2450,99999999,1.7.12b",
    )
    other.start()
    with pytest.raises(InstrumentError):
        source.read()
    with pytest.raises(WrongInstrument, match="99999999"):
        source.read()
    source._transport.close()
    other.stop()


def test_a_refused_command_quotes_code_text_and_what_was_sent(source):
    with (
        source._transaction() as exchange,
        pytest.raises(InstrumentRefused, match=r"-113 Undefined header.*:SENS:CURR:PROT 1e-4"),
    ):
        source._command(exchange, ":SENS:CURR:PROT 1e-4")


def test_errors_of_an_earlier_client_are_kept_apart_and_do_not_blame_the_next_command(
    simulator, clock
):
    transport = VisaTransport(simulator.address)
    transport.write(":NONSENSE", deadline_s=1)
    transport.write(":SOUR:VOLT 999", deadline_s=1)
    transport.close()
    source = Keithley2450.open(simulator.address, clock=clock)
    assert [error.code for error in source.errors_found] == [-113, -222]
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.close()


def test_a_silent_instrument_costs_no_more_than_its_deadline(simulator):
    source = Keithley2450.open(simulator.address, clock=ScaledClock(500), deadline_s=0.05)
    simulator.faults.plan("lost")
    with pytest.raises(InstrumentTimeout, match="retry"):
        source.output_is_on()
    source.close()
