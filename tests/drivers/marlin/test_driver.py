import math
import threading
import time

import pytest

from drivers.errors import (
    BrokenReply,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    MachineAlarm,
    MotionStopped,
    NotHomed,
    SetpointRefused,
    WrongInstrument,
)
from drivers.faults import WireFault
from drivers.grbl import GrblGantry, GrblSimulator
from drivers.marlin import (
    DUET,
    MARLIN,
    SMOOTHIE,
    MarlinController,
    MarlinGantry,
    MarlinGlueValve,
    MarlinSimulator,
    MarlinVacuumGripper,
    ask_family,
    open_gantry,
    pin_output,
)
from drivers.roles import Gantry, GlueValve, Gripper, Position

from ..scripted import scripted_pty
from .conftest import TRAVEL


def opened(simulator, clock):
    return MarlinGantry.open(simulator.path, clock=clock, travel_mm=TRAVEL)


def moving(gantry, errors, **target):
    """A thread that moves, and tells what it ended in."""

    def move():
        try:
            gantry.move_to(**target)
        except (MotionStopped, MachineAlarm) as error:
            errors.append(error)

    thread = threading.Thread(target=move)
    thread.start()
    while gantry.state() != "Run" and thread.is_alive():
        pass
    return thread


def test_they_fulfil_their_roles(gantry):
    role: Gantry = gantry
    gripper: Gripper = MarlinVacuumGripper(gantry.controller)
    valve: GlueValve = MarlinGlueValve(gantry.controller)
    assert role.travel_mm == TRAVEL
    assert not gripper.holding()
    assert not valve.is_open()


def test_the_identity_tells_firmware_and_dialect(gantry, dialect):
    assert gantry.identity.maker == dialect.firmware
    assert gantry.identity.firmware
    assert gantry.controller.firmware.dialect is dialect


def test_an_unhomed_gantry_neither_moves_nor_tells_a_position(simulator, clock):
    gantry = opened(simulator, clock)
    assert gantry.state() == "Idle"
    with pytest.raises(NotHomed):
        gantry.move_to(10, feed_mm_per_min=600)
    with pytest.raises(NotHomed):
        gantry.position()
    gantry.close()


def test_a_move_returns_on_arrival_and_not_before(gantry, simulator, clock):
    gantry.move_to(100, 100, 20, feed_mm_per_min=12000)
    start_s = clock.now_s()
    gantry.move_to(400, feed_mm_per_min=6000)
    assert clock.now_s() - start_s >= 3
    assert gantry.position() == Position(400, 100, 20)
    assert simulator.true_commanded_position_mm() == pytest.approx((400, 100, 20))


@pytest.mark.parametrize(
    "target", [{"x_mm": -0.001}, {"y_mm": 400.1}, {"z_mm": math.nan}, {"x_mm": math.inf}]
)
def test_a_target_outside_the_travel_is_never_sent(gantry, target):
    with pytest.raises(SetpointRefused, match="travel"):
        gantry.move_to(**target, feed_mm_per_min=600)


@pytest.mark.parametrize("feed", [0, -1, math.nan, math.inf])
def test_a_feed_that_is_none_is_refused(gantry, feed):
    with pytest.raises(SetpointRefused, match="feed"):
        gantry.move_to(z_mm=50, feed_mm_per_min=feed)


@pytest.mark.parametrize("dialect", [MARLIN], indirect=True)
def test_a_feed_that_the_axis_cannot_do_is_refused(gantry):
    with pytest.raises(SetpointRefused, match="3000"):
        gantry.move_to(z_mm=50, feed_mm_per_min=3001)


def test_a_station_that_starts_again_finds_the_machine_as_it_was(gantry, simulator, clock):
    gantry.move_to(123.4, 56.7, 80, feed_mm_per_min=3000)
    gantry.controller._transport.close()
    again = opened(simulator, clock)
    assert again.is_homed()
    assert again.position() == Position(123.4, 56.7, 80)
    again.move_to(10, feed_mm_per_min=6000)
    again.close()


