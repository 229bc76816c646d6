"""The watchdog: a process of its own that brings the bias down when the station dies.

    python -m station.safety.watchdog --line line.toml --records data --station PID --after 2.0

The station's supervisor writes a byte to standard input after every healthy round. When the pipe
breaks or the station's process ends the watchdog takes over at once; when nothing comes for
`--after` seconds (a hung supervisor, a stopped process) it kills the station first, to free its
ports. Then it opens the bias supply by itself, ramps it down at the emergency rate, reads that it
is off, and leaves a report. `c` instead of a heartbeat means that the station closes and beats no
more, `d` that it has closed in order: then the watchdog only reads that the output is off.

It has a session of its own, ignores every signal that can be ignored, and imports what it needs
before it says "ready" on standard output, where it also echoes the heartbeats.
"""

import argparse
import contextlib
import importlib
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from drivers.clock import Clock, RealClock, ScaledClock
from drivers.errors import InstrumentError
from drivers.roles import BiasReading, BiasSupply
from station.profile import Profile
from station.profile_file import load_profile
from station.safety.watchdog_report import Report, card_file, lock_file, save

log = logging.getLogger("watchdog")

BEAT, CLOSING, DONE, READY, OFF = b".", b"c", b"d", b"ready\n", b"off\n"
CLOSING_WITHIN_S = 120.0
"""A station that closes ramps down and joins its threads without a heartbeat; not for longer."""
TICK_S = 0.05
LONGEST_TICK_S = 0.25
"""More than that between two looks at the pipe is this process's own delay, not the station's."""
DIES_WITHIN_S = 3.0
LOCK_WITHIN_S = 20.0
AGAIN_S = 0.2
TRIES_FOR_S = 600.0
TRIES_TWIN_FOR_S = 10.0
"""A simulated supply that does not answer has ended with its twin."""
SAFE_V = 0.5
LAST_TROUBLES = 20

Opener = Callable[[], BiasSupply]


