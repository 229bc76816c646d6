"""Look at a bare tile in the tray: size, rotation and dimple against the format's tolerance."""

from dataclasses import dataclass

from station.catalogue import TileFormat
from station.events import Finding, Picture, Procedure, Progress, Reading
from station.limits import Limit
from station.line import Line
from station.procedures.seen import find_tile
from station.recipes import InspectTile
from vision.tile import Length

METHOD = "edge-profile fit"


@dataclass(frozen=True)
class TileInSlot:
    """A tile of a known format in a tray slot that holds it turned by `turn_rad`."""

    slot: int
    tile_format: TileFormat
    turn_rad: float


def inspection_limits(tile_format: TileFormat, recipe: InspectTile) -> dict[str, Limit]:
    """Limits of the inspection: nominal size and dimple of the format, plus or minus tolerance."""
    size, dimple = tile_format.tolerances.size_mm, tile_format.tolerances.dimple_mm

    def around(nominal: float, tolerance: float) -> Limit:
        return Limit(
            unit="mm",
            low=nominal - tolerance,
            high=nominal + tolerance,
            guard_sigmas=recipe.guard_sigmas,
        )

    return {
        "inner_width": around(tile_format.inner_width_mm, size),
        "outer_width": around(tile_format.outer_width_mm, size),
        "height": around(tile_format.height_mm, size),
        "dimple_x": around(tile_format.dimple.x_mm, dimple),
        "dimple_y": around(tile_format.dimple.y_mm, dimple),
    }


def inspect_tile(line: Line, tile: TileInSlot, recipe: InspectTile) -> Procedure:
    """Measure the tile in its slot; a chip in an edge is a finding that fails the tile.

    Yields the picture, then inner_width, outer_width, height, tile_rotation, dimple_x, dimple_y
    (mm, rad). What can't be measured after `recipe.attempts` pictures is unknown with its reason.
    """
    yield Progress(0, 2, f"looking at slot {tile.slot}")
    look, seen = find_tile(
        line,
        line.tray_slot(tile.slot),
        plane_z_mm=line.profile.tray.surface_z_mm + tile.tile_format.thickness_mm,
        corners_mm=tile.tile_format.corners_mm(),
        dimple_diameter_mm=tile.tile_format.dimple.diameter_mm,
        attempts=recipe.attempts,
    )
    yield Picture("bare tile in tray", look.image, line.camera_model.mm_per_px, look.pose())
    yield Progress(1, 2, f"measuring the tile in slot {tile.slot}")
    yield _length("inner_width", seen.inner_width, seen.reasons)
    yield _length("outer_width", seen.outer_width, seen.reasons)
    yield _length("height", seen.height, seen.reasons)
    if seen.rotation_rad is None or seen.rotation_sigma_rad is None:
        yield Reading("tile_rotation", None, None, "rad", METHOD, reasons=seen.reasons)
    else:
        turn = seen.rotation_rad - tile.turn_rad
        yield Reading("tile_rotation", turn, seen.rotation_sigma_rad, "rad", METHOD)
    for axis, quantity in enumerate(("dimple_x", "dimple_y")):
        if seen.dimple_mm is None:
            yield Reading(
                quantity, None, None, "mm", METHOD, reasons=seen.reasons or ("dimple not seen",)
            )
        else:
            yield Reading(quantity, float(seen.dimple_mm[axis]), seen.dimple_sigma_mm, "mm", METHOD)
    for defect in seen.defects:
        yield Finding(
            defect.kind,
            f"{defect.kind} in the edge, {defect.depth_mm:.2f} mm deep",
            defect.x_mm,
            defect.y_mm,
            defect.area_mm2,
            "fail",
        )
    yield Progress(2, 2, f"slot {tile.slot} done")


def _length(quantity: str, length: Length | None, reasons: tuple[str, ...]) -> Reading:
    if length is None:
        return Reading(quantity, None, None, "mm", METHOD, reasons=reasons)
    return Reading(quantity, length.value_mm, length.sigma_mm, "mm", METHOD)
