"""The dialogue with each dialect, byte by byte; driver and simulator are both held to it."""

import pytest

from drivers.clock import ScaledClock
from drivers.marlin import (
    DUET,
    MARLIN,
    SMOOTHIE,
    MarlinGantry,
    MarlinSimulator,
    MarlinVacuumGripper,
)
from drivers.marlin.machine import DUET_IDENTITY, MARLIN_IDENTITY, SMOOTHIE_IDENTITY
from drivers.marlin.protocol import numbered

from ..grbl.conftest import RawPort
from ..scripted import scripted_pty

OK = b"ok\n"
BANNERS = {
    "marlin": b"start\necho:Marlin 2.1.2\n",
    "smoothie": b"Smoothie\nok\n",
    "duet": b"RepRapFirmware for Duet 2 WiFi/Ethernet is up and running.\n",
}
KEEP_ALIVE = b"echo:busy: processing\n"


def line(number, text, answer=OK):
    return numbered(number, text).encode() + b"\n", answer


MARLIN_SESSION = [
    (
        b"N-1 M115*10\n",
        b"Error:Line Number is not Last Line Number+1, Last Line: 0\nResend: 1\nok\n",
    ),
    (
        b"M115\n",
        MARLIN_IDENTITY.encode()
        + b"\nCap:SERIAL_XON_XOFF:0\nCap:EEPROM:1\nCap:EMERGENCY_PARSER:1\nok\n",
    ),
    (
        b"N1 M211*32\n",
        b"echo:Soft endstops: On  Min:  X0.00 Y0.00 Z0.00   Max:  X600.00 Y400.00 Z120.00\nok\n",
    ),
    (b"N2 M503*39\n", b"echo:  M203 X200.00 Y200.00 Z50.00 E25.00\nok\n"),
    (b"N0 M110*35\n", OK),
    line(1, "G21"),
    line(2, "G90"),
    line(3, "G28"),
    line(4, "M400"),
    line(5, "M114", b"X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0\nok\n"),
    line(6, "M114", b"X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0\nok\n"),
    (b"N7000000 M110*36\n", OK),
    line(7000001, "M114", b"X:0.00 Y:0.00 Z:0.00 E:0.00 Count X:0 Y:0 Z:0\nok\n"),
    line(7000002, "G21"),
    line(7000003, "G90"),
    line(7000004, "G1 X100.000 Y50.000 F6000.0"),
    line(7000005, "M400"),
    line(7000006, "M114", b"X:100.00 Y:50.00 Z:0.00 E:0.00 Count X:8000 Y:4000 Z:0\nok\n"),
    line(7000007, "M106 P0 S255"),
    line(
        7000008,
        "M119",
        b"Reporting endstop status\nx_min: open\ny_min: open\nz_min: TRIGGERED\n"
        b"z_probe: open\nok\n",
    ),
    line(7000009, "M107 P0"),
]

SMOOTHIE_SESSION = [
    (b"N-1 M115*10\n", b"rs N0\n"),
    (b"M115\n", SMOOTHIE_IDENTITY.encode() + b"\nok\n"),
    line(0, "M503", b"echo:  M203 X200.00 Y200.00 Z50.00 E25.00\nok\n"),
    line(0, "M110"),
    line(1, "G21"),
    line(2, "G90"),
    line(3, "G28"),
    line(4, "M400"),
    line(5, "M114", b"ok C: X:0.0000 Y:0.0000 Z:0.0000\n"),
    line(6, "M114", b"ok C: X:0.0000 Y:0.0000 Z:0.0000\n"),
    line(7000000, "M110"),
    line(7000001, "M114", b"ok C: X:0.0000 Y:0.0000 Z:0.0000\n"),
    line(7000002, "G21"),
    line(7000003, "G90"),
    line(7000004, "G1 X100.000 Y50.000 F6000.0"),
    line(7000005, "M400"),
    line(7000006, "M114", b"ok C: X:100.0000 Y:50.0000 Z:0.0000\n"),
    line(7000007, "M106 P0 S255"),
    line(7000008, "M119", b"X_min:0 Y_min:0 Z_min:1 Probe:0 pins- (X)P1.24:0\nok\n"),
    line(7000009, "M107 P0"),
]

