"""Pictures with known truth: one tile on a tray or among neighbours on a board."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel
from vision.render import (
    Background,
    BareTileItem,
    BoardItem,
    Item,
    Light,
    Pose,
    Scene,
    SiPMItem,
    WrappedTileItem,
    corners_tuple,
    render,
    scatter_dust,
)
from vision.render.scene import Chip
from vision.tile import TileMeasurement, measure_tile

CAMERA = CameraModel(1280, 1024, 0.06, k1=2e-6)
FORMATS = (
    (22.4, 22.9, 22.9),
    (26.0, 26.6, 26.4),
    (31.4, 31.9, 31.2),
    (38.2, 39.1, 38.7),
    (44.0, 45.0, 44.6),
    (50.0, 51.0, 50.6),
    (55.2, 56.3, 55.2),
)
DIMPLE_MM = 6.0
BOARD = BoardItem(((-150.0, -90.0), (150.0, -90.0), (150.0, 90.0), (-150.0, 90.0)))
IN_VIEW = (-36.0, -29.0, 36.0, 29.0)


def trapezoid(inner: float, outer: float, height: float) -> NDArray[np.float64]:
    """Corners of a tile, counter-clockwise from inner-left."""
    return np.array(
        [
            (-inner / 2, -height / 2),
            (inner / 2, -height / 2),
            (outer / 2, height / 2),
            (-outer / 2, height / 2),
        ]
    )


@dataclass(frozen=True)
class Planted:
    """A picture, the camera to measure with, and the truth behind it."""

    image: NDArray[np.uint8]
    camera: CameraModel
    nominal: NDArray[np.float64]
    corners: NDArray[np.float64]
    pose: Pose
    dimple: tuple[float, float] | None

    @property
    def sizes(self) -> NDArray[np.float64]:
        """True inner width, outer width, height."""
        c = self.corners
        return np.array([c[1, 0] - c[0, 0], c[2, 0] - c[3, 0], c[2, 1] - c[1, 1]])

    @property
    def centre(self) -> NDArray[np.float64]:
        """True mean of the corners in the scene."""
        return self.pose.to_scene(self.corners).mean(axis=0)

    def measured(self) -> TileMeasurement:
        """The tile as measured."""
        return measure_tile(
            self.image,
            self.camera,
            self.nominal,
            dimple_diameter_mm=None if self.dimple is None else DIMPLE_MM,
        )


def measured_sizes(tile: TileMeasurement) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Measured inner width, outer width, height, and their sigmas."""
    lengths = [tile.inner_width, tile.outer_width, tile.height]
    assert all(length is not None for length in lengths)
    return (
        np.array([length.value_mm for length in lengths if length]),
        np.array([length.sigma_mm for length in lengths if length]),
    )


def streamed(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture after the compression of a camera stream."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
    decoded = cv2.imdecode(data, cv2.IMREAD_GRAYSCALE)
    assert decoded is not None
    return np.asarray(decoded, dtype=np.uint8)


def neighbours(
    mine: WrappedTileItem, gaps_mm: Sequence[float], rng: np.random.Generator
) -> list[WrappedTileItem]:
    """A tile beyond each edge across the given gap; none where the gap is infinite."""
    corners = mine.pose.to_scene(mine.corners_mm)
    tiles = []
    for index, gap in enumerate(gaps_mm):
        if not np.isfinite(gap):
            continue
        start, stop = corners[index], corners[(index + 1) % 4]
        along = (stop - start) / np.linalg.norm(stop - start)
        out = np.array([along[1], -along[0]])
        near = start + gap * out + rng.normal(0.0, 0.1) * along
        far = near + np.linalg.norm(stop - start) * along
        tiles.append(
            WrappedTileItem(
                corners_tuple([near, near + 25.0 * out, far + 25.0 * out, far]),
                seed=mine.seed + index + 1,
                brightness=float(rng.uniform(0.9, 1.1)),
            )
        )
    return tiles


def _camera_pair(rng: np.random.Generator) -> tuple[CameraModel, CameraModel]:
    """The calibrated camera and the true one, whose scale differs within the calibration."""
    camera = CameraModel(
        1280,
        1024,
        0.06,
        k1=float(rng.uniform(-3e-6, 3e-6)),
        rotation_rad=float(rng.normal(0.0, 0.01)),
    )
    scale = 1.0 + rng.normal(0.0, camera.mm_per_px_sigma_rel)
    return camera, replace(camera, mm_per_px=camera.mm_per_px * float(scale))


def _deviating(rng: np.random.Generator, nominal: NDArray[np.float64]) -> NDArray[np.float64]:
    inner, outer, height = (
        size + float(rng.normal(0.0, 0.03) + rng.choice([0.0, 0.0, 0.15, -0.15]))
        for size in (2 * nominal[1, 0], 2 * nominal[2, 0], 2 * nominal[2, 1])
    )
    return trapezoid(inner, outer, height)


def _light(rng: np.random.Generator) -> Light:
    return Light(
        level=float(rng.uniform(0.75, 1.15)),
        gradient=(float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.15, 0.15))),
        vignetting=float(rng.uniform(0.0, 0.1)),
    )


