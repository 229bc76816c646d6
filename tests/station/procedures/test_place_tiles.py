"""Placing: nothing is dropped unseen, nothing placed twice, a held tile finds its way back."""

from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

import db
from drivers.clock import ScaledClock
from station.catalogue import Catalogue, load_catalogue
from station.events import Joined, Note, Picture, Reading
from station.instruments import connect_line
from station.line import Line
from station.procedures import BoardInPlace, PlaceTask, place_tiles
from station.procedures.board_pose import fit_pose
from station.procedures.place_tiles import CannotPlaceError
from station.recipes import load_recipes
from station.session import open_session
from station.twin.server import Twin
from tests.station.conftest import SPEED

RECIPE = load_recipes().place_tiles


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return load_catalogue()


@pytest.fixture
def tasks(twin: Twin, catalogue: Catalogue) -> list[PlaceTask]:
    """The tiles of a loaded and wrapped tray, with their true dimples."""
    twin.world.load()
    twin.world.wrap()
    tray = twin.world.truth()["tray"]
    return [
        PlaceTask(
            position,
            position.index,
            db.new_id(),
            tray[position.index]["wrapped_label"],
            catalogue.tile_formats[position.format_code],
            tuple(tray[position.index]["dimple_mm"]),
            0.005,
        )
        for position in twin.world.shape.positions
    ]


def board(twin: Twin) -> BoardInPlace:
    return BoardInPlace(twin.world.shape, None)


def test_a_placed_tile_is_measured_and_joined(
    line: Line, twin: Twin, tasks: list[PlaceTask]
) -> None:
    events = list(place_tiles(line, board(twin), tasks[:1], RECIPE))
    joined = [event for event in events if isinstance(event, Joined)]
    offsets = {e.quantity: e for e in events if isinstance(e, Reading) and e.channel is not None}
    assert [event.child_id for event in joined] == [tasks[0].part_id]
    true = twin.world.truth()["placed"][tasks[0].label]
    assert offsets["sipm_offset_x"].value == pytest.approx(true["x_mm"], abs=0.03)
    assert offsets["sipm_offset_y"].value == pytest.approx(true["y_mm"], abs=0.03)
    assert not line.gripper.vacuum_on()


def test_a_tile_that_lies_in_place_is_measured_and_not_placed_again(
    line: Line, twin: Twin, tasks: list[PlaceTask]
) -> None:
    first = list(place_tiles(line, board(twin), tasks[:1], RECIPE))
    again = list(place_tiles(line, board(twin), tasks[:1], RECIPE))
    assert any(isinstance(e, Note) and "lies in place already" in e.text for e in again)
    offset = next(e for e in again if isinstance(e, Reading) and e.quantity == "sipm_offset_x")
    assert offset.value is None, "the SiPM is covered and nobody says where it was seen"
    assert "before the tile covered it" in offset.reasons[0]
    assert len(twin.world.truth()["placed"]) == 1
    assert sum(isinstance(e, Joined) for e in first + again) == 2


def test_a_tile_that_falls_on_the_way_stops_the_run_and_is_not_joined(
    line: Line, twin: Twin, tasks: list[PlaceTask]
) -> None:
    steps = place_tiles(line, board(twin), tasks[:1], RECIPE)
    lift = line.lift

    def lift_and_drop() -> None:
        if line.gripper.holding():
            lift()
            line.lift = lift  # type: ignore[method-assign]
            original = line.lower_to
            line.lower_to = lambda z: (original(z), twin.world.drop())[0]  # type: ignore[method-assign, func-returns-value]
        else:
            lift()

    line.lift = lift_and_drop  # type: ignore[method-assign]
    events = []
    with pytest.raises(CannotPlaceError, match="was lost between tray"):
        for event in steps:
            events.append(event)
    assert not [event for event in events if isinstance(event, Joined)]