@pytest.mark.parametrize("dialect", [MARLIN, SMOOTHIE], indirect=True)
def test_half_a_line_left_by_a_killed_station_is_never_carried_out(gantry, simulator, clock):
    gantry.move_to(20, 20, 20, feed_mm_per_min=3000)
    number = gantry.controller._expected
    gantry.controller.send_realtime(f"N{number} G1 X100".encode())
    gantry.controller._transport.close()
    again = opened(simulator, clock)
    assert again.position() == Position(20, 20, 20)
    assert simulator.true_commanded_position_mm() == pytest.approx((20, 20, 20))
    again.close()


def test_a_reset_is_noticed_before_the_next_move(gantry, simulator):
    gantry.move_to(50, 50, 50, feed_mm_per_min=3000)
    simulator.brown_out()
    before = simulator.true_commanded_position_mm()
    for _ in range(2):
        with pytest.raises(REFUSED_AFTER_RESTART):
            gantry.move_to(10, feed_mm_per_min=600)
    assert simulator.true_commanded_position_mm() == before
    home_after_restart(gantry)
    gantry.move_to(10, feed_mm_per_min=6000)


REFUSED_AFTER_RESTART = (NotHomed, MachineAlarm, BrokenReply)
"""A banner may also come between a question and its answer."""


def home_after_restart(gantry):
    """A banner that comes late tells of the restart once more."""
    try:
        gantry.home()
    except REFUSED_AFTER_RESTART:
        gantry.home()


@pytest.mark.parametrize("dialect", [MARLIN, SMOOTHIE], indirect=True)
def test_a_reset_whose_banner_was_lost_is_noticed_by_the_line_numbers(gantry, simulator):
    simulator.faults.plan_all([WireFault("lost"), WireFault("lost")])
    simulator.brown_out()
    before = simulator.true_commanded_position_mm()
    while simulator.faults.planned:
        pass
    with pytest.raises((MachineAlarm, NotHomed, BrokenReply)):
        gantry.move_to(10, feed_mm_per_min=600)
    assert simulator.true_commanded_position_mm() == before
    assert not gantry.is_homed()


@pytest.mark.parametrize("dialect", [MARLIN, SMOOTHIE], indirect=True)
def test_a_reset_in_the_middle_of_a_move_ends_it(unhurried):
    simulator, clock = unhurried(20)
    gantry = opened(simulator, clock)
    gantry.home()
    errors = []
    thread = moving(gantry, errors, x_mm=500, feed_mm_per_min=300)
    simulator.brown_out()
    thread.join(10)
    assert len(errors) == 1
    assert "restarted" in str(errors[0])
    assert not gantry.is_homed()
    gantry.close()


def test_a_stop_from_another_thread_ends_a_move_and_the_position_is_not_trusted(unhurried, dialect):
    simulator, clock = unhurried(20)
    gantry = opened(simulator, clock)
    gantry.home()
    errors = []
    thread = moving(gantry, errors, x_mm=500, feed_mm_per_min=300)
    assert 0 <= gantry.position().x_mm < 500
    with pytest.raises(InstrumentRefused, match="moving already"):
        gantry.move_to(10, feed_mm_per_min=300)
    gantry.stop()
    thread.join(10)
    assert [type(error) for error in errors] == [MotionStopped]
    here = simulator.true_commanded_position_mm()
    assert here[0] < 490
    assert simulator.true_commanded_position_mm() == here
    assert gantry.state() == ("Alarm" if dialect.stop_halts else "Idle")
    assert gantry.stops_at_once is (dialect is not DUET)
    gantry.recover()
    assert gantry.state() == "Idle"
    with pytest.raises(NotHomed):
        gantry.position()
    assert simulator.true_commanded_position_mm() == here
    gantry.home()
    gantry.move_to(10, feed_mm_per_min=6000)
    assert simulator.true_commanded_position_mm()[0] == pytest.approx(10)
    gantry.close()


@pytest.mark.parametrize("dialect", [MARLIN], indirect=True)
def test_a_station_that_starts_again_after_a_stop_does_not_trust_the_position(unhurried):
    simulator, clock = unhurried(20)
    gantry = opened(simulator, clock)
    gantry.home()
    thread = moving(gantry, [], x_mm=500, feed_mm_per_min=300)
    gantry.stop()
    thread.join(10)
    gantry.controller._transport.close()
    again = opened(simulator, clock)
    assert not again.is_homed()
    again.close()


