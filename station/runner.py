"""The runner: drives a procedure, stores every event, judges it, and leaves the line safe.

    procedure -> event -> fact + outbox row in one transaction -> listeners

Whatever ends a procedure - done, refused, aborted, an exception, a lost instrument, a trip - the
line is brought to its safe state first, and then the run is closed with its reason.
"""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

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
from station.configuration import keep_profile
from station.events import (
    Answer,
    Ask,
    Curve,
    Ending,
    Event,
    Finding,
    Happened,
    Listener,
    NewPart,
    Procedure,
    Progress,
    Reading,
    RefusedError,
    RunChanged,
    RunEnded,
    RunStarted,
    RunState,
)
from station.journal_file import JournalError
from station.limits import Limit, judge
from station.line import Line, RunAbortedError
from station.recipes import ModuleRule
from station.run_record import Crew, RunRecord
from station.safety import InterlockTrippedError, Trip
from station.states import RUN_FOLLOWS, Machine
from station.tally import Tally


@dataclass(frozen=True)
class Order:
    """What to run: the procedure, the part it is about, and by which recipe it is judged."""

    procedure: str
    steps: Procedure
    part: db.Part
    recipe_id: UUID
    limits: Mapping[str, Limit] = field(default_factory=dict)
    module_rule: ModuleRule | None = None

    @property
    def label(self) -> str:
        return self.part.label or str(self.part.id)


