"""Where the work is done: this process, processes of this machine, or a cluster.

All of them submit a function and give a future of `concurrent.futures`; a client of
`dask.distributed` does so by its `get_executor()`.
"""

import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
Result = TypeVar("Result")


class Submitter(Protocol):
    """Executors of `concurrent.futures`, and what is like them."""

    def submit(self, fn: Callable[..., Result], /, *arguments: Any) -> "Future[Result]":
        """Do this some time, somewhere."""
        ...


class Client(Protocol):
    """What is used of `distributed.Client`."""

    def get_executor(self, **settings: Any) -> Executor:
        """An executor whose tasks run on the cluster."""
        ...

    def nthreads(self) -> Mapping[str, int]:
        """Threads of every worker by its address."""
        ...


Workers = int | Executor | Client


@contextmanager
def opened(workers: Workers) -> Iterator[tuple[Submitter, int]]:
    """Something to submit to, and how many tasks it does at a time.

    workers: number of processes on this machine (0: no others than this one), an executor of
    `concurrent.futures`, or a client of `dask.distributed`. Executors and clients stay open.
    Raises ValueError for a negative number.
    """
    if isinstance(workers, int):
        if workers < 0:
            raise ValueError(f"the number of processes cannot be {workers}")
        if workers == 0:
            yield InThisProcess(), 1
            return
        local = LocalProcesses(workers)
        try:
            yield local, workers
        finally:
            local.close()
    elif isinstance(workers, Executor):
        yield workers, int(getattr(workers, "_max_workers", None) or os.cpu_count() or 1)
    else:
        executor = workers.get_executor(pure=False)
        yield executor, max(1, sum(workers.nthreads().values()))


class InThisProcess:
    """Does every task at once, where it is submitted. For debuggers and tests."""

    def submit(self, fn: Callable[..., Result], /, *arguments: Any) -> "Future[Result]":
        """A future that is already done. What the task raises is raised here."""
        future: Future[Result] = Future()
        future.set_result(fn(*arguments))
        return future


class LocalProcesses:
    """Processes of this machine with one thread each; after a crash new ones take their place."""

    def __init__(self, jobs: int) -> None:
        self.jobs = jobs
        self._pool = self._started()

    def submit(self, fn: Callable[..., Result], /, *arguments: Any) -> "Future[Result]":
        """Hand a task to a process; the future has BrokenExecutor when a process died."""
        with _one_thread_each():
            try:
                return self._pool.submit(fn, *arguments)
            except BrokenExecutor:
                self.close()
                self._pool = self._started()
                return self._pool.submit(fn, *arguments)

    def close(self) -> None:
        """Drop what waits and end the processes."""
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        spawn = multiprocessing.get_context("spawn")
        return ProcessPoolExecutor(self.jobs, mp_context=spawn, initializer=_follow_parent)


def _follow_parent() -> None:
    """Leave an interrupt from the keyboard to the parent, and end when the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_after, args=(parent.sentinel,), daemon=True).start()


def _end_after(sentinel: int) -> None:
    multiprocessing.connection.wait([sentinel])
    os._exit(1)


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that start meanwhile inherit one thread for linear algebra and for numba."""
    before = {name: os.environ.get(name) for name in THREADS}
    os.environ.update(dict.fromkeys(THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
