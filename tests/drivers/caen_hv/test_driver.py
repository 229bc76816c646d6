import contextlib
import itertools
import math
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.caen_hv import BoardSetup, CaenHv, CaenHvSimulator, protocol
from drivers.errors import (
    BrokenReply,
    ComplianceTripped,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    InterlockOpen,
    LimitsNotProgrammed,
    RampInterrupted,
    SetpointRefused,
    WrongInstrument,
)
from drivers.roles import BiasSupply

from ..raw_port import lines
from ..scripted import scripted_pty


def test_it_fulfils_the_role_of_a_bias_supply(supply):
    role: BiasSupply = supply
    assert role.identity.maker == "CAEN"
    assert role.identity.model == "N1470"
    assert role.identity.serial == "00312"


def test_it_works_over_tcp_as_over_a_serial_port(clock, world):
    boards = (BoardSetup("DT5533E", None, (world.current_a,) * 4),)
    simulator = CaenHvSimulator(boards, clock)
    simulator.start()
    supply = CaenHv.open(simulator.tcp_address, channel=3, clock=clock)
    supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
    supply.switch_on()
    supply.ramp_to(40, rate_v_per_s=20)
    assert simulator.channel(None, 3).true_voltage_v() == pytest.approx(40)
    assert simulator.channel(None, 0).true_voltage_v() == 0
    supply.close()
    assert not simulator.output_is_on()
    simulator.stop()


def test_another_box_is_refused():
    session = lines(
        ("$CMD:MON,PAR:BDNAME", "#CMD:OK,VAL:R8033DM"),
        ("$CMD:MON,PAR:BDSNUM", "#CMD:OK,VAL:5"),
        ("$CMD:MON,PAR:BDFREL", "#CMD:OK,VAL:1.0"),
    )
    with (
        scripted_pty(session) as (path, _),
        pytest.raises(WrongInstrument, match="a R8033DM answers, not a CAEN supply"),
    ):
        CaenHv.open(path)


def test_a_supply_that_needs_a_board_number_or_has_none_says_so():
    for model, board, head in (("N1470", None, ""), ("DT5533E", 4, "BD:04,")):
        session = lines(
            (f"${head}CMD:MON,PAR:BDNAME", f"#{head}CMD:OK,VAL:{model}"),
            (f"${head}CMD:MON,PAR:BDSNUM", f"#{head}CMD:OK,VAL:5"),
            (f"${head}CMD:MON,PAR:BDFREL", f"#{head}CMD:OK,VAL:1.0"),
        )
        with (
            scripted_pty(session) as (path, _),
            pytest.raises(WrongInstrument, match=r"board number.*Correct the board"),
        ):
            CaenHv.open(path, board=board)


def test_a_channel_of_the_other_polarity_is_refused(simulator):
    with pytest.raises(WrongInstrument, match=r"polarity -, the profile the other.*screw"):
        CaenHv.open(simulator.address, board=3)


def test_a_channel_that_is_not_there_is_refused(simulator):
    with pytest.raises(InstrumentRefused, match=r"no such channel.*CH:5"):
        CaenHv.open(simulator.address, board=0, channel=5)


def test_a_board_that_is_not_in_the_chain_does_not_answer(simulator):
    with pytest.raises(InstrumentError, match=r"no answer in time.*BD:09"):
        CaenHv.open(simulator.address, board=9, deadline_s=0.2)


@pytest.mark.parametrize("wrong", [{"channel": 8}, {"board": 32}, {"polarity": 0}, {"trip_s": 0}])
def test_arguments_that_no_supply_has_are_refused(simulator, wrong):
    with pytest.raises(ValueError, match=r"channels|boards|polarity|trip"):
        CaenHv.open(simulator.address, **wrong)