def test_a_stop_ends_a_homing(unhurried):
    simulator, clock = unhurried(2)
    gantry = opened(simulator, clock)
    errors = []

    def home():
        try:
            gantry.home()
        except MotionStopped as error:
            errors.append(error)

    thread = threading.Thread(target=home)
    thread.start()
    while not simulator.machine.axes.busy:
        pass
    assert gantry.state() == "Home"
    gantry.stop()
    thread.join(10)
    assert not thread.is_alive()
    assert len(errors) == 1
    gantry.recover()
    assert not gantry.is_homed()
    gantry.close()


def test_a_stop_at_a_standstill_costs_nothing(gantry):
    gantry.stop()
    assert gantry.state() == "Idle"
    gantry.move_to(10, feed_mm_per_min=6000)


@pytest.mark.parametrize("dialect", [MARLIN], indirect=True)
def test_a_killed_controller_says_that_its_reset_button_must_be_pressed(gantry, simulator):
    gantry.controller._deadline_s = 0.2
    gantry.kill()
    with pytest.raises((MachineAlarm, InstrumentTimeout)):
        gantry.home()
    with pytest.raises(InstrumentTimeout, match="reset button"):
        gantry.recover()
    simulator.brown_out()
    gantry.recover()
    gantry.home()


@pytest.mark.parametrize("dialect", [MARLIN, SMOOTHIE], indirect=True)
def test_homing_a_jammed_axis_fails_and_says_so(gantry, simulator):
    gantry.controller._deadline_s = 0.5
    simulator.stick("x")
    with pytest.raises(MachineAlarm, match="halted"):
        gantry.home()
    assert gantry.state() == "Alarm"
    simulator.free("x")
    if simulator.machine.dead:
        simulator.brown_out()
    gantry.recover()
    gantry.home()


def test_a_jammed_axis_stays_while_the_controller_counts_on(gantry, simulator, world):
    gantry.move_to(20, 20, 20, feed_mm_per_min=3000)
    simulator.stick("x")
    gantry.move_to(100, 100, feed_mm_per_min=3000)
    assert gantry.position() == Position(100, 100, 20)
    assert simulator.true_commanded_position_mm() == pytest.approx((20, 100, 20))
    assert world.places[-1] == pytest.approx((20, 100, 20))


def test_lost_steps_are_not_seen_by_the_controller(gantry, simulator):
    gantry.move_to(20, 20, 20, feed_mm_per_min=3000)
    simulator.lose_steps("y", -1.5)
    assert gantry.position() == Position(20, 20, 20)
    assert simulator.true_commanded_position_mm()[1] == pytest.approx(18.5)


def test_touching_the_switches_again_finds_lost_steps(gantry, simulator):
    gantry.move_to(100, 100, 50, feed_mm_per_min=3000)
    deviation = gantry.compare_home()
    assert deviation.mm == pytest.approx((0, 0, 0), abs=deviation.resolution_mm + 0.01)
    simulator.lose_steps("x", 0.7)
    simulator.lose_steps("y", -1.2)
    deviation = gantry.compare_home()
    assert deviation.mm == pytest.approx((-0.7, 1.2, 0), abs=deviation.resolution_mm + 0.01)
    simulator.lose_steps("x", 5)
    with pytest.raises(MotionStopped, match="limit switch"):
        gantry.compare_home()
    gantry.home()
    gantry.move_to(20, feed_mm_per_min=3000)
    assert simulator.true_commanded_position_mm()[0] == pytest.approx(20)


def test_play_delays_an_axis_that_turns_round(clock):
    simulator = MarlinSimulator(MARLIN, clock, backlash_mm=(0.2, 0, 0))
    simulator.start()
    gantry = opened(simulator, clock)
    gantry.home()
    gantry.move_to(100, feed_mm_per_min=3000)
    up = simulator.true_commanded_position_mm()[0]
    gantry.move_to(150, feed_mm_per_min=3000)
    gantry.move_to(100, feed_mm_per_min=3000)
    assert simulator.true_commanded_position_mm()[0] - up == pytest.approx(0.2)
    gantry.close()
    simulator.stop()


