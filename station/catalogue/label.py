"""The 15-character label that every part carries: `320` + major code + subtype + serial digits."""

import re
from dataclasses import dataclass
from typing import Literal

LABEL_LENGTH = 15
PREFIX = "320"
FRAMING = "\x02\x03\r\n\t "
"""Characters that a scanner may be set to send around a label: STX, ETX, CR, LF, TAB, space."""

Kind = Literal["tile", "wrapped_tile", "sipm", "tileboard", "tile_module", "motherboard", "tester"]
Material = Literal["cast", "moulded"]

KINDS: dict[str, Kind] = {
    "BC": "tile",
    "BI": "tile",
    "TC": "wrapped_tile",
    "TI": "wrapped_tile",
    "SP": "sipm",
    "TP": "tileboard",
    "TB": "tileboard",
    "TM": "tile_module",
    "WM": "motherboard",
    "TS": "tester",
}
SIZE_CODES = frozenset(
    [f"{n:02d}" for n in range(0, 100, 2)]
    + ["99"]
    + [f"F{n}" for n in range(1, 8)]
    + [f"S{n}" for n in range(1, 6)]
)
SIPM_CODES = ("04", "09")
BOARD_LETTERS = "ABCDEGJK"
BOARD_ROWS = range(3, 13)
BOARD_CUTS = "FLR"
MATERIALS: dict[str, Material] = {"C": "cast", "M": "moulded", "I": "moulded"}


class LabelError(ValueError):
    """A label that cannot be accepted. `reason` says why, `text` is what was read."""

    def __init__(self, text: str, reason: str) -> None:
        super().__init__(f"label {text!r}: {reason}")
        self.text = text
        self.reason = reason


@dataclass(frozen=True)
class Label:
    """What a label says.

    `format_code` is set for bare and wrapped tiles, `shape_name` (such as ``D8F``) for tileboards
    and tile modules, `material` for tiles and tile modules, `sipm_area_mm2` for SiPMs. The serial
    keeps its leading zeros.
    """

    text: str
    kind: Kind
    major: str
    subtype: str
    serial: str
    format_code: str | None = None
    shape_name: str | None = None
    material: Material | None = None
    sipm_area_mm2: float | None = None


def parse_label(text: str) -> Label:
    """Read a label as the scanner sent it.

    Framing characters at both ends (`FRAMING`) are dropped; everything else must be exact.
    Whether the catalogue knows the tile format or board shape is asked of the catalogue.

    Raises:
        LabelError: with the first reason found, from left to right.
    """
    label = text.strip(FRAMING)
    _check_characters(label)
    if not label.startswith(PREFIX):
        raise LabelError(label, f"starts with {label[:3]!r}, expected {PREFIX!r}")
    major, rest = label[3:5], label[5:]
    if major not in KINDS:
        raise LabelError(label, f"unknown part code {major!r}, expected one of {', '.join(KINDS)}")
    subtype = _leading_subtype(label, major, rest)
    serial = rest[len(subtype) :]
    if not serial.isdigit():
        raise LabelError(label, f"serial {serial!r} after subtype {subtype!r} is not all digits")
    return _describe(label, major, subtype, serial)


def format_label(major: str, subtype: str, serial: int | str) -> str:
    """Compose a label. An int serial is zero-padded, a str serial must have the exact length.

    Raises:
        LabelError: when the parts do not make a label that reads back as the same parts.
    """
    room = LABEL_LENGTH - len(PREFIX) - len(major) - len(subtype)
    if isinstance(serial, int):
        digits = f"{serial:0{max(room, 0)}d}"
        if serial < 0 or len(digits) > room:
            raise LabelError(
                f"{PREFIX}{major}{subtype}", f"serial {serial} does not fit in {room} digits"
            )
    else:
        digits = serial
    text = f"{PREFIX}{major}{subtype}{digits}"
    label = parse_label(text)
    if (label.text, label.major, label.subtype) != (text, major, subtype):
        raise LabelError(
            text, f"would be read as subtype {label.subtype!r} of {label.major}, not {subtype!r}"
        )
    return text


