import math
import re
import threading

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from drivers.clock import ScaledClock
from drivers.errors import (
    BrokenReply,
    InstrumentInterrupted,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    MachineAlarm,
    MotionStopped,
    NotHomed,
    SetpointRefused,
    WrongInstrument,
)
from drivers.grbl import (
    GrblController,
    GrblGantry,
    GrblGlueValve,
    GrblSimulator,
    GrblVacuumGripper,
    protocol,
)
from drivers.roles import Gantry, GlueValve, Gripper, Position

from ..scripted import scripted_pty

ALARM_REPORT = b"<Alarm|MPos:0.000,0.000,0.000|FS:0,0|WCO:0.000,0.000,0.000>\r\n"
SPOILED = (b"%\n", b"error:9\r\n")


class _Patience:
    """A turn that is never broken off."""

    def remaining_s(self):
        return 1.0

    def check(self):
        pass


class NoticingClock:
    """A fast clock that tells when somebody sleeps on it: between two looks at a moving axis."""

    def __init__(self, speed):
        self._clock = ScaledClock(speed)
        self.slept = threading.Event()

    def now_s(self):
        return self._clock.now_s()

    def sleep(self, duration_s):
        self.slept.set()
        self._clock.sleep(duration_s)


def test_they_fulfil_the_roles_of_gantry_and_gripper(controller):
    gantry: Gantry = GrblGantry(controller)
    gripper: Gripper = GrblVacuumGripper(controller)
    assert gantry.identity.model == "Grbl 1.1"
    assert gantry.travel_mm == (600, 400, 120)
    assert not gripper.holding()


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"[VER:0.9j.20160317:]\r\nok\r\n", "0.9j"),
        (b"error:3\r\n", "does not tell its version"),
    ],
)
def test_another_firmware_is_refused(answer, complaint):
    with (
        scripted_pty([(b"?", ALARM_REPORT), SPOILED, (b"$I\n", answer)]) as (path, _),
        pytest.raises(WrongInstrument, match=complaint),
    ):
        GrblController.open(path, deadline_s=0.2)


def test_something_that_is_no_grbl_is_refused(monkeypatch):
    monkeypatch.setattr("drivers.grbl.controller.OPENING_S", 0.2)
    monkeypatch.setattr("drivers.grbl.controller.ASK_AGAIN_S", 0.1)
    with (
        scripted_pty([(b"?", b"echo: unknown command\r\n"), (b"?", b"")]) as (path, _),
        pytest.raises(InstrumentTimeout, match="no GRBL status report"),
    ):
        GrblController.open(path, deadline_s=0.1)


def test_a_controller_that_reports_inches_is_refused(clock):
    simulator = GrblSimulator(clock, settings={protocol.REPORT_INCHES: 1})
    simulator.start()
    with pytest.raises(WrongInstrument, match=r"inches.*\$13=0"):
        GrblController.open(simulator.path, clock=clock)
    simulator.stop()


def test_an_unhomed_gantry_neither_moves_nor_tells_a_position(controller):
    gantry = GrblGantry(controller)
    assert gantry.state() == "Alarm"
    with pytest.raises(NotHomed):
        gantry.move_to(10, feed_mm_per_min=600)
    with pytest.raises(NotHomed):
        gantry.position()


def test_unlocking_alone_does_not_count_as_homed(controller):
    gantry = GrblGantry(controller)
    gantry.recover()
    assert gantry.state() == "Idle"
    with pytest.raises(NotHomed):
        gantry.move_to(10, feed_mm_per_min=600)


def test_positions_run_from_zero_to_the_travel(gantry, simulator):
    assert gantry.position() == Position(598, 398, 118)
    gantry.move_to(0, 0, 0, feed_mm_per_min=12000)
    assert gantry.position() == Position(0, 0, 0)
    assert simulator.true_commanded_position_mm() == pytest.approx((0, 0, 0), abs=1e-6)
    gantry.move_to(600, 400, 120, feed_mm_per_min=12000)
    assert simulator.true_commanded_position_mm() == pytest.approx((600, 400, 120), abs=1e-6)


