"""Seamless surfaces: what a tray, a base plate, a printed board and reflector foil look like."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel
from vision.render.scene import Pose

PERIOD_PX = 1024
"""Every texture repeats after as many of its pixels."""
PITCH_MM = 0.06
"""Size of a texture's pixel."""
_LAID_PX = 2400

Texture = NDArray[np.float32]


def _coloured_noise(
    rng: np.random.Generator, *, length_px: float, stretch: float = 1.0
) -> NDArray[np.float64]:
    """Periodic Gaussian noise of unit variance with the given correlation length."""
    white = np.fft.rfft2(rng.standard_normal((PERIOD_PX, PERIOD_PX)))
    ky = np.fft.fftfreq(PERIOD_PX)[:, None] * length_px * stretch
    kx = np.fft.rfftfreq(PERIOD_PX)[None, :] * length_px
    noise = np.fft.irfft2(white * np.exp(-2.0 * np.pi**2 * (kx**2 + ky**2)), s=(PERIOD_PX,) * 2)
    noise -= noise.mean()
    return np.asarray(noise / noise.std())


def _repeated(period: NDArray[np.float64]) -> Texture:
    """The period beside and below itself, so that a picture can be cut out in one piece."""
    more = _LAID_PX - PERIOD_PX
    laid = np.pad(period.astype(np.float32), ((0, more), (0, more)), mode="wrap")
    laid.setflags(write=False)
    return laid


@lru_cache(maxsize=1)
def tray_texture(seed: int) -> Texture:
    """Dark-grey anodised surface with faint milling marks, in grey values around 48."""
    rng = np.random.default_rng((seed, 1))
    grain = _coloured_noise(rng, length_px=1.1)
    marks = _coloured_noise(rng, length_px=1.0, stretch=40.0)
    stains = _coloured_noise(rng, length_px=60.0)
    return _repeated(48.0 + 2.0 * grain + 1.8 * marks + 2.0 * stains)


@lru_cache(maxsize=1)
def plate_texture(seed: int) -> Texture:
    """Black base plate, in grey values around 20."""
    rng = np.random.default_rng((seed, 2))
    grain, stains = _coloured_noise(rng, length_px=1.0), _coloured_noise(rng, length_px=40.0)
    return _repeated(20.0 + 1.2 * grain + 1.0 * stains)


