"""The journal of a line: what is about to be done is on disk before it is done.

One file beside the records (`station.journal_file`), one line per record.

An intent is flushed to the disk before its act begins; that an act is done is only written, the
next intent flushes it. Acts towards safety never wait for the disk: they are noted afterwards.
"""

import math
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drivers.errors import InterlockOpen, LimitsNotProgrammed, NotHomed, SetpointRefused
from station.journal_file import (
    JournalError,
    begin_anew,
    checked_head,
    folded_from,
    line_of,
    now,
    records_of,
    refused,
)
from station.last_known import Carried, LastKnown, after

COMPACT_BYTES = 1_000_000
NOTHING_SENT = (SetpointRefused, LimitsNotProgrammed, InterlockOpen, NotHomed)
_flush = getattr(os, "fdatasync", os.fsync)


class Journal:
    """The open journal of one line. Thread-safe.

    `found` is what it said when it was opened, `known` what it says now.
    """

    def __init__(self, path: Path, line: str, found: LastKnown, last_n: int, length: int) -> None:
        self.path = path
        self.found = found
        self.known = found
        self.step = ""
        """What the procedure is doing: goes into every intent."""
        self.in_hand: Carried | None = None
        """The tile that the next grip is about."""
        self._line = line
        self._n = last_n
        self._length = length
        self._lock = threading.RLock()
        self._afterwards: deque[dict[str, Any]] = deque()
        self._file = os.open(path, os.O_WRONLY)
        os.lseek(self._file, length, os.SEEK_SET)
        self._in_doubt = True

    @classmethod
    def open(cls, path: Path, line: str) -> "Journal":
        """Open the journal of `line`, or begin it; what a crash cut off is dropped.

        Raises JournalError when the file is no journal, damaged, of another line or of a newer
        version, or when the disk refuses.
        """
        try:
            records, length = records_of(path.read_bytes(), path) if path.exists() else ([], 0)
            if not records:
                os.close(begin_anew(path, line, LastKnown(), 0)[0])
                records, length = records_of(path.read_bytes(), path)
            head = checked_head(records[0], line, path)
            known = folded_from(head, records[1:], path)
            journal = cls(path, line, known, int(records[-1]["n"]), length)
        except OSError as error:
            raise refused(error, path) from error
        try:
            journal._append("opened", {}, flush=True)
        except BaseException:
            os.close(journal._file)
            raise
        return journal

    # -- writing -----------------------------------------------------------------------------

    @contextmanager
    def act(
        self,
        name: str,
        given: Mapping[str, Any],
        check: Callable[[], None] = lambda: None,
    ) -> Iterator[dict[str, Any]]:
        """Around one physical act: its intent is on disk before the body begins.

        Put what was read back into the yielded dictionary. Raises JournalError, before anything
        was done, when the intent can't be written, and what `check` raises, which is called when
        the intent is on disk: the act was not begun then.
        """
        with self._lock:
            record = {"act": name, "given": _plain(given)}
            if self.step:
                record["step"] = self.step
            n = self._append("intend", record, flush=True)
            read: dict[str, Any] = {}
        try:
            check()
        except BaseException as error:
            self._note("failed", {"of": n, "why": _short(error), "refused": True})
            raise
        try:
            yield read
        except BaseException as error:
            refused = isinstance(error, NOTHING_SENT)
            self._note("failed", {"of": n, "why": _short(error), "refused": refused})
            raise
        self._note("done", {"of": n, "read": _plain(read)})

    def safe(self, name: str, read: Mapping[str, Any]) -> None:
        """Note an act towards safety that was done. Never waits and never raises.

        It is written with the next record, whoever writes that.
        """
        self._afterwards.append({"kind": "safe", "at": now(), "act": name, "read": _plain(read)})

    def begin_run(self, *, run_id: str, procedure: str, label: str, part_id: str) -> None:
        """A run begins; a long journal is compacted first. Raises JournalError."""
        with self._lock:
            if self._length > COMPACT_BYTES:
                self._compact()
            self.step = ""
            given = {"run_id": run_id, "procedure": procedure, "label": label, "part_id": part_id}
            self._append("run", given, flush=True)

    def end_run(self, run_id: str) -> None:
        """The end of a run is in the records. Never raises: the records know better."""
        self.step = ""
        self._note("run_ended", {"run_id": run_id})

    def instruments(self, serials: Mapping[str, str]) -> None:
        """The serial numbers of the instruments that are used from now on. Raises JournalError."""
        with self._lock:
            self._append("serials", {"serials": dict(serials)}, flush=True)

    def machine(self, machine: Mapping[str, Any]) -> None:
        """What a recovery read from the machine is the truth from now on. Raises JournalError."""
        with self._lock:
            self._append("found", _plain(machine), flush=True)

    def close(self, *, clean: bool) -> None:
        """Close; `clean` says that the safe state was verified: the file is begun anew then.

        Raises JournalError when the disk refuses; the file is closed all the same.
        """
        with self._lock:
            if self._file < 0:
                return
            try:
                if clean:
                    self._append("closed", {}, flush=False)
                    self._compact()
                else:
                    self._write_afterwards()
            finally:
                os.close(self._file)
                self._file = -1

    def _note(self, kind: str, content: Mapping[str, Any]) -> None:
        """Write what happened; on a disk that refuses it waits for the next record."""
        with self._lock:
            if self._file < 0:
                return
            try:
                self._append(kind, content, flush=False)
            except JournalError:
                self._afterwards.append({"kind": kind, "at": now(), **content})

    def _append(self, kind: str, content: Mapping[str, Any], *, flush: bool) -> int:
        with self._lock:
            if self._file < 0:
                raise JournalError("it is closed", self.path, "Open the session again.")
            self._write_afterwards()
            n = self._write({"kind": kind, "at": now(), **content})
            if flush:
                self._to_disk()
            return n

    def _write_afterwards(self) -> None:
        while self._afterwards:
            self._write(self._afterwards[0])
            self._afterwards.popleft()

    def _write(self, content: Mapping[str, Any]) -> int:
        record = {"n": self._n + 1, **content}
        line = line_of(record)
        try:
            if self._in_doubt:
                os.ftruncate(self._file, self._length)
                os.lseek(self._file, self._length, os.SEEK_SET)
                self._in_doubt = False
            self._in_doubt = True
            left = memoryview(line)
            while left:
                left = left[os.write(self._file, left) :]
            self._in_doubt = False
        except OSError as error:
            raise refused(error, self.path) from error
        self._n += 1
        self._length += len(line)
        self.known = after(self.known, record)
        return self._n

    def _to_disk(self) -> None:
        try:
            _flush(self._file)
        except OSError as error:
            raise refused(error, self.path) from error

    def _compact(self) -> None:
        """Begin the file anew with what is known; the old one stays until the new one is whole."""
        self._write_afterwards()
        try:
            file, length = begin_anew(self.path, self._line, self.known, self._n)
        except OSError as error:
            raise refused(error, self.path) from error
        os.close(self._file)
        self._file, self._length = file, length
        self._n += 1
        self._in_doubt = False


def _plain(given: Mapping[str, Any]) -> dict[str, Any]:
    """What JSON can hold; numbers that are none become their names."""
    plain: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, float) and not math.isfinite(value):
            plain[name] = str(value)
        elif value is None or isinstance(value, bool | int | float | str):
            plain[name] = value
        elif isinstance(value, tuple | list):
            plain[name] = list(_plain(dict(enumerate(value))).values())  # type: ignore[arg-type]
        else:
            plain[name] = str(value)
    return plain


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]
