"""Pictures from known geometry show that geometry."""

from dataclasses import replace

import numpy as np
import pytest

from tests.vision.planted import BOARD, CAMERA, trapezoid
from vision.camera import CameraModel
from vision.render import (
    Background,
    BareTileItem,
    EdgeChip,
    Light,
    Pose,
    Scene,
    Sensor,
    SiPMItem,
    WrappedTileItem,
    corners_tuple,
    expose,
    render,
    render_clean,
    viewed_from,
)

EVEN_LIGHT = Light(gradient=(0.0, 0.0), vignetting=0.0)
TILE = WrappedTileItem(corners_tuple(trapezoid(24.0, 24.0, 24.0)))


def _seen_area_mm2(scene: Scene, empty: Scene, camera: CameraModel) -> float:
    """Area that a change of the scene covers, each pixel weighted by how much it changed."""
    change = render_clean(empty, camera) - render_clean(scene, camera)
    return float(change.sum() / change.max() * camera.mm_per_px**2)


def test_a_sipms_dark_area_has_its_true_size_to_a_small_part_of_a_pixel() -> None:
    camera = CameraModel(400, 300, 0.06)
    sharp = Scene(Background("plate"), (BOARD, SiPMItem(3.0, Pose(0.013, 0.021, 0.1))), EVEN_LIGHT)
    picture = render_clean(sharp, camera)
    low, high = 29.0, 171.0
    cut = picture[110:190, 160:240]
    inner = np.clip((high - cut) / (high - low), 0, 1)[10:70, 10:70]
    side = np.sqrt(inner.sum()) * camera.mm_per_px
    assert side == pytest.approx(3.0, abs=0.02)


def test_moving_the_camera_by_whole_pixels_moves_the_picture() -> None:
    camera = CameraModel(400, 300, 0.06)
    scene = Scene(Background("tray"), (replace(TILE, pose=Pose(8.0, 5.0)),), EVEN_LIGHT)
    still = render_clean(scene, camera)
    moved = render_clean(viewed_from(scene, 0.6, -1.2), camera)
    assert np.abs(moved[30:, :-10] - still[10:-20, 10:]).max() > 20
    assert np.abs(moved[:-20, :-10] - still[20:, 10:]).max() < 0.5


def test_tiles_side_by_side_leave_no_seam_when_their_edges_touch() -> None:
    camera = CameraModel(400, 300, 0.06)
    left, right = replace(TILE, pose=Pose(-12.0, 0.0)), replace(TILE, pose=Pose(12.0, 0.0))
    picture = render_clean(Scene(Background("plate"), (left, right), EVEN_LIGHT), camera)
    assert picture[150, 190:210].min() > 140


def test_a_gap_of_a_fifth_of_a_millimetre_takes_away_its_share_of_light() -> None:
    camera = CameraModel(400, 300, 0.06)

    def missing(gap_mm: float) -> float:
        tiles = [replace(TILE, pose=Pose(side * (12.0 + gap_mm / 2), 0.0)) for side in (-1, 1)]
        row = render_clean(Scene(Background("plate"), tuple(tiles), EVEN_LIGHT), camera)[150]
        return float((row[180] - row[180:220]).clip(0).sum() * camera.mm_per_px / row[180])

    assert missing(0.4) - missing(0.2) == pytest.approx(0.2, abs=0.02)


def test_a_later_tile_hides_an_earlier_one() -> None:
    camera = CameraModel(400, 300, 0.06)
    below, above = replace(TILE, brightness=0.5), replace(TILE, pose=Pose(6.0, 0.0))
    both = render_clean(Scene(items=(below, above), light=EVEN_LIGHT), camera)
    alone = render_clean(Scene(items=(above,), light=EVEN_LIGHT), camera)
    assert np.abs(both[:, 220:380] - alone[:, 220:380]).max() < 0.5
    assert both[150, 60] < 0.6 * both[150, 300]


def test_a_chip_takes_away_its_area() -> None:
    camera = CameraModel(500, 500, 0.06)
    whole = Scene(Background("plate"), (TILE,), EVEN_LIGHT)
    chip = EdgeChip(2, 0.5, 2.0, 0.8)
    chipped = replace(whole, items=(replace(TILE, chips=(chip,)),))
    assert _seen_area_mm2(chipped, whole, camera) == pytest.approx(chip.area_mm2, rel=0.1)


def test_a_distorted_lens_bends_a_tiles_edge_as_its_model_says() -> None:
    camera = replace(CAMERA, k1=2e-5)
    scene = Scene(Background("plate"), (replace(TILE, pose=Pose(15.0, 0.0)),), EVEN_LIGHT)
    picture = render_clean(scene, camera)
    for y_mm in (-9.0, 0.0, 9.0):
        u, v = camera.to_px([[27.0, y_mm]])[0]
        row = picture[round(v), round(u) - 8 : round(u) + 9]
        crossing = np.interp(-100.0, -row, np.arange(round(u) - 8, round(u) + 9))
        assert crossing == pytest.approx(u, abs=0.6)


def test_noise_has_the_variance_of_shot_and_read_noise() -> None:
    sensor = Sensor(electrons_per_dn=40.0, read_noise_dn=0.9, black_dn=3.0)
    clean = np.full((400, 400), 123.0, dtype=np.float32)
    noisy = expose(clean, np.random.default_rng(1), sensor=sensor).astype(float)
    assert noisy.mean() == pytest.approx(123.0, abs=0.02)
    assert noisy.var() == pytest.approx(0.81 + 120 / 40 + 1 / 12, rel=0.03)


def test_the_same_seed_gives_the_same_picture_and_another_seed_another_one() -> None:
    scene = Scene(items=(TILE,))
    camera = CameraModel(300, 300, 0.06)
    first, again, other = (render(scene, camera, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert (first != other).mean() > 0.3


def test_a_tile_out_of_view_costs_nothing_and_changes_nothing() -> None:
    camera = CameraModel(300, 300, 0.06)
    far = BareTileItem(TILE.corners_mm, Pose(500.0, 0.0))
    assert np.array_equal(render_clean(Scene(), camera), render_clean(Scene(items=(far,)), camera))


def test_an_outline_that_runs_clockwise_is_refused() -> None:
    with pytest.raises(ValueError, match="counter-clockwise"):
        corners_tuple(trapezoid(20, 21, 20)[::-1])