def test_an_axis_left_out_stays(gantry):
    gantry.move_to(100, 200, 50, feed_mm_per_min=6000)
    gantry.move_to(y_mm=20, feed_mm_per_min=6000)
    gantry.move_to(feed_mm_per_min=6000)
    assert gantry.position() == Position(100, 20, 50)


def test_a_move_returns_on_arrival_and_not_before(gantry, simulator, clock):
    gantry.move_to(100, 100, 100, feed_mm_per_min=12000)
    start_s = clock.now_s()
    gantry.move_to(400, feed_mm_per_min=6000)
    assert clock.now_s() - start_s >= 3
    assert simulator.true_commanded_position_mm()[0] == pytest.approx(400, abs=1e-6)


@given(
    st.sampled_from(["x_mm", "y_mm", "z_mm"]),
    st.floats(allow_nan=True, allow_infinity=True).filter(lambda v: not 0 <= v <= 600),
)
@example("x_mm", math.nextafter(600, math.inf))
@example("y_mm", 400.001)
@example("z_mm", 120.0001)
@example("x_mm", -1e-9)
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_a_target_outside_the_travel_never_reaches_the_controller(gantry, axis, value):
    with pytest.raises(SetpointRefused, match="travel"):
        gantry.move_to(**{axis: value}, feed_mm_per_min=600)
    assert gantry.controller.last_alarm is None


@pytest.mark.parametrize("feed", [0, -1, math.nan, math.inf, 3001])
def test_a_feed_that_the_axis_cannot_do_is_refused(gantry, feed):
    with pytest.raises(SetpointRefused, match="feed"):
        gantry.move_to(z_mm=50, feed_mm_per_min=feed)


@pytest.mark.parametrize("number", [protocol.HOMING, protocol.SOFT_LIMITS])
def test_a_controller_without_homing_or_soft_limits_does_not_move(clock, number):
    disabled = {protocol.SOFT_LIMITS: 0, number: 0}
    simulator = GrblSimulator(clock, settings=disabled)
    simulator.start()
    gantry = GrblGantry.open(simulator.path, clock=clock)
    with pytest.raises(InstrumentRefused, match=r"\$\d+=1"):
        gantry.home()
    gantry.close()
    simulator.stop()


def test_a_station_that_starts_again_finds_the_machine_as_it_was(simulator, world, clock):
    crashed = GrblGantry.open(simulator.path, clock=clock)
    crashed.home()
    crashed.move_to(123.4, 56.7, 80, feed_mm_per_min=6000)
    world.tile_under_nozzle = True
    GrblVacuumGripper(crashed.controller).grip()
    crashed.controller._transport.close()

    gantry = GrblGantry.open(simulator.path, clock=clock)
    gripper = GrblVacuumGripper(gantry.controller)
    assert gantry.is_homed()
    here = gantry.position()
    assert (here.x_mm, here.y_mm, here.z_mm) == pytest.approx((123.4, 56.7, 80), abs=1e-3)
    assert gripper.vacuum_on()
    assert gripper.holding()
    assert world.switched == [("flood", True)]
    gantry.move_to(10, feed_mm_per_min=6000)
    gantry.close()
    assert simulator.output("flood")


def test_half_a_line_left_by_a_killed_station_is_never_carried_out(simulator, world, clock):
    crashed = GrblGantry.open(simulator.path, clock=clock)
    crashed.home()
    crashed.controller.send_realtime(b"$J=G21G90X100F60")
    crashed.controller._transport.close()
    gantry = GrblGantry.open(simulator.path, clock=clock)
    assert gantry.state() == "Idle"
    assert gantry.position() == Position(598, 398, 118)
    gantry.close()


def test_a_station_that_starts_while_the_gantry_moves_waits_for_it(simulator, clock):
    crashed = GrblGantry.open(simulator.path, clock=clock)
    crashed.home()
    crashed.controller.command("$J=G21G90X100F6000")
    crashed.controller._transport.close()
    gantry = GrblGantry.open(simulator.path, clock=clock)
    assert gantry.position().x_mm == 100
    gantry.close()