@lru_cache(maxsize=1)
def board_texture(seed: int) -> Texture:
    """Solder mask over traces, with vias, small parts' pads and silk-screen marks."""
    rng = np.random.default_rng((seed, 3))
    scale = 2
    size = PERIOD_PX * scale
    art = np.full((size, size), 38, dtype=np.uint8)
    neighbours = [np.array([dx, dy]) for dx in (-size, 0, size) for dy in (-size, 0, size)]
    for _ in range(12):
        bundle = int(rng.integers(3, 9))
        pitch = int(rng.integers(10, 16))
        start = rng.integers(0, size, 2)
        first, second = (int(n) for n in rng.integers(200, 800, 2))
        diagonal = int(rng.integers(60, 300))
        upwards = 1 if rng.random() < 0.5 else -1
        swap = rng.random() < 0.5
        for k in range(bundle):
            shift = k * pitch
            path = np.array(
                [
                    [0, shift],
                    [first - upwards * shift // 2, shift],
                    [first - upwards * shift // 2 + diagonal, shift + upwards * diagonal],
                    [first + diagonal + second, shift + upwards * diagonal],
                ]
            )
            if swap:
                path = path[:, ::-1]
            for neighbour in neighbours:
                copy = path + start + neighbour
                cv2.polylines(art, [copy.astype(np.int32)], False, 52, 4, cv2.LINE_AA)
                for end in (copy[0], copy[-1]):
                    cv2.circle(art, end.tolist(), 7, 62, -1, cv2.LINE_AA)
                    cv2.circle(art, end.tolist(), 3, 24, -1, cv2.LINE_AA)
    for _ in range(7):
        x, y = (int(n) for n in rng.integers(60, size - 160, 2))
        for k in range(2):
            left = x + 34 * k
            cv2.rectangle(art, (left, y), (left + 18, y + 24), 118, -1)
        cv2.rectangle(art, (x - 8, y - 8), (x + 60, y + 32), 132, 3, cv2.LINE_AA)
        name = f"{rng.choice(list('RC'))}{int(rng.integers(1, 400))}"
        cv2.putText(art, name, (x, y + 62), cv2.FONT_HERSHEY_SIMPLEX, 0.7, 132, 2, cv2.LINE_AA)
    soft = cv2.GaussianBlur(art, (0, 0), 1.6, borderType=cv2.BORDER_REFLECT)
    small = cv2.resize(soft, (PERIOD_PX, PERIOD_PX), interpolation=cv2.INTER_AREA)
    grain = 0.8 * _coloured_noise(rng, length_px=1.0) + 1.2 * _coloured_noise(rng, length_px=30.0)
    return _repeated(small[::-1] + grain)


@lru_cache(maxsize=1)
def foil_texture() -> Texture:
    """Stretched reflector foil with soft streaks, in grey values around 186."""
    rng = np.random.default_rng((0, 4))
    waves = _coloured_noise(rng, length_px=70.0)
    streaks = _coloured_noise(rng, length_px=5.0, stretch=25.0)
    return _repeated(186.0 * (1.0 + 0.045 * waves + 0.012 * streaks))


@lru_cache(maxsize=1)
def polish_texture() -> Texture:
    """Relative brightness of a polished edge, around 1, with the waviness of hand polishing."""
    rng = np.random.default_rng((0, 5))
    waves = _coloured_noise(rng, length_px=35.0)
    grain = _coloured_noise(rng, length_px=3.0)
    return _repeated(np.clip(1.0 + 0.12 * waves + 0.05 * grain, 0.5, 1.4))


def lay(
    texture: Texture,
    camera: CameraModel,
    pose: Pose,
    rows: slice,
    columns: slice,
    *,
    offset_px: tuple[float, float] = (0.0, 0.0),
    every_px: int = 1,
) -> NDArray[np.float32]:
    """The texture, fixed to ``pose``, as seen in a window of the picture (distortion left out).

    A texture without fine detail may be looked up at ``every_px`` pixels only; what lies
    between is interpolated.
    """
    width, height = columns.stop - columns.start, rows.stop - rows.start
    size = (-(-width // every_px), -(-height // every_px))
    matrix = _to_texture(camera, pose, rows.start, columns.start)
    matrix[:, :2] *= every_px
    matrix[:, 2] += offset_px
    ends = matrix @ np.array([[0, size[0], 0, size[0]], [0, 0, size[1], size[1]], [1, 1, 1, 1]])
    low = ends.min(axis=1)
    matrix[:, 2] += np.mod(low, PERIOD_PX) - low
    fits = bool((np.mod(low, PERIOD_PX) + np.ptp(ends, axis=1)).max() < texture.shape[0] - 1)
    seen = cv2.warpAffine(
        texture if fits else texture[:PERIOD_PX, :PERIOD_PX],
        matrix,
        size,
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE if fits else cv2.BORDER_WRAP,
    )
    if every_px > 1:
        seen = cv2.resize(seen, (size[0] * every_px, size[1] * every_px))[:height, :width]
    return np.asarray(seen, dtype=np.float32)


def _to_texture(
    camera: CameraModel, pose: Pose, first_row: int, first_column: int
) -> NDArray[np.float64]:
    """Affine map (2, 3) from a window's pixels to the texture's."""
    u0, v0 = camera.centre_px
    scale = camera.mm_per_px
    turn = camera.rotation_rad - pose.rotation_rad
    cos, sin = np.cos(turn), np.sin(turn)
    cos_pose, sin_pose = np.cos(pose.rotation_rad), np.sin(pose.rotation_rad)
    first_x, first_y = (first_column - u0) * scale, (v0 - first_row) * scale
    matrix = np.array(
        [
            [
                cos * scale,
                sin * scale,
                cos * first_x - sin * first_y - cos_pose * pose.x_mm - sin_pose * pose.y_mm,
            ],
            [
                sin * scale,
                -cos * scale,
                sin * first_x + cos * first_y + sin_pose * pose.x_mm - cos_pose * pose.y_mm,
            ],
        ]
    )
    return np.asarray(matrix / PITCH_MM)