def plant_bare(
    rng: np.random.Generator,
    *,
    sizes: tuple[float, float, float] | None = None,
    psf_px: float | None = None,
    chips: tuple[Chip, ...] = (),
) -> Planted:
    """A bare tile somewhere within the search range on the tray, with dust."""
    nominal = trapezoid(*(FORMATS[rng.integers(len(FORMATS))] if sizes is None else sizes))
    corners = _deviating(rng, nominal)
    camera, true_camera = _camera_pair(rng)
    room = (58.6 - 1.09 * corners[2, 1] * 2) / 2
    turn = 0.087 if room > 0 else 0.01
    shift = min(max(room, 0.7), 3.0)
    pose = Pose(*(float(v) for v in rng.uniform(-shift, shift, 2)), float(rng.uniform(-turn, turn)))
    dimple = (float(rng.uniform(-0.3, 0.3)), float(rng.uniform(-0.3, 0.3)))
    tile = BareTileItem(
        corners_tuple(corners),
        pose,
        dimple_mm=dimple,
        dimple_diameter_mm=DIMPLE_MM,
        chips=chips,
        seed=int(rng.integers(1_000_000)),
    )
    scene = Scene(
        Background("tray", origin_mm=(float(rng.uniform(-30, 30)), float(rng.uniform(-30, 30)))),
        (tile, *scatter_dust(rng, 12, within_mm=IN_VIEW)),
        _light(rng),
        float(rng.uniform(0.8, 1.3)) if psf_px is None else psf_px,
    )
    image = streamed(render(scene, true_camera, rng))
    return Planted(image, camera, nominal, corners, pose, dimple)


def plant_wrapped(
    rng: np.random.Generator,
    *,
    sizes: tuple[float, float, float] | None = None,
    gaps_mm: Sequence[float] | None = None,
    psf_px: float | None = None,
    chips: tuple[Chip, ...] = (),
) -> Planted:
    """A wrapped tile on a board, with neighbours across narrow gaps."""
    nominal = trapezoid(*(FORMATS[rng.integers(len(FORMATS))] if sizes is None else sizes))
    corners = _deviating(rng, nominal)
    camera, true_camera = _camera_pair(rng)
    pose = Pose(*(float(v) for v in rng.uniform(-0.5, 0.5, 2)), float(rng.normal(0.0, 0.003)))
    mine = WrappedTileItem(
        corners_tuple(corners), pose, chips=chips, seed=int(rng.integers(1_000_000))
    )
    if gaps_mm is None:
        gaps_mm = [
            float(rng.uniform(0.1, 0.3)) if rng.random() < 0.75 else np.inf for _ in range(4)
        ]
    items: list[Item] = [BOARD, *neighbours(mine, gaps_mm, rng), mine]
    scene = Scene(
        Background("plate"),
        (*items, *scatter_dust(rng, 12, within_mm=IN_VIEW)),
        _light(rng),
        float(rng.uniform(0.8, 1.3)) if psf_px is None else psf_px,
    )
    image = streamed(render(scene, true_camera, rng))
    return Planted(image, camera, nominal, corners, pose, None)


def bare_position(pitch_mm: float, gap_mm: float, sipm_mm: float) -> Scene:
    """A board with a free position in the middle of eight placed tiles, its SiPM in view."""
    outline = corners_tuple(trapezoid(pitch_mm - gap_mm, pitch_mm - gap_mm, pitch_mm - gap_mm))
    steps = [(i, j) for i in (-1, 0, 1) for j in (-1, 0, 1)]
    tiles = [
        WrappedTileItem(outline, Pose(i * pitch_mm, j * pitch_mm), seed=10 * i + j + 40)
        for i, j in steps
        if (i, j) != (0, 0)
    ]
    sipms = [SiPMItem(sipm_mm, Pose(i * pitch_mm, j * pitch_mm)) for i, j in steps]
    return Scene(Background("plate"), (BOARD, *sipms, *tiles))
