import threading

import pytest

from drivers.grbl import GrblSimulator, protocol
from drivers.transport import SerialTransport

from .conftest import RawPort

BANNER = b"Grbl 1.1h ['$' for help]\r\n"
LOCKED = b"[MSG:'$H'|'$X' to unlock]\r\n"


def status(raw):
    return protocol.parse_status(raw.ask(b"?", b">\r\n").decode().strip(), port="")


def home(raw, clock):
    """Home with a clock that stands still between the steps."""
    raw.send(b"$H\n")
    stop = threading.Event()

    def let_time_pass():
        while not stop.wait(0.0005):
            clock.time_s += 0.05

    thread = threading.Thread(target=let_time_pass)
    thread.start()
    answer = raw.read_until(b"\r\n")
    stop.set()
    thread.join(5)
    return answer


def test_after_power_up_it_is_locked_and_says_so(slow_simulator):
    port = RawPort(slow_simulator.path)
    port.settle()
    slow_simulator.power_cycle()
    assert port.read_until(LOCKED) == b"\r\n" + BANNER + LOCKED
    assert status(port).state == "Alarm"
    assert port.ask(b"G0X-1\n", b"\r\n") == b"error:9\r\n"
    assert port.ask(b"$J=X-1F100\n", b"\r\n") == b"error:8\r\n"
    assert port.ask(b"$X\n") == b"[MSG:Caution: Unlocked]\r\nok\r\n"
    assert status(port).state == "Idle"
    port.close()


@pytest.mark.parametrize(
    ("line", "number"),
    [
        (b"5X", 1),
        (b"G0X", 2),
        (b"$Y", 2),
        (b"$100", 3),
        (b"$999=1", 3),
        (b"$JX1F100", 3),
        (b"$11=x", 2),
        (b"F-1", 4),
        (b"G1X-1.00000" + b"0" * 80, 11),
        (b"$J=X1F100", 15),
        (b"$J=X-1", 22),
        (b"$J=F100", 26),
        (b"$J=G1X-1F100", 16),
        (b"G2X-1Y-1I1", 20),
        (b"G38.2Z-1F10", 20),
        (b"G0G1X-1", 21),
        (b"G1X-1", 22),
        (b"T1.5", 23),
        (b"X-1X-2", 25),
        (b"G10L2P1", 26),
        (b"G4", 28),
        (b"G10L2P9X1", 29),
        (b"G4P1X1", 31),
        (b"P3", 36),
        (b"T300", 38),
    ],
)
def test_a_bad_line_is_answered_with_its_error(raw, line, number):
    assert raw.ask(line + b"\n", b"\r\n") == b"error:%d\r\n" % number
    assert raw.ask(b"G21\n", b"\r\n") == b"ok\r\n"


def test_homing_that_is_not_enabled_is_an_error(world, manual_clock):
    simulator = GrblSimulator(manual_clock, settings={protocol.HOMING: 0, protocol.SOFT_LIMITS: 0})
    simulator.start()
    port = RawPort(simulator.path)
    port.settle()
    assert status(port).state == "Idle"
    assert port.ask(b"$H\n", b"\r\n") == b"error:5\r\n"
    assert port.ask(b"$20=1\n", b"\r\n") == b"error:10\r\n"
    port.close()
    simulator.stop()


def test_a_line_end_of_two_characters_is_acknowledged_twice(raw):
    assert raw.ask(b"G21\r\n", b"ok\r\nok\r\n") == b"ok\r\nok\r\n"


def test_motion_takes_its_time_at_the_programmed_feed(raw, slow_simulator, manual_clock):
    x0, y0, z0 = slow_simulator.true_commanded_position_mm()
    raw.ask(b"$J=G91X-30Y-40F3000\n")
    assert status(raw).state == "Jog"
    manual_clock.time_s += 0.5
    x, y, z = slow_simulator.true_commanded_position_mm()
    assert (x0 - x, y0 - y, z) == pytest.approx((15, 20, z0))
    assert status(raw).feed == 3000
    manual_clock.time_s += 0.51
    assert status(raw).state == "Idle"
    assert status(raw).mpos == (-30, -40, 0)


def test_an_axis_never_goes_faster_than_its_own_rate(raw, slow_simulator, manual_clock):
    raw.ask(b"$J=G91Z-50F9999\n")
    manual_clock.time_s += 0.5
    assert slow_simulator.true_commanded_position_mm()[2] == pytest.approx(60 - 25)


