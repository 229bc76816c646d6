"""The journal of a line: what is about to be done is on disk before it is done.

One file beside the records, one line per record: the CRC-32 of the record as eight hexadecimal
digits, a space, the record as JSON. The first line names the format, the line it belongs to, and
what was known when the file was begun. A last line that was cut off counts as not written.

An intent is flushed to the disk before its act begins; that an act is done is only written, the
next intent flushes it. Acts towards safety never wait for the disk: they are noted afterwards.
"""

import json
import math
import os
import re
import threading
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drivers.errors import InterlockOpen, LimitsNotProgrammed, NotHomed, SetpointRefused
from station.last_known import Carried, LastKnown, after, folded

FORMAT = 1
COMPACT_BYTES = 1_000_000
NOTHING_SENT = (SetpointRefused, LimitsNotProgrammed, InterlockOpen, NotHomed)
_TORN_HEAD = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8} (\{[^\n]*)?")
_flush = getattr(os, "fdatasync", os.fsync)


class JournalError(Exception):
    """The journal can't be read or written; the message names the file and what to do."""

    def __init__(self, what: str, path: Path, advice: str) -> None:
        super().__init__(f"{what} (journal {path}). {advice}")
        self.what = what
        self.path = path


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
            records, length = _records(path.read_bytes(), path) if path.exists() else ([], 0)
            if not records:
                os.close(_begin(path, line, LastKnown(), 0)[0])
                records, length = _records(path.read_bytes(), path)
            head = _checked_head(records[0], line, path)
            known = _folded(head, records[1:], path)
            journal = cls(path, line, known, int(records[-1]["n"]), length)
        except OSError as error:
            raise _refused(error, path) from error
        try:
            journal._append("opened", {}, flush=True)
        except BaseException:
            os.close(journal._file)
            raise
        return journal

    # -- writing -----------------------------------------------------------------------------

    @contextmanager
    def act(self, name: str, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Around one physical act: its intent is on disk before the body begins.

        Put what was read back into the yielded dictionary. Raises JournalError, before anything
        was done, when the intent can't be written.
        """
        with self._lock:
            record = {"act": name, "given": _plain(given)}
            if self.step:
                record["step"] = self.step
            n = self._append("intend", record, flush=True)
            read: dict[str, Any] = {}
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
        self._afterwards.append({"kind": "safe", "at": _now(), "act": name, "read": _plain(read)})

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
                self._afterwards.append({"kind": kind, "at": _now(), **content})

    def _append(self, kind: str, content: Mapping[str, Any], *, flush: bool) -> int:
        with self._lock:
            if self._file < 0:
                raise JournalError("it is closed", self.path, "Open the session again.")
            self._write_afterwards()
            n = self._write({"kind": kind, "at": _now(), **content})
            if flush:
                self._to_disk()
            return n

    def _write_afterwards(self) -> None:
        while self._afterwards:
            self._write(self._afterwards[0])
            self._afterwards.popleft()

    def _write(self, content: Mapping[str, Any]) -> int:
        record = {"n": self._n + 1, **content}
        line = _line_of(record)
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
            raise _refused(error, self.path) from error
        self._n += 1
        self._length += len(line)
        self.known = after(self.known, record)
        return self._n

    def _to_disk(self) -> None:
        try:
            _flush(self._file)
        except OSError as error:
            raise _refused(error, self.path) from error

    def _compact(self) -> None:
        """Begin the file anew with what is known; the old one stays until the new one is whole."""
        self._write_afterwards()
        try:
            file, length = _begin(self.path, self._line, self.known, self._n)
        except OSError as error:
            raise _refused(error, self.path) from error
        os.close(self._file)
        self._file, self._length = file, length
        self._n += 1
        self._in_doubt = False


def read_journal(path: Path, line: str) -> LastKnown:
    """What a journal says, without opening it for writing. Raises JournalError as `open` does."""
    try:
        records, _ = _records(path.read_bytes(), path)
    except OSError as error:
        raise _refused(error, path) from error
    return (
        _folded(_checked_head(records[0], line, path), records[1:], path)
        if records
        else (LastKnown())
    )


def _records(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """The whole records and how many bytes they take; nothing for a head that was cut off."""
    records: list[dict[str, Any]] = []
    length = 0
    lines = content.split(b"\n")
    for number, line in enumerate(lines[:-1], start=1):
        record = _record_of(line)
        if record is None or (records and record["n"] <= records[-1]["n"]):
            if any(_record_of(later) is not None for later in lines[number:]):
                raise _damaged(f"line {number} is damaged", path)
            break
        records.append(record)
        length += len(line) + 1
    if not records and not (len(lines) == 1 and _TORN_HEAD.fullmatch(content)):
        raise _damaged("this is no journal of a line", path)
    return records, length


def _record_of(line: bytes) -> dict[str, Any] | None:
    if len(line) < 10 or line[8:9] != b" ":
        return None
    try:
        if int(line[:8], 16) != zlib.crc32(line[9:]):
            return None
        record = json.loads(line[9:])
    except ValueError:
        return None
    return record if isinstance(record, dict) and isinstance(record.get("n"), int) else None


def _line_of(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def _checked_head(head: Mapping[str, Any], line: str, path: Path) -> LastKnown:
    if head.get("kind") != "journal":
        raise _damaged("its first line is missing", path)
    if head.get("format") != FORMAT:
        raise JournalError(
            f"it has format {head.get('format')}, this version writes format {FORMAT}",
            path,
            "Start the newer version of the station that wrote it, or move the file away: then "
            "only what the machine shows is believed.",
        )
    if head.get("line") != line:
        raise JournalError(
            f"it belongs to the line {head.get('line')!r}, not to {line!r}",
            path,
            "Start with the profile of that line, or with another folder for the records.",
        )
    try:
        return LastKnown.from_data(head["known"])
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"its first line can't be understood: {error}", path) from error


def _folded(start: LastKnown, records: list[dict[str, Any]], path: Path) -> LastKnown:
    try:
        return folded(records, start)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"a record can't be understood: {error}", path) from error


def _begin(path: Path, line: str, known: LastKnown, n: int) -> tuple[int, int]:
    """Put a new file with its first line only in the place of the old one, in one step.

    Returns the file, open at its end, and its length.
    """
    head = {
        "n": n + 1,
        "kind": "journal",
        "at": _now(),
        "format": FORMAT,
        "line": line,
        "known": known.as_data(),
    }
    text = _line_of(head)
    draft = path.with_name(path.name + ".new")
    file = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        left = memoryview(text)
        while left:
            left = left[os.write(file, left) :]
        os.fsync(file)
        draft.replace(path)
        _sync_folder(path.parent)
    except BaseException:
        os.close(file)
        raise
    return file, len(text)


def _sync_folder(folder: Path) -> None:
    """Make a new name last through a power cut, where folders can be flushed."""
    if os.name != "posix":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _damaged(what: str, path: Path) -> JournalError:
    return JournalError(
        what,
        path,
        "Keep the file for who looks into it, but move it away: the next start then believes only "
        "what the machine shows. Look at the line first: is a tile on the nozzle?",
    )


def _refused(error: OSError, path: Path) -> JournalError:
    return JournalError(
        f"the disk refuses: {error.strerror or error}",
        path,
        "Nothing was begun. Make room on the disk, or check it, then go on.",
    )