def test_a_power_cut_is_noticed_before_the_next_move(gantry, simulator):
    simulator.power_cycle()
    with pytest.raises((NotHomed, MachineAlarm)):
        gantry.move_to(10, feed_mm_per_min=600)
    with pytest.raises(NotHomed):
        gantry.move_to(10, feed_mm_per_min=600)
    gantry.home()
    gantry.move_to(10, feed_mm_per_min=6000)


def test_a_changed_coordinate_system_stops_the_moves(gantry):
    gantry.controller.command("G55")
    with pytest.raises(NotHomed, match="coordinate system"):
        gantry.move_to(10, feed_mm_per_min=600)


def test_homing_clears_offsets_that_somebody_left(gantry, simulator):
    gantry.controller.command("G10L2P1X-1Y-2Z-3")
    gantry.controller.command("G92X7")
    gantry.home()
    gantry.move_to(10, 20, 30, feed_mm_per_min=12000)
    assert simulator.true_commanded_position_mm() == pytest.approx((10, 20, 30), abs=1e-6)


def test_a_stop_from_another_thread_interrupts_a_move_and_keeps_the_tile(simulator, world):
    clock = NoticingClock(20)
    gantry = GrblGantry.open(simulator.path, clock=clock)
    gantry.home()
    GrblVacuumGripper(gantry.controller).grip()
    outcome = []

    def move():
        try:
            gantry.move_to(10, feed_mm_per_min=300)
        except MotionStopped as error:
            outcome.append(error)

    clock.slept.clear()
    thread = threading.Thread(target=move)
    thread.start()
    assert clock.slept.wait(5)
    with pytest.raises(InstrumentRefused, match="moving already"):
        gantry.move_to(10, feed_mm_per_min=300)
    gantry.stop()
    thread.join(5)
    assert len(outcome) == 1
    assert gantry.state() == "Idle"
    here = simulator.true_commanded_position_mm()
    assert here[0] > 10
    assert simulator.true_commanded_position_mm() == here
    assert simulator.output("flood")
    assert gantry.position().x_mm == pytest.approx(here[0], abs=0.02)
    gantry.close()


def test_a_stop_interrupts_a_homing_with_an_alarm(slow_simulator):
    clock = ScaledClock(500)
    gantry = GrblGantry.open(slow_simulator.path, clock=clock)
    outcome = []

    def home():
        try:
            gantry.home()
        except MachineAlarm as error:
            outcome.append(str(error))

    thread = threading.Thread(target=home)
    thread.start()
    while not slow_simulator._homing:
        pass
    assert gantry.state() == "Home"
    gantry.stop()
    thread.join(5)
    assert len(outcome) == 1
    assert "alarm 6" in outcome[0]
    assert gantry.state() == "Alarm"
    gantry.close()


def test_a_stop_ends_a_motion_that_another_program_started(gantry, simulator):
    gantry.controller.command("G1X10F60")
    assert gantry.state() == "Run"
    gantry.stop()
    assert gantry.state() == "Idle"
    with pytest.raises(NotHomed):
        gantry.position()
    here = simulator.true_commanded_position_mm()
    assert here[0] > 500
    assert simulator.true_commanded_position_mm() == here


def test_a_hold_pressed_at_the_machine_ends_a_move_with_its_reason(gantry, simulator):
    class PressAtFirstPoll:
        def now_s(self):
            return simulator._clock.now_s()

        def sleep(self, duration_s):
            simulator.receive(protocol.DOOR)

    gantry.controller.clock = PressAtFirstPoll()
    with pytest.raises(MotionStopped, match="Door:0"):
        gantry.move_to(10, feed_mm_per_min=300)


def test_a_controller_left_on_hold_is_not_opened_silently(simulator, controller, clock):
    controller.command("$X")
    controller.send_realtime(protocol.FEED_HOLD)
    assert controller.status().state == "Hold:0"
    controller.close()
    with pytest.raises(InstrumentRefused, match=r"Hold:0.*release the hold"):
        GrblController.open(simulator.path, clock=clock)


