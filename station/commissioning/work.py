"""A commissioning of an open line: its steps as recorded runs, and what they have found so far."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import db
from db import Store
from station.commissioning.looking import Bench
from station.commissioning.result import Change, changes, save
from station.commissioning.steps import STEPS
from station.events import (
    Answer,
    Happened,
    Listener,
    Message,
    Procedure,
    Progress,
    Reading,
    RunEnded,
)
from station.line import Line
from station.run_record import Crew
from station.runner import Order, Runner

PROCEDURE = "commission_"
TARGET_SUBTYPE = "calibration_target"
_RECIPE = {"steps": list(STEPS)}


class Commissioning:
    """Runs the steps one at a time, in the thread that calls; each is a run in the records.

    A step that does not end well leaves what was known before it.
    """

    def __init__(
        self, line: Line, store: Store, crew: Crew, *, line_file: Path, listener: Listener
    ) -> None:
        self._line = line
        self._store = store
        self._crew = crew
        self.line_file = line_file
        self._listener = listener
        self._bench: Bench | None = None
        self._readings: dict[str, tuple[Reading, ...]] = {}

    @property
    def done(self) -> tuple[str, ...]:
        """The steps that ended well, in the order of the steps."""
        return tuple(step for step in STEPS if step in self._readings)

    def run(self, step: str, answer: Answer) -> RunEnded:
        """Do one step and return how it ended.

        Raises ValueError for a step that is not one, and as `station.runner.Runner.run` does.
        """
        if step not in STEPS:
            raise ValueError(f"{step!r} is no step; there are {', '.join(STEPS)}")
        found: list[Reading] = []

        def listen(message: Message) -> None:
            if isinstance(message, Happened) and isinstance(message.event, Reading):
                found.append(message.event)
            self._listener(message)

        bench = self._bench
        trial: list[Bench] = []
        runner = Runner(self._line, self._store, self._crew, listener=listen, answer=answer)
        ended = runner.run(
            Order(
                PROCEDURE + step,
                self._begun(STEPS[step], bench, trial),
                self._target(),
                self._recipe(),
            )
        )
        if ended.ending == "done":
            self._bench = trial[0]
            self._readings[step] = tuple(found)
        return ended

    def _begun(
        self, step: Callable[[Bench], Procedure], bench: Bench | None, trial: list[Bench]
    ) -> Procedure:
        """The step on a copy of the bench, made inside the run so that a refusal is recorded."""
        trial.append(Bench.of(self._line) if bench is None else replace(bench))
        if not self._line.gantry.is_homed():
            yield Progress(0, 1, "homing the gantry")
            with self._line.checkpoint():
                self._line.gantry.home()
        yield from step(trial[0])

    def found(self) -> tuple[Change, ...]:
        """What was measured, beside what the profile says."""
        readings = [reading for step in self.done for reading in self._readings[step]]
        return changes(readings, self._line.profile)

    def save(self, who: str) -> Path:
        """Write what was found into the profile, remember it, and return the copy of the old file.

        The line goes on with its old calibration until it is opened again. Raises
        `station.commissioning.write.WriteRefusedError`, and `db.StoreError` when it is written but
        can't be remembered.
        """
        found = self.found()
        kept = save(self.line_file, found, self._line.profile)
        self._store.record(
            db.Event(
                station_id=self._crew.station_id,
                at=datetime.now(UTC),
                kind="note",
                text=f"calibration written into the site profile by {who}",
                data={
                    "profile": str(self.line_file),
                    "kept": str(kept),
                    "values": {
                        change.quantity: [change.old, change.new, change.sigma] for change in found
                    },
                },
            )
        )
        return kept

    def _target(self) -> db.Part:
        """The calibration target as a part of its own, one per station."""
        profile = self._line.profile
        return self._store.ensure_part(
            db.Part(
                kind="tester",
                label=f"Calibration target {profile.site.code} {profile.station.name}",
                subtype=TARGET_SUBTYPE,
                site_id=self._crew.site_id,
            )
        )

    def _recipe(self) -> UUID:
        text = json.dumps(_RECIPE, sort_keys=True)
        recipe = self._store.ensure_recipe(
            db.Recipe(
                name="commissioning",
                version="1",
                sha256=hashlib.sha256(text.encode()).hexdigest(),
                content=_RECIPE,
            )
        )
        return recipe.id
