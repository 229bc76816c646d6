"""The dialogue with a 2400, byte by byte; driver and simulator are both held to it."""

import numpy as np
import pytest

from drivers.clock import ScaledClock
from drivers.errors import InstrumentRefused, LimitsNotProgrammed
from drivers.keithley2400 import Keithley2400, Keithley2400Simulator
from drivers.keithley2400 import driver as driver_module
from drivers.transport import SerialTransport

from ..scripted import scripted_pty

NO_ERROR = (b":SYST:ERR?\n", b'0,"No error"\n')


def command(text: str) -> list[tuple[bytes, bytes]]:
    return [(text.encode() + b"\n", b""), NO_ERROR]


def question(text: str, answer: str) -> list[tuple[bytes, bytes]]:
    return [(text.encode() + b"\n", answer.encode() + b"\n")]


def reading(set_v: str, measured: str) -> list[tuple[bytes, bytes]]:
    asked = ":OUTP?;:SOUR:VOLT?"
    state = f"1;{set_v}"
    return [
        *question(f"{asked};{asked};:SENS:CURR:PROT:TRIP?", f"{state};{state};0"),
        *question(":READ?;:FETC?", f"{measured};{measured}"),
    ]


# seconds since power-on; bits 11 and 12: voltage and current measured; bit 14: voltage sourced
TIME = "+1.000000E+00"
STATUS = "+2.252800E+04"
ZERO = "+0.000000E+00"
OPENING = [
    *question(
        "*IDN?", "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1234567,C34 Sep 21 2016 15:30:00/A02  /U/M"
    ),
    NO_ERROR,
    *question(":FORM:ELEM?", "VOLT,CURR,RES,TIME,STAT"),
]
LIMITS_HELD = question(
    ":SENS:CURR:PROT?;:SOUR:VOLT:PROT?;:OUTP:SMOD?", "+1.000000E-04;+6.000000E+01;ZERO"
)
LIMITS = [
    *question(":OUTP?", "0"),
    *command(":SOUR:VOLT 0"),
    *command(":SOUR:FUNC VOLT"),
    *command(":SOUR:VOLT:MODE FIX"),
    *command(":ROUT:TERM REAR"),
    *command(":OUTP:SMOD ZERO"),
    *command(":SOUR:CLE:AUTO OFF"),
    *command(":TRIG:COUN 1"),
    *command(":SOUR:VOLT:RANG 200"),
    *command(":SENS:FUNC:CONC ON"),
    *command(':SENS:FUNC "VOLT","CURR"'),
    *command(":SENS:CURR:PROT 1.000000E-04"),
    *command(":SENS:CURR:RANG:AUTO ON"),
    *command(":SENS:CURR:NPLC 1"),
    *command(":SOUR:VOLT:PROT 60"),
    *LIMITS_HELD,
]
SWITCHING_ON = [
    *LIMITS_HELD,
    *question(":OUTP?", "0"),
    *question(":OUTP:ENAB?", "0"),
    *command(":SOUR:VOLT 0.000000E+00"),
    *question(":SOUR:VOLT?", ZERO),
    *command(":OUTP ON"),
    *question(":OUTP?", "1"),
]
RAMPING = [
    *question(":OUTP:ENAB?", "0"),
    *question(":OUTP?", "1"),
    *reading(ZERO, f"{ZERO},{ZERO},+9.910000E+37,{TIME},{STATUS}"),
    *LIMITS_HELD,
    *question(":SOUR:VOLT?", ZERO),
    *command(":SOUR:VOLT 2.000000E+01"),
    *reading("+2.000000E+01", f"+2.000000E+01,+2.000000E-06,+9.910000E+37,{TIME},{STATUS}"),
]
SWEEPING = [
    # to the start, where it is already
    *question(":OUTP:ENAB?", "0"),
    *question(":OUTP?", "1"),
    *reading("+2.000000E+01", f"+2.000000E+01,+2.000000E-06,+9.910000E+37,{TIME},{STATUS}"),
    *question(":SOUR:VOLT?", "+2.000000E+01"),
    *command(":SOUR:VOLT 2.000000E+01"),
    *reading("+2.000000E+01", f"+2.000000E+01,+2.000000E-06,+9.910000E+37,{TIME},{STATUS}"),
    # the first point, then the rest by the instrument itself
    *reading("+2.000000E+01", f"+2.000000E+01,+2.000000E-06,+9.910000E+37,{TIME},{STATUS}"),
    *LIMITS_HELD,
    *question(":SOUR:VOLT?", "+2.000000E+01"),
    *command(":SOUR:VOLT:START 2.050000E+01"),
    *command(":SOUR:VOLT:STOP 2.100000E+01"),
    *command(":SOUR:VOLT:STEP 5.000000E-01"),
    *command(":SOUR:SWE:SPAC LIN"),
    *command(":SOUR:SWE:RANG FIX"),
    *command(":SOUR:SWE:CAB LATE"),
    *command(":SOUR:DEL 5.000000E-02"),
    *command(":TRIG:COUN 2"),
    *command(":SOUR:VOLT:MODE SWE"),
    (b":INIT\n", b""),
    *question("*OPC?", "1"),
    *question(":OUTP?", "1"),
    *question(
        ":FETC?;:FETC?",
        ";".join(
            [
                f"+2.050000E+01,+2.050000E-06,+9.910000E+37,{TIME},{STATUS},"
                f"+2.100000E+01,+2.100000E-06,+9.910000E+37,{TIME},{STATUS}"
            ]
            * 2
        ),
    ),
    *command(":SOUR:VOLT 2.100000E+01"),
    *command(":SOUR:VOLT:MODE FIX"),
    *command(":TRIG:COUN 1"),
    # back to the start
    *question(":OUTP:ENAB?", "0"),
    *question(":OUTP?", "1"),
    *reading("+2.100000E+01", f"+2.100000E+01,+2.100000E-06,+9.910000E+37,{TIME},{STATUS}"),
    *question(":SOUR:VOLT?", "+2.100000E+01"),
    *command(":SOUR:VOLT 2.000000E+01"),
    *reading("+2.000000E+01", f"+2.000000E+01,+2.000000E-06,+9.910000E+37,{TIME},{STATUS}"),
]
RAMPING_DOWN = [
    *question(":OUTP?", "1"),
    *question(":SOUR:FUNC?", "VOLT"),
    *question(":SOUR:VOLT?", "+2.000000E+01"),
    *question(":SOUR:VOLT?", "+2.000000E+01"),
    *command(":SOUR:VOLT 0.000000E+00"),
    *command(":OUTP OFF"),
    *question(":OUTP?", "0"),
    *command(":SOUR:VOLT 0.000000E+00"),
    *question(
        ":OUTP?;:SOUR:VOLT?;:OUTP?;:SOUR:VOLT?;:SENS:CURR:PROT:TRIP?", f"0;{ZERO};0;{ZERO};0"
    ),
]
CLOSING = question(":OUTP?", "0") * 2
SESSION = OPENING + LIMITS + SWITCHING_ON + RAMPING + SWEEPING + RAMPING_DOWN + CLOSING