@pytest.mark.parametrize(
    ("max_voltage_v", "compliance_a", "error"),
    [
        (0, 1e-4, SetpointRefused),
        (math.nan, 1e-4, SetpointRefused),
        (50, 0, SetpointRefused),
        (50, 1e-9, SetpointRefused),
        (50, 4e-3, InstrumentRefused),
        (600, 1e-4, InstrumentRefused),
    ],
)
def test_limits_beyond_the_channel_are_refused(
    supply, simulator, max_voltage_v, compliance_a, error
):
    with pytest.raises(error):
        supply.program_limits(max_voltage_v=max_voltage_v, compliance_a=compliance_a)
    with pytest.raises(LimitsNotProgrammed):
        supply.switch_on()
    assert not simulator.output_is_on()


def test_limits_are_programmed_in_the_steps_of_the_hardware_on_the_safe_side(supply, simulator):
    supply.program_limits(max_voltage_v=45.2, compliance_a=12.3456e-6)
    channel = simulator.channel()
    assert channel.setting("MAXV") == 46
    assert channel.setting("ISET") == 12.34
    assert channel.setting("TRIP") == 10
    assert channel.power_down == "KILL"


def test_limits_lost_by_a_power_cut_keep_the_output_off(supply, simulator):
    supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
    simulator.power_cycle()
    with pytest.raises(LimitsNotProgrammed, match="reads back"):
        supply.switch_on()
    assert not simulator.output_is_on()


def test_a_ramp_reaches_its_target_and_reads_what_the_load_draws(live, world):
    live.ramp_to(42.5, rate_v_per_s=20)
    reading = live.read()
    assert reading.set_v == 42.5
    assert reading.voltage_v == pytest.approx(42.5)
    assert reading.current_a == pytest.approx(world.load(42.5), abs=1e-9)
    assert reading.output_on


@pytest.mark.parametrize("voltage_v", [50.1, -1, 40.05, 0.01, math.nan, math.inf])
def test_set_points_above_the_limit_or_between_its_steps_are_refused(live, voltage_v):
    with pytest.raises(SetpointRefused):
        live.ramp_to(voltage_v, rate_v_per_s=10)
    assert live.read().set_v == 0


def test_a_slow_ramp_keeps_its_rate_though_its_steps_are_coarse(live, clock):
    began_s = clock.now_s()
    live.ramp_to(1.0, rate_v_per_s=0.3)
    assert clock.now_s() - began_s >= 1.0 / 0.3
    assert live.read().set_v == 1.0


def test_a_negative_channel_has_negative_voltages_and_currents(simulator, clock):
    supply = CaenHv.open(simulator.address, board=3, channel=1, polarity=-1, clock=clock)
    supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
    supply.switch_on()
    supply.ramp_to(-40, rate_v_per_s=50)
    reading = supply.read()
    assert (reading.set_v, reading.voltage_v) == (-40, -40)
    assert reading.current_a < 0
    assert simulator.channel(3, 1).true_voltage_v() == pytest.approx(-40)
    with pytest.raises(SetpointRefused, match="wrong sign"):
        supply.ramp_to(10, rate_v_per_s=10)
    supply.close()
    assert simulator.channel(3, 1).true_voltage_v() == pytest.approx(0)


def test_the_current_limit_interrupts_a_ramp(live, world):
    world.load = lambda v: 1e-5 * v
    with pytest.raises(ComplianceTripped, match=r"on the way to 40 V"):
        live.ramp_to(40, rate_v_per_s=20)
    assert live.read().in_compliance


def test_a_channel_that_stays_at_its_current_limit_trips(live, world, clock, simulator):
    live.ramp_to(20, rate_v_per_s=50)
    world.load = lambda v: 1e-5 * v
    assert live.read().in_compliance
    clock.sleep(11)
    assert not live.output_is_on()
    assert "TRIP" in live.status()
    assert simulator.true_voltage_v() == pytest.approx(0, abs=0.1)
    live.clear_alarms()
    assert "TRIP" not in live.status()


