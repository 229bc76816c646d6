"""The file of a journal: one record per line, each with its CRC, the first one a head.

    <CRC-32 of the record, eight hexadecimal digits> <the record as JSON>

The head names the format, the line that the journal belongs to, and what was known when the file
was begun. A last line that was cut off counts as not written.
"""

import json
import os
import re
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from station.last_known import LastKnown, folded

FORMAT = 1
_TORN_HEAD = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8} (\{[^\n]*)?")


class JournalError(Exception):
    """The journal can't be read or written; the message names the file and what to do."""

    def __init__(self, what: str, path: Path, advice: str) -> None:
        super().__init__(f"{what} (journal {path}). {advice}")
        self.what = what
        self.path = path


def read_journal(path: Path, line: str) -> LastKnown:
    """What a journal says, without opening it for writing. Raises JournalError as `open` does."""
    try:
        records, _ = records_of(path.read_bytes(), path)
    except OSError as error:
        raise refused(error, path) from error
    return (
        folded_from(checked_head(records[0], line, path), records[1:], path)
        if records
        else (LastKnown())
    )


def records_of(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
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


def line_of(record: Mapping[str, Any]) -> bytes:
    text = json.dumps(record, separators=(",", ":"), allow_nan=False).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def checked_head(head: Mapping[str, Any], line: str, path: Path) -> LastKnown:
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


def folded_from(start: LastKnown, records: list[dict[str, Any]], path: Path) -> LastKnown:
    try:
        return folded(records, start)
    except (KeyError, TypeError, ValueError) as error:
        raise _damaged(f"a record can't be understood: {error}", path) from error


def begin_anew(path: Path, line: str, known: LastKnown, n: int) -> tuple[int, int]:
    """Put a new file with its first line only in the place of the old one, in one step.

    Returns the file, open at its end, and its length.
    """
    head = {
        "n": n + 1,
        "kind": "journal",
        "at": now(),
        "format": FORMAT,
        "line": line,
        "known": known.as_data(),
    }
    text = line_of(head)
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


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _damaged(what: str, path: Path) -> JournalError:
    return JournalError(
        what,
        path,
        "Keep the file for who looks into it, but move it away: the next start then believes only "
        "what the machine shows. Look at the line first: is a tile on the nozzle?",
    )


def refused(error: OSError, path: Path) -> JournalError:
    return JournalError(
        f"the disk refuses: {error.strerror or error}",
        path,
        "Nothing was begun. Make room on the disk, or check it, then go on.",
    )
