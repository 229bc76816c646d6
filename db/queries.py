"""Questions to the records: each answers with a pandas data frame, or `..._arrow` with a table.

A part is named by its label, or by its id where it has none. A part that is not there raises
StoreError. In data frames ids are text, times are aware UTC, unknown numbers are NaN, channels are
nullable integers, `reasons` are lists and JSON columns dictionaries; in Arrow tables unknown
numbers are null and JSON columns are text. Columns are listed in the schemas below.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID

import pandas as pd
import pyarrow as pa
from sqlalchemy import Connection

from db import selects
from db.errors import StoreError
from db.frames import (
    ID,
    INTEGER,
    NUMBER,
    TEXT,
    TEXTS,
    TIME,
    arrow_table,
    data_frame,
    json_field,
)
from db.model import ENDINGS
from db.store import Store

Which = Literal["current", "all"]
"""Readings that no later one supersedes, or all that were ever recorded."""

Direction = Literal["down", "up", "both"]
"""What a part is made of, what it is built into, or both."""

READINGS = pa.schema(
    [
        ("reading_id", ID),
        ("run_id", ID),
        ("procedure", TEXT),
        ("channel", INTEGER),
        ("quantity", TEXT),
        ("value", NUMBER),
        ("sigma", NUMBER),
        ("unit", TEXT),
        ("method", TEXT),
        ("low", NUMBER),
        ("high", NUMBER),
        ("verdict", TEXT),
        ("reasons", TEXTS),
        json_field("conditions"),
        ("at", TIME),
        ("supersedes", ID),
        ("superseded_by", ID),
        ("ending", TEXT),
        ("recipe", TEXT),
        ("recipe_version", TEXT),
        ("software_version", TEXT),
    ]
)
GENEALOGY = pa.schema(
    [
        ("direction", TEXT),
        ("depth", INTEGER),
        ("parent_label", TEXT),
        ("parent_kind", TEXT),
        ("parent_subtype", TEXT),
        ("position", TEXT),
        ("child_label", TEXT),
        ("child_kind", TEXT),
        ("child_subtype", TEXT),
        ("x_mm", NUMBER),
        ("y_mm", NUMBER),
        ("rotation_rad", NUMBER),
        ("sigma_mm", NUMBER),
        ("sigma_rad", NUMBER),
        ("at", TIME),
        ("assembly_id", ID),
        ("parent_id", ID),
        ("child_id", ID),
        ("run_id", ID),
    ]
)
RUNS = pa.schema(
    [
        ("run_id", ID),
        ("procedure", TEXT),
        ("started_at", TIME),
        ("ended_at", TIME),
        ("ending", TEXT),
        ("verdict", TEXT),
        ("reasons", TEXTS),
        ("operator", TEXT),
        ("station", TEXT),
        ("site", TEXT),
        ("recipe", TEXT),
        ("recipe_version", TEXT),
        ("recipe_sha256", TEXT),
        ("software_version", TEXT),
        json_field("instruments"),
        json_field("calibration"),
    ]
)
CURVES = pa.schema(
    [
        ("curve_id", ID),
        ("run_id", ID),
        ("procedure", TEXT),
        ("channel", INTEGER),
        ("quantity", TEXT),
        ("x_unit", TEXT),
        ("y_unit", TEXT),
        ("sha256", TEXT),
        json_field("meta"),
        ("at", TIME),
    ]
)
PICTURES = pa.schema(
    [
        ("picture_id", ID),
        ("run_id", ID),
        ("procedure", TEXT),
        ("purpose", TEXT),
        ("sha256", TEXT),
        ("media_type", TEXT),
        ("mm_per_px", NUMBER),
        json_field("pose"),
        ("at", TIME),
    ]
)
FINDINGS = pa.schema(
    [
        ("finding_id", ID),
        ("run_id", ID),
        ("procedure", TEXT),
        ("kind", TEXT),
        ("x_mm", NUMBER),
        ("y_mm", NUMBER),
        ("area_mm2", NUMBER),
        ("verdict", TEXT),
        ("text", TEXT),
        ("at", TIME),
        ("picture_id", ID),
        ("picture_sha256", TEXT),
    ]
)
EVENTS = pa.schema(
    [
        ("event_id", ID),
        ("run_id", ID),
        ("procedure", TEXT),
        ("at", TIME),
        ("kind", TEXT),
        ("text", TEXT),
        json_field("data"),
    ]
)
RUN_COUNTS = pa.schema(
    [("procedure", TEXT), ("ending", TEXT), ("verdict", TEXT), ("runs", INTEGER)]
)


def readings_of_part(store: Store, label: str | UUID, *, which: Which = "current") -> pd.DataFrame:
    """The readings of a part, oldest first."""
    return data_frame(readings_of_part_arrow(store, label, which=which))


def readings_of_part_arrow(
    store: Store, label: str | UUID, *, which: Which = "current"
) -> pa.Table:
    """The readings of a part, oldest first."""
    with store.reading() as connection:
        part_id = _part_id(store, connection, label)
        return _answer(connection, _readings(part_id, which), READINGS)


def module_readings(
    store: Store, label: str | UUID, *, endings: tuple[str, ...] = ENDINGS
) -> pd.DataFrame:
    """The newest reading of each channel and quantity of a part, from runs that have ended.

    Superseded readings never appear. `endings` narrows the runs, for example to `("done",)`.
    """
    return data_frame(module_readings_arrow(store, label, endings=endings))


def module_readings_arrow(
    store: Store, label: str | UUID, *, endings: tuple[str, ...] = ENDINGS
) -> pa.Table:
    """The newest reading of each channel and quantity of a part, from runs that have ended."""
    with store.reading() as connection:
        part_id = _part_id(store, connection, label)
        return _answer(connection, selects.newest_readings(part_id, endings), READINGS)


def channel_history(
    store: Store,
    label: str | UUID,
    channel: int | None,
    quantity: str,
    *,
    which: Which = "current",
) -> pd.DataFrame:
    """One quantity of one channel over time, from all runs; channel None is the whole part."""
    return data_frame(channel_history_arrow(store, label, channel, quantity, which=which))


def channel_history_arrow(
    store: Store,
    label: str | UUID,
    channel: int | None,
    quantity: str,
    *,
    which: Which = "current",
) -> pa.Table:
    """One quantity of one channel over time, from all runs; channel None is the whole part."""
    with store.reading() as connection:
        part_id = _part_id(store, connection, label)
        query = selects.of_channel(_readings(part_id, which), channel, quantity)
        return _answer(connection, query, READINGS)


def genealogy(store: Store, label: str | UUID, *, direction: Direction = "down") -> pd.DataFrame:
    """What a part is made of, what it is built into, or both, one row for each assembly.

    `depth` counts from 1 at the part itself; `direction` in a row is "child" below the part and
    "parent" above it. Superseded assemblies do not appear.
    """
    return data_frame(genealogy_arrow(store, label, direction=direction))


def genealogy_arrow(store: Store, label: str | UUID, *, direction: Direction = "down") -> pa.Table:
    """What a part is made of, what it is built into, or both, one row for each assembly."""
    asked = {
        "down": [selects.below],
        "up": [selects.above],
        "both": [selects.above, selects.below],
    }[direction]
    with store.reading() as connection:
        part_id = _part_id(store, connection, label)
        rows = [row._asdict() for ask in asked for row in connection.execute(ask(part_id))]
    rows.sort(key=lambda row: (row["direction"] == "child", row["depth"], _natural(row)))
    return arrow_table(rows, GENEALOGY)


def assembly_of(store: Store, label: str | UUID) -> pd.DataFrame:
    """The parts built directly into a part, by position, with the placement measured there."""
    return data_frame(assembly_of_arrow(store, label))


def assembly_of_arrow(store: Store, label: str | UUID) -> pa.Table:
    """The parts built directly into a part, by position, with the placement measured there."""
    with store.reading() as connection:
        query = selects.children(_part_id(store, connection, label))
        rows = [row._asdict() for row in connection.execute(query)]
    return arrow_table(sorted(rows, key=_natural), GENEALOGY)


def runs_of_part(store: Store, label: str | UUID) -> pd.DataFrame:
    """The runs on a part, oldest first; a run that has not ended has no ending."""
    return data_frame(runs_of_part_arrow(store, label))


def runs_of_part_arrow(store: Store, label: str | UUID) -> pa.Table:
    """The runs on a part, oldest first; a run that has not ended has no ending."""
    with store.reading() as connection:
        return _answer(connection, selects.runs(_part_id(store, connection, label)), RUNS)


def curves_of_part(store: Store, label: str | UUID) -> pd.DataFrame:
    """The curves of a part, oldest first, with the SHA-256 of their files."""
    return data_frame(curves_of_part_arrow(store, label))


def curves_of_part_arrow(store: Store, label: str | UUID) -> pa.Table:
    """The curves of a part, oldest first, with the SHA-256 of their files."""
    with store.reading() as connection:
        return _answer(connection, selects.curves(_part_id(store, connection, label)), CURVES)


def pictures_of_part(store: Store, label: str | UUID) -> pd.DataFrame:
    """The pictures of a part, oldest first, with the SHA-256 of their files."""
    return data_frame(pictures_of_part_arrow(store, label))


def pictures_of_part_arrow(store: Store, label: str | UUID) -> pa.Table:
    """The pictures of a part, oldest first, with the SHA-256 of their files."""
    with store.reading() as connection:
        return _answer(connection, selects.pictures(_part_id(store, connection, label)), PICTURES)


def findings_of_part(store: Store, label: str | UUID) -> pd.DataFrame:
    """The findings on a part, oldest first, with the SHA-256 of their pictures."""
    return data_frame(findings_of_part_arrow(store, label))


def findings_of_part_arrow(store: Store, label: str | UUID) -> pa.Table:
    """The findings on a part, oldest first, with the SHA-256 of their pictures."""
    with store.reading() as connection:
        return _answer(connection, selects.findings(_part_id(store, connection, label)), FINDINGS)


def events_of_part(store: Store, label: str | UUID) -> pd.DataFrame:
    """What happened in the runs on a part, oldest first."""
    return data_frame(events_of_part_arrow(store, label))


def events_of_part_arrow(store: Store, label: str | UUID) -> pa.Table:
    """What happened in the runs on a part, oldest first."""
    with store.reading() as connection:
        return _answer(connection, selects.events(_part_id(store, connection, label)), EVENTS)


def run_counts(store: Store, since: datetime, until: datetime | None = None) -> pd.DataFrame:
    """How many runs began from `since` on and before `until` (now), by procedure and ending.

    For today give the aware midnight of the station's time zone. Runs still open have no ending.
    """
    return data_frame(run_counts_arrow(store, since, until))


def run_counts_arrow(store: Store, since: datetime, until: datetime | None = None) -> pa.Table:
    """How many runs began from `since` on and before `until` (now), by procedure and ending."""
    with store.reading() as connection:
        query = selects.run_counts(since, datetime.now(UTC) if until is None else until)
        return _answer(connection, query, RUN_COUNTS)


def _readings(part_id: UUID, which: Which) -> selects.Query:
    ask = {"current": selects.current_readings, "all": selects.readings}[which]
    return ask(part_id)


def _answer(connection: Connection, query: selects.Query, schema: pa.Schema) -> pa.Table:
    return arrow_table((row._asdict() for row in connection.execute(query)), schema)


def _part_id(store: Store, connection: Connection, label: str | UUID) -> UUID:
    found: UUID | None = connection.scalar(selects.part_id(label))
    if found is None:
        raise StoreError(f"no part {label}", store.where)
    return found


def _natural(row: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Sorts positions as people do: 2 before 10, R1C9 before R1C10."""
    return [
        (letters, int(digits) if digits else -1)
        for letters, digits in re.findall(r"(\D*)(\d*)", row["position"])
    ]