@pytest.mark.parametrize("kind", ["garbled", "truncated", "lost", "duplicated", "late"])
@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_bad_reply_never_gives_a_wrong_number(gantry, simulator, kind, after):
    gantry.controller._deadline_s = 0.25
    gantry.move_to(20, 30, 40, feed_mm_per_min=3000)
    simulator.faults.plan(kind, delay_s=0.3 if kind == "late" else 0.02, after_replies=after)
    for _ in range(6):
        try:
            assert gantry.position() == Position(20, 30, 40)
        except (InstrumentTimeout, BrokenReply):
            continue
    assert gantry.position() == Position(20, 30, 40)


def test_a_misread_digit_is_not_believed(gantry, simulator):
    gantry.move_to(20, 30, 40, feed_mm_per_min=3000)
    for where in (0.0, 0.2, 0.4, 0.6):
        simulator.faults.plan("misread", where=where)
        assert gantry.position() == Position(20, 30, 40)


@pytest.mark.parametrize("dialect", [MARLIN, SMOOTHIE], indirect=True)
def test_a_line_that_arrives_garbled_is_sent_again(gantry, simulator, monkeypatch):
    take = simulator._take
    hit = []

    def flip(byte):
        if byte == ord("X") and not hit:
            hit.append(byte)
            byte = ord("Y")
        take(byte)

    monkeypatch.setattr(simulator, "_take", flip)
    gantry.move_to(100, feed_mm_per_min=3000)
    assert hit
    assert simulator.true_commanded_position_mm() == pytest.approx((100, 0, 0))


@pytest.mark.parametrize("dialect", [MARLIN, SMOOTHIE], indirect=True)
def test_a_line_that_always_arrives_garbled_is_given_up(gantry, simulator, monkeypatch):
    take = simulator._take
    monkeypatch.setattr(simulator, "_take", lambda byte: take(ord("Y") if byte == 88 else byte))
    with pytest.raises(BrokenReply, match="garbled 3 times"):
        gantry.move_to(100, feed_mm_per_min=3000)
    assert simulator.true_commanded_position_mm() == pytest.approx((0, 0, 0))


def test_chatter_of_the_firmware_never_counts_as_an_answer(clock):
    simulator = MarlinSimulator(
        MARLIN, clock, reports_temperature_s=50, advanced_ok=True, acknowledges_resend=False
    )
    simulator.start()
    gantry = opened(simulator, clock)
    gantry.home()
    chatter, ends_at_s, k = False, time.monotonic() + 20, 0
    while (k < 20 or not chatter) and time.monotonic() < ends_at_s:
        gantry.move_to(20 + k % 100, feed_mm_per_min=3000)
        assert gantry.position().x_mm == 20 + k % 100
        chatter |= any("T:21.43" in message for message in gantry.controller.messages)
        k += 1
    assert chatter
    gantry.close()
    simulator.stop()


def test_two_threads_never_get_each_others_answers(gantry, simulator):
    wrong = []
    stop = threading.Event()

    def ask_endstops():
        while not stop.is_set():
            state = gantry.state()
            if state == "Idle" and "z_probe" not in gantry.endstops():
                wrong.append(state)

    def ask_position():
        while not stop.is_set():
            here = gantry.position()
            if not -0.03 <= here.x_mm <= 100.03:
                wrong.append(here)

    threads = [threading.Thread(target=ask) for ask in (ask_endstops, ask_position)]
    for thread in threads:
        thread.start()
    for k in range(1, 11):
        gantry.move_to(k * 10, feed_mm_per_min=6000)
        assert gantry.position().x_mm == k * 10
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not wrong


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"FIRMWARE_NAME:Repetier_1.0.4 MACHINE_TYPE:x\nok\n", "Repetier"),
        (b"error:20\r\n", "as GRBL does"),
    ],
)
def test_another_controller_is_refused(answer, complaint):
    dialogue = [(b"N-1 M115*10\n", b"ok\n"), (b"M115\n", answer)]
    with (
        scripted_pty(dialogue) as (path, _),
        pytest.raises(WrongInstrument, match=complaint),
    ):
        MarlinController.open(path, deadline_s=0.2)


@pytest.mark.parametrize("dialect", [MARLIN], indirect=True)
def test_another_controller_that_comes_in_its_place_is_refused(gantry, simulator):
    gantry.controller._deadline_s = 0.3
    simulator.faults.plan_all([WireFault("lost"), WireFault("wrong_identity")])
    with pytest.raises((InstrumentTimeout, BrokenReply)):
        gantry.position()
    with pytest.raises(WrongInstrument, match="another controller"):
        gantry.position()


