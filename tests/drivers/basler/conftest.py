import importlib.util
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.basler.driver import BaslerCamera
from drivers.basler.simulator import announce_emulated_cameras, replay_features, store_frames

WIDTH, HEIGHT = 320, 240
N_FRAMES = 4

collect_ignore: list[str] = []
if importlib.util.find_spec("pypylon") is None:
    SERIALS: list[str] = []
else:
    # the library looks at its environment only once, when it is loaded
    SERIALS = announce_emulated_cameras(2)


@pytest.fixture(autouse=True)
def _library() -> None:
    pytest.importorskip("pypylon", reason="the extra `cameras` is not installed")


@pytest.fixture
def images() -> list[NDArray[np.uint8]]:
    rng = np.random.default_rng(8)
    return [rng.integers(20, 236, (HEIGHT, WIDTH), np.uint8) for _ in range(N_FRAMES)]


OpenCamera = Callable[..., BaslerCamera]


@pytest.fixture
def open_camera(tmp_path: Path, images: list[NDArray[np.uint8]]) -> Generator[OpenCamera]:
    """Opens emulated cameras that replay ``images``."""
    store_frames(tmp_path, images)
    opened: list[BaslerCamera] = []

    def opener(serial: str = "0815-0000", **changes: Any) -> BaslerCamera:
        settings: dict[str, Any] = {
            "features": replay_features(tmp_path),
            "width_px": WIDTH,
            "height_px": HEIGHT,
            "exposure_us": 1000.0,
        }
        camera = BaslerCamera.open(serial, **(settings | changes))
        opened.append(camera)
        return camera

    yield opener
    for camera in opened:
        camera.close()
