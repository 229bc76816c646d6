from datetime import UTC, datetime

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.picture_trouble import accept_any, picture_trouble
from drivers.roles import Frame

SHAPE = (96, 128)


def frame(image: NDArray[np.uint8], sequence: int = 1) -> Frame:
    return Frame(image=image, at=datetime.now(UTC), sequence=sequence)


def noisy(seed: int, mean: float = 120.0, noise: float = 2.0) -> NDArray[np.uint8]:
    picture = np.random.default_rng(seed).normal(mean, noise, SHAPE)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8)


def test_two_noisy_pictures_of_one_scene_are_fine() -> None:
    assert picture_trouble(None, frame(noisy(1))) is None
    assert picture_trouble(frame(noisy(1)), frame(noisy(2), 2)) is None


def test_a_picture_that_repeats_bit_by_bit_is_frozen() -> None:
    trouble = picture_trouble(frame(noisy(1), 7), frame(noisy(1), 8))
    assert trouble is not None
    assert "picture 8 repeats picture 7" in trouble


def test_one_pixel_is_enough_to_be_another_picture() -> None:
    changed = noisy(1)
    changed[41, 77] ^= 1
    assert picture_trouble(frame(noisy(1)), frame(changed)) is None


def test_another_size_is_another_picture() -> None:
    assert picture_trouble(frame(noisy(1)), frame(noisy(1)[:64])) is None


@pytest.mark.parametrize(("mean", "is_dark"), [(0.5, True), (3.0, True), (12.0, False)])
def test_a_picture_at_the_black_level_is_dark(mean: float, is_dark: bool) -> None:
    trouble = picture_trouble(None, frame(noisy(3, mean, 1.0)))
    assert (trouble is not None) is is_dark


def test_a_dim_picture_of_bright_tiles_is_not_dark() -> None:
    image = noisy(4, 3.0, 1.0)
    image[30:60, 30:80] = 180
    assert picture_trouble(None, frame(image)) is None


def test_colour_pictures_are_judged_as_well() -> None:
    image = np.dstack([noisy(1), noisy(2), noisy(3)])
    assert picture_trouble(None, frame(image)) is None
    assert picture_trouble(frame(image), frame(image.copy())) is not None


def test_every_picture_can_be_accepted() -> None:
    assert accept_any(frame(noisy(1)), frame(noisy(1))) is None
