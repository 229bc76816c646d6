import contextlib
import itertools
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentInterrupted,
    InstrumentLost,
    InstrumentRefused,
    InterlockOpen,
    LimitsNotProgrammed,
    RampInterrupted,
    SetpointRefused,
    WrongInstrument,
)
from drivers.iseg import HardwareLimits, Iseg, IsegSimulator, protocol
from drivers.roles import BiasSupply

from ..scripted import scripted_pty


def test_it_fulfils_the_role_of_a_bias_supply(supply):
    role: BiasSupply = supply
    assert role.identity.maker == "iseg"
    assert role.identity.serial == "484216"


@pytest.mark.parametrize("series", ["precision", "standard"])
@pytest.mark.parametrize("variant", [{}, {"blank_lines": True}, {"bare_status": True}])
def test_units_of_either_series_and_firmware_ramp_up_and_down(clock, world, series, variant):
    simulator = IsegSimulator((world.current_a,) * 2, clock, series=series, **variant)
    simulator.start()
    supply = Iseg.open(simulator.address, channel=2, clock=clock, trip_step_a=1e-9)
    supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
    supply.switch_on()
    supply.ramp_to(42, rate_v_per_s=20)
    reading = supply.read()
    assert (reading.set_v, reading.voltage_v) == (42, 42)
    assert reading.current_a == pytest.approx(world.load(42), abs=1e-9)
    assert simulator.channel(2).true_voltage_v() == 42
    off = supply.ramp_down(rate_v_per_s=20)
    assert not off.output_on
    assert abs(off.voltage_v) < 2
    supply.close()
    assert not simulator.output_is_on()
    simulator.stop()


def test_a_box_that_does_not_echo_is_refused():
    with (
        scripted_pty([(b"\r\n", b""), (b"#", b"?")]) as (path, _),
        pytest.raises(BrokenReply, match=r"echoes b'\?' after character 1, b'#'"),
    ):
        Iseg.open(path)


def test_a_box_that_says_nothing_is_refused_soon():
    with (
        scripted_pty([(b"\r\n", b""), (b"#", b"")]) as (path, _),
        pytest.raises(BrokenReply, match="echoes b''"),
    ):
        Iseg.open(path)


def test_the_other_polarity_is_refused(simulator):
    with pytest.raises(WrongInstrument, match=r"other polarity.*turn the switch"):
        Iseg.open(simulator.address, polarity=-1)


def test_a_negative_channel_has_negative_voltages_and_currents(clock, world):
    simulator = IsegSimulator((lambda v: 1e-6 * v,), clock, positive=False)
    simulator.start()
    supply = Iseg.open(simulator.address, polarity=-1, clock=clock)
    supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
    supply.switch_on()
    supply.ramp_to(-40.5, rate_v_per_s=50)
    reading = supply.read()
    assert (reading.set_v, reading.voltage_v) == (-40.5, -40.5)
    assert reading.current_a == pytest.approx(-40.5e-6)
    assert simulator.true_voltage_v() == -40.5
    with pytest.raises(SetpointRefused, match="wrong sign"):
        supply.ramp_to(10, rate_v_per_s=10)
    supply.close()
    simulator.stop()


@pytest.mark.parametrize("wrong", [{"channel": 3}, {"polarity": 2}, {"trip_step_a": 0}])
def test_arguments_that_no_unit_has_are_refused(simulator, wrong):
    with pytest.raises(ValueError, match=r"channel|polarity|step"):
        Iseg.open(simulator.address, **wrong)


