"""What the records say of a module that is being built: the shift goes on where they end."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel import col, select

import db
from db import Store
from db.queries import assembly_of, readings_of_part
from station.catalogue import TilePosition
from station.events import RefusedError


def last_done(store: Store, part_id: UUID, procedure: str) -> db.RunEnd | None:
    """How the newest run of a part that was done ended; None when none was."""
    with store.session() as session:
        return session.exec(
            select(db.RunEnd)
            .join(db.Run, col(db.Run.id) == col(db.RunEnd.run_id))
            .where(
                db.Run.part_id == part_id,
                db.Run.procedure == procedure,
                db.RunEnd.ending == "done",
            )
            .order_by(col(db.Run.started_at).desc())
        ).first()


def interruption(store: Store, part_id: UUID) -> tuple[db.Run, db.RunEnd] | None:
    """The newest run of a part and its end, when it was interrupted."""
    with store.session() as session:
        newest = session.exec(
            select(db.Run, db.RunEnd)
            .join(db.RunEnd, col(db.RunEnd.run_id) == col(db.Run.id))
            .where(db.Run.part_id == part_id)
            .order_by(col(db.Run.started_at).desc(), col(db.Run.id).desc())
        ).first()
    if newest is None or newest[1].ending != "interrupted":
        return None
    return newest[0], newest[1]


def unplaced(store: Store, module: str, positions: tuple[TilePosition, ...]) -> list[TilePosition]:
    """The positions of a module, by its label, that no tile is recorded at."""
    taken = set(assembly_of(store, module)["position"])
    return [position for position in positions if position.name not in taken]


def notes(store: Store, part_id: UUID, text: str) -> list[Mapping[str, Any]]:
    """What the notes of a part's runs with this text say, newest first."""
    with store.session() as session:
        events = session.exec(
            select(db.Event)
            .join(db.Run, col(db.Run.id) == col(db.Event.run_id))
            .where(db.Run.part_id == part_id, db.Event.text == text)
            .order_by(col(db.Event.at).desc())
        )
        return [dict(event.data) for event in events]


def placing_at(store: Store, part_id: UUID, position: str) -> Mapping[str, Any] | None:
    """The newest note of a placement at a position of a module."""
    placed = (note for note in notes(store, part_id, "placing") if note["position"] == position)
    return next(placed, None)


def dimple_seen(store: Store, wrapped: db.Part) -> tuple[tuple[float, float], float]:
    """Dimple (mm, tile frame) as seen when a wrapped tile was bare, and its error.

    Raises RefusedError when the records do not say.
    """
    with store.session() as session:
        bare = session.exec(
            select(db.Part)
            .join(db.Assembly, col(db.Assembly.child_id) == col(db.Part.id))
            .where(db.Assembly.parent_id == wrapped.id)
        ).first()
    if bare is None or bare.label is None:
        raise RefusedError(f"no record says which bare tile is in {wrapped.label}")
    seen = readings_of_part(store, bare.label)
    values = []
    for quantity in ("dimple_x", "dimple_y"):
        rows = seen[(seen["quantity"] == quantity) & seen["value"].notna()]
        if rows.empty:
            raise RefusedError(f"{bare.label}: its {quantity} was never measured")
        values.append((float(rows.iloc[-1]["value"]), float(rows.iloc[-1]["sigma"])))
    return (values[0][0], values[1][0]), max(values[0][1], values[1][1])
