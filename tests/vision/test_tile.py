"""A tile's size, place, dimple and chips are measured, or refused with the reason."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from tests.vision.planted import (
    BOARD,
    CAMERA,
    DIMPLE_MM,
    FORMATS,
    IN_VIEW,
    Planted,
    bare_position,
    measured_sizes,
    plant_bare,
    plant_wrapped,
    trapezoid,
)
from vision.camera import CameraModel
from vision.render import (
    Background,
    BareTileItem,
    CornerChip,
    EdgeChip,
    Light,
    Pose,
    Scene,
    SiPMItem,
    WrappedTileItem,
    corners_tuple,
    render,
    scatter_dust,
)
from vision.tile import TileMeasurement, measure_tile

NOMINAL = trapezoid(31.4, 31.9, 31.2)
CORNERS = corners_tuple(NOMINAL)
TRAY, PLATE = Background("tray"), Background("plate")


def _measure(
    scene: Scene,
    *,
    nominal: NDArray[np.float64] = NOMINAL,
    near_mm: tuple[float, float] = (0.0, 0.0),
    camera: CameraModel = CAMERA,
) -> TileMeasurement:
    picture = render(scene, camera, np.random.default_rng(11))
    return measure_tile(picture, camera, nominal, near_mm=near_mm)


def _refusal(scene: Scene, **where: tuple[float, float]) -> str:
    measured = _measure(scene, **where)  # type: ignore[arg-type]
    assert not measured.found
    assert measured.corners_mm is None
    assert measured.height is None
    return "; ".join(measured.reasons)


@pytest.mark.parametrize("sizes", FORMATS, ids=[f"{width:.0f}mm" for _, width, _ in FORMATS])
@pytest.mark.parametrize("plant", [plant_bare, plant_wrapped], ids=["bare", "wrapped"])
def test_size_centre_and_rotation_of_each_format_are_right(
    plant: type[Planted], sizes: tuple[float, float, float]
) -> None:
    rng = np.random.default_rng(int(sizes[0] * 10))
    for _ in range(2):
        planted = plant(rng, sizes=sizes)  # type: ignore[call-arg]
        measured = planted.measured()
        assert measured.found, measured.reasons
        assert measured.centre_mm is not None
        assert measured.rotation_rad is not None
        values, _ = measured_sizes(measured)
        assert np.abs(values - planted.sizes).max() < 0.020
        assert np.hypot(*(measured.centre_mm - planted.centre)) < 0.010
        assert abs(measured.rotation_rad - planted.pose.rotation_rad) < 1e-3
        assert measured.defects == ()
        if planted.dimple is not None:
            assert measured.dimple_mm is not None, measured.reasons
            assert np.hypot(*(measured.dimple_mm - planted.dimple)) < 0.020


@pytest.mark.parametrize("gap_mm", [0.1, 0.2, 0.3])
def test_neighbours_across_a_narrow_gap_leave_the_centre_and_size_right(gap_mm: float) -> None:
    rng = np.random.default_rng(3)
    planted = plant_wrapped(rng, sizes=FORMATS[2], gaps_mm=[gap_mm] * 4, psf_px=1.0)
    measured = planted.measured()
    assert measured.found, measured.reasons
    assert measured.centre_mm is not None
    values, _ = measured_sizes(measured)
    assert np.hypot(*(measured.centre_mm - planted.centre)) < 0.005
    assert np.abs(values - planted.sizes).max() < 0.020


@pytest.mark.parametrize("deviation_mm", [-0.25, -0.13, 0.13, 0.25, 0.6])
def test_a_planted_deviation_of_size_is_seen_in_the_right_dimension(deviation_mm: float) -> None:
    deviating = np.array([31.4, 31.9, 31.2]) + np.array([0.0, 0.0, deviation_mm])
    tile = BareTileItem(corners_tuple(trapezoid(*deviating)), Pose(0.7, -0.4, 0.03))
    measured = _measure(Scene(TRAY, (tile,)))
    values, sigmas = measured_sizes(measured)
    assert np.abs(values - deviating).max() < 0.015
    assert sigmas.max() < 0.015


def test_a_tile_at_the_rim_of_the_search_range_is_found() -> None:
    tile = BareTileItem(CORNERS, Pose(2.9, -2.9, 0.085))
    measured = _measure(Scene(TRAY, (tile,)))
    assert measured.found, measured.reasons
    assert measured.rotation_rad == pytest.approx(0.085, abs=3e-4)


def test_the_nominal_place_need_not_be_under_the_optical_axis() -> None:
    tile = WrappedTileItem(CORNERS, Pose(14.3, -9.2, 0.004))
    measured = _measure(Scene(PLATE, (BOARD, tile)), near_mm=(14.0, -9.0))
    assert measured.centre_mm == pytest.approx([14.3, -9.2], abs=0.008)


def test_a_distorting_lens_does_not_change_the_size() -> None:
    tile = BareTileItem(CORNERS, Pose(10.0, -8.0, 0.02))
    sizes = []
    for k1 in (-1e-5, 0.0, 1e-5):
        camera = replace(CAMERA, k1=k1)
        values, _ = measured_sizes(
            _measure(Scene(TRAY, (tile,)), camera=camera, near_mm=(10.0, -8.0))
        )
        sizes.append(values)
    assert np.ptp(sizes, axis=0).max() < 0.012


def test_ignoring_the_distortion_would_be_noticed() -> None:
    tile = BareTileItem(CORNERS, Pose(15.0, -10.0))
    picture = render(Scene(TRAY, (tile,)), replace(CAMERA, k1=1.5e-5), np.random.default_rng(1))
    measured = measure_tile(picture, replace(CAMERA, k1=0.0), NOMINAL, near_mm=(15.0, -10.0))
    assert not measured.found or measured_sizes(measured)[0][0] - 31.4 > 0.05


def test_uncertainties_grow_with_the_cameras_scale_uncertainty() -> None:
    picture = render(Scene(TRAY, (BareTileItem(CORNERS),)), CAMERA, np.random.default_rng(1))
    known = measure_tile(picture, replace(CAMERA, mm_per_px_sigma_rel=0.0), NOMINAL)
    vague = measure_tile(picture, replace(CAMERA, mm_per_px_sigma_rel=1e-3), NOMINAL)
    _, small = measured_sizes(known)
    _, large = measured_sizes(vague)
    assert np.sqrt(large**2 - small**2) == pytest.approx([0.0314, 0.0319, 0.0312], rel=0.01)


@pytest.mark.parametrize(
    "chip",
    [
        EdgeChip(0, 0.5, 1.0, 0.25),
        EdgeChip(1, 0.3, 2.5, 0.6),
        EdgeChip(2, 0.7, 1.2, 0.4),
        EdgeChip(3, 0.8, 0.8, 0.3),
    ],
    ids=["inner", "right", "outer", "left"],
)
@pytest.mark.parametrize("kind", [BareTileItem, WrappedTileItem], ids=["bare", "wrapped"])
def test_a_chip_is_found_with_its_place_depth_and_area(
    kind: type[BareTileItem] | type[WrappedTileItem], chip: EdgeChip
) -> None:
    pose = Pose(0.5, -0.8, 0.02)
    measured = _measure(Scene(PLATE, (BOARD, kind(CORNERS, pose, chips=(chip,)))))
    assert measured.found, measured.reasons
    assert len(measured.defects) == 1
    found = measured.defects[0]
    start, stop = NOMINAL[chip.edge], NOMINAL[(chip.edge + 1) % 4]
    place = pose.to_scene([start + chip.along * (stop - start)])[0]
    assert (found.x_mm, found.y_mm) == pytest.approx(place, abs=0.1)
    assert found.depth_mm == pytest.approx(chip.depth_mm, abs=0.05)
    assert found.area_mm2 == pytest.approx(chip.area_mm2, rel=0.2, abs=0.03)
    values, _ = measured_sizes(measured)
    assert np.abs(values - [31.4, 31.9, 31.2]).max() < 0.015


@pytest.mark.parametrize("corner", [0, 1, 2, 3])
def test_a_broken_corner_is_one_chip_and_leaves_the_size_right(corner: int) -> None:
    tile = BareTileItem(CORNERS, chips=(CornerChip(corner, 1.2),))
    measured = _measure(Scene(TRAY, (tile,)))
    assert measured.found, measured.reasons
    assert len(measured.defects) == 1
    found = measured.defects[0]
    assert (found.x_mm, found.y_mm) == pytest.approx(NOMINAL[corner], abs=0.1)
    assert found.area_mm2 == pytest.approx(0.72, rel=0.15)
    values, _ = measured_sizes(measured)
    assert np.abs(values - [31.4, 31.9, 31.2]).max() < 0.015


def test_dust_along_the_edges_is_no_chip() -> None:
    rng = np.random.default_rng(8)
    specks = []
    for x_low, y_low, x_high, y_high in (
        (-15.5, -15.8, 15.5, -15.4),
        (-15.5, 15.4, 15.5, 15.8),
        (15.6, -15, 16.1, 15),
        (-16.1, -15, -15.6, 15),
    ):
        specks += scatter_dust(rng, 15, within_mm=(x_low, y_low, x_high, y_high))
    measured = _measure(Scene(TRAY, (BareTileItem(CORNERS), *specks)))
    assert measured.found, measured.reasons
    assert measured.defects == ()
    values, _ = measured_sizes(measured)
    assert np.abs(values - [31.4, 31.9, 31.2]).max() < 0.015


def test_a_dimple_off_its_place_is_measured_where_it_is() -> None:
    tile = BareTileItem(CORNERS, Pose(1.0, 0.5, 0.05), dimple_mm=(0.62, -0.45))
    picture = render(Scene(TRAY, (tile,)), CAMERA, np.random.default_rng(2))
    measured = measure_tile(picture, CAMERA, NOMINAL, dimple_diameter_mm=DIMPLE_MM)
    assert measured.dimple_mm == pytest.approx([0.62, -0.45], abs=0.02)
    assert measured.dimple_sigma_mm is not None
    assert 0.001 < measured.dimple_sigma_mm < 0.02


@pytest.mark.parametrize(
    ("dimple", "diameter_mm", "reason"),
    [(None, DIMPLE_MM, "ring"), ((0.0, 0.0), 4.5, "dimple")],
    ids=["missing", "of another size"],
)
def test_no_dimple_of_the_right_size_gives_none_and_the_reason(
    dimple: tuple[float, float] | None, diameter_mm: float, reason: str
) -> None:
    tile = BareTileItem(CORNERS, dimple_mm=dimple)
    picture = render(Scene(TRAY, (tile,)), CAMERA, np.random.default_rng(2))
    measured = measure_tile(picture, CAMERA, NOMINAL, dimple_diameter_mm=diameter_mm)
    assert measured.found
    assert measured.dimple_mm is None
    assert measured.dimple_sigma_mm is None
    assert reason in measured.reasons[0]


def test_an_empty_tray_is_refused() -> None:
    dust = scatter_dust(np.random.default_rng(1), 40, within_mm=IN_VIEW)
    assert "no tile" in _refusal(Scene(TRAY, dust))


def test_a_bare_board_is_refused() -> None:
    assert "no tile" in _refusal(Scene(PLATE, (BOARD, SiPMItem(3.0))))


def test_a_free_position_among_placed_tiles_is_refused() -> None:
    scene = bare_position(24.0, 0.2, 3.0)
    measured = _measure(scene, nominal=trapezoid(23.8, 23.8, 23.8))
    assert not measured.found
    assert "no tile" in measured.reasons[0]


@pytest.mark.parametrize(
    ("scene", "reason"),
    [
        (Scene(TRAY, (BareTileItem(CORNERS),), Light(level=0.05)), "dark"),
        (Scene(TRAY, (BareTileItem(CORNERS),), psf_sigma_px=5.0), "blurred"),
        (Scene(TRAY, (BareTileItem(CORNERS),), psf_sigma_px=2.6), "blurred"),
        (Scene(TRAY, (BareTileItem(CORNERS),), Light(level=3.0)), "saturated"),
        (Scene(PLATE, (BOARD, WrappedTileItem(CORNERS)), Light(level=1.7)), "saturated"),
    ],
    ids=["dark", "far out of focus", "a little out of focus", "bright rims", "bright foil"],
)
def test_a_picture_too_bad_to_measure_in_is_refused(scene: Scene, reason: str) -> None:
    assert reason in _refusal(scene)


def test_a_tile_that_the_picture_cuts_is_refused_and_says_roughly_where_it_is() -> None:
    scene = Scene(TRAY, (BareTileItem(CORNERS, Pose(0.0, 17.0)),))
    measured = _measure(scene, near_mm=(0.0, 16.0))
    assert not measured.found
    assert "cut" in measured.reasons[0]
    assert measured.seen_near_mm == pytest.approx([0.0, 17.0], abs=1.0)


@pytest.mark.parametrize(
    "items",
    [
        (BareTileItem(CORNERS), BareTileItem(CORNERS, Pose(3.0, 4.0, 0.1), seed=3)),
        (BareTileItem(CORNERS, Pose(3.0, 4.0, 0.1)), BareTileItem(CORNERS, seed=3)),
        (BareTileItem(CORNERS), BareTileItem(CORNERS, Pose(1.2, 0.7, 0.02), seed=3)),
        (BOARD, WrappedTileItem(CORNERS), WrappedTileItem(CORNERS, Pose(1.2, 4.0, 0.05), seed=3)),
        (BOARD, WrappedTileItem(CORNERS, Pose(2.0, 3.0, 0.05)), WrappedTileItem(CORNERS, seed=3)),
        (BOARD, WrappedTileItem(CORNERS, Pose(31.0, 0.0)), WrappedTileItem(CORNERS, seed=3)),
        (BOARD, WrappedTileItem(CORNERS), WrappedTileItem(CORNERS, Pose(31.0, 0.0), seed=3)),
    ],
    ids=["bare below", "bare above", "bare nearly aligned", "below", "above", "on", "under"],
)
def test_two_tiles_that_overlap_are_refused(items: tuple[BareTileItem, ...]) -> None:
    assert _refusal(Scene(PLATE, items))


def test_a_tile_of_another_format_is_refused_or_shows_its_own_size() -> None:
    assert _refusal(Scene(TRAY, (BareTileItem(corners_tuple(trapezoid(26.0, 26.6, 26.4))),)))
    other = trapezoid(32.1, 32.6, 31.9)
    measured = _measure(Scene(TRAY, (BareTileItem(corners_tuple(other)),)))
    values, _ = measured_sizes(measured)
    assert values == pytest.approx([32.1, 32.6, 31.9], abs=0.015)


def test_an_outline_that_is_not_straight_is_refused() -> None:
    bent = tuple(EdgeChip(2, along, 9.0, 0.35) for along in (0.1, 0.35, 0.6, 0.85))
    reason = _refusal(Scene(TRAY, (BareTileItem(CORNERS, chips=bent),)))
    assert "outer edge" in reason


def test_a_wrong_picture_size_or_outline_is_an_error_of_the_caller() -> None:
    picture = np.zeros((100, 100), dtype=np.uint8)
    with pytest.raises(ValueError, match="camera"):
        measure_tile(picture, CAMERA, NOMINAL)
    full = cv2.resize(picture, (1280, 1024))
    with pytest.raises(ValueError, match="counter-clockwise"):
        measure_tile(np.asarray(full, dtype=np.uint8), CAMERA, NOMINAL[::-1])


@pytest.mark.study
@pytest.mark.parametrize("plant", [plant_bare, plant_wrapped], ids=["bare", "wrapped"])
def test_uncertainties_cover_the_errors_over_many_tiles(plant: type[Planted]) -> None:
    rng = np.random.default_rng(77)
    size_pulls, centre_pulls, size_errors, centre_errors = [], [], [], []
    for _ in range(200):
        planted = plant(rng)  # type: ignore[call-arg]
        measured = planted.measured()
        assert measured.found, measured.reasons
        assert measured.centre_mm is not None
        assert measured.centre_sigma_mm is not None
        values, sigmas = measured_sizes(measured)
        size_errors.append(values - planted.sizes)
        size_pulls.append((values - planted.sizes) / sigmas)
        centre_errors.append(measured.centre_mm - planted.centre)
        centre_pulls.append(centre_errors[-1] / measured.centre_sigma_mm)
    print(
        f"size: median {1e3 * np.median(np.abs(size_errors)):.1f}, "
        f"p95 {1e3 * np.percentile(np.abs(size_errors), 95):.1f} um, "
        f"pull {np.sqrt(np.mean(np.square(size_pulls))):.2f}; "
        f"centre: median {1e3 * np.median(np.hypot(*np.transpose(centre_errors))):.1f}, "
        f"p95 {1e3 * np.percentile(np.hypot(*np.transpose(centre_errors)), 95):.1f} um, "
        f"pull {np.sqrt(np.mean(np.square(centre_pulls))):.2f}"
    )
    assert 0.75 < np.sqrt(np.mean(np.square(size_pulls))) < 1.25
    assert 0.65 < np.sqrt(np.mean(np.square(centre_pulls))) < 1.25
    assert np.abs(size_errors).max() < 0.030
