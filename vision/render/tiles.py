"""Tiles, bare and wrapped: outline with chips, rim or folds, shadow, and what lies between."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.special import ndtr

from vision.camera import CameraModel
from vision.render.scene import BareTileItem, Chip, EdgeChip, WrappedTileItem
from vision.render.shapes import (
    Field,
    Points,
    Window,
    blend,
    clipped,
    coverage,
    disc_distance,
    half_plane,
    inward_normals,
    polygon_distance,
    window_around,
)
from vision.render.texture import PERIOD_PX, foil_texture, lay, polish_texture

_SHADOW_REACH_MM = 0.9
_RIM_REACH_MM = 0.7
_SEAM_REACH_MM = 0.35
_TOUCH_MM2 = 0.5


@dataclass(frozen=True)
class TileLayer:
    """A tile on the picture: its window, cut into a core and the pieces that hold its edges.

    ``edges`` are windows with the distance from the outline in mm, positive inside; in the
    ``core`` a pixel sees nothing but the tile's plain surface.
    """

    tile: BareTileItem | WrappedTileItem
    corners: Points
    normals: Points
    window: Window
    core: Window | None
    edges: tuple[tuple[Window, Field], ...]


def _cut(distance: Field, x: Field, y: Field, corners: Points, chip: Chip) -> None:
    if isinstance(chip, EdgeChip):
        start, stop = corners[chip.edge], corners[(chip.edge + 1) % 4]
        inward = inward_normals(corners)[chip.edge]
        centre = start + chip.along * (stop - start) - inward * (chip.radius_mm - chip.depth_mm)
        np.minimum(distance, -disc_distance(x, y, centre, chip.radius_mm), out=distance)
        return
    corner = corners[chip.corner]
    ahead = corners[(chip.corner + 1) % 4] - corner
    behind = corners[(chip.corner - 1) % 4] - corner
    first = corner + chip.leg_mm * behind / np.linalg.norm(behind)
    second = corner + chip.leg_mm * ahead / np.linalg.norm(ahead)
    along = (second - first) / np.linalg.norm(second - first)
    inward = np.array([-along[1], along[0]])
    np.minimum(distance, half_plane(x, y, first, inward), out=distance)


def _chip_reach_mm(chip: Chip) -> float:
    return chip.depth_mm if isinstance(chip, EdgeChip) else chip.leg_mm


def _core(camera: CameraModel, corners: Points, normals: Points, reach_mm: float) -> Window | None:
    """The picture's part where the outline is at least ``reach_mm`` away; None if unclear."""
    px = camera.to_px(corners + reach_mm * (normals + normals[[3, 0, 1, 2]]))
    u, v = np.sort(px[:, 0]), np.sort(px[:, 1])
    low, high = np.array([u[1], v[1]]) + 2.0, np.array([u[2], v[2]]) - 2.0
    if np.any(high - low < 2.0):
        return None
    ends = camera.to_mm(np.array([low, [high[0], low[1]], high, [low[0], high[1]]]))
    from_edges = ((ends[:, None, :] - corners) * normals).sum(axis=2)
    if from_edges.min() < reach_mm:
        return None
    return clipped(camera, np.ceil(low), np.floor(high))


def _around(window: Window, core: Window | None) -> list[Window]:
    """The window without the core, as rectangles that don't overlap."""
    if core is None:
        return [window]
    rows, columns = window.rows, window.columns
    pieces = [
        Window(slice(rows.start, core.rows.start), columns),
        Window(slice(core.rows.stop, rows.stop), columns),
        Window(core.rows, slice(columns.start, core.columns.start)),
        Window(core.rows, slice(core.columns.stop, columns.stop)),
    ]
    return [
        piece
        for piece in pieces
        if piece.rows.stop > piece.rows.start and piece.columns.stop > piece.columns.start
    ]


