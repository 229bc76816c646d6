"""Boards with SiPMs and fiducials, and the dust on top of everything."""

import cv2
import numpy as np

from vision.camera import CameraModel
from vision.render.scene import BoardItem, DustItem, FiducialItem, SiPMItem
from vision.render.shapes import (
    Field,
    Points,
    blend,
    clipped,
    coverage,
    disc_distance,
    inward_normals,
    polygon_distance,
    window_around,
)
from vision.render.texture import board_texture, lay

PACKAGE_MARGIN_MM = 0.45
"""How far a SiPM's bright package reaches beyond its active area."""


def board_fills_picture(camera: CameraModel, board: BoardItem) -> bool:
    """Whether nothing but this board is seen."""
    outline = camera.to_px(board.pose.to_scene(board.outline_mm)).astype(np.float32)
    right, bottom = float(camera.width_px - 1), float(camera.height_px - 1)
    inside = (
        (outline[:, 0] >= 0)
        & (outline[:, 1] >= 0)
        & (outline[:, 0] <= right)
        & (outline[:, 1] <= bottom)
    )
    if inside.any():
        return False
    ends = ((0.0, 0.0), (right, 0.0), (0.0, bottom), (right, bottom))
    return all(cv2.pointPolygonTest(outline, end, False) > 0 for end in ends)


def paint_board(picture: Field, camera: CameraModel, board: BoardItem) -> None:
    """Lay the printed board over what is there."""
    outline = board.pose.to_scene(board.outline_mm)
    window = window_around(camera, outline, 0.0)
    if window is None:
        return
    grey = lay(board_texture(board.seed), camera, board.pose, window.rows, window.columns)
    if board_fills_picture(camera, board):
        picture[:] = grey
        return
    mask = np.zeros(grey.shape, dtype=np.uint8)
    corner = np.array([window.columns.start, window.rows.start])
    edges = zip(outline, np.roll(outline, -1, axis=0), strict=True)
    dense = np.concatenate([np.linspace(first, second, 20)[:-1] for first, second in edges])
    px = np.clip(camera.to_px(dense) - corner, -30000, 30000)
    cv2.fillPoly(mask, [np.round(px * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    blend(window.of(picture), mask.astype(np.float32) / np.float32(255.0), grey)


def _square(half_mm: float) -> Points:
    return half_mm * np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]])


def paint_sipm(picture: Field, camera: CameraModel, sipm: SiPMItem, sigma_mm: float) -> None:
    """A bright package with its shadow, the dark active area, and the dot at its first pin."""
    half = sipm.size_mm / 2.0
    package = sipm.pose.to_scene(_square(half + PACKAGE_MARGIN_MM))
    window = window_around(camera, package, 0.8)
    if window is None:
        return
    x, y = window.grid_mm(camera)
    part = window.of(picture)
    outside = polygon_distance(x, y, package, inward_normals(package))
    part *= 1.0 - 0.55 * np.exp(np.minimum(outside, 0.0) / 0.18)
    blend(part, coverage(outside, sigma_mm), 168.0)
    square = sipm.pose.to_scene(_square(half))
    active = polygon_distance(x, y, square, inward_normals(square))
    sheen = 26.0 + 1.6 * (y - np.float32(sipm.pose.y_mm))
    blend(part, coverage(active, sigma_mm), np.asarray(sheen, dtype=np.float32))
    pin = sipm.pose.to_scene([[-half - 0.22, -half - 0.22]])[0]
    blend(part, coverage(disc_distance(x, y, pin, 0.12), sigma_mm), 90.0)


def paint_fiducial(
    picture: Field, camera: CameraModel, fiducial: FiducialItem, sigma_mm: float
) -> None:
    """A copper disc in a clear ring twice its size."""
    centre = np.array([fiducial.x_mm, fiducial.y_mm])
    radius = fiducial.diameter_mm / 2.0
    window = window_around(camera, centre[None, :], 2.0 * radius + 0.3)
    if window is None:
        return
    x, y = window.grid_mm(camera)
    part = window.of(picture)
    blend(part, coverage(disc_distance(x, y, centre, 2.0 * radius), sigma_mm), 34.0)
    copper = 205.0 + 6.0 * (x - np.float32(centre[0])) / np.float32(radius)
    disc = coverage(disc_distance(x, y, centre, radius), sigma_mm)
    blend(part, disc, np.asarray(copper, dtype=np.float32))


def paint_dust(picture: Field, camera: CameraModel, dust: DustItem, sigma_mm: float) -> None:
    """A rounded speck or fibre that hides most of what lies below it."""
    centre = np.array([dust.x_mm, dust.y_mm])
    half_px = (dust.length_mm / 2.0 + 0.3) / camera.mm_per_px
    middle = camera.to_px(centre)[0]
    window = clipped(camera, np.floor(middle - half_px), np.ceil(middle + half_px) + 1)
    if window is None:
        return
    x, y = window.grid_mm(camera)
    dx, dy = x - np.float32(centre[0]), y - np.float32(centre[1])
    cos, sin = np.float32(np.cos(dust.rotation_rad)), np.float32(np.sin(dust.rotation_rad))
    along, across = dx * cos + dy * sin, dy * cos - dx * sin
    straight = np.float32(max((dust.length_mm - dust.width_mm) / 2.0, 0.0))
    beyond = np.maximum(np.abs(along) - straight, 0.0)
    distance = np.float32(dust.width_mm / 2.0) - np.hypot(beyond, across)
    blend(window.of(picture), np.float32(0.85) * coverage(distance, sigma_mm), dust.grey)
