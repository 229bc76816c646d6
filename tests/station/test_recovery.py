"""A restarted station: the bias comes down before anything else, and the story is told."""

from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlmodel import select

import db
from db import open_store
from drivers.clock import ScaledClock
from drivers.errors import InstrumentError
from station.instruments import connect_line
from station.session import DATABASE, SessionError, open_session, sole_owner
from station.twin.server import Twin, to_toml
from tests.station.conftest import SPEED


def leave_bias_on(twin: Twin) -> None:
    """What a station killed in the middle of a test leaves: 40 V, connected, LED flashing."""
    with ExitStack() as stack:
        line = connect_line(twin.profile, ScaledClock(SPEED), stack)
        line.switch_bias_on()
        line.ramp_bias(40.0)
        line.light.pulse_on()
        line.bias.leave()  # type: ignore[attr-defined]
        stack.pop_all()
    assert twin.bias.true_voltage_v() > 39


def line_file(twin: Twin, folder: Path) -> Path:
    return folder / "twin" / "line.toml"


def test_a_bias_left_on_is_found_ramped_down_and_remembered(tmp_path: Path, twin: Twin) -> None:
    leave_bias_on(twin)
    session = open_session(tmp_path / "data", line_file=line_file(twin, tmp_path))
    try:
        assert not twin.bias.output_is_on()
        assert not twin.tester.led_on
        assert twin.tester.bias_connected == (False, False)
        (story,) = session.recovery
        assert "found at 40.0" in story or "found at 39.9" in story
        with session.store.session() as reading:
            events = reading.exec(select(db.Event)).all()
        assert [(e.kind, e.text) for e in events] == [("recovery", story)]
    finally:
        assert session.close() == ()


def test_the_bias_comes_down_even_when_another_instrument_is_gone(
    tmp_path: Path, twin: Twin
) -> None:
    leave_bias_on(twin)
    lost = twin.profile.model_copy(
        update={"gantry": twin.profile.gantry.model_copy(update={"port": "/dev/no-such-port"})}
    )
    file = tmp_path / "lost.toml"
    file.write_text(to_toml(lost))
    with pytest.raises(InstrumentError, match="no-such-port"):
        open_session(tmp_path / "data", line_file=file)
    assert not twin.bias.output_is_on()
    assert abs(twin.bias.true_voltage_v()) < 0.5


def test_the_bias_comes_down_even_when_the_records_cannot_be_opened(
    tmp_path: Path, twin: Twin
) -> None:
    leave_bias_on(twin)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / DATABASE).write_text("this is no database")
    with pytest.raises(db.StoreError):
        open_session(tmp_path / "data", line_file=line_file(twin, tmp_path))
    assert not twin.bias.output_is_on()


def test_runs_left_open_are_closed_as_interrupted_with_what_was_found(
    tmp_path: Path, twin: Twin
) -> None:
    first = open_session(tmp_path / "data", line_file=line_file(twin, tmp_path), operator="A")
    part = first.store.ensure_part(
        db.Part(kind="tile_module", label="320TMG3LC000001", site_id=first.crew.site_id)
    )
    recipe = first.store.ensure_recipe(
        db.Recipe(name="test_board", version="1", sha256="0" * 64, content={})
    )
    run = db.Run(
        procedure="test_board",
        part_id=part.id,
        recipe_id=recipe.id,
        operator_id=first.crew.operator_id,
        station_id=first.crew.station_id,
        started_at=datetime.now(UTC),
        software_version="0",
    )
    first.store.record(run)
    first.close()
    leave_bias_on(twin)
    second = open_session(tmp_path / "data", line_file=line_file(twin, tmp_path), operator="B")
    try:
        assert [story.split()[0:3] for story in second.recovery] == [
            ["the", "bias", "was"],
            ["run", "test_board", "of"],
            ["the", "bias", "was"],
        ]
        assert "though the journal has it off" in second.recovery[2]
        with second.store.session() as reading:
            end = reading.exec(select(db.RunEnd)).one()
        assert (end.run_id, end.ending, end.verdict) == (run.id, "interrupted", "unknown")
        assert "without ending this run" in end.reasons[0]
        assert "ramped down" in end.reasons[1]
    finally:
        second.close()


def test_a_line_has_one_station_at_a_time(tmp_path: Path, twin: Twin) -> None:
    file = line_file(twin, tmp_path)
    with (
        sole_owner(file),
        pytest.raises(SessionError, match="another station works on the line"),
    ):
        open_session(tmp_path / "data", line_file=file)
    session = open_session(tmp_path / "data", line_file=file)
    session.close()
    with open_store(tmp_path / "data" / DATABASE, tmp_path / "data" / "attachments") as store:
        assert store.open_runs(session.crew.station_id) == []
