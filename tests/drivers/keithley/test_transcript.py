"""The dialogue with a 2450, byte by byte; driver and simulator are both held to it."""

import socket

import pytest

from drivers.clock import ScaledClock
from drivers.errors import LimitsNotProgrammed
from drivers.keithley import Keithley2450, Keithley2450Simulator

from ..scripted import scripted_socket

NO_ERROR = (b":SYST:ERR?\n", b'0,"No error;0;0 0"\n')
OPENING = [
    (b"*LANG?\n", b"SCPI\n"),
    (b"*IDN?\n", b"KEITHLEY INSTRUMENTS,MODEL 2450,04412026,1.7.12b\n"),
    NO_ERROR,
]
LIMITS = [
    (b":OUTP?\n", b"0\n"),
    (b":SOUR:VOLT 0\n", b""),
    NO_ERROR,
    (b":SOUR:FUNC VOLT\n", b""),
    NO_ERROR,
    (b':SENS:FUNC "CURR"\n', b""),
    NO_ERROR,
    (b":SOUR:VOLT:RANG 200\n", b""),
    NO_ERROR,
    (b":SOUR:VOLT:READ:BACK ON\n", b""),
    NO_ERROR,
    (b":SENS:CURR:RANG:AUTO ON\n", b""),
    NO_ERROR,
    (b":SENS:CURR:NPLC 1\n", b""),
    NO_ERROR,
    (b":SOUR:VOLT:ILIM 1.000000E-04\n", b""),
    NO_ERROR,
    (b":SOUR:VOLT:PROT PROT60\n", b""),
    NO_ERROR,
    (b":SOUR:VOLT:ILIM?\n", b"1.000000E-04\n"),
    (b":SOUR:VOLT:PROT?\n", b"PROT60\n"),
]
SWITCHING_ON = [
    (b":SOUR:VOLT:ILIM?\n", b"1.000000E-04\n"),
    (b":SOUR:VOLT:PROT?\n", b"PROT60\n"),
    (b":OUTP?\n", b"0\n"),
    (b":SOUR:VOLT 0.000000E+00\n", b""),
    NO_ERROR,
    (b":SOUR:VOLT?\n", b"0.000000E+00\n"),
    (b":OUTP ON\n", b""),
    NO_ERROR,
    (b":OUTP?\n", b"1\n"),
]


def reading(measured: bytes, set_v: bytes, output: bytes) -> list[tuple[bytes, bytes]]:
    return [
        (
            b':READ? "defbuffer1", SOUR, READ, SOURSTAT;'
            b':FETC? "defbuffer1", SOUR, READ, SOURSTAT\n',
            measured + b";" + measured + b"\n",
        ),
        (b":SOUR:VOLT?\n", set_v + b"\n"),
        (b":SOUR:VOLT:ILIM:TRIP?\n", b"0\n"),
        (b":OUTP?\n", output + b"\n"),
    ]


AT_ZERO = reading(b"0.000000E+00,0.000000E+00,136", b"0.000000E+00", b"1")
RAMPING = [
    (b":OUTP:INT:TRIP?\n", b"1\n"),
    (b":OUTP?\n", b"1\n"),
    *AT_ZERO,
    (b":SOUR:VOLT:ILIM?\n", b"1.000000E-04\n"),
    (b":SOUR:VOLT:PROT?\n", b"PROT60\n"),
    (b":SOUR:VOLT?\n", b"0.000000E+00\n"),
    (b":SOUR:VOLT 2.000000E+01\n", b""),
    NO_ERROR,
    *reading(b"2.000000E+01,2.000000E-06,136", b"2.000000E+01", b"1"),
    (b":SOUR:VOLT:ILIM?\n", b"1.000000E-04\n"),
    (b":SOUR:VOLT:PROT?\n", b"PROT60\n"),
    (b":SOUR:VOLT?\n", b"2.000000E+01\n"),
    (b":SOUR:VOLT 4.000000E+01\n", b""),
    NO_ERROR,
    *reading(b"4.000000E+01,4.000000E-06,136", b"4.000000E+01", b"1"),
]
RAMPING_DOWN = [
    (b":OUTP?\n", b"1\n"),
    (b":SOUR:FUNC?\n", b"VOLT\n"),
    (b":SOUR:VOLT?\n", b"4.000000E+01\n"),
    (b":SOUR:VOLT?\n", b"4.000000E+01\n"),
    (b":SOUR:VOLT 2.000000E+01\n", b""),
    NO_ERROR,
    (b":SOUR:VOLT 0.000000E+00\n", b""),
    NO_ERROR,
    (b":OUTP OFF\n", b""),
    NO_ERROR,
    (b":OUTP?\n", b"0\n"),
    (b":SOUR:VOLT 0.000000E+00\n", b""),
    NO_ERROR,
    *reading(b"0.000000E+00,0.000000E+00,8", b"0.000000E+00", b"0"),
]
CLOSING = [(b":OUTP?\n", b"0\n"), (b":OUTP?\n", b"0\n")]
SESSION = OPENING + LIMITS + SWITCHING_ON + RAMPING + RAMPING_DOWN + CLOSING


def test_the_driver_says_exactly_these_bytes(monkeypatch, free):
    monkeypatch.setattr(Keithley2450, "MAX_STEP_V", 20.0)
    with scripted_socket(SESSION) as (address, peer):
        source = Keithley2450.open(address, clock=ScaledClock(1000))
        source.program_limits(max_voltage_v=50, compliance_a=1e-4)
        source.switch_on()
        source.ramp_to(40, rate_v_per_s=200, checkpoint=free)
        off = source.ramp_down(rate_v_per_s=200)
        source.close()
    peer.check()
    assert source.identity.serial == "04412026"
    assert not off.output_on


@pytest.mark.parametrize(
    ("question", "wrong", "complaint"),
    [
        (b":SOUR:VOLT:ILIM?\n", b"1.050000E-04\n", "current limit reads back 0.000105 A"),
        (b":SOUR:VOLT:PROT?\n", b"NONE\n", "protection reads back NONE instead of PROT60"),
    ],
)
def test_limits_that_read_back_wrong_keep_the_output_off(question, wrong, complaint):
    dialogue = OPENING + [(sent, wrong if sent == question else got) for sent, got in LIMITS]
    with scripted_socket(dialogue) as (address, peer):
        source = Keithley2450.open(address)
        with pytest.raises(LimitsNotProgrammed, match=complaint):
            source.program_limits(max_voltage_v=50, compliance_a=1e-4)
        with pytest.raises(LimitsNotProgrammed):
            source.switch_on()
        source._transport.close()
    assert not peer.mismatch


@pytest.mark.parametrize(("answer", "closed"), [(b"1\n", True), (b"0\n", False)])
def test_the_interlock_is_asked_by_one_question(answer, closed):
    with scripted_socket([*OPENING, (b":OUTP:INT:TRIP?\n", answer)]) as (address, peer):
        source = Keithley2450.open(address)
        assert source.interlock_closed() is closed
        source.leave()
    peer.check()


def test_the_simulator_answers_exactly_these_bytes():
    simulator = Keithley2450Simulator(
        lambda v: v * 1e-7, clock=ScaledClock(5000), noise_a=0, relative_noise=0, noise_v=0
    )
    simulator.start()
    _, host, port, _ = simulator.address.split("::")
    with socket.create_connection((host, int(port)), timeout=5) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for sent, expected in SESSION:
            client.sendall(sent)
            received = b""
            while expected and not received.endswith(b"\n"):
                received += client.recv(4096)
            assert (sent, received) == (sent, expected)
    simulator.stop()
