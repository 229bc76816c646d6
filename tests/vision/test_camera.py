"""The camera model maps pixels to the plane and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vision.camera import CameraModel, pixel_grid_mm

cameras = st.builds(
    CameraModel,
    width_px=st.integers(100, 2000),
    height_px=st.integers(100, 2000),
    mm_per_px=st.floats(0.01, 0.07),
    rotation_rad=st.floats(-3.1, 3.1),
    k1=st.floats(-3e-6, 2e-5),
    principal_px=st.none() | st.tuples(st.floats(40, 60), st.floats(40, 60)),
)


@given(cameras, st.floats(0, 1), st.floats(0, 1))
def test_a_pixel_goes_to_the_plane_and_back(camera: CameraModel, right: float, down: float) -> None:
    px = np.array([[right * (camera.width_px - 1), down * (camera.height_px - 1)]])
    assert np.abs(camera.to_px(camera.to_mm(px)) - px).max() < 1e-6


@given(cameras, st.floats(0.1, 20.0), st.floats(0.0, 6.28))
def test_radial_distortion_follows_its_formula(
    camera: CameraModel, radius_mm: float, angle: float
) -> None:
    point = radius_mm * np.array([[np.cos(angle), np.sin(angle)]])
    seen = np.hypot(*(camera.to_px(point)[0] - camera.centre_px)) * camera.mm_per_px
    assert seen == pytest.approx(radius_mm * (1 + camera.k1 * radius_mm**2), rel=1e-9)


def test_y_grows_upwards_and_x_to_the_right() -> None:
    camera = CameraModel(1280, 1024, 0.06)
    right, up = camera.to_px([[1.0, 0.0], [0.0, 1.0]]) - camera.to_px([[0.0, 0.0]])
    assert right == pytest.approx([1 / 0.06, 0.0], abs=1e-9)
    assert up == pytest.approx([0.0, -1 / 0.06], abs=1e-9)


def test_a_camera_turned_counter_clockwise_sees_its_right_along_the_gantrys_y() -> None:
    camera = CameraModel(1280, 1024, 0.06, rotation_rad=np.pi / 2)
    u0, v0 = camera.centre_px
    assert camera.to_mm([[u0 + 100, v0]])[0] == pytest.approx([0.0, 6.0], abs=1e-9)


def test_the_pixel_grid_agrees_with_single_pixels() -> None:
    camera = CameraModel(120, 90, 0.06, rotation_rad=0.1, k1=3e-6)
    x, y = pixel_grid_mm(camera)
    assert camera.to_mm([[17, 60]])[0] == pytest.approx([x[60, 17], y[60, 17]], abs=1e-5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"width_px": 0}, "no pixels"),
        ({"mm_per_px": 0.0}, "positive"),
        ({"mm_per_px": float("nan")}, "positive"),
        ({"k1": float("inf")}, "finite"),
        ({"k1": -2e-4}, "folds"),
        ({"mm_per_px_sigma_rel": -1.0}, ">= 0"),
    ],
)
def test_an_impossible_camera_is_refused(changed: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CameraModel(**{"width_px": 1280, "height_px": 1024, "mm_per_px": 0.06, **changed})  # type: ignore[arg-type]