class TestSwitchesAtTheUnit:
    def test_above_the_maximum_that_is_asked_for_are_refused_with_advice(self, supply, simulator):
        with pytest.raises(
            LimitsNotProgrammed, match=r"stands at 50 V, above the maximum of 45 V.*Turn the Vmax"
        ):
            supply.program_limits(max_voltage_v=45, compliance_a=1e-3)
        with pytest.raises(LimitsNotProgrammed):
            supply.switch_on()
        assert supply.hardware_limits == HardwareLimits(50, 0.01)

    def test_below_it_are_taken_and_hold_for_the_set_points(self, supply, simulator):
        simulator.channel().voltage_percent = 30
        supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
        assert supply.hardware_limits == HardwareLimits(30, 0.01)
        supply.switch_on()
        supply.ramp_to(30, rate_v_per_s=50)
        with pytest.raises(SetpointRefused, match="above the switch of the channel at 30 V"):
            supply.ramp_to(30.1, rate_v_per_s=50)

    def test_turned_up_on_the_way_end_the_ramp(self, live, simulator):
        passes = itertools.count()

        @contextlib.contextmanager
        def turn_up():
            if next(passes) == 3:
                simulator.channel().voltage_percent = 100
            yield

        with pytest.raises(LimitsNotProgrammed, match="stands at 100 V"):
            live.ramp_to(40, rate_v_per_s=20, checkpoint=turn_up)

    def test_turned_down_on_the_way_end_the_ramp_and_leave_no_set_point(self, live, simulator):
        passes = itertools.count()

        @contextlib.contextmanager
        def turn_down():
            if next(passes) == 6:
                simulator.channel().voltage_percent = 10
            yield

        with pytest.raises(InstrumentRefused, match=r"above its limit \(\? UMAX=0010\)"):
            live.ramp_to(40, rate_v_per_s=20, checkpoint=turn_down)
        assert simulator.channel().setpoint_v == 0


@pytest.mark.parametrize(
    ("max_voltage_v", "compliance_a"),
    [(0, 1e-3), (math.nan, 1e-3), (50, 0), (50, math.nan), (50, 0.011), (50, 1e-10)],
)
def test_limits_beyond_the_unit_are_refused(supply, simulator, max_voltage_v, compliance_a):
    with pytest.raises(SetpointRefused):
        supply.program_limits(max_voltage_v=max_voltage_v, compliance_a=compliance_a)
    with pytest.raises(LimitsNotProgrammed):
        supply.switch_on()
    assert not simulator.output_is_on()


def test_a_unit_that_does_not_tell_its_count_needs_to_be_told(clock):
    simulator = IsegSimulator(clock=clock, series="standard")
    simulator.start()
    supply = Iseg.open(simulator.address, clock=clock)
    with pytest.raises(SetpointRefused, match=r"count of its current trip.*Give trip_step_a"):
        supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
    supply.close()
    simulator.stop()


def test_the_trip_is_the_count_at_or_below_the_compliance(supply, simulator):
    supply.program_limits(max_voltage_v=50, compliance_a=123.4567891e-6)
    assert simulator.channel().trip_a == pytest.approx(123.456e-6)


def test_autostart_is_switched_off_and_the_status_not_read_while_it_is_on(clock, world):
    simulator = IsegSimulator((world.current_a,), clock)
    simulator.channel().save_autostart(8)
    simulator.channel().store_by_hand(40)
    simulator.channel().inhibit(True)
    simulator.channel().inhibit(False)
    simulator.start()
    supply = Iseg.open(simulator.address, clock=clock)
    supply.read()
    assert simulator.true_voltage_v() == 0
    supply.ramp_down(rate_v_per_s=20)
    supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
    assert simulator.channel().ask("A") == "000"
    supply.close()
    simulator.stop()


@pytest.mark.parametrize("voltage_v", [50.1, -1, 40.05, math.nan])
def test_set_points_above_the_limit_or_between_its_steps_are_refused(live, voltage_v):
    with pytest.raises(SetpointRefused):
        live.ramp_to(voltage_v, rate_v_per_s=10)
    assert live.read().set_v == 0


def test_an_output_that_stands_when_the_station_starts_is_brought_down(simulator, clock):
    channel = simulator.channel()
    channel.store_by_hand(40)
    channel.order("V", "255")
    channel.ask("G")
    clock.sleep(1)
    supply = Iseg.open(simulator.address, clock=clock)
    reading = supply.read()
    assert reading.output_on
    assert reading.voltage_v == 40
    supply.close()
    assert not simulator.output_is_on()


def test_a_voltage_whose_set_point_was_taken_away_still_counts_as_on(simulator, clock):
    channel = simulator.channel()
    channel.store_by_hand(40)
    channel.order("V", "255")
    channel.ask("G")
    clock.sleep(1)
    channel.store_by_hand(0)
    supply = Iseg.open(simulator.address, clock=clock)
    assert supply.output_is_on()
    supply.switch_off()
    clock.sleep(1)
    assert not simulator.output_is_on()
    supply.close()


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (lambda simulator, world: setattr(world, "load", lambda v: 1e-2 * v), "current trip"),
        (lambda simulator, world: simulator.channel().inhibit(True), "inhibit"),
        (lambda simulator, world: simulator.press_output_button(), "front panel"),
    ],
)
def test_what_shuts_the_output_off_is_named(live, simulator, world, happens, said):
    passes = itertools.count()

    @contextlib.contextmanager
    def at_the_third_step():
        if next(passes) == 3:
            happens(simulator, world)
        yield

    with pytest.raises(RampInterrupted, match=rf"went off by itself.*{said}"):
        live.ramp_to(40, rate_v_per_s=20, checkpoint=at_the_third_step)


