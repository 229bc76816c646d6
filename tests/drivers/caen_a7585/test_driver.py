import contextlib
import itertools
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.caen_a7585 import (
    CaenA7585,
    CaenA7585Simulator,
    TemperatureCompensation,
    protocol,
)
from drivers.caen_a7585.protocol import Register
from drivers.clock import ScaledClock
from drivers.errors import (
    BrokenReply,
    ComplianceTripped,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    LimitsNotProgrammed,
    RampInterrupted,
    SetpointRefused,
    WrongInstrument,
)
from drivers.roles import BiasSupply


def test_it_fulfils_the_role_of_a_bias_supply(module):
    supply: BiasSupply = module
    assert supply.identity.maker == "Nuclear Instruments"
    assert supply.identity.model == "A7585D"
    assert supply.identity.firmware == "12"


def test_another_box_is_refused_and_named(world, clock):
    simulator = CaenA7585Simulator(world.current_a, clock=clock, product=77)
    simulator.start()
    with pytest.raises(WrongInstrument, match=r"product 77 answers \(Nuclear Instruments A7585D\)"):
        CaenA7585.open(simulator.address)
    simulator.stop()


def test_a_port_that_is_not_there_is_named():
    with pytest.raises(InstrumentLost, match="/dev/no-such-port"):
        CaenA7585.open("/dev/no-such-port")


def test_negative_bias_is_refused_at_once():
    with pytest.raises(ValueError, match="positive voltages only"):
        CaenA7585.open("/dev/no-such-port", polarity=-1)


def test_switches_may_read_as_digits(world, clock):
    simulator = CaenA7585Simulator(world.current_a, clock=clock, flag_words=False)
    simulator.start()
    module = CaenA7585.open(simulator.address, clock=clock)
    module.program_limits(max_voltage_v=50, compliance_a=1e-3)
    module.switch_on()
    assert module.output_is_on()
    module.close()
    assert not simulator.output_is_on()
    simulator.stop()


@pytest.mark.parametrize(
    ("max_voltage_v", "compliance_a"),
    [(19, 1e-3), (86, 1e-3), (math.nan, 1e-3), (50, 0), (50, 0.011), (50, math.nan), (-50, 1e-3)],
)
def test_limits_beyond_the_module_are_refused(module, simulator, max_voltage_v, compliance_a):
    with pytest.raises(SetpointRefused):
        module.program_limits(max_voltage_v=max_voltage_v, compliance_a=compliance_a)
    with pytest.raises(LimitsNotProgrammed):
        module.switch_on()
    assert not simulator.output_is_on()


def test_the_limits_are_in_the_hardware_in_its_units(module, simulator):
    module.program_limits(max_voltage_v=48.5, compliance_a=250e-6)
    assert simulator.register(Register.MAX_V) == 48.5
    assert simulator.register(Register.MAX_MA) == 0.25
    assert simulator.register(Register.MAX_C) == 85


def test_limits_lost_by_a_power_cut_keep_the_output_off(module, simulator):
    module.program_limits(max_voltage_v=50, compliance_a=1e-3)
    simulator.power_cycle()
    with pytest.raises(InstrumentError):
        module.switch_on()
    with pytest.raises(LimitsNotProgrammed):
        module.switch_on()
    assert not simulator.output_is_on()


def test_switching_on_brings_the_terminals_to_the_lowest_voltage_and_no_further(live, simulator):
    assert live.output_is_on()
    assert live.read().set_v == 20
    assert simulator.true_voltage_v() == pytest.approx(20)


@pytest.mark.parametrize("voltage_v", [0, 5, 19.9, -40, 50.1, math.nan, math.inf])
def test_set_points_that_it_has_not_are_refused(live, voltage_v):
    with pytest.raises(SetpointRefused):
        live.ramp_to(voltage_v, rate_v_per_s=10)
    assert live.read().set_v == 20


def test_a_ramp_reaches_its_target_and_reads_what_the_load_draws(live, world):
    live.ramp_to(42.5, rate_v_per_s=10)
    reading = live.read()
    assert reading.set_v == 42.5
    assert reading.voltage_v == pytest.approx(42.5, abs=0.01)
    assert reading.current_a == pytest.approx(world.load(42.5), rel=0.01)
    assert reading.output_on
    assert not reading.in_compliance


def test_the_module_ramps_no_faster_than_asked_by_itself(live, simulator):
    live.ramp_to(25, rate_v_per_s=7)
    assert simulator.register(Register.RAMP_V_PER_S) == 7


def test_ramping_down_passes_twenty_volts_and_ends_with_no_voltage(live, simulator):
    live.ramp_to(40, rate_v_per_s=50)
    off = live.ramp_down(rate_v_per_s=50)
    assert not off.output_on
    assert off.voltage_v < 1
    assert not simulator.output_is_on()
    assert simulator.true_voltage_v() < 1
    assert simulator.register(Register.TARGET_V) == 20


