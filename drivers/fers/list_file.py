"""Reading the list files of a FERS-5200 system: charges per channel and event.

A list file begins with ``//`` lines and a line of column names. Then every event is a block of
rows, one per channel; only the first row of a block also has the time, the trigger number and how
many rows the block has. Everything is checked against that; a file that ends early, lacks a
channel or has a strange token is refused with the number of the line.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.fers import protocol
from drivers.fers.columns import Columns, parse_columns
from drivers.fers.protocol import FersFileError
from drivers.fers.tokens import Rows, parse_rows

CHUNK_BYTES = 1 << 22
_MAX_HEADER_BYTES = 1 << 16


@dataclass(frozen=True)
class FersRun:
    """The events of one board.

    Attributes:
        board: number of the board in its chain.
        channels: channel of each row of the arrays, shape (n_channels,).
        lg: low-gain ADC values, int32 of shape (n_channels, n_events); None when not recorded.
        hg: high-gain ADC values, likewise.
        time_us: time of each event since the start of the run, shape (n_events,).
        trigger_id: trigger number of each event.
        second_time_us: the board's second time stamp; None when not recorded.
        toa_ns: time of arrival, shape (n_channels, n_events), NaN where the channel did not fire;
            None when not recorded.
        tot_ns: time over threshold, likewise.
        settings: what the ``//`` lines say, by name.
    """

    board: int
    channels: NDArray[np.int_]
    lg: NDArray[np.int32] | None
    hg: NDArray[np.int32] | None
    time_us: NDArray[np.float64]
    trigger_id: NDArray[np.int64]
    second_time_us: NDArray[np.float64] | None = None
    toa_ns: NDArray[np.float64] | None = None
    tot_ns: NDArray[np.float64] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def adc(self) -> NDArray[np.int32]:
        """High-gain charges, shape (n_channels, n_events): where photoelectrons are counted.

        Raises:
            FersFileError: the run has no high-gain values.
        """
        if self.hg is None:
            raise FersFileError("the run has no high-gain values; record with GainSelect BOTH")
        return self.hg


def read_list(
    path: Path,
    *,
    board: int | None = None,
    channels: Sequence[int] | None = None,
    n_events: int | None = None,
) -> FersRun:
    """Read the ASCII list file of a spectroscopy run.

    Args:
        path: the file (``Run<n>_list.txt``).
        board: the board to take; by default the only one in the file.
        channels: the channels to take, in this order; by default those of the first event.
        n_events: the events that there must be: a file that was cut between two events does not
            show it.

    Raises:
        FersFileError: the file is absent, truncated, of an unknown format or holds no charges; it
            has several boards and none was named; an event lacks a wanted channel or has one that
            was not expected; a token is no number. The message names file and line.
    """
    try:
        with path.open("rb") as file:
            settings, columns, n_lines, rest = _read_head(path, file.read(_MAX_HEADER_BYTES))
            parts = []
            while chunk := rest + file.read(CHUNK_BYTES):
                end = chunk.rfind(b"\n") + 1
                if end == 0:
                    raise FersFileError(f"{path}:{n_lines + 1}: the last line has no end")
                parts.append(parse_rows(chunk[:end], columns, f"{path}", n_lines))
                n_lines += parts[-1].n_lines
                rest = chunk[end:]
    except OSError as error:
        raise FersFileError(f"{path}: {error.strerror or error}") from error
    rows = Rows.joined(parts)
    if rows.board.size == 0:
        raise FersFileError(f"{path}:{n_lines}: no events")
    if rows.first.size == 0 or rows.first[0] != 0:
        raise FersFileError(f"{path}:{int(rows.line[0])}: the first event has no beginning")
    run = _build(path, settings, columns, rows, board, channels)
    if n_events is not None and run.time_us.size != n_events:
        raise FersFileError(f"{path}: {run.time_us.size} events, asked for {n_events}")
    return run


def _read_head(path: Path, data: bytes) -> tuple[dict[str, str], Columns, int, bytes]:
    settings: dict[str, str] = {}
    number = 0
    at = 0
    while (end := data.find(b"\n", at)) >= 0:
        number += 1
        try:
            line = data[at:end].decode("ascii").strip()
        except UnicodeDecodeError as error:
            raise FersFileError(f"{path}:{number}: not a text file") from error
        at = end + 1
        if line.startswith("//"):
            _take_setting(line.strip("/* "), settings)
        elif line:
            version = settings.get("File Format Version", "")
            if version not in protocol.LIST_FORMATS:
                raise FersFileError(
                    f"{path}:{number}: list file format {version or 'not named'}; known are "
                    f"{' and '.join(protocol.LIST_FORMATS)}"
                )
            columns = parse_columns(line, f"{path}:{number}", settings)
            return settings, columns, number, data[at:]
    raise FersFileError(f"{path}:{number + 1}: the file ends before the names of the columns")


def _take_setting(words: str, settings: dict[str, str]) -> None:
    if words.startswith(("File Format Version ", "Janus Release ")):
        name, _, value = words.rpartition(" ")
        settings[name.strip()] = value
    elif ":" in words:
        name, _, value = words.partition(":")
        settings[name.strip()] = value.strip()


def _build(
    path: Path,
    settings: dict[str, str],
    columns: Columns,
    rows: Rows,
    board: int | None,
    wanted: Sequence[int] | None,
) -> FersRun:
    _check_blocks(path, rows)
    boards = np.unique(rows.board)
    if board is None:
        if boards.size > 1:
            other = int(rows.line[np.flatnonzero(rows.board != rows.board[0])[0]])
            raise FersFileError(
                f"{path}:{other}: the file has the boards {', '.join(map(str, boards))}; name "
                "the one to read"
            )
        board = int(boards[0])
    event_of_row = np.repeat(np.arange(rows.first.size), rows.n_rows)
    mine = rows.board == board
    if not mine.any():
        raise FersFileError(f"{path}: no event of board {board}, only of {boards.tolist()}")
    events = np.flatnonzero(rows.board[rows.first] == board)
    column_of_event = np.full(rows.first.size, -1)
    column_of_event[events] = np.arange(events.size)
    start = rows.first[events[0]]
    if wanted is None:
        chosen = rows.channel[start : start + rows.n_rows[events[0]]].astype(np.int_)
    else:
        chosen = np.asarray(wanted, np.int_)
        if chosen.size == 0 or np.unique(chosen).size != chosen.size:
            raise ValueError(f"the channels {list(wanted)} are empty or repeat")
    row_of_channel = np.full(protocol.N_CHANNELS, -1)
    if chosen.min() < 0 or chosen.max() >= protocol.N_CHANNELS:
        raise ValueError(f"channels run from 0 to {protocol.N_CHANNELS - 1}")
    row_of_channel[chosen] = np.arange(chosen.size)
    place = row_of_channel[rows.channel]
    if wanted is None and (extra := np.flatnonzero(mine & (place < 0))).size:
        raise FersFileError(
            f"{path}:{int(rows.line[extra[0]])}: channel {int(rows.channel[extra[0]])}, which the "
            "first event of the board does not have; name the channels to read"
        )
    taken = np.flatnonzero(mine & (place >= 0))
    cell = place[taken] * events.size + column_of_event[event_of_row[taken]]
    filled = np.zeros(chosen.size * events.size, np.bool_)
    filled[cell] = True
    if not filled.all():
        hole = int(np.flatnonzero(~filled)[0])
        line = int(rows.line[rows.first[events[hole % events.size]]])
        raise FersFileError(
            f"{path}:{line}: the event has no channel {int(chosen[hole // events.size])} "
            f"({int(np.count_nonzero(~filled))} values are missing); record without zero "
            "suppression or name the channels to read"
        )
    shape = (chosen.size, events.size)

    def spread(values: NDArray[np.generic]) -> NDArray[np.generic]:
        out = np.empty(filled.size, values.dtype)
        out[cell] = values[taken]
        return out.reshape(shape)

    def gain(values: NDArray[np.int32], name: str) -> NDArray[np.int32] | None:
        missing = values[taken] < 0
        if missing.all():
            return None
        if missing.any():
            line = int(rows.line[taken[np.flatnonzero(missing)[0]]])
            raise FersFileError(
                f"{path}:{line}: no {name} value, though others have one; record with GainSelect "
                "BOTH instead of AUTO"
            )
        return spread(values)  # type: ignore[return-value]

    def times(values: NDArray[np.float64] | None, scale: float) -> NDArray[np.float64] | None:
        return None if values is None else spread(values) * scale  # type: ignore[operator]

    return FersRun(
        board=board,
        channels=chosen,
        lg=gain(rows.lg, "LG"),
        hg=gain(rows.hg, "HG"),
        time_us=rows.time_us[events],
        trigger_id=rows.trigger_id[events],
        second_time_us=None if rows.second_time_us is None else rows.second_time_us[events],
        toa_ns=times(rows.toa, columns.toa_unit_ns),
        tot_ns=times(rows.tot, columns.tot_unit_ns),
        settings=settings,
    )


def _check_blocks(path: Path, rows: Rows) -> None:
    """Every block has the rows it announces, of one board, each channel once."""
    found = np.diff(np.append(rows.first, rows.board.size))
    wrong = np.flatnonzero(found != rows.n_rows)
    if wrong.size:
        event = int(wrong[0])
        last = event == rows.first.size - 1
        raise FersFileError(
            f"{path}:{int(rows.line[rows.first[event]])}: the event announces "
            f"{int(rows.n_rows[event])} channels and has {int(found[event])}"
            + ("; the file was cut" if last else "")
        )
    same_event = np.ones(rows.board.size, np.bool_)
    same_event[rows.first] = False
    later = np.flatnonzero(same_event)
    strange = later[rows.board[later] != rows.board[later - 1]]
    if strange.size:
        raise FersFileError(
            f"{path}:{int(rows.line[strange[0]])}: the board changes within an event"
        )
    strange = later[rows.channel[later] <= rows.channel[later - 1]]
    if strange.size:
        raise FersFileError(
            f"{path}:{int(rows.line[strange[0]])}: channel {int(rows.channel[strange[0]])} after "
            f"channel {int(rows.channel[strange[0] - 1])} of the same event"
        )
