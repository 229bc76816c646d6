"""SiPMs and fiducials on a board are found to a few micrometres, or refused."""

import numpy as np
import pytest

from tests.vision.planted import BOARD, CAMERA, bare_position, streamed
from vision.points import PointMeasurement, find_fiducial, find_sipm
from vision.render import (
    Background,
    BoardItem,
    FiducialItem,
    Light,
    Pose,
    Scene,
    SiPMItem,
    render,
)

PLATE = Background("plate")


def _error_um(found: PointMeasurement, x_mm: float, y_mm: float) -> float:
    assert found.found, found.reasons
    assert found.x_mm is not None
    assert found.y_mm is not None
    assert found.sigma_mm is not None
    assert 0.0005 < found.sigma_mm < 0.02
    return 1000.0 * float(np.hypot(found.x_mm - x_mm, found.y_mm - y_mm))


@pytest.mark.parametrize("size_mm", [2.0, 3.0])
def test_a_sipm_is_found_within_ten_micrometres(size_mm: float) -> None:
    rng = np.random.default_rng(int(size_mm))
    for _ in range(5):
        x, y = rng.uniform(-25, 25), rng.uniform(-20, 20)
        board = BoardItem(BOARD.outline_mm, Pose(*rng.uniform(-30, 30, 2)))
        pose = Pose(x, y, float(rng.uniform(-0.05, 0.05)))
        scene = Scene(
            PLATE,
            (board, SiPMItem(size_mm, pose)),
            Light(float(rng.uniform(0.7, 1.2))),
            float(rng.uniform(0.8, 1.3)),
        )
        image = streamed(render(scene, CAMERA, rng))
        near = (x + rng.uniform(-1.2, 1.2), y + rng.uniform(-1.2, 1.2))
        found = find_sipm(image, CAMERA, size_mm=size_mm, near_mm=near)
        assert _error_um(found, x, y) < 10
        assert found.size_mm == pytest.approx(size_mm, abs=0.05)
        assert found.rotation_rad == pytest.approx(pose.rotation_rad, abs=0.005)


@pytest.mark.parametrize("diameter_mm", [1.0, 1.5, 2.0])
def test_a_fiducial_is_found_within_five_micrometres(diameter_mm: float) -> None:
    rng = np.random.default_rng(int(10 * diameter_mm))
    for _ in range(4):
        x, y = (float(v) for v in rng.uniform(-20, 20, 2))
        board = BoardItem(BOARD.outline_mm, Pose(*rng.uniform(-30, 30, 2)))
        scene = Scene(PLATE, (board, FiducialItem(diameter_mm, x, y)))
        image = streamed(render(scene, CAMERA, rng))
        near = (x + rng.uniform(-1.2, 1.2), y + rng.uniform(-1.2, 1.2))
        found = find_fiducial(image, CAMERA, diameter_mm=diameter_mm, near_mm=near)
        assert _error_um(found, x, y) < 5


def test_a_sipm_is_found_between_tiles_that_are_already_placed() -> None:
    image = render(bare_position(24.0, 0.2, 3.0), CAMERA, np.random.default_rng(1))
    found = find_sipm(image, CAMERA, size_mm=3.0, near_mm=(0.5, -0.5))
    assert _error_um(found, 0.0, 0.0) < 10


def test_a_board_without_the_part_is_refused() -> None:
    image = render(Scene(PLATE, (BOARD,)), CAMERA, np.random.default_rng(1))
    assert not find_sipm(image, CAMERA, size_mm=3.0, near_mm=(0, 0)).found
    missing = find_fiducial(image, CAMERA, diameter_mm=1.5, near_mm=(0, 0))
    assert not missing.found
    assert missing.x_mm is None
    assert "fiducial" in missing.reasons[0]


def test_a_sipm_of_the_other_size_is_refused() -> None:
    for real, wanted in ((2.0, 3.0), (3.0, 2.0)):
        scene = Scene(PLATE, (BOARD, SiPMItem(real, Pose(0.2, 0.1))))
        image = render(scene, CAMERA, np.random.default_rng(1))
        assert not find_sipm(image, CAMERA, size_mm=wanted, near_mm=(0, 0)).found


def test_a_fiducial_of_another_size_is_refused() -> None:
    scene = Scene(PLATE, (BOARD, FiducialItem(1.0, 0.1, 0.0)))
    image = render(scene, CAMERA, np.random.default_rng(1))
    assert not find_fiducial(image, CAMERA, diameter_mm=1.6, near_mm=(0, 0)).found


def test_two_fiducials_in_the_search_range_are_refused() -> None:
    scene = Scene(PLATE, (BOARD, FiducialItem(1.0, -1.2, 0.0), FiducialItem(1.0, 1.2, 0.0)))
    image = render(scene, CAMERA, np.random.default_rng(1))
    found = find_fiducial(image, CAMERA, diameter_mm=1.0, near_mm=(0, 0), search_mm=2.0)
    assert not found.found
    assert "two" in found.reasons[0]


def test_a_place_at_the_rim_of_the_picture_is_refused() -> None:
    image = render(
        Scene(PLATE, (BOARD, SiPMItem(3.0, Pose(38, 0)))), CAMERA, np.random.default_rng(1)
    )
    found = find_sipm(image, CAMERA, size_mm=3.0, near_mm=(37.5, 0))
    assert not found.found
    assert "out of the picture" in found.reasons[0]


def test_a_dark_picture_is_refused() -> None:
    scene = Scene(PLATE, (BOARD, SiPMItem(3.0)), Light(0.05))
    image = render(scene, CAMERA, np.random.default_rng(1))
    found = find_sipm(image, CAMERA, size_mm=3.0, near_mm=(0, 0))
    assert not found.found
    assert "dark" in found.reasons[0]


@pytest.mark.parametrize("size_mm", [0.0, -1.0, float("nan")])
def test_a_size_that_is_not_positive_is_an_error_of_the_caller(size_mm: float) -> None:
    image = np.zeros((1024, 1280), dtype=np.uint8)
    with pytest.raises(ValueError, match="positive"):
        find_sipm(image, CAMERA, size_mm=size_mm, near_mm=(0, 0))
    with pytest.raises(ValueError, match="positive"):
        find_fiducial(image, CAMERA, diameter_mm=size_mm, near_mm=(0, 0))
