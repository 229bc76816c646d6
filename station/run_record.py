"""The record of one run: every event that is a fact is stored before anybody is told."""

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import cv2
import numpy as np

import db
from db import Store
from station.events import (
    Curve,
    Event,
    Finding,
    Joined,
    NewPart,
    Note,
    Picture,
    RawData,
    Reading,
    Verdict,
)
from station.limits import Limit


@dataclass(frozen=True)
class Crew:
    """Who works where with what: goes into every run's record."""

    site_id: UUID
    station_id: UUID
    operator_id: UUID
    software_version: str


class RunRecord:
    """Stores what one run of one part says. Everything raises `db.StoreError`."""

    def __init__(self, store: Store, crew: Crew, run_id: UUID, part_id: UUID) -> None:
        self._store = store
        self._crew = crew
        self.run_id = run_id
        self._part_id = part_id

    def remember(self, kind: str, text: str, data: Mapping[str, Any]) -> UUID:
        """Store a note, a question, an answer."""
        fact = db.Event(
            run_id=self.run_id,
            station_id=self._crew.station_id,
            at=datetime.now(UTC),
            kind=kind,
            text=text,
            data=dict(data),
        )
        self._store.record(fact)
        return fact.id

    def new_part(self, event: NewPart) -> UUID:
        """The part with the event's label, made when it is not known yet."""
        return self._store.ensure_part(
            db.Part(
                kind=event.kind,
                label=event.label,
                subtype=event.subtype,
                site_id=self._crew.site_id,
            )
        ).id

    def reading(
        self, event: Reading, limit: Limit | None, verdict: Verdict, reasons: tuple[str, ...]
    ) -> db.Reading:
        """Store a judged reading."""
        fact = reading_fact(event, self.run_id, self._part_id, limit, verdict, reasons)
        self._store.record(fact)
        return fact

    def store(self, event: Event) -> UUID:
        """Store any other event that is a fact and return its id."""
        return _STORE[type(event)](self, event)

    def _note(self, event: Note) -> UUID:
        return self.remember("note", event.text, event.data)

    def _raw_data(self, event: RawData) -> UUID:
        sha256 = self._store.attach(event.path.read_bytes(), event.media_type)
        fact_id = self.remember(
            "note",
            event.text,
            {"sha256": sha256, "media_type": event.media_type, "name": event.path.name},
        )
        event.path.unlink()
        return fact_id

    def _finding(self, event: Finding) -> UUID:
        fact = db.Finding(
            run_id=self.run_id,
            part_id=self._part_id,
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

    def _joined(self, event: Joined) -> UUID:
        fact = db.Assembly(
            parent_id=event.parent_id or self._part_id,
            child_id=event.child_id,
            position=event.position,
            run_id=self.run_id,
            x_mm=event.x_mm,
            y_mm=event.y_mm,
            rotation_rad=event.rotation_rad,
            sigma_mm=event.sigma_mm,
            at=datetime.now(UTC),
        )
        self._store.record(fact)
        return fact.id

    def _picture(self, event: Picture) -> UUID:
        suffix = ".png" if event.media_type == "image/png" else ".jpg"
        encoded, data = cv2.imencode(suffix, event.image)
        if not encoded:
            raise ValueError(f"picture {event.purpose!r} can't be encoded as {event.media_type}")
        fact = db.Picture(
            run_id=self.run_id,
            part_id=self._part_id,
            purpose=event.purpose,
            sha256=self._store.attach(data.tobytes(), event.media_type),
            media_type=event.media_type,
            mm_per_px=event.mm_per_px,
            pose=dict(event.pose),
            at=datetime.now(UTC),
        )
        self._store.record(fact)
        return fact.id

    def _curve(self, event: Curve) -> UUID:
        arrays = {"x": event.x, "y": event.y}
        if event.model is not None:
            arrays["model"] = event.model
        file = io.BytesIO()
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
        fact = db.Curve(
            run_id=self.run_id,
            part_id=self._part_id,
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


def remember(store: Store, crew: Crew, text: str, data: Mapping[str, Any] | None = None) -> None:
    """Store a recovery event of the station, outside of any run."""
    store.record(
        db.Event(
            station_id=crew.station_id,
            at=datetime.now(UTC),
            kind="recovery",
            text=text,
            data=dict(data or {}),
        )
    )


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
    Note: RunRecord._note,
    RawData: RunRecord._raw_data,
    Finding: RunRecord._finding,
    Joined: RunRecord._joined,
    Picture: RunRecord._picture,
    Curve: RunRecord._curve,
}
