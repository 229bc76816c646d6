"""The RS-232 protocol of iseg NHQ and SHQ supplies: the facts shared by driver and simulator.

Sources: manuals of NHQ x2xx (precision series, 3.06) and NHQ x0x (standard series, 2.04), and what
was seen on an NHQ 208L.

9600 baud, 8N1, lines end with CR LF. The unit echoes every character, the line end too, and the
next one is sent after the echo. Then a question (``U1``) is answered by its value, an order
(``D1=40``) by an empty line, ``G1`` by the status word; some units put an empty line before a
value. The unit leaves a break (``W``, 0 to 255 ms) between the characters that it sends.

The two series differ: voltages have an exponent (``+01234-01`` is 123.4 V) or are whole volts
(``+1234``); the current trip ``L`` is read in A or in counts, and always written in counts of the
lowest range. A set-point above the limit is answered by ``? UMAX=nnnn``, and the unit *stores* that
limit as the set-point. Reading the status word ``S`` ends a permanent shut-off; with autostart
(``A`` = 8) the unit then restores its voltage by itself.

Limits of voltage (``M``) and current (``N``) are rotary switches, in percent of what the unit can
do: they can only be read.

Unverified: the sign of ``D`` (it is not used); whether ``T`` answers with leading zeros (both are
read); the count of ``L`` that a unit takes at most.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from drivers.errors import BrokenReply, InstrumentRefused

BAUD = 9600
TERMINATOR = b"\r\n"
MAKER = "iseg"
CHANNELS = (1, 2)

IDENTIFY, BREAK_TIME = "#", "W"
VOLTAGE, CURRENT, SETPOINT = "U", "I", "D"
VOLTAGE_SWITCH, CURRENT_SWITCH = "M", "N"
RAMP, TRIP, GO = "V", "L", "G"
STATUS, MODULE, AUTOSTART = "S", "T", "A"

SLOWEST_V_PER_S, FASTEST_V_PER_S = 2, 255
MAX_BREAK_MS = 255

STATUS_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "ON": "the output is where it was sent",
        "OFF": "the channel is switched off at the front panel",
        "MAN": "the front panel has control",
        "ERR": "a limit of voltage or current was exceeded",
        "INH": "the inhibit input was active",
        "QUA": "the output voltage is not settled",
        "L2H": "the output voltage rises",
        "H2L": "the output voltage falls",
        "LAS": "look at the status",
        "TRP": "the current trip acted",
    }
)
MODULE_BITS: Mapping[int, str] = MappingProxyType(
    {
        128: "QUA",
        64: "ERR",
        32: "INH",
        16: "KILL",
        8: "OFF",
        4: "POSITIVE",
        2: "MAN",
        1: "DISPLAY",
    }
)
AUTOSTART_BIT = 8

ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "????": "it does not know the command",
        "?WCN": "it has no such channel",
        "? UMAX": "the voltage is above its limit",
    }
)
RESTARTED = "?TOT"


def question(letter: str, channel: int | None = None) -> str:
    return letter if channel is None else f"{letter}{channel}"


def order(letter: str, channel: int, value: str) -> str:
    return f"{letter}{channel}={value}"


@dataclass(frozen=True)
class Reading:
    """A number and its last digit."""

    value: float
    step: float


@dataclass(frozen=True)
class Unit:
    """What ``#`` tells: unit number, firmware, and the most that the unit can do."""

    number: str
    firmware: str
    max_v: float
    max_a: float


@dataclass(frozen=True)
class HardwareLimits:
    """What the rotary switches of a channel allow; magnitudes."""

    max_voltage_v: float
    max_current_a: float


_ERROR = re.compile(r"\?.*")
_UMAX = re.compile(r"\? ?UMAX[^=0-9]?=(\d+)")
_VOLTAGE = re.compile(r"([+-]?)(\d{1,7})(\.\d{1,4})?([+-]\d{1,2})?")
_CURRENT = re.compile(r"([+-]?)(\d{1,7})([+-]\d{1,2})")
_UNIT = re.compile(r"(\w+);([\w.]+);(\d+(?:\.\d+)?)(k?V);(\d+(?:\.\d+)?)([mun]?A)")
_PREFIXES = {"V": 1.0, "kV": 1e3, "A": 1.0, "mA": 1e-3, "uA": 1e-6, "nA": 1e-9}