def test_an_empty_slot_is_refused_with_a_picture(
    line: Line, twin: Twin, tasks: list[PlaceTask]
) -> None:
    twin.world.take_away(tasks[0].slot)
    events = []
    with pytest.raises(CannotPlaceError, match=f"is not in slot {tasks[0].slot}"):
        for event in place_tiles(line, board(twin), tasks[:1], RECIPE):
            events.append(event)
    assert any(isinstance(e, Picture) and e.purpose == "tile not found in tray" for e in events)


def test_a_missing_board_is_refused_before_anything_is_picked(
    line: Line, twin: Twin, tasks: list[PlaceTask]
) -> None:
    place = board(twin)
    twin.world.unload()
    with pytest.raises(CannotPlaceError, match="fiducials found"):
        list(place_tiles(line, place, tasks[:1], RECIPE))
    assert not line.gripper.vacuum_on()


def test_a_tile_left_on_the_nozzle_is_put_back_into_its_slot(
    tmp_path: Path, twin: Twin, tasks: list[PlaceTask]
) -> None:
    task = tasks[4]
    session = open_session(
        tmp_path / "data", line_file=tmp_path / "twin" / "line.toml", operator="A"
    )
    session.store.record(
        db.Event(
            station_id=session.crew.station_id,
            at=datetime.now(UTC),
            kind="note",
            text="placing",
            data={"slot": task.slot, "label": task.label, "thickness_mm": task.thickness_mm},
        )
    )
    session.close()
    with ExitStack() as stack:
        line = connect_line(twin.profile, ScaledClock(SPEED), stack)
        line.move_over(*line.tray_slot(task.slot))
        line.lower_to(line.profile.tray.surface_z_mm + task.thickness_mm)
        line.gripper.grip()
        line.lift()
        line.move_over(700.0, 300.0)
        assert line.gripper.holding()
    assert twin.world.truth()["held"] is not None
    session = open_session(tmp_path / "data", line_file=tmp_path / "twin" / "line.toml")
    try:
        assert any("nothing says where it came from" in story for story in session.recovery)
        stories = session.settle(lambda ask: ask.default)
        assert any("put back into slot 4" in story for story in stories)
        truth = twin.world.truth()
        assert truth["held"] is None
        assert truth["tray"][task.slot]["wrapped_label"] == task.label
    finally:
        session.close()


def test_a_board_pose_is_recovered_from_its_fiducials() -> None:
    rng = np.random.default_rng(1)
    points = rng.uniform(-150, 150, (4, 2))
    turn, shift = 0.0123, np.array([1040.3, 399.6])
    c, s = np.cos(turn), np.sin(turn)
    seen = points @ np.array([[c, s], [-s, c]]) + shift
    pose = fit_pose(points, seen, np.full(4, 0.003))
    assert pose.rotation_rad == pytest.approx(turn, abs=1e-12)
    assert pose.to_gantry(*points[2]) == pytest.approx(tuple(seen[2]))
    assert pose.residual_mm < 1e-9
    assert pose.to_board_axes(*(seen[1] - seen[0])) == pytest.approx(tuple(points[1] - points[0]))
    with pytest.raises(ValueError, match="at least two"):
        fit_pose(points[:1], seen[:1], np.full(1, 0.003))


def test_a_tile_is_not_joined_to_a_place_while_the_tray_still_holds_it(
    line: Line, twin: Twin, tasks: list[PlaceTask]
) -> None:
    list(place_tiles(line, board(twin), tasks[:1], RECIPE))
    other = replace(tasks[0], in_tray=True)
    events = []
    with pytest.raises(CannotPlaceError, match="lies there already, and"):
        for event in place_tiles(line, board(twin), [other], RECIPE):
            events.append(event)
    assert not [event for event in events if isinstance(event, Joined)]


def test_nothing_is_picked_while_the_vacuum_is_on(
    line: Line, twin: Twin, tasks: list[PlaceTask]
) -> None:
    line.gripper.grip()
    with pytest.raises(CannotPlaceError, match="vacuum is on"):
        list(place_tiles(line, board(twin), tasks[:1], RECIPE))
    assert 0 in twin.world.truth()["tray"]
