import contextlib
import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import (
    BrokenReply,
    ComplianceTripped,
    InstrumentInterrupted,
    InstrumentRefused,
    InterlockOpen,
    LimitsNotProgrammed,
    RampInterrupted,
    SetpointRefused,
    WrongInstrument,
)
from drivers.keithley2400 import Keithley2400, Keithley2400Simulator, protocol
from drivers.roles import BiasSupply

from ..scripted import scripted_pty


def wait_until(condition):
    ends_at_s = time.monotonic() + 10
    while not condition() and time.monotonic() < ends_at_s:
        time.sleep(0.001)


def test_it_fulfils_the_role_of_a_bias_supply(source):
    supply: BiasSupply = source
    assert supply.identity.model == "MODEL 2400"


def test_another_box_is_refused():
    with (
        scripted_pty([(b"*IDN?\n", b"KEITHLEY INSTRUMENTS INC.,MODEL 2000,1,A\n")]) as (port, _),
        pytest.raises(WrongInstrument, match="MODEL 2000"),
    ):
        Keithley2400.open(port)


def test_a_2450_answers_in_this_language_and_in_no_other(world, clock):
    for language, right in (("SCPI2400", True), ("SCPI", False), ("TSP", False)):
        simulator = Keithley2400Simulator(
            world.current_a, clock=clock, model="MODEL 2450", language=language
        )
        simulator.start()
        if right:
            source = Keithley2400.open(simulator.address, clock=clock)
            source.program_limits(max_voltage_v=50, compliance_a=1e-4)
            source.switch_on()
            source.ramp_to(5, rate_v_per_s=100)
            assert source.read().voltage_v == pytest.approx(5, abs=0.01)
            source.close()
        else:
            with pytest.raises(WrongInstrument, match="keithley2450"):
                Keithley2400.open(simulator.address, clock=clock)
        simulator.stop()


def test_a_2400_is_never_asked_for_a_language_that_it_does_not_know(source, simulator):
    assert source.errors_found == []
    assert not simulator.output_is_on()


@pytest.mark.parametrize(
    ("model", "max_voltage_v", "step_v"),
    [
        ("MODEL 2400", 15, 20),
        ("MODEL 2400", 20.01, 40),
        ("MODEL 2400", 101, 120),
        ("MODEL 2400", 160, 160),
        ("MODEL 2410", 41, 100),
        ("MODEL 2410", 450, 500),
    ],
)
def test_the_protection_is_the_next_step_at_or_above_the_maximum(model, max_voltage_v, step_v):
    assert protocol.MODELS[model].overvoltage_step(max_voltage_v) == step_v


@pytest.mark.parametrize(
    ("max_voltage_v", "compliance_a"), [(161, 1e-4), (50, 0.2), (20, 1.1), (50, 1e-10), (0, 1e-4)]
)
def test_limits_beyond_the_instrument_are_refused(source, max_voltage_v, compliance_a):
    with pytest.raises(SetpointRefused):
        source.program_limits(max_voltage_v=max_voltage_v, compliance_a=compliance_a)
    with pytest.raises(LimitsNotProgrammed):
        source.switch_on()


def test_a_2410_keeps_to_its_21_milliamperes_above_21_volts(world, clock):
    simulator = Keithley2400Simulator(world.current_a, clock=clock, model="MODEL 2410")
    simulator.start()
    source = Keithley2400.open(simulator.address, clock=clock)
    with pytest.raises(SetpointRefused, match=r"0\.021 A at 400 V"):
        source.program_limits(max_voltage_v=400, compliance_a=0.05)
    source.program_limits(max_voltage_v=400, compliance_a=0.02)
    assert simulator.true_limits() == (400, 0.02)
    source.close()
    simulator.stop()


def test_a_ramp_reaches_its_target_and_reads_what_the_load_draws(live, world):
    live.ramp_to(42, rate_v_per_s=20)
    reading = live.read()
    assert reading.set_v == 42
    assert reading.voltage_v == pytest.approx(42, abs=2e-3)
    assert reading.current_a == pytest.approx(world.load(42), rel=2e-3)
    assert reading.output_on
    assert not reading.in_compliance


