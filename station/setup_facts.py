"""What the set-up of a line is, for people: instruments, rules, trips, commissioning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlmodel import col, select

import db
from station.commissioning.result import Change, told
from station.commissioning.steps import STEPS
from station.configuration import instruments_of
from station.safety.section import Rule

if TYPE_CHECKING:
    from station.session import Session

TRIPS_SHOWN = 5
STORY_ROWS = 4
STEP_WORDS: Mapping[str, tuple[str, str]] = {
    "focus": (
        "Focus",
        "The camera looks at the target from 13 heights; the sharpest is the working distance.",
    ),
    "camera": (
        "Camera",
        "The target is seen from 9 places: scale, rotation, distortion, squareness of the axes.",
    ),
    "backlash": ("Backlash", "The same place is approached from both sides: play of x, y and z."),
    "repeatability": (
        "Repeatability",
        "The same place is approached 8 times from far away: how much it scatters.",
    ),
    "tool": (
        "Nozzle",
        "The nozzle leaves 5 prints on the pad beside the target: optical axis minus nozzle.",
    ),
}
"""Title of a step, and what it does in one sentence."""
QUANTITY_WORDS: Mapping[str, str] = {
    "working_distance": "Working distance",
    "mm_per_px": "Scale",
    "camera_k1": "Distortion k1",
    "camera_rotation": "Camera rotation",
    "gantry_scale_x": "Axis scale x",
    "gantry_scale_y": "Axis scale y",
    "axes_skew": "Squareness",
    "backlash_x": "Play x",
    "backlash_y": "Play y",
    "backlash_z": "Play z",
    "repeatability_x": "Repeatability x",
    "repeatability_y": "Repeatability y",
    "camera_offset_x": "Camera offset x",
    "camera_offset_y": "Camera offset y",
}


@dataclass(frozen=True)
class InstrumentFacts:
    role: str
    maker: str
    model: str
    serial: str
    firmware: str
    port: str


@dataclass(frozen=True)
class RuleFacts:
    """A rule of the interlock: `text` says what trips, or what only warns."""

    name: str
    watch: str
    text: str
    trips: bool


@dataclass(frozen=True)
class TripFacts:
    """A trip of the quantity that broke a rule, what was seen before it, and who reset it when
    and why; empty while it is latched."""

    at: datetime
    cause: str
    quantity: str
    story: tuple[str, ...]
    reset: str


@dataclass(frozen=True)
class StepFacts:
    step: str
    title: str
    about: str
    done: bool


@dataclass(frozen=True)
class ChangeFacts:
    """`moved` says how far the new value is from the old one; `kept` is False for what is measured
    but not written into the profile."""

    name: str
    before: str
    now: str
    unit: str
    moved: str
    kept: bool


@dataclass(frozen=True)
class SetupFacts:
    line_file: Path
    instruments: tuple[InstrumentFacts, ...]
    rules: tuple[RuleFacts, ...]
    trips: tuple[TripFacts, ...]
    steps: tuple[StepFacts, ...]
    changes: tuple[ChangeFacts, ...]

    @property
    def next_step(self) -> StepFacts | None:
        """The first step that is not done; None when all are."""
        return next((step for step in self.steps if not step.done), None)

    @property
    def may_save(self) -> bool:
        """Whether something was measured that belongs into the profile."""
        return any(change.kept for change in self.changes)


def setup_facts(session: "Session") -> SetupFacts:
    """The set-up as it is now. Reads the records: may block. Raises `db.StoreError`."""
    commissioning = session.commissioning
    return SetupFacts(
        line_file=commissioning.line_file,
        instruments=tuple(
            InstrumentFacts(
                role, who["maker"], who["model"], who["serial"], who["firmware"], who["port"]
            )
            for role, who in instruments_of(session.line).items()
        ),
        rules=tuple(
            RuleFacts(rule.name, rule.quantity, rule_text(rule), rule.severity == "trip")
            for rule in session.profile.safety.all_rules()
        ),
        trips=_trips(session),
        steps=tuple(
            StepFacts(step, *STEP_WORDS[step], step in commissioning.done) for step in STEPS
        ),
        changes=tuple(change_facts(change) for change in commissioning.found()),
    )


def rule_text(rule: Rule) -> str:
    """`bias.current_a beyond ±0.0015 for 2 s`."""
    if rule.above is not None:
        text = f"{rule.watch} above {rule.above:g}"
    elif rule.below is not None:
        text = f"{rule.watch} below {rule.below:g}"
    elif rule.magnitude_above is not None:
        text = f"{rule.watch} beyond ±{rule.magnitude_above:g}"
    elif rule.inside is not None:
        text = f"{rule.watch} inside {rule.inside}"
    else:
        wanted = str(rule.equals).lower() if isinstance(rule.equals, bool) else rule.equals
        text = f"{rule.watch} is {wanted}"
    return f"{text} for {rule.for_s:g} s" if rule.for_s else text


def change_facts(change: Change) -> ChangeFacts:
    return ChangeFacts(
        QUANTITY_WORDS.get(change.quantity, change.quantity),
        "–" if change.old is None else f"{change.old:.6g}",
        told(change.new, change.sigma),
        "" if change.unit == "1" else change.unit.replace("mm2", "mm²"),
        _moved(change.moved),
        change.field is not None,
    )


def _moved(sigmas: float | None) -> str:
    if sigmas is None:
        return ""
    if abs(sigmas) >= 1000:
        return "far"
    return f"{sigmas:+.1f} σ" if abs(sigmas) < 10 else f"{sigmas:+.0f} σ"


def _trips(session: "Session") -> tuple[TripFacts, ...]:
    """The newest trips of this station, with the reset that followed each."""
    with session.store.session() as records:
        events = records.exec(
            select(db.Event)
            .where(
                db.Event.station_id == session.crew.station_id,
                col(db.Event.kind).in_(("trip", "reset")),
            )
            .order_by(col(db.Event.at).desc())
            .limit(4 * TRIPS_SHOWN)
        ).all()
        found: list[TripFacts] = []
        reset = ""
        for event in events:
            if event.kind == "reset":
                reset = f"{event.text}, {event.at.astimezone():%Y-%m-%d %H:%M}"
                continue
            quantity = str(event.data.get("quantity") or "")
            found.append(TripFacts(event.at, event.text, quantity, _story(event.data), reset))
            reset = ""
    return tuple(found[:TRIPS_SHOWN])


def _story(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The values of the watched quantity before the trip, oldest first."""
    history = data.get("history")
    rows: list[str] = []
    quantity = data.get("quantity")
    if isinstance(history, dict) and isinstance(quantity, str):
        columns = history.get("values", history)
        values = columns.get(quantity) if isinstance(columns, dict) else None
        if isinstance(values, Sequence) and not isinstance(values, str):
            last = [f"{v:.4g}" if isinstance(v, float) else str(v) for v in values[-STORY_ROWS:]]
            rows.append(f"{quantity} before: {', '.join(last)}")
    unverified = data.get("unverified")
    if unverified:
        rows.append(f"not verified safe: {'; '.join(map(str, unverified))}")
    return tuple(rows)
