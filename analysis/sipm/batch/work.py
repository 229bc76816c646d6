"""What a worker does with one spectrum, and the record that it sends back."""

import signal
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from types import FrameType
from typing import Any, Literal

from analysis.estimate import Estimate, unknown
from analysis.sipm.batch.journal import Record
from analysis.sipm.batch.parts import Data, spectrum_of
from analysis.sipm.batch.sources import Item
from analysis.sipm.gain import DevicePrior, extract_gain
from analysis.sipm.readers import SpectrumFileError
from analysis.sipm.spectrum import Spectrum

Failure = Literal["", "unreadable", "failed", "crashed"]
UNIT = "ADC/pe"
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


@dataclass(frozen=True)
class Task:
    """One item with what is known of the device, and the key under which the result is kept."""

    item: Item
    prior: DevicePrior | None
    key: str


@dataclass(frozen=True)
class Conditions:
    """What is the same for all items. limit_s: longest time for one of them, s.

    gate_ns, pulse_tau_ns: gate and decay time of the pulses, for the gain from dark counts alone.
    """

    limit_s: float = 300.0
    gate_ns: float | None = None
    pulse_tau_ns: float | None = None


def analyse_all(tasks: Sequence[Task], conditions: Conditions) -> list[Record]:
    """The records of some tasks, in order."""
    return [analyse(task, conditions) for task in tasks]


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
        **_about(task),
        "n_entries": float(on.n_entries),
        "gain": _estimate(answer.gain, notes),
        "verdict": answer.verdict,
        "candidates": {name: _estimate(e) for name, e in answer.candidates.items()},
        "agreement": {n: float(p) for n, p in answer.agreement.items() if isfinite(p)},
        "quantities": {name: _estimate(e) for name, e in answer.quantities.items()},
        "seconds": time.perf_counter() - begin,
        "failure": "",
        "again": False,
    }


def no_answer(task: Task, failure: Failure, reason: str) -> Record:
    """The record of a task that gave no answer; a crash is worth another try in a later run."""
    return {
        **_about(task),
        "n_entries": 0.0,
        "gain": _estimate(unknown(UNIT, "none", reason)),
        "verdict": "unknown",
        "candidates": {},
        "agreement": {},
        "quantities": {},
        "seconds": 0.0,
        "failure": failure,
        "again": failure == "crashed",
    }


def _read(item: Item) -> tuple[Spectrum, Spectrum | None, tuple[str, ...]]:
    on = spectrum_of(item.on)
    try:
        return on, _optional(item.off), item.notes
    except (SpectrumFileError, ValueError) as error:
        return on, None, (*item.notes, f"without the light-off spectrum: {error}")


def _optional(data: Data | None) -> Spectrum | None:
    return None if data is None else spectrum_of(data)


def _about(task: Task) -> dict[str, Any]:
    item = task.item
    return {
        "key": task.key,
        "source": item.source,
        "off_source": item.off_source,
        "device": item.device,
        "place": item.place,
        "channel": item.channel,
        "bias_v": item.bias_v,
        "temperature_c": item.temperature_c,
    }


def _estimate(estimate: Estimate, notes: tuple[str, ...] = ()) -> Mapping[str, Any]:
    return {
        "value": None if estimate.value is None else float(estimate.value),
        "sigma": None if estimate.sigma is None else float(estimate.sigma),
        "unit": estimate.unit,
        "method": estimate.method,
        "reasons": [*estimate.reasons, *notes],
    }


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
