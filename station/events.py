"""What a procedure says while it works, and what the runner tells those who listen.

A procedure is a generator of `Event`s; it is sent the answers to what it asks. The runner stores
every event that is a fact, judges readings, and hands `Message`s to its listeners (desktop,
terminal, tests).
"""

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate

Verdict = Literal["pass", "flag", "fail", "unknown"]
Ending = Literal[
    "done", "refused", "aborted", "failed", "tripped", "lost_instrument", "interrupted"
]
RunState = Literal["requested", "running", "waiting", "stopping", "ended"]
InstrumentStatus = Literal["unknown", "safe", "ready", "busy", "on", "silent", "alarmed"]

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class RefusedError(Exception):
    """A procedure can't be done on this part, now, for the reason given. Nothing was harmed."""


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps; `text` says what is being done now."""

    done: int
    total: int
    text: str


@dataclass(frozen=True)
class Reading:
    """One measured quantity. `value` None means "cannot tell", and then `reasons` says why.

    `part_id` None means the part of the run; `channel` None means the part as a whole.
    """

    quantity: str
    value: float | None
    sigma: float | None
    unit: str
    method: str
    channel: int | None = None
    part_id: UUID | None = None
    reasons: tuple[str, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)

    @classmethod
    def from_estimate(
        cls,
        quantity: str,
        estimate: Estimate,
        *,
        channel: int | None = None,
        conditions: Mapping[str, Any] = _NOTHING,
    ) -> "Reading":
        return cls(
            quantity,
            estimate.value,
            estimate.sigma,
            estimate.unit,
            estimate.method,
            channel,
            None,
            estimate.reasons,
            conditions,
        )


@dataclass(frozen=True)
class Curve:
    """A measured curve: `x` (n,) or bin edges (n+1,), `y` (n,), `model` (n,) if one was fitted."""

    quantity: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    x_unit: str
    y_unit: str
    channel: int | None = None
    model: NDArray[np.float64] | None = None
    meta: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


@dataclass(frozen=True)
class Picture:
    """A camera picture: `image` uint8 (h, w); `pose` says where the camera looked, mm and rad."""

    purpose: str
    image: NDArray[np.uint8]
    mm_per_px: float
    pose: Mapping[str, float]
    media_type: Literal["image/png", "image/jpeg"] = "image/jpeg"


@dataclass(frozen=True)
class Finding:
    """A located defect, in the part's own coordinates (mm)."""

    kind: str
    text: str
    x_mm: float
    y_mm: float
    area_mm2: float
    verdict: Verdict


@dataclass(frozen=True)
class Joined:
    """A child part is now in its parent, at `position`; offsets are those measured afterwards."""

    child_id: UUID
    position: str
    parent_id: UUID | None = None
    x_mm: float | None = None
    y_mm: float | None = None
    rotation_rad: float | None = None
    sigma_mm: float | None = None


@dataclass(frozen=True)
class RawData:
    """A file that an instrument wrote: it moves into the records, named by its SHA-256."""

    text: str
    path: Path
    media_type: str


@dataclass(frozen=True)
class NewPart:
    """A part that was not known before (or may be); the procedure is sent its UUID."""

    label: str
    kind: str
    subtype: str


@dataclass(frozen=True)
class Ask:
    """A question to the operator; the answer is one of `choices`, or free text when there are none.

    `task` names the manual work or scan that is asked for ("load", "wrap", "scan_tray", ...), so
    that the twin's pair of hands can do it.
    """

    question: str
    choices: tuple[str, ...]
    default: str
    task: str | None = None


@dataclass(frozen=True)
class Note:
    """Something worth remembering that is not a measurement."""

    text: str
    data: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)


Event = Progress | Reading | Curve | Picture | Finding | RawData | NewPart | Joined | Ask | Note
Procedure = Generator[Event, str | UUID | None, None]


@dataclass(frozen=True)
class RunStarted:
    run_id: UUID
    procedure: str
    part_id: UUID
    label: str
    started_at: datetime


@dataclass(frozen=True)
class Happened:
    """An event after it was stored: `fact_id` is its record; readings carry verdict and limits."""

    run_id: UUID
    label: str
    event: Event
    fact_id: UUID | None = None
    verdict: Verdict | None = None
    low: float | None = None
    high: float | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class RunEnded:
    run_id: UUID
    procedure: str
    label: str
    ending: Ending
    verdict: Verdict
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class InstrumentState:
    """What one instrument reads back now, for people: never what was asked of it.

    `state` is one word ("on", "off", "idle", "silent"); `trend` the number drawn beside it.
    """

    role: str
    name: str
    state: str
    readback: str
    healthy: bool
    trend: float | None = None


@dataclass(frozen=True)
class LineState:
    at: datetime
    instruments: tuple[InstrumentState, ...]
    trip: str | None


@dataclass(frozen=True)
class RunChanged:
    """A run went into another state (`station.states.RUN_FOLLOWS`)."""

    run_id: UUID
    label: str
    before: RunState
    state: RunState


@dataclass(frozen=True)
class InstrumentChanged:
    """An instrument was seen in another state (`station.states.INSTRUMENT_FOLLOWS`)."""

    role: str
    before: InstrumentStatus
    status: InstrumentStatus


@dataclass(frozen=True)
class ShiftStep:
    """Where the shift stands: `step` is one of SHIFT_STEPS; `module` the label of the module."""

    module: str
    step: str
    text: str
    board_shape: str
    board_number: int
    boards: int


@dataclass(frozen=True)
class ModuleDone:
    module: str
    verdict: Verdict
    reasons: tuple[str, ...]
    report_html: str
    report_pdf: str


@dataclass(frozen=True)
class Scanned:
    """What a scanner with a port read that answered no question; or why it read nothing."""

    text: str
    trouble: str = ""


SCAN = "scan_"
"""Begins the `task` of a question that a scan answers."""
COMMAND_PREFIX = "TESSERA:"
"""Begins a label that is a command to the station, never an answer to what was asked."""
SHIFT_STEPS = ("load", "inspect", "wrap", "place", "test", "report")

Message = (
    RunStarted
    | Happened
    | RunEnded
    | RunChanged
    | InstrumentChanged
    | LineState
    | ShiftStep
    | ModuleDone
    | Scanned
)
Listener = Callable[[Message], None]
Answer = Callable[[Ask], str]


def unattended(answer: Answer) -> bool:
    """Whether `answer` answers for nobody: it then has a true attribute of this name."""
    return bool(getattr(answer, "unattended", False))
