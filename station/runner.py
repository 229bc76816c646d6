"""The runner: drives a procedure, stores every event, judges it, and leaves the line safe.

    procedure -> event -> fact + outbox row in one transaction -> listeners

Whatever ends a procedure - done, refused, aborted, an exception, a lost instrument, a trip - the
line is brought to its safe state first, and then the run is closed with its reason.
"""

import io
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import cv2
import numpy as np

import db
from db import Store
from drivers.errors import (
    ComplianceTripped,
    InstrumentError,
    InstrumentRefused,
    MachineAlarm,
    MotionStopped,
    RampInterrupted,
)
from station.events import (
    Answer,
    Ask,
    Curve,
    Ending,
    Event,
    Finding,
    Happened,
    Joined,
    Listener,
    NewPart,
    Note,
    Picture,
    Procedure,
    Progress,
    RawData,
    Reading,
    RefusedError,
    RunEnded,
    RunStarted,
    Verdict,
)
from station.limits import Limit, judge, worst
from station.line import Line, RunAbortedError
from station.recipes import ModuleRule
from station.safety import InterlockTrippedError, Trip


@dataclass(frozen=True)
class Order:
    """What to run: the procedure, the part it is about, and by which recipe it is judged."""

    procedure: str
    steps: Procedure
    part: db.Part
    recipe_id: UUID
    limits: Mapping[str, Limit] = field(default_factory=dict)
    module_rule: ModuleRule | None = None


@dataclass(frozen=True)
class Crew:
    """Who works where with what: goes into every run's record."""

    site_id: UUID
    station_id: UUID
    operator_id: UUID
    software_version: str


class Tally:
    """Verdicts of a run's readings and findings as they come."""

    def __init__(self) -> None:
        self._whole: list[tuple[Verdict, tuple[str, ...]]] = []
        self._channels: dict[int, tuple[Verdict, tuple[str, ...]]] = {}
        self._seen: dict[str, set[int | None]] = {}

    def add(self, verdict: Verdict, reasons: tuple[str, ...], channel: int | None) -> None:
        if channel is None:
            self._whole.append((verdict, reasons))
            return
        before, said = self._channels.get(channel, ("pass", ()))
        self._channels[channel] = (
            worst((before, verdict)),
            tuple(dict.fromkeys(said + reasons)),
        )

    def saw(self, quantity: str, channel: int | None) -> None:
        self._seen.setdefault(quantity, set()).add(channel)

    def miss(self, limited: Iterable[str]) -> None:
        """Count as unknown what has a limit but no reading: at all, or of a channel that others
        were read of."""
        seen = {quantity: self._seen.get(quantity, set()) for quantity in limited}
        channels = {channel for of in seen.values() for channel in of if channel is not None}
        for quantity, of in seen.items():
            if not of:
                self.add("unknown", (f"{quantity} was never measured",), None)
            elif None not in of:
                for channel in channels - of:
                    self.add("unknown", (f"{quantity} was never measured",), channel)

    def verdict(self, rule: ModuleRule | None) -> tuple[Verdict, tuple[str, ...]]:
        """Verdict of the run with its reasons; `rule` says how many bad channels are too many."""
        reasons = [reason for verdict, said in self._whole if verdict != "pass" for reason in said]
        verdicts = [verdict for verdict, _ in self._whole]
        if rule is None:
            verdicts += [verdict for verdict, _ in self._channels.values()]
        elif self._channels:
            verdicts.append(self._channel_verdict(rule))
        reasons += [
            f"channel {channel}: {reason}"
            for channel, (verdict, said) in sorted(self._channels.items())
            if verdict != "pass"
            for reason in said
        ]
        if not verdicts:
            return "unknown", ("nothing was measured",)
        return worst(verdicts), tuple(reasons)

    def _channel_verdict(self, rule: ModuleRule) -> Verdict:
        count = Counter(verdict for verdict, _ in self._channels.values())
        if count["fail"] > rule.max_failed_channels:
            return "fail"
        if count["unknown"] > rule.max_unknown_channels:
            return "unknown"
        if count["flag"] > rule.max_flagged_channels or count["fail"] or count["unknown"]:
            return "flag"
        return "pass"


