"""The text configuration of a FERS-5200 system: read, checked, changed, and written back.

A line is ``Key value unit # comment``, or ``Key[board] ...`` or ``Key[board][channel] ...`` for
one board or channel. What is not changed stays as it is, to the byte: order, comments, blanks,
line ends, and keys that nobody here knows.
"""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from drivers.fers.protocol import (
    KEYS,
    MAX_BOARDS,
    N_CHANNELS,
    Choice,
    FersFileError,
    Key,
    Mask,
    Number,
    Text,
)

_LINE = re.compile(
    r"[ \t]*(?P<key>[A-Za-z_]\w*)(?:\[(?P<board>\d+)\])?(?:\[(?P<channel>\d+)\])?"
    r"(?P<gap>[ \t]+)(?P<value>[^#]*?)(?P<rest>[ \t]*(?:#.*)?)"
)
_QUANTITY = re.compile(r"([+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)\s*([A-Za-z]*)")
_MASK = re.compile(r"0[xX][0-9a-fA-F]{1,8}")
_VALUE_COLUMN = 35
_ENCODING = {"encoding": "utf-8", "errors": "surrogateescape"}

Place = tuple[str, int | None, int | None]


@dataclass(frozen=True)
class Setting:
    """One line of the configuration.

    Attributes:
        value: the words between key and comment, unit included.
        line: number of the line, from 1.
    """

    key: str
    board: int | None
    channel: int | None
    value: str
    line: int


class FersConfig:
    """A configuration file in memory.

    Args:
        text: what the file holds.
        name: what errors call the file.

    Raises:
        FersFileError: a line makes no sense, a value is out of bounds, a setting is given twice,
            or a default stands below the setting of a board that it would undo.
    """

    def __init__(self, text: str, *, name: str = "configuration") -> None:
        self._name = name
        self._lines = text.splitlines(keepends=True)
        self._settings: dict[Place, Setting] = {}
        self._places: dict[str, list[Place]] = {}
        for number, line in enumerate(self._lines, start=1):
            self._take(line.rstrip("\r\n"), number)

    @classmethod
    def read(cls, path: Path) -> "FersConfig":
        """Read a file.

        Raises:
            FersFileError: the file is absent, or as the constructor.
        """
        try:
            data = path.read_bytes()
        except OSError as error:
            raise FersFileError(f"{path}: {error.strerror or error}") from error
        if b"\0" in data:
            raise FersFileError(f"{path}: not a text file")
        return cls(data.decode(**_ENCODING), name=str(path))

    @property
    def text(self) -> str:
        return "".join(self._lines)

    def write(self, path: Path) -> None:
        """Write the text; the bytes of lines that were not changed are those that were read."""
        path.write_bytes(self.text.encode(**_ENCODING))

    def settings(self) -> list[Setting]:
        """Every setting, in the order of the file."""
        return list(self._settings.values())

    def value(self, key: str, *, board: int | None = None, channel: int | None = None) -> str:
        """The words that hold for a channel, a board or by default, the most special first.

        Raises:
            FersFileError: the file does not set the key.
        """
        return self._setting(key, board, channel).value

    def number(self, key: str, *, board: int | None = None, channel: int | None = None) -> float:
        """A number in the base unit of its key (V, mA, ns, s for run times, bytes).

        Raises:
            FersFileError: the file does not set the key, or the key holds no number.
        """
        setting = self._setting(key, board, channel)
        kind = KEYS[key].kind if key in KEYS else None
        if not isinstance(kind, Number):
            raise FersFileError(f"{self._name}:{setting.line}: {key} is not known as a number")
        return _quantity(setting.value, kind)

    def set(
        self, key: str, value: float | str, *, board: int | None = None, channel: int | None = None
    ) -> None:
        """Change a setting in its line, or add a line at the end of the file.

        A number keeps the unit that the line has and is given in the base unit of the key; a text
        replaces the words.

        Raises:
            FersFileError: the key is not known, not given per board or channel, or the value is
                out of bounds; nothing is changed.
        """
        where = self._name
        known = KEYS.get(key)
        if known is None:
            raise FersFileError(f"{where}: {key} is no setting with known bounds")
        _check_place(key, known, board, channel, where)
        place = (key, board, channel)
        old = self._settings.get(place)
        words = value.strip() if isinstance(value, str) else _format(value, known, old)
        if not words or "#" in words or "\n" in words or "\r" in words:
            raise FersFileError(f"{where}: {key} can't hold {value!r}")
        _check_value(key, known, words, where)
        if old is None:
            if any(_undoes(place, other) for other in self._places.get(key, ())):
                raise FersFileError(
                    f"{where}: {key} at the end of the file would undo its more special settings"
                )
            self._append(place, words)
        else:
            line = self._lines[old.line - 1]
            body = line.rstrip("\r\n")
            match = _LINE.fullmatch(body)
            assert match is not None
            changed = body[: match.start("value")] + words + _moved(match, len(words))
            self._lines[old.line - 1] = changed + line[len(body) :]
            self._settings[place] = Setting(key, board, channel, words, old.line)

    def _append(self, place: Place, words: str) -> None:
        ending = "\r\n" if self._lines and self._lines[0].endswith("\r\n") else "\n"
        if self._lines and not self._lines[-1].endswith("\n"):
            self._lines[-1] += ending
        key, board, channel = place
        name = key + "".join(f"[{index}]" for index in (board, channel) if index is not None)
        self._places.setdefault(key, []).append(place)
        self._lines.append(f"{name:<{_VALUE_COLUMN - 1}} {words}{ending}")
        self._settings[place] = Setting(key, board, channel, words, len(self._lines))

    def _setting(self, key: str, board: int | None, channel: int | None) -> Setting:
        for place in ((key, board, channel), (key, board, None), (key, None, None)):
            if place in self._settings:
                return self._settings[place]
        raise FersFileError(f"{self._name}: {key} is not set")

    def _take(self, body: str, number: int) -> None:
        body = body.strip()
        if not body or body.startswith("#"):
            return
        where = f"{self._name}:{number}"
        match = _LINE.fullmatch(body)
        if match is None or not match["value"]:
            raise FersFileError(f"{where}: {body[:60]!r} is no setting of the form 'Key value'")
        key = match["key"]
        board = int(match["board"]) if match["board"] else None
        channel = int(match["channel"]) if match["channel"] else None
        if key in KEYS:
            _check_place(key, KEYS[key], board, channel, where)
            _check_value(key, KEYS[key], match["value"], where)
        place = (key, board, channel)
        if place in self._settings:
            raise FersFileError(
                f"{where}: {key} was set already in line {self._settings[place].line}"
            )
        for other in self._places.get(key, ()):
            if _undoes(place, other):
                raise FersFileError(
                    f"{where}: {key} stands below line {self._settings[other].line}, which is more "
                    "special; which one counts is not certain"
                )
        self._places.setdefault(key, []).append(place)
        self._settings[place] = Setting(key, board, channel, match["value"], number)


