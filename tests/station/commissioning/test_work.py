"""A commissioning as the station does it: recorded runs, a profile that is written."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import select
from typer.testing import CliRunner

import db
from station.cli import app
from station.commissioning import steps
from station.commissioning.result import told
from station.events import Ask, Happened, Message, Reading
from station.profile_file import load_profile
from station.session import Session, open_session
from station.twin.server import Twin, start_twin, to_toml
from tests.station.commissioning.conftest import SPEED, misjudged


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    running = start_twin(tmp_path_factory.mktemp("twin"), seed=9, shape="G3L", speed=SPEED)
    yield running
    running.close()


@pytest.fixture
def line_file(twin: Twin, tmp_path: Path) -> Path:
    path = tmp_path / "line.toml"
    path.write_text(to_toml(misjudged(twin.profile, 9)))
    return path


@pytest.fixture
def heard() -> list[Message]:
    return []


@pytest.fixture
def session(line_file: Path, tmp_path: Path, heard: list[Message]) -> Iterator[Session]:
    opened = open_session(
        tmp_path / "data", line_file=line_file, operator="A. Weber", listener=heard.append
    )
    yield opened
    opened.close()


def default(ask: Ask) -> str:
    return ask.default


def test_a_step_is_a_run_with_its_readings_and_the_profile_learns_of_it(
    session: Session, line_file: Path, heard: list[Message]
) -> None:
    old = load_profile(line_file)
    ended = session.commission("focus", default)
    assert (ended.ending, ended.procedure) == ("done", "commission_focus")
    (change,) = session.commissioning.found()
    assert change.field == ("camera", "working_distance_mm")
    assert change.old == old.camera.working_distance_mm
    assert abs(change.new - 120.0) < 0.2
    assert any(isinstance(m, Happened) and isinstance(m.event, Reading) for m in heard)
    with session.store.session() as records:
        (run,) = records.exec(select(db.Run)).all()
        (reading,) = records.exec(select(db.Reading)).all()
        assert (run.procedure, reading.quantity) == ("commission_focus", "working_distance")
        assert run.calibration["camera"]["working_distance_mm"] == change.old
    kept = session.save_commissioning()
    assert load_profile(kept) == old
    new = load_profile(line_file)
    assert new.camera.working_distance_mm == pytest.approx(change.new, abs=1e-3)
    assert new.camera.mm_per_px == old.camera.mm_per_px
    with session.store.session() as records:
        notes = records.exec(select(db.Event).where(db.Event.kind == "note")).all()
        assert any("written into the site profile by A. Weber" in note.text for note in notes)


def test_a_step_that_is_refused_leaves_what_was_known_before(
    session: Session, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "FOCUS_PLACES", 7)
    assert session.commission("focus", default).ending == "done"
    before = session.commissioning.found()
    ended = session.commission("tool", lambda ask: "Stop")
    assert ended.ending == "refused"
    assert "stopped before" in ended.reasons[0]
    assert session.commissioning.done == ("focus",)
    assert session.commissioning.found() == before
    twin.world.lamp = 0.02
    try:
        assert session.commission("camera", default).ending != "done"
    finally:
        twin.world.lamp = 1.0
    assert session.commissioning.done == ("focus",)
    with pytest.raises(ValueError, match="no step"):
        session.commission("teeth", default)


def test_the_command_commissions_and_shows_old_and_new(line_file: Path, tmp_path: Path) -> None:
    arguments = ["commission", "--line", str(line_file), "--data", str(tmp_path / "data")]
    result = CliRunner().invoke(app, [*arguments, "--step", "focus", "--save", "--json"])
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)
    assert row["field"] == "camera.working_distance_mm"
    assert load_profile(line_file).camera.working_distance_mm == pytest.approx(
        row["value"], abs=1e-3
    )
    assert len(list(tmp_path.glob("line.toml.*.bak"))) == 1
    wrong = CliRunner().invoke(app, [*arguments, "--step", "teeth"])
    assert wrong.exit_code == 2
    assert "focus, camera" in re.sub(r"\s+", " ", wrong.output)


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (0.0600023, 1.7e-6, "0.0600023 ± 0.0000017"),
        (-2.0035e-6, 2.9e-9, "(-2.0035 ± 0.0029)e-6"),
        (84.9993, 0.0010, "84.9993 ± 0.0010"),
        (0.0, 1e-4, "(0.0 ± 1.0)e-4"),
        (120.005, 0.036, "120.005 ± 0.036"),
        (3.0, 0.0, "3"),
    ],
)
def test_a_number_is_told_with_its_error(value: float, sigma: float, text: str) -> None:
    assert told(value, sigma) == text
