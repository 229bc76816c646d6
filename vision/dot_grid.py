"""A calibration target seen by the camera: round dots on a square grid, the middle one larger."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.refusal import Refusal
from vision.sampling import Picture, Points
from vision.usable import picture_usable

FEWEST_DOTS = 12
SMALLEST_PX = 30
"""Pixels of a dot: a smaller one has no shape that can be judged."""
ROUND = (0.75, 1.33)
FILLED = (0.66, 0.88)
"""Part of its box that a disc fills; pi / 4 when it is perfect."""
MARKER_AREA = 1.6
"""The middle dot has at least so many times the area of the others."""
REACH = 0.3
"""How far from its expected place a neighbour may lie, in units of the grid."""
RIM = (0.25, 0.75)
"""Part of the contrast over which a pixel begins to count and counts fully."""


@dataclass(frozen=True)
class DotGrid:
    """Dots of the target in one picture.

    Attributes:
        index: (n, 2) integers, column to the right and row upwards, the larger dot is (0, 0).
        px: (n, 2) their middles (u, v) in the picture.
        reasons: why there are none.
    """

    index: NDArray[np.int_]
    px: Points
    reasons: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        return len(self.index) > 0


def find_dot_grid(image: NDArray[np.uint8]) -> DotGrid:
    """The dots of the target in a picture (h, w), bright on dark or dark on bright.

    Nothing has to be known about the camera but that it is turned by less than 40 degrees. A dot's
    middle is the centroid of its pixels, each counted by where it lies on the rim's slope; with
    noise of 1 % of the contrast and a dot of 30 px its error is below 0.01 px.
    """
    try:
        reasons = picture_usable(image).reasons
        if reasons:
            raise Refusal(*reasons)
        bright = image.astype(np.float32)
        grids = []
        for picture in (bright, np.float32(255.0) - bright):
            try:
                grids.append(_grid(picture))
            except Refusal as refusal:
                reasons = (*reasons, *refusal.reasons)
        if not grids:
            raise Refusal(reasons[0])
        return max(grids, key=lambda grid: len(grid.index))
    except Refusal as refusal:
        return DotGrid(np.empty((0, 2), dtype=int), np.empty((0, 2)), refusal.reasons)


def _grid(picture: Picture) -> DotGrid:
    """As `find_dot_grid` for bright dots. Raises Refusal."""
    middles, areas, boxes = _blobs(picture)
    if len(middles) < FEWEST_DOTS:
        raise Refusal(f"{len(middles)} round dots seen; at least {FEWEST_DOTS} are needed")
    usual = float(np.median(areas))
    alike = (areas > 0.6 * usual) & (areas < 4.0 * usual)
    middles, areas, boxes = middles[alike], areas[alike], boxes[alike]
    larger = np.flatnonzero(areas > MARKER_AREA * usual)
    if len(larger) == 0:
        raise Refusal("the larger dot in the middle of the target is not in the picture")
    index = max((_grown(middles, int(marker)) for marker in larger), key=len)
    if len(index) < FEWEST_DOTS:
        raise Refusal(f"only {len(index)} of the dots lie on one grid")
    chosen = list(index)
    px = np.array([_middle(picture, middles[i], boxes[i]) for i in chosen])
    return DotGrid(np.array([index[i] for i in chosen], dtype=int), px)


def _blobs(picture: Picture) -> tuple[Points, NDArray[np.int_], NDArray[np.int_]]:
    """Middles (n, 2), areas (n,) and box sizes (n, 2) of what is bright, round and whole."""
    grey = picture.astype(np.uint8)
    _, mask = cv2.threshold(grey, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    _, _, statistics, centroids = cv2.connectedComponentsWithStats(mask, connectivity=4)
    left, top, width, height, area = statistics[1:].T
    rows, columns = grey.shape
    ratio = width / np.maximum(height, 1)
    filled = area / np.maximum(width * height, 1)
    keep = (
        (area >= SMALLEST_PX)
        & (left > 1)
        & (top > 1)
        & (left + width < columns - 1)
        & (top + height < rows - 1)
        & (ratio > ROUND[0])
        & (ratio < ROUND[1])
        & (filled > FILLED[0])
        & (filled < FILLED[1])
    )
    return centroids[1:][keep], area[keep], np.column_stack((width, height))[keep]


def round_spots(image: NDArray[np.uint8]) -> tuple[Points, Points]:
    """Middles (n, 2) px and diameters (n,) px of what is bright, round and whole in a picture."""
    middles, areas, _ = _blobs(image.astype(np.float32))
    return middles, np.sqrt(4.0 * areas / np.pi)


def sharpness(image: NDArray[np.uint8]) -> float:
    """How steep the rims of bright things are, in units of their contrast and their size.

    The energy of the gradient of a rim blurred by sigma goes as 1/sigma, its length as the square
    root of the bright area, so that the number does not follow the magnification. 0 for a picture
    without contrast.
    """
    grey = image.astype(np.float32)
    level, mask = cv2.threshold(image, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    bright = mask > 0
    n_bright = int(bright.sum())
    if n_bright in (0, image.size):
        return 0.0
    contrast = float(grey[bright].mean() - grey[~bright].mean())
    steps = (np.diff(grey, axis=0)[:, :-1], np.diff(grey, axis=1)[:-1])
    energy = sum(float((step**2).sum()) for step in steps) - _noise_energy(steps)
    return max(energy, 0.0) / contrast**2 / float(np.sqrt(n_bright)) if level > 0 else 0.0


def _noise_energy(steps: tuple[Picture, Picture]) -> float:
    """Energy that noise alone gives, from the usual size of a step."""
    return sum(float((1.4826 * np.median(np.abs(step))) ** 2) * step.size for step in steps)


def _grown(middles: Points, marker: int) -> dict[int, tuple[int, int]]:
    try:
        return _indexed(middles, marker)
    except Refusal:
        return {}


def _indexed(middles: Points, marker: int) -> dict[int, tuple[int, int]]:
    """Blob -> (column, row), grown from the marker to neighbours of neighbours."""
    right, up = _steps(middles, marker)
    size = float(np.hypot(*right))
    known = {marker: (0, 0)}
    taken = {(0, 0)}
    waiting = [marker]
    while waiting:
        at = waiting.pop(0)
        column, row = known[at]
        for step, move in (((1, 0), right), ((-1, 0), -right), ((0, 1), up), ((0, -1), -up)):
            place = (column + step[0], row + step[1])
            if place in taken:
                continue
            apart = np.hypot(*(middles - (middles[at] + move)).T)
            nearest = int(apart.argmin())
            if nearest not in known and apart[nearest] < REACH * size:
                known[nearest] = place
                taken.add(place)
                waiting.append(nearest)
    return known


def _steps(middles: Points, marker: int) -> tuple[Points, Points]:
    """From a dot to its right and to its upper neighbour, px, seen at the marker."""
    away = np.delete(middles, marker, axis=0) - middles[marker]
    found = []
    for direction in (np.array([1.0, 0.0]), np.array([0.0, -1.0])):
        both = []
        for sign in (1.0, -1.0):
            along = sign * (away @ direction)
            across = np.abs(away @ np.array([-direction[1], direction[0]]))
            beside = np.flatnonzero((along > 0) & (across < 0.84 * along))
            if len(beside):
                nearest = beside[np.hypot(*away[beside].T).argmin()]
                both.append(sign * away[nearest])
        if not both:
            raise Refusal("the larger dot has no neighbours: bring the target into the picture")
        found.append(np.mean(both, axis=0))
    right, up = found
    if not 0.8 < np.hypot(*right) / np.hypot(*up) < 1.25:
        raise Refusal("the dots lie on no square grid")
    return right, up


def _middle(picture: Picture, near: Points, box: NDArray[np.int_]) -> Points:
    """Centroid of a dot whose ground and face are taken from around and from inside it."""
    half = int(np.ceil(0.5 * float(box.max()))) + 4
    column, row = round(float(near[0])), round(float(near[1]))
    rows = slice(max(row - half, 0), min(row + half + 1, picture.shape[0]))
    columns = slice(max(column - half, 0), min(column + half + 1, picture.shape[1]))
    v, u = np.mgrid[rows, columns]
    grey = picture[rows, columns]
    radius = np.hypot(u - near[0], v - near[1])
    size = 0.25 * float(box.sum())
    face = float(np.median(grey[radius < 0.6 * size]))
    ground = float(np.median(grey[radius > size + 2.5]))
    low, high = (ground + part * (face - ground) for part in RIM)
    weight = np.clip((grey - low) / (high - low), 0.0, 1.0)
    weight[radius > size + 3.5] = 0.0
    total = float(weight.sum())
    return np.array([float((weight * u).sum()) / total, float((weight * v).sum()) / total])
