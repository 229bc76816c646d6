"""Metrics of the line: what it showed, second by second, in files of their own beside the records.

    <records>/metrics/2026-11-22.sqlite        one file per day (UTC), in WAL mode

A second is one row: the time and the numbers of all quantities as 32-bit floats (about seven
digits; NaN where nothing was read), in the order of its layout. Words, such as the state of the
gantry, have a row when they change. A commit costs no fsync; once a minute the log is moved into
the file with one, so a power cut loses the last minute at most and a killed station nothing.
Trends only: what is judged is in the records.
"""

import json
import logging
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from station.safety.rules import Value

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

FOLDER = "metrics"
CHECKPOINT_S = 60.0
AGAIN_S = 30.0
"""After a failure (a full disk) so long nothing is tried; what was seen meanwhile is kept."""
KEPT_SAMPLES = 600
_TABLES = """
CREATE TABLE IF NOT EXISTS layout (id INTEGER PRIMARY KEY, names TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS sample (
    at_ms INTEGER PRIMARY KEY, layout INTEGER NOT NULL, numbers BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS word (at_ms INTEGER NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL);
"""

Values = Mapping[str, Value]
_Table = tuple[list[str], NDArray[np.int64], NDArray[np.float32]]
_Read = TypeVar("_Read")


@dataclass(frozen=True)
class Sample:
    at: datetime
    values: Values

    @property
    def at_ms(self) -> int:
        return round(self.at.timestamp() * 1000)


@dataclass
class _DayFile:
    """The file of one day, open for writing."""

    day: date
    connection: sqlite3.Connection
    layout: tuple[int, tuple[str, ...]] | None = None
    words: dict[str, str] = field(default_factory=dict)
    checkpoint_s: float = 0.0