def test_the_current_limit_interrupts_a_ramp(live, world):
    world.load = lambda v: 1e-5 * v
    with pytest.raises(ComplianceTripped, match=r"on the way to 40 V"):
        live.ramp_to(40, rate_v_per_s=20)
    assert live.read().in_compliance


def test_limits_lost_by_a_power_cut_in_a_ramp_end_it_although_somebody_switches_on(live, simulator):
    @contextlib.contextmanager
    def power_cut_at_10():
        if simulator.true_voltage_v() > 9:
            simulator.power_cycle()
            simulator.press_output_button()
        yield

    with pytest.raises(LimitsNotProgrammed, match="reads back"):
        live.ramp_to(40, rate_v_per_s=20, checkpoint=power_cut_at_10)
    assert simulator.true_voltage_v() == pytest.approx(0, abs=0.1)


def test_a_set_point_turned_by_hand_ends_a_ramp(live, simulator):
    @contextlib.contextmanager
    def turn_at_10():
        if simulator.true_voltage_v() > 9:
            simulator.turn_knob(3)
        yield

    with pytest.raises(RampInterrupted, match="changed it at the front panel"):
        live.ramp_to(40, rate_v_per_s=20, checkpoint=turn_at_10)
    assert simulator.true_voltage_v() < 4


def test_a_step_down_that_would_be_a_step_up_is_not_taken(live, simulator):
    live.ramp_to(20, rate_v_per_s=100)
    steps = 0
    set_voltage = live._setpoint_v

    def turned(exchange):
        nonlocal steps
        steps += 1
        if steps == 3:
            simulator.turn_knob(2)
        return set_voltage(exchange)

    live._setpoint_v = turned
    with pytest.raises(RampInterrupted):
        live.ramp_to(10, rate_v_per_s=20)
    assert simulator.true_voltage_v() < 3


def test_the_output_enable_line_keeps_the_output_off_once_it_is_watched(source, simulator, world):
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    world.output_enabled = False
    source.switch_on()
    source.switch_off()
    simulator.answer(b":OUTP:ENAB ON")
    with pytest.raises(InterlockOpen, match="output-enable"):
        source.switch_on()
    assert not simulator.output_is_on()


def test_an_output_enable_line_that_opens_in_a_ramp_ends_it(source, simulator, world):
    simulator.answer(b":OUTP:ENAB ON")
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.switch_on()

    @contextlib.contextmanager
    def open_at_10():
        yield
        world.output_enabled = simulator.true_voltage_v() < 10

    with pytest.raises(RampInterrupted, match="went off by itself"):
        source.ramp_to(40, rate_v_per_s=20, checkpoint=open_at_10)
    assert not simulator.output_is_on()


def test_a_capacitor_that_charges_slowly_stops_the_ramp_in_compliance(clock):
    simulator = Keithley2400Simulator(lambda v: 1e-9 * v, clock=clock, capacitance_f=2e-3)
    simulator.start()
    source = Keithley2400.open(simulator.address, clock=clock)
    source.program_limits(max_voltage_v=50, compliance_a=1e-5)
    source.switch_on()
    with pytest.raises(ComplianceTripped):
        source.ramp_to(40, rate_v_per_s=20)
    assert simulator.true_voltage_v() < 3
    source.close()
    simulator.stop()


def test_a_voltage_that_nobody_measures_is_measured_before_it_is_told(live, simulator):
    live.ramp_to(10, rate_v_per_s=100)
    simulator.answer(b":SENS:FUNC:CONC OFF;:SENS:FUNC 'CURR'")
    assert live.read().voltage_v == pytest.approx(10, abs=0.01)
    assert simulator.answer(b":SENS:FUNC?").startswith(b'"VOLT:DC","CURR:DC"')


