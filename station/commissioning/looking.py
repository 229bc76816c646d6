"""Looking at the calibration target from chosen places, and where it is seen from there."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from station.camera_section import CameraSection
from station.events import RefusedError
from station.line import Line
from station.profile import TargetSection
from vision.camera import CameraModel
from vision.dot_grid import DotGrid, find_dot_grid

LEAST_APPROACH_MM = 0.5
NEAR_MM = 60.0
"""Around the target the head may move at the height from which it looks."""
Side = tuple[int, int]
FROM_BELOW_LEFT: Side = (-1, -1)


@dataclass
class Bench:
    """A line, its target, and the camera as far as it is calibrated by now."""

    line: Line
    target: TargetSection
    camera: CameraSection
    centre_mm: tuple[float, float]
    """Where the target's middle is in the gantry frame, as well as it is known by now."""
    repeatability_mm: float = 0.0
    prints: list[tuple[float, float]] = field(default_factory=list)

    @classmethod
    def of(cls, line: Line) -> "Bench":
        """Raises RefusedError for a line whose profile has no target."""
        target = line.profile.target
        if target is None:
            raise RefusedError(
                "the site profile has no section [target]: say there where the calibration target "
                "lies and what it is"
            )
        return cls(line, target, line.profile.camera, (target.origin_x_mm, target.origin_y_mm))

    def learn(self, **values: float) -> None:
        """Use these fields of the camera section from now on."""
        self.camera = self.camera.model_copy(update=values)

    def model(self) -> CameraModel:
        """The camera as it is known by now; its own scale error is left to the readings."""
        camera = self.camera
        return CameraModel(
            width_px=camera.width_px,
            height_px=camera.height_px,
            mm_per_px=camera.mm_per_px,
            rotation_rad=camera.rotation_rad,
            k1=camera.k1_per_mm2,
            mm_per_px_sigma_rel=0.0,
        )


@dataclass(frozen=True)
class Sight:
    """A picture of the target: where the head was told to be, and the dots."""

    image: NDArray[np.uint8]
    head_mm: tuple[float, float, float]
    grid: DotGrid


@dataclass(frozen=True)
class Place:
    """Where the target's middle is seen relative to the optical axis, in the axes of the model.

    size: how large the target is seen, as a factor on its true size; turn_rad: how it is turned.
    """

    x_mm: float
    y_mm: float
    size: float
    turn_rad: float


def look(
    bench: Bench,
    x_mm: float,
    y_mm: float,
    *,
    dz_mm: float = 0.0,
    side: Side = FROM_BELOW_LEFT,
    z_side: int = 0,
    plane_z_mm: float | None = None,
) -> tuple[NDArray[np.uint8], tuple[float, float, float]]:
    """A picture with the optical axis over (x, y), and the head's place when it was taken.

    dz_mm: how far above the plane in focus. side: from which side x and y are approached, -1 from
    below, +1 from above. z_side: as `side` for z; 0 is the side on which the safe height lies, as
    the station always comes.

    Raises RefusedError when the head can't go there, and what the instruments raise.
    """
    line, camera = bench.line, bench.camera
    gantry, section = line.gantry, line.profile.gantry
    plane = bench.target.surface_z_mm if plane_z_mm is None else plane_z_mm
    z = plane + camera.working_distance_mm + dz_mm
    head = (x_mm - camera.offset_x_mm, y_mm - camera.offset_y_mm)
    approach = max(section.approach_mm, LEAST_APPROACH_MM)
    from_z = z_side or (1 if section.safe_z_mm >= z else -1)
    before = (head[0] + side[0] * approach, head[1] + side[1] * approach, z + from_z * approach)
    _check_travel(bench, head, z)
    _check_travel(bench, (before[0], before[1]), before[2])
    here = gantry.position()
    far = math.dist((here.x_mm, here.y_mm), head) > NEAR_MM
    if here.z_mm < (section.safe_z_mm if far else min(section.safe_z_mm, z - approach)):
        _go(bench, z=max(section.safe_z_mm, before[2]))
    _go(bench, before[0], before[1])
    _go(bench, head[0], head[1])
    _go(bench, z=before[2])
    _go(bench, z=z)
    line.wait(camera.settle_s)
    with line.checkpoint():
        frame = line.camera.grab(deadline_s=camera.grab_deadline_s)
    here = gantry.position()
    return frame.image, (here.x_mm, here.y_mm, here.z_mm)


def see(bench: Bench, dx_mm: float = 0.0, dy_mm: float = 0.0, **how: object) -> Sight:
    """Look at the target with its middle away from the optical axis by (-dx, -dy).

    Raises RefusedError when its dots are not seen.
    """
    image, head = look(
        bench,
        bench.centre_mm[0] + dx_mm,
        bench.centre_mm[1] + dy_mm,
        **how,  # type: ignore[arg-type]
    )
    grid = find_dot_grid(image)
    if not grid.found:
        raise RefusedError(f"the target is not seen: {'; '.join(grid.reasons)}")
    return Sight(image, head, grid)


def locate(camera: CameraModel, grid: DotGrid, pitch_mm: float) -> Place:
    """Least squares of a turn, a size and a shift from the target's frame to what is seen."""
    dots = grid.index[:, 0] * pitch_mm + 1j * (grid.index[:, 1] * pitch_mm)
    mm = camera.to_mm(grid.px)
    seen = mm[:, 0] + 1j * mm[:, 1]
    middle = dots.mean()
    away = dots - middle
    factor = complex((seen * away.conj()).sum() / (abs(away) ** 2).sum())
    shift = complex(seen.mean() - factor * middle)
    return Place(shift.real, shift.imag, abs(factor), math.atan2(factor.imag, factor.real))


def centre_target(bench: Bench) -> Sight:
    """Bring the target's middle under the optical axis with what is known of the camera."""
    for _ in range(3):
        sight = see(bench)
        camera = replace(bench.model(), k1=0.0)
        place = locate(camera, sight.grid, bench.target.pitch_mm)
        # Seen at its true size, whatever the scale is believed to be.
        dx, dy = place.x_mm / place.size, place.y_mm / place.size
        bench.centre_mm = (bench.centre_mm[0] + dx, bench.centre_mm[1] + dy)
        if math.hypot(dx, dy) < 0.5:
            break
    return sight


def _check_travel(bench: Bench, xy: tuple[float, float], z: float) -> None:
    for axis, value, length in zip("xyz", (*xy, z), bench.line.gantry.travel_mm, strict=True):
        if not 0 <= value <= length:
            raise RefusedError(
                f"the head would have to go to {axis} = {value:.1f} mm of a travel of 0 to "
                f"{length:.1f} mm: move the target"
            )


def _go(
    bench: Bench, x: float | None = None, y: float | None = None, *, z: float | None = None
) -> None:
    line = bench.line
    with line.checkpoint():
        line.gantry.move_to(
            x_mm=x, y_mm=y, z_mm=z, feed_mm_per_min=line.profile.gantry.feed_mm_per_min
        )
