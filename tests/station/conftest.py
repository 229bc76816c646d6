"""A line on the twin's simulators, in this process, with its records in a temporary folder."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import db
from db import Store, open_store
from drivers.clock import ScaledClock
from station.instruments import connect_line
from station.line import Line
from station.run_record import Crew
from station.twin.server import Twin, start_twin

SPEED = 200.0


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    """A twin with a small board (18 channels), nothing loaded yet."""
    running = start_twin(tmp_path / "twin", seed=11, shape="G3L", speed=SPEED, tells_truth=True)
    yield running
    running.close()


@pytest.fixture
def line(twin: Twin) -> Iterator[Line]:
    """The line of the twin: every instrument open, homed and safe."""
    with ExitStack() as stack:
        opened = connect_line(twin.profile, ScaledClock(SPEED), stack)
        yield opened


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "station.sqlite", tmp_path / "attachments") as opened:
        yield opened


@pytest.fixture
def crew(store: Store) -> Crew:
    site = store.ensure_site(db.Site(name="Simulated site", code="TWIN"))
    station = store.ensure_station(db.Station(site_id=site.id, name="line 1"))
    operator = store.ensure_operator(db.Operator(site_id=site.id, name="A. Weber"))
    return Crew(site.id, station.id, operator.id, "0.1.0")


@pytest.fixture
def module(store: Store, crew: Crew) -> db.Part:
    return store.ensure_part(
        db.Part(kind="tile_module", label="320TMG3LC000001", subtype="G3LC", site_id=crew.site_id)
    )
