"""A placed tile is told from the bare board, and what is neither is unknown."""

from dataclasses import replace

import numpy as np
import pytest

from tests.vision.planted import BOARD, CAMERA, bare_position, trapezoid
from vision.presence import tile_present
from vision.render import (
    Background,
    BareTileItem,
    Light,
    Pose,
    Scene,
    WrappedTileItem,
    corners_tuple,
    render,
)

OUTLINE = trapezoid(23.8, 23.8, 23.8)
FREE = bare_position(24.0, 0.2, 3.0)
TILE = WrappedTileItem(corners_tuple(OUTLINE), Pose(0.05, -0.04, 0.002), seed=5)


def _picture(scene: Scene) -> np.ndarray:
    return render(scene, CAMERA, np.random.default_rng(3))


@pytest.mark.parametrize("level", [0.5, 1.0, 1.2])
def test_a_free_position_and_a_placed_tile_are_told_apart(level: float) -> None:
    free = replace(FREE, light=Light(level))
    placed = replace(free, items=(*free.items, TILE))
    assert tile_present(_picture(free), CAMERA, OUTLINE, (0.0, 0.0)).state == "bare board"
    assert tile_present(_picture(placed), CAMERA, OUTLINE, (0.0, 0.0)).state == "tile"


def test_a_bare_board_without_neighbours_is_a_bare_board() -> None:
    lonely = replace(FREE, items=FREE.items[:10])
    assert tile_present(_picture(lonely), CAMERA, OUTLINE).state == "bare board"


def test_a_board_whose_sipm_is_missing_is_unknown() -> None:
    without = replace(FREE, items=(BOARD, *FREE.items[10:]))
    presence = tile_present(_picture(without), CAMERA, OUTLINE)
    assert presence.state == "unknown"
    assert "no SiPM is seen" in presence.reasons


def test_a_tile_far_off_its_place_is_unknown() -> None:
    off = WrappedTileItem(corners_tuple(OUTLINE), Pose(6.0, 9.0, 0.3))
    presence = tile_present(_picture(Scene(Background("plate"), (BOARD, off))), CAMERA, OUTLINE)
    assert presence.state == "unknown"
    assert presence.reasons


def test_a_clear_tile_on_the_board_is_not_taken_for_a_wrapped_one() -> None:
    clear = BareTileItem(corners_tuple(OUTLINE))
    lonely = replace(FREE, items=(*FREE.items[:10], clear))
    assert tile_present(_picture(lonely), CAMERA, OUTLINE).state != "tile"


def test_a_dark_picture_or_a_position_out_of_view_is_unknown() -> None:
    dark = tile_present(_picture(replace(FREE, light=Light(0.04))), CAMERA, OUTLINE)
    assert (dark.state, "dark" in dark.reasons[0]) == ("unknown", True)
    away = tile_present(_picture(FREE), CAMERA, OUTLINE, (40.0, 0.0))
    assert (away.state, "out of the picture" in away.reasons[0]) == ("unknown", True)
