import re
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, inspect, text

from db import Store, StoreError, open_store
from db.model import Fact
from db.schema import MIGRATIONS, REVISION


def address(kind: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """Where a database may be created."""
    if kind == "sqlite":
        return str(tmp_path / "records.db")
    return str(request.getfixturevalue("postgres_url"))


def test_the_migrations_build_exactly_the_model(store: Store) -> None:
    with store.reading() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, Fact.metadata) == []


def test_the_migrations_build_exactly_the_models_checks(sqlite_store: Store) -> None:
    with sqlite_store.reading() as connection:
        inspector = inspect(connection)
        for table in Fact.metadata.tables.values():
            built = {c["name"]: c["sqltext"] for c in inspector.get_check_constraints(table.name)}
            modelled = {
                str(c.name): str(c.sqltext)
                for c in table.constraints
                if isinstance(c, CheckConstraint)
            }
            assert built == modelled


def test_both_databases_have_the_same_checks_and_triggers(store: Store) -> None:
    with store.reading() as connection:
        inspector = inspect(connection)
        for table in Fact.metadata.tables.values():
            modelled = {c.name for c in table.constraints if isinstance(c, CheckConstraint)}
            assert {c["name"] for c in inspector.get_check_constraints(table.name)} == modelled
        query = (
            "SELECT name FROM sqlite_master WHERE type = 'trigger'"
            if connection.dialect.name == "sqlite"
            else "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal"
        )
        triggers = set(connection.scalars(text(query)))
    for table in Fact.metadata.tables:
        assert {f"{table}_no_update", f"{table}_no_delete"} <= triggers


def test_the_newest_migration_is_the_one_this_program_expects() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [REVISION]


def test_a_station_file_is_durable_by_its_settings(sqlite_store: Store) -> None:
    with sqlite_store._writer.connect() as connection:
        settings = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
        }
    assert settings == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "recursive_triggers": 1,
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_a_database_of_a_newer_version_is_refused_and_left_alone(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    where = address(kind, tmp_path, request)
    with (
        open_store(where, tmp_path / "attachments") as store,
        store._writer.begin() as connection,
    ):
        connection.execute(text("UPDATE alembic_version SET version_num = '0999'"))
    with pytest.raises(StoreError, match=r"has schema 0999.*newer version, update this program"):
        open_store(where, tmp_path / "attachments")


def test_a_database_of_another_program_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "places.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")
    connection.close()
    with pytest.raises(StoreError, match="belongs to another program: it holds bookmarks"):
        open_store(path, tmp_path / "attachments")
    with sqlite3.connect(path) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master")]
    connection.close()
    assert names == ["bookmarks"]


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear colleagues, " * 100)
    with pytest.raises(StoreError, match="not a database") as refusal:
        open_store(path, tmp_path / "attachments")
    assert str(path) in str(refusal.value)
    assert path.read_text() == "Dear colleagues, " * 100


def test_a_truncated_database_is_refused(tmp_path: Path, sqlite_line: Any) -> None:
    sqlite_line.store.close()
    path = tmp_path / "records.db"
    path.write_bytes(path.read_bytes()[:6000])
    with pytest.raises(StoreError, match=re.escape(str(path))):
        open_store(path, tmp_path / "attachments")


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("sqlite://", "give a file"),
        ("sqlite:///:memory:", "give a file"),
        ("mysql://localhost/x", "only SQLite and PostgreSQL"),
        ("nonsense://", "only SQLite and PostgreSQL"),
        ("postgresql://me:secret@127.0.0.1:1/x", "refused"),
    ],
)
def test_an_address_that_cannot_work_is_refused_without_telling_the_password(
    tmp_path: Path, where: str, says: str
) -> None:
    with pytest.raises(StoreError, match=says) as refusal:
        open_store(where, tmp_path)
    assert "secret" not in str(refusal.value)


def test_a_folder_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path, tmp_path / "attachments")


OPEN = """
import sys
from pathlib import Path
from db import Site, open_store

sys.stdin.readline()
with open_store(sys.argv[1], Path(sys.argv[2])) as store:
    store.ensure_site(Site(name="Hamburg"))
"""


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_programs_that_create_one_database_at_the_same_time_do_not_collide(
    kind: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    python_path: dict[str, str],
) -> None:
    where = address(kind, tmp_path, request)
    programs = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, where, str(tmp_path / "attachments")],
            env=python_path,
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    for program in programs:
        assert program.stdin is not None
        program.stdin.write("go\n")
        program.stdin.flush()
    assert [program.communicate(timeout=60)[1] for program in programs] == ["", ""]
    with open_store(where, tmp_path / "attachments") as store:
        assert [row.table_name for row in store.unsent()] == ["site"]


def test_the_migrations_are_found_from_any_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    open_store("records.db", tmp_path / "attachments").close()
    assert (tmp_path / "records.db").is_file()