def test_an_alarm_names_its_text_and_everything_is_refused_until_acknowledged(
    gantry, gripper, simulator
):
    simulator.lose_steps("x", 1.95)
    with pytest.raises(MachineAlarm, match="alarm 1: a limit switch was hit"):
        gantry.move_to(600, feed_mm_per_min=6000)
    for refused in (gantry.state, gripper.holding, lambda: gantry.move_to(1, feed_mm_per_min=1)):
        with pytest.raises(MachineAlarm, match="alarm 1"):
            refused()
    gantry.recover()
    assert gantry.state() == "Idle"
    with pytest.raises(NotHomed):
        gantry.move_to(10, feed_mm_per_min=600)
    gantry.home()
    gantry.move_to(10, feed_mm_per_min=6000)
    assert simulator.true_commanded_position_mm()[0] == pytest.approx(10, abs=1e-6)


def test_the_orphan_acknowledgement_after_a_limit_alarm_is_not_taken_for_an_answer(gantry):
    with pytest.raises(MachineAlarm, match="alarm 2"):
        gantry.controller.command("G53G0X5")
    gantry.recover()
    assert "T0" in gantry.controller.modes()
    assert gantry.state() == "Idle"


def test_a_controller_deaf_after_an_alarm_says_what_to_do_and_opens_after_a_reset(
    simulator, gantry, clock, monkeypatch
):
    with pytest.raises(MachineAlarm):
        gantry.controller.command("G53G0X5")
    gantry.controller.close()
    monkeypatch.setattr("drivers.grbl.controller.OPENING_S", 0.2)
    monkeypatch.setattr("drivers.grbl.controller.ASK_AGAIN_S", 0.1)
    with pytest.raises(InstrumentTimeout, match="reset the controller"):
        GrblController.open(simulator.path, clock=clock, deadline_s=0.2)
    controller = GrblController.reset_and_open(simulator.path, clock=clock)
    assert controller.status().state == "Alarm"
    controller.close()


def test_a_controller_made_deaf_by_an_alarm_recovers_without_moving(gantry, gripper, simulator):
    gripper.grip()
    before = simulator.true_commanded_position_mm()
    with pytest.raises(MachineAlarm, match="alarm 2"):
        gantry.controller.command("G53G0X5")
    gantry.recover()
    assert gantry.state() == "Idle"
    assert not gantry.is_homed()
    assert not gripper.vacuum_on()
    assert simulator.true_commanded_position_mm() == before
    gantry.recover()
    gantry.home()
    gantry.move_to(10, feed_mm_per_min=6000)


def test_it_recovers_from_an_alarm_of_which_it_never_heard(gantry, simulator):
    gantry.controller._deadline_s = 0.1
    simulator.receive(b"G53G0X5\n")
    for _ in range(2):
        gantry.controller._transport._link.drain(0.05, _Patience())
    with pytest.raises(InstrumentTimeout):
        gantry.state()
    gantry.recover()
    assert gantry.state() == "Idle"


def test_a_deaf_controller_is_known_by_its_message_alone(gantry, simulator):
    simulator.faults.plan("lost")
    simulator.receive(b"G53G0X5\n")
    with pytest.raises(MachineAlarm, match="deaf"):
        for _ in range(3):
            gantry.state()
    gantry.recover()
    assert gantry.state() == "Idle"


def test_recovering_a_controller_that_listens_keeps_what_is_held(gantry, gripper, simulator):
    gripper.grip()
    gantry.recover()
    assert simulator.output("flood")
    assert not gantry.is_homed()


@pytest.mark.parametrize("held", [protocol.FEED_HOLD, protocol.DOOR])
def test_recovering_releases_what_was_held(gantry, held):
    gantry.controller.send_realtime(held)
    gantry.recover()
    assert gantry.state() == "Idle"
    assert not gantry.is_homed()


def test_an_open_door_is_seen_and_must_be_closed_before_recovering(gantry, simulator):
    assert gantry.door_closed()
    simulator.open_door()
    assert not gantry.door_closed()
    assert gantry.state().startswith("Door")
    with pytest.raises(InstrumentRefused, match="Door"):
        gantry.move_to(10, feed_mm_per_min=600)
    assert gantry.position() == Position(598, 398, 118)
    simulator.power_cycle()
    with pytest.raises(InstrumentRefused, match="Close the safety door"):
        gantry.recover()
    simulator.close_door()
    gantry.recover()
    assert gantry.door_closed()
    gantry.home()


