"""The questions that are asked of the records, as SQL that both databases understand."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, Table, exists, func, literal, select
from sqlalchemy.sql.selectable import CTE

from db.model import (
    Assembly,
    Curve,
    Event,
    Fact,
    Finding,
    Operator,
    Part,
    Picture,
    Reading,
    Recipe,
    Run,
    RunEnd,
    Site,
    Station,
    table_of,
)

Query = Select[Any]

_assembly = table_of(Assembly)
_operator = table_of(Operator)
_part = table_of(Part)
_reading = table_of(Reading)
_recipe = table_of(Recipe)
_run = table_of(Run)
_run_end = table_of(RunEnd)
_site = table_of(Site)
_station = table_of(Station)


def not_superseded(table: Table) -> ColumnElement[bool]:
    """True for rows that no later row of the same table supersedes."""
    later = table.alias()
    return ~exists().where(later.c.supersedes == table.c.id)


def readings(part_id: UUID) -> Query:
    """Every reading of a part, oldest first, with the run it belongs to."""
    later = _reading.alias("later")
    superseded_by = (
        select(later.c.id)
        .where(later.c.supersedes == _reading.c.id)
        .order_by(later.c.id.desc())
        .limit(1)
        .scalar_subquery()
    )
    return (
        select(
            _reading.c.id.label("reading_id"),
            *(column for column in _reading.c if column.name != "id"),
            superseded_by.label("superseded_by"),
            _run.c.procedure,
            _run.c.software_version,
            _recipe.c.name.label("recipe"),
            _recipe.c.version.label("recipe_version"),
            _run_end.c.ending,
        )
        .join(_run, _run.c.id == _reading.c.run_id)
        .join(_recipe, _recipe.c.id == _run.c.recipe_id)
        .outerjoin(_run_end, _run_end.c.run_id == _reading.c.run_id)
        .where(_reading.c.part_id == part_id)
        .order_by(_reading.c.at, _reading.c.id)
    )


def current_readings(part_id: UUID) -> Query:
    """The readings of a part that no later one supersedes."""
    return readings(part_id).where(not_superseded(_reading))


def of_channel(query: Query, channel: int | None, quantity: str) -> Query:
    """Only the readings of one quantity and channel; None is the part as a whole."""
    same = _reading.c.channel.is_(None) if channel is None else _reading.c.channel == channel
    return query.where(_reading.c.quantity == quantity, same)


def newest_readings(part_id: UUID, endings: tuple[str, ...]) -> Query:
    """The newest current reading of each channel and quantity from runs with these endings."""
    rank = func.row_number().over(
        partition_by=(_reading.c.channel, _reading.c.quantity),
        order_by=(_reading.c.at.desc(), _reading.c.id.desc()),
    )
    ranked = (
        current_readings(part_id)
        .where(_run_end.c.ending.in_(endings))
        .order_by(None)
        .add_columns(rank.label("rank"))
        .subquery()
    )
    return (
        select(ranked)
        .where(ranked.c.rank == 1)
        .order_by(ranked.c.quantity, ranked.c.channel.is_not(None), ranked.c.channel)
    )


def part_id(label: str | UUID) -> Query:
    """The id of the part with this label, or with this id."""
    column = _part.c.id if isinstance(label, UUID) else _part.c.label
    return select(_part.c.id).where(column == label)


def children(part_id: UUID) -> Query:
    """What is built directly into a part."""
    found = (
        select(_assembly, literal(1).label("depth"))
        .where(_assembly.c.parent_id == part_id, not_superseded(_assembly))
        .cte("children")
    )
    return _with_parts(found, "child")


def below(part_id: UUID) -> Query:
    """All that is built into a part, at any depth."""
    first = (
        select(_assembly, literal(1).label("depth"))
        .where(_assembly.c.parent_id == part_id, not_superseded(_assembly))
        .cte("below", recursive=True)
    )
    further = select(_assembly, (first.c.depth + 1).label("depth")).where(
        _assembly.c.parent_id == first.c.child_id, not_superseded(_assembly)
    )
    return _with_parts(first.union_all(further), "child")


def above(part_id: UUID) -> Query:
    """All that a part is built into, at any depth."""
    first = (
        select(_assembly, literal(1).label("depth"))
        .where(_assembly.c.child_id == part_id, not_superseded(_assembly))
        .cte("above", recursive=True)
    )
    further = select(_assembly, (first.c.depth + 1).label("depth")).where(
        _assembly.c.child_id == first.c.parent_id, not_superseded(_assembly)
    )
    return _with_parts(first.union_all(further), "parent")


def runs(part_id: UUID) -> Query:
    """Every run on a part, oldest first, with its ending and all it names."""
    return (
        select(
            _run.c.id.label("run_id"),
            *(_run.c[name] for name in ("procedure", "started_at", "software_version")),
            *(_run.c[name] for name in ("instruments", "calibration")),
            _run_end.c.at.label("ended_at"),
            *(_run_end.c[name] for name in ("ending", "verdict", "reasons")),
            _operator.c.name.label("operator"),
            _station.c.name.label("station"),
            _site.c.name.label("site"),
            _recipe.c.name.label("recipe"),
            _recipe.c.version.label("recipe_version"),
            _recipe.c.sha256.label("recipe_sha256"),
        )
        .outerjoin(_run_end, _run_end.c.run_id == _run.c.id)
        .join(_operator, _operator.c.id == _run.c.operator_id)
        .join(_station, _station.c.id == _run.c.station_id)
        .join(_site, _site.c.id == _station.c.site_id)
        .join(_recipe, _recipe.c.id == _run.c.recipe_id)
        .where(_run.c.part_id == part_id)
        .order_by(_run.c.started_at, _run.c.id)
    )


def run_counts(since: datetime, until: datetime) -> Query:
    """How many runs began in a span of time, by procedure, ending and verdict."""
    kinds = (_run.c.procedure, _run_end.c.ending, _run_end.c.verdict)
    return (
        select(*kinds, func.count().label("runs"))
        .select_from(_run)
        .outerjoin(_run_end, _run_end.c.run_id == _run.c.id)
        .where(_run.c.started_at >= since, _run.c.started_at < until)
        .group_by(*kinds)
        .order_by(*kinds)
    )


def curves(part_id: UUID) -> Query:
    """Every curve of a part, oldest first."""
    return _of_part(Curve, "curve_id", part_id)


def pictures(part_id: UUID) -> Query:
    """Every picture of a part, oldest first."""
    return _of_part(Picture, "picture_id", part_id)


def findings(part_id: UUID) -> Query:
    """Every finding on a part, oldest first, with the file of its picture."""
    picture = table_of(Picture)
    return (
        _of_part(Finding, "finding_id", part_id)
        .outerjoin(picture, picture.c.id == table_of(Finding).c.picture_id)
        .add_columns(picture.c.sha256.label("picture_sha256"))
    )


def events(part_id: UUID) -> Query:
    """Every event in the runs on a part, oldest first."""
    event = table_of(Event)
    return (
        select(
            event.c.id.label("event_id"),
            *(column for column in event.c if column.name != "id"),
            _run.c.procedure,
        )
        .join(_run, _run.c.id == event.c.run_id)
        .where(_run.c.part_id == part_id)
        .order_by(event.c.at, event.c.id)
    )


def _of_part(model: type[Fact], id_name: str, part_id: UUID) -> Query:
    table = table_of(model)
    return (
        select(
            table.c.id.label(id_name),
            *(column for column in table.c if column.name != "id"),
            _run.c.procedure,
        )
        .join(_run, _run.c.id == table.c.run_id)
        .where(table.c.part_id == part_id)
        .order_by(table.c.at, table.c.id)
    )


def _with_parts(found: CTE, direction: str) -> Query:
    parent, child = _part.alias("parent"), _part.alias("child")
    return (
        select(
            literal(direction).label("direction"),
            found.c.depth,
            found.c.id.label("assembly_id"),
            *(column for column in found.c if column.name not in ("id", "depth", "supersedes")),
            *(parent.c[name].label(f"parent_{name}") for name in ("label", "kind", "subtype")),
            *(child.c[name].label(f"child_{name}") for name in ("label", "kind", "subtype")),
        )
        .join(parent, parent.c.id == found.c.parent_id)
        .join(child, child.c.id == found.c.child_id)
        .order_by(found.c.depth, found.c.at, found.c.id)
    )
