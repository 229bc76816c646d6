"""The dialogue with an NHQ, byte by byte with its echoes; driver and simulator are held to it."""

import pytest

from drivers.clock import ScaledClock
from drivers.errors import LimitsNotProgrammed
from drivers.iseg import Iseg, IsegSimulator

from ..raw_port import hold_dialogue
from ..scripted import scripted_pty


def echoed(*pairs):
    """Each character with its echo; the answer comes behind the echo of the line feed."""
    dialogue = []
    for sent, answer in pairs:
        *before, last = f"{sent}\r\n".encode()
        dialogue += [(bytes((byte,)), bytes((byte,))) for byte in before]
        dialogue.append((bytes((last,)), bytes((last,)) + f"{answer}\r\n".encode()))
    return dialogue


SYNCHRONISING = [(b"\r\n", b"\r\n")]
IDENTITY = ("#", "484216;3.06;100V;10mA")
POSITIVE = ("T1", "004")
OPENING = [
    *SYNCHRONISING,
    *echoed(IDENTITY, POSITIVE, ("D1", "+00000-01"), ("A1", "000")),
]


def look(voltage, setpoint, word):
    return [POSITIVE, ("D1", setpoint), ("U1", voltage), ("S1", f"S1={word:<3}")]


AT_REST = look("+00000-01", "+00000-01", "ON")
READ_LIMITS = [("M1", "050"), ("N1", "100"), ("L1", "1000000-09"), ("A1", "000")]
LIMITS = [
    *AT_REST,
    ("D1=0", ""),
    ("A1=0", ""),
    ("A1", "000"),
    ("V1=10", ""),
    ("L1=100", ""),
    ("L1", "00100-09"),
    ("L1=1000000", ""),
    *READ_LIMITS,
]
SWITCHING_ON = [
    *READ_LIMITS,
    *AT_REST,
    POSITIVE,
    ("D1=0.0", ""),
    ("G1", "S1=ON "),
    ("D1", "+00000-01"),
    ("D1=0", ""),
    ("V1=10", ""),
    ("S1", "S1=ON "),
    ("G1", "S1=ON "),
    *AT_REST,
]
RAMPING = [
    POSITIVE,
    *AT_REST,
    ("V1=20", ""),
    ("I1", "00000-09"),
    *AT_REST,
    POSITIVE,
    *READ_LIMITS,
    ("D1", "+00000-01"),
    ("D1=2.0", ""),
    ("G1", "S1=L2H"),
    ("I1", "00020-09"),
    *look("+00020-01", "+00020-01", "ON"),
    POSITIVE,
]
RAMPING_DOWN = [
    *look("+00020-01", "+00020-01", "ON"),
    ("D1", "+00020-01"),
    ("D1", "+00020-01"),
    ("V1=20", ""),
    ("D1=0.0", ""),
    ("G1", "S1=H2L"),
    ("D1=0", ""),
    ("V1=255", ""),
    ("G1", "S1=ON "),
    *AT_REST,
    ("D1=0.0", ""),
    ("G1", "S1=ON "),
    ("I1", "00000-09"),
    *AT_REST,
]
CLOSING = AT_REST + AT_REST
SESSION = OPENING + echoed(*LIMITS, *SWITCHING_ON, *RAMPING, *RAMPING_DOWN, *CLOSING)


def test_the_driver_says_exactly_these_bytes():
    with scripted_pty(SESSION) as (path, peer):
        supply = Iseg.open(path, clock=ScaledClock(1000))
        supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
        supply.switch_on()
        supply.ramp_to(2, rate_v_per_s=20)
        off = supply.ramp_down(rate_v_per_s=20)
        supply.close()
    peer.check()
    assert supply.identity.serial == "484216"
    assert supply.identity.firmware == "3.06"
    assert supply.identity.model == "100 V 10 mA"
    assert not off.output_on


def test_whole_volts_and_counts_are_the_standard_series():
    session = [
        *SYNCHRONISING,
        *echoed(IDENTITY, ("T2", "000"), ("D2", "-0012"), ("A2", "0"), ("I2", "00012-06")),
        *echoed(("T2", "000"), ("D2", "-0012"), ("U2", "-0012"), ("S2", "L2H")),
    ]
    with scripted_pty(session) as (path, peer):
        supply = Iseg.open(path, channel=2, polarity=-1)
        reading = supply.read()
        supply.leave()
    peer.check()
    assert (reading.voltage_v, reading.set_v) == (-12, -12)
    assert reading.current_a == pytest.approx(-12e-6)


@pytest.mark.parametrize(
    ("found", "complaint"),
    [
        (("M1", "060"), r"switch that stands at 60 V, above the maximum of 50 V.*Turn the Vmax"),
        (("L1", "00999-06"), r"current trip reads back 0\.000999 A instead of 0\.001 A"),
        (("A1", "008"), "autostart is on"),
    ],
)
def test_limits_that_read_back_wrong_keep_the_output_off(found, complaint):
    limits = [found if pair[0] == found[0] else pair for pair in READ_LIMITS]
    session = OPENING + echoed(*LIMITS[: -len(READ_LIMITS)], *limits)
    with scripted_pty(session) as (path, peer):
        supply = Iseg.open(path)
        with pytest.raises(LimitsNotProgrammed, match=complaint):
            supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
        with pytest.raises(LimitsNotProgrammed):
            supply.switch_on()
        supply.leave()
    assert not peer.mismatch


def test_the_simulator_answers_exactly_these_bytes():
    simulator = IsegSimulator((lambda v: v * 1e-8,), ScaledClock(1e6))
    simulator.start()
    # at this speed of time a ramp is over before its answer is written
    session = [
        (sent, got.replace(b"S1=L2H", b"S1=ON ").replace(b"S1=H2L", b"S1=ON "))
        for sent, got in SESSION
    ]
    hold_dialogue(simulator.address, session)
    simulator.stop()


def test_the_simulator_answers_the_vendors_errors():
    simulator = IsegSimulator()
    simulator.start()
    hold_dialogue(
        simulator.address,
        echoed(
            ("X1", "????"),
            ("V1=1", "????"),
            ("V1=256", "????"),
            ("D1=abc", "????"),
            ("U3", "?WCN"),
            ("D1=60", "? UMAX=0050"),
            ("D1", "+00500-01"),
            ("W=300", "????"),
            ("W", "003"),
        ),
    )
    simulator.stop()
