"""Marlin, Smoothie and RepRapFirmware (Duet): the facts shared by driver and simulator.

Sources: the firmwares' own documentation of their G-codes and what their code answers. The texts
are ours. What was seen in one place only is marked "unverified".
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from drivers.errors import BrokenReply

BAUDS = {"marlin": 115200, "smoothie": 115200, "duet": 115200}
TERMINATOR = b"\n"
MAX_LINE_CHARS = 90
KEEP_ALIVE_S = 2.0

IDENTITY = "M115"
POSITION = "M114"
ENDSTOPS = "M119"
WAIT = "M400"
MILLIMETRES_ABSOLUTE = ("G21", "G90")
SETTINGS = "M503"
UNEXPECTED_NUMBER = -1
"""A line with this number is refused by a controller that counts lines, whatever it expects; its
refusal tells what it expects."""
HOMED_FROM = 7_000_000
"""Lines are numbered from here on while the machine is homed, and from 1 otherwise. A reset starts
again at 1: the controller itself remembers whether it was homed."""
NUMBERS = 900_000
"""Numbers in use before the count starts again."""

STOP_ALL = "M112"
"""Kills the controller, which then needs a reset. It acts at once where `M115` tells
``Cap:EMERGENCY_PARSER:1``; elsewhere when the controller reads the line."""

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Dialect:
    """In which words a firmware says the same things.

    Attributes:
        name: marlin, smoothie or duet.
        firmware: how its `FIRMWARE_NAME` begins.
        home: the command that finds the switches.
        stop: bytes that end a motion from any thread.
        stop_halts: whether the controller refuses everything after a stop until ``restart``.
        restart: the command that ends a halt.
        decimals: digits behind the point in the answer to `M114`.
        position: what the answer to `M114` looks like.
        counts_lines: whether the controller insists on consecutive line numbers and tells the one
            it expects.
        waits_silently: whether `M400` may hold up the very line that should stop the motion, so
            that the end of a motion is asked for instead.
        limits: the command that tells the axis limits; empty where none does.
        limits_off: the command that lets moves pass the axis limits, until a reset.
        limits_on: the command that keeps them inside again.
        banners: what it says first after a reset.
    """

    name: str
    firmware: str
    home: str
    stop: bytes
    stop_halts: bool
    restart: str
    decimals: int
    position: str
    counts_lines: bool
    waits_silently: bool
    limits: str
    limits_off: str
    limits_on: str
    banners: tuple[str, ...]


MARLIN = Dialect(
    name="marlin",
    firmware="Marlin",
    home="G28",
    # no deceleration: the steps behind the stop may be lost. Never numbered: only a line that
    # begins with the M is found before it is queued.
    stop=b"\nM410\n",
    stop_halts=False,
    restart="M999",
    decimals=2,
    # where the queue ends, not where the axes are; " Count" likewise in most builds
    position=r"X:{n} Y:{n} Z:{n}(?: E:{n})? Count .*",
    counts_lines=True,
    waits_silently=False,
    limits="M211",
    limits_off="M211 S0",
    limits_on="M211 S1",
    banners=("start",),
)
SMOOTHIE = Dialect(
    name="smoothie",
    firmware="Smoothie",
    home="G28",
    stop=b"\x18",
    stop_halts=True,
    restart="M999",
    decimals=4,
    # the last target, not where the axes are
    position=r"C: X:{n} Y:{n} Z:{n}.*",
    counts_lines=True,
    waits_silently=False,
    limits="",
    limits_off="M211 S0",
    limits_on="M211 S1",
    banners=("Smoothie",),
)
DUET = Dialect(
    name="duet",
    firmware="RepRapFirmware",
    home="G28",
    # over USB the firmware reads it in its turn (unverified)
    stop=b"\nM112\n",
    stop_halts=True,
    restart="M999",
    decimals=3,
    # the last target; behind "Machine" where the axes are (unverified)
    position=r"X:{n} Y:{n} Z:{n} .*Count .*",
    # a line with a wrong checksum is dropped without a word
    counts_lines=False,
    waits_silently=True,
    limits="M208",
    limits_off="M564 S0",
    limits_on="M564 S1",
    banners=("RepRapFirmware",),
)
DIALECTS = (MARLIN, SMOOTHIE, DUET)

HOME_IN_CNC_MODE = "G28.2"
"""Smoothie's home command when `M115` tells ``X-GRBL_MODE:1``; its G28 then only parks."""

DUET_HOMED = 'M409 K"move.axes[].homed"'
DUET_STATUS = 'M409 K"state.status"'
DUET_STANDING = frozenset({"idle"})
DUET_HALTED = frozenset({"halted"})
"""unverified"""


