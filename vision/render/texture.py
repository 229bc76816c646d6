"""Seamless surfaces: what a tray, a base plate, a printed board and reflector foil look like."""

from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel
from vision.render.scene import Pose

PERIOD_PX = 1024
PITCH_MM = 0.06
"""Every texture repeats after 1024 pixels of 0.06 mm."""

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


@lru_cache(maxsize=2)
def tray_texture(seed: int) -> Texture:
    """Dark-grey anodised surface with faint milling marks, in grey values around 48."""
    rng = np.random.default_rng((seed, 1))
    grain = _coloured_noise(rng, length_px=1.1)
    marks = _coloured_noise(rng, length_px=1.0, stretch=40.0)
    stains = _coloured_noise(rng, length_px=60.0)
    return np.asarray(48.0 + 2.0 * grain + 1.8 * marks + 2.0 * stains, dtype=np.float32)


@lru_cache(maxsize=2)
def plate_texture(seed: int) -> Texture:
    """Black base plate, in grey values around 20."""
    rng = np.random.default_rng((seed, 2))
    return np.asarray(
        20.0
        + 1.2 * _coloured_noise(rng, length_px=1.0)
        + 1.0 * _coloured_noise(rng, length_px=40.0),
        dtype=np.float32,
    )


@lru_cache(maxsize=2)
def board_texture(seed: int) -> Texture:
    """Solder mask over traces, with vias, small parts' pads and silk-screen marks."""
    rng = np.random.default_rng((seed, 3))
    scale = 2
    size = PERIOD_PX * scale
    art = np.full((3 * size, 3 * size), 38, dtype=np.uint8)[:size, :size].copy()

    def wrapped(draw_at: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        return [
            draw_at + np.array([dx, dy])
            for dx in (-size, 0, size)
            for dy in (-size, 0, size)
            if (draw_at + np.array([dx, dy])).max() > -200
            and (draw_at + np.array([dx, dy])).min() < size + 200
        ]

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
            for copy in wrapped(path + start):
                cv2.polylines(art, [copy.astype(np.int32)], False, 52, 4, cv2.LINE_AA)
                for end in (copy[0], copy[-1]):
                    cv2.circle(art, end.tolist(), 7, 62, -1, cv2.LINE_AA)
                    cv2.circle(art, end.tolist(), 3, 24, -1, cv2.LINE_AA)
    for _ in range(7):
        at = rng.integers(60, size - 160, 2)
        for k in range(2):
            corner = at + (k * 34, 0)
            cv2.rectangle(art, corner.tolist(), (corner + (18, 24)).tolist(), 118, -1)
        cv2.rectangle(art, (at - 8).tolist(), (at + (60, 32)).tolist(), 132, 3, cv2.LINE_AA)
        name = f"{rng.choice(list('RC'))}{int(rng.integers(1, 400))}"
        where = (at + (0, 62)).tolist()
        cv2.putText(art, name, where, cv2.FONT_HERSHEY_SIMPLEX, 0.7, 132, 2, cv2.LINE_AA)
    soft = cv2.GaussianBlur(art, (0, 0), 1.6, borderType=cv2.BORDER_REFLECT)
    small = cv2.resize(soft, (PERIOD_PX, PERIOD_PX), interpolation=cv2.INTER_AREA)
    grain = 0.8 * _coloured_noise(rng, length_px=1.0) + 1.2 * _coloured_noise(rng, length_px=30.0)
    return np.asarray(small[::-1].astype(np.float64) + grain, dtype=np.float32)


@lru_cache(maxsize=1)
def foil_texture() -> Texture:
    """Relative brightness of stretched reflector foil, around 1."""
    rng = np.random.default_rng((0, 4))
    waves = _coloured_noise(rng, length_px=70.0)
    streaks = _coloured_noise(rng, length_px=5.0, stretch=25.0)
    grain = _coloured_noise(rng, length_px=1.2)
    return np.asarray(1.0 + 0.045 * waves + 0.012 * streaks + 0.004 * grain, dtype=np.float32)


@lru_cache(maxsize=1)
def polish_texture() -> Texture:
    """Relative brightness of a polished edge, around 1, with the waviness of hand polishing."""
    rng = np.random.default_rng((0, 5))
    waves = _coloured_noise(rng, length_px=35.0)
    grain = _coloured_noise(rng, length_px=3.0)
    return np.asarray(
        np.clip(1.0 + 0.12 * waves + 0.05 * grain, 0.5, 1.4),
        dtype=np.float32,
    )


def lay(
    texture: Texture,
    camera: CameraModel,
    pose: Pose,
    rows: slice,
    columns: slice,
    *,
    offset_px: tuple[float, float] = (0.0, 0.0),
) -> NDArray[np.float32]:
    """The texture, fixed to ``pose``, as seen in a window of the picture (distortion left out)."""
    u0, v0 = camera.centre_px
    scale = camera.mm_per_px
    turn = camera.rotation_rad - pose.rotation_rad
    cos, sin = np.cos(turn), np.sin(turn)
    to_pose = np.array([[np.cos(pose.rotation_rad), np.sin(pose.rotation_rad)],
                        [-np.sin(pose.rotation_rad), np.cos(pose.rotation_rad)]])  # fmt: skip
    origin = to_pose @ np.array([-pose.x_mm, -pose.y_mm])
    first_x = (columns.start - u0) * scale
    first_y = (v0 - rows.start) * scale
    matrix = np.array(
        [
            [cos * scale, sin * scale, cos * first_x - sin * first_y + origin[0]],
            [sin * scale, -cos * scale, sin * first_x + cos * first_y + origin[1]],
        ]
    )
    matrix /= PITCH_MM
    matrix[:, 2] = np.mod(matrix[:, 2] + offset_px, PERIOD_PX)
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return np.asarray(
        cv2.warpAffine(
            texture,
            matrix,
            size,
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_WRAP,
        ),
        dtype=np.float32,
    )
