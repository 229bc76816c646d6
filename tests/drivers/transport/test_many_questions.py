"""Thousands of numbered questions from two threads, on good wires and bad ones."""

import threading
import time
from dataclasses import dataclass, field

import pytest

from drivers.errors import BrokenReply, InstrumentError, InstrumentLost, InstrumentTimeout
from drivers.faults import FaultPlan
from tests.drivers.transport.conftest import KINDS, PORTS

DEADLINE_S = 0.1
# a thread that is ready may have to wait for a busy machine
MARGIN_S = 1.0
STALE_FAULTS = ("late", "lost", "duplicated", "truncated", "disconnect")


@dataclass
class Tally:
    """What became of the questions of one thread."""

    right: int = 0
    wrong: list[tuple[int, int]] = field(default_factory=list)
    spoilt: int = 0
    failed: int = 0
    latest_s: float = 0.0


def ask_from_two_threads(port, count, deadline_s):
    """Half of ``count`` questions from each of two threads; all numbers differ."""
    tallies = [Tally(), Tally()]
    failures = []
    together = threading.Barrier(2)

    def ask(index):
        tally = tallies[index]
        together.wait(5)
        for k in range(index, count, 2):
            began_s = time.monotonic()
            try:
                answer = port.ask(k, deadline_s)
                if answer == k:
                    tally.right += 1
                elif answer is None:
                    tally.spoilt += 1
                else:
                    tally.wrong.append((k, answer))
            except (InstrumentTimeout, InstrumentLost, BrokenReply):
                tally.failed += 1
            except InstrumentError as error:
                failures.append(error)
            late_s = time.monotonic() - began_s - deadline_s
            tally.latest_s = max(tally.latest_s, late_s)

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    return Tally(
        right=sum(tally.right for tally in tallies),
        wrong=[pair for tally in tallies for pair in tally.wrong],
        spoilt=sum(tally.spoilt for tally in tallies),
        failed=sum(tally.failed for tally in tallies),
        latest_s=max(tally.latest_s for tally in tallies),
    )


class Oversleeping:
    """How much later than asked for this machine wakes a thread that waits, at worst."""

    def __init__(self):
        self.worst_s = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._sleep_on)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stopping.set()
        self._thread.join()

    def _sleep_on(self):
        while not self._stopping.is_set():
            began_s = time.monotonic()
            time.sleep(DEADLINE_S)
            self.worst_s = max(self.worst_s, time.monotonic() - began_s - DEADLINE_S)


def on_a_good_wire(kind, count):
    with PORTS[kind]() as port:
        tally = ask_from_two_threads(port, count, 30)
    assert (tally.right, tally.wrong) == (count, [])


def on_a_bad_wire(kind, count, kinds=STALE_FAULTS, rate=0.03, copy_s=(0.0, 0.0)):
    plan = FaultPlan.from_seed(
        11,
        wire=kind,
        replies=4 * count,
        rates=dict.fromkeys(kinds, rate / len(kinds)),
        late_s=(0.0, 2 * DEADLINE_S),
        copy_s=copy_s,
        away_s=(0.0, DEADLINE_S),
    )
    faults = plan.line_faults()
    with PORTS[kind](faults) as port, Oversleeping() as machine:
        tally = ask_from_two_threads(port, count, DEADLINE_S)
        hits = len(port.faults.hits)
    print(
        f"{kind}: {count} questions, {hits} faults, {tally.right} right, {len(tally.wrong)} wrong, "
        f"{tally.spoilt} spoilt, {tally.failed} failed, "
        f"at most {tally.latest_s * 1e3:.1f} ms after the deadline "
        f"(a thread that just sleeps: {machine.worst_s * 1e3:.1f} ms)"
    )
    return tally


@pytest.mark.parametrize("kind", KINDS)
def test_two_threads_never_get_each_others_answers(kind):
    on_a_good_wire(kind, 1000)


@pytest.mark.parametrize("kind", KINDS)
def test_no_stale_answer_reaches_a_question_and_every_question_ends(kind):
    tally = on_a_bad_wire(kind, 300)
    assert tally.wrong == []
    assert tally.right > 200
    assert tally.failed > 0
    assert tally.latest_s < MARGIN_S


@pytest.mark.study
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_two_threads_never_get_each_others_answers_10_000_times(kind):
    on_a_good_wire(kind, 10_000)


@pytest.mark.study
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_no_stale_answer_reaches_one_of_10_000_questions(kind):
    tally = on_a_bad_wire(kind, 10_000)
    assert tally.wrong == []
    assert tally.latest_s < MARGIN_S