def _moved(match: re.Match[str], width: int) -> str:
    """What stands behind the value, its comment in the same column where there is room."""
    comment = match["rest"].lstrip(" ")
    if not comment.startswith("#"):
        return match["rest"]
    gap = len(match["rest"]) - len(comment) + len(match["value"]) - width
    return " " * max(1, gap) + comment


def _undoes(place: Place, other: Place) -> bool:
    _, board, channel = place
    if board is None:
        return True
    return other[1] == board and channel is None and other[2] is not None


def _check_place(key: str, known: Key, board: int | None, channel: int | None, where: str) -> None:
    if channel is not None and (board is None or known.scope != "channel"):
        raise FersFileError(f"{where}: {key} is not given per channel")
    if board is not None and known.scope == "global":
        raise FersFileError(f"{where}: {key} is not given per board")
    if board is not None and not 0 <= board < MAX_BOARDS:
        raise FersFileError(f"{where}: board {board} is outside 0 to {MAX_BOARDS - 1}")
    if channel is not None and not 0 <= channel < N_CHANNELS:
        raise FersFileError(f"{where}: channel {channel} is outside 0 to {N_CHANNELS - 1}")


def _check_value(key: str, known: Key, words: str, where: str) -> None:
    match known.kind:
        case Number() as kind:
            try:
                value = _quantity(words, kind)
            except ValueError as error:
                raise FersFileError(f"{where}: {key}: {error}") from error
            if not kind.low <= value <= kind.high:
                raise FersFileError(
                    f"{where}: {key} is {words}, outside {kind.low:g} to {kind.high:g}"
                    f"{_base_unit(kind)}"
                )
            if kind.whole and not value.is_integer():
                raise FersFileError(f"{where}: {key} is {words}, not a whole number")
        case Choice(words=choices):
            if words.replace(" ", "") not in {choice.replace(" ", "") for choice in choices}:
                raise FersFileError(f"{where}: {key} is {words!r}, not one of {', '.join(choices)}")
        case Mask():
            if _MASK.fullmatch(words) is None:
                raise FersFileError(f"{where}: {key} is {words!r}, not 32 bits as 0x...")
        case Text():
            pass


def _quantity(words: str, kind: Number) -> float:
    match = _QUANTITY.fullmatch(words)
    factor = None if match is None else kind.factor(match[2])
    if match is None or factor is None:
        units = ", ".join(unit for unit, _ in kind.units if unit)
        raise FersFileError(f"{words!r} is no number" + (f" in {units}" if units else ""))
    value = float(match[1]) * factor
    if not math.isfinite(value):
        raise FersFileError(f"{words!r} is no finite number")
    return value


def _base_unit(kind: Number) -> str:
    return next((f" {unit}" for unit, factor in kind.units if unit and factor == 1.0), "")


def _format(value: float, known: Key, old: Setting | None) -> str:
    if not isinstance(known.kind, Number):
        return str(value)
    match = _QUANTITY.fullmatch(old.value) if old is not None else None
    unit = "" if match is None else match[2]
    factor = known.kind.factor(unit)
    assert factor is not None
    return f"{value / factor:.12g} {unit}".rstrip()