def test_a_current_above_its_switch_is_told_as_a_limit(supply, simulator, world):
    simulator.channel().current_percent = 5
    supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
    supply.switch_on()
    world.load = lambda v: 2e-5 * v
    with pytest.raises(RampInterrupted, match="current limit was reached on the way to 40 V"):
        supply.ramp_to(40, rate_v_per_s=20)
    assert supply.read().in_compliance
    assert simulator.true_voltage_v() == pytest.approx(25, abs=0.1)


def test_a_hand_on_the_knob_ends_a_ramp_and_is_named_when_it_bars_the_way_down(live, simulator):
    passes = itertools.count()

    @contextlib.contextmanager
    def take():
        if next(passes) == 3:
            simulator.channel().take_control(45.0)
        yield

    with pytest.raises(RampInterrupted, match=r"MAN \(the front panel has control\)"):
        live.ramp_to(40, rate_v_per_s=20, checkpoint=take)
    with pytest.raises(InstrumentRefused, match=r"does not switch off.*front panel"):
        live.ramp_down(rate_v_per_s=50)
    simulator.channel().take_control(None)
    live.ramp_down(rate_v_per_s=50)


@pytest.mark.parametrize(
    ("prevents", "error", "said"),
    [
        (lambda channel: channel.inhibit(True), InterlockOpen, "inhibit"),
        (lambda channel: channel.turn_switch(on=False), InstrumentRefused, "channel is off"),
        (lambda channel: channel.take_control(0.0), InstrumentRefused, "knob has control"),
        (lambda channel: setattr(channel, "positive", False), WrongInstrument, "polarity"),
    ],
)
def test_what_prevents_an_output_is_said_before_switching_on(
    supply, simulator, prevents, error, said
):
    supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
    prevents(simulator.channel())
    with pytest.raises(error, match=said):
        supply.switch_on()
    simulator.channel().positive = True


def test_the_inhibit_input_is_an_interlock_that_can_be_asked(supply, simulator):
    assert supply.interlock_closed()
    simulator.channel().inhibit(True)
    assert not supply.interlock_closed()


def test_both_channels_share_a_port(simulator, clock):
    first, second = Iseg.open_channels(simulator.address, clock=clock)
    for supply, voltage_v in ((first, 20), (second, 31)):
        supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
        supply.switch_on()
        supply.ramp_to(voltage_v, rate_v_per_s=50)
    first.close()
    assert simulator.channel(1).true_voltage_v() == pytest.approx(0, abs=0.1)
    assert second.read().voltage_v == 31
    with pytest.raises(InstrumentLost):
        first.read()
    second.close()
    Iseg.open(simulator.address).leave()


@pytest.mark.parametrize(
    "kind", ["late", "lost", "garbled", "duplicated", "misread", "wrong_identity"]
)
@pytest.mark.parametrize("after", [0, 1, 4, 5, 17])
def test_the_way_down_survives_a_broken_echo_or_answer(live, simulator, clock, kind, after):
    live.ramp_to(40, rate_v_per_s=50)
    live._deadline_s = 0.6
    simulator.faults.plan(kind, delay_s=0.5, after_replies=after)
    with contextlib.suppress(InstrumentError):
        live.ramp_down(rate_v_per_s=50)
    clock.sleep(1)
    assert not simulator.output_is_on()


@pytest.mark.parametrize("kind", ["late", "lost", "garbled", "duplicated"])
def test_after_a_broken_echo_no_answer_reaches_another_question(live, simulator, kind):
    live.ramp_to(30, rate_v_per_s=50)
    simulator.faults.plan(kind, delay_s=0.5, after_replies=1)
    with contextlib.suppress(InstrumentError):
        live.read()
    for _ in range(3):
        with contextlib.suppress(BrokenReply):
            reading = live.read()
            assert (reading.set_v, reading.voltage_v) == (30, 30)