def test_nothing_recovers_while_it_moves(gantry):
    gantry.controller.command("G1X10F60")
    with pytest.raises(InstrumentRefused, match="moves"):
        gantry.recover()
    gantry.stop()


def test_an_interrupt_ends_a_transaction_of_another_thread_at_once(gantry, simulator):
    outcome = []

    def ask():
        try:
            gantry.controller.command("$G", deadline_s=60)
        except InstrumentInterrupted as error:
            outcome.append(error)

    simulator.faults.plan("lost")
    simulator.faults.plan("lost")
    thread = threading.Thread(target=ask)
    thread.start()
    while simulator.faults.planned:
        pass
    gantry.interrupt()
    thread.join(5)
    assert len(outcome) == 1
    assert gantry.state() == "Idle"


def test_homing_a_jammed_axis_fails_with_its_alarm_and_can_be_tried_again(gantry, simulator):
    simulator.stick("x")
    with pytest.raises(MachineAlarm, match="alarm 9"):
        gantry.home()
    assert gantry.state() == "Alarm"
    simulator.free("x")
    gantry.home()
    assert gantry.position() == Position(598, 398, 118)


@pytest.mark.parametrize("number", sorted(protocol.ERRORS))
def test_every_error_is_told_in_words(number):
    dialogue = [
        (b"?", ALARM_REPORT),
        SPOILED,
        (b"$I\n", b"[VER:1.1h.20190830:]\r\n[OPT:VM,15,128]\r\nok\r\n"),
        (b"$$\n", b"$13=0\r\nok\r\n"),
        (b"G21\n", b"error:%d\r\n" % number),
    ]
    with scripted_pty(dialogue) as (path, _):
        controller = GrblController.open(path)
        with pytest.raises(InstrumentRefused, match=re.escape(protocol.error_text(number))):
            controller.command("G21")
        controller.close()


def test_pushed_messages_never_count_as_answers():
    dialogue = [
        (b"?", ALARM_REPORT),
        SPOILED,
        (b"$I\n", b"[VER:1.1h.20190830:]\r\n[OPT:VM,15,128]\r\nok\r\n"),
        (b"$$\n", b"$13=0\r\nok\r\n"),
        (
            b"$G\n",
            b"<Idle|MPos:1.000,2.000,3.000|FS:0,0>\r\n[MSG:Check Door]\r\n"
            b"[GC:G0 G54 G17 G21 G90 G94 M5 M9 T0 F0 S0]\r\n\r\nok\r\n",
        ),
    ]
    with scripted_pty(dialogue) as (path, _):
        controller = GrblController.open(path)
        assert "G54" in controller.modes()
        assert controller.messages == ["Check Door"]
        controller.close()


@pytest.mark.parametrize("line", ["G" * 80, "G0X1\nG0X2", "G0\r"])
def test_lines_that_the_controller_cannot_take_are_refused(controller, line):
    with pytest.raises(ValueError, match="not one line"):
        controller.command(line)


def test_two_threads_never_get_each_others_answers(gantry):
    wrong = []
    stop = threading.Event()

    def ask_modes():
        while not stop.is_set():
            if "T77" not in gantry.controller.modes():
                wrong.append("modes")

    def ask_position():
        while not stop.is_set():
            here = gantry.position()
            if not -0.02 <= here.z_mm - 118 <= 0.02:
                wrong.append(here)

    threads = [threading.Thread(target=ask) for ask in (ask_modes, ask_position)]
    for thread in threads:
        thread.start()
    for k in range(1, 11):
        gantry.move_to(k * 10, feed_mm_per_min=6000)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert not wrong


def test_the_receive_buffer_is_never_filled_beyond_one_line(gantry, simulator, gripper):
    gantry.move_to(100, 100, 50, feed_mm_per_min=6000)
    gripper.grip()
    gripper.release()
    assert simulator.most_bytes_waiting <= protocol.MAX_LINE_CHARS + 1


