"""Keithley 2450 SourceMeter, native SCPI command set: the facts shared by driver and simulator.

Source: Model 2450 Reference Manual, 2450-901-01, sections 6 (SCPI commands) and 8 (status bits).
"""

import math
import re
from dataclasses import dataclass

from drivers.errors import BrokenReply

MAKER = "KEITHLEY INSTRUMENTS"
MODEL = "MODEL 2450"
NATIVE_LANGUAGE = "SCPI"
OTHER_LANGUAGES = ("SCPI2400", "TSP")
TERMINATOR = b"\n"
SOCKET_PORT = 5025

IDENTIFY = "*IDN?"
LANGUAGE = "*LANG?"
NEXT_ERROR = ":SYST:ERR?"

SOURCE_FUNCTION = ":SOUR:FUNC"
SENSE_FUNCTION = ":SENS:FUNC"
VOLTAGE = ":SOUR:VOLT"
VOLTAGE_RANGE = ":SOUR:VOLT:RANG"
READ_BACK = ":SOUR:VOLT:READ:BACK"
CURRENT_LIMIT = ":SOUR:VOLT:ILIM"
CURRENT_LIMIT_TRIPPED = ":SOUR:VOLT:ILIM:TRIP?"
OVERVOLTAGE = ":SOUR:VOLT:PROT"
OVERVOLTAGE_TRIPPED = ":SOUR:VOLT:PROT:TRIP?"
CURRENT_AUTORANGE = ":SENS:CURR:RANG:AUTO"
INTEGRATION = ":SENS:CURR:NPLC"
OUTPUT = ":OUTP"
INTERLOCK = ":OUTP:INT:TRIP?"
MEASURE = ':READ? "defbuffer1", SOUR, READ, SOURSTAT'
REPEAT = ':FETC? "defbuffer1", SOUR, READ, SOURSTAT'
"""Sends the last reading again, so that a digit that was hit on its way is noticed."""

VOLTAGE_SOURCE = "VOLT"
CURRENT_SENSE = '"CURR:DC"'

MAX_SOURCE_V = 210.0
LOW_RANGE_MAX_V = 21.0
MAX_CURRENT_A = 1.05
MAX_CURRENT_HIGH_RANGE_A = 0.105
MIN_CURRENT_LIMIT_A = 1e-9
INTERLOCK_FREE_MAX_V = 37.0
VOLTAGE_RANGES_V = (0.02, 0.2, 2.0, 20.0, 200.0)
OVERVOLTAGE_STEPS_V = (2, 5, 10, 20, 40, 60, 80, 100, 120, 140, 160, 180)
POWER_LINE_HZ = 50.0
OVERFLOW = 9.9e37

STATUS_PROTECTION = 0x04
STATUS_READ_BACK = 0x08
STATUS_OVER_TEMPERATURE = 0x10
STATUS_LIMITED = 0x20
STATUS_OUTPUT_ON = 0x80

ERRORS = {
    0: "No error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -221: "Settings conflict",
    -222: "Parameter data out of range",
    -224: "Illegal parameter value",
    -350: "Queue overflow",
    -410: "Query INTERRUPTED",
    -420: "Query UNTERMINATED",
}
ERROR_QUEUE_LENGTH = 64


@dataclass(frozen=True)
class QueuedError:
    """One entry of the instrument's error queue; code 0 means that the queue is empty."""

    code: int
    text: str

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


@dataclass(frozen=True)
class Measurement:
    """One reading: source voltage as read back, current, and the source status byte."""

    voltage_v: float
    current_a: float
    status: int

    @property
    def output_on(self) -> bool:
        return bool(self.status & STATUS_OUTPUT_ON)


def overvoltage_step(max_voltage_v: float) -> str:
    """Name of the lowest over-voltage protection step at or above ``max_voltage_v`` (> 0).

    Raises:
        ValueError: no step is that high.
    """
    for step_v in OVERVOLTAGE_STEPS_V:
        if step_v >= max_voltage_v:
            return f"PROT{step_v}"
    raise ValueError(
        f"no over-voltage step protects at {max_voltage_v:g} V, the highest is "
        f"{OVERVOLTAGE_STEPS_V[-1]} V"
    )


