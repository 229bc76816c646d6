"""A session under watch: what trips, resets and watchdogs leave in the records."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlmodel import select

import db
from db import Store
from station.metrics import read_metrics
from station.run_record import Crew
from station.safety.watchdog_report import Report, reports, save
from station.session import Session, open_session
from station.twin.server import Twin
from station.watching import record_reports

WITHIN_S = 60.0


def until(condition: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline_s, "did not come true in time"
        time.sleep(0.02)


def events(store: Store, kind: str) -> list[db.Event]:
    with store.session() as session:
        return list(session.exec(select(db.Event).where(db.Event.kind == kind)).all())


REPORT = Report(
    id="00000000000000000000000000000abc",
    reason="the station died",
    station_pid=7,
    detected_at="2026-01-02T03:04:05.678+00:00",
    silent_s=0.1,
    found={"voltage_v": 40.0, "current_a": 1e-6, "output_on": True},
    left={"voltage_v": 0.0, "current_a": 0.0, "output_on": False},
    off_after_s=1.5,
    verified=True,
    attempts=1,
)


def test_what_a_watchdog_did_is_taken_into_the_records_once(
    tmp_path: Path, store: Store, crew: Crew
) -> None:
    save(REPORT, tmp_path)
    (story,) = record_reports(store, crew, tmp_path)
    assert "brought down within 1.5 s" in story
    assert list(reports(tmp_path)) == []
    save(REPORT, tmp_path)
    record_reports(store, crew, tmp_path)
    (event,) = events(store, "recovery")
    assert event.text == story
    assert event.data["watchdog"]["found"]["voltage_v"] == 40.0


@pytest.fixture
def session(tmp_path: Path, twin: Twin) -> Iterator[Session]:
    save(REPORT, tmp_path / "data")
    opened = open_session(
        tmp_path / "data", line_file=tmp_path / "twin" / "line.toml", operator="A. Weber"
    )
    yield opened
    opened.close()


def test_a_session_tells_its_trips_resets_and_metrics(
    session: Session, twin: Twin, tmp_path: Path
) -> None:
    assert any("the watchdog took over" in story for story in session.recovery)
    until(lambda: not read_metrics(tmp_path / "data", ["bias.voltage_v"]).empty)
    twin.world.extra_heat_k = 25.0
    until(lambda: events(session.store, "trip"))
    (trip,) = events(session.store, "trip")
    assert trip.text.startswith("over-temperature")
    history = trip.data["history"]
    temperatures = next(v for k, v in history["values"].items() if k.startswith("readout.temper"))
    assert len(temperatures) == len(history["at"])
    assert temperatures[-1] > 40.0
    twin.world.extra_heat_k = 0.0
    session.reset_trip("A. Weber", "the fan was blocked")
    (reset,) = events(session.store, "reset")
    assert reset.text == "interlock reset by A. Weber: the fan was blocked"
    assert session.close() == ()
    assert list(reports(tmp_path / "data")) == []
    assert events(session.store, "error") == []
