"""The dialogue with GRBL 1.1h, byte by byte; driver and simulator are both held to it."""

from drivers.clock import ScaledClock
from drivers.grbl import GrblController, GrblGantry, GrblSimulator, GrblVacuumGripper

from ..scripted import scripted_pty
from .conftest import RawPort

SESSION = [
    (b"?", b"<Alarm|MPos:0.000,0.000,0.000|FS:0,0|WCO:0.000,0.000,0.000>\r\n"),
    (b"%\n", b"error:9\r\n"),
    (b"$I\n", b"[VER:1.1h.20190830:]\r\n[OPT:VM,15,128]\r\nok\r\n"),
    (
        b"$$\n",
        b"$0=10\r\n"
        b"$1=255\r\n"
        b"$2=0\r\n"
        b"$3=0\r\n"
        b"$4=0\r\n"
        b"$5=0\r\n"
        b"$6=0\r\n"
        b"$10=1\r\n"
        b"$11=0.010\r\n"
        b"$12=0.002\r\n"
        b"$13=0\r\n"
        b"$20=1\r\n"
        b"$21=1\r\n"
        b"$22=1\r\n"
        b"$23=0\r\n"
        b"$24=300.000\r\n"
        b"$25=3000.000\r\n"
        b"$26=25\r\n"
        b"$27=2.000\r\n"
        b"$30=1000\r\n"
        b"$31=0\r\n"
        b"$32=0\r\n"
        b"$100=80.000\r\n"
        b"$101=80.000\r\n"
        b"$102=400.000\r\n"
        b"$110=12000.000\r\n"
        b"$111=12000.000\r\n"
        b"$112=3000.000\r\n"
        b"$120=500.000\r\n"
        b"$121=500.000\r\n"
        b"$122=200.000\r\n"
        b"$130=600.000\r\n"
        b"$131=400.000\r\n"
        b"$132=120.000\r\n"
        b"ok\r\n",
    ),
    (b"$H\n", b"ok\r\n"),
    (b"G21G90G94G54\n", b"ok\r\n"),
    (
        b"$#\n",
        b"[G54:0.000,0.000,0.000]\r\n"
        b"[G55:0.000,0.000,0.000]\r\n"
        b"[G56:0.000,0.000,0.000]\r\n"
        b"[G57:0.000,0.000,0.000]\r\n"
        b"[G58:0.000,0.000,0.000]\r\n"
        b"[G59:0.000,0.000,0.000]\r\n"
        b"[G28:0.000,0.000,0.000]\r\n"
        b"[G30:0.000,0.000,0.000]\r\n"
        b"[G92:0.000,0.000,0.000]\r\n"
        b"[TLO:0.000]\r\n"
        b"[PRB:0.000,0.000,0.000:0]\r\n"
        b"ok\r\n",
    ),
    (b"G10L2P1X-600.000Y-400.000Z-120.000\n", b"ok\r\n"),
    (
        b"$#\n",
        b"[G54:-600.000,-400.000,-120.000]\r\n"
        b"[G55:0.000,0.000,0.000]\r\n"
        b"[G56:0.000,0.000,0.000]\r\n"
        b"[G57:0.000,0.000,0.000]\r\n"
        b"[G58:0.000,0.000,0.000]\r\n"
        b"[G59:0.000,0.000,0.000]\r\n"
        b"[G28:0.000,0.000,0.000]\r\n"
        b"[G30:0.000,0.000,0.000]\r\n"
        b"[G92:0.000,0.000,0.000]\r\n"
        b"[TLO:0.000]\r\n"
        b"[PRB:0.000,0.000,0.000:0]\r\n"
        b"ok\r\n",
    ),
    (b"T77\n", b"ok\r\n"),
    (b"?", b"<Idle|MPos:-2.000,-2.000,-2.000|FS:0,0|WCO:-600.000,-400.000,-120.000>\r\n"),
    (b"$G\n", b"[GC:G0 G54 G17 G21 G90 G94 M5 M9 T77 F0 S0]\r\nok\r\n"),
    (b"?", b"<Idle|MPos:-2.000,-2.000,-2.000|FS:0,0|Ov:100,100,100>\r\n"),
    (b"?", b"<Idle|MPos:-2.000,-2.000,-2.000|FS:0,0>\r\n"),
    (b"?", b"<Idle|MPos:-2.000,-2.000,-2.000|FS:0,0>\r\n"),
    (b"$G\n", b"[GC:G0 G54 G17 G21 G90 G94 M5 M9 T77 F0 S0]\r\nok\r\n"),
    (b"$J=G21G90X100.000Y50.000F6000.0\n", b"ok\r\n"),
    (b"?", b"<Idle|MPos:-500.000,-350.000,-2.000|FS:0,0>\r\n"),
    (b"M8\n", b"ok\r\n"),
    (b"?", b"<Idle|MPos:-500.000,-350.000,-2.000|FS:0,0|Ov:100,100,100|A:F>\r\n"),
    (b"?", b"<Idle|MPos:-500.000,-350.000,-2.000|FS:0,0>\r\n"),
    (b"$G\n", b"[GC:G0 G54 G17 G21 G90 G94 M5 M8 T77 F0 S0]\r\nok\r\n"),
    (b"M9\n", b"ok\r\n"),
    (b"?", b"<Idle|MPos:-500.000,-350.000,-2.000|FS:0,0|Ov:100,100,100>\r\n"),
    (b"\x85", b""),
]


def test_the_driver_says_exactly_these_bytes():
    with scripted_pty(SESSION) as (path, peer):
        clock = ScaledClock(1e6)
        controller = GrblController.open(path, clock=clock)
        gantry, gripper = GrblGantry(controller), GrblVacuumGripper(controller)
        gantry.home()
        assert gantry.position().x_mm == 598.0
        gantry.move_to(100, 50, feed_mm_per_min=6000)
        gripper.grip()
        assert not gripper.holding()
        gripper.release()
        gantry.close()
        peer.wait_until_done()
    peer.check()


def test_the_simulator_answers_exactly_these_bytes():
    simulator = GrblSimulator(ScaledClock(1e6))
    simulator.start()
    client = RawPort(simulator.path)
    client.settle()
    simulator.power_cycle()
    banner = client.read_until(b"to unlock]\r\n")
    assert banner == b"\r\nGrbl 1.1h ['$' for help]\r\n[MSG:'$H'|'$X' to unlock]\r\n"
    for sent, expected in SESSION:
        assert (sent, client.ask(sent, expected[-4:])) == (sent, expected)
    client.close()
    simulator.stop()