def ended(dialogue, end: bytes) -> list[tuple[bytes, bytes]]:
    return [(sent.replace(b"\n", end), got.replace(b"\n", end)) for sent, got in dialogue]


@pytest.mark.parametrize(("terminator", "end"), [("LF", b"\n"), ("CR", b"\r"), ("CR+LF", b"\r\n")])
def test_the_driver_says_exactly_these_bytes(monkeypatch, terminator, end):
    monkeypatch.setattr(Keithley2400, "MAX_STEP_V", 20.0)
    monkeypatch.setattr(driver_module, "CHUNK_S", 0.2)
    with scripted_pty(ended(SESSION, end)) as (port, peer):
        source = Keithley2400.open(port, clock=ScaledClock(1000), terminator=terminator)
        source.program_limits(max_voltage_v=50, compliance_a=1e-4)
        source.switch_on()
        source.ramp_to(20, rate_v_per_s=200)
        curve = source.sweep(20, 21, 0.5, 0.05, rate_v_per_s=200)
        off = source.ramp_down(rate_v_per_s=200)
        source.close()
    peer.check()
    assert source.identity.serial == "1234567"
    assert curve.voltage_v == pytest.approx([20, 20.5, 21])
    assert curve.current_a == pytest.approx([2e-6, 2.05e-6, 2.1e-6])
    assert not np.any(curve.in_compliance)
    assert not off.output_on


@pytest.mark.parametrize(
    ("wrong", "complaint"),
    [
        (b"+1.050000E-04;+6.000000E+01;ZERO\n", "current limit reads back 0.000105 A"),
        (b"+1.000000E-04;+2.100000E+02;ZERO\n", "protection reads back 210 V instead of 60 V"),
        (b"+1.000000E-04;+6.000000E+01;HIMP\n", "off mode reads back HIMP"),
    ],
)
def test_limits_that_read_back_wrong_keep_the_output_off(wrong, complaint):
    (asked, _), *_ = LIMITS_HELD
    dialogue = OPENING + [(sent, wrong if sent == asked else got) for sent, got in LIMITS]
    with scripted_pty(dialogue) as (port, peer):
        source = Keithley2400.open(port)
        with pytest.raises(LimitsNotProgrammed, match=complaint):
            source.program_limits(max_voltage_v=50, compliance_a=1e-4)
        with pytest.raises(LimitsNotProgrammed):
            source.switch_on()
        source.leave()
    assert not peer.mismatch


@pytest.mark.parametrize(("answer", "closed"), [("1", True), ("0", False)])
def test_a_line_that_is_switched_on_is_an_interlock_that_can_be_asked(answer, closed):
    dialogue = [*OPENING, *question(":OUTP:ENAB?", "1"), *question(":OUTP:ENAB:TRIP?", answer)]
    with scripted_pty(dialogue) as (port, peer):
        source = Keithley2400.open(port)
        assert source.interlock_closed() is closed
        source.leave()
    peer.check()


def test_a_line_that_is_switched_off_never_passes_for_a_closed_interlock():
    with scripted_pty([*OPENING, *question(":OUTP:ENAB?", "0")]) as (port, peer):
        source = Keithley2400.open(port)
        with pytest.raises(InstrumentRefused, match="switched off") as refused:
            source.interlock_closed()
        assert "front panel" in refused.value.advice
        source.leave()
    peer.check()


def test_the_simulator_answers_exactly_these_bytes(monkeypatch):
    simulator = Keithley2400Simulator(
        lambda v: v * 1e-7, clock=ScaledClock(5000), link="pty", noise_a=0, noise_v=0
    )
    monkeypatch.setattr("drivers.keithley2400.simulator.math.fmod", lambda *_: 1.0)
    simulator.start()
    port = SerialTransport(simulator.address, baud=9600)
    with port.transaction(deadline_s=30) as exchange:
        for sent, expected in SESSION:
            exchange.send(sent.decode().removesuffix("\n"))
            received = exchange.receive().encode() + b"\n" if expected else b""
            assert (sent, received) == (sent, expected)
    port.close()
    simulator.stop()
