"""Pick wrapped tiles by the tray map, place them over their SiPMs, and measure where they are."""

import math
from collections.abc import Generator, Sequence
from dataclasses import asdict, dataclass
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from station.catalogue import BoardShape, TileFormat, TilePosition
from station.events import (
    Ask,
    Event,
    Joined,
    Note,
    Picture,
    Procedure,
    Progress,
    Reading,
    RefusedError,
)
from station.last_known import Carried
from station.line import Line, Look
from station.procedures.board_pose import BoardPose, fit_pose
from station.procedures.seen import SeenPoint, SeenTile, find_tile, seen_point, seen_tile
from station.recipes import PlaceTiles
from vision.points import find_fiducial, find_sipm
from vision.presence import tile_present
from vision.tile import TileMeasurement, measure_tile

METHOD = "edge-profile fit before and after"
RETRY, SET_ASIDE = "Retry", "Set aside"


class CannotPlaceError(RefusedError):
    """A tile can't be placed; nothing was dropped and the reason says what was seen."""


@dataclass(frozen=True)
class PlaceTask:
    """One wrapped tile and its place. The dimple (mm, tile frame) is the one seen when bare.

    `sipm` is where the SiPM was seen by an earlier run that was cut off, if there was one.
    `in_tray` says that the tray's scan shows the tile in its slot: then it is not in place yet.
    """

    position: TilePosition
    slot: int
    part_id: UUID
    label: str
    tile_format: TileFormat
    dimple_mm: tuple[float, float]
    dimple_sigma_mm: float
    sipm: SeenPoint | None = None
    in_tray: bool = False

    @property
    def thickness_mm(self) -> float:
        """Thickness of the wrapped tile."""
        return self.tile_format.thickness_mm + 2 * self.tile_format.foil_mm


@dataclass(frozen=True)
class BoardInPlace:
    """The board on its fixture; `board_part_id` is joined to the module when it is not yet."""

    shape: BoardShape
    board_part_id: UUID | None


def place_tiles(
    line: Line, board: BoardInPlace, tasks: Sequence[PlaceTask], recipe: PlaceTiles
) -> Procedure:
    """Place the tiles of `tasks` one by one; tiles that lie in place already are only measured.

    Per tile: look at the SiPM, pick, place corrected, look again. Yields sipm_offset_x and
    sipm_offset_y (mm, along the board's axes: dimple minus SiPM) and placed_rotation (rad, against
    nominal), then the tile's `Joined`. Raises CannotPlaceError before anything is dropped.
    """
    if line.gripper.vacuum_on():
        raise CannotPlaceError("the vacuum is on before a tile was picked: is one on the nozzle?")
    if board.board_part_id is not None:
        yield Joined(board.board_part_id, "board")
    pose = yield from find_board(line, board.shape, recipe)
    for done, task in enumerate(tasks):
        name = task.position.name
        yield Progress(done, len(tasks), f"placing {task.label} at {name}")
        yield from _place_one(line, board.shape, pose, task, recipe)
    yield Progress(len(tasks), len(tasks), "all tiles placed")


def find_board(
    line: Line, shape: BoardShape, recipe: PlaceTiles
) -> Generator[Event, str | UUID | None, BoardPose]:
    """Look at every fiducial and fit the board's pose; refuses a board that does not fit."""
    place = line.profile.board
    seen: list[SeenPoint] = []
    board_mm = []
    for number, fiducial in enumerate(shape.fiducials, start=1):
        yield Progress(number - 1, len(shape.fiducials), f"looking for fiducial {number}")
        look = line.look_at(
            place.origin_x_mm + fiducial.x_mm,
            place.origin_y_mm + fiducial.y_mm,
            plane_z_mm=place.surface_z_mm,
        )
        found = find_fiducial(
            look.image, line.camera_model, diameter_mm=fiducial.diameter_mm, near_mm=(0.0, 0.0)
        )
        point = seen_point(look, found)
        if point is None:
            yield _picture(f"fiducial {number} not found", look, line)
            yield Note(f"fiducial {number} not found: {'; '.join(found.reasons)}")
            continue
        seen.append(point)
        board_mm.append((fiducial.x_mm, fiducial.y_mm))
    if len(seen) < 2:
        raise CannotPlaceError(
            f"only {len(seen)} of {len(shape.fiducials)} fiducials found: is the board "
            f"a {shape.name}, and in its fixture?"
        )
    pose = fit_pose(
        np.array(board_mm),
        np.array([(p.x_mm, p.y_mm) for p in seen]),
        np.array([p.sigma_mm for p in seen]),
    )
    yield Note(
        "board found",
        {"x_mm": pose.x_mm, "y_mm": pose.y_mm, "rotation_rad": pose.rotation_rad},
    )
    yield Reading("fiducial_residual", pose.residual_mm, pose.sigma_mm, "mm", "rigid fit")
    if pose.residual_mm > recipe.max_fiducial_residual_mm:
        raise CannotPlaceError(
            f"fiducials are {pose.residual_mm:.3f} mm from where a {shape.name} has them "
            f"(allowed {recipe.max_fiducial_residual_mm:g} mm)"
        )
    return pose