def numbered(number: int, line: str) -> str:
    """A line with its number and checksum."""
    text = f"N{number} {line}"
    return f"{text}*{checksum(text)}"


def checksum(text: str) -> int:
    """All bytes in front of the ``*``, exclusive-or."""
    result = 0
    for byte in text.encode("ascii"):
        result ^= byte
    return result


@dataclass(frozen=True)
class Firmware:
    """What `M115` tells.

    ``fields`` are the words before the colons in capitals; ``capabilities`` the ``Cap:`` lines.
    """

    dialect: Dialect
    version: str
    fields: Mapping[str, str]
    capabilities: Mapping[str, bool]

    @property
    def stops_at_once(self) -> bool:
        """Whether a stop is seen before anything else in the controller's buffer."""
        return self.dialect is SMOOTHIE or self.capabilities.get("EMERGENCY_PARSER", False)

    @property
    def home(self) -> str:
        cnc = self.dialect is SMOOTHIE and self.fields.get("X-GRBL_MODE") == "1"
        return HOME_IN_CNC_MODE if cnc else self.dialect.home


_FIELD = re.compile(r"([A-Z][A-Z_-]*[A-Z]):")
_CAPABILITY = re.compile(r"Cap:([A-Z0-9_]+):([01])")


def is_identity(line: str) -> bool:
    return line.startswith("FIRMWARE_NAME:")


def parse_firmware(lines: Sequence[str], *, port: str) -> Firmware | None:
    """What the lines of `M115` say; None for a firmware that is none of ours.

    Raises:
        BrokenReply: no line tells a firmware.
    """
    told = next((line for line in lines if is_identity(line)), None)
    if told is None:
        raise BrokenReply("no line tells the firmware", port=port, sent=IDENTITY)
    parts = _FIELD.split(told)
    fields = {
        name: value.strip().rstrip(",")
        for name, value in zip(parts[1::2], parts[2::2], strict=True)
    }
    name = fields["FIRMWARE_NAME"]
    dialect = next((one for one in DIALECTS if name.startswith(one.firmware)), None)
    if dialect is None:
        return None
    capabilities = {
        match[1]: match[2] == "1" for line in lines if (match := _CAPABILITY.fullmatch(line))
    }
    return Firmware(dialect, fields.get("FIRMWARE_VERSION", name), fields, capabilities)


def parse_position(line: str, dialect: Dialect, *, port: str) -> Triple:
    """The position, mm, in an answer to `M114`.

    Raises:
        BrokenReply: the line is no complete answer; a number that lost a digit must not pass.
    """
    number = rf"(-?\d+\.\d{{{dialect.decimals}}})"
    plain = number.replace("(", "").replace(")", "")
    head, _, tail = dialect.position.partition("Z:{n}")
    pattern = (head + "Z:{n}").replace("{n}", number) + tail.replace("{n}", plain)
    match = re.fullmatch(pattern, line)
    if match is None:
        raise BrokenReply(f"{line!r} is no position", port=port, sent=POSITION)
    return float(match[1]), float(match[2]), float(match[3])


def is_position(line: str, dialect: Dialect) -> bool:
    return line.startswith(dialect.position[:2])


_MARLIN_ENDSTOP = re.compile(r"([a-z0-9_]+): (open|TRIGGERED)")
_SMOOTHIE_ENDSTOP = re.compile(r"(?:([xyz])_(min|max)|(min|max)_([xyz])|(probe)):([01])", re.I)
_DUET_ENDSTOP = re.compile(r"([XYZ]|Z probe): (not stopped|at (?:min|max) stop|no endstop)")


def is_endstops(line: str) -> bool:
    return bool(
        _MARLIN_ENDSTOP.fullmatch(line)
        or _SMOOTHIE_ENDSTOP.match(line)
        or line.startswith("Endstops - ")
    )


def parse_endstops(lines: Sequence[str], dialect: Dialect, *, port: str) -> dict[str, bool]:
    """Inputs by name (x_min, z_max, z_probe, filament): whether they are triggered.

    Raises:
        BrokenReply: no line tells one.
    """
    found: dict[str, bool] = {}
    for line in lines:
        if dialect is MARLIN and (match := _MARLIN_ENDSTOP.fullmatch(line)):
            found[match[1]] = match[2] == "TRIGGERED"
        elif dialect is SMOOTHIE:
            for match in _SMOOTHIE_ENDSTOP.finditer(line.partition("pins")[0]):
                axis, end = (match[1] or match[4], match[2] or match[3])
                name = f"{axis}_{end}".lower() if axis else "z_probe"
                found[name] = match[6] == "1"
        elif dialect is DUET and line.startswith("Endstops - "):
            for match in _DUET_ENDSTOP.finditer(line):
                name = match[1].lower().replace(" ", "_")
                found[name] = match[2].startswith("at ")
    if not found:
        raise BrokenReply("no line tells an endstop", port=port, sent=ENDSTOPS)
    return found


