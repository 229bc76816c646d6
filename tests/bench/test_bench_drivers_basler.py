"""Milliseconds per triggered picture of the vendor's emulated camera."""

import importlib.util
from collections.abc import Generator

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from drivers.basler.driver import BaslerCamera
from drivers.basler.simulator import announce_emulated_cameras
from drivers.picture_trouble import accept_any

if importlib.util.find_spec("pypylon") is None:
    pytest.skip("the extra `cameras` is not installed", allow_module_level=True)
SERIALS = announce_emulated_cameras(2)


@pytest.fixture
def open_camera(request: pytest.FixtureRequest) -> Generator[BaslerCamera]:
    width_px, height_px = request.param
    camera = BaslerCamera.open(
        SERIALS[0], width_px=width_px, height_px=height_px, trouble=accept_any
    )
    yield camera
    camera.close()


@pytest.mark.parametrize("open_camera", [(1280, 1024), (4096, 4096)], indirect=True)
def test_grab_from_an_emulated_basler_camera(
    benchmark: BenchmarkFixture, open_camera: BaslerCamera
) -> None:
    frame = benchmark.pedantic(open_camera.grab, kwargs={"deadline_s": 5.0}, rounds=50)
    assert frame.image.ndim == 2
