"""Julabo circulators: the command set that the FL, CF and F series share.

Source: the operating manuals "Recirculating Coolers FL" (1.953.4829) and "Cryo-Compact Circulators
CF30/CF40" (1.953.4866), chapter on remote control. Commands end with CR, answers with LF or CR LF;
``in`` commands are answered by one line, ``out`` commands by nothing at all: what became of one
tells ``status`` only. ``out`` commands are not carried out in the manual modes.

Unverified: that ``status`` tells a refused command once and then the state again; the wording of
``version`` beyond its first word; that every model takes commands in small letters (some manuals
print capitals); the codes beyond -11. The line needs RTS and CTS crossed, as a null modem cable
does.
"""

import re
from dataclasses import dataclass

MAKER = "JULABO"
BAUD = 4800
"""Other models have 9600: profile data."""
PAUSE_S = 0.25
"""Least time between two commands."""
WRITE_TERMINATOR = b"\r"
READ_TERMINATOR = b"\n"

VERSION = "version"
STATUS = "status"
BATH = "in_pv_00"
EXTERNAL = "in_pv_02"
SETPOINT = "in_sp_00"
SET_SETPOINT = "out_sp_00"
MODE = "in_mode_05"
SET_MODE = "out_mode_05"
STARTED, STOPPED = "1", "0"

SETPOINT_STEP_C = 0.01
NO_SENSOR = "---.--"

STATES = {0: "MANUAL STOP", 1: "MANUAL START", 2: "REMOTE STOP", 3: "REMOTE START"}
ALARMS = {-1: "LOW LEVEL ALARM", -3: "EXCESS TEMPERATURE WARNING"}
REFUSALS = {
    -8: "INVALID COMMAND",
    -9: "COMMAND NOT ALLOWED IN CURRENT OPERATING MODE",
    -10: "VALUE TOO SMALL",
    -11: "VALUE TOO LARGE",
}


class ProtocolError(ValueError):
    """An answer that the instrument can't give."""


@dataclass(frozen=True)
class Status:
    """An answer to ``status``: a state (0 to 3), or a negative code with its text."""

    code: int
    text: str

    @property
    def is_error(self) -> bool:
        return self.code < 0

    @property
    def is_refusal(self) -> bool:
        return self.code in REFUSALS

    @property
    def is_remote(self) -> bool:
        return self.code in (2, 3)

    @property
    def is_started(self) -> bool:
        return self.code in (1, 3)

    def __str__(self) -> str:
        return f"{self.code:03d} {self.text}" if self.is_error else f"{self.code:02d} {self.text}"


_STATUS = re.compile(r"(-\d{2}|\d{2}) ([A-Z][A-Z .,/-]*[A-Z])")


def parse_status(reply: str) -> Status:
    """The state or error of an answer such as ``03 REMOTE START`` or ``-01 LOW LEVEL ALARM``.

    Raises ProtocolError where number and words don't belong together, so that a misread number is
    no other state. Codes that are not known here are kept with their words.
    """
    match = _STATUS.fullmatch(reply.strip())
    if match is None:
        raise ProtocolError(f"{reply!r} is no status")
    code, text = int(match[1]), match[2]
    known = STATES | ALARMS | REFUSALS
    if (code >= 0 or code in known) and known.get(code) != text:
        raise ProtocolError(f"{reply!r} is no status: {code} and its words do not agree")
    if code not in known and text in known.values():
        raise ProtocolError(f"{reply!r} is no status: {code} and its words do not agree")
    return Status(code, text)


_NUMBER = re.compile(r"[+-]?\d{1,3}\.\d{1,2}")


def parse_temperature(reply: str) -> float:
    """Degrees Celsius of an answer such as ``-12.30``; raises ProtocolError."""
    text = reply.strip()
    if _NUMBER.fullmatch(text) is None:
        what = "no sensor is connected" if set(text) <= set("-.") and text else "no temperature"
        raise ProtocolError(f"{reply!r} is {what}" if "sensor" not in what else what)
    return float(text)


def parse_mode(reply: str) -> bool:
    """Whether the circulator is started; raises ProtocolError."""
    if reply.strip() not in (STARTED, STOPPED):
        raise ProtocolError(f"{reply!r} is neither 0 nor 1")
    return reply.strip() == STARTED


def parse_version(reply: str) -> tuple[str, str]:
    """Model and firmware of an answer such as ``JULABO HIGHTECH FL1703 VERSION 4.0``.

    Raises ProtocolError unless it begins with the maker's name.
    """
    words = reply.strip().split()
    if not words or words[0].upper() != MAKER or len(words) < 2:
        raise ProtocolError(f"{reply!r} is no Julabo")
    upper = [word.upper() for word in words]
    if "VERSION" in upper:
        at = upper.index("VERSION")
        return " ".join(words[1:at]) or "unknown", " ".join(words[at + 1 :])
    return " ".join(words[1:]), ""


def format_temperature(temperature_c: float) -> str:
    return f"{temperature_c + 0.0:.2f}"


def set_setpoint(temperature_c: float) -> str:
    return f"{SET_SETPOINT} {format_temperature(temperature_c)}"


def set_mode(mode: str) -> str:
    return f"{SET_MODE} {mode}"