def voltage_range(max_voltage_v: float) -> float:
    """The lowest source range (V) that reaches ``max_voltage_v``; a range overreaches by 5 %."""
    return next(limit for limit in VOLTAGE_RANGES_V if abs(max_voltage_v) <= 1.05 * limit)


def parse_identity(reply: str) -> tuple[str, str, str, str]:
    """Maker, model, serial and firmware from ``*IDN?``.

    Raises:
        ValueError: the reply has not four fields.
    """
    fields = [text.strip() for text in reply.split(",")]
    if len(fields) != 4 or not all(fields):
        raise ValueError(f"not an identity: {reply!r}")
    return fields[0], fields[1], fields[2], fields[3]


_ERROR_REPLY = re.compile(r'([+-]?\d+),"([^";]*)(?:;[^"]*)?"')


def parse_error(reply: str, *, port: str, sent: str) -> QueuedError:
    """An entry of the error queue, such as ``-113,"Undefined header;1;2026/11/21 10:00:00.000"``.

    Raises:
        BrokenReply: the reply is no such entry.
    """
    match = _ERROR_REPLY.fullmatch(reply)
    if match is None:
        raise BrokenReply(f"{reply!r} is no error queue entry", port=port, sent=sent)
    error = QueuedError(int(match[1]), match[2])
    if (error.code == 0) != (error.text == ERRORS[0]):
        raise BrokenReply(f"{reply!r} contradicts itself", port=port, sent=sent)
    return error


def format_error(code: int, at: str) -> str:
    if code == 0:
        return '0,"No error;0;0 0"'
    return f'{code},"{ERRORS[code]};1;{at}"'


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?(E[+-]?\d+)?", re.IGNORECASE)


def parse_number(reply: str, *, port: str, sent: str) -> float:
    """A finite number.

    Raises:
        BrokenReply: the reply is no number, or the overflow mark.
    """
    if _NUMBER.fullmatch(reply) is None:
        raise BrokenReply(f"{reply!r} is no number", port=port, sent=sent)
    value = float(reply)
    if not math.isfinite(value) or abs(value) >= OVERFLOW:
        raise BrokenReply(f"{reply!r} means overflow", port=port, sent=sent)
    return value


def parse_flag(reply: str, *, port: str, sent: str) -> bool:
    """``0`` or ``1``.

    Raises:
        BrokenReply: anything else.
    """
    if reply not in ("0", "1"):
        raise BrokenReply(f"{reply!r} is neither 0 nor 1", port=port, sent=sent)
    return reply == "1"


def parse_measurement(reply: str, *, port: str, sent: str) -> Measurement:
    """The reply to :data:`MEASURE`: source value, reading, source status.

    Raises:
        BrokenReply: not three numbers, an overflow, or a source value that was not measured.
    """
    fields = reply.split(",")
    if len(fields) != 3:
        raise BrokenReply(f"{reply!r} has not 3 fields", port=port, sent=sent)
    voltage_v, current_a, status = (parse_number(text, port=port, sent=sent) for text in fields)
    if not (status.is_integer() and 0 <= status <= 0xFF):
        raise BrokenReply(f"{reply!r} has no source status", port=port, sent=sent)
    return Measurement(voltage_v, current_a, int(status))


def format_number(value: float) -> str:
    return f"{value + 0.0:.6E}"


def format_measurement(measurement: Measurement) -> str:
    return (
        f"{format_number(measurement.voltage_v)},{format_number(measurement.current_a)},"
        f"{measurement.status}"
    )


def header_pattern(header: str) -> re.Pattern[str]:
    """What a header such as ``:SOURce[1]:VOLTage[:LEVel]`` matches: long or short form, any case.

    The capitals are the short form; brackets enclose what may be left out; the leading colon is
    optional. A query is written with its question mark.
    """
    text = header.removeprefix(":")
    parts = []
    for token in re.findall(r"[A-Za-z]+|\*|\[1\]|\[|\]|:|\?", text):
        if token == "[1]":
            parts.append("1?")
        elif token == "[":
            parts.append("(?:")
        elif token == "]":
            parts.append(")?")
        elif token.isalpha():
            short = re.match(r"[A-Z]+", token)
            assert short is not None
            rest = token[short.end() :]
            parts.append(f"{short[0]}(?:{rest})?" if rest else short[0])
        else:
            parts.append(re.escape(token))
    return re.compile(":?" + "".join(parts), re.IGNORECASE)
