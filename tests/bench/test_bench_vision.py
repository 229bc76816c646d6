"""Milliseconds per tile picture, measured and rendered, as `make bench` shows them."""

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from tests.vision.planted import (
    CAMERA,
    DIMPLE_MM,
    bare_position,
    plant_bare,
    plant_wrapped,
    trapezoid,
)
from vision.points import find_sipm
from vision.presence import tile_present
from vision.render import WrappedTileItem, corners_tuple, expose, render, render_clean
from vision.tile import measure_tile
from vision.usable import picture_usable

OUTLINE = trapezoid(23.8, 23.8, 23.8)
FREE = bare_position(24.0, 0.2, 3.0)


def test_measuring_a_bare_tile_with_its_dimple(benchmark: BenchmarkFixture) -> None:
    planted = plant_bare(np.random.default_rng(1), sizes=(38.2, 39.1, 38.7), psf_px=1.0)
    measured = benchmark(
        measure_tile, planted.image, planted.camera, planted.nominal, dimple_diameter_mm=DIMPLE_MM
    )
    assert measured.found


def test_measuring_a_wrapped_tile_among_neighbours(benchmark: BenchmarkFixture) -> None:
    planted = plant_wrapped(np.random.default_rng(1), sizes=(38.2, 39.1, 38.7), psf_px=1.0)
    assert benchmark(measure_tile, planted.image, planted.camera, planted.nominal).found


def test_finding_a_sipm(benchmark: BenchmarkFixture) -> None:
    image = render(FREE, CAMERA, np.random.default_rng(1))
    assert benchmark(find_sipm, image, CAMERA, size_mm=3.0, near_mm=(0.4, 0.3)).found


def test_telling_a_tile_from_the_bare_board(benchmark: BenchmarkFixture) -> None:
    image = render(FREE, CAMERA, np.random.default_rng(1))
    assert benchmark(tile_present, image, CAMERA, OUTLINE).state == "bare board"


def test_judging_a_picture(benchmark: BenchmarkFixture) -> None:
    image = render(FREE, CAMERA, np.random.default_rng(1))
    assert benchmark(picture_usable, image).ok


@pytest.mark.parametrize("placed", [0, 9])
def test_rendering_a_board(benchmark: BenchmarkFixture, placed: int) -> None:
    tile = WrappedTileItem(corners_tuple(OUTLINE))
    items = (*FREE.items, tile) if placed else FREE.items[:10]
    scene = type(FREE)(FREE.background, items)
    assert benchmark(render_clean, scene, CAMERA).shape == (1024, 1280)


def test_exposing_a_rendered_picture(benchmark: BenchmarkFixture) -> None:
    clean = render_clean(FREE, CAMERA)
    rng = np.random.default_rng(1)
    assert benchmark(expose, clean, rng).dtype == np.uint8