HOMED = b'{"key":"move.axes[].homed","flags":"","result":[true,true,true]}\nok\n'
IDLE = b'{"key":"state.status","flags":"","result":"idle"}\nok\n'
FANS = b'{"key":"fans[].actualValue","flags":"","result":[%s,0.0,0.0,0.0]}\nok\n'
AT_ZERO = (
    b"X:0.000 Y:0.000 Z:0.000 E:0.000 E0:0.0 Count 0 0 0 "
    b"Machine 0.000 0.000 0.000 Bed comp 0.000\nok\n"
)
DUET_SESSION = [
    (b"N-1 M115*10\n", b"Error: Bad command: -1 M115\nok\n"),
    (b"M115\n", DUET_IDENTITY.encode() + b"\nok\n"),
    line(
        1,
        "M208",
        b"Axis limits X: 0.0 min, 600.0 max, Y: 0.0 min, 400.0 max, Z: 0.0 min, 120.0 max\nok\n",
    ),
    line(2, "G21"),
    line(3, "G90"),
    line(4, "G28"),
    line(5, 'M409 K"state.status"', IDLE),
    line(6, "M114", AT_ZERO),
    line(7, "M114", AT_ZERO),
    line(8, 'M409 K"move.axes[].homed"', HOMED),
    line(9, "M114", AT_ZERO),
    line(10, "G21"),
    line(11, "G90"),
    line(12, "G1 X100.000 Y50.000 F6000.0"),
    line(13, 'M409 K"state.status"', IDLE),
    line(
        14,
        "M114",
        b"X:100.000 Y:50.000 Z:0.000 E:0.000 E0:0.0 Count 8000 4000 0 "
        b"Machine 100.000 50.000 0.000 Bed comp 0.000\nok\n",
    ),
    line(15, "M106 P0 S255"),
    line(16, 'M409 K"fans[].actualValue"', FANS % b"1.0"),
    line(
        17,
        "M119",
        b"Endstops - X: not stopped, Y: not stopped, Z: at min stop, Z probe: not stopped\nok\n",
    ),
    line(18, "M107 P0"),
    line(19, 'M409 K"fans[].actualValue"', FANS % b"0.0"),
]

SESSIONS = [
    pytest.param(MARLIN, MARLIN_SESSION, id="marlin"),
    pytest.param(SMOOTHIE, SMOOTHIE_SESSION, id="smoothie"),
    pytest.param(DUET, DUET_SESSION, id="duet"),
]


@pytest.mark.parametrize(("dialect", "session"), SESSIONS)
def test_the_driver_says_exactly_these_bytes(dialect, session):
    with scripted_pty(session) as (path, peer):
        clock = ScaledClock(1e6)
        gantry = MarlinGantry.open(path, clock=clock, travel_mm=(600, 400, 120))
        gripper = MarlinVacuumGripper(gantry.controller)
        gantry.home()
        gantry.move_to(100, 50, feed_mm_per_min=6000)
        gripper.grip()
        assert not gripper.holding()
        gripper.release()
        gantry.close()
        peer.wait_until_done()
    peer.check()


@pytest.mark.parametrize(("dialect", "session"), SESSIONS)
def test_the_simulator_answers_exactly_these_bytes(dialect, session):
    simulator = MarlinSimulator(dialect, ScaledClock(1e6))
    simulator.start()
    client = RawPort(simulator.path)
    simulator.brown_out()
    assert client.read_until(BANNERS[dialect.name][-6:]) == BANNERS[dialect.name]
    for sent, expected in session:
        answer = client.ask(sent, expected[-4:]).replace(KEEP_ALIVE, b"")
        assert (sent, answer) == (sent, expected)
    client.close()
    simulator.stop()