def test_a_feed_hold_freezes_the_motion_and_a_resume_goes_on(raw, slow_simulator, manual_clock):
    raw.ask(b"G91G1X-60F3600\n")
    manual_clock.time_s += 0.25
    raw.send(b"!")
    assert status(raw).state == "Hold:0"
    held = slow_simulator.true_commanded_position_mm()
    manual_clock.time_s += 10
    assert slow_simulator.true_commanded_position_mm() == held
    raw.send(b"G21\n")
    assert status(raw).state == "Hold:0"
    raw.send(b"~")
    assert raw.read_until(b"ok\r\n") == b"ok\r\n"
    assert status(raw).state == "Run"
    manual_clock.time_s += 0.75
    assert slow_simulator.true_commanded_position_mm()[0] == pytest.approx(held[0] - 45)


def test_a_jog_is_dropped_by_its_cancel_byte_and_by_a_hold(raw, slow_simulator, manual_clock):
    for stop in (protocol.JOG_CANCEL, protocol.FEED_HOLD):
        raw.ask(b"$J=G91X-30F600\n")
        manual_clock.time_s += 1
        raw.send(stop)
        assert status(raw).state == "Idle"
        here = slow_simulator.true_commanded_position_mm()
        manual_clock.time_s += 10
        assert slow_simulator.true_commanded_position_mm() == here


def test_a_feed_override_changes_the_pace_of_lines_and_not_of_jogs(
    raw, slow_simulator, manual_clock
):
    x0 = slow_simulator.true_commanded_position_mm()[0]
    raw.ask(b"G91G1X-30F600\n")
    raw.send(b"\x92\x92\x92\x92\x92")
    assert status(raw).overrides is None
    manual_clock.time_s += 1
    assert x0 - slow_simulator.true_commanded_position_mm()[0] == pytest.approx(5)
    raw.send(b"\x90")
    assert status(raw).state == "Run"
    manual_clock.time_s += 1
    assert x0 - slow_simulator.true_commanded_position_mm()[0] == pytest.approx(15)
    manual_clock.time_s += 2
    raw.send(b"\x92\x92\x92\x92\x92")
    raw.ask(b"$J=G91X-30F600\n")
    manual_clock.time_s += 1
    assert x0 - slow_simulator.true_commanded_position_mm()[0] == pytest.approx(40)


def test_homing_finds_the_switches_from_anywhere(raw, slow_simulator, manual_clock):
    assert home(raw, manual_clock) == b"ok\r\n"
    assert status(raw).mpos == (-2, -2, -2)
    assert slow_simulator.true_commanded_position_mm() == pytest.approx((598, 398, 118))


def test_homing_towards_the_other_end_is_a_setting(manual_clock):
    simulator = GrblSimulator(manual_clock, settings={protocol.HOMING_DIRECTION: 3})
    simulator.start()
    port = RawPort(simulator.path)
    port.settle()
    assert home(port, manual_clock) == b"ok\r\n"
    assert status(port).mpos == (-598, -398, -2)
    assert simulator.true_commanded_position_mm() == pytest.approx((2, 2, 118))
    port.close()
    simulator.stop()


def test_a_target_beyond_the_travel_makes_it_deaf_until_a_reset(raw):
    raw.send(b"G0X5\n")
    assert raw.read_until(b"continue]\r\n") == b"ALARM:2\r\n[MSG:Reset to continue]\r\n"
    raw.send(b"?$X\n?")
    raw.send(b"\x18")
    assert raw.read_until(LOCKED) == b"ok\r\n\r\n" + BANNER + LOCKED
    assert status(raw).state == "Alarm"
    assert raw.ask(b"$X\n").endswith(b"ok\r\n")


def test_a_reset_in_motion_is_an_alarm_and_loses_what_was_planned(
    raw, slow_simulator, manual_clock
):
    raw.ask(b"G91G1X-60F3600\n")
    manual_clock.time_s += 0.5
    raw.send(b"\x18")
    assert raw.read_until(LOCKED) == b"ALARM:3\r\n\r\n" + BANNER + LOCKED
    here = slow_simulator.true_commanded_position_mm()
    manual_clock.time_s += 5
    assert slow_simulator.true_commanded_position_mm() == here


def test_a_reset_while_held_is_no_alarm(raw, manual_clock):
    raw.ask(b"G91G1X-60F3600\n")
    manual_clock.time_s += 0.5
    raw.send(b"!\x18")
    assert raw.read_until(BANNER) == b"\r\n" + BANNER
    assert status(raw).state == "Idle"
    assert status(raw).mpos == (-30, 0, 0)


def test_slipping_past_the_end_hits_the_limit_switch(raw, slow_simulator, manual_clock):
    home(raw, manual_clock)
    slow_simulator.lose_steps("x", 1.9)
    raw.ask(b"$J=G91X1.9F600\n")
    manual_clock.time_s += 5
    assert raw.read_until(b"continue]\r\n") == b"ALARM:1\r\n[MSG:Reset to continue]\r\n"
    raw.send(b"\x18")
    assert raw.read_until(LOCKED) == b"\r\n" + BANNER + LOCKED


