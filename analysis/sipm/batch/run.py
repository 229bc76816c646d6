"""Running a batch: items to workers, records into the journal, and everything into one table."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.sipm.batch.journal import BatchError, Journal, Record
from analysis.sipm.batch.labels import Channel, compiled
from analysis.sipm.batch.parts import Expected
from analysis.sipm.batch.software import software
from analysis.sipm.batch.sources import Item, Naming, find_items
from analysis.sipm.batch.tasks import Conditions, Task, analyse_all, no_answer
from analysis.sipm.batch.workers import Submitter, Workers, opened

if TYPE_CHECKING:
    from analysis.sipm.batch.summary import Summary
    from analysis.sipm.gain import DevicePrior

CHUNK = 16
CHUNKS_AHEAD = 2
SINGLES_FIRST = 4

Priors = Mapping[tuple[Channel | None, float | None], "DevicePrior"]


@dataclass(frozen=True)
class Settings:
    """How a batch is done. naming: see `Naming`.

    priors: what is known of the devices, by channel and bias (V, to 1 mV), see `priors_of`.
    """

    naming: Naming = field(default_factory=Naming)
    priors: Priors = field(default_factory=dict)
    conditions: Conditions = field(default_factory=Conditions)


@dataclass(frozen=True)
class Progress:
    """Where a batch stands.

    done: spectra finished, those among them that an earlier run finished are `kept`. expected:
    how many there are as far as known by now. records: those just finished.
    """

    done: int
    kept: int
    expected: int
    records: Sequence[Record]


def run_batch(
    sources: Sequence[str | Path],
    folder: Path,
    *,
    workers: Workers = 1,
    settings: Settings | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> "Summary":
    """Gain and all that belongs to it for every spectrum in the sources; tables and a page.

    sources: files, folders, patterns and tables, see `find_items`.
    folder: where the results are kept. What an earlier or killed run left there for the same data,
        settings and software is used as it is.
    workers: number of processes, an executor of `concurrent.futures`, or a client of
        `dask.distributed`. Workers read spectrum files and ROOT histograms themselves, so a
        cluster must see these under the same names; tables are read here.
    progress: called whenever some spectra are finished.

    Writes summary.parquet and summary.csv (a row per spectrum), channels.parquet and channels.csv
    (a row per channel), population.png and population.pdf.

    Raises BatchError when the folder or the executor can't be used and ValueError for a naming
    pattern that can't be understood; never for what is in the data.
    """
    from analysis.sipm.batch.summary import summarise

    keys: list[str] = []
    for step in batch_steps(sources, folder, workers=workers, settings=settings, keys=keys):
        if progress is not None:
            progress(step)
    return summarise(folder, keys)


def batch_steps(
    sources: Sequence[str | Path],
    folder: Path,
    *,
    workers: Workers = 1,
    settings: Settings | None = None,
    keys: list[str] | None = None,
) -> Iterator[Progress]:
    """The work of `run_batch` without its tables, step by step; arguments and errors are the same.

    keys: takes up the key of every spectrum, in the order of the sources.
    """
    settings = settings or Settings()
    if settings.naming.pattern is not None:
        compiled(settings.naming.pattern)
    expected = Expected()
    keys = [] if keys is None else keys
    kept = done = 0

    def fresh() -> Iterator[Task]:
        nonlocal kept
        seen: set[str] = set()
        for item in find_items(sources, settings.naming, leave_out=folder, expected=expected):
            task = _task(item, settings)
            if task.key in seen:
                continue
            seen.add(task.key)
            keys.append(task.key)
            if task.key in journal.finished:
                kept += 1
            else:
                yield task

    with Journal(folder) as journal, opened(workers) as (submitter, at_a_time):
        for records in _records(fresh(), submitter, at_a_time, settings.conditions):
            journal.append(records)
            done += len(records)
            yield Progress(done + kept, kept, max(expected.spectra, len(keys)), records)
    yield Progress(done + kept, kept, done + kept, ())


def _task(item: Item, settings: Settings) -> Task:
    bias = None if item.bias_v is None else round(item.bias_v, 3)
    prior = settings.priors.get((item.channel, bias))
    gate = (settings.conditions.gate_ns, settings.conditions.pulse_tau_ns)
    what = f"{item.identity}|{settings.naming.bin_width!r}|{gate}|{prior!r}|{software()}"
    return Task(item, prior, hashlib.sha256(what.encode()).hexdigest())


def _records(
    tasks: Iterator[Task], submitter: Submitter, at_a_time: int, conditions: Conditions
) -> Iterator[list[Record]]:
    """Records as they come. When a worker dies, what it may have died of is tried one by one."""
    running: dict[Future[list[Record]], list[Task]] = {}
    suspects: list[Task] = []
    chunks = _chunks(tasks, SINGLES_FIRST * at_a_time)
    more = True
    while more or running or suspects:
        while more and not suspects and len(running) < CHUNKS_AHEAD * at_a_time:
            chunk = next(chunks, [])
            more = bool(chunk)
            if chunk:
                running[_submitted(submitter, chunk, conditions)] = chunk
        if running:
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                chunk = running.pop(future)
                if future.exception() is None:
                    yield future.result()
                else:
                    suspects += chunk
        elif suspects:
            alone = suspects.pop(0)
            future = _submitted(submitter, [alone], conditions)
            error = future.exception()
            yield future.result() if error is None else [_crashed(alone, error)]


def _submitted(
    submitter: Submitter, chunk: list[Task], conditions: Conditions
) -> Future[list[Record]]:
    try:
        return submitter.submit(analyse_all, chunk, conditions)
    except BrokenExecutor as error:
        problem = f"the executor is broken: {error}"
        raise BatchError(f"{problem}; what is finished is kept, go on with a new one") from error


def _crashed(task: Task, error: BaseException) -> Record:
    if isinstance(error, BrokenExecutor):
        return no_answer(task, "crashed", "the process that worked on it died")
    return no_answer(task, "crashed", f"{type(error).__name__}: {error}")


def _chunks(tasks: Iterator[Task], singles: int) -> Iterator[list[Task]]:
    for _ in range(singles):
        chunk = list(islice(tasks, 1))
        if chunk:
            yield chunk
    while chunk := list(islice(tasks, CHUNK)):
        yield chunk
