"""Rows of a list file as arrays, without a loop over lines."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.fers.columns import Columns
from drivers.fers.protocol import ADC_MAX, MAX_BOARDS, N_CHANNELS, FersFileError

_SOLID = bytes(byte not in b" \t\r\n" for byte in range(256))
_DASH, _DOT, _ZERO = ord("-"), ord("."), ord("0")
MAX_DIGITS = 18
MISSING = -1


@dataclass(frozen=True)
class Rows:
    """Rows of a file, and of the events that they belong to.

    Attributes:
        line: number of each row's line.
        first: row that begins each event; the arrays after it have one entry per event.
        n_lines: lines that were read, blank ones included.
    """

    line: NDArray[np.int64]
    board: NDArray[np.int32]
    channel: NDArray[np.int32]
    lg: NDArray[np.int32]
    hg: NDArray[np.int32]
    toa: NDArray[np.float64] | None
    tot: NDArray[np.float64] | None
    first: NDArray[np.int64]
    time_us: NDArray[np.float64]
    second_time_us: NDArray[np.float64] | None
    trigger_id: NDArray[np.int64]
    n_rows: NDArray[np.int64]
    n_lines: int

    @staticmethod
    def joined(parts: Sequence["Rows"]) -> "Rows":
        """The rows of consecutive parts of a file."""
        if not parts:
            return _NO_ROWS
        offsets = np.cumsum([0] + [part.board.size for part in parts[:-1]])
        arrays: dict[str, NDArray[np.generic] | None] = {}
        for name in _NO_ROWS.__dataclass_fields__:
            values = [getattr(part, name) for part in parts]
            if name == "first":
                values = [value + offset for value, offset in zip(values, offsets, strict=True)]
            if name != "n_lines":
                arrays[name] = None if values[0] is None else np.concatenate(values)
        return Rows(**arrays, n_lines=sum(part.n_lines for part in parts))  # type: ignore[arg-type]


def _no_rows() -> Rows:
    whole, small, real = np.empty(0, np.int64), np.empty(0, np.int32), np.empty(0)
    return Rows(
        whole, small, small, small, small, None, None, whole, real, None, whole, whole, n_lines=0
    )


_NO_ROWS = _no_rows()


class _Tokens:
    """Where the tokens of some lines are."""

    def __init__(self, data: bytes, name: str, lines_before: int) -> None:
        self.bytes = np.frombuffer(data, np.uint8)
        solid = np.frombuffer(b"\0" + data.translate(_SOLID) + b"\0", np.bool_)
        edges = np.flatnonzero(solid[1:] != solid[:-1])
        self.starts, self.ends = edges[0::2], edges[1::2]
        newlines = np.flatnonzero(self.bytes == ord("\n"))
        self.n_lines = newlines.size
        before = np.searchsorted(self.starts, newlines)
        counts = np.diff(before, prepend=0)
        has_tokens = np.flatnonzero(counts)
        self.line = has_tokens + lines_before + 1
        self.count = counts[has_tokens]
        self.begin = (before - counts)[has_tokens]
        self._name = name

    def fail(self, row: int, what: str) -> FersFileError:
        return FersFileError(f"{self._name}:{int(self.line[row])}: {what}")

    def text(self, token: int) -> str:
        return bytes(self.bytes[self.starts[token] : self.ends[token]]).decode("latin-1")

    def whole(
        self, rows: NDArray[np.int64], column: int, *, highest: int, dash: bool = False
    ) -> NDArray[np.int64]:
        """Whole numbers from 0 to ``highest``; a dash, where allowed, is :data:`MISSING`."""
        tokens = self.begin[rows] + column
        starts, lengths = self.starts[tokens], self.ends[tokens] - self.starts[tokens]
        longest = min(int(lengths.max(initial=0)), MAX_DIGITS)
        values = np.zeros(rows.size, np.int64)
        bad = lengths > longest
        for k in range(longest):
            here = slice(None) if k == 0 else np.flatnonzero(lengths > k)
            digit = self.bytes[starts[here] + k] - np.uint8(_ZERO)
            bad[here] |= digit > 9
            values[here] = values[here] * 10 + digit
        if dash:
            missing = (lengths == 1) & (self.bytes[starts] == _DASH)
            values[missing] = MISSING
            bad &= ~missing
        bad |= values > highest
        if bad.any():
            worst = int(np.flatnonzero(bad)[0])
            raise self.fail(
                int(rows[worst]),
                f"{self.text(int(tokens[worst]))!r} is no whole number from 0 to {highest}",
            )
        return values

    def decimal(
        self, rows: NDArray[np.int64], column: int, *, dash: bool = False
    ) -> NDArray[np.float64]:
        """Numbers with at most one decimal point, not negative; a dash, where allowed, is NaN."""
        tokens = self.begin[rows] + column
        starts, lengths = self.starts[tokens], self.ends[tokens] - self.starts[tokens]
        width = int(lengths.max(initial=1))
        bad = lengths > 2 * MAX_DIGITS
        width = min(width, 2 * MAX_DIGITS)
        places = np.arange(width)
        here = places < lengths[:, None]
        table = self.bytes[np.where(here, starts[:, None] + places, 0)]
        missing = (lengths == 1) & (table[:, 0] == _DASH)
        table[~here] = 0
        dots = (table == _DOT).sum(axis=1)
        digits = ((table >= _ZERO) & (table <= _ZERO + 9)).sum(axis=1)
        bad |= (dots > 1) | (digits == 0) | (digits + dots != lengths)
        if dash:
            bad &= ~missing
            table[missing] = 0
            table[missing, 0] = _ZERO
        if bad.any():
            worst = int(np.flatnonzero(bad)[0])
            raise self.fail(int(rows[worst]), f"{self.text(int(tokens[worst]))!r} is no number")
        values = np.ascontiguousarray(table).view(f"S{width}").ravel().astype(np.float64)
        if dash:
            values[missing] = np.nan
        return values


def parse_rows(data: bytes, columns: Columns, name: str, lines_before: int) -> Rows:
    """Rows in ``data``, which ends with a line.

    Args:
        name: what errors call the file.
        lines_before: lines of the file that came before.

    Raises:
        FersFileError: a line has the wrong number of tokens or a token of the wrong kind.
    """
    tokens = _Tokens(data, name, lines_before)
    begins_event = tokens.count == columns.n_full
    strange = np.flatnonzero(~begins_event & (tokens.count != columns.n_channel))
    if strange.size:
        row = int(strange[0])
        raise tokens.fail(
            row,
            f"{int(tokens.count[row])} values in a row that should have {columns.n_channel}, or "
            f"{columns.n_full} at the beginning of an event",
        )
    rows = np.arange(tokens.count.size)
    first = np.flatnonzero(begins_event)
    if columns.blank is not None:
        tokens.whole(rows, columns.blank, highest=MISSING, dash=True)
    at = columns.n_channel
    second_us = tokens.decimal(first, at + 1) if columns.second_time else None
    after = at + 1 + columns.second_time
    return Rows(
        line=tokens.line,
        board=tokens.whole(rows, 0, highest=MAX_BOARDS - 1).astype(np.int32),
        channel=tokens.whole(rows, 1, highest=N_CHANNELS - 1).astype(np.int32),
        lg=tokens.whole(rows, columns.lg, highest=ADC_MAX, dash=True).astype(np.int32),
        hg=tokens.whole(rows, columns.hg, highest=ADC_MAX, dash=True).astype(np.int32),
        toa=None if columns.toa is None else tokens.decimal(rows, columns.toa, dash=True),
        tot=None if columns.tot is None else tokens.decimal(rows, columns.tot, dash=True),
        first=first,
        time_us=tokens.decimal(first, at),
        second_time_us=second_us,
        trigger_id=tokens.whole(first, after, highest=10**MAX_DIGITS),
        n_rows=tokens.whole(first, after + 1, highest=N_CHANNELS),
        n_lines=tokens.n_lines,
    )