@dataclass
class _Run:
    """One run on its way: its record, its state, and how it ends."""

    order: Order
    record: RunRecord
    state: Machine[RunState]
    tally: Tally = field(default_factory=Tally)
    ending: Ending = "failed"
    reason: str = ""

    @property
    def id(self) -> UUID:
        return self.record.run_id


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
        fact = db.Run(
            procedure=order.procedure,
            part_id=order.part.id,
            recipe_id=order.recipe_id,
            operator_id=self._crew.operator_id,
            station_id=self._crew.station_id,
            started_at=datetime.now(UTC),
            software_version=self._crew.software_version,
            instruments=self._line.snapshot(),
            calibration={
                **self._line.calibration(),
                "profile": keep_profile(self._store, self._line.profile),
            },
        )
        self._store.record(fact)
        run = _Run(
            order,
            RunRecord(self._store, self._crew, fact.id, order.part.id),
            self._state_of(fact.id, order.label),
        )
        bug: BaseException | None = None
        try:
            self._line.begin_run()
            self._begin(run, fact.started_at)
            self._drive(run)
            run.ending = "done"
        except (RefusedError, InstrumentRefused) as refusal:
            run.ending, run.reason = "refused", str(refusal)
        except RunAbortedError as abort:
            run.ending, run.reason = "aborted", str(abort)
        except InterlockTrippedError as trip:
            run.ending, run.reason = "tripped", str(trip)
        except ComplianceTripped as error:
            self._line.interlock.trip(Trip(datetime.now(UTC), "over-current", str(error)))
            run.ending, run.reason = "tripped", str(error)
        except (RampInterrupted, MotionStopped, MachineAlarm, JournalError) as error:
            run.ending, run.reason = "failed", str(error)
        except InstrumentError as error:
            run.ending, run.reason = "lost_instrument", str(error)
        except BaseException as error:
            bug = error
            run.reason = "".join(traceback.format_exception_only(error)).strip()
            raise
        finally:
            problems = self._make_safe(order.procedure)
            self._line.limit_bias(None)
            self._line.end_run()
            try:
                order.steps.close()
                run.state.to("stopping")
            finally:
                try:
                    result = self._close(run, problems)
                except db.StoreError:
                    if not isinstance(bug, db.StoreError):
                        raise
                finally:
                    run.state.to("ended")
        return result

    def _state_of(self, run_id: UUID, label: str) -> Machine[RunState]:
        def changed(before: RunState, after: RunState) -> None:
            self._tell(RunChanged(run_id, label, before, after))

        return Machine("requested", RUN_FOLLOWS, changed)

    def _begin(self, run: _Run, at: datetime) -> None:
        order = run.order
        if (journal := self._line.journal) is not None:
            journal.begin_run(
                run_id=str(run.id),
                procedure=order.procedure,
                label=order.label,
                part_id=str(order.part.id),
            )
        self._tell(RunStarted(run.id, order.procedure, order.part.id, order.label, at))
        run.state.to("running")

    def _make_safe(self, procedure: str) -> tuple[str, ...]:
        """The safe state, tried twice; one that can't be verified trips the interlock."""
        problems = self._line.make_safe() and self._line.make_safe()
        if problems:
            self._line.interlock.trip(
                Trip(datetime.now(UTC), "unsafe", f"after {procedure}: {'; '.join(problems)}")
            )
        return problems

    def _drive(self, run: _Run) -> None:
        answer: str | UUID | None = None
        try:
            while True:
                with self._line.checkpoint():
                    pass
                event = run.order.steps.send(answer)
                if isinstance(event, Reading | Curve):
                    # a stop took bias and light away while it was measured
                    with self._line.checkpoint():
                        pass
                answer = self._handle(run, event)
        except StopIteration:
            return
        except (InstrumentError, RefusedError) as error:
            # A trip or a stop takes bias and motion away from a procedure: it is the reason.
            if (trip := self._line.trip_of_run()) is not None:
                raise InterlockTrippedError(trip.cause) from error
            if (reason := self._line.abort_reason) is not None:
                raise RunAbortedError(reason) from error
            raise

    def _handle(self, run: _Run, event: Event) -> str | UUID | None:
        label = run.order.label
        if isinstance(event, Progress):
            if self._line.journal is not None:
                self._line.journal.step = event.text
            self._tell(Happened(run.id, label, event))
            return None
        if isinstance(event, Ask):
            return self._ask(run, event)
        if isinstance(event, NewPart):
            part_id = run.record.new_part(event)
            self._tell(Happened(run.id, label, event, part_id))
            return part_id
        if isinstance(event, Reading):
            limit = run.order.limits.get(event.quantity)
            verdict, reasons = judge(event, limit)
            run.tally.add(verdict, reasons, event.channel)
            run.tally.saw(event.quantity, event.channel)
            fact = run.record.reading(event, limit, verdict, reasons)
            self._tell(
                Happened(run.id, label, event, fact.id, verdict, fact.low, fact.high, reasons)
            )
            return None
        fact_id = run.record.store(event)
        if isinstance(event, Finding):
            run.tally.add(event.verdict, (event.text,), None)
            self._tell(Happened(run.id, label, event, fact_id, event.verdict))
        else:
            self._tell(Happened(run.id, label, event, fact_id))
        return None

    def _ask(self, run: _Run, ask: Ask) -> str:
        """Put a question; the interlock watches on however long the answer takes."""
        run.record.remember("ask", ask.question, {"choices": list(ask.choices)})
        self._tell(Happened(run.id, run.order.label, ask))
        run.state.to("waiting")
        answer = self._answer(ask)
        if ask.choices and answer not in ask.choices:
            raise RunAbortedError(f"no answer to: {ask.question}")
        run.record.remember("answer", answer, {"question": ask.question})
        run.state.to("running")
        return answer

    def _close(self, run: _Run, problems: tuple[str, ...]) -> RunEnded:
        if run.ending == "done":
            run.tally.miss(run.order.limits)
        verdict, reasons = run.tally.verdict(run.order.module_rule)
        if run.ending != "done":
            verdict = "fail" if verdict == "fail" else "unknown"
            reasons = (f"{run.ending.replace('_', ' ')}: {run.reason}", *reasons)
        if problems:
            reasons += tuple(f"safe state not verified: {problem}" for problem in problems)
        self._store.record(
            db.RunEnd(
                run_id=run.id,
                at=datetime.now(UTC),
                ending=run.ending,
                verdict=verdict,
                reasons=list(reasons),
            )
        )
        if self._line.journal is not None:
            self._line.journal.end_run(str(run.id))
        order = run.order
        result = RunEnded(run.id, order.procedure, order.label, run.ending, verdict, reasons)
        self._tell(result)
        return result