@pytest.mark.parametrize(
    ("happens", "said"),
    [
        (lambda simulator, world: simulator.kill(), "kill signal"),
        (lambda simulator, world: simulator.open_interlock(True), "open interlock"),
        (lambda simulator, world: simulator.channel().hold_off("DIS", hold=True), "front panel"),
        (lambda simulator, world: setattr(world, "temperature_c", 106), "over-temperature"),
        (lambda simulator, world: simulator.channel().switch_off("TRIP"), "trip by over-current"),
    ],
)
def test_what_switches_the_channel_off_is_named(live, simulator, world, happens, said):
    passes = itertools.count()

    @contextlib.contextmanager
    def at_the_third_step():
        if next(passes) == 3:
            happens(simulator, world)
        yield

    with pytest.raises(RampInterrupted, match=rf"went off by itself.*{said}"):
        live.ramp_to(40, rate_v_per_s=20, checkpoint=at_the_third_step)
    assert not simulator.output_is_on()


def test_the_same_bits_mean_other_things_in_other_models(clock, world):
    world.temperature_c = 85
    found = {}
    for model, number in (("N1470", 0), ("DT5533E", None)):
        simulator = CaenHvSimulator(
            (BoardSetup(model, number),), clock, temperature_c=lambda: world.temperature_c
        )
        simulator.start()
        supply = CaenHv.open(simulator.address, board=number, clock=clock)
        found[model] = supply.status()
        supply.leave()
        simulator.stop()
    assert found == {"N1470": frozenset(), "DT5533E": frozenset({"TWARN"})}


def test_a_warning_of_the_temperature_stops_a_rise_and_not_the_way_down(clock, world):
    simulator = CaenHvSimulator(
        (BoardSetup("DT5533E", None),), clock, temperature_c=lambda: world.temperature_c
    )
    simulator.start()
    supply = CaenHv.open(simulator.address, clock=clock)
    supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
    supply.switch_on()
    supply.ramp_to(20, rate_v_per_s=50)
    world.temperature_c = 90
    with pytest.raises(RampInterrupted, match="a warning of its temperature"):
        supply.ramp_to(40, rate_v_per_s=50)
    assert not supply.ramp_down(rate_v_per_s=50).output_on
    supply.close()
    simulator.stop()


def test_an_open_interlock_is_refused_before_switching_on(supply, simulator):
    supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
    assert supply.interlock_closed()
    simulator.open_interlock(True)
    assert not supply.interlock_closed()
    with pytest.raises(InterlockOpen):
        supply.switch_on()
    simulator.open_interlock(False)
    supply.switch_on()


class TestFrontPanelInControl:
    def test_is_said_before_switching_on(self, supply, simulator):
        supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
        simulator.set_local(True)
        with pytest.raises(InstrumentRefused, match=r"front panel has control.*REMOTE"):
            supply.switch_on()

    def test_refuses_the_limits(self, supply, simulator):
        simulator.set_local(True)
        with pytest.raises(InstrumentRefused, match=r"front panel has control \(#BD:00,LOC:ERR\)"):
            supply.program_limits(max_voltage_v=50, compliance_a=1e-4)

    def test_is_said_when_the_way_down_is_barred(self, live, simulator):
        live.ramp_to(20, rate_v_per_s=50)
        simulator.set_local(True)
        with pytest.raises(InstrumentRefused, match=r"front panel has control.*REMOTE"):
            live.ramp_down(rate_v_per_s=50)
        assert simulator.output_is_on()

    def test_that_turns_the_wheel_ends_a_ramp(self, live, simulator):
        passes = itertools.count()

        @contextlib.contextmanager
        def turn():
            if next(passes) == 3:
                simulator.channel().set_by_hand("VSET", 49)
            yield

        with pytest.raises(RampInterrupted, match=r"set-point reads 49\.000 V"):
            live.ramp_to(40, rate_v_per_s=20, checkpoint=turn)