def _place_one(
    line: Line, shape: BoardShape, pose: BoardPose, task: PlaceTask, recipe: PlaceTiles
) -> Generator[Event, str | UUID | None, None]:
    position = task.position
    nominal = pose.to_gantry(position.sipm_x_mm, position.sipm_y_mm)
    surface = line.profile.board.surface_z_mm
    before = line.look_at(*nominal, plane_z_mm=surface)
    corners = task.tile_format.wrapped_corners_mm()
    turn = position.rotation_rad + pose.rotation_rad
    presence = tile_present(
        before.image, line.camera_model, _turned_outline(corners, turn), near_mm=(0.0, 0.0)
    )
    if presence.state == "unknown":
        yield _picture("tile or bare board", before, line)
        raise CannotPlaceError(f"{position.name}: {', '.join(presence.reasons)}")
    if presence.state == "tile":
        if task.in_tray:
            yield _picture("place taken", before, line)
            raise CannotPlaceError(
                f"{position.name}: a tile lies there already, and {task.label} is still in slot "
                f"{task.slot}"
            )
        yield Note(f"{position.name}: a tile lies in place already; measuring it")
        yield from _measure_placed(line, pose, task, task.sipm)
        return
    found = find_sipm(
        before.image,
        line.camera_model,
        size_mm=math.sqrt(shape.sipm_area_mm2),
        near_mm=(0.0, 0.0),
    )
    sipm = seen_point(before, found)
    if sipm is None:
        yield _picture("SiPM not found", before, line)
        raise CannotPlaceError(f"{position.name}: no SiPM seen: {'; '.join(found.reasons)}")
    yield Note(
        "placing",
        {
            "position": position.name,
            "slot": task.slot,
            "label": task.label,
            "part_id": str(task.part_id),
            "thickness_mm": task.thickness_mm,
            "sipm": asdict(sipm),
        },
    )
    grip = yield from _pick(line, task, recipe)
    dimple = _turned(task.dimple_mm, grip.rotation_rad)
    target = (
        sipm.x_mm - dimple[0] - grip.centre_minus_nozzle_mm[0],
        sipm.y_mm - dimple[1] - grip.centre_minus_nozzle_mm[1],
    )
    line.move_over(*target)
    line.lower_to(surface + task.thickness_mm)
    if not line.gripper.holding():
        line.lift()
        raise CannotPlaceError(
            f"{task.label} was lost between tray and {position.name}. Find it; if it is whole, put "
            f"it back into slot {task.slot} and start again"
        )
    line.release()
    line.wait(line.profile.gripper.settle_s)
    line.lift()
    yield from _measure_placed(line, pose, task, sipm)


@dataclass(frozen=True)
class _Grip:
    centre_minus_nozzle_mm: tuple[float, float]
    rotation_rad: float