def test_a_jammed_axis_stays_while_the_controller_counts_on(raw, slow_simulator, manual_clock):
    before = slow_simulator.true_commanded_position_mm()
    slow_simulator.stick("x")
    raw.ask(b"$J=G91X-30Y-30F6000\n")
    manual_clock.time_s += 5
    assert status(raw).mpos == (-30, -30, 0)
    x, y, _ = slow_simulator.true_commanded_position_mm()
    assert (x, y) == pytest.approx((before[0], before[1] - 30))


def test_homing_a_jammed_axis_fails_and_restarts_the_controller(raw, slow_simulator, manual_clock):
    slow_simulator.stick("y")
    assert home(raw, manual_clock) == b"ALARM:9\r\n"
    assert raw.read_until(LOCKED) == b"ok\r\n\r\n" + BANNER + LOCKED
    slow_simulator.free("y")
    assert home(raw, manual_clock) == b"ok\r\n"


def test_outputs_are_shown_in_the_next_report_after_they_change(raw, world):
    raw.ask(b"M8\n")
    for _ in range(2):
        report = status(raw)
        if report.accessories is not None:
            break
    assert report.accessories == {"F"}
    raw.ask(b"M7\n")
    assert status(raw).accessories == {"F", "M"}
    raw.ask(b"M9\n")
    assert status(raw).accessories == frozenset()
    assert world.switched == [("flood", True), ("mist", True), ("flood", False), ("mist", False)]


def test_output_toggles_work_at_rest_and_in_motion_but_not_in_an_alarm(raw, slow_simulator):
    raw.send(b"\xa0")
    status(raw)
    assert slow_simulator.output("flood")
    raw.ask(b"$J=G91X-30F600\n")
    raw.send(b"\xa0")
    assert status(raw).state == "Jog"
    assert not slow_simulator.output("flood")
    raw.send(b"\x85")
    raw.ask(b"G91G1X-30F600\n")
    raw.send(b"\xa0\xa1")
    assert status(raw).state == "Run"
    assert slow_simulator.output("flood")
    assert slow_simulator.output("mist")
    raw.send(b"\x18")
    raw.read_until(LOCKED)
    assert not slow_simulator.output("flood")
    raw.send(b"\xa0")
    assert status(raw).state == "Alarm"
    assert not slow_simulator.output("flood")


def test_an_open_door_cuts_the_outputs_off_until_the_resume(raw, slow_simulator):
    raw.ask(b"M8\n")
    raw.send(b"\x84")
    assert raw.read_until(b"]\r\n") == b"[MSG:Check Door]\r\n"
    assert status(raw).state == "Door:0"
    assert not slow_simulator.output("flood")
    raw.send(b"~")
    assert status(raw).state == "Idle"
    assert slow_simulator.output("flood")


def test_a_door_that_opens_in_a_jog_ends_the_jog(raw, slow_simulator, manual_clock):
    raw.ask(b"$J=G91X-30F600\n")
    manual_clock.time_s += 1
    raw.send(b"\x84")
    raw.read_until(b"]\r\n")
    assert status(raw).state == "Door:0"
    here = slow_simulator.true_commanded_position_mm()
    raw.send(b"~")
    assert status(raw).state == "Idle"
    manual_clock.time_s += 5
    assert slow_simulator.true_commanded_position_mm() == here


def test_firmware_without_the_second_output_refuses_it(world, manual_clock):
    simulator = GrblSimulator(manual_clock, world.probe, world.switch, has_mist=False)
    simulator.start()
    port = RawPort(simulator.path)
    port.ask(b"$X\n")
    assert b"[OPT:V,15,128]" in port.ask(b"$I\n")
    assert port.ask(b"M7\n", b"\r\n") == b"error:20\r\n"
    port.send(b"\xa1")
    assert status(port).state == "Idle"
    assert not simulator.output("mist")
    port.close()
    simulator.stop()


def test_spaces_slashes_and_comments_do_not_count_for_the_length_of_a_line(raw):
    assert raw.ask(b"G21" + b" " * 90 + b"/(a comment that is long)\n", b"\r\n") == b"ok\r\n"


def test_settings_are_listed_in_a_jog_and_not_in_a_run(raw):
    raw.ask(b"$J=G91X-30F600\n")
    assert raw.ask(b"$$\n").endswith(b"ok\r\n")
    raw.send(b"\x85")
    raw.ask(b"G91G1X-30F600\n")
    assert raw.ask(b"$$\n", b"\r\n") == b"error:8\r\n"


def test_the_end_of_check_mode_is_a_restart(raw):
    assert raw.ask(b"$C\n") == b"[MSG:Enabled]\r\nok\r\n"
    assert raw.ask(b"$C\n", BANNER) == b"[MSG:Disabled]\r\nok\r\n\r\n" + BANNER