def check_error(reply: str, *, port: str, sent: str) -> None:
    """Raise when the unit answers with an error.

    Raises:
        InstrumentRefused: it does not understand, or does not do it.
        BrokenReply: it has restarted its line, or the error is not known.
    """
    if _ERROR.fullmatch(reply) is None:
        return
    for beginning, meaning in ERRORS.items():
        if reply.startswith(beginning) or reply.replace(" ", "").startswith(
            beginning.replace(" ", "")
        ):
            raise InstrumentRefused(
                f"the supply refuses: {meaning} ({reply})", port=port, sent=sent
            )
    if reply.startswith(RESTARTED):
        raise BrokenReply(f"the supply has begun anew ({reply})", port=port, sent=sent)
    raise BrokenReply(f"{reply!r} is an error that is not known", port=port, sent=sent)


def stored_limit_v(reply: str) -> float | None:
    """The set-point that the unit took instead of one above its limit; None for other replies."""
    match = _UMAX.fullmatch(reply)
    return None if match is None else float(match[1])


def parse_voltage(reply: str, *, port: str, sent: str) -> Reading:
    """A voltage with sign: ``+01234-01`` is 123.4 V in steps of 0.1 V, ``-1234`` whole volts.

    Raises:
        BrokenReply: anything else.
    """
    match = _VOLTAGE.fullmatch(reply)
    if match is None or (match[3] and match[4]):
        raise BrokenReply(f"{reply!r} is no voltage", port=port, sent=sent)
    exponent = int(match[4] or 0)
    fraction = match[3] or ""
    value = float(f"{match[1]}{match[2]}{fraction}e{exponent}")
    return Reading(
        _finite(value, reply, port, sent), 10.0 ** (exponent - max(0, len(fraction) - 1))
    )


def parse_current(reply: str, *, port: str, sent: str) -> Reading:
    """A current in A: ``12345-09`` is 12.345 uA in steps of 1 nA.

    Raises:
        BrokenReply: anything else.
    """
    match = _CURRENT.fullmatch(reply)
    if match is None:
        raise BrokenReply(f"{reply!r} is no current", port=port, sent=sent)
    exponent = int(match[3])
    value = float(f"{match[1]}{match[2]}e{exponent}")
    return Reading(_finite(value, reply, port, sent), 10.0**exponent)


def parse_whole(reply: str, *, highest: int, port: str, sent: str) -> int:
    """A whole number from 0 to ``highest``; leading zeros are allowed.

    Raises:
        BrokenReply: anything else.
    """
    if not (reply.isascii() and reply.isdigit()) or int(reply) > highest:
        raise BrokenReply(f"{reply!r} is no number from 0 to {highest}", port=port, sent=sent)
    return int(reply)


def parse_unit(reply: str, *, port: str, sent: str) -> Unit:
    """``484216;3.06;3000V;4mA``.

    Raises:
        BrokenReply: anything else.
    """
    match = _UNIT.fullmatch(reply)
    if match is None:
        raise BrokenReply(f"{reply!r} names no supply", port=port, sent=sent)
    return Unit(
        match[1],
        match[2],
        float(match[3]) * _PREFIXES[match[4]],
        float(match[5]) * _PREFIXES[match[6]],
    )


def parse_status(reply: str, channel: int, *, port: str, sent: str) -> str:
    """A status word, ``ON`` or ``S1=ON``, blanks behind it.

    Raises:
        BrokenReply: no such word, or that of the other channel.
    """
    word = reply.removeprefix(f"{STATUS}{channel}=").rstrip(" ")
    if word not in STATUS_WORDS:
        raise BrokenReply(f"{reply!r} is no status of channel {channel}", port=port, sent=sent)
    return word


def module_flags(value: int) -> frozenset[str]:
    """Names of the bits of ``T``."""
    return frozenset(name for bit, name in MODULE_BITS.items() if value & bit)


def format_setpoint(voltage_v: float, step_v: float) -> str:
    """A magnitude, with the decimals of the steps of the unit."""
    decimals = max(0, round(-math.log10(step_v)))
    return f"{abs(voltage_v):.{decimals}f}"


def _finite(value: float, reply: str, port: str, sent: str) -> float:
    if not math.isfinite(value):
        raise BrokenReply(f"{reply!r} is no finite number", port=port, sent=sent)
    return value
