"""What a worker does with one spectrum, and the record that it sends back."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from types import FrameType

from analysis.sipm.batch.journal import Record
from analysis.sipm.batch.parts import Data, spectrum_of
from analysis.sipm.batch.sources import Item
from analysis.sipm.batch.tasks import Conditions, Task, about, estimate_record, no_answer
from analysis.sipm.gain import extract_gain
from analysis.sipm.readers import SpectrumFileError
from analysis.sipm.spectrum import Spectrum

EXPECTED_OF_BAD_DATA = (
    ArithmeticError,
    AssertionError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def analyse(task: Task, conditions: Conditions) -> Record:
    """The record of one task; never raises for what the data may do."""
    begin = time.perf_counter()
    item = task.item
    try:
        on, off, notes = _read(item)
    except (SpectrumFileError, ValueError) as error:
        return no_answer(task, "unreadable", str(error))
    try:
        with _within(conditions.limit_s):
            answer = extract_gain(
                on,
                off,
                prior=task.prior,
                gate_ns=conditions.gate_ns,
                pulse_tau_ns=conditions.pulse_tau_ns,
            )
    except EXPECTED_OF_BAD_DATA as error:
        return no_answer(task, "failed", f"the analysis failed: {type(error).__name__}: {error}")
    return {
        **about(task),
        "n_entries": float(on.n_entries),
        "gain": estimate_record(answer.gain, notes),
        "verdict": answer.verdict,
        "candidates": {name: estimate_record(e) for name, e in answer.candidates.items()},
        "agreement": {n: float(p) for n, p in answer.agreement.items() if isfinite(p)},
        "quantities": {name: estimate_record(e) for name, e in answer.quantities.items()},
        "seconds": time.perf_counter() - begin,
        "failure": "",
        "again": False,
    }


def _read(item: Item) -> tuple[Spectrum, Spectrum | None, tuple[str, ...]]:
    on = spectrum_of(item.on)
    try:
        return on, _optional(item.off), item.notes
    except (SpectrumFileError, ValueError) as error:
        return on, None, (*item.notes, f"without the light-off spectrum: {error}")


def _optional(data: Data | None) -> Spectrum | None:
    return None if data is None else spectrum_of(data)


@contextmanager
def _within(limit_s: float) -> Iterator[None]:
    """Raises TimeoutError inside when it takes too long, where the system can interrupt."""
    if not hasattr(signal, "setitimer") or (
        threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"no answer within {limit_s:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