def test_a_late_answer_is_never_taken_for_the_next_one(gantry, simulator):
    controller = gantry.controller
    controller._deadline_s = 0.1
    for _ in range(3):
        simulator.faults.plan("late", delay_s=0.15)
        with pytest.raises(InstrumentTimeout):
            controller.modes()
        answers = []
        while not answers:
            try:
                answers.append(controller.command("$I", deadline_s=0.4))
            except InstrumentTimeout:
                continue
        assert answers[0][0].startswith("[VER:1.1h")
        assert "T77" in controller.modes()


def test_a_late_answer_to_the_identity_question_itself_does_not_shift_the_next():
    info = b"[VER:1.1h.20190830:]\r\n[OPT:VM,15,128]\r\nok\r\n"
    dialogue = [
        (b"?", ALARM_REPORT),
        SPOILED,
        (b"$I\n", info),
        (b"$$\n", b"$13=0\r\nok\r\n"),
        (b"$I\n", b""),
        (b"?", ALARM_REPORT),
        SPOILED,
        (b"$I\n", info + info),
        (b"$G\n", b"[GC:G0 G54 G17 G21 G90 G94 M5 M9 T0 F0 S0]\r\nok\r\n"),
    ]
    with scripted_pty(dialogue) as (path, _):
        controller = GrblController.open(path)
        with pytest.raises(InstrumentTimeout):
            controller.command("$I", deadline_s=0.1)
        assert "G54" in controller.modes()
        controller.close()


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("lost", (InstrumentTimeout, BrokenReply)),
        ("truncated", (InstrumentTimeout, BrokenReply)),
        ("garbled", BrokenReply),
    ],
)
@pytest.mark.parametrize("after", [0, 1])
def test_a_bad_reply_is_an_error_and_the_next_question_is_answered(
    gantry, simulator, kind, error, after
):
    controller = gantry.controller
    simulator.faults.plan(kind, after_replies=after)
    with pytest.raises(error):
        protocol.parse_modes(controller.command("$G", deadline_s=0.15), port="")
    assert "T77" in controller.modes()
    assert controller.status().state == "Idle"


def test_a_position_that_lost_a_digit_on_the_line_is_refused():
    for report in (
        "<Idle|MPos:-2.000,-2.000,-2.00|FS:0,0>",
        "<Idle|MPos:-2.000,-2.000|FS:0,0>",
        "<Idle|MPos:-2.000,-2.000,-2.000|FS:0,0",
        "<Idl|MPos:-2.000,-2.000,-2.000|FS:0,0>",
        "<Idle|FS:0,0>",
        "<Idle|MPos:1.000,1.000,1.000|MPos:2.000,1.000,1.000>",
        "<Idle|MPos:nan,1.000,1.000|FS:0,0>",
    ):
        with pytest.raises(BrokenReply):
            protocol.parse_status(report, port="")


def test_a_misread_digit_of_a_position_is_not_believed(gantry, simulator):
    gantry.move_to(100, 200, 50, feed_mm_per_min=6000)
    for where in (0.0, 0.2, 0.4, 0.6):
        simulator.faults.plan("misread", after_replies=2, where=where)
        assert gantry.position() == Position(100, 200, 50)
        simulator.faults.clear()


def test_touching_the_switches_again_finds_nothing_where_no_step_was_lost(gantry, simulator):
    gantry.move_to(100, 100, 50, feed_mm_per_min=12000)
    deviation = gantry.compare_home()
    assert deviation.mm == pytest.approx((0, 0, 0), abs=deviation.resolution_mm + 0.013)
    gantry.move_to(10, 10, 10, feed_mm_per_min=6000)
    assert gantry.controller.settings[protocol.HARD_LIMITS] == 1
    assert gantry.controller.settings[protocol.SOFT_LIMITS] == 1
    assert gantry.controller.last_alarm is None


