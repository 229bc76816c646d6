"""The results of a batch as they come: one JSON object per line, only ever appended to.

A line that a killed run left half written is cut off when the journal is opened again. When a key
is there more than once, its last record counts.
"""

import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from filelock import FileLock, Timeout

Record = dict[str, Any]
FILE = "results.jsonl"


class BatchError(Exception):
    """The batch can't be run as asked for; says why."""


class Journal:
    """The journal of one folder, open for appending; one process at a time.

    finished: keys that need no more work. Raises BatchError when another batch writes here or
    the folder can't be written.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / FILE
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = FileLock(folder / ".lock")
            self._lock.acquire(timeout=0)
        except Timeout as error:
            raise BatchError(f"another batch writes into {folder}") from error
        except OSError as error:
            raise BatchError(f"{folder}: {error.strerror or error}") from error
        try:
            _mend(self.file)
            self.finished = {r["key"] for r in read_records(self.file) if not r["again"]}
            self._stream: BinaryIO = self.file.open("ab")
        except OSError as error:
            self._lock.release()
            raise BatchError(f"{self.file}: {error.strerror or error}") from error

    def append(self, records: Iterable[Record]) -> None:
        """Write records; when this returns they survive a power cut."""
        text = "".join(json.dumps(r, allow_nan=False, ensure_ascii=False) + "\n" for r in records)
        self._stream.write(text.encode())
        self._stream.flush()
        os.fsync(self._stream.fileno())
        self.finished.update(r["key"] for r in records if not r["again"])

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stream.close()
        self._lock.release()


def read_records(file: Path) -> Iterator[Record]:
    """The records of a journal in their order; lines that are no record are passed over."""
    if not file.exists():
        return
    with file.open("rb") as stream:
        for line in stream:
            try:
                record = json.loads(line)
            except ValueError:
                continue
            if isinstance(record, dict) and "key" in record and "again" in record:
                yield record


def _mend(file: Path) -> None:
    """Cut off a last line that has no end."""
    if not file.exists():
        return
    with file.open("r+b") as stream:
        end = stream.seek(0, os.SEEK_END)
        at = end
        while at > 0:
            begin = max(0, at - 65536)
            stream.seek(begin)
            newline = stream.read(at - begin).rfind(b"\n")
            if newline >= 0:
                at = begin + newline + 1
                break
            at = begin
        if at < end:
            stream.truncate(at)
