"""The dialogue with a 6517, byte by byte; driver and simulator are both held to it."""

import pytest

from drivers.clock import ScaledClock
from drivers.errors import LimitsNotProgrammed
from drivers.keithley6517 import Keithley6517, Keithley6517Simulator
from drivers.transport import SerialTransport

from ..scripted import scripted_pty

NO_ERROR = (b":SYST:ERR?\n", b'0,"No error"\n')
ZERO = "+0.000000E+00"
TWENTY = "+2.000000E+01"


def command(text: str) -> list[tuple[bytes, bytes]]:
    return [(text.encode() + b"\n", b""), NO_ERROR]


def question(text: str, answer: str) -> list[tuple[bytes, bytes]]:
    return [(text.encode() + b"\n", answer.encode() + b"\n")]


def state(output: str, set_v: str) -> list[tuple[bytes, bytes]]:
    asked, said = ":OUTP?;:SOUR:VOLT?;:SOUR:CURR:RLIM:STAT?", f"{output};{set_v};1"
    return question(f"{asked};{asked};:SOUR:CURR:LIM:STAT?", f"{said};{said};0")


def reading(set_v: str, current: str) -> list[tuple[bytes, bytes]]:
    return [*state("1", set_v), *question(":READ?;:FETC?", f"{current};{current}")]


OPENING = [
    *question("*IDN?", "KEITHLEY INSTRUMENTS INC.,MODEL 6517B,1265432,A13/700x"),
    NO_ERROR,
]
LIMITS_HELD = question(
    ":SOUR:VOLT:LIM?;:SOUR:VOLT:LIM:STAT?;:SOUR:CURR:RLIM:STAT?;:SOUR:VOLT:MCON?",
    "+5.000000E+01;1;1;1",
)
LIMITS = [
    *question(":OUTP?", "0"),
    *command(":SYST:ZCH ON"),
    *command(":SOUR:VOLT 0"),
    *command(":SOUR:VOLT:RANG 100"),
    *command(":SOUR:VOLT:LIM 5.000000E+01"),
    *command(":SOUR:VOLT:LIM:STAT ON"),
    *command(":SOUR:CURR:RLIM:STAT ON"),
    *command(":SOUR:VOLT:MCON ON"),
    *command(":INIT:CONT OFF"),
    *command(":FORM:ELEM READ"),
    *command(":SENS:FUNC 'CURR'"),
    *command(":SENS:CURR:NPLC 1"),
    *command(":SYST:ZCH ON"),
    *command(":SENS:CURR:RANG 2e-09"),
    *command(":SYST:ZCOR OFF"),
    *command(":SYST:ZCOR ON"),
    *command(":SENS:CURR:RANG:AUTO ON"),
    *LIMITS_HELD,
]
SWITCHING_ON = [
    *LIMITS_HELD,
    *question(":OUTP?", "0"),
    *command(":SOUR:VOLT 0.000000E+00"),
    *question(":SOUR:VOLT?", ZERO),
    *command(":SYST:ZCH OFF"),
    *command(":OUTP ON"),
    *question(":OUTP?", "1"),
]
RAMPING = [
    *question(":OUTP?", "1"),
    *reading(ZERO, ZERO),
    *LIMITS_HELD,
    *question(":SOUR:VOLT?", ZERO),
    *command(":SOUR:VOLT 2.000000E+01"),
    *reading(TWENTY, "+1.999800E-09"),
]
RAMPING_DOWN = [
    *question(":OUTP?", "1"),
    *question(":SOUR:VOLT?", TWENTY),
    *question(":SOUR:VOLT?", TWENTY),
    *command(":SOUR:VOLT 0.000000E+00"),
    *command(":OUTP OFF"),
    *command(":SYST:ZCH ON"),
    *question(":OUTP?", "0"),
    *command(":SOUR:VOLT 0.000000E+00"),
    *state("0", ZERO),
]
CLOSING = question(":OUTP?", "0") * 2
SESSION = OPENING + LIMITS + SWITCHING_ON + RAMPING + RAMPING_DOWN + CLOSING


def test_the_driver_says_exactly_these_bytes(monkeypatch):
    monkeypatch.setattr(Keithley6517, "MAX_STEP_V", 20.0)
    ended = [(sent.replace(b"\n", b"\r\n"), got.replace(b"\n", b"\r\n")) for sent, got in SESSION]
    with scripted_pty(ended) as (port, peer):
        source = Keithley6517.open(port, clock=ScaledClock(1000), pause_s=0)
        source.program_limits(max_voltage_v=50, compliance_a=1e-4)
        source.switch_on()
        source.ramp_to(20, rate_v_per_s=200)
        off = source.ramp_down(rate_v_per_s=200)
        source.close()
    peer.check()
    assert source.identity.model == "MODEL 6517B"
    assert not off.output_on


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (b"+1.000000E+03;1;1;1\n", "limit reads back 1000 V instead of 50 V"),
        (b"+5.000000E+01;0;1;1\n", "limit reads back off"),
        (b"+5.000000E+01;1;0;1\n", "resistor reads back out"),
        (b"+5.000000E+01;1;1;0\n", "not connected"),
    ],
)
def test_limits_that_read_back_wrong_keep_the_output_off(wrong, complaint):
    (asked, _), *_ = LIMITS_HELD
    dialogue = OPENING + [(sent, wrong if sent == asked else got) for sent, got in LIMITS]
    with scripted_pty(dialogue) as (port, peer):
        source = Keithley6517.open(port, terminator="LF", pause_s=0)
        with pytest.raises(LimitsNotProgrammed, match=complaint):
            source.program_limits(max_voltage_v=50, compliance_a=1e-4)
        with pytest.raises(LimitsNotProgrammed):
            source.switch_on()
        source.leave()
    assert not peer.mismatch


def test_the_simulator_answers_exactly_these_bytes():
    simulator = Keithley6517Simulator(
        lambda v: v * 1e-10,
        clock=ScaledClock(5000),
        link="pty",
        noise_a=0,
        relative_noise=0,
        offset_a=1e-9,
    )
    simulator.start()
    port = SerialTransport(simulator.address, baud=9600)
    with port.transaction(deadline_s=30) as exchange:
        for sent, expected in SESSION:
            exchange.send(sent.decode().removesuffix("\n"))
            received = exchange.receive().encode() + b"\n" if expected else b""
            assert (sent, received) == (sent, expected)
    port.close()
    simulator.stop()