def test_silence_says_what_to_do(monkeypatch):
    monkeypatch.setattr("drivers.marlin.controller.OPENING_S", 0.2)
    monkeypatch.setattr("drivers.marlin.controller.ASK_AGAIN_S", 0.1)
    with (
        scripted_pty([(b"N-1 M115*10\n", b"")]) as (path, _),
        pytest.raises(InstrumentTimeout, match="reset button"),
    ):
        MarlinController.open(path, deadline_s=0.1)


@pytest.mark.parametrize("dialect", [SMOOTHIE], indirect=True)
def test_a_controller_that_tells_no_travel_needs_one(simulator, clock):
    with pytest.raises(InstrumentRefused, match="site profile"):
        MarlinGantry.open(simulator.path, clock=clock)


@pytest.mark.parametrize("dialect", [MARLIN, DUET], indirect=True)
def test_a_travel_beyond_the_controllers_own_is_refused(simulator, clock):
    with pytest.raises(InstrumentRefused, match="travel"):
        MarlinGantry.open(simulator.path, clock=clock, travel_mm=(601, 400, 120))


def test_a_port_that_vanishes_is_lost(gantry, simulator):
    simulator.stop()
    with pytest.raises(InstrumentLost):
        gantry.position()


@pytest.mark.parametrize("line", ["G" * 91, "G0 X1\nG0 X2", "M117 *"])
def test_lines_that_the_controller_cannot_take_are_refused(controller, line):
    with pytest.raises(ValueError, match="not one line"):
        controller.command(line)


def test_the_gripper_grips_holds_and_releases(controller, simulator, world):
    gripper = MarlinVacuumGripper(controller)
    assert not gripper.vacuum_on()
    gripper.grip()
    assert simulator.output("fan0")
    assert gripper.vacuum_on()
    assert not gripper.holding()
    world.tile_under_nozzle = True
    assert gripper.holding()
    gripper.release()
    assert not simulator.output("fan0")
    assert world.switched == [("fan0", True), ("fan0", False)]


def test_a_vacuum_switch_that_does_not_exist_is_named(controller):
    with pytest.raises(InstrumentRefused, match="'filament'"):
        MarlinVacuumGripper(controller, switch="filament").holding()


def test_the_glue_valve_opens_for_a_time_and_shuts(controller, simulator, clock, world):
    valve = MarlinGlueValve(controller, output=pin_output(7))
    start_s = clock.now_s()
    valve.dispense(2)
    assert clock.now_s() - start_s >= 2
    assert world.switched == [("pin7", True), ("pin7", False)]
    assert not valve.is_open()


def test_a_restart_shuts_the_valve_and_that_is_known(controller, simulator):
    valve = MarlinGlueValve(controller)
    valve._open()
    assert valve.is_open()
    simulator.brown_out()
    assert not simulator.output("fan1")
    try:
        valve.shut()
    except MachineAlarm:
        valve.shut()
    assert not valve.is_open()


@pytest.mark.parametrize(
    ("make", "family", "kind"),
    [
        (GrblSimulator, "grbl", GrblGantry),
        (lambda clock: MarlinSimulator(MARLIN, clock), "marlin", MarlinGantry),
        (lambda clock: MarlinSimulator(SMOOTHIE, clock), "marlin", MarlinGantry),
        (lambda clock: MarlinSimulator(DUET, clock), "marlin", MarlinGantry),
    ],
)
def test_the_family_is_found_by_asking_and_nothing_moves(clock, make, family, kind):
    simulator = make(clock)
    simulator.start()
    before = simulator.true_commanded_position_mm()
    assert ask_family(simulator.path) == family
    gantry = open_gantry(simulator.path, clock=clock, travel_mm=TRAVEL)
    assert isinstance(gantry, kind)
    assert simulator.true_commanded_position_mm() == before
    gantry.close()
    simulator.stop()


def test_something_that_is_no_gantry_is_named(monkeypatch):
    monkeypatch.setattr("drivers.marlin.asking.OPENING_S", 1.0)
    dialogue = [(b"N-1 M115*10\n", b""), (b"M115\n", b"JULABO F25\r\n")]
    with (
        scripted_pty(dialogue) as (path, _),
        pytest.raises(WrongInstrument, match="JULABO"),
    ):
        ask_family(path)
