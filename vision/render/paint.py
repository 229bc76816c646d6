"""Draws a scene with sub-pixel edges: each outline is a signed distance blurred by the lens."""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel, pixel_grid_mm
from vision.render.board import (
    board_fills_picture,
    paint_board,
    paint_dust,
    paint_fiducial,
    paint_sipm,
)
from vision.render.scene import (
    BareTileItem,
    BoardItem,
    DustItem,
    FiducialItem,
    Light,
    Pose,
    Scene,
    SiPMItem,
    WrappedTileItem,
)
from vision.render.shapes import Field
from vision.render.texture import lay, plate_texture, tray_texture
from vision.render.tiles import TileLayer, cast_shadow, hidden_by, paint_tiles, tile_layer

_DRAWN_BLUR_PX = 1.3


@lru_cache(maxsize=4)
def _light_field(camera: CameraModel, light: Light) -> Field:
    x, y = pixel_grid_mm(camera)
    level = 1.0 + (light.gradient[0] * x + light.gradient[1] * y) / 100.0
    level -= light.vignetting * (x * x + y * y) / 2500.0
    return np.asarray(light.level * np.maximum(level, 0.0), dtype=np.float32)


def _surface(scene: Scene, camera: CameraModel) -> Field:
    boards = [item for item in scene.items if isinstance(item, BoardItem)]
    if any(board_fills_picture(camera, board) for board in boards):
        picture = np.zeros((camera.height_px, camera.width_px), dtype=np.float32)
    else:
        kind = tray_texture if scene.background.kind == "tray" else plate_texture
        picture = lay(
            kind(scene.background.seed),
            camera,
            Pose(*scene.background.origin_mm),
            slice(0, camera.height_px),
            slice(0, camera.width_px),
        )
    for board in boards:
        paint_board(picture, camera, board)
    return picture


def _paint_parts(
    picture: Field,
    scene: Scene,
    camera: CameraModel,
    sigma_mm: float,
    layers: Sequence[TileLayer],
) -> None:
    """SiPMs and fiducials that no tile hides."""
    for item in scene.items:
        if isinstance(item, SiPMItem):
            where = np.array([item.pose.x_mm, item.pose.y_mm])
            if not hidden_by(layers, where, item.size_mm + 1.0):
                paint_sipm(picture, camera, item, sigma_mm)
        elif isinstance(item, FiducialItem):
            where = np.array([item.x_mm, item.y_mm])
            if not hidden_by(layers, where, 2.0 * item.diameter_mm):
                paint_fiducial(picture, camera, item, sigma_mm)


def render_clean(scene: Scene, camera: CameraModel) -> NDArray[np.float32]:
    """The light that reaches each pixel, in grey values, shape (height, width), without noise.

    Edges are exact to the precision of float32: the share of a pixel inside an outline is the
    normal distribution of its signed distance over the blur, and outlines are drawn in the
    plane's mm coordinates, so that the lens distortion of ``camera`` applies to them. Blur beyond
    that of a lens in focus smears the whole picture afterwards.
    """
    drawn_px = min(scene.psf_sigma_px, _DRAWN_BLUR_PX)
    sigma_mm = drawn_px * camera.mm_per_px
    picture = _surface(scene, camera)
    tiles = (item for item in scene.items if isinstance(item, BareTileItem | WrappedTileItem))
    placed = (tile_layer(tile, camera, sigma_mm) for tile in tiles)
    layers = [layer for layer in placed if layer is not None]
    _paint_parts(picture, scene, camera, sigma_mm, layers)
    for layer in layers:
        cast_shadow(picture, layer)
    if layers:
        paint_tiles(picture, layers, camera, sigma_mm)
    for item in scene.items:
        if isinstance(item, DustItem):
            paint_dust(picture, camera, item, sigma_mm)
    if scene.psf_sigma_px > drawn_px:
        rest_px = float(np.sqrt(scene.psf_sigma_px**2 - drawn_px**2))
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rest_px), dtype=np.float32)
    picture *= _light_field(camera, scene.light)
    picture += np.float32(scene.sensor.black_dn)
    return picture