def tile_layer(
    tile: BareTileItem | WrappedTileItem, camera: CameraModel, sigma_mm: float
) -> TileLayer | None:
    """Where a tile lies on the picture; None when it is out of view."""
    corners = tile.pose.to_scene(tile.corners_mm)
    window = window_around(camera, corners, _SHADOW_REACH_MM)
    if window is None:
        return None
    reach = max([_RIM_REACH_MM, *(_chip_reach_mm(chip) + 0.3 for chip in tile.chips)])
    normals = inward_normals(corners)
    core = _core(camera, corners, normals, reach + 4.5 * sigma_mm)
    edges = []
    for piece in _around(window, core):
        x, y = piece.grid_mm(camera)
        distance = polygon_distance(x, y, corners, normals)
        for chip in tile.chips:
            _cut(distance, x, y, corners, chip)
        edges.append((piece, distance))
    return TileLayer(tile, corners, normals, window, core, tuple(edges))


def hidden_by(layers: Sequence[TileLayer], point_mm: Points, radius_mm: float) -> bool:
    """Whether a wrapped tile hides everything within a radius of a point."""
    for layer in layers:
        if isinstance(layer.tile, BareTileItem):
            continue
        inward = ((point_mm - layer.corners) * layer.normals).sum(axis=1)
        if inward.min() > radius_mm and not layer.tile.chips:
            return True
    return False


def cast_shadow(picture: Field, layer: TileLayer) -> None:
    """Darken what lies beside a tile, more so close to it."""
    depth = np.float32(0.85 if isinstance(layer.tile, WrappedTileItem) else 0.35)
    for piece, distance in layer.edges:
        reach = np.where(distance > 0, np.float32(_RIM_REACH_MM), np.float32(-_SHADOW_REACH_MM))
        shade = np.maximum(1.0 - distance / reach, 0.0)
        piece.of(picture)[:] *= 1.0 - depth * shade * shade * shade


def _offset_px(seed: int) -> tuple[float, float]:
    first, second = np.random.default_rng((seed, 6)).uniform(0.0, PERIOD_PX, 2)
    return float(first), float(second)


def _paint_dimple(grey: Field, layer: TileLayer, camera: CameraModel, tile: BareTileItem) -> None:
    if tile.dimple_mm is None:
        return
    centre = tile.pose.to_scene([tile.dimple_mm])[0]
    radius = tile.dimple_diameter_mm / 2.0
    half_px = (radius + 0.6) / camera.mm_per_px
    middle = camera.to_px(centre)[0]
    window = clipped(camera, np.floor(middle - half_px), np.ceil(middle + half_px))
    if window is None:
        return
    x, y = window.grid_mm(camera)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    r = np.hypot(dx, dy)
    lit = np.random.default_rng((tile.seed, 7)).uniform(0.0, 2.0 * np.pi)
    glance = 1.0 + 0.4 * (dx * np.cos(lit) + dy * np.sin(lit)) / radius
    ring = 52.0 * np.exp(-0.5 * ((r - radius) / 0.085) ** 2) * glance
    dark_ring = -9.0 * np.exp(-0.5 * ((r - radius + 0.35) / 0.2) ** 2)
    bowl = 14.0 * np.maximum(1.0 - (r / (0.55 * radius)) ** 2, 0.0)
    grey[window.within(layer.window)] += (ring + dark_ring + bowl).astype(np.float32)


def _bare_grey(under: Field, layer: TileLayer, tile: BareTileItem, camera: CameraModel) -> Field:
    """What is seen through clear plastic, with light that leaves it at the polished edges."""
    grey = under * np.float32(0.6)
    grey += np.float32(46.0)
    texture, offset = polish_texture(), _offset_px(tile.seed)
    for piece, distance in layer.edges:
        inside = np.maximum(distance, 0.0)
        polish = lay(texture, camera, tile.pose, piece.rows, piece.columns, offset_px=offset)
        rim = np.float32(88.0) * ndtr((np.float32(0.36) - inside) / np.float32(0.07)) * polish
        glow = np.maximum(1.0 - inside / np.float32(_RIM_REACH_MM), 0.0)
        rim += np.float32(10.0) * glow * glow * glow
        grey[piece.within(layer.window)] += rim
    _paint_dimple(grey, layer, camera, tile)
    grey *= np.float32(tile.brightness)
    return grey


