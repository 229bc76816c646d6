"""The station's end of the watchdog: starts it, feeds it, notices when it is gone."""

import contextlib
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

from station.safety.watchdog_report import FOLDER

BEAT_EVERY_S = 0.2
READY_WITHIN_S = 30.0
DONE_WITHIN_S = 20.0
ECHO_WITHIN_S = 8.0
"""A watchdog that does not echo for so long is stopped or starved: as good as dead."""
AGAIN_AFTER_S = 5.0
LOG_FILE = "watchdog.log"


class WatchdogError(Exception):
    """The watchdog does not run; no bias may be switched on without it."""


class WatchdogLink:
    """One watchdog process after the other for one line. Fulfils `station.safety.heart.Heart`."""

    def __init__(self, line_file: Path, records: Path, *, after_s: float) -> None:
        self._line_file = line_file.resolve()
        self.records = records.resolve()
        self._after_s = after_s
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._heart = -1
        self._ready = threading.Event()
        self._beat_s = 0.0
        self._unanswered_s: float | None = None
        self._started_s = 0.0
        self._ended = False

    @property
    def pid(self) -> int | None:
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start a watchdog; `wait_until_ready` says when it watches. Raises WatchdogError."""
        with self._lock:
            self._launch()

    def wait_until_ready(self, within_s: float = READY_WITHIN_S) -> None:
        """From its return on the heart must beat. Raises WatchdogError when it does not come up."""
        if not self._ready.wait(within_s) or not self.alive():
            raise WatchdogError(
                f"the watchdog does not start; its log is {self.records / FOLDER / LOG_FILE}"
            )
        self.beat()

    def beat(self) -> None:
        """Tell that the station is well. A watchdog that has died is replaced; never blocks."""
        now_s = time.monotonic()
        # the lock keeps the descriptor from being closed, and then reused, under the write
        if now_s - self._beat_s < BEAT_EVERY_S or not self._lock.acquire(blocking=False):
            return
        try:
            self._beat_s = now_s
            process = self._process
            if self._ended or process is None:
                return
            if process.poll() is None:
                self._unanswered_s = self._unanswered_s or now_s
                with contextlib.suppress(OSError):
                    os.write(self._heart, b".")
            elif now_s - self._started_s > AGAIN_AFTER_S:
                threading.Thread(target=self._restart, name="watchdog-start", daemon=True).start()
        finally:
            self._lock.release()

    def alive(self) -> bool:
        """Whether a watchdog is ready and has echoed the heartbeats lately."""
        process = self._process
        if process is None or process.poll() is not None or not self._ready.is_set():
            return False
        since_s = self._unanswered_s
        return since_s is None or time.monotonic() - since_s < ECHO_WITHIN_S

    def closing(self) -> None:
        """Tell the watchdog that the heart stops because the station closes."""
        with self._lock, contextlib.suppress(OSError):
            os.write(self._heart, b"c")

    def finish(self, within_s: float = DONE_WITHIN_S) -> None:
        """Tell the watchdog that the station has closed its instruments, and wait for its word.

        Raises WatchdogError when it could not read that the output is off.
        """
        with self._lock:
            self._ended = True
            process = self._process
            if process is None:
                return
            with contextlib.suppress(OSError):
                os.write(self._heart, b"d")
            self._close_heart()
        try:
            status = process.wait(within_s)
        except subprocess.TimeoutExpired:
            raise WatchdogError("the watchdog still tries to read that the bias is off") from None
        if status != 0:
            raise WatchdogError(
                f"the watchdog could not read that the bias is off; it ended with {status}"
            )

    def _restart(self) -> None:
        with self._lock, contextlib.suppress(WatchdogError):
            if not self._ended and self._process is not None and self._process.poll() is not None:
                self._launch()

    def _launch(self) -> None:
        self._started_s = time.monotonic()
        self._unanswered_s = None
        self._ready.clear()
        self._close_heart()
        folder = self.records / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / LOG_FILE).open("ab") as log:
                process = subprocess.Popen(
                    [
                        *(sys.executable, "-m", "station.safety.watchdog"),
                        *("--line", str(self._line_file), "--records", str(self.records)),
                        *("--station", str(os.getpid()), "--after", str(self._after_s)),
                    ],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    start_new_session=True,
                )
        except OSError as error:
            raise WatchdogError(f"the watchdog can't be started: {error}") from error
        assert process.stdin is not None
        self._heart = os.dup(process.stdin.fileno())
        process.stdin.close()
        os.set_blocking(self._heart, False)
        self._process = process
        threading.Thread(
            target=self._listen, args=(process,), name="watchdog-echo", daemon=True
        ).start()

    def _listen(self, process: "subprocess.Popen[bytes]") -> None:
        """Until the watchdog ends: hear that it is ready, and its echoes."""
        assert process.stdout is not None
        with process.stdout:
            while heard := os.read(process.stdout.fileno(), 4096):
                self._unanswered_s = None
                if heard.startswith(b"ready") and process is self._process:
                    self._ready.set()

    def _close_heart(self) -> None:
        if self._heart >= 0:
            os.close(self._heart)
            self._heart = -1
