"""A picture is judged before anything is measured in it."""

import numpy as np
import pytest

from tests.vision.planted import BOARD, CAMERA, trapezoid
from vision.render import (
    Background,
    BareTileItem,
    FiducialItem,
    Light,
    Pose,
    Scene,
    SiPMItem,
    WrappedTileItem,
    corners_tuple,
    render,
)
from vision.usable import picture_usable

CORNERS = corners_tuple(trapezoid(31.4, 31.9, 31.2))
BARE = Scene(Background("tray"), (BareTileItem(CORNERS, Pose(0, 0, 0.05)),))
WRAPPED = Scene(Background("plate"), (BOARD, WrappedTileItem(CORNERS)))
FREE = Scene(Background("plate"), (BOARD, SiPMItem(3.0), FiducialItem(1.5, 12.0, 9.0)))


def _picture(scene: Scene, seed: int = 1) -> np.ndarray:
    return render(scene, CAMERA, np.random.default_rng(seed))


@pytest.mark.parametrize("scene", [BARE, WRAPPED, FREE], ids=["bare", "wrapped", "board"])
@pytest.mark.parametrize("psf_px", [0.8, 1.0, 1.5])
@pytest.mark.parametrize("level", [0.6, 1.2])
def test_a_sharp_and_well_lit_picture_is_usable(scene: Scene, psf_px: float, level: float) -> None:
    usable = picture_usable(
        _picture(Scene(scene.background, scene.items, Light(level), psf_sigma_px=psf_px))
    )
    assert usable.ok, usable.reasons
    assert usable.reasons == ()


def test_an_empty_tray_is_usable_and_its_sharpness_is_not_known() -> None:
    usable = picture_usable(_picture(Scene(Background("tray"))))
    assert usable.ok, usable.reasons
    assert usable.sharpness is None


def test_a_dark_picture_is_named_dark() -> None:
    usable = picture_usable(_picture(Scene(BARE.background, BARE.items, Light(0.04))))
    assert not usable.ok
    assert "dark" in usable.reasons[0]


def test_a_covered_lens_is_named_flat() -> None:
    rng = np.random.default_rng(1)
    usable = picture_usable(rng.normal(90, 2, (1024, 1280)).round().astype(np.uint8))
    assert not usable.ok
    assert "flat" in usable.reasons[0]


def test_an_overexposed_picture_is_named_saturated() -> None:
    usable = picture_usable(_picture(Scene(WRAPPED.background, WRAPPED.items, Light(1.8))))
    assert not usable.ok
    assert "saturated" in usable.reasons[0]
    assert usable.saturation > 0.1


@pytest.mark.parametrize("scene", [BARE, WRAPPED], ids=["bare", "wrapped"])
def test_a_picture_far_out_of_focus_is_named_blurred(scene: Scene) -> None:
    usable = picture_usable(_picture(Scene(scene.background, scene.items, psf_sigma_px=9.0)))
    assert not usable.ok
    assert "blurred" in usable.reasons[0]


def test_sharpness_falls_with_the_blur() -> None:
    values = [
        picture_usable(
            _picture(Scene(WRAPPED.background, WRAPPED.items, psf_sigma_px=psf))
        ).sharpness
        for psf in (0.8, 1.5, 3.0, 6.0)
    ]
    assert all(value is not None for value in values)
    assert values == sorted(values, reverse=True)


def test_the_same_picture_again_is_named_frozen() -> None:
    first, second = _picture(BARE, seed=1), _picture(BARE, seed=2)
    assert picture_usable(second, previous=first).ok
    frozen = picture_usable(first.copy(), previous=first)
    assert not frozen.ok
    assert "frozen" in frozen.reasons[0]


@pytest.mark.parametrize(
    "image",
    [np.zeros((100, 100, 3), np.uint8), np.zeros((100, 100)), np.zeros((10, 10), np.uint8)],
    ids=["colour", "float", "tiny"],
)
def test_anything_but_a_grey_picture_of_bytes_is_an_error_of_the_caller(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match="uint8"):
        picture_usable(image)
