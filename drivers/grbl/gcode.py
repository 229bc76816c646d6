"""The part of G-code that the simulated controller speaks."""

import re
from dataclasses import dataclass, field

from drivers.gantry_moves import AXES
from drivers.grbl.protocol import MAX_TOOL, Triple

MODAL_GROUPS = {
    "motion": ("G0", "G1"),
    "plane": ("G17", "G18", "G19"),
    "distance": ("G90", "G91"),
    "feed_mode": ("G93", "G94"),
    "units": ("G20", "G21"),
    "coordinates": ("G54", "G55", "G56", "G57", "G58", "G59"),
    "spindle": ("M3", "M4", "M5"),
}
NON_MODAL = ("G4", "G10", "G53", "G92", "G92.1")
COOLANT = ("M7", "M8", "M9")
PROGRAM = ("M0", "M2", "M30")
JOG_WORDS = frozenset({"G20", "G21", "G90", "G91", "G53"})


class GcodeError(Exception):
    """A line is refused with an error number of the protocol."""

    def __init__(self, number: int) -> None:
        super().__init__(f"error:{number}")
        self.number = number


@dataclass(frozen=True)
class Line:
    """One parsed line: its G and M codes and its values by letter."""

    codes: tuple[str, ...]
    values: dict[str, float]

    def code_of(self, group: str) -> str | None:
        return next((code for code in self.codes if code in MODAL_GROUPS[group]), None)

    @property
    def has_axes(self) -> bool:
        return any(axis.upper() in self.values for axis in AXES)


@dataclass
class ModalState:
    """What stays set from line to line; a reset brings back these defaults."""

    motion: str = "G0"
    coordinates: str = "G54"
    plane: str = "G17"
    units: str = "G21"
    distance: str = "G90"
    feed_mode: str = "G94"
    spindle: str = "M5"
    coolant: set[str] = field(default_factory=set)
    tool: int = 0
    feed: float = 0.0
    speed: float = 0.0
    g92: Triple = (0.0, 0.0, 0.0)

    def end_program(self) -> None:
        """What M2 and M30 set back; units, tool, feed and offsets stay."""
        self.motion, self.plane, self.distance = "G1", "G17", "G90"
        self.feed_mode, self.coordinates, self.spindle = "G94", "G54", "M5"

    def report(self) -> str:
        coolant = " ".join(sorted(self.coolant)) or "M9"
        return (
            f"[GC:{self.motion} {self.coordinates} {self.plane} {self.units} {self.distance} "
            f"{self.feed_mode} {self.spindle} {coolant} T{self.tool} F{self.feed:.0f} "
            f"S{self.speed:.0f}]"
        )


_WORD = re.compile(r"([A-Z])([+-]?(?:\d+\.?\d*|\.\d+))")


def parse_line(text: str) -> Line:
    """Codes and values of a line without spaces and comments, in capitals.

    Raises:
        GcodeError: with the number that GRBL answers.
    """
    position, codes, values = 0, [], dict[str, float]()
    while position < len(text):
        if not text[position].isalpha():
            raise GcodeError(1)
        match = _WORD.match(text, position)
        if match is None:
            raise GcodeError(2)
        letter, value = match[1], float(match[2])
        position = match.end()
        if letter in "GM":
            codes.append(_known_code(letter, value))
        elif letter in values:
            raise GcodeError(25)
        elif letter in "FLNPSTXYZ":
            if letter in "FNST" and value < 0:
                raise GcodeError(4)
            values[letter] = value
        else:
            raise GcodeError(20)
    if values.get("T", 0) > MAX_TOOL:
        raise GcodeError(38)
    for group in MODAL_GROUPS.values():
        if sum(code in group for code in codes) > 1:
            raise GcodeError(21)
    return Line(tuple(codes), values)


def _known_code(letter: str, value: float) -> str:
    code = f"{letter}{value:g}"
    known = {code for group in MODAL_GROUPS.values() for code in group}
    if code not in known and code not in NON_MODAL + COOLANT + PROGRAM:
        raise GcodeError(20)
    return code


def strip_comments(text: str) -> str:
    """Capitals without spaces, slashes, ``(...)`` and ``;...``."""
    return re.sub(r"[\x00-\x20/]|\([^)]*\)?|;.*", "", text).upper()
