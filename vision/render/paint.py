"""Draws a scene with sub-pixel edges: each outline is a signed distance blurred by the lens."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from vision.camera import CameraModel, pixel_grid_mm
from vision.render.scene import (
    BareTileItem,
    BoardItem,
    Chip,
    DustItem,
    EdgeChip,
    FiducialItem,
    Light,
    Pose,
    Scene,
    SiPMItem,
    WrappedTileItem,
)
from vision.render.texture import (
    board_texture,
    foil_texture,
    lay,
    plate_texture,
    polish_texture,
    tray_texture,
)

Field = NDArray[np.float32]

_SHADOW_REACH_MM = 1.2
_SHADOW_DECAY_MM = 0.35
_RIM_REACH_MM = 0.9
_FOIL_GREY = 186.0
_SIPM_PACKAGE_MARGIN_MM = 0.45


@dataclass(frozen=True)
class _Window:
    rows: slice
    columns: slice

    def of(self, picture: Field) -> Field:
        return picture[self.rows, self.columns]


def _window(
    camera: CameraModel, points_mm: NDArray[np.float64], margin_mm: float
) -> _Window | None:
    low, high = points_mm.min(axis=0) - margin_mm, points_mm.max(axis=0) + margin_mm
    reach = np.hypot(camera.width_px, camera.height_px) * camera.mm_per_px
    if np.any(low > reach) or np.any(high < -reach):
        return None
    side = np.linspace(0.0, 1.0, 5)
    ring = np.concatenate(
        [
            np.column_stack((side, np.zeros(5))),
            np.column_stack((side, np.ones(5))),
            np.column_stack((np.zeros(5), side)),
            np.column_stack((np.ones(5), side)),
        ]
    )
    px = camera.to_px(low + ring * (high - low))
    u_low, v_low = np.floor(px.min(axis=0)).astype(int)
    u_high, v_high = np.ceil(px.max(axis=0)).astype(int) + 1
    rows = slice(max(int(v_low), 0), min(int(v_high), camera.height_px))
    columns = slice(max(int(u_low), 0), min(int(u_high), camera.width_px))
    if rows.stop - rows.start < 2 or columns.stop - columns.start < 2:
        return None
    return _Window(rows, columns)


def _half_plane(
    x: Field, y: Field, point: NDArray[np.float64], inward: NDArray[np.float64]
) -> Field:
    return np.asarray(
        cv2.addWeighted(x, float(inward[0]), y, float(inward[1]), -float(inward @ point)),
        dtype=np.float32,
    )


def _inward_normals(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    along = np.roll(corners, -1, axis=0) - corners
    along /= np.linalg.norm(along, axis=1)[:, None]
    return np.column_stack((-along[:, 1], along[:, 0]))


def _polygon_distance(x: Field, y: Field, corners: NDArray[np.float64]) -> Field:
    """Distance from the outline in mm, positive inside a convex polygon."""
    normals = _inward_normals(corners)
    distance = _half_plane(x, y, corners[0], normals[0])
    for corner, normal in zip(corners[1:], normals[1:], strict=True):
        np.minimum(distance, _half_plane(x, y, corner, normal), out=distance)
    return distance


def _cut_chip(
    distance: Field, x: Field, y: Field, corners: NDArray[np.float64], chip: Chip
) -> None:
    if isinstance(chip, EdgeChip):
        start, stop = corners[chip.edge], corners[(chip.edge + 1) % 4]
        inward = _inward_normals(corners)[chip.edge]
        middle = start + chip.along * (stop - start)
        centre = middle - inward * (chip.radius_mm - chip.depth_mm)
        to_bite = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
        np.minimum(distance, to_bite - np.float32(chip.radius_mm), out=distance)
        return
    corner = corners[chip.corner]
    ahead = corners[(chip.corner + 1) % 4] - corner
    behind = corners[(chip.corner - 1) % 4] - corner
    first = corner + chip.leg_mm * behind / np.linalg.norm(behind)
    second = corner + chip.leg_mm * ahead / np.linalg.norm(ahead)
    along = (second - first) / np.linalg.norm(second - first)
    np.minimum(distance, _half_plane(x, y, first, np.array([-along[1], along[0]])), out=distance)


def _coverage(distance: Field, sigma_mm: float) -> Field:
    """Share of light that a blurred pixel takes from inside an outline."""
    cover = (distance > 0).astype(np.float32)
    near = np.flatnonzero(np.abs(distance) < 4.5 * sigma_mm)
    cover.ravel()[near] = ndtr(distance.ravel()[near] / np.float32(sigma_mm))
    return cover


def _blend(picture: Field, cover: Field, grey: Field | float) -> None:
    picture += cover * (grey - picture)


@lru_cache(maxsize=4)
def _light_field(camera: CameraModel, light: Light) -> Field:
    x, y = pixel_grid_mm(camera)
    level = 1.0 + (light.gradient[0] * x + light.gradient[1] * y) / 100.0
    level -= light.vignetting * (x * x + y * y) / 2500.0
    return np.asarray(light.level * np.maximum(level, 0.0), dtype=np.float32)


def _surface(scene: Scene, camera: CameraModel) -> Field:
    background = scene.background
    everything = _Window(slice(0, camera.height_px), slice(0, camera.width_px))
    texture = tray_texture if background.kind == "tray" else plate_texture
    return lay(
        texture(background.seed),
        camera,
        Pose(*background.origin_mm),
        everything.rows,
        everything.columns,
    )


def _paint_board(picture: Field, camera: CameraModel, board: BoardItem) -> None:
    outline = board.pose.to_scene(board.outline_mm)
    window = _window(camera, outline, 0.0)
    if window is None:
        return
    grey = lay(board_texture(board.seed), camera, board.pose, window.rows, window.columns)
    mask = np.zeros(grey.shape, dtype=np.uint8)
    corner = np.array([window.columns.start, window.rows.start])
    dense = np.concatenate(
        [
            np.linspace(first, second, 20, endpoint=False)
            for first, second in zip(outline, np.roll(outline, -1, axis=0), strict=True)
        ]
    )
    px = np.clip(camera.to_px(dense) - corner, -30000, 30000)
    cv2.fillPoly(mask, [np.round(px * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    if mask.min() == 255:
        window.of(picture)[:] = grey
        return
    _blend(window.of(picture), mask.astype(np.float32) / np.float32(255.0), grey)


def _square(half_mm: float) -> NDArray[np.float64]:
    return half_mm * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def _paint_sipm(picture: Field, camera: CameraModel, sipm: SiPMItem, sigma_mm: float) -> None:
    half = sipm.size_mm / 2.0
    package = sipm.pose.to_scene(_square(half + _SIPM_PACKAGE_MARGIN_MM))
    window = _window(camera, package, 0.8)
    if window is None:
        return
    grid = pixel_grid_mm(camera)
    x, y = window.of(grid[0]), window.of(grid[1])
    part = window.of(picture)
    outside = _polygon_distance(x, y, package)
    part *= 1.0 - 0.55 * np.exp(np.minimum(outside, 0.0) / 0.18)
    _blend(part, _coverage(outside, sigma_mm), 168.0)
    active = _polygon_distance(x, y, sipm.pose.to_scene(_square(half)))
    sheen = 26.0 + 1.6 * (y - np.float32(sipm.pose.y_mm))
    _blend(part, _coverage(active, sigma_mm), sheen.astype(np.float32))
    mark = sipm.pose.to_scene([[-half - 0.22, -half - 0.22]])[0]
    dot = np.float32(0.12) - np.hypot(x - np.float32(mark[0]), y - np.float32(mark[1]))
    _blend(part, _coverage(dot, sigma_mm), 90.0)


def _paint_fiducial(
    picture: Field, camera: CameraModel, fiducial: FiducialItem, sigma_mm: float
) -> None:
    centre = np.array([fiducial.x_mm, fiducial.y_mm])
    radius = fiducial.diameter_mm / 2.0
    window = _window(camera, centre[None, :], 2.0 * radius + 0.3)
    if window is None:
        return
    grid = pixel_grid_mm(camera)
    x, y = window.of(grid[0]), window.of(grid[1])
    r = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
    part = window.of(picture)
    _blend(part, _coverage(np.float32(2.0 * radius) - r, sigma_mm), 34.0)
    copper = 205.0 + 6.0 * (x - np.float32(centre[0])) / np.float32(radius)
    _blend(part, _coverage(np.float32(radius) - r, sigma_mm), copper.astype(np.float32))


def _paint_dust(picture: Field, camera: CameraModel, dust: DustItem, sigma_mm: float) -> None:
    centre = np.array([dust.x_mm, dust.y_mm])
    window = _window(camera, centre[None, :], dust.length_mm / 2.0 + 0.3)
    if window is None:
        return
    grid = pixel_grid_mm(camera)
    x = window.of(grid[0]) - np.float32(centre[0])
    y = window.of(grid[1]) - np.float32(centre[1])
    cos, sin = np.float32(np.cos(dust.rotation_rad)), np.float32(np.sin(dust.rotation_rad))
    along, across = x * cos + y * sin, y * cos - x * sin
    half = dust.length_mm / 2.0
    outside = np.maximum(np.abs(along) - np.float32(max(half - dust.width_mm / 2.0, 0.0)), 0.0)
    distance = np.float32(dust.width_mm / 2.0) - np.hypot(outside, across)
    _blend(window.of(picture), 0.85 * _coverage(distance, sigma_mm), dust.grey)


def _offset_px(seed: int) -> tuple[float, float]:
    first, second = np.random.default_rng((seed, 6)).uniform(0.0, 1024.0, 2)
    return float(first), float(second)


def _paint_dimple(
    grey: Field, x: Field, y: Field, centre: NDArray[np.float64], radius: float, seed: int
) -> None:
    near = (
        (np.abs(x - np.float32(centre[0])) < radius + 0.6)
        & (np.abs(y - np.float32(centre[1])) < radius + 0.6)
    )  # fmt: skip
    rows, columns = np.flatnonzero(near.any(axis=1)), np.flatnonzero(near.any(axis=0))
    if rows.size == 0 or columns.size == 0:
        return
    part = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    dx, dy = x[part] - np.float32(centre[0]), y[part] - np.float32(centre[1])
    r = np.hypot(dx, dy)
    lit = np.random.default_rng((seed, 7)).uniform(0.0, 2.0 * np.pi)
    glance = 1.0 + 0.4 * (dx * np.cos(lit) + dy * np.sin(lit)) / radius
    ring = 52.0 * np.exp(-0.5 * ((r - radius) / 0.085) ** 2) * glance
    inner_ring = -9.0 * np.exp(-0.5 * ((r - radius + 0.35) / 0.2) ** 2)
    bowl = 14.0 * np.maximum(1.0 - (r / (0.55 * radius)) ** 2, 0.0)
    grey[part] += (ring + inner_ring + bowl).astype(np.float32)


def _bare_grey(
    under: Field,
    tile: BareTileItem,
    camera: CameraModel,
    window: _Window,
    x: Field,
    y: Field,
    distance: Field,
) -> Field:
    grey = under * np.float32(0.6) + np.float32(46.0)
    near = np.flatnonzero(distance < _RIM_REACH_MM)
    inside = np.maximum(distance.ravel()[near], 0.0)
    polish = lay(
        polish_texture(),
        camera,
        tile.pose,
        window.rows,
        window.columns,
        offset_px=_offset_px(tile.seed),
    ).ravel()[near]
    rim = 88.0 * ndtr((0.36 - inside) / np.float32(0.07)) * polish
    rim += 10.0 * np.exp(-inside / np.float32(0.3))
    grey.ravel()[near] += rim.astype(np.float32)
    if tile.dimple_mm is not None:
        centre = tile.pose.to_scene([tile.dimple_mm])[0]
        _paint_dimple(grey, x, y, centre, tile.dimple_diameter_mm / 2.0, tile.seed)
    grey *= np.float32(tile.brightness)
    return grey


def _foil_grey(
    tile: WrappedTileItem,
    camera: CameraModel,
    window: _Window,
    x: Field,
    y: Field,
    distance: Field,
    corners: NDArray[np.float64],
    sigma_mm: float,
) -> Field:
    grey = lay(
        foil_texture(),
        camera,
        tile.pose,
        window.rows,
        window.columns,
        offset_px=_offset_px(tile.seed),
    )
    grey *= np.float32(_FOIL_GREY * tile.brightness)
    near = np.flatnonzero(distance < _RIM_REACH_MM)
    inside = np.maximum(distance.ravel()[near], 0.0)
    fold = 1.0 - 0.10 * np.exp(-inside / np.float32(0.1))
    fold += 0.05 * np.exp(-0.5 * ((inside - 0.45) / 0.08) ** 2)
    grey.ravel()[near] *= fold.astype(np.float32)
    rng = np.random.default_rng((tile.seed, 8))
    for edge, share, strength in ((1, rng.uniform(0.22, 0.34), -0.16), (3, rng.uniform(0.22, 0.34), -0.13)):  # fmt: skip
        span = np.linalg.norm(corners[2] + corners[1] - corners[3] - corners[0]) / 2.0
        normal = _inward_normals(corners)[edge]
        seam = _half_plane(x, y, corners[edge] + normal * share * span, normal)
        line = np.flatnonzero(np.abs(seam) < 0.35)
        across = seam.ravel()[line]
        factor = 1.0 + strength * np.exp(-0.5 * (across / 0.06) ** 2)
        factor -= 0.4 * strength * np.exp(-0.5 * ((across - 0.12) / 0.06) ** 2)
        grey.ravel()[line] *= factor.astype(np.float32)
    if tile.opening_mm is not None:
        centre = tile.pose.to_scene([tile.opening_mm])[0]
        r = np.hypot(x - np.float32(centre[0]), y - np.float32(centre[1]))
        hole = _coverage(np.float32(tile.opening_diameter_mm / 2.0) - r, sigma_mm)
        _blend(grey, hole, 62.0)
    return grey


@dataclass(frozen=True)
class _Layer:
    tile: BareTileItem | WrappedTileItem
    window: _Window
    corners: NDArray[np.float64]
    distance: Field


def _layer(tile: BareTileItem | WrappedTileItem, camera: CameraModel) -> _Layer | None:
    corners = tile.pose.to_scene(tile.corners_mm)
    window = _window(camera, corners, _SHADOW_REACH_MM)
    if window is None:
        return None
    grid = pixel_grid_mm(camera)
    x, y = window.of(grid[0]), window.of(grid[1])
    distance = _polygon_distance(x, y, corners)
    for chip in tile.chips:
        _cut_chip(distance, x, y, corners, chip)
    return _Layer(tile, window, corners, distance)


def _cast_shadow(picture: Field, layer: _Layer) -> None:
    depth = 0.85 if isinstance(layer.tile, WrappedTileItem) else 0.35
    flat = layer.distance.ravel()
    near = np.flatnonzero((flat > -_SHADOW_REACH_MM) & (flat < 0.5))
    factor = 1.0 - depth * np.exp(np.minimum(flat[near], 0.0) / np.float32(_SHADOW_DECAY_MM))
    part = layer.window.of(picture)
    part[np.unravel_index(near, part.shape)] *= factor


def _paint_tiles(base: Field, layers: list[_Layer], camera: CameraModel, sigma_mm: float) -> Field:
    """Tiles beside each other share the light of a pixel; a later tile hides an earlier one."""
    taken = np.zeros_like(base)
    light = np.zeros_like(base)
    grid = pixel_grid_mm(camera)
    for layer in layers:
        window = layer.window
        x, y = window.of(grid[0]), window.of(grid[1])
        cover = _coverage(layer.distance, sigma_mm)
        here_taken, here_light = window.of(taken), window.of(light)
        if isinstance(layer.tile, BareTileItem):
            under = window.of(base) * (1.0 - here_taken) + here_light
            grey = _bare_grey(under, layer.tile, camera, window, x, y, layer.distance)
        else:
            grey = _foil_grey(
                layer.tile, camera, window, x, y, layer.distance, layer.corners, sigma_mm
            )
        both = here_taken + cover
        if float(both.max()) > 1.001:
            room = np.minimum((1.0 - cover) / np.maximum(here_taken, 1e-6), 1.0)
            here_light *= room
            here_taken *= room
            both = here_taken + cover
        here_taken[:] = both
        grey *= cover
        here_light += grey
    base *= 1.0 - taken
    base += light
    return base


def render_clean(scene: Scene, camera: CameraModel) -> NDArray[np.float32]:
    """The light that reaches each pixel, in grey values, shape (height, width), without noise.

    Edges are exact to the precision of float32: the share of a pixel inside an outline is the
    normal distribution of its signed distance over the blur, and outlines are drawn in the
    plane's mm coordinates, so that the lens distortion of ``camera`` applies to them.
    """
    sigma_mm = scene.psf_sigma_px * camera.mm_per_px
    picture = _surface(scene, camera)
    for item in scene.items:
        if isinstance(item, BoardItem):
            _paint_board(picture, camera, item)
    for item in scene.items:
        if isinstance(item, SiPMItem):
            _paint_sipm(picture, camera, item, sigma_mm)
        elif isinstance(item, FiducialItem):
            _paint_fiducial(picture, camera, item, sigma_mm)
    layers = []
    for item in scene.items:
        if isinstance(item, BareTileItem | WrappedTileItem):
            layer = _layer(item, camera)
            if layer is not None:
                layers.append(layer)
    for layer in layers:
        _cast_shadow(picture, layer)
    if layers:
        picture = _paint_tiles(picture, layers, camera, sigma_mm)
    for item in scene.items:
        if isinstance(item, DustItem):
            _paint_dust(picture, camera, item, sigma_mm)
    picture *= _light_field(camera, scene.light)
    picture += np.float32(scene.sensor.black_dn)
    return picture
