"""The calibration target in a picture, and the camera that follows from several."""

import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vision.camera import CameraModel
from vision.camera_fit import fit_camera
from vision.dot_grid import DotGrid, find_dot_grid, round_spots, sharpness
from vision.render import Background, FiducialItem, Scene, render

PITCH_MM = 5.0
PLACES = [(0, 0), (16, 0), (-16, 0), (0, 12), (0, -12)]
CAMERA = CameraModel(1280, 1024, 0.0607, rotation_rad=0.012, k1=-2.4e-6)


def picture(
    camera: CameraModel = CAMERA,
    *,
    at_mm: tuple[float, float] = (0.0, 0.0),
    turn_rad: float = 0.01,
    columns: int = 9,
    seed: int = 1,
    blur_px: float = 0.9,
    marker_mm: float = 3.0,
) -> NDArray[np.uint8]:
    """The target seen with its middle at -`at_mm` from the optical axis."""
    c, s = math.cos(turn_rad), math.sin(turn_rad)
    items = []
    for row in range(-(columns // 2), columns // 2 + 1):
        for column in range(-(columns // 2), columns // 2 + 1):
            x, y = PITCH_MM * column, PITCH_MM * row
            items.append(
                FiducialItem(
                    marker_mm if row == column == 0 else 2.0,
                    c * x - s * y - at_mm[0],
                    s * x + c * y - at_mm[1],
                )
            )
    scene = Scene(
        background=Background(kind="plate", seed=seed), items=tuple(items), psf_sigma_px=blur_px
    )
    return render(scene, camera, np.random.default_rng(seed))


@pytest.fixture(scope="module")
def grids() -> list[DotGrid]:
    return [find_dot_grid(picture(at_mm=place, seed=n)) for n, place in enumerate(PLACES)]


def test_every_whole_dot_is_found_with_its_column_and_row(grids: list[DotGrid]) -> None:
    for grid, place in zip(grids, PLACES, strict=True):
        assert grid.found
        c, s = math.cos(0.01), math.sin(0.01)
        mm = grid.index @ np.array([[c, s], [-s, c]]) * PITCH_MM - place
        off = grid.px - CAMERA.to_px(mm)
        # Light that falls off towards the corners moves all dots of a picture alike.
        assert np.abs(off).max() < 0.12
        assert off.std(axis=0).max() < 0.05
    assert len(grids[0].index) == 81


def test_dark_dots_on_a_bright_ground_are_the_same_target() -> None:
    bright = find_dot_grid(picture())
    dark = find_dot_grid(np.uint8(255) - picture())
    assert sorted(map(tuple, dark.index)) == sorted(map(tuple, bright.index))


def test_a_target_that_is_turned_too_far_or_has_no_larger_dot_is_refused() -> None:
    plain = find_dot_grid(picture(marker_mm=2.0))
    assert not plain.found
    assert "larger dot" in plain.reasons[0]


@pytest.mark.parametrize("grey", [0, 12, 120, 255])
def test_a_picture_without_a_target_is_refused_with_a_reason(grey: int) -> None:
    noise = np.random.default_rng(3).normal(grey, 2, (480, 640))
    grid = find_dot_grid(np.clip(noise, 0, 255).astype(np.uint8))
    assert not grid.found
    assert grid.reasons
    assert grid.reasons[0]


def test_the_camera_is_found_within_its_errors(grids: list[DotGrid]) -> None:
    fit = fit_camera(grids, pitch_mm=PITCH_MM, width_px=1280, height_px=1024)
    assert fit.reasons == ()
    scale_sigma = math.hypot(fit.mm_per_px_sigma, 2e-5 * CAMERA.mm_per_px)
    assert abs(fit.camera.mm_per_px - CAMERA.mm_per_px) < 4 * scale_sigma
    assert fit.k1_sigma is not None
    assert abs(fit.camera.k1 - CAMERA.k1) < 4 * fit.k1_sigma
    assert abs(fit.turn_rad - (0.01 - 0.012)) < 4 * fit.turn_sigma_rad
    assert fit.mm_per_px_sigma / CAMERA.mm_per_px < 5e-5
    assert fit.rms_px < 0.05


def test_another_pitch_is_another_scale(grids: list[DotGrid]) -> None:
    half = fit_camera(grids, pitch_mm=PITCH_MM / 2, width_px=1280, height_px=1024)
    assert half.camera.mm_per_px == pytest.approx(CAMERA.mm_per_px / 2, rel=1e-4)


def bent(grid: DotGrid, px_at_corner: float) -> DotGrid:
    """As seen through a lens with a term of fifth order."""
    away = grid.px - [639.5, 511.5]
    radius = np.hypot(*away.T)[:, None] / 819.0
    return replace(grid, px=grid.px + away / 819.0 * px_at_corner * radius**4)


def test_a_lens_that_one_term_can_not_describe_is_refused(grids: list[DotGrid]) -> None:
    fit = fit_camera(
        [bent(grid, 12.0) for grid in grids], pitch_mm=PITCH_MM, width_px=1280, height_px=1024
    )
    assert any("distortion term" in reason for reason in fit.reasons)


def test_a_target_whose_dots_are_not_where_they_should_be_is_refused(grids: list[DotGrid]) -> None:
    rng = np.random.default_rng(5)
    crooked = {tuple(i): rng.normal(0, 0.4, 2) for grid in grids for i in grid.index}
    moved = [
        replace(grid, px=grid.px + np.array([crooked[tuple(i)] for i in grid.index]))
        for grid in grids
    ]
    fit = fit_camera(moved, pitch_mm=PITCH_MM, width_px=1280, height_px=1024)
    assert any("flat" in reason for reason in fit.reasons)
    known = fit_camera(moved, pitch_mm=PITCH_MM, width_px=1280, height_px=1024, dot_sigma_mm=0.024)
    assert known.reasons == ()
    assert (
        known.mm_per_px_sigma
        > 3 * fit_camera(grids, pitch_mm=PITCH_MM, width_px=1280, height_px=1024).mm_per_px_sigma
    )


def test_a_speck_on_one_dot_is_left_out(grids: list[DotGrid]) -> None:
    px = grids[1].px.copy()
    px[3] += [4.0, -3.0]
    fit = fit_camera(
        [grids[0], replace(grids[1], px=px), *grids[2:]],
        pitch_mm=PITCH_MM,
        width_px=1280,
        height_px=1024,
    )
    assert fit.n_left_out >= 1
    assert fit.reasons == ()
    assert abs(fit.camera.mm_per_px / CAMERA.mm_per_px - 1) < 1e-4


def test_two_pictures_are_too_few(grids: list[DotGrid]) -> None:
    with pytest.raises(ValueError, match="3 pictures"):
        fit_camera(grids[:2], pitch_mm=PITCH_MM, width_px=1280, height_px=1024)


def test_round_spots_come_with_their_size() -> None:
    scene = Scene(background=Background(kind="plate"), items=(FiducialItem(3.0, 4.0, -2.0),))
    image = render(scene, CAMERA, np.random.default_rng(2))
    middles, diameters = round_spots(image)
    best = int(np.abs(diameters * CAMERA.mm_per_px - 3.0).argmin())
    assert diameters[best] * CAMERA.mm_per_px == pytest.approx(3.0, abs=0.1)
    assert np.allclose(CAMERA.to_mm(middles[best])[0], (4.0, -2.0), atol=0.03)


def test_sharpness_falls_with_blur_and_does_not_follow_the_magnification() -> None:
    sharp = [sharpness(picture(blur_px=blur)) for blur in (0.9, 1.4, 2.0)]
    assert sharp[0] > 1.2 * sharp[1] > 1.2 * 1.2 * sharp[2]
    nearer = sharpness(picture(replace(CAMERA, mm_per_px=0.97 * CAMERA.mm_per_px)))
    assert nearer == pytest.approx(sharp[0], rel=0.02)
    assert sharpness(np.full((480, 640), 90, dtype=np.uint8)) == 0.0