@pytest.mark.parametrize("direction", [0, 3])
def test_touching_the_switches_again_finds_lost_steps(clock, direction):
    simulator = GrblSimulator(clock, settings={protocol.HOMING_DIRECTION: direction})
    simulator.start()
    gantry = GrblGantry.open(simulator.path, clock=clock)
    gantry.home()
    gantry.move_to(100, 100, 50, feed_mm_per_min=12000)
    simulator.lose_steps("x", -0.8)
    simulator.lose_steps("y", 1.2)
    deviation = gantry.compare_home()
    assert deviation.mm == pytest.approx((0.8, -1.2, 0), abs=deviation.resolution_mm + 0.013)
    assert deviation.largest_mm > 1
    gantry.home()
    assert gantry.compare_home().largest_mm < 0.07
    gantry.close()
    simulator.stop()


def test_a_switch_that_is_not_near_its_place_is_told_and_the_limits_come_back(gantry, simulator):
    gantry.move_to(100, 100, 50, feed_mm_per_min=12000)
    simulator.lose_steps("x", -5)
    with pytest.raises(MotionStopped, match=r"does not close at 603\.00 mm"):
        gantry.compare_home()
    assert gantry.controller.settings[protocol.HARD_LIMITS] == 1
    assert gantry.controller.settings[protocol.SOFT_LIMITS] == 1
    gantry.home()
    gantry.move_to(100, feed_mm_per_min=12000)
    assert simulator.true_commanded_position_mm()[0] == pytest.approx(100)


def test_an_unhomed_gantry_has_nothing_to_compare(controller):
    with pytest.raises(NotHomed):
        GrblGantry(controller).compare_home()


def test_work_positions_are_understood_from_controllers_that_report_them(clock):
    simulator = GrblSimulator(clock, settings={protocol.STATUS_MASK: 2})
    simulator.start()
    gantry = GrblGantry.open(simulator.path, clock=clock)
    gantry.home()
    gantry.move_to(12.5, 20, 30, feed_mm_per_min=12000)
    assert gantry.position() == Position(12.5, 20, 30)
    assert gantry.controller.status().buffers == (15, 128)
    gantry.close()
    simulator.stop()


def test_a_port_that_vanishes_is_lost(simulator, controller):
    simulator.stop()
    with pytest.raises(InstrumentLost, match="connection"):
        controller.modes()
    with pytest.raises(InstrumentLost, match=r"can't open the port.*cable"):
        controller.modes()


def test_the_gripper_grips_holds_and_releases(gripper, simulator, world):
    assert not gripper.vacuum_on()
    gripper.grip()
    assert gripper.vacuum_on()
    assert simulator.output("flood")
    assert not gripper.holding()
    world.tile_under_nozzle = True
    assert gripper.holding()
    gripper.release()
    assert not gripper.vacuum_on()
    assert not gripper.holding()
    gripper.release()
    assert world.switched == [("flood", True), ("flood", False)]


def test_releasing_leaves_the_other_output_as_it_is(gripper, simulator):
    gripper.controller.command("M7")
    gripper.grip()
    gripper.release()
    assert simulator.output("mist")
    assert not simulator.output("flood")
    assert not gripper.vacuum_on()


def test_a_vacuum_that_cannot_be_switched_says_why(gripper, simulator):
    gripper.grip()
    gripper.controller.command("$J=G21G91X-100F60")
    with pytest.raises(InstrumentRefused, match="error 9"):
        gripper.release()
    assert simulator.output("flood")


def test_a_broken_vacuum_output_is_noticed(gripper, simulator, monkeypatch):
    monkeypatch.setattr(simulator, "_set_output", lambda name, on: None)
    with pytest.raises(InstrumentRefused, match="does not switch on"):
        gripper.grip()


@pytest.fixture
def valve(gantry):
    return GrblGlueValve(gantry.controller, longest_s=5)


def test_the_glue_valve_opens_for_a_time_and_shuts(valve, simulator, world, clock):
    role: GlueValve = valve
    start_s = clock.now_s()
    role.dispense(2)
    assert clock.now_s() - start_s >= 2
    assert world.switched == [("mist", True), ("mist", False)]
    assert not valve.is_open()


def test_the_glue_valve_leaves_the_vacuum_alone(valve, gripper, simulator):
    gripper.grip()
    valve.dispense(0.1)
    assert gripper.vacuum_on()
    assert not simulator.output("mist")
    valve.shut()
    assert gripper.vacuum_on()


