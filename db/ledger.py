"""How facts join the facts that are there: in order, once, and only where they fit."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Table, insert, select
from sqlalchemy.exc import IntegrityError

from db.errors import StoreError
from db.model import FACTS, Assembly, Fact, Outbox, Reading, table_of
from db.rows import fact_id, key_name
from db.rules import Row

Key = UUID | str
_CHUNK = 500


@dataclass(frozen=True)
class Entry:
    """A fact on its way into the database: its class and its checked columns."""

    model: type[Fact]
    row: Row

    @property
    def table(self) -> Table:
        """The table it goes to."""
        return table_of(self.model)

    @property
    def key(self) -> Key:
        """The value of its primary key."""
        key: Key = self.row[key_name(self.model)]
        return key

    @property
    def place(self) -> tuple[str, Key]:
        """Where it goes: table and key."""
        return self.table.name, self.key

    @property
    def references(self) -> list[tuple[str, Key]]:
        """Table and key of every fact it refers to."""
        return [
            (target, self.row[column])
            for column, target in _references(self.model)
            if self.row[column] is not None
        ]


class RejectedError(Exception):
    """The database refused entries for breaking one of its constraints."""

    def __init__(self, entries: Sequence[Entry], error: IntegrityError) -> None:
        super().__init__(str(error))
        self.entries = entries
        self.error = error


def add(connection: Connection, entries: Sequence[Entry], where: str) -> None:
    """Insert what is not there yet, parents first, each with its row in the outbox.

    Raises StoreError when an id is taken by other content, or a supersession or an assembly does
    not fit, and RejectedError when the database refuses. The caller must then roll back.
    """
    fresh = _fresh(connection, _in_order(entries, where), where)
    if not fresh:
        return
    _check_supersession(connection, fresh, where)
    now = datetime.now(UTC)
    outbox = [
        {"table_name": entry.table.name, "fact_id": fact_id(entry.key), "made_at": now}
        for entry in fresh
    ]
    try:
        for table, group in groupby(fresh, lambda entry: entry.table):
            connection.execute(insert(table), [entry.row for entry in group])
        connection.execute(insert(table_of(Outbox)), outbox)
    except IntegrityError as error:
        raise RejectedError(fresh, error) from error
    _check_assemblies(connection, [e.row for e in fresh if e.model is Assembly], where)


def missing_reference(connection: Connection, entries: Sequence[Entry]) -> str | None:
    """Which entry refers to a fact that is not there, in words; None when all are there."""
    given = {entry.place for entry in entries}
    for entry in entries:
        for column, target in _references(entry.model):
            key = entry.row[column]
            if key is None or (target, key) in given:
                continue
            if not stored_rows(connection, FACTS[target], [key]):
                return f"{entry.table.name} {entry.key}: there is no {target} {key} ({column})"
    return None


def stored_rows(connection: Connection, model: type[Fact], keys: Collection[Key]) -> dict[Key, Row]:
    """The rows that are stored under these keys, by key."""
    table = table_of(model)
    column = table.c[key_name(model)]
    return {
        getattr(row, column.name): row._asdict()
        for chunk in chunks(keys)
        for row in connection.execute(select(table).where(column.in_(chunk)))
    }


def current_assemblies(
    connection: Connection, *, children: Collection[UUID] = (), parents: Collection[UUID] = ()
) -> list[Row]:
    """The assemblies of these children or parents that no later one supersedes."""
    table = table_of(Assembly)
    later = table.alias("later")
    found: dict[UUID, Row] = {}
    for column, keys in ((table.c.child_id, children), (table.c.parent_id, parents)):
        for chunk in chunks(keys):
            query = (
                select(table)
                .outerjoin(later, later.c.supersedes == table.c.id)
                .where(column.in_(chunk), later.c.id.is_(None))
                .order_by(table.c.at, table.c.id)
            )
            found.update((row.id, row._asdict()) for row in connection.execute(query))
    return list(found.values())


def chunks(keys: Iterable[Any]) -> Iterator[list[Any]]:
    """The keys in lists that are short enough for one statement."""
    every = list(keys)
    return (every[start : start + _CHUNK] for start in range(0, len(every), _CHUNK))


@cache
def _references(model: type[Fact]) -> tuple[tuple[str, str], ...]:
    return tuple(
        (column.name, key.column.table.name)
        for column in table_of(model).columns
        for key in column.foreign_keys
    )


def _in_order(entries: Sequence[Entry], where: str) -> list[Entry]:
    """The entries in the order given, but each behind those it refers to, and each once."""
    given: dict[tuple[str, Key], Entry] = {}
    for entry in entries:
        if given.setdefault(entry.place, entry).row != entry.row:
            raise StoreError(f"{_said(entry)} comes twice with different content", where)
    placed: dict[tuple[str, Key], Entry] = {}
    for entry in given.values():
        path = {entry.place: entry}
        while path:
            place, top = next(reversed(path.items()))
            waiting = [r for r in top.references if r in given and r not in placed]
            if not waiting:
                placed[place] = path.pop(place)
            elif waiting[0] in path:
                raise StoreError(f"{_said(top)} refers to itself through others", where)
            else:
                path[waiting[0]] = given[waiting[0]]
    return list(placed.values())


def _fresh(connection: Connection, entries: Sequence[Entry], where: str) -> list[Entry]:
    """The entries that are not stored; the stored ones must say the same."""
    keys: dict[type[Fact], list[Key]] = {}
    for entry in entries:
        keys.setdefault(entry.model, []).append(entry.key)
    stored = {model: stored_rows(connection, model, keys[model]) for model in keys}
    fresh = []
    for entry in entries:
        row = stored[entry.model].get(entry.key)
        if row is None:
            fresh.append(entry)
            continue
        other = [name for name, value in entry.row.items() if row[name] != value]
        if other:
            raise StoreError(
                f"{_said(entry)} is stored with different content: "
                + ", ".join(f"{name} is {row[name]!r}, not {entry.row[name]!r}" for name in other),
                where,
            )
    return fresh


def _check_supersession(connection: Connection, fresh: Sequence[Entry], where: str) -> None:
    for model, agrees, rule in (
        (Reading, _same_measurand, "a reading supersedes one of the same part, channel, quantity"),
        (Assembly, _shares_a_part, "an assembly supersedes one with the same child or parent"),
    ):
        correcting = [e for e in fresh if e.model is model and e.row["supersedes"] is not None]
        if not correcting:
            continue
        wanted = {e.row["supersedes"] for e in correcting}
        targets = {
            **stored_rows(connection, model, wanted),
            **{e.key: e.row for e in fresh if e.model is model},
        }
        taken = _superseding(connection, model, wanted)
        for entry in correcting:
            target = entry.row["supersedes"]
            if target not in targets:
                raise StoreError(f"{_said(entry)} supersedes {target}, which is not there", where)
            if not agrees(entry.row, targets[target]):
                raise StoreError(f"{_said(entry)} cannot supersede {target}: {rule}", where)
            other = taken.setdefault(target, entry.key)
            if other != entry.key:
                raise StoreError(
                    f"{_said(entry)} cannot supersede {target}: {other} does already, "
                    "supersede that one",
                    where,
                )


def _superseding(
    connection: Connection, model: type[Fact], targets: Collection[Key]
) -> dict[Key, Key]:
    table = table_of(model)
    return {
        row.supersedes: row.id
        for chunk in chunks(targets)
        for row in connection.execute(
            select(table.c.supersedes, table.c.id).where(table.c.supersedes.in_(chunk))
        )
    }


def _same_measurand(row: Row, target: Row) -> bool:
    return all(row[name] == target[name] for name in ("part_id", "channel", "quantity"))


def _shares_a_part(row: Row, target: Row) -> bool:
    return bool(row["child_id"] == target["child_id"] or row["parent_id"] == target["parent_id"])


def _check_assemblies(connection: Connection, rows: Sequence[Row], where: str) -> None:
    """A part is in one place at a time, a position holds one part, and nothing contains itself."""
    if not rows:
        return
    current = current_assemblies(
        connection,
        children={row["child_id"] for row in rows},
        parents={row["parent_id"] for row in rows},
    )
    for row in rows:
        for other in current:
            if other["id"] == row["id"]:
                continue
            if other["child_id"] == row["child_id"]:
                raise StoreError(
                    f"part {row['child_id']} is already at position {other['position']} of "
                    f"{other['parent_id']}: supersede assembly {other['id']}",
                    where,
                )
            if (other["parent_id"], other["position"]) == (row["parent_id"], row["position"]):
                raise StoreError(
                    f"position {row['position']} of {row['parent_id']} already holds part "
                    f"{other['child_id']}: supersede assembly {other['id']}",
                    where,
                )
        _check_no_cycle(connection, row, where)


def _check_no_cycle(connection: Connection, row: Row, where: str) -> None:
    above = {row["parent_id"]}
    seen: set[UUID] = set()
    while above:
        if row["child_id"] in above:
            raise StoreError(
                f"part {row['parent_id']} is itself built into {row['child_id']}", where
            )
        seen |= above
        above = {a["parent_id"] for a in current_assemblies(connection, children=above)} - seen


def _said(entry: Entry) -> str:
    return f"{entry.table.name} {entry.key}"
