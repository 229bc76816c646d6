from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from db import Curve, Event, Finding, Part, Picture, Store
from db.model import FACTS, Fact


def change(store: Store, sql: str) -> None:
    with store._writer.begin() as connection:
        connection.execute(text(sql))


@pytest.fixture
def full_line(line: Any) -> Any:
    """A line with at least one row in every table."""
    store: Store = line.store
    sha256 = store.attach(b"pixels", "image/png")
    child = line.part("tile", "T1")
    where = {"run_id": line.run.id, "part_id": line.board.id, "at": line.now()}
    picture = Picture(purpose="look", sha256=sha256, media_type="image/png", **where)
    store.record(
        line.reading(),
        line.assembly(line.board, child, "1"),
        picture,
        Curve(quantity="iv", x_unit="V", y_unit="A", sha256=sha256, **where),
        Finding(kind="chip", verdict="flag", picture_id=picture.id, **where),
        Event(station_id=line.station.id, at=line.now(), kind="note"),
    )
    line.end(line.run)
    return line


def test_a_fact_can_neither_be_changed_nor_deleted(full_line: Any) -> None:
    store = full_line.store
    for table in FACTS:
        with store.reading() as connection:
            before = list(connection.execute(text(f"SELECT * FROM {table}")))
        assert before
        for column in Fact.metadata.tables[table].columns:
            with pytest.raises(SQLAlchemyError, match=f"{table} is append-only"):
                change(store, f"UPDATE {table} SET {column.name} = {column.name}")
        with pytest.raises(SQLAlchemyError, match=f"{table} is append-only"):
            change(store, f"DELETE FROM {table}")
        with store.reading() as connection:
            assert list(connection.execute(text(f"SELECT * FROM {table}"))) == before


def test_of_the_outbox_only_the_time_of_sending_may_change(full_line: Any) -> None:
    for column in ("seq", "table_name", "fact_id", "made_at"):
        with pytest.raises(SQLAlchemyError, match="outbox is append-only"):
            change(full_line.store, f"UPDATE outbox SET {column} = {column}")
    with pytest.raises(SQLAlchemyError, match="outbox is append-only"):
        change(full_line.store, "DELETE FROM outbox")
    change(full_line.store, "UPDATE outbox SET sent_at = made_at")
    assert full_line.store.unsent() == []


def test_replacing_a_row_is_changing_it(sqlite_line: Any) -> None:
    sql = "INSERT OR REPLACE INTO part SELECT id, 'sipm', label, '', site_id, NULL, '' FROM part"
    with pytest.raises(SQLAlchemyError, match="part is append-only"):
        change(sqlite_line.store, sql)
    assert sqlite_line.store.part(sqlite_line.board.id).kind == "tileboard"


def test_postgresql_refuses_to_empty_a_table(postgres_line: Any) -> None:
    for table in [*FACTS, "outbox"]:
        with pytest.raises(SQLAlchemyError, match="is append-only"):
            change(postgres_line.store, f"TRUNCATE {table} CASCADE")
    assert isinstance(postgres_line.store.get_part(postgres_line.board.label), Part)