@pytest.mark.parametrize("duration", [0, -1, 5.01, math.nan, math.inf])
def test_the_glue_valve_refuses_a_duration_beyond_its_longest(valve, world, duration):
    with pytest.raises(SetpointRefused, match="duration"):
        valve.dispense(duration)
    assert world.switched == []


def test_the_glue_valve_shuts_when_a_reply_is_lost(valve, simulator, gantry):
    gantry.controller._deadline_s = 0.15
    simulator.faults.plan("lost", after_replies=1)
    with pytest.raises((InstrumentTimeout, BrokenReply)):
        valve.dispense(1)
    simulator.faults.clear()
    assert not simulator.output("mist")


def test_the_glue_valve_shuts_when_its_thread_is_interrupted(valve, simulator, monkeypatch):
    def interrupted(duration_s):
        raise KeyboardInterrupt

    monkeypatch.setattr(valve, "_let_flow", interrupted)
    with pytest.raises(KeyboardInterrupt):
        valve.dispense(1)
    assert not simulator.output("mist")


def test_the_glue_valve_shuts_though_its_thread_hangs(gantry, simulator, monkeypatch):
    valve = GrblGlueValve(gantry.controller, longest_s=0.05)
    released = threading.Event()
    monkeypatch.setattr(valve, "_let_flow", lambda duration_s: released.wait(10))
    thread = threading.Thread(target=valve.dispense, args=(0.01,))
    thread.start()
    while not simulator.output("mist"):
        assert thread.is_alive()
    while simulator.output("mist"):
        assert thread.is_alive()
    released.set()
    thread.join(10)
    assert not valve.is_open()


def test_shutting_from_another_thread_ends_the_flow(gantry, simulator):
    gantry.controller.clock = ScaledClock(1)
    valve = GrblGlueValve(gantry.controller, longest_s=60)
    thread = threading.Thread(target=valve.dispense, args=(60,))
    thread.start()
    while not simulator.output("mist"):
        assert thread.is_alive()
    with pytest.raises(InstrumentRefused, match="dispenses already"):
        valve.dispense(1)
    valve.shut()
    assert not simulator.output("mist")
    thread.join(10)
    assert not thread.is_alive()


def test_the_glue_valve_shuts_in_the_middle_of_a_move(valve, gantry, simulator):
    gantry.controller.command("M7")
    gantry.controller.command("$J=G21G91X-100F60")
    valve.shut()
    assert not simulator.output("mist")
    assert gantry.state() == "Jog"
    gantry.stop()


def test_a_reset_and_an_alarm_shut_the_glue_valve(valve, gantry, simulator):
    gantry.controller.command("M7")
    gantry.controller.reset()
    assert not simulator.output("mist")
    assert not valve.is_open()
    valve.shut()
    gantry.home()
    gantry.controller.command("M7")
    with pytest.raises(MachineAlarm):
        gantry.controller.command("G53G0X5")
    assert not simulator.output("mist")
    valve.shut()
    assert not valve.is_open()


def test_a_valve_that_stays_open_is_told(valve, simulator, monkeypatch):
    valve.controller.command("M7")
    monkeypatch.setattr(simulator, "_set_output", lambda name, on: None)
    with pytest.raises(InstrumentRefused, match="does not shut"):
        valve.shut()


def test_firmware_without_a_second_output_has_no_glue_valve(clock):
    simulator = GrblSimulator(clock, has_mist=False)
    simulator.start()
    controller = GrblController.open(simulator.path, clock=clock)
    with pytest.raises(InstrumentRefused, match="M7"):
        GrblGlueValve(controller)
    controller.close()
    simulator.stop()


def test_a_stop_reaches_a_controller_whose_plug_was_loose(
    gantry: GrblGantry, simulator: GrblSimulator
) -> None:
    gantry.home()
    simulator.faults.plan("disconnect", delay_s=0.1)
    with pytest.raises(InstrumentLost):
        gantry.controller.status()
    gantry.stop()
    assert gantry.state() == "Idle"
