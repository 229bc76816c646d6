"""The facts about one module and every part in it, read from the store in one go."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar, cast
from uuid import UUID

from sqlmodel import Session, col, select

import db
from station.events import Ending, Verdict

_OfPart = TypeVar("_OfPart", db.Reading, db.Curve, db.Picture, db.Finding)


@dataclass(frozen=True)
class BuiltIn:
    """A part at its place in the tree of parts; `depth` 0 is the module itself.

    `inside` is the part that it is built into, None for the module. A part without a label is
    named by its identity.
    """

    part_id: UUID
    label: str
    kind: str
    subtype: str
    position: str
    inside: UUID | None
    depth: int


@dataclass(frozen=True)
class RunRecord:
    """A run as it was recorded; `ending`, `ended_at` and `verdict` are None while it is open."""

    run_id: UUID
    procedure: str
    part_id: UUID
    part_label: str
    started_at: datetime
    ended_at: datetime | None
    ending: Ending | None
    verdict: Verdict | None
    reasons: tuple[str, ...]
    operator: str
    station: str
    recipe_name: str
    recipe_version: str
    recipe_sha256: str
    software_version: str
    instruments: dict[str, Any]
    calibration: dict[str, Any]


@dataclass(frozen=True)
class ModuleFacts:
    """`runs` are in the order of their start; `readings`, `curves` and `findings` are those of
    ended runs, oldest first, without readings that a correction superseded. `corrections` pairs
    a superseded reading with the one that supersedes it."""

    site: str
    parts: tuple[BuiltIn, ...]
    runs: tuple[RunRecord, ...]
    readings: tuple[db.Reading, ...]
    corrections: tuple[tuple[db.Reading, db.Reading], ...]
    curves: tuple[db.Curve, ...]
    findings: tuple[db.Finding, ...]
    pictures: tuple[db.Picture, ...]


def read_facts(store: db.Store, module: db.Part) -> ModuleFacts:
    """All facts about the module and the parts built into it, at any depth."""
    with store.session() as session:
        parts = _tree(session, module)
        runs = _runs(session, parts)
        ended = {run.run_id for run in runs if run.ending is not None}
        ids = [part.part_id for part in parts]
        readings = _of_parts(session, db.Reading, ids)
        by_id = {reading.id: reading for reading in readings}
        superseded = {r.supersedes for r in readings if r.supersedes is not None}
        return ModuleFacts(
            site=_name(session.get(db.Site, module.site_id)),
            parts=parts,
            runs=runs,
            readings=tuple(r for r in readings if r.run_id in ended and r.id not in superseded),
            corrections=tuple(
                (by_id[r.supersedes], r)
                for r in readings
                if r.run_id in ended and r.supersedes is not None and r.supersedes in by_id
            ),
            curves=tuple(c for c in _of_parts(session, db.Curve, ids) if c.run_id in ended),
            findings=tuple(f for f in _of_parts(session, db.Finding, ids) if f.run_id in ended),
            pictures=tuple(p for p in _of_parts(session, db.Picture, ids) if p.run_id in ended),
        )


def _tree(session: Session, module: db.Part) -> tuple[BuiltIn, ...]:
    """The module and what is built into it now: of each child only its newest assembly counts."""
    found = [_built_in(module, "", None, 0)]
    seen = {module.id}
    level = [module.id]
    depth = 0
    while level:
        depth += 1
        joints = _current_joints(session, level)
        children = {
            part.id: part
            for part in session.exec(
                select(db.Part).where(col(db.Part.id).in_([j.child_id for j in joints]))
            )
        }
        level = []
        for joint in joints:
            if joint.child_id not in seen:
                seen.add(joint.child_id)
                level.append(joint.child_id)
                child = children[joint.child_id]
                found.append(_built_in(child, joint.position, joint.parent_id, depth))
    return tuple(found)


def _current_joints(session: Session, parents: list[UUID]) -> list[db.Assembly]:
    """Assemblies into these parents that nothing supersedes and no later assembly undoes."""
    children = select(db.Assembly.child_id).where(col(db.Assembly.parent_id).in_(parents))
    joints = session.exec(
        select(db.Assembly)
        .where(col(db.Assembly.child_id).in_(children))
        .order_by(col(db.Assembly.at), col(db.Assembly.id))
    ).all()
    superseded = {joint.supersedes for joint in joints if joint.supersedes is not None}
    newest = {joint.child_id: joint for joint in joints if joint.id not in superseded}
    return [joint for joint in newest.values() if joint.parent_id in parents]


def _built_in(part: db.Part, position: str, inside: UUID | None, depth: int) -> BuiltIn:
    return BuiltIn(
        part.id, part.label or str(part.id), part.kind, part.subtype, position, inside, depth
    )


def _runs(session: Session, parts: Iterable[BuiltIn]) -> tuple[RunRecord, ...]:
    labels = {part.part_id: part.label for part in parts}
    stations = {station.id: station.name for station in session.exec(select(db.Station)).all()}
    rows = session.exec(
        select(db.Run, db.RunEnd, db.Recipe, db.Operator)
        .join(db.Recipe, col(db.Recipe.id) == col(db.Run.recipe_id))
        .join(db.Operator, col(db.Operator.id) == col(db.Run.operator_id))
        .outerjoin(db.RunEnd, col(db.RunEnd.run_id) == col(db.Run.id))
        .where(col(db.Run.part_id).in_(list(labels)))
        .order_by(col(db.Run.started_at), col(db.Run.id))
    ).all()
    return tuple(
        RunRecord(
            run_id=run.id,
            procedure=run.procedure,
            part_id=run.part_id,
            part_label=labels[run.part_id],
            started_at=run.started_at,
            ended_at=end.at if end else None,
            ending=cast(Ending, end.ending) if end else None,
            verdict=cast(Verdict, end.verdict) if end else None,
            reasons=tuple(end.reasons) if end else (),
            operator=operator.name,
            station=stations[run.station_id],
            recipe_name=recipe.name,
            recipe_version=recipe.version,
            recipe_sha256=recipe.sha256,
            software_version=run.software_version,
            instruments=run.instruments,
            calibration=run.calibration,
        )
        for run, end, recipe, operator in rows
    )


def _of_parts(session: Session, kind: type[_OfPart], ids: list[UUID]) -> list[_OfPart]:
    return list(
        session.exec(
            select(kind).where(col(kind.part_id).in_(ids)).order_by(col(kind.at), col(kind.id))
        ).all()
    )


def _name(site: db.Site | None) -> str:
    return site.name if site else ""
