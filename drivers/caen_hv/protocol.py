"""The ASCII protocol of CAEN high-voltage supplies: the facts shared by driver and simulator.

Sources: user manuals of N1419, N1471 (protocol chapter: commands, errors), DT55xxE (board commands,
alarm mask) and DT54xx (format, polarity); public drivers for the bits of STAT.

``$BD:nn,CMD:MON,CH:n,PAR:x`` and ``$BD:nn,CMD:SET,CH:n,PAR:x,VAL:v``, ended by CR LF; boards of the
N1470 kind can be chained and need ``BD``, the others have none, and a DT54xx has no ``CH``. Answers
``#CMD:OK``, ``#CMD:OK,VAL:v`` or one of the errors below, with ``BD:nn,`` where the command had it.
They do not repeat channel or parameter. Currents are in uA, voltages in V without sign, ramps in
V/s, trip times in s, of which 1000 never trips.

The same bits of STAT mean different things in different models: bit 9 is over-temperature in an
N1470 and a mere warning in a DT55xx, and bit 10 a channel that is switched off in one and
over-temperature in the other. Supplies of the 803x kind order them differently again and are not
known here.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from drivers.errors import BrokenReply, InstrumentRefused

BAUD = 9600
TERMINATOR = b"\r\n"
MAKER = "CAEN"
MAX_BOARD = 31
MAX_CHANNEL = 7
NEVER_TRIPS_S = 1000.0

VOLTAGE, CURRENT = "VMON", "IMON"
SETPOINT, CURRENT_LIMIT, VOLTAGE_LIMIT = "VSET", "ISET", "MAXV"
RAMP_UP, RAMP_DOWN, TRIP_TIME, POWER_DOWN = "RUP", "RDW", "TRIP", "PDWN"
CURRENT_RANGE, STATUS = "IMRANGE", "STAT"
ON, OFF = "ON", "OFF"
KILL, RAMP = "KILL", "RAMP"
BOARD_NAME, BOARD_SERIAL, BOARD_FIRMWARE = "BDNAME", "BDSNUM", "BDFREL"
BOARD_CHANNELS, BOARD_ALARM, BOARD_CLEAR = "BDNCH", "BDALARM", "BDCLR"
BOARD_CONTROL, BOARD_INTERLOCK = "BDCTR", "BDILK"
REMOTE, LOCAL = "REMOTE", "LOCAL"
CURRENT_LIMIT_DECIMALS, VOLTAGE_LIMIT_DECIMALS = "ISDEC", "MVDEC"

ERRORS: Mapping[str, str] = MappingProxyType(
    {
        "CMD": "it does not know the command",
        "CH": "it has no such channel",
        "PAR": "it does not know the parameter",
        "VAL": "the value is outside its range",
        "LOC": "its front panel has control",
    }
)
LOCAL_ADVICE = "Turn its front panel switch to REMOTE; until then it can be changed only there."

_N1470_STATUS = {
    0x0001: "ON",
    0x0002: "RUP",
    0x0004: "RDW",
    0x0008: "OVC",
    0x0010: "OVV",
    0x0020: "UNV",
    0x0040: "MAXV",
    0x0080: "TRIP",
    0x0100: "OVP",
    0x0200: "OVT",
    0x0400: "DIS",
    0x0800: "KILL",
    0x1000: "ILK",
    0x2000: "NOCAL",
}
_DT55XX_STATUS = {
    **{bit: name for bit, name in _N1470_STATUS.items() if bit <= 0x0100},
    0x0200: "TWARN",
    0x0400: "OVT",
    0x0800: "KILL",
    0x1000: "ILK",
}
_N1470_ALARMS = {
    0x01: "CH0",
    0x02: "CH1",
    0x04: "CH2",
    0x08: "CH3",
    0x10: "PWFAIL",
    0x20: "OVP",
    0x40: "HVCKFAIL",
}
_DT55XX_ALARMS = {bit: name for bit, name in _DT55XX_STATUS.items() if bit >= 0x0008}

TROUBLES: Mapping[str, str] = MappingProxyType(
    {
        "MAXV": "its voltage limit",
        "TRIP": "a trip by over-current",
        "OVP": "too much power",
        "TWARN": "a warning of its temperature",
        "OVT": "over-temperature",
        "DIS": "a channel switched off at the front panel",
        "KILL": "a kill signal",
        "ILK": "an open interlock",
        "NOCAL": "a lost calibration",
    }
)
"""What keeps an output from rising. Over- and under-voltage only say that the output is ramping,
over-current is the current limit at work."""


@dataclass(frozen=True)
class Family:
    """What models have in common.

    Attributes:
        models: how their names begin.
        addressed: whether commands carry a board number.
        has_channels: whether commands carry a channel.
        status: name of each bit of STAT.
        alarms: name of each bit of BDALARM.
        polarity: the parameter that tells the polarity.
        decimals: the parameter that tells the decimals of VSET.
        tells_control: whether BDCTR tells who has control.
        unverified: what of this was seen in one place only, or nowhere.
    """

    name: str
    models: tuple[str, ...]
    addressed: bool
    has_channels: bool
    status: Mapping[int, str]
    alarms: Mapping[int, str]
    polarity: str
    decimals: str
    tells_control: bool
    unverified: tuple[str, ...] = ()


FAMILIES = (
    Family(
        "N1470",
        ("N14", "DT14"),
        addressed=True,
        has_channels=True,
        status=MappingProxyType(_N1470_STATUS),
        alarms=MappingProxyType(_N1470_ALARMS),
        polarity="POL",
        decimals="VDEC",
        tells_control=True,
    ),
    Family(
        "DT55xx",
        ("DT55",),
        addressed=False,
        has_channels=True,
        status=MappingProxyType(_DT55XX_STATUS),
        alarms=MappingProxyType(_DT55XX_ALARMS),
        polarity="POL",
        decimals="VSDEC",
        tells_control=False,
        unverified=("words of BDILK",),
    ),
    Family(
        "DT54xx",
        ("DT54",),
        addressed=False,
        has_channels=False,
        status=MappingProxyType(_DT55XX_STATUS),
        alarms=MappingProxyType(_DT55XX_ALARMS),
        polarity="POLARITY",
        decimals="VSDEC",
        tells_control=False,
        unverified=("bits of STAT", "MAXV", "PDWN", "BDILK", "names of the decimals"),
    ),
)


def family_of(model: str) -> Family | None:
    """The family of a model by its name, as BDNAME tells it; None when it is not known."""
    return next((family for family in FAMILIES if model.startswith(family.models)), None)


def monitor(parameter: str, *, board: int | None, channel: int | None = None) -> str:
    """A question; without channel it is about the board."""
    return f"{_head('MON', board, channel)}PAR:{parameter}"


def setting(
    parameter: str, value: str = "", *, board: int | None, channel: int | None = None
) -> str:
    """An order; ``ON``, ``OFF`` and ``BDCLR`` have no value."""
    return f"{_head('SET', board, channel)}PAR:{parameter}" + (f",VAL:{value}" if value else "")


def _head(command: str, board: int | None, channel: int | None) -> str:
    address = "" if board is None else f"BD:{board:02d},"
    return f"${address}CMD:{command}," + ("" if channel is None else f"CH:{channel},")


_REPLY = re.compile(r"#(?:BD:(\d{1,2}),)?(?:CMD:(OK)(?:,VAL:(.*))?|(CMD|CH|PAR|VAL|LOC):ERR)")


def parse_reply(reply: str, *, board: int | None, port: str, sent: str) -> str | None:
    """The value of an answer; None for one without value.

    Raises:
        InstrumentRefused: one of the errors; its advice says what to do about a front panel that
            has control.
        BrokenReply: no answer, or that of another board.
    """
    match = _REPLY.fullmatch(reply)
    if match is None:
        raise BrokenReply(f"{reply!r} is no answer", port=port, sent=sent)
    found = None if match[1] is None else int(match[1])
    if found != board:
        raise BrokenReply(f"{reply!r} is the answer of another board", port=port, sent=sent)
    if match[4] is not None:
        raise InstrumentRefused(
            f"the supply refuses: {ERRORS[match[4]]} ({reply})",
            port=port,
            sent=sent,
            advice=LOCAL_ADVICE if match[4] == "LOC" else "",
        )
    value: str | None = match[3]
    return value


_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")


def parse_number(words: str | None, *, port: str, sent: str) -> float:
    """A number.

    Raises:
        BrokenReply: anything else.
    """
    if words is None or _NUMBER.fullmatch(words) is None or not math.isfinite(float(words)):
        raise BrokenReply(f"{words!r} is no number", port=port, sent=sent)
    return float(words)


def parse_whole(words: str | None, *, highest: int, port: str, sent: str) -> int:
    """A whole number from 0 to ``highest``.

    Raises:
        BrokenReply: anything else.
    """
    if words is None or not (words.isascii() and words.isdigit()) or int(words) > highest:
        raise BrokenReply(f"{words!r} is no number from 0 to {highest}", port=port, sent=sent)
    return int(words)


def parse_status(
    words: str | None, bits: Mapping[int, str], *, port: str, sent: str
) -> frozenset[str]:
    """Names of the bits that are set; a bit without a name is called by its number.

    Raises:
        BrokenReply: no number of 16 bits.
    """
    value = parse_whole(words, highest=0xFFFF, port=port, sent=sent)
    return frozenset(
        bits.get(1 << place, f"bit {place}") for place in range(16) if value >> place & 1
    )


def troubles(status: frozenset[str]) -> list[str]:
    """What a status tells that keeps an output from rising, in words; unknown bits do too."""
    return [TROUBLES[name] for name in TROUBLES if name in status] + sorted(
        f"a flag that is not known ({name})" for name in status if name.startswith("bit ")
    )


def parse_word(words: str | None, known: tuple[str, ...], *, port: str, sent: str) -> str:
    """One of some words.

    Raises:
        BrokenReply: anything else.
    """
    if words is None or words.upper() not in known:
        raise BrokenReply(f"{words!r} is not {' or '.join(known)}", port=port, sent=sent)
    return words.upper()