def _foil_grey(
    layer: TileLayer, tile: WrappedTileItem, camera: CameraModel, sigma_mm: float
) -> Field:
    """Foil with its streaks, darker where it bends down at the edges, and two fold lines."""
    window = layer.window
    grey = lay(
        foil_texture(),
        camera,
        tile.pose,
        window.rows,
        window.columns,
        offset_px=_offset_px(tile.seed),
        every_px=3,
    )
    if tile.brightness != 1.0:
        grey *= np.float32(tile.brightness)
    for piece, distance in layer.edges:
        inside = np.maximum(distance, 0.0)
        fold = 1.0 - np.float32(0.10) * np.exp(inside / np.float32(-0.1))
        ridge = (inside - np.float32(0.35)) / np.float32(0.08)
        fold += np.float32(0.05) * np.exp(np.float32(-0.5) * ridge * ridge)
        grey[piece.within(window)] *= fold
    _paint_seams(grey, layer, tile, camera)
    if tile.opening_mm is not None:
        centre = tile.pose.to_scene([tile.opening_mm])[0]
        x, y = window.grid_mm(camera)
        hole = disc_distance(x, y, centre, tile.opening_diameter_mm / 2.0)
        blend(grey, coverage(hole, sigma_mm), 62.0)
    return grey


def _paint_seams(grey: Field, layer: TileLayer, tile: WrappedTileItem, camera: CameraModel) -> None:
    rng = np.random.default_rng((tile.seed, 8))
    corners = layer.corners
    for left, right, strength in ((0, 1, -0.16), (1, 0, -0.13)):
        share = float(rng.uniform(0.22, 0.34))
        ends = np.array(
            [
                corners[left] + share * (corners[right] - corners[left]),
                corners[3 - left] + share * (corners[3 - right] - corners[3 - left]),
            ]
        )
        window = window_around(camera, ends, _SEAM_REACH_MM)
        if window is None:
            continue
        along = (ends[1] - ends[0]) / np.linalg.norm(ends[1] - ends[0])
        across = half_plane(*window.grid_mm(camera), ends[0], np.array([-along[1], along[0]]))
        dark, bright = across / np.float32(0.06), (across - np.float32(0.12)) / np.float32(0.06)
        factor = 1.0 + np.float32(strength) * np.exp(np.float32(-0.5) * dark * dark)
        factor -= np.float32(0.4 * strength) * np.exp(np.float32(-0.5) * bright * bright)
        grey[_common(window, layer.window)] *= factor[_common(layer.window, window)]


def _common(window: Window, seen_from: Window) -> tuple[slice, slice]:
    """The part that two windows share, counted from the corner of the second."""
    top = max(window.rows.start, seen_from.rows.start)
    bottom = min(window.rows.stop, seen_from.rows.stop)
    left = max(window.columns.start, seen_from.columns.start)
    right = min(window.columns.stop, seen_from.columns.stop)
    return Window(slice(top, max(top, bottom)), slice(left, max(left, right))).within(seen_from)


def _overlap(first: TileLayer, second: TileLayer) -> bool:
    """Whether two outlines overlap by more than the rounding of a touch."""
    area, _ = cv2.intersectConvexConvex(
        first.corners.astype(np.float32), second.corners.astype(np.float32)
    )
    return bool(area > _TOUCH_MM2)


def paint_tiles(
    picture: Field, layers: Sequence[TileLayer], camera: CameraModel, sigma_mm: float
) -> None:
    """Draw tiles over the picture.

    Tiles beside each other share the light of a pixel, so what each takes away is what lay
    there before any of them; a tile that overlaps an earlier one hides it.
    """
    before = picture.copy()
    for index, layer in enumerate(layers):
        lies_on = any(_overlap(layer, other) for other in layers[:index])
        under = picture.copy() if lies_on else before
        if isinstance(layer.tile, BareTileItem):
            grey = _bare_grey(layer.window.of(under), layer, layer.tile, camera)
        else:
            grey = _foil_grey(layer, layer.tile, camera, sigma_mm)
        if layer.core is not None:
            layer.core.of(picture)[:] = grey[layer.core.within(layer.window)]
        for piece, distance in layer.edges:
            change = grey[piece.within(layer.window)] - piece.of(under)
            change *= coverage(distance, sigma_mm)
            piece.of(picture)[:] += change
