"""What the watchdog leaves behind: a report of every time it took over, and who holds the line.

    <records>/watchdog/<time>-<id>.json    a report, until a station has taken it into its records
    <line file>.watchdog                   while a watchdog takes over: its process id
    <line file>.lock                       held by the station, or by the watchdog after it

**Starting again.** A station that finds the lock of its line taken asks `watchdog_busy`. When it
is a watchdog that brings the bias down, the station waits for the lock (`BUSY_WITHIN_S` is enough
for a supply that answers); otherwise another station works there, and it refuses to start.
"""

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FOLDER = "watchdog"
BUSY_WITHIN_S = 15.0


@dataclass
class Report:
    """One take-over. Times are ISO 8601 in UTC; `after_s` count from the detection.

    found, left: voltage_v, current_a, output_on as read before and after; None when never read.
    off_after_s: when the output was read as off, None when it never was.
    trouble: what did not work, in order; the last ones when there are many.
    """

    id: str
    reason: str
    station_pid: int
    detected_at: str
    silent_s: float
    killed: bool = False
    found: dict[str, Any] | None = None
    left: dict[str, Any] | None = None
    off_after_s: float | None = None
    verified: bool = False
    attempts: int = 0
    trouble: list[str] = field(default_factory=list)

    @property
    def story(self) -> str:
        """The report in one sentence."""
        found = (
            "the bias supply could not be read"
            if self.found is None
            else f"the bias was found at {self.found['voltage_v']:.2f} V, output "
            f"{'on' if self.found['output_on'] else 'off'}"
        )
        if not self.verified:
            done = "it is NOT certain that it is off"
            if self.trouble:
                done += f": {self.trouble[-1]}"
        elif self.found is not None and not self.found["output_on"]:
            done = "nothing had to be done"
        else:
            done = f"it was brought down within {self.off_after_s or 0.0:.1f} s and read as off"
        return f"the watchdog took over because {self.reason}; {found}; {done}"


def save(report: Report, records: Path) -> Path:
    """Write a report so that it is whole or not there, and on the disk. Raises OSError."""
    folder = records / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{report.detected_at.replace(':', '')}-{report.id}.json"
    draft = path.with_suffix(".new")
    with draft.open("w") as file:
        json.dump(asdict(report), file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
    return path


def reports(records: Path) -> Iterator[tuple[Path, Report]]:
    """The reports that no station has taken yet, the oldest first; a broken file is left alone."""
    for path in sorted((records / FOLDER).glob("*.json")):
        with suppress(OSError, ValueError, TypeError):
            yield path, Report(**json.loads(path.read_text()))


def taken(path: Path) -> None:
    """Mark a report as taken into the records; it stays beside the others. Raises OSError."""
    path.replace(path.with_suffix(".told"))


def lock_file(line_file: Path) -> Path:
    """The lock of a line; the same one by whatever name the line file is called."""
    return _beside(line_file, ".lock")


def card_file(line_file: Path) -> Path:
    return _beside(line_file, ".watchdog")


def _beside(line_file: Path, ending: str) -> Path:
    # a symbolic link to a line is that line
    line_file = line_file.resolve()
    return line_file.with_name(line_file.name + ending)


def watchdog_busy(line_file: Path) -> bool:
    """Whether a watchdog is bringing the bias of this line down, or waits for the line to do so."""
    try:
        pid = int(card_file(line_file).read_text())
        os.kill(pid, 0)
    except (OSError, ValueError):
        return False
    return True
