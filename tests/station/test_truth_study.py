"""Studies: what the station measures on the twin against what is true there, in numbers."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from drivers.clock import ScaledClock
from station.catalogue import load_catalogue
from station.events import Finding, Joined, Reading
from station.instruments import connect_line
from station.limits import judge, worst
from station.line import Line
from station.procedures import (
    BoardInPlace,
    BoardUnderTest,
    PlaceTask,
    TileInSlot,
    inspect_tile,
    inspection_limits,
    place_tiles,
)
from station.procedures import test_board as board_test
from station.recipes import load_recipes
from station.twin.server import Twin, start_twin
from tests.station.conftest import SPEED

pytestmark = pytest.mark.study

CATALOGUE = load_catalogue()
RECIPES = load_recipes()
BOARDS = 8


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twin, Line]]:
    folder = tmp_path_factory.mktemp("study")
    twin = start_twin(folder, seed=2026, shape="D8F", speed=SPEED, tells_truth=True)
    with ExitStack() as stack:
        yield twin, connect_line(twin.profile, ScaledClock(SPEED), stack)
    twin.close()


def report(what: str, pulls: np.ndarray) -> None:
    print(f"\n{what}: n {len(pulls)}, mean {pulls.mean():+.3f}, width {pulls.std(ddof=1):.3f}")


def test_gain_pulls_over_500_channels_have_unit_width(bench: tuple[Twin, Line]) -> None:
    twin, line = bench
    pulls, unknown, channels = [], 0, 0
    for _ in range(BOARDS):
        twin.world.load()
        twin.world.put_all_in_place()
        events = list(board_test(line, BoardUnderTest(twin.world.shape), RECIPES.test_board))
        truth = twin.world.truth()
        good = {c["channel"] for c in truth["board"]["channels"] if c["defect"] != "dead"}
        for event in events:
            if isinstance(event, Reading) and event.quantity == "gain" and event.channel in good:
                channels += 1
                if event.value is None or event.sigma is None:
                    unknown += 1
                else:
                    true = truth["led_run"]["gain"][event.channel]
                    pulls.append((event.value - true) / event.sigma)
        twin.world.unload()
    assert channels >= 490
    report("gain pulls", np.array(pulls))
    assert unknown <= 0.01 * channels
    assert 0.9 < np.std(pulls, ddof=1) < 1.1
    assert abs(np.mean(pulls)) < 0.25


def test_tile_sizes_are_within_20_um_and_every_bad_tile_is_caught(
    bench: tuple[Twin, Line],
) -> None:
    twin, line = bench
    errors, pulls, wrong = [], [], []
    for _ in range(BOARDS):
        twin.world.load()
        tray = twin.world.truth()["tray"]
        for position in twin.world.shape.positions:
            tile_format = CATALOGUE.tile_formats[position.format_code]
            true = tray[position.index]
            limits = inspection_limits(tile_format, RECIPES.inspect_tile)
            verdicts = []
            slot = TileInSlot(position.index, tile_format, position.rotation_rad)
            for event in inspect_tile(line, slot, RECIPES.inspect_tile):
                if isinstance(event, Finding):
                    verdicts.append(event.verdict)
                if isinstance(event, Reading):
                    verdicts.append(judge(event, limits.get(event.quantity))[0])
                    if f"{event.quantity}_mm" in true and event.value is not None:
                        error = event.value - true[f"{event.quantity}_mm"]
                        errors.append(error)
                        pulls.append(error / event.sigma)
            refused = worst(verdicts) in ("fail", "unknown")
            if refused != (true["defect"] != "none"):
                wrong.append((true["bare_label"], true["defect"], verdicts))
        twin.world.unload()
    assert len(errors) == 3 * 64 * BOARDS
    report("size pulls", np.array(pulls))
    print(f"largest size error {1e3 * np.abs(errors).max():.1f} um")
    assert wrong == []
    assert np.abs(errors).max() < 0.020
    assert np.std(pulls) < 1.2


def test_placement_offsets_are_within_50_um(bench: tuple[Twin, Line], tmp_path: Path) -> None:
    twin, line = bench
    twin.world.load()
    twin.world.wrap()
    tray = twin.world.truth()["tray"]
    import db

    tasks = [
        PlaceTask(
            p,
            p.index,
            db.new_id(),
            tray[p.index]["wrapped_label"],
            CATALOGUE.tile_formats[p.format_code],
            tuple(tray[p.index]["dimple_mm"]),
            0.0,
        )
        for p in twin.world.shape.positions
    ]
    steps = place_tiles(line, BoardInPlace(twin.world.shape, None), tasks, RECIPES.place_tiles)
    joined = {e.child_id: e for e in steps if isinstance(e, Joined)}
    true = twin.world.truth()["placed"]
    errors, pulls = [], []
    for task in tasks:
        for axis in ("x_mm", "y_mm"):
            error = getattr(joined[task.part_id], axis) - true[task.label][axis]
            errors.append(error)
            pulls.append(error / joined[task.part_id].sigma_mm)
    report("offset pulls", np.array(pulls))
    print(f"largest offset error {1e3 * np.abs(errors).max():.1f} um")
    assert len(errors) == 128
    assert np.abs(errors).max() < 0.050
    twin.world.unload()