class Runner:
    """Runs one order at a time on one line and keeps its record.

    Listeners are called in the thread that calls `run`, after the fact is on disk.
    """

    def __init__(
        self, line: Line, store: Store, crew: Crew, *, listener: Listener, answer: Answer
    ) -> None:
        self._line = line
        self._store = store
        self._crew = crew
        self._tell = listener
        self._answer = answer

    def run(self, order: Order) -> RunEnded:
        """Drive `order` to its end and return how it ended.

        Raises `db.StoreError` when the record can't be kept (the line is safe by then; a run whose
        end can't be stored either stays open for the next start to close), and any programming
        error of the procedure, after the run was closed as failed.
        """
        run = db.Run(
            procedure=order.procedure,
            part_id=order.part.id,
            recipe_id=order.recipe_id,
            operator_id=self._crew.operator_id,
            station_id=self._crew.station_id,
            started_at=datetime.now(UTC),
            software_version=self._crew.software_version,
            instruments=self._line.snapshot(),
            calibration=self._line.calibration(),
        )
        self._store.record(run)
        label = order.part.label or str(order.part.id)
        tally = Tally()
        ending: Ending = "failed"
        reason = ""
        bug: BaseException | None = None
        try:
            self._tell(RunStarted(run.id, order.procedure, order.part.id, label, run.started_at))
            self._drive(order, run.id, label, tally)
            ending = "done"
        except (RefusedError, InstrumentRefused) as refusal:
            ending, reason = "refused", str(refusal)
        except RunAbortedError as abort:
            ending, reason = "aborted", str(abort)
        except InterlockTrippedError as trip:
            ending, reason = "tripped", str(trip)
        except ComplianceTripped as error:
            self._line.interlock.trip(Trip(datetime.now(UTC), "over-current", str(error)))
            ending, reason = "tripped", str(error)
        except (RampInterrupted, MotionStopped, MachineAlarm) as error:
            ending, reason = "failed", str(error)
        except InstrumentError as error:
            ending, reason = "lost_instrument", str(error)
        except BaseException as error:
            bug, reason = error, "".join(traceback.format_exception_only(error)).strip()
            raise
        finally:
            problems = self._make_safe(order.procedure)
            try:
                result = self._close(order, run.id, label, tally, ending, reason, problems)
            except db.StoreError:
                if not isinstance(bug, db.StoreError):
                    raise
        return result

    def _make_safe(self, procedure: str) -> tuple[str, ...]:
        """The safe state, tried twice; one that can't be verified trips the interlock."""
        problems = self._line.make_safe() and self._line.make_safe()
        if problems:
            self._line.interlock.trip(
                Trip(datetime.now(UTC), "unsafe", f"after {procedure}: {'; '.join(problems)}")
            )
        return problems

    def _drive(self, order: Order, run_id: UUID, label: str, tally: Tally) -> None:
        answer: str | UUID | None = None
        try:
            while True:
                with self._line.checkpoint():
                    pass
                event = order.steps.send(answer)
                answer = self._handle(order, run_id, label, event, tally)
        except StopIteration:
            return
        except (InstrumentError, RefusedError) as error:
            # A trip or a stop takes bias and motion away from a procedure: it is the reason.
            if (trip := self._line.interlock.tripped) is not None:
                raise InterlockTrippedError(trip.cause) from error
            if (reason := self._line.abort_reason) is not None:
                raise RunAbortedError(reason) from error
            raise
        finally:
            order.steps.close()

    def _handle(
        self, order: Order, run_id: UUID, label: str, event: Event, tally: Tally
    ) -> str | UUID | None:
        if isinstance(event, Progress):
            self._tell(Happened(run_id, label, event))
            return None
        if isinstance(event, Ask):
            self._remember(run_id, "ask", event.question, {"choices": list(event.choices)})
            self._tell(Happened(run_id, label, event))
            answer = self._answer(event)
            if event.choices and answer not in event.choices:
                raise RunAbortedError(f"no answer to: {event.question}")
            self._remember(run_id, "answer", answer, {"question": event.question})
            return answer
        if isinstance(event, NewPart):
            part = self._store.ensure_part(
                db.Part(
                    kind=event.kind,
                    label=event.label,
                    subtype=event.subtype,
                    site_id=self._crew.site_id,
                )
            )
            self._tell(Happened(run_id, label, event, part.id))
            return part.id
        if isinstance(event, Reading):
            limit = order.limits.get(event.quantity)
            verdict, reasons = judge(event, limit)
            tally.add(verdict, reasons, event.channel)
            tally.saw(event.quantity, event.channel)
            fact = reading_fact(event, run_id, order.part.id, limit, verdict, reasons)
            self._store.record(fact)
            self._tell(
                Happened(run_id, label, event, fact.id, verdict, fact.low, fact.high, reasons)
            )
            return None
        fact_id = _STORE[type(event)](self, order, run_id, event)
        if isinstance(event, Finding):
            tally.add(event.verdict, (event.text,), None)
            self._tell(Happened(run_id, label, event, fact_id, event.verdict))
        else:
            self._tell(Happened(run_id, label, event, fact_id))
        return None

    def _remember(self, run_id: UUID, kind: str, text: str, data: Mapping[str, Any]) -> UUID:
        fact = db.Event(
            run_id=run_id,
            station_id=self._crew.station_id,
            at=datetime.now(UTC),
            kind=kind,
            text=text,
            data=dict(data),
        )
        self._store.record(fact)
        return fact.id

    def _store_note(self, order: Order, run_id: UUID, event: Note) -> UUID:
        return self._remember(run_id, "note", event.text, event.data)

    def _store_raw_data(self, order: Order, run_id: UUID, event: RawData) -> UUID:
        sha256 = self._store.attach(event.path.read_bytes(), event.media_type)
        fact_id = self._remember(
            run_id,
            "note",
            event.text,
            {"sha256": sha256, "media_type": event.media_type, "name": event.path.name},
        )
        event.path.unlink()
        return fact_id

    def _store_finding(self, order: Order, run_id: UUID, event: Finding) -> UUID:
        fact = db.Finding(
            run_id=run_id,
            part_id=order.part.id,
            kind=event.kind,
            x_mm=event.x_mm,
            y_mm=event.y_mm,
            area_mm2=event.area_mm2,
            verdict=event.verdict,
            text=event.text,
            at=datetime.now(UTC),
        )
        self._store.record(fact)
        return fact.id

    def _store_joined(self, order: Order, run_id: UUID, event: Joined) -> UUID:
        fact = db.Assembly(
            parent_id=event.parent_id or order.part.id,
            child_id=event.child_id,
            position=event.position,
            run_id=run_id,
            x_mm=event.x_mm,
            y_mm=event.y_mm,
            rotation_rad=event.rotation_rad,
            sigma_mm=event.sigma_mm,
            at=datetime.now(UTC),
        )
        self._store.record(fact)
        return fact.id

    def _store_picture(self, order: Order, run_id: UUID, event: Picture) -> UUID:
        suffix = ".png" if event.media_type == "image/png" else ".jpg"
        encoded, data = cv2.imencode(suffix, event.image)
        if not encoded:
            raise ValueError(f"picture {event.purpose!r} can't be encoded as {event.media_type}")
        fact = db.Picture(
            run_id=run_id,
            part_id=order.part.id,
            purpose=event.purpose,
            sha256=self._store.attach(data.tobytes(), event.media_type),
            media_type=event.media_type,
            mm_per_px=event.mm_per_px,
            pose=dict(event.pose),
            at=datetime.now(UTC),
        )
        self._store.record(fact)
        return fact.id

    def _store_curve(self, order: Order, run_id: UUID, event: Curve) -> UUID:
        arrays = {"x": event.x, "y": event.y}
        if event.model is not None:
            arrays["model"] = event.model
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        fact = db.Curve(
            run_id=run_id,
            part_id=order.part.id,
            channel=event.channel,
            quantity=event.quantity,
            x_unit=event.x_unit,
            y_unit=event.y_unit,
            sha256=self._store.attach(file.getvalue(), "application/x-npz"),
            meta=dict(event.meta),
            at=datetime.now(UTC),
        )
        self._store.record(fact)
        return fact.id

    def _close(
        self,
        order: Order,
        run_id: UUID,
        label: str,
        tally: Tally,
        ending: Ending,
        reason: str,
        problems: tuple[str, ...],
    ) -> RunEnded:
        if ending == "done":
            tally.miss(order.limits)
        verdict, reasons = tally.verdict(order.module_rule)
        if ending != "done":
            verdict = "fail" if verdict == "fail" else "unknown"
            reasons = (f"{ending.replace('_', ' ')}: {reason}", *reasons)
        if problems:
            reasons += tuple(f"safe state not verified: {problem}" for problem in problems)
        self._store.record(
            db.RunEnd(
                run_id=run_id,
                at=datetime.now(UTC),
                ending=ending,
                verdict=verdict,
                reasons=list(reasons),
            )
        )
        result = RunEnded(run_id, order.procedure, label, ending, verdict, reasons)
        self._tell(result)
        return result


def reading_fact(
    reading: Reading,
    run_id: UUID,
    part_id: UUID,
    limit: Limit | None,
    verdict: Verdict,
    reasons: tuple[str, ...],
) -> db.Reading:
    """The record of a judged reading."""
    return db.Reading(
        run_id=run_id,
        part_id=reading.part_id or part_id,
        channel=reading.channel,
        quantity=reading.quantity,
        value=reading.value,
        sigma=reading.sigma,
        unit=reading.unit,
        method=reading.method,
        low=limit.low if limit else None,
        high=limit.high if limit else None,
        verdict=verdict,
        reasons=list(reasons or reading.reasons),
        conditions=dict(reading.conditions),
        at=datetime.now(UTC),
    )


_STORE: dict[type, Callable[..., UUID]] = {
    Note: Runner._store_note,
    RawData: Runner._store_raw_data,
    Finding: Runner._store_finding,
    Joined: Runner._store_joined,
    Picture: Runner._store_picture,
    Curve: Runner._store_curve,
}