class TestSeveralChannels:
    @pytest.fixture
    def pair(self, simulator, clock):
        pair = CaenHv.open_channels(simulator.address, [(3, 0), (3, 1)], polarity=-1, clock=clock)
        for supply in pair:
            supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
            supply.switch_on()
        yield pair
        simulator.faults.clear()
        for supply in pair:
            supply.close()

    def test_share_one_port_that_closes_with_the_last(self, pair, simulator):
        first, second = pair
        first.close()
        with pytest.raises(InstrumentLost, match="closed"):
            first.read()
        assert second.read().output_on
        second.close()
        CaenHv.open(simulator.address, board=0).leave()

    def test_keep_their_voltages_apart(self, pair, simulator):
        first, second = pair
        threads = [
            threading.Thread(target=first.ramp_to, args=(-20,), kwargs={"rate_v_per_s": 20}),
            threading.Thread(target=second.ramp_to, args=(-31,), kwargs={"rate_v_per_s": 20}),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert simulator.channel(3, 0).true_voltage_v() == pytest.approx(-20)
        assert simulator.channel(3, 1).true_voltage_v() == pytest.approx(-31)
        first.ramp_down(rate_v_per_s=50)
        assert second.read().set_v == -31

    def test_survive_a_late_answer_of_one(self, pair, simulator):
        first, second = pair
        first._deadline_s = 0.2
        simulator.faults.plan("late", delay_s=0.25)
        with pytest.raises(InstrumentError):
            first.read()
        assert second.read().set_v == 0
        assert first.family.name == "N1470"

    def test_that_are_not_all_there_open_none(self, simulator):
        with pytest.raises(InstrumentRefused, match="no such channel"):
            CaenHv.open_channels(simulator.address, [(0, 0), (0, 7)])
        CaenHv.open(simulator.address, board=0).leave()


def test_alarms_of_the_board_are_named(live, simulator):
    assert live.board_alarms() == frozenset()
    simulator.kill()
    assert live.board_alarms() == {"CH0"}


@pytest.mark.parametrize(
    "kind", ["late", "lost", "garbled", "truncated", "duplicated", "misread", "wrong_identity"]
)
@pytest.mark.parametrize("after", [0, 3])
def test_the_way_down_survives_a_broken_reply(live, simulator, kind, after):
    live.ramp_to(40, rate_v_per_s=50)
    live._deadline_s = 0.3
    simulator.faults.plan(kind, delay_s=0.4, after_replies=after)
    with contextlib.suppress(InstrumentError):
        live.ramp_down(rate_v_per_s=50)
    assert not simulator.output_is_on()


@pytest.mark.parametrize(
    ("reply", "value"),
    [("#CMD:OK", None), ("#CMD:OK,VAL:12.34", "12.34"), ("#CMD:OK,VAL:1;2", "1;2")],
)
def test_answers_of_supplies_without_board_numbers_are_read(reply, value):
    assert protocol.parse_reply(reply, board=None, port="p", sent="s") == value


@pytest.mark.parametrize("kind", ["CMD", "CH", "PAR", "VAL", "LOC"])
def test_every_error_is_said_in_words(kind):
    with pytest.raises(InstrumentRefused, match=protocol.ERRORS[kind]):
        protocol.parse_reply(f"#BD:12,{kind}:ERR", board=12, port="p", sent="s")


@pytest.mark.parametrize(
    "reply",
    ["", "#CMD:OK,VAL", "#BD:01,CMD:OK", "#BD:1", "CMD:OK", "#CMD:ER", "#BD:00,CMD:OK,CMD:OK"],
)
def test_what_is_no_answer_of_this_board_is_broken(reply):
    with pytest.raises(BrokenReply):
        protocol.parse_reply(reply, board=0, port="p", sent="s")


def test_bits_without_a_name_are_kept_and_keep_the_output_from_rising():
    bits = protocol.FAMILIES[1].status
    status = protocol.parse_status("16385", bits, port="p", sent="s")
    assert status == {"ON", "bit 14"}
    assert protocol.troubles(status) == ["a flag that is not known (bit 14)"]


@given(st.text(max_size=30), st.sampled_from([None, 0, 7]))
def test_any_reply_is_an_answer_that_stands_there_or_a_clear_error(reply, board):
    try:
        value = protocol.parse_reply(reply, board=board, port="p", sent="s")
    except InstrumentError:
        return
    assert value is None or reply.endswith(f",VAL:{value}")


@given(st.text(max_size=12))
def test_any_words_are_a_number_that_stands_there_or_a_clear_error(words):
    try:
        value = protocol.parse_number(words, port="p", sent="s")
    except BrokenReply:
        return
    assert value == float(words)
    assert math.isfinite(value)