def test_another_programs_reading_format_is_put_right_at_opening(simulator, source, clock):
    simulator.answer(b":FORM:ELEM CURR")
    again = Keithley2400.open(simulator.address, clock=clock) if "TCPIP" in source.port else None
    if again is not None:
        assert simulator.answer(b":FORM:ELEM?") == b"VOLT,CURR,RES,TIME,STAT\n"
        again.leave()


def test_an_overflow_is_refused_instead_of_returned(live, simulator, monkeypatch):
    monkeypatch.setattr(simulator.terminals, "current_a", lambda **_: 5.0)
    with pytest.raises(BrokenReply, match="over its range"):
        live.read()


def test_a_misread_digit_is_noticed_because_the_other_copy_differs(live, simulator):
    for _ in range(3):
        simulator.faults.plan("misread")
        with pytest.raises(BrokenReply):
            live.read()
        assert live.read().set_v == 0


def test_a_ramp_gets_over_a_misread_measurement(live, simulator):
    simulator.faults.plan("misread", after_replies=5)
    live.ramp_to(4, rate_v_per_s=20)
    assert live.read().set_v == 4


@pytest.mark.parametrize("kind", ["lost", "garbled", "truncated", "disconnect", "late", "misread"])
def test_ramping_down_gets_through_a_bad_line(live, simulator, kind):
    live._deadline_s = 0.3
    live.ramp_to(20, rate_v_per_s=100)
    for after in (1, 4, 7):
        simulator.faults.plan(kind, delay_s=0.1, after_replies=after)
    assert not live.ramp_down(rate_v_per_s=20).output_on
    assert not simulator.output_is_on()


def test_a_descent_takes_the_port_from_a_reading_that_hangs(live, simulator):
    live.ramp_to(20, rate_v_per_s=100)
    live._deadline_s = 60
    ended = []

    def hang():
        simulator.faults.plan("lost")
        try:
            live.read()
        except InstrumentInterrupted as error:
            ended.append(error)

    thread = threading.Thread(target=hang, daemon=True)
    thread.start()
    wait_until(live._transport.is_busy)
    assert not live.ramp_down(rate_v_per_s=20).output_on
    thread.join(5)
    assert ended


