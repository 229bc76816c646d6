"""What the camera looks at: the twin's tiles and board as a scene for the renderer.

The renderer draws one plane. Whatever lies higher or lower than the plane in focus is scaled about
the optical axis as a pinhole camera at the working distance would show it.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from station.catalogue import BoardShape
from station.profile import Profile
from station.twin.target import Target
from station.twin.truth import BoardTruth, TileTruth
from vision.camera import CameraModel
from vision.render import (
    Background,
    BareTileItem,
    BoardItem,
    FiducialItem,
    Item,
    Light,
    Pose,
    Scene,
    SiPMItem,
    WrappedTileItem,
    corners_tuple,
)

PSF_SIGMA_PX = 0.9
LARGEST_TILE_MM = 45.0

Place = tuple[float, float, float]
"""x, y (mm) and rotation (rad) of a frame in the gantry frame."""


@dataclass(frozen=True)
class TileSomewhere:
    """A tile with the true place of its frame in the gantry frame and the height of its top."""

    tile: TileTruth
    wrapped: bool
    x_mm: float
    y_mm: float
    rotation_rad: float
    top_z_mm: float

    def covers(self, x_mm: float, y_mm: float) -> bool:
        """Whether a point of the gantry frame lies well inside the tile."""
        c, s = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        dx, dy = x_mm - self.x_mm, y_mm - self.y_mm
        half_width = min(self.tile.inner_width_mm, self.tile.outer_width_mm) / 2
        return abs(c * dx + s * dy) < half_width and abs(c * dy - s * dx) < self.tile.height_mm / 2


def to_gantry(place: Place, x_mm: float, y_mm: float) -> tuple[float, float]:
    """A point of the frame that lies at `place`, in the gantry frame."""
    c, s = math.cos(place[2]), math.sin(place[2])
    return place[0] + c * x_mm - s * y_mm, place[1] + s * x_mm + c * y_mm


@dataclass(frozen=True)
class View:
    """Everything that the camera may see; `scene` is what it sees from one place."""

    profile: Profile
    shape: BoardShape
    dimple_diameter_mm: float
    seed: int

    def camera(self) -> CameraModel:
        camera = self.profile.camera
        return CameraModel(
            width_px=camera.width_px,
            height_px=camera.height_px,
            mm_per_px=camera.mm_per_px,
            rotation_rad=camera.rotation_rad,
            k1=camera.k1_per_mm2,
        )

    def scene(
        self,
        head_mm: tuple[float, float, float],
        tiles: Iterable[TileSomewhere],
        board: tuple[BoardTruth, Place] | None,
        *,
        lamp: float,
        target: Target | None = None,
    ) -> Scene:
        """The scene below the camera when the nozzle is at `head_mm`."""
        camera = self.profile.camera
        axis = (head_mm[0] + camera.offset_x_mm, head_mm[1] + camera.offset_y_mm)
        items: list[Item] = []
        over_board = axis[0] > self._tray_end_mm()
        if board is not None and over_board:
            items += self._board_items(*board, axis, head_mm[2])
        for tile in tiles:
            if self._near(axis, tile.x_mm, tile.y_mm):
                items.append(self._tile_item(tile, axis, self._scale(head_mm[2], tile.top_z_mm)))
        blur_px = PSF_SIGMA_PX
        if target is not None and self._near(axis, target.x_mm, target.y_mm):
            items += self._target_items(target, axis, head_mm[2])
            blur_px = math.hypot(blur_px, target.defocus_px(self._out_of_focus(head_mm[2])))
        return Scene(
            background=Background(
                kind="plate" if over_board else "tray",
                origin_mm=(-axis[0], -axis[1]),
                seed=self.seed,
            ),
            items=tuple(items),
            light=Light(level=lamp),
            psf_sigma_px=blur_px,
        )

    def _target_items(
        self, target: Target, axis: tuple[float, float], head_z_mm: float
    ) -> list[FiducialItem]:
        camera, section = self.profile.camera, self.profile.target
        assert section is not None
        reach_mm = 0.6 * math.hypot(camera.width_px, camera.height_px) * camera.mm_per_px
        return target.items(axis, self._scale(head_z_mm, section.surface_z_mm), reach_mm)

    def _out_of_focus(self, head_z_mm: float) -> float:
        """How far the target is from the plane in focus."""
        section = self.profile.target
        assert section is not None
        return head_z_mm - self.profile.camera.working_distance_mm - section.surface_z_mm

    def _scale(self, head_z_mm: float, plane_z_mm: float) -> float:
        return self.profile.camera.working_distance_mm / max(head_z_mm - plane_z_mm, 1.0)

    def _near(self, axis: tuple[float, float], x_mm: float, y_mm: float) -> bool:
        camera = self.profile.camera
        half = 0.6 * math.hypot(camera.width_px, camera.height_px) * camera.mm_per_px
        return math.dist(axis, (x_mm, y_mm)) < half + LARGEST_TILE_MM

    def _tray_end_mm(self) -> float:
        tray = self.profile.tray
        return tray.origin_x_mm + (tray.columns - 0.5) * tray.pitch_mm

    def _board_items(
        self, board: BoardTruth, place: Place, axis: tuple[float, float], head_z_mm: float
    ) -> list[Item]:
        scale = self._scale(head_z_mm, self.profile.board.surface_z_mm)

        def seen(x_mm: float, y_mm: float) -> tuple[float, float]:
            return (x_mm - axis[0]) * scale, (y_mm - axis[1]) * scale

        outline = tuple((float(x) * scale, float(y) * scale) for x, y in self.shape.outline_mm)
        items: list[Item] = [
            BoardItem(outline, Pose(*seen(place[0], place[1]), place[2]), seed=self.seed)
        ]
        for fiducial in self.shape.fiducials:
            at = to_gantry(place, fiducial.x_mm, fiducial.y_mm)
            if self._near(axis, *at):
                items.append(FiducialItem(fiducial.diameter_mm * scale, *seen(*at)))
        size_mm = math.sqrt(self.shape.sipm_area_mm2)
        for channel in board.channels:
            at = to_gantry(place, *channel.sipm_mm)
            if self._near(axis, *at):
                items.append(SiPMItem(size_mm * scale, Pose(*seen(*at), place[2])))
        return items

    def _tile_item(
        self, there: TileSomewhere, axis: tuple[float, float], scale: float
    ) -> BareTileItem | WrappedTileItem:
        tile = there.tile
        pose = Pose(
            (there.x_mm - axis[0]) * scale, (there.y_mm - axis[1]) * scale, there.rotation_rad
        )
        if there.wrapped:
            corners = corners_tuple(tile.wrapped_corners_mm() * scale)
            return WrappedTileItem(corners, pose, seed=tile.seed)
        return BareTileItem(
            corners_tuple(tile.corners_mm() * scale),
            pose,
            dimple_mm=(tile.dimple_mm[0] * scale, tile.dimple_mm[1] * scale),
            dimple_diameter_mm=self.dimple_diameter_mm * scale,
            chips=tile.chips,
            seed=tile.seed,
        )