class StationProcess:
    """The station as the watchdog sees it; the process id can't come to mean another process."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = -1
        with contextlib.suppress(OSError, AttributeError):
            self._fd = os.pidfd_open(pid)
        self.is_gone = self._fd >= 0 and os.getppid() != pid
        """Whether the station had ended before it could be held: its id may be another's now."""
        if self.is_gone:
            os.close(self._fd)
            self._fd = -1

    def fileno(self) -> int:
        """Readable once the process has ended; -1 where the system has no such thing."""
        return self._fd

    def kill(self) -> bool:
        """SIGKILL, and wait until it is gone; False when it does not go."""
        try:
            if self._fd >= 0:
                signal.pidfd_send_signal(self._fd, signal.SIGKILL)
            elif os.getppid() == self.pid:
                os.kill(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            return True
        if self._fd < 0:
            time.sleep(0.2)
            return os.getppid() != self.pid
        return bool(select.select([self._fd], [], [], DIES_WITHIN_S)[0])


def wait_for_the_end(
    heart: int, station: StationProcess, after_s: float, echo: Callable[[bytes], None]
) -> tuple[str, float]:
    """Listen to the heartbeats until they end.

    Returns why they ended ("done" when the station closed in order, "unused" when it did so before
    its first heartbeat, "silent" when it may still live, else what happened) and how long nothing
    had been heard.
    """
    if station.is_gone:
        return "the station died", 0.0
    silent_s = 0.0
    beating = False
    watched: list[int] = [heart, *([station.fileno()] if station.fileno() >= 0 else [])]
    last_s = time.monotonic()
    while True:
        ready = select.select(watched, [], [], TICK_S)[0]
        now_s = time.monotonic()
        silent_s += min(now_s - last_s, LONGEST_TICK_S)
        last_s = now_s
        if heart in ready:
            heard = os.read(heart, 4096)
            if DONE in heard:
                return "done" if beating or BEAT in heard else "unused", 0.0
            if not heard:
                return "the station died", silent_s
            silent_s, beating = 0.0, True
            if CLOSING in heard:
                after_s = max(after_s, CLOSING_WITHIN_S)
            echo(BEAT)
        elif ready:
            return "the station died", silent_s
        elif beating and silent_s > after_s:
            return "silent", silent_s


class TakeOver:
    """Bringing the bias down on behalf of a station that can't. Every step is written down."""

    def __init__(
        self, line_file: Path, records: Path, open_supply: Opener, ramp_v_per_s: float
    ) -> None:
        self._line_file = line_file
        self._records = records
        self._open = open_supply
        self._ramp_v_per_s = ramp_v_per_s
        self._lock = FileLock(lock_file(line_file))
        self._saving = threading.Lock()

    def after_the_end(
        self, reason: str, silent_s: float, station: StationProcess, tries_for_s: float
    ) -> Report:
        """Take the line over. `reason` as `wait_for_the_end` returns it; "silent" kills."""
        begun_s = time.monotonic()
        report = Report(
            id=uuid4().hex,
            reason=reason,
            station_pid=station.pid,
            detected_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            silent_s=round(silent_s, 3),
        )
        card = card_file(self._line_file)
        with contextlib.suppress(OSError):
            card.write_text(str(os.getpid()))
        try:
            gone = True
            if reason == "silent":
                report.reason = f"its supervisor was silent for {silent_s:.1f} s"
                gone = report.killed = station.kill()
                if not gone:
                    self._complain(report, f"process {station.pid} can't be killed")
            if self._own_line(gone):
                self._bring_down(report, begun_s, tries_for_s)
            else:
                self._complain(report, "another station took the line over; the bias is left to it")
        finally:
            self._save(report)
            with contextlib.suppress(OSError):
                card.unlink()
            self._lock.release()
        return report

    def after_done(self) -> Report | None:
        """See that a station that closed in order left the output off. None when it did."""
        begun_s = time.monotonic()
        report = Report(
            id=uuid4().hex,
            reason="the station closed",
            station_pid=os.getppid(),
            detected_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            silent_s=0.0,
        )
        self._bring_down(report, begun_s, TRIES_TWIN_FOR_S)
        if report.verified and report.found is not None and not report.found["output_on"]:
            return None
        self._save(report)
        return report

    def _own_line(self, station_gone: bool) -> bool:
        """The line's lock. A station that can't be killed keeps it: then it is not waited for."""
        try:
            self._lock.acquire(timeout=LOCK_WITHIN_S if station_gone else 0.0, poll_interval=0.01)
        except Timeout:
            return not station_gone
        except OSError:
            return True
        return True

    def _bring_down(self, report: Report, begun_s: float, tries_for_s: float) -> None:
        while not report.verified:
            report.attempts += 1
            try:
                self._once(report)
            except InstrumentError as error:
                self._complain(report, str(error))
            except Exception as error:  # noqa: BLE001 - nobody else would try again
                self._complain(report, f"{type(error).__name__}: {error}")
            if report.verified:
                report.off_after_s = round(time.monotonic() - begun_s, 3)
            elif time.monotonic() - begun_s > tries_for_s:
                return
            else:
                time.sleep(AGAIN_S)

    def _once(self, report: Report) -> None:
        supply = self._open()
        try:
            reading = supply.read()
            report.found = report.found or _as_data(reading)
            if reading.output_on or abs(reading.voltage_v) > SAFE_V:
                reading = supply.ramp_down(rate_v_per_s=self._ramp_v_per_s)
            report.left = _as_data(reading)
            report.verified = not reading.output_on and abs(reading.voltage_v) <= SAFE_V
        finally:
            supply.leave()

    def _complain(self, report: Report, trouble: str) -> None:
        log.error("%s", trouble)
        report.trouble = [*report.trouble, trouble][-LAST_TROUBLES:]
        # a disk that hangs must not keep the bias up
        threading.Thread(target=self._save, args=(report,), daemon=True).start()

    def _save(self, report: Report) -> None:
        try:
            with self._saving:
                save(report, self._records)
        except OSError as error:
            log.error("the report can't be written: %s; %s", error, asdict(report))


def _as_data(reading: BiasReading) -> dict[str, float | bool]:
    return {
        "voltage_v": round(reading.voltage_v, 4),
        "current_a": reading.current_a,
        "output_on": reading.output_on,
    }


def _say(text: bytes) -> None:
    with contextlib.suppress(OSError):
        os.write(sys.stdout.fileno(), text)


def _opener(profile: Profile) -> Opener:
    """How the supply is opened; its driver is imported now, while the disk still answers."""
    from station.driver_table import BIAS_DRIVERS
    from station.instruments import open_bias

    scale = profile.station.time_scale
    clock: Clock = RealClock() if scale == 1 else ScaledClock(scale)
    importlib.import_module(BIAS_DRIVERS[profile.bias.driver].module)
    if not profile.bias.address.endswith("SOCKET"):
        for library in ("serial", "pyvisa_py"):
            with contextlib.suppress(ImportError):
                importlib.import_module(library)
    return lambda: open_bias(profile, clock)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m station.safety.watchdog", description=__doc__)
    parser.add_argument("--line", type=Path, required=True)
    parser.add_argument("--records", type=Path, required=True)
    parser.add_argument("--station", type=int, required=True)
    parser.add_argument("--after", type=float, required=True)
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(format="%(asctime)s %(message)s", level=logging.INFO)
    station = StationProcess(options.station)
    line_file = options.line.resolve()
    profile = load_profile(line_file)
    take_over = TakeOver(
        line_file, options.records.resolve(), _opener(profile), profile.bias.emergency_ramp_v_per_s
    )
    os.set_blocking(sys.stdout.fileno(), False)
    _say(READY)
    report: Report | None = None
    reason, silent_s = wait_for_the_end(sys.stdin.fileno(), station, options.after, _say)
    tries_for_s = TRIES_FOR_S if profile.twin is None else TRIES_TWIN_FOR_S
    if reason in ("done", "unused"):
        report = take_over.after_done()
        if report is None:
            _say(OFF)
            return 0
    if report is None or (reason == "done" and profile.twin is None and not report.verified):
        if reason == "done":
            reason = "the station closed and nobody could read that the bias is off"
        report = take_over.after_the_end(reason, silent_s, station, tries_for_s)
    log.info("%s", report.story)
    return 0 if report.verified else 1


if __name__ == "__main__":
    sys.exit(main())
