"""The watchdog: whatever ends the station, the bias comes down and the report says how."""

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from station.safety.watchdog import StationProcess, wait_for_the_end
from station.safety.watchdog_link import WatchdogError, WatchdogLink
from station.safety.watchdog_report import (
    Report,
    card_file,
    lock_file,
    reports,
    save,
    taken,
    watchdog_busy,
)
from tests.station.safety.lines import SupplyProcess, profile, write_line

ROOT = Path(__file__).parents[3]
START_S = 60.0
DOWN_V = 0.5
DOWN_WITHIN_S = 5.0


@dataclass
class Bench:
    """A supply in its own process, and stations that are started on it one after the other."""

    folder: Path
    supply: SupplyProcess
    started: list["subprocess.Popen[str]"] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.line_file = write_line(self.folder, profile(self.supply.address))
        self.records = self.folder / "records"

    def station(self) -> "subprocess.Popen[str]":
        """A station whose bias is on and which ramps up and down."""
        module = "tests.station.safety.bias_station"
        station = subprocess.Popen(
            [sys.executable, "-m", module, str(self.line_file), str(self.records)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self.started.append(station)
        assert station.stdout is not None
        ready = station.stdout.readline()
        assert ready.startswith("ready"), ready
        return station

    def report(self, before: int = 0) -> Report:
        """The one report that is there after the watchdog has ended its work."""
        deadline_s = time.monotonic() + START_S
        while len(found := list(reports(self.records))) <= before or watchdog_busy(self.line_file):
            assert time.monotonic() < deadline_s, self.log()
            time.sleep(0.02)
        return found[-1][1]

    def log(self) -> str:
        return (self.records / "watchdog" / "watchdog.log").read_text()

    def close(self) -> None:
        for station in self.started:
            station.kill()
            station.communicate()
        self.supply.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    opened = Bench(tmp_path, SupplyProcess())
    yield opened
    opened.close()


@dataclass(frozen=True)
class Fall:
    """How one death went: the voltage at that instant, and the real seconds until it was down."""

    kind: str
    from_v: float
    down_s: float
    off_s: float


def die(bench: Bench, kind: str, rng: random.Random, dead: int) -> Fall:
    """Let one station die at a random instant of its ramps and time the fall of the voltage."""
    station = bench.station()
    time.sleep(rng.uniform(0.0, 2.0))
    bench.supply.seen()
    at_s = time.monotonic()
    os.kill(station.pid, signal.SIGKILL if kind == "kill" else signal.SIGSTOP)
    report = bench.report(before=dead)
    assert station.wait(START_S) == -signal.SIGKILL
    assert report.verified, report
    seen = bench.supply.seen()
    from_v = next((volts for t, volts, _ in seen if t >= at_s), 0.0)
    high = [t for t, volts, _ in seen if abs(volts) > DOWN_V]
    on = [t for t, _, output in seen if output]
    down_s = max(0.0, max(high, default=at_s) - at_s)
    off_s = max(0.0, max(on, default=at_s) - at_s)
    assert not seen[-1][2]
    assert abs(seen[-1][1]) < DOWN_V
    return Fall(kind, from_v, down_s, off_s)


@pytest.mark.parametrize(("seed", "kind"), [(1, "kill"), (2, "kill"), (3, "stop")])
def test_a_station_that_dies_leaves_the_bias_down(bench: Bench, seed: int, kind: str) -> None:
    fall = die(bench, kind, random.Random(seed), dead=0)
    assert fall.off_s < 60.0
    report = bench.report()
    assert report.found is not None
    assert report.killed == (kind == "stop")


@pytest.mark.study
@pytest.mark.timeout(3600)
def test_the_bias_is_down_within_five_seconds_of_two_hundred_deaths(bench: Bench) -> None:
    deaths = int(os.environ.get("TESSERA_DEATHS", "200"))
    rng = random.Random(42)
    falls = [die(bench, rng.choice(["kill", "stop"]), rng, dead) for dead in range(deaths)]
    for kind in ("kill", "stop"):
        down = sorted(fall.down_s for fall in falls if fall.kind == kind)
        off = sorted(fall.off_s for fall in falls if fall.kind == kind)
        print(
            f"{kind}: {len(down)} deaths; 0 V after median {statistics.median(down):.2f} s, "
            f"95 % {down[int(0.95 * len(down))]:.2f} s, worst {down[-1]:.2f} s; "
            f"output off worst {off[-1]:.2f} s"
        )
    (bench.folder / "falls.json").write_text(json.dumps([vars(fall) for fall in falls]))
    assert max(fall.down_s for fall in falls) < DOWN_WITHIN_S


def test_a_supervisor_that_hangs_is_as_good_as_dead(bench: Bench) -> None:
    station = bench.station()
    assert station.stdin is not None
    station.stdin.write("hang\n")
    station.stdin.flush()
    report = bench.report()
    assert report.killed
    assert "silent for" in report.reason
    assert report.verified
    assert station.wait(START_S) == -signal.SIGKILL


def test_a_signal_to_everybody_ends_neither_the_watchdog_nor_its_watch(bench: Bench) -> None:
    station = bench.station()
    (watchdog,) = _children(station.pid)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(watchdog, number)
    station.kill()
    assert bench.report().verified
    assert not bench.supply.seen()[-1][2]


def test_a_station_that_closes_slowly_is_not_killed_and_the_watchdog_reads_that_the_bias_is_off(
    bench: Bench,
) -> None:
    """Closing takes longer than the heart may be silent otherwise."""
    bench.line_file = write_line(bench.folder, profile(bench.supply.address, watchdog_after_s=0.7))
    station = bench.station()
    (watchdog,) = _children(station.pid)
    said, _ = station.communicate("done\n", timeout=START_S)
    assert said.splitlines()[-1] == "closed"
    assert list(reports(bench.records)) == []
    assert not _alive(watchdog)
    assert not bench.supply.seen()[-1][2]


def test_a_watchdog_that_dies_trips_the_line_and_another_takes_its_place(bench: Bench) -> None:
    station = bench.station()
    (watchdog,) = _children(station.pid)
    os.kill(watchdog, signal.SIGKILL)
    assert station.stdout is not None
    assert "watchdog" in station.stdout.readline()
    deadline_s = time.monotonic() + START_S
    while _children(station.pid) in ([], [watchdog]):
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_a_supply_that_does_not_answer_is_tried_again_and_said_so(tmp_path: Path) -> None:
    line_file = write_line(tmp_path, profile("TCPIP::127.0.0.1::9::SOCKET"))
    link = WatchdogLink(line_file, tmp_path / "records", after_s=1.0)
    link.start()
    link.wait_until_ready(START_S)
    pid = link.pid
    assert pid is not None
    link._close_heart()
    deadline_s = time.monotonic() + START_S
    while not (found := list(reports(tmp_path / "records"))) or found[0][1].attempts < 2:
        assert time.monotonic() < deadline_s
        time.sleep(0.05)
    report = found[0][1]
    assert watchdog_busy(line_file)
    os.kill(pid, signal.SIGKILL)
    link._process.wait(START_S)  # type: ignore[union-attr]
    assert not report.verified
    assert "NOT certain" in report.story
    assert "127.0.0.1" in report.trouble[0]
    assert not watchdog_busy(line_file)


def test_a_watchdog_that_cannot_start_is_told(tmp_path: Path) -> None:
    link = WatchdogLink(tmp_path / "none.toml", tmp_path / "records", after_s=1.0)
    link.start()
    with pytest.raises(WatchdogError, match=r"watchdog\.log"):
        link.wait_until_ready(2.0)
    assert not link.alive()


def test_a_report_is_read_back_until_it_is_taken(tmp_path: Path) -> None:
    report = Report("a1", "the station died", 7, "2026-01-02T03:04:05.678+00:00", 0.1)
    save(report, tmp_path)
    ((path, found),) = reports(tmp_path)
    assert found == report
    taken(path)
    assert list(reports(tmp_path)) == []


def test_a_broken_report_is_passed_over(tmp_path: Path) -> None:
    save(Report("a1", "the station died", 7, "2026-01-02T03:04:05+00:00", 0.1), tmp_path)
    (tmp_path / "watchdog" / "0-broken.json").write_text('{"id": "b2", "reas')
    assert [report.id for _, report in reports(tmp_path)] == ["a1"]


def test_a_card_of_a_process_that_is_gone_keeps_nobody_waiting(tmp_path: Path) -> None:
    line_file = tmp_path / "line.toml"
    assert not watchdog_busy(line_file)
    card_file(line_file).write_text("not a number")
    assert not watchdog_busy(line_file)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    card_file(line_file).write_text(str(ended.pid))
    assert not watchdog_busy(line_file)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    threads = Path(f"/proc/{pid}/task").iterdir()
    found = {int(child) for t in threads for child in (t / "children").read_text().split()}
    return sorted(found | {int(child) for child in text.split()})


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_line_has_one_lock_by_whatever_name_its_file_is_called(tmp_path: Path) -> None:
    """The watchdog and a second station must meet the lock of the first."""
    line_file = write_line(tmp_path, profile())
    link = tmp_path / "elsewhere" / "site.toml"
    link.parent.mkdir()
    link.symlink_to(line_file)
    assert lock_file(link) == lock_file(line_file)
    assert card_file(link) == card_file(line_file)


def test_a_process_that_is_not_the_station_is_never_killed() -> None:
    """The station ended while the watchdog started, and its id is another process's now."""
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        station = StationProcess(other.pid)
        reader, writer = os.pipe()
        os.write(writer, b".")
        assert wait_for_the_end(reader, station, 0.1, lambda text: None)[0] == "the station died"
        station.kill()
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
        os.close(reader)
        os.close(writer)


@pytest.mark.parametrize(("heard", "ended"), [(b"..d", "done"), (b"d", "unused")])
def test_a_station_that_closed_in_order_is_told_from_one_that_never_began(
    heard: bytes, ended: str
) -> None:
    reader, writer = os.pipe()
    os.write(writer, heard)
    station = StationProcess(os.getppid())
    assert wait_for_the_end(reader, station, 1.0, lambda text: None) == (ended, 0.0)
    os.close(reader)
    os.close(writer)
