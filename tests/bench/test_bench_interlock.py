"""How long the interlock takes from a broken reading on the wire to its first safe command there.

The supply is a process of its own that takes both times. Under load the station's process also
decodes and renders the frames of eight cameras, writes to the disk with fsync, and has a thread
that holds the interpreter as a desktop that draws does.
"""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from drivers.clock import RealClock
from station.instruments import open_bias
from station.safety import InterlockTrippedError, Supervisor
from tests.station.safety.fake_line import BiasLine
from tests.station.safety.lines import profile

ROOT = Path(__file__).parents[2]
ROUNDS = 40
CAMERAS = 8
FRAMES_PER_S = 10.0
AT_V = 20.0
WITHIN_S = 30.0


class ReactionClock:
    """A clock that stands still but for the reactions that are put on it."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


REACTIONS = ReactionClock()


class Wire:
    """The supply's process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.supply_on_wire"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout
        self.address = str(json.loads(self._from.readline()))

    def do(self, word: str) -> dict[str, float]:
        self._to.write(word + "\n")
        self._to.flush()
        return dict(json.loads(self._from.readline()))

    def close(self) -> None:
        self._to.close()
        self._process.wait(20)
        self._from.close()


@pytest.fixture
def wire() -> Iterator[Wire]:
    opened = Wire()
    yield opened
    opened.close()


@contextmanager
def running(*work: Callable[[], None]) -> Iterator[None]:
    """Each of `work` again and again on a thread of its own."""
    stop = threading.Event()

    def again(one: Callable[[], None]) -> None:
        while not stop.is_set():
            one()

    threads = [threading.Thread(target=again, args=(one,), daemon=True) for one in work]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def camera() -> Callable[[], None]:
    noise = np.random.default_rng(0).integers(0, 255, (1024, 1280)).astype(np.uint8)
    _, jpeg = cv2.imencode(".jpg", cv2.GaussianBlur(noise, (9, 9), 3))

    def frame() -> None:
        due_s = time.monotonic() + 1 / FRAMES_PER_S
        image = cv2.imdecode(jpeg, cv2.IMREAD_GRAYSCALE)
        shown = cv2.resize(image, (640, 512), interpolation=cv2.INTER_AREA)
        cv2.cvtColor(shown, cv2.COLOR_GRAY2RGBA)
        time.sleep(max(0.0, due_s - time.monotonic()))

    return frame


def disk(folder: Path) -> Callable[[], None]:
    block = os.urandom(1 << 20)

    def write() -> None:
        with (folder / "block").open("wb") as file:
            file.write(block)
            file.flush()
            os.fsync(file.fileno())
        time.sleep(0.02)

    return write


def desktop() -> None:
    """Holds the interpreter for some 10 ms at a time, as a repaint or a JSON dump does."""
    json.dumps([[float(n) for n in range(200)] for _ in range(40)])
    sum(n * n for n in range(20000))


def reaction(wire: Wire, line: BiasLine, supervisor: Supervisor) -> None:
    """One overload; the time from its first reading to the first lowering is put on the clock."""
    line.bias.program_limits(max_voltage_v=50.0, compliance_a=2e-3)
    line.bias.switch_on()
    line.bias.ramp_to(AT_V, rate_v_per_s=200.0, checkpoint=line.interlock.guard)
    wire.do("overload")
    deadline_s = time.monotonic() + WITHIN_S
    while "lowered" not in (times := wire.do("times")):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    REACTIONS.now_s += times["lowered"] - times["read"]
    SINCE_CAUSE.append(times["lowered"] - times["overload"])
    wire.do("healthy")
    while True:
        try:
            supervisor.reset()
            return
        except InterlockTrippedError:
            assert time.monotonic() < deadline_s
            time.sleep(0.05)


SINCE_CAUSE: list[float] = []


@pytest.mark.timeout(1200)
@pytest.mark.benchmark(timer=REACTIONS, warmup=False)
@pytest.mark.parametrize("load", ["quiet", "cameras_disk_and_desktop"])
def test_interlock_reaction(
    benchmark: BenchmarkFixture, wire: Wire, tmp_path: Path, load: str
) -> None:
    line = BiasLine(profile(wire.address), open_bias(profile(wire.address), RealClock()))
    supervisor = Supervisor(
        line,
        line.profile.safety,
        on_state=lambda state: None,
        on_trip=lambda trip, unverified: None,
    )
    supervisor.start()
    work = [] if load == "quiet" else [*(camera() for _ in range(CAMERAS)), disk(tmp_path), desktop]
    SINCE_CAUSE.clear()
    try:
        with running(*work):
            benchmark.pedantic(reaction, args=(wire, line, supervisor), rounds=ROUNDS)
    finally:
        supervisor.finish()
        line.bias.close()
    benchmark.extra_info["what"] = f"interlock reaction, {load.replace('_', ' ')}"
    benchmark.extra_info["worst_s"] = benchmark.stats.stats.max
    benchmark.extra_info["since_cause_median_s"] = float(np.median(SINCE_CAUSE))
    benchmark.extra_info["since_cause_worst_s"] = max(SINCE_CAUSE)
    print(
        f"\n{load}: since the cause: {np.median(SINCE_CAUSE):.3f}, worst {max(SINCE_CAUSE):.3f} s"
    )
