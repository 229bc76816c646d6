"""The twin as a process of its own: started, found again after a crash, ended."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from station.twin.hands import TwinHands

LINE_FILE = "line.toml"
TWIN_FILE = "twin.json"
SERIAL_FILE = "serial"
LOG_FILE = "twin.log"
START_S = 60.0
END_S = 10.0


class TwinError(Exception):
    """The twin can't be started; the message says where its log is."""


@dataclass(frozen=True)
class TwinProcess:
    """A running twin: its process and the folder with the profile of its line."""

    pid: int
    folder: Path

    @property
    def line_file(self) -> Path:
        return self.folder / LINE_FILE

    def end(self) -> None:
        """Ask the twin to stop and wait until it has taken its card off the door."""
        try:
            os.kill(self.pid, signal.SIGTERM)
        except ProcessLookupError:
            (self.folder / TWIN_FILE).unlink(missing_ok=True)
            return
        _wait_until(lambda: not (self.folder / TWIN_FILE).exists(), END_S)


def start_or_adopt(
    folder: Path,
    *,
    seed: int | None,
    shape: str,
    speed: float,
    first_serial: Callable[[], int],
) -> TwinProcess:
    """The twin that a crashed station left running in `folder`, or else a new one.

    A twin that is taken over lives as long as this process from now on. `first_serial` is asked
    only for a new one.

    Raises TwinError when it does not come up.
    """
    left = running_in(folder)
    if left is not None:
        return _take_over(left)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / TWIN_FILE).unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "station.twin", str(folder)),
        *("--shape", shape),
        *("--speed", str(speed)),
        *("--first-serial", str(first_serial())),
        *("--parent", str(os.getpid())),
    ]
    if seed is not None:
        command += ["--seed", str(seed)]
    with (folder / LOG_FILE).open("w") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    _wait_until(lambda: (folder / TWIN_FILE).exists() or process.poll() is not None, START_S)
    if not (folder / TWIN_FILE).exists():
        process.kill()
        raise TwinError(f"the twin did not start; its log is {folder / LOG_FILE}")
    return TwinProcess(process.pid, folder)


def running_in(folder: Path) -> TwinProcess | None:
    """The twin whose card is on the door of `folder` and which answers."""
    try:
        card = json.loads((folder / TWIN_FILE).read_text())
        twin = TwinProcess(int(card["pid"]), folder)
        endpoint = str(card["hands"])
    except (OSError, ValueError, KeyError):
        return None
    hands = TwinHands(endpoint)
    try:
        return twin if hands.alive() else None
    finally:
        hands.close()


def _take_over(twin: TwinProcess) -> TwinProcess:
    card = json.loads((twin.folder / TWIN_FILE).read_text())
    hands = TwinHands(str(card["hands"]))
    try:
        hands.do(f"belong:{os.getpid()}")
    finally:
        hands.close()
    return twin


def _wait_until(condition: Callable[[], bool], within_s: float) -> None:
    deadline = time.monotonic() + within_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
