"""Parts that are set aside: the shift does not use them until a person releases them.

Both are facts: events of the station, of which the newest about a part counts.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlmodel import col, select

import db
from db import Store
from station.run_record import Crew, remember

SET_ASIDE, RELEASED = "set_aside", "released"


@dataclass(frozen=True)
class Aside:
    """Since when and why a part is set aside."""

    at: datetime
    reason: str


def set_aside(store: Store, crew: Crew, part: db.Part, reason: str) -> str:
    """Set a part aside; returns the sentence that was stored. Raises `db.StoreError`."""
    story = f"{part.label or part.id} was set aside: {reason}"
    remember(store, crew, story, {SET_ASIDE: str(part.id), "reason": reason})
    return story


def release(store: Store, crew: Crew, part: db.Part, who: str) -> str:
    """A person releases a part; returns the sentence that was stored. Raises `db.StoreError`."""
    story = f"{part.label or part.id} was released by {who}"
    remember(store, crew, story, {RELEASED: str(part.id), "by": who})
    return story


def set_aside_parts(store: Store) -> dict[UUID, Aside]:
    """The parts that are set aside now."""
    with store.session() as session:
        events = session.exec(
            select(db.Event)
            .where(db.Event.kind == "recovery")
            .order_by(col(db.Event.at), col(db.Event.id))
        ).all()
    aside: dict[UUID, Aside] = {}
    for event in events:
        if SET_ASIDE in event.data:
            aside[UUID(event.data[SET_ASIDE])] = Aside(event.at, str(event.data["reason"]))
        elif RELEASED in event.data:
            aside.pop(UUID(event.data[RELEASED]), None)
    return aside