def _pick(
    line: Line, task: PlaceTask, recipe: PlaceTiles
) -> Generator[Event, str | UUID | None, _Grip]:
    top = line.profile.tray.surface_z_mm + task.thickness_mm
    for attempt in range(1, recipe.pick_attempts + 1):
        look, measured = find_tile(
            line,
            line.tray_slot(task.slot),
            plane_z_mm=top,
            corners_mm=task.tile_format.wrapped_corners_mm(),
            attempts=recipe.look_attempts,
        )
        tile = seen_tile(look, measured)
        if tile is None:
            yield _picture("tile not found in tray", look, line)
            raise CannotPlaceError(
                f"{task.label} is not in slot {task.slot}: {'; '.join(measured.reasons)}. "
                "Put it there, or replace it, and start again"
            )
        line.move_over(tile.x_mm, tile.y_mm)
        line.lower_to(top)
        line.grip(Carried(task.label, task.slot, task.thickness_mm, str(task.part_id)))
        line.wait(line.profile.gripper.settle_s)
        nozzle = line.gantry.position()
        line.lift()
        if line.gripper.holding():
            line.carried = task.label
            return _Grip((tile.x_mm - nozzle.x_mm, tile.y_mm - nozzle.y_mm), tile.rotation_rad)
        line.release()
        yield Note(f"{task.label} did not stay on the nozzle, attempt {attempt}")
    answer = yield Ask(
        f"{task.label} in slot {task.slot} can't be picked up. Seat it and retry?",
        (RETRY, SET_ASIDE),
        SET_ASIDE,
    )
    if answer == RETRY:
        return (yield from _pick(line, task, recipe))
    raise CannotPlaceError(f"{task.label} in slot {task.slot} can't be picked up")


def _measure_placed(
    line: Line, pose: BoardPose, task: PlaceTask, sipm: SeenPoint | None
) -> Generator[Event, str | UUID | None, None]:
    nominal = pose.to_gantry(task.position.sipm_x_mm, task.position.sipm_y_mm)
    look, measured = _look_from_above(line, task, nominal)
    yield _picture(f"placed at {task.position.name}", look, line)
    yield from _readings(pose, task, seen_tile(look, measured), measured.reasons, sipm)


def _look_from_above(
    line: Line, task: PlaceTask, nominal: tuple[float, float]
) -> tuple[Look, TileMeasurement]:
    plane = line.profile.board.surface_z_mm + task.thickness_mm
    look = line.look_at(*nominal, plane_z_mm=plane)
    return look, measure_tile(look.image, line.camera_model, task.tile_format.wrapped_corners_mm())


def _readings(
    pose: BoardPose,
    task: PlaceTask,
    tile: SeenTile | None,
    reasons: tuple[str, ...],
    sipm: SeenPoint | None,
) -> Generator[Event, str | UUID | None, None]:
    channel = task.position.channel
    unseen = reasons if tile is None else ()
    if sipm is None:
        unseen += ("the SiPM was not seen before the tile covered it",)
    if tile is None or sipm is None:
        for quantity in ("sipm_offset_x", "sipm_offset_y"):
            yield Reading(quantity, None, None, "mm", METHOD, channel, reasons=unseen)
    if tile is None:
        yield Reading("placed_rotation", None, None, "rad", METHOD, channel, reasons=unseen)
        yield Joined(task.part_id, task.position.name)
        return
    turn = tile.rotation_rad - pose.rotation_rad - task.position.rotation_rad
    yield Reading("placed_rotation", turn, tile.rotation_sigma_rad, "rad", METHOD, channel)
    if sipm is None:
        yield Joined(task.part_id, task.position.name)
        return
    dimple = _turned(task.dimple_mm, tile.rotation_rad)
    x_mm, y_mm = pose.to_board_axes(
        tile.x_mm + dimple[0] - sipm.x_mm, tile.y_mm + dimple[1] - sipm.y_mm
    )
    sigma = math.sqrt(tile.sigma_mm**2 + sipm.sigma_mm**2 + task.dimple_sigma_mm**2)
    yield Reading("sipm_offset_x", x_mm, sigma, "mm", METHOD, channel)
    yield Reading("sipm_offset_y", y_mm, sigma, "mm", METHOD, channel)
    yield Joined(
        task.part_id,
        task.position.name,
        x_mm=x_mm,
        y_mm=y_mm,
        rotation_rad=turn,
        sigma_mm=sigma,
    )


def _turned(point_mm: tuple[float, float], rotation_rad: float) -> tuple[float, float]:
    c, s = math.cos(rotation_rad), math.sin(rotation_rad)
    return c * point_mm[0] - s * point_mm[1], s * point_mm[0] + c * point_mm[1]


def _turned_outline(corners_mm: NDArray[np.float64], rotation_rad: float) -> NDArray[np.float64]:
    c, s = math.cos(rotation_rad), math.sin(rotation_rad)
    return np.asarray(corners_mm @ np.array([[c, s], [-s, c]]))


def _picture(purpose: str, look: Look, line: Line) -> Picture:
    return Picture(purpose, look.image, line.camera_model.mm_per_px, look.pose())