def parse_shape_name(name: str) -> tuple[str, int, str]:
    """Split a board shape name such as ``J12F`` into letter, rows and cut.

    Raises:
        LabelError: for a letter, number of rows or cut that no label can carry.
    """
    letter, rows, cut, end = _leading_shape(name, name)
    if end != len(name):
        raise LabelError(name, f"{name[end:]!r} follows the board shape {name[:end]!r}")
    return letter, rows, cut


def _check_characters(label: str) -> None:
    if not label:
        raise LabelError(label, "is empty")
    for column, character in enumerate(label, start=1):
        if "a" <= character <= "z":
            raise LabelError(label, f"character {column} is lower case {character!r}")
        if not ("0" <= character <= "9" or "A" <= character <= "Z"):
            raise LabelError(label, f"character {column} is {character!r}, not a letter or digit")
    if len(label) != LABEL_LENGTH:
        raise LabelError(label, f"has {len(label)} characters, expected {LABEL_LENGTH}")


def _leading_subtype(label: str, major: str, rest: str) -> str:
    match KINDS[major]:
        case "tile" | "wrapped_tile":
            if rest[:2] not in SIZE_CODES:
                raise LabelError(
                    label,
                    f"unknown size code {rest[:2]!r}, expected 00 to 98 even, 99, F1 to F7 "
                    "or S1 to S5",
                )
            return rest[:2]
        case "sipm":
            if rest[:2] not in SIPM_CODES:
                raise LabelError(label, f"unknown SiPM size {rest[:2]!r}, expected 04 or 09")
            return rest[:2]
        case "tileboard":
            end = _leading_shape(label, rest)[3]
            return rest[:end]
        case "tile_module":
            end = _leading_shape(label, rest)[3]
            if rest[end] not in "CM":
                raise LabelError(
                    label, f"tile material {rest[end]!r} after {rest[:end]!r}, expected C or M"
                )
            return rest[: end + 1]
        case "motherboard" | "tester":
            return _site_defined_subtype(label, rest)


def _leading_shape(label: str, rest: str) -> tuple[str, int, str, int]:
    letter = rest[:1]
    if letter not in BOARD_LETTERS or not letter:
        raise LabelError(
            label, f"unknown board letter {letter!r}, expected one of {', '.join(BOARD_LETTERS)}"
        )
    digits = re.match(r"[0-9]*", rest[1:])
    rows_text = digits.group() if digits else ""
    if not rows_text:
        raise LabelError(label, f"no number of rows after board letter {letter!r}")
    if rows_text.startswith("0") or int(rows_text) not in BOARD_ROWS:
        raise LabelError(label, f"{rows_text} tile rows, expected 3 to 12")
    end = 1 + len(rows_text)
    cut = rest[end : end + 1]
    if cut not in BOARD_CUTS or not cut:
        raise LabelError(
            label, f"board cut {cut!r} after {rest[:end]!r}, expected F (full), L or R"
        )
    return letter, int(rows_text), cut, end + 1


def _site_defined_subtype(label: str, rest: str) -> str:
    """The shortest 2 to 4 characters after which only digits follow.

    So a subtype of 3 or 4 characters is recognised when it ends in a letter.
    """
    length = max(2, len(rest.rstrip("0123456789")))
    if length > 4:
        raise LabelError(
            label,
            f"{rest!r} has a letter after its fourth character, "
            "expected a subtype of 2 to 4 characters and then digits",
        )
    return rest[:length]


def _describe(label: str, major: str, subtype: str, serial: str) -> Label:
    kind = KINDS[major]
    match kind:
        case "tile" | "wrapped_tile":
            return Label(
                label, kind, major, subtype, serial,
                format_code=subtype, material=MATERIALS[major[1]],
            )  # fmt: skip
        case "sipm":
            return Label(label, kind, major, subtype, serial, sipm_area_mm2=float(subtype))
        case "tileboard":
            return Label(label, kind, major, subtype, serial, shape_name=subtype)
        case "tile_module":
            return Label(
                label, kind, major, subtype, serial,
                shape_name=subtype[:-1], material=MATERIALS[subtype[-1]],
            )  # fmt: skip
        case _:
            return Label(label, kind, major, subtype, serial)