_MARLIN_LIMITS = re.compile(
    r"(?:echo:)?.*?Min: +X(?P<x0>-?[\d.]+) Y(?P<y0>-?[\d.]+) Z(?P<z0>-?[\d.]+)"
    r" +Max: +X(?P<x1>-?[\d.]+) Y(?P<y1>-?[\d.]+) Z(?P<z1>-?[\d.]+)"
)
_DUET_LIMITS = re.compile(
    r"Axis limits.*?X:? ?(?P<x0>-?[\d.]+)(?: min, |:)(?P<x1>-?[\d.]+)"
    r".*?Y:? ?(?P<y0>-?[\d.]+)(?: min, |:)(?P<y1>-?[\d.]+)"
    r".*?Z:? ?(?P<z0>-?[\d.]+)(?: min, |:)(?P<z1>-?[\d.]+).*"
)
"""unverified"""


def is_limits(line: str) -> bool:
    return bool(_MARLIN_LIMITS.fullmatch(line) or _DUET_LIMITS.fullmatch(line))


def parse_limits(line: str, *, port: str) -> tuple[Triple, Triple]:
    """Lowest and highest positions of the axes, mm.

    Raises:
        BrokenReply: the line tells none, or a highest one below its lowest.
    """
    match = _MARLIN_LIMITS.fullmatch(line) or _DUET_LIMITS.fullmatch(line)
    if match is not None:
        try:
            low = (float(match["x0"]), float(match["y0"]), float(match["z0"]))
            high = (float(match["x1"]), float(match["y1"]), float(match["z1"]))
        except ValueError:
            low = high = (0.0, 0.0, 0.0)
        if all(a < b for a, b in zip(low, high, strict=True)):
            return low, high
    raise BrokenReply(f"{line!r} tells no axis limits", port=port)


_RATES = re.compile(r"(?:echo:)?\s*M203 X(\d+\.?\d*) Y(\d+\.?\d*) Z(\d+\.?\d*).*")


def parse_rates(lines: Sequence[str]) -> Triple | None:
    """Highest rates of the axes, mm/min, in the list of settings; None when it has none."""
    for line in lines:
        match = _RATES.fullmatch(line)
        if match is not None:
            return float(match[1]) * 60, float(match[2]) * 60, float(match[3]) * 60
    return None


def parse_model(line: str, *, port: str, sent: str) -> object:
    """The result in an answer of Duet's object model (`M409`).

    Raises:
        BrokenReply: the line is no such answer to this question.
    """
    try:
        answer = json.loads(line)
    except ValueError as error:
        raise BrokenReply(f"{line!r} is no object", port=port, sent=sent) from error
    if (
        not isinstance(answer, dict)
        or "result" not in answer
        or f'"{answer.get("key")}"' != sent.partition(" K")[2]
    ):
        raise BrokenReply(f"{line!r} answers another question", port=port, sent=sent)
    return answer["result"]


_OK = re.compile(r"ok(?: N(?P<number>\d+))?(?: P\d+)?(?: B\d+)?(?: (?P<text>.*))?")
_RESEND = re.compile(r"(?:Resend: ?|rs N?)(\d+)")


@dataclass(frozen=True)
class Acknowledged:
    """An ``ok``, the number of the line it belongs to where it tells, and what follows it."""

    number: int | None
    text: str


def acknowledgement(line: str) -> Acknowledged | None:
    match = _OK.fullmatch(line)
    if match is None:
        return None
    number = match["number"]
    return Acknowledged(int(number) if number else None, match["text"] or "")


def resend_number(line: str) -> int | None:
    match = _RESEND.fullmatch(line)
    return int(match[1]) if match else None


def is_busy(line: str) -> bool:
    return line.removeprefix("echo:").startswith("busy:")


def is_halt(line: str) -> bool:
    """Whether the controller says that it refuses everything from now on."""
    return line == "!!" or line.startswith(("HALTED", "ALARM", "error:Alarm")) or "kill()" in line


def is_line_error(line: str) -> bool:
    """Whether an error is about the number or checksum of a line; a resend request follows."""
    return "Last Line: " in line


def is_error(line: str) -> bool:
    return line.startswith("Error:") or "nknown command" in line


_UNHOMED = re.compile(
    r"(?:echo:)?(?:Home .*First|.*(?:not homed|before homing|insufficient axes).*)"
)


def is_unhomed(line: str) -> bool:
    """Whether a move was refused because an axis was not homed."""
    return bool(_UNHOMED.fullmatch(line))