class MetricsFile:
    """Appends samples to the files of a folder. For one thread."""

    def __init__(self, records: Path, *, keep_days: int) -> None:
        self._folder = records / FOLDER
        self._keep = timedelta(days=keep_days)
        self._names: dict[str, None] = {}
        self._open: _DayFile | None = None

    def append(self, samples: Sequence[Sample]) -> None:
        """Add samples in one transaction for each day. Raises OSError or sqlite3.Error."""
        for day in sorted({sample.at.astimezone(UTC).date() for sample in samples}):
            of_day = [s for s in samples if s.at.astimezone(UTC).date() == day]
            file = self._file(day)
            with file.connection:
                for sample in of_day:
                    self._insert(file, sample)
            if time.monotonic() - file.checkpoint_s > CHECKPOINT_S:
                file.checkpoint_s = time.monotonic()
                file.connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Move the log into the file and close it."""
        if self._open is not None:
            with suppress(sqlite3.Error):
                self._open.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._open.connection.close()
            self._open = None

    def _insert(self, file: _DayFile, sample: Sample) -> None:
        for name, value in sample.values.items():
            if isinstance(value, str):
                if file.words.get(name) != value:
                    file.connection.execute(
                        "INSERT INTO word VALUES (?, ?, ?)", (sample.at_ms, name, value)
                    )
                    file.words[name] = value
            else:
                self._names.setdefault(name)
        numbers = np.array([_number(sample.values.get(name)) for name in self._names], dtype="<f4")
        file.connection.execute(
            "INSERT OR REPLACE INTO sample VALUES (?, ?, ?)",
            (sample.at_ms, self._layout(file), numbers.tobytes()),
        )

    def _layout(self, file: _DayFile) -> int:
        names = tuple(self._names)
        if file.layout is None or file.layout[1] != names:
            cursor = file.connection.execute(
                "INSERT INTO layout (names) VALUES (?)", (json.dumps(names),)
            )
            assert cursor.lastrowid is not None
            file.layout = (cursor.lastrowid, names)
        return file.layout[0]

    def _file(self, day: date) -> _DayFile:
        if self._open is not None and self._open.day != day:
            self.close()
        if self._open is None:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._forget_old(day)
            path = self._folder / f"{day.isoformat()}.sqlite"
            self._open = _DayFile(day, _connected(path), checkpoint_s=time.monotonic())
        return self._open

    def _forget_old(self, today: date) -> None:
        for path, day in _files(self._folder):
            if today - day > self._keep:
                for ending in ("", "-wal", "-shm"):
                    path.with_name(path.name + ending).unlink(missing_ok=True)


class MetricsRecorder(threading.Thread):
    """Takes what `look` shows once in `every_s` and appends it, until `finish()`.

    A disk that refuses is told to `on_trouble` once, and the last minutes are kept until it takes
    them; the line works on.
    """

    def __init__(
        self,
        records: Path,
        look: Callable[[], Values],
        *,
        every_s: float = 1.0,
        keep_days: int = 400,
        on_trouble: Callable[[str], None] = lambda text: None,
    ) -> None:
        super().__init__(name="metrics", daemon=True)
        self._file = MetricsFile(records, keep_days=keep_days)
        self._look = look
        self._every_s = every_s
        self._on_trouble = on_trouble
        self._waiting: list[Sample] = []
        self._in_trouble = False
        self._again_s = 0.0
        self._finish = threading.Event()

    def run(self) -> None:
        due_s = time.monotonic()
        while not self._finish.wait(max(0.0, due_s - time.monotonic())):
            self.take()
            due_s = max(due_s + self._every_s, time.monotonic())
        self._again_s = 0.0
        self._write()
        self._file.close()

    def finish(self) -> None:
        self._finish.set()
        if self.is_alive():
            self.join(10.0)

    def take(self) -> None:
        """One sample, now."""
        values = self._look()
        if values:
            self._waiting = [*self._waiting, Sample(datetime.now(UTC), values)][-KEPT_SAMPLES:]
        self._write()

    def _write(self) -> None:
        if not self._waiting or time.monotonic() < self._again_s:
            return
        try:
            self._file.append(self._waiting)
        except (OSError, sqlite3.Error) as error:
            self._file.close()
            self._again_s = time.monotonic() + AGAIN_S
            if not self._in_trouble:
                log.warning("the metrics can't be written: %s", error)
                self._on_trouble(f"the metrics of the line can't be written: {error}")
            self._in_trouble = True
            return
        self._waiting = []
        self._in_trouble = False


def read_metrics(
    records: Path,
    quantities: Sequence[str] = ("*",),
    *,
    since: datetime | None = None,
    until: datetime | None = None,
) -> "pd.DataFrame":
    """The numbers of quantities (patterns such as `bias.*`) as a frame: quantity, at (UTC), value.

    Flags are 0 and 1; seconds in which a quantity was not read are left out. In the order of
    time for each quantity. A file that can't be read is passed over with a warning in the log.
    """
    import pandas as pd

    found: dict[str, list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = {}
    span = _span(since, until)
    for tables in _from_each(records, since, until, lambda opened: _tables(opened, span)):
        for names, at_ms, table in tables:
            for column, name in enumerate(names):
                if any(fnmatchcase(name, pattern) for pattern in quantities):
                    read = ~np.isnan(table[:, column])
                    found.setdefault(name, []).append((at_ms[read], table[read, column]))
    frames = [
        pd.DataFrame(
            {
                "quantity": name,
                "at": pd.to_datetime(np.concatenate([at for at, _ in parts]), unit="ms", utc=True),
                "value": np.concatenate([v for _, v in parts]).astype(float),
            }
        )
        for name, parts in sorted(found.items())
    ]
    if not frames:
        empty = {"quantity": [], "at": pd.to_datetime([], utc=True), "value": np.array([], float)}
        return pd.DataFrame(empty)
    return pd.concat(frames, ignore_index=True)


def read_words(
    records: Path, *, since: datetime | None = None, until: datetime | None = None
) -> "pd.DataFrame":
    """The states of the line in words, when they changed, as a frame: quantity, at (UTC), text."""
    import pandas as pd

    query = "SELECT at_ms, name, text FROM word WHERE at_ms BETWEEN ? AND ? ORDER BY at_ms"
    span = _span(since, until)
    rows = [
        row
        for of_day in _from_each(
            records, since, until, lambda opened: opened.execute(query, span).fetchall()
        )
        for row in of_day
    ]
    return pd.DataFrame(
        {
            "quantity": [name for _, name, _ in rows],
            "at": pd.to_datetime([at for at, _, _ in rows], unit="ms", utc=True),
            "text": [text for _, _, text in rows],
        }
    )


def _number(value: Value | None) -> float:
    return math.nan if value is None or isinstance(value, str) else float(value)


def _connected(path: Path) -> sqlite3.Connection:
    """The file open for writing; one that is broken is put aside, never written to."""
    connection = sqlite3.connect(path, timeout=1.0, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.executescript(_TABLES)
    except sqlite3.OperationalError:
        connection.close()
        raise
    except sqlite3.DatabaseError as error:
        connection.close()
        log.warning("%s is broken and was put aside: %s", path, error)
        path.replace(path.with_name(f"{path.name}.broken-{time.time_ns()}"))
        return _connected(path)
    return connection


def _files(folder: Path) -> Iterator[tuple[Path, date]]:
    for path in sorted(folder.glob("*.sqlite")):
        with suppress(ValueError):
            yield path, date.fromisoformat(path.stem)


def _from_each(
    records: Path,
    since: datetime | None,
    until: datetime | None,
    read: Callable[[sqlite3.Connection], _Read],
) -> Iterator[_Read]:
    """What `read` finds in the file of each day; one that can't be read is passed over."""
    first = date.min if since is None else since.astimezone(UTC).date()
    last = date.max if until is None else until.astimezone(UTC).date()
    for path, day in _files(records / FOLDER):
        if not first <= day <= last:
            continue
        try:
            with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as opened:
                found = read(opened)
        except sqlite3.Error as error:
            log.warning("%s can't be read: %s", path, error)
            continue
        yield found


def _tables(opened: sqlite3.Connection, span: tuple[int, int]) -> list[_Table]:
    """For each layout of a file: names, times (n,) in ms, numbers (n, names)."""
    tables = []
    for number, names in opened.execute("SELECT id, names FROM layout").fetchall():
        rows = opened.execute(
            "SELECT at_ms, numbers FROM sample WHERE layout = ? AND at_ms BETWEEN ? AND ? "
            "ORDER BY at_ms",
            (number, *span),
        ).fetchall()
        columns = json.loads(names)
        numbers = np.frombuffer(b"".join(blob for _, blob in rows), dtype="<f4")
        at_ms = np.array([at for at, _ in rows], dtype=np.int64)
        tables.append((columns, at_ms, numbers.reshape(len(rows), len(columns))))
    return tables


def _span(since: datetime | None, until: datetime | None) -> tuple[int, int]:
    return (
        0 if since is None else round(since.timestamp() * 1000),
        2**62 if until is None else round(until.timestamp() * 1000),
    )