def test_two_descents_at_once_make_one_that_never_rises(live, simulator):
    live.ramp_to(30, rate_v_per_s=100)
    simulator.terminals.trace.clear()
    threads = [
        threading.Thread(target=live.ramp_down, kwargs={"rate_v_per_s": rate}) for rate in (5, 20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    voltages = [voltage_v for _, voltage_v in simulator.terminals.trace]
    assert max(np.diff(voltages), default=0) <= 1e-6
    assert not simulator.output_is_on()


def test_a_sweep_measures_at_every_point_and_goes_back_to_its_start(live, world, simulator):
    curve = live.sweep(10, 16, 0.25, 0.05)
    assert curve.voltage_v == pytest.approx(np.arange(10, 16.1, 0.25), abs=2e-3)
    assert curve.current_a == pytest.approx([world.load(v) for v in curve.voltage_v], rel=1e-2)
    assert not curve.in_compliance.any()
    assert live.read().set_v == 10
    assert simulator.answer(b":SOUR:VOLT:MODE?;:TRIG:COUN?") == b"FIX;+1.000000E+00\n"


def test_a_sweep_downwards_measures_too(live):
    curve = live.sweep(8, 6, 0.5, 0.1)
    assert curve.voltage_v == pytest.approx([8, 7.5, 7, 6.5, 6], abs=2e-3)
    assert live.read().set_v == 8


def test_a_sweep_ends_at_the_first_point_in_compliance(live, world):
    world.load = lambda v: 1e-5 * v
    curve = live.sweep(5, 20, 0.5, 0.05)
    assert list(curve.in_compliance[:-1]) == [False] * (len(curve.in_compliance) - 1)
    assert curve.in_compliance[-1]
    assert curve.voltage_v[-1] == pytest.approx(10, abs=0.6)
    assert live.read().set_v == 5


@pytest.mark.parametrize(
    ("start", "stop", "step", "delay"),
    [(0, 51, 1, 1), (-1, 10, 1, 1), (0, 10, 0, 1), (0, 10, 2.5, 1), (0, 10, 1, 0.01)],
)
def test_a_sweep_outside_the_limits_is_refused(live, start, stop, step, delay):
    with pytest.raises(SetpointRefused):
        live.sweep(start, stop, step, delay)
    assert live.read().set_v == 0


def test_a_sweep_is_brought_down_from_another_thread_at_once(live, simulator):
    def watch():
        wait_until(lambda: simulator.true_voltage_v() > 12)
        live.ramp_down(rate_v_per_s=20)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    with pytest.raises(RampInterrupted, match="brought down"):
        live.sweep(10, 40, 0.1, 0.02)
    watcher.join(10)
    assert not simulator.output_is_on()
    assert simulator.answer(b":SOUR:VOLT:MODE?") == b"FIX\n"


def test_a_station_that_starts_again_in_the_middle_of_a_sweep_ends_it(clock, world):
    simulator = Keithley2400Simulator(world.current_a, clock=clock)
    simulator.start()
    crashed = Keithley2400.open(simulator.address, clock=clock)
    crashed.program_limits(max_voltage_v=50, compliance_a=1e-4)
    crashed.switch_on()
    crashed.ramp_to(10, rate_v_per_s=100)
    crashed.leave()
    for line in (
        b":SOUR:VOLT:START 10;:SOUR:VOLT:STOP 20;:SOUR:VOLT:STEP 0.1;:SOUR:DEL 5",
        b":TRIG:COUN 100;:SOUR:VOLT:MODE SWE;:INIT",
    ):
        simulator.answer(line)
    restarted = Keithley2400.open(simulator.address, clock=clock)
    restarted.close()
    assert not simulator.output_is_on()
    assert simulator.answer(b":SOUR:VOLT:MODE?") == b"FIX\n"
    simulator.stop()


def test_a_failure_in_a_sweep_ramps_down(live, simulator):
    @contextlib.contextmanager
    def tripped():
        if simulator.true_voltage_v() > 6:
            raise InstrumentRefused("enough", port="")
        yield

    with pytest.raises(InstrumentRefused, match="enough"):
        live.sweep(0, 20, 0.5, 0.05, checkpoint=tripped)
    assert not simulator.output_is_on()


@given(st.binary(max_size=80))
def test_any_bytes_are_readings_or_a_clear_error(reply):
    text = reply.decode("latin-1")
    try:
        readings = protocol.parse_measurements(text, port="p", sent=":READ?")
    except BrokenReply:
        return
    for reading in readings:
        assert abs(reading.voltage_v) < 9e37
        assert abs(reading.current_a) < 9e37


@given(
    st.floats(-1100, 1100),
    st.floats(-1.05, 1.05),
    st.integers(0, 2**24 - 1).map(lambda status: status & ~1),
)
def test_a_reading_survives_the_wire(voltage_v, current_a, status):
    sent = protocol.format_measurement(protocol.Measurement(voltage_v, current_a, status), 12.5)
    (reading,) = protocol.parse_measurements(sent, port="p", sent=":READ?")
    assert reading.voltage_v == pytest.approx(voltage_v, rel=1e-6)
    assert reading.current_a == pytest.approx(current_a, rel=1e-6)
    assert reading.status == pytest.approx(status, abs=0.5 if status < 10**7 else 10)


@pytest.mark.parametrize("bad", ["NAN", "INF", "9.9E37", "+9.910000E+37", "", "1.0.0", "1e", "0x1"])
def test_what_is_no_number_is_never_taken_for_one(bad):
    for reply in (f"{bad},0,0,0,0", f"0,{bad},0,0,0", f"0,0,0,0,{bad}"):
        with pytest.raises(BrokenReply):
            protocol.parse_measurements(reply, port="p", sent=":READ?")
