"""One spectrum to be analysed: what goes to a worker, and the record that comes back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from analysis.estimate import Estimate, unknown
from analysis.sipm.batch.journal import Record
from analysis.sipm.batch.sources import Item
from analysis.sipm.gate import check_gate

if TYPE_CHECKING:
    from analysis.sipm.gain import DevicePrior

Failure = Literal["", "unreadable", "failed", "crashed"]
UNIT = "ADC/pe"


@dataclass(frozen=True)
class Task:
    """One item with what is known of the device, and the key under which the result is kept."""

    item: Item
    prior: "DevicePrior | None"
    key: str


@dataclass(frozen=True)
class Conditions:
    """What is the same for all items. limit_s: longest time for one of them, s.

    gate_ns, pulse_tau_ns: gate and decay time of the pulses, for the gain from dark counts alone.

    Raises ValueError on one of them without the other, and on either that is not positive.
    """

    limit_s: float = 300.0
    gate_ns: float | None = None
    pulse_tau_ns: float | None = None

    def __post_init__(self) -> None:
        check_gate(self.gate_ns, self.pulse_tau_ns)


def analyse_all(tasks: Sequence[Task], conditions: Conditions) -> list[Record]:
    """The records of some tasks, in order; what the analysis needs is imported here first."""
    from analysis.sipm.batch.work import analyse

    return [analyse(task, conditions) for task in tasks]


def no_answer(task: Task, failure: Failure, reason: str) -> Record:
    """The record of a task that gave no answer; a crash is worth another try in a later run."""
    return {
        **about(task),
        "n_entries": 0.0,
        "gain": estimate_record(unknown(UNIT, "none", reason)),
        "verdict": "unknown",
        "candidates": {},
        "agreement": {},
        "quantities": {},
        "seconds": 0.0,
        "failure": failure,
        "again": failure == "crashed",
    }


def about(task: Task) -> dict[str, Any]:
    """The part of a record that says what it is of."""
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


def estimate_record(estimate: Estimate, notes: tuple[str, ...] = ()) -> Mapping[str, Any]:
    """An estimate in JSON's types."""
    return {
        "value": None if estimate.value is None else float(estimate.value),
        "sigma": None if estimate.sigma is None else float(estimate.sigma),
        "unit": estimate.unit,
        "method": estimate.method,
        "reasons": [*estimate.reasons, *notes],
    }