def test_a_program_end_sets_the_modes_back(raw):
    raw.ask(b"G55G91G18\n")
    raw.ask(b"M8\n")
    assert raw.ask(b"M30\n") == b"[MSG:Pgm End]\r\nok\r\n"
    assert b"[GC:G1 G54 G17 G21 G90 G94 M5 M9 T0" in raw.ask(b"$G\n")


def test_a_status_asked_for_while_homing_comes_at_its_end(raw, manual_clock):
    raw.send(b"$H\n?")
    stop = threading.Event()

    def let_time_pass():
        while not stop.wait(0.0005):
            manual_clock.time_s += 0.05

    thread = threading.Thread(target=let_time_pass)
    thread.start()
    answer = raw.read_until(b"ok\r\n")
    stop.set()
    thread.join(5)
    assert answer.startswith(b"<Home|MPos:-2.000,-2.000,-2.000|")


def test_help_is_told(raw):
    assert raw.ask(b"$\n").startswith(b"[HLP:$$ $# $G $I")


def test_play_delays_an_axis_that_turns_round(manual_clock):
    simulator = GrblSimulator(manual_clock, backlash_mm=(0.2, 0.0, 0.0))
    simulator.start()
    port = RawPort(simulator.path)
    port.settle()
    assert home(port, manual_clock) == b"ok\r\n"
    places = []
    for x in (-50, -100, -50):
        port.ask(b"G53G0X%d\n" % x)
        manual_clock.time_s += 5
        places.append(simulator.true_commanded_position_mm()[0])
    assert places[2] - places[0] == pytest.approx(-0.2)
    port.close()
    simulator.stop()


def test_an_alarm_drops_the_vacuum(raw, slow_simulator):
    raw.ask(b"M8\n")
    raw.send(b"G0X5\n")
    raw.read_until(b"ALARM:2\r\n")
    assert not slow_simulator.output("flood")


def test_the_probe_input_shows_in_every_report(raw, world):
    raw.ask(b"M8\n")
    assert "P" not in status(raw).pins
    world.tile_under_nozzle = True
    assert all("P" in status(raw).pins for _ in range(3))


def test_the_work_offset_comes_now_and_then_and_at_once_after_a_change(raw):
    reports = [status(raw) for _ in range(40)]
    assert sum(report.wco is not None for report in reports) == 4
    assert sum(report.accessories is not None for report in reports) == 4
    raw.ask(b"G10L2P1X-600\n")
    assert status(raw).wco == (-600, 0, 0)


def test_the_receive_buffer_holds_128_bytes_and_the_planner_15_moves(raw, slow_simulator):
    for _ in range(16):
        raw.send(b"G91G1X-0.1F60\n")
    for _ in range(15):
        raw.read_until(b"ok\r\n")
    raw.send(b"G4P1\n" * 60 + b"?")
    assert raw.read_until(b">\r\n").startswith(b"<Run")
    assert slow_simulator.most_bytes_waiting == protocol.RECEIVE_BUFFER_BYTES


def test_a_dwell_is_acknowledged_when_it_is_over(raw, manual_clock):
    raw.send(b"G4P2\n?")
    assert b"ok" not in raw.read_until(b">\r\n")
    manual_clock.time_s += 2.01
    assert raw.read_until(b"ok\r\n") == b"ok\r\n"


def test_power_lost_keeps_the_stored_offsets_and_nothing_else(raw, slow_simulator, manual_clock):
    raw.ask(b"G10L2P1X-600\n")
    raw.ask(b"T5M8\n")
    raw.ask(b"G91G1X-10F6000\n")
    manual_clock.time_s += 1
    before = slow_simulator.true_commanded_position_mm()
    slow_simulator.power_cycle()
    assert slow_simulator.true_commanded_position_mm() == before
    raw.read_until(LOCKED)
    assert b"[G54:-600.000,0.000,0.000]" in raw.ask(b"$#\n")
    assert b"M9 T0" in raw.ask(b"$G\n")
    assert status(raw).mpos == (0, 0, 0)
    assert not slow_simulator.output("flood")


def test_it_goes_on_when_its_client_dies(raw, slow_simulator, manual_clock):
    raw.ask(b"M8\n")
    raw.ask(b"$J=G91X-30F600\n")
    raw.send(b"$J=G91X-")
    raw.close()
    manual_clock.time_s += 10
    port = RawPort(slow_simulator.path)
    port.send(b"\n")
    port.read_until(b"\r\n")
    assert status(port).mpos == (-30, 0, 0)
    assert slow_simulator.output("flood")
    port.close()


def test_it_stops_at_once_and_leaves_no_thread_behind():
    before = set(threading.enumerate())
    simulator = GrblSimulator()
    simulator.start()
    transport = SerialTransport(simulator.path)
    simulator.stop()
    assert set(threading.enumerate()) <= before
    transport.close()