def test_a_transaction_that_waits_for_an_echo_can_be_broken_off(live, simulator):
    simulator.faults.plan("lost")
    broken_off = []

    def ask():
        try:
            live.read()
        except InstrumentInterrupted:
            broken_off.append(True)

    thread = threading.Thread(target=ask)
    thread.start()
    while not live._transport.is_busy():
        pass
    live.interrupt()
    thread.join(5)
    assert broken_off == [True]
    assert live.read().set_v == 0


@pytest.mark.parametrize(
    ("reply", "value", "step"),
    [
        ("-01234-01", -123.4, 0.1),
        ("+12345-01", 1234.5, 0.1),
        ("+00500-02", 5.0, 0.01),
        ("+1234", 1234, 1),
        ("-0050", -50, 1),
        ("00123+01", 1230, 10),
        ("40.5", 40.5, 0.1),
        ("40.25", 40.25, 0.01),
    ],
)
def test_voltages_are_read_exactly(reply, value, step):
    reading = protocol.parse_voltage(reply, port="p", sent="s")
    assert reading.value == value
    assert reading.step == pytest.approx(step)


@pytest.mark.parametrize("reply", ["", "+", "1234-", "12 34", "1e3", "nan", "--12", "12.5-01", "²"])
def test_what_is_no_voltage_is_broken(reply):
    with pytest.raises(BrokenReply, match="no voltage"):
        protocol.parse_voltage(reply, port="p", sent="s")


def test_currents_need_an_exponent():
    assert protocol.parse_current("12345-09", port="p", sent="s").value == 12.345e-6
    with pytest.raises(BrokenReply, match="no current"):
        protocol.parse_current("12345", port="p", sent="s")


@pytest.mark.parametrize(
    ("reply", "unit"),
    [
        ("484216;3.06;3000V;4mA", protocol.Unit("484216", "3.06", 3000, 4e-3)),
        ("481198;2.06;8kV;1mA", protocol.Unit("481198", "2.06", 8000, 1e-3)),
        ("000012;1.1;500V;500uA", protocol.Unit("000012", "1.1", 500, 500e-6)),
    ],
)
def test_units_are_read(reply, unit):
    assert protocol.parse_unit(reply, port="p", sent="s") == unit


@pytest.mark.parametrize(
    ("reply", "word"), [("S1=ON ", "ON"), ("ON ", "ON"), ("S1=L2H", "L2H"), ("TRP", "TRP")]
)
def test_status_words_come_with_or_without_their_channel(reply, word):
    assert protocol.parse_status(reply, 1, port="p", sent="s") == word


@pytest.mark.parametrize("reply", ["S2=ON ", "S1=", "", "on", "S1=ONE"])
def test_the_status_of_another_channel_is_broken(reply):
    with pytest.raises(BrokenReply, match="no status of channel 1"):
        protocol.parse_status(reply, 1, port="p", sent="s")


@pytest.mark.parametrize(
    ("reply", "error", "said"),
    [
        ("????", InstrumentRefused, "does not know"),
        ("?WCN", InstrumentRefused, "no such channel"),
        ("? UMAX=5600", InstrumentRefused, "above its limit"),
        ("? UMAX@=5600", InstrumentRefused, "above its limit"),
        ("?UMAX=5600", InstrumentRefused, "above its limit"),
        ("?TOT", BrokenReply, "begun anew"),
        ("?XYZ", BrokenReply, "not known"),
    ],
)
def test_every_error_is_said_in_words(reply, error, said):
    with pytest.raises(error, match=said):
        protocol.check_error(reply, port="p", sent="s")


@given(st.text(max_size=14))
def test_any_reply_is_a_number_that_stands_there_or_a_clear_error(reply):
    for parse in (protocol.parse_voltage, protocol.parse_current):
        try:
            value = parse(reply, port="p", sent="s").value
        except BrokenReply:
            continue
        sign = -1 if reply.startswith("-") else 1
        digits = reply.lstrip("+-")
        cut = max(digits.find("-"), digits.find("+"))
        mantissa, exponent = (digits, "0") if cut < 0 else (digits[:cut], digits[cut:])
        assert value == pytest.approx(sign * float(mantissa) * 10.0 ** int(exponent), rel=1e-12)


@given(st.text(max_size=30))
def test_any_identity_is_a_unit_or_a_clear_error(reply):
    try:
        unit = protocol.parse_unit(reply, port="p", sent="s")
    except BrokenReply:
        return
    assert reply.startswith(f"{unit.number};{unit.firmware};")
