"""From light to the bytes of a sensor: shot noise, read noise, saturation."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from vision.camera import CameraModel
from vision.render.paint import render_clean
from vision.render.scene import Scene, Sensor


@lru_cache(maxsize=1)
def _normal_table() -> NDArray[np.float32]:
    """Standard normal deviates at 65536 equally likely quantiles."""
    table = np.asarray(ndtri((np.arange(65536) + 0.5) / 65536), dtype=np.float32)
    table.setflags(write=False)
    return table


def expose(
    clean: NDArray[np.float32], rng: np.random.Generator, *, sensor: Sensor | None = None
) -> NDArray[np.uint8]:
    """One exposure of the noise-free picture ``clean`` in grey values: 8 bits, same shape.

    The variance of a grey value g is read_noise^2 + (g - black) / electrons_per_dn.
    """
    sensor = sensor or Sensor()
    picture = np.take(_normal_table(), rng.integers(0, 65536, clean.shape, dtype=np.uint16))
    spread = np.maximum(clean - np.float32(sensor.black_dn), 0.0)
    spread *= np.float32(1.0 / sensor.electrons_per_dn)
    spread += np.float32(sensor.read_noise_dn**2)
    np.sqrt(spread, out=spread)
    picture *= spread
    picture += clean
    picture += np.float32(0.5)
    np.clip(picture, 0.0, 255.0, out=picture)
    return np.asarray(picture.astype(np.uint8))


def render(scene: Scene, camera: CameraModel, rng: np.random.Generator) -> NDArray[np.uint8]:
    """The picture of ``scene`` that ``camera`` takes: uint8, shape (height, width)."""
    return expose(render_clean(scene, camera), rng, sensor=scene.sensor)