def test_an_output_that_is_on_when_the_station_starts_is_brought_down(simulator, clock):
    simulator.set_by_hand(Register.TARGET_V, 41)
    simulator.press_output_button()
    module = CaenA7585.open(simulator.address, clock=clock)
    assert module.read().output_on
    assert module.read().set_v == 41
    assert not module.ramp_down(rate_v_per_s=20).output_on
    module.close()


def test_an_output_that_follows_the_analog_input_is_switched_off_without_a_walk(simulator, clock):
    simulator.set_by_hand(Register.MODE, protocol.Mode.ANALOG)
    simulator.set_by_hand(Register.TARGET_V, 60)
    simulator.press_output_button()
    module = CaenA7585.open(simulator.address, clock=clock)
    began_s = clock.now_s()
    module.switch_off()
    assert clock.now_s() - began_s < 20
    module.close()
    assert not simulator.output_is_on()


def test_the_current_limit_interrupts_a_ramp(live, world):
    world.load = lambda v: 3e-5 * v
    with pytest.raises(ComplianceTripped, match=r"on the way to 40 V.*A at 33"):
        live.ramp_to(40, rate_v_per_s=20)
    assert live.read().in_compliance
    assert live.read().set_v < 36


def test_a_button_pressed_elsewhere_ends_a_ramp(live, simulator):
    @contextlib.contextmanager
    def press():
        yield
        simulator.press_output_button()

    with pytest.raises(RampInterrupted, match="went off by itself"):
        live.ramp_to(30, rate_v_per_s=10, checkpoint=press)


def test_a_target_changed_elsewhere_ends_a_ramp(live, simulator):
    passes = itertools.count()

    @contextlib.contextmanager
    def meddle():
        if next(passes) == 3:
            simulator.set_by_hand(Register.TARGET_V, 48)
        yield

    with pytest.raises(RampInterrupted, match=r"set-point reads 48\.000 V where 23\.000 V was set"):
        live.ramp_to(40, rate_v_per_s=10, checkpoint=meddle)


def test_a_limit_lowered_elsewhere_ends_a_ramp(live, simulator):
    simulator.set_by_hand(Register.MAX_V, 85)
    with pytest.raises(LimitsNotProgrammed, match="reads back 85 instead of 50"):
        live.ramp_to(40, rate_v_per_s=10)
    assert simulator.true_voltage_v() == pytest.approx(20)


def test_a_module_that_gets_too_hot_ends_a_ramp(simulator, world, clock):
    module = CaenA7585.open(simulator.address, clock=clock, max_temperature_c=50)
    module.program_limits(max_voltage_v=50, compliance_a=1e-3)
    assert simulator.register(Register.MAX_C) == 50
    module.switch_on()

    @contextlib.contextmanager
    def heat():
        world.temperature_c = 51
        yield

    with pytest.raises(RampInterrupted, match=r"went off by itself.*reports 51\.0 C"):
        module.ramp_to(40, rate_v_per_s=10, checkpoint=heat)
    assert module.temperature_c() == 51
    module.close()


def test_the_input_voltage_and_an_emergency_stop_are_there(live, simulator):
    assert live.input_voltage_v() == pytest.approx(5.02)
    live.emergency_stop()
    assert not simulator.output_is_on()


class TestTemperatureCompensation:
    compensation = TemperatureCompensation(-35.0)

    @pytest.fixture
    def warm(self, simulator, world, clock):
        world.temperature_c = 30.0
        module = CaenA7585.open(simulator.address, clock=clock, compensation=self.compensation)
        module.program_limits(max_voltage_v=50, compliance_a=1e-3)
        module.switch_on()
        yield module
        module.close()

    def test_moves_the_output_and_not_the_set_point(self, warm, simulator):
        warm.ramp_to(40, rate_v_per_s=20)
        reading = warm.read()
        assert reading.set_v == 40
        assert reading.voltage_v == pytest.approx(40 + 5 * 0.035, abs=0.01)
        assert simulator.true_voltage_v() == pytest.approx(40.175, abs=0.01)

    def test_follows_a_temperature_that_drifts_during_a_ramp(self, warm, world, simulator):
        @contextlib.contextmanager
        def warm_up():
            world.temperature_c += 0.2
            yield

        warm.ramp_to(40, rate_v_per_s=10, checkpoint=warm_up)
        assert world.temperature_c > 33
        assert simulator.true_voltage_v() == pytest.approx(
            40 + 0.035 * (world.temperature_c - 25), abs=0.02
        )

    def test_that_would_exceed_the_limit_is_refused_before_the_first_step(self, warm, world):
        world.temperature_c = 60.0
        with pytest.raises(SetpointRefused, match=r"49 V means 50\.225 V, above"):
            warm.ramp_to(49, rate_v_per_s=20)
        assert warm.read().set_v == 20

    def test_held_by_the_hardware_limit_ends_the_ramp(self, warm, world, simulator):
        @contextlib.contextmanager
        def heat():
            world.temperature_c = 80.0
            yield

        with pytest.raises(RampInterrupted, match="voltage limit"):
            warm.ramp_to(49.8, rate_v_per_s=20, checkpoint=heat)
        assert simulator.true_voltage_v() <= 50

    def test_switched_off_elsewhere_is_found_before_the_next_step(self, warm, simulator):
        simulator.set_by_hand(Register.MODE, protocol.Mode.DIGITAL)
        with pytest.raises(LimitsNotProgrammed, match=r"\(mode\) reads back 0 instead of 2"):
            warm.ramp_to(40, rate_v_per_s=20)

    def test_left_on_by_somebody_is_switched_off_with_the_limits(self, module, simulator, world):
        world.temperature_c = 45.0
        simulator.set_by_hand(Register.TEMPERATURE_COEFFICIENT, -35)
        simulator.set_by_hand(Register.MODE, protocol.Mode.TEMPERATURE)
        module.program_limits(max_voltage_v=50, compliance_a=1e-3)
        module.switch_on()
        module.ramp_to(40, rate_v_per_s=50)
        assert simulator.true_voltage_v() == pytest.approx(40)


@pytest.mark.parametrize(
    "kind", ["late", "lost", "garbled", "truncated", "duplicated", "misread", "wrong_identity"]
)
@pytest.mark.parametrize("after", [0, 2, 5])
def test_the_way_down_survives_a_broken_reply(live, simulator, kind, after):
    live.ramp_to(40, rate_v_per_s=50)
    live._deadline_s = 0.3
    simulator.faults.plan(kind, delay_s=0.4, after_replies=after)
    with contextlib.suppress(InstrumentError):
        live.ramp_down(rate_v_per_s=50)
    assert not simulator.output_is_on()


def test_the_way_down_survives_a_cable_that_is_pulled_for_a_moment(live, simulator):
    live.ramp_to(40, rate_v_per_s=50)
    simulator.faults.plan("disconnect", delay_s=0.05, after_replies=3)
    live.ramp_down(rate_v_per_s=50)
    assert not simulator.output_is_on()


@pytest.mark.parametrize("kind", ["late", "lost", "garbled", "truncated"])
def test_after_a_broken_reply_in_a_ramp_no_answer_reaches_another_question(live, simulator, kind):
    live._deadline_s = 0.3
    simulator.faults.plan(kind, delay_s=0.4, after_replies=4)
    with contextlib.suppress(InstrumentError):
        live.ramp_to(30, rate_v_per_s=10)
    live._deadline_s = 3.0
    reading = live.read()
    assert 20 <= reading.set_v <= 30
    assert reading.voltage_v == pytest.approx(reading.set_v, abs=0.1)


def test_two_threads_never_get_each_others_answers(live):
    live.ramp_to(30, rate_v_per_s=50)
    wrong = []

    def ask(read, low, high):
        for _ in range(100):
            value = read()
            if not low <= value <= high:
                wrong.append(value)

    threads = [
        threading.Thread(target=ask, args=(live.temperature_c, 25, 25)),
        threading.Thread(target=ask, args=(live.input_voltage_v, 5, 5.1)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert wrong == []


@pytest.mark.parametrize(
    ("reply", "value"),
    [("OK=42.5", 42.5), ("OK=-0.013", -0.013), ("OK=true", 1), ("OK=FALSE", 0), ("OK=1e-3", 1e-3)],
)
def test_values_are_read(reply, value):
    assert protocol.parse_value(reply, port="p", sent="s") == value


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        ("ERROR", InstrumentRefused),
        ("ERR=5", InstrumentRefused),
        ("OK", BrokenReply),
        ("OK=", BrokenReply),
        ("OK=nan", BrokenReply),
        ("OK=inf", BrokenReply),
        ("OK=4 2", BrokenReply),
        ("OK=1_0", BrokenReply),
        ("42.5", BrokenReply),
        ("", BrokenReply),
    ],
)
def test_what_is_no_value_is_quoted(reply, error):
    with pytest.raises(error, match="port p after sending 's'"):
        protocol.parse_value(reply, port="p", sent="s")


@given(st.text(max_size=20))
def test_any_reply_is_a_number_that_stands_in_it_or_a_clear_error(reply):
    try:
        value = protocol.parse_value(reply, port="p", sent="s")
    except InstrumentError:
        return
    words = reply.removeprefix("OK=")
    assert value == (float(words) if words[-1:].isdigit() or words[-1:] == "." else value)
    assert math.isfinite(value)


def test_a_module_in_use_by_another_program_says_so(module, simulator):
    with pytest.raises(InstrumentLost, match="can't open the port"):
        CaenA7585.open(simulator.address, clock=ScaledClock(100))
