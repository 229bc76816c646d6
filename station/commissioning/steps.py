"""The steps of a commissioning, one procedure each. Each uses what the ones before it found.

    focus          working distance: where the camera's picture is sharpest
    camera         scale, distortion, rotation of the camera; scales and squareness of the axes
    backlash       play of x, y and z: the same place approached from both sides
    repeatability  scatter of a place that is approached from afar, again and again
    tool           optical axis minus nozzle: prints that the nozzle leaves on a pad

A step that can't trust its numbers refuses (`station.events.RefusedError`), with the reason.
"""

import math
from collections.abc import Callable, Mapping

import numpy as np

from station.commissioning.axes_fit import AxesFit, fit_axes
from station.commissioning.focus_fit import fit_focus
from station.commissioning.looking import (
    FROM_BELOW_LEFT,
    Bench,
    Place,
    Side,
    Sight,
    centre_target,
    locate,
    look,
    see,
)
from station.events import Ask, Curve, Note, Picture, Procedure, Progress, Reading, RefusedError
from vision.camera_fit import CameraFit, fit_camera
from vision.dot_grid import round_spots, sharpness
from vision.points import find_fiducial

FOCUS_HALF_MM = 6.0
FOCUS_PLACES = 13
PLACES = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
PLACES_OUT = 0.45
"""How far out the target is looked at, in units of half the picture."""
SCALE_FLOOR_REL = 2e-5
"""Light that falls off towards the corners pulls the rims of dots by so much."""
WRONG_SCALE = 0.005
"""A millimetre that differs by more means wrong steps per mm, or another pitch of the target."""
TURNS = 6
HEIGHTS_MM = (-4.0, 0.0, 4.0)
AGAIN = 8
AFAR_MM = 25.0
PRINTS = ((0.0, 0.0), (-5.0, -5.0), (5.0, -5.0), (5.0, 5.0), (-5.0, 5.0))
PRESS_FEED_MM_PER_MIN = 600.0
FIRST_PRINT_WITHIN_MM = 8.0
PRINT_SIZE_WITHIN = 0.3
PRINT_SEARCH_MM = 1.0
CLEAN_PAD = "clean_pad"


def find_focus(bench: Bench) -> Procedure:
    """Working distance: the nozzle's height above the plane at which the picture is sharpest."""
    yield Progress(0, FOCUS_PLACES, "looking for the target")
    offsets = np.linspace(-FOCUS_HALF_MM, FOCUS_HALF_MM, FOCUS_PLACES)
    sharp = []
    for number, offset in enumerate(offsets, start=1):
        image, _ = look(bench, *bench.centre_mm, dz_mm=float(offset))
        sharp.append(sharpness(image))
        yield Progress(number, FOCUS_PLACES, f"focus: {offset:+.1f} mm")
    old = bench.camera.working_distance_mm
    try:
        fit = fit_focus(offsets, np.array(sharp))
    except ValueError as error:
        raise RefusedError(
            f"no focus within {FOCUS_HALF_MM:g} mm of {old:g} mm: {error}"
        ) from error
    yield Curve(
        "sharpness",
        old + offsets,
        np.array(sharp),
        "mm",
        "1",
        model=fit.model,
        meta={"working_distance_mm": old + fit.offset_mm},
    )
    bench.learn(working_distance_mm=old + fit.offset_mm)
    sight = centre_target(bench)
    yield Picture(
        "calibration target", sight.image, bench.camera.mm_per_px, _pose(sight), "image/png"
    )
    yield Reading(
        "working_distance",
        bench.camera.working_distance_mm,
        fit.sigma_mm,
        "mm",
        "sharpness against height",
        conditions={"before": old},
    )


def calibrate_camera(bench: Bench) -> Procedure:
    """Scale, distortion and rotation of the camera, and the scales and skew of the axes."""
    yield Progress(0, len(PLACES), "bringing the target under the camera")
    centre_target(bench)
    camera, target = bench.camera, bench.target
    out_x = PLACES_OUT * camera.width_px / 2 * camera.mm_per_px
    out_y = PLACES_OUT * camera.height_px / 2 * camera.mm_per_px
    sights = []
    for number, (x, y) in enumerate(PLACES, start=1):
        sights.append(see(bench, x * out_x, y * out_y))
        yield Progress(number, len(PLACES), f"target seen from place {number}")
    fit = fit_camera(
        [sight.grid for sight in sights],
        pitch_mm=target.pitch_mm,
        width_px=camera.width_px,
        height_px=camera.height_px,
        dot_sigma_mm=target.dot_sigma_mm,
    )
    if fit.reasons:
        raise RefusedError("; ".join(fit.reasons))
    heads = np.array([sight.head_mm[:2] for sight in sights])
    axes = fit_axes(heads, fit.shift_mm)
    _check_axes(axes, target.pitch_sigma_rel)
    before = {name: getattr(camera, name) for name in ("mm_per_px", "rotation_rad", "k1_per_mm2")}
    scale = fit.camera.mm_per_px
    scale_sigma = scale * math.hypot(
        fit.mm_per_px_sigma / scale, target.pitch_sigma_rel, SCALE_FLOOR_REL
    )
    bench.learn(
        mm_per_px=scale,
        mm_per_px_sigma_rel=scale_sigma / scale,
        rotation_rad=axes.rotation_rad,
        k1_per_mm2=fit.camera.k1,
    )
    bench.repeatability_mm = axes.residual_mm
    place = locate(bench.model(), sights[0].grid, target.pitch_mm)
    bench.centre_mm = (bench.centre_mm[0] + place.x_mm, bench.centre_mm[1] + place.y_mm)
    yield from _camera_readings(fit, axes, scale_sigma, before)


def _check_axes(axes: AxesFit, pitch_sigma_rel: float) -> None:
    for name, scale in (("x", axes.scale_x), ("y", axes.scale_y)):
        if abs(scale - 1) > WRONG_SCALE + 5 * math.hypot(axes.scale_sigma, pitch_sigma_rel):
            raise RefusedError(
                f"one millimetre of the gantry's {name} measures {scale:.4f} mm on the target: "
                "correct the steps per mm of the controller, or the pitch of the target"
            )


def _camera_readings(
    fit: CameraFit, axes: AxesFit, scale_sigma: float, before: Mapping[str, float]
) -> Procedure:
    assert fit.k1_sigma is not None
    quality = {
        "rms_px": fit.rms_px,
        "dots": fit.n_dots,
        "left_out": fit.n_left_out,
        "moves_rms_mm": axes.residual_mm,
    }
    method = "dot grid"
    yield Reading(
        "mm_per_px",
        fit.camera.mm_per_px,
        scale_sigma,
        "mm/px",
        method,
        conditions={"before": before["mm_per_px"], **quality},
    )
    yield Reading(
        "camera_k1",
        fit.camera.k1,
        fit.k1_sigma,
        "1/mm2",
        method,
        conditions={"before": before["k1_per_mm2"]},
    )
    yield Reading(
        "camera_rotation",
        axes.rotation_rad,
        axes.rotation_sigma_rad,
        "rad",
        "dot grid against moves",
        conditions={"before": before["rotation_rad"]},
    )
    own_sigma = math.hypot(axes.scale_sigma, scale_sigma / fit.camera.mm_per_px)
    for name, scale in (("gantry_scale_x", axes.scale_x), ("gantry_scale_y", axes.scale_y)):
        yield Reading(name, scale, own_sigma, "1", "dot grid against moves")
    yield Reading("axes_skew", axes.skew_rad, axes.skew_sigma_rad, "rad", "dot grid against moves")


def measure_backlash(bench: Bench) -> Procedure:
    """Play of x, y and z, from the same place approached from both sides."""
    total = 2 * TURNS * 3 + len(HEIGHTS_MM)
    done = 0
    yield Progress(done, total, "play of the axes")
    slope = []
    for height in HEIGHTS_MM:
        slope.append(_place(bench, see(bench, dz_mm=height, z_side=-1)).size)
        done += 1
        yield Progress(done, total, "size against height")
    per_mm = float(np.polyfit(HEIGHTS_MM, slope, 1)[0])
    if abs(per_mm) * bench.camera.working_distance_mm < 0.1:
        raise RefusedError("the target does not look smaller from higher up: is z moving?")
    before = bench.line.profile.gantry.backlash_mm
    for number, axis in enumerate("xyz"):
        seen: dict[int, list[float]] = {-1: [], 1: []}
        for turn in range(2 * TURNS):
            # - + + - - + ...: a drift of temperature adds to neither side.
            side = -1 if (turn + 1) // 2 % 2 == 0 else 1
            place = _place(bench, _from_side(bench, number, side))
            value = (place.x_mm, place.y_mm, place.size / per_mm)[number]
            seen[side].append(value)
            done += 1
            yield Progress(done, total, f"play of {axis}")
        low, high = np.array(seen[-1]), np.array(seen[1])
        # From below the head stays behind by half the play: the target is seen further on in x
        # and y, and from a lower height in z.
        play = float(low.mean() - high.mean()) * (1 if number < 2 else -1)
        sigma = float(np.hypot(low.std(ddof=1), high.std(ddof=1)) / math.sqrt(TURNS))
        yield Reading(
            f"backlash_{axis}",
            play,
            max(sigma, 1e-4),
            "mm",
            "approached from both sides",
            conditions={} if before is None else {"before": before[number]},
        )


def _from_side(bench: Bench, axis: int, side: int) -> Sight:
    if axis == 2:
        return see(bench, z_side=side)
    sides: Side = (side, FROM_BELOW_LEFT[1]) if axis == 0 else (FROM_BELOW_LEFT[0], side)
    return see(bench, side=sides)


def measure_repeatability(bench: Bench) -> Procedure:
    """Scatter of one place that is approached as always, from different places far away."""
    places = []
    for number in range(AGAIN):
        angle = 2 * math.pi * number / AGAIN
        look(
            bench,
            bench.centre_mm[0] + AFAR_MM * math.cos(angle),
            bench.centre_mm[1] + AFAR_MM * math.sin(angle),
        )
        sight = see(bench)
        place = _place(bench, sight)
        places.append((place.x_mm + sight.head_mm[0], place.y_mm + sight.head_mm[1]))
        yield Progress(number + 1, AGAIN, "coming back to the same place")
    scatter = np.array(places).std(axis=0, ddof=1)
    bench.repeatability_mm = float(scatter.max())
    for axis, value in zip("xy", scatter, strict=True):
        yield Reading(
            f"repeatability_{axis}",
            float(value),
            max(float(value) / math.sqrt(2 * (AGAIN - 1)), 1e-5),
            "mm",
            f"standard deviation of {AGAIN} approaches",
        )


def measure_tool_offset(bench: Bench) -> Procedure:
    """Optical axis minus nozzle, from prints that the nozzle leaves on the pad."""
    target, camera = bench.target, bench.camera
    pad = target.pad_mm
    if pad is None:
        raise RefusedError(
            "the target has no pad (target.pad_mm in the site profile): the nozzle's place can't "
            "be seen"
        )
    line = bench.line
    if line.gripper.vacuum_on():
        raise RefusedError("the vacuum is on: take off what hangs on the nozzle first")
    said = yield Ask(
        "Put a clean pad beside the calibration target. The nozzle will touch it "
        f"{len(PRINTS)} times.",
        ("Continue", "Stop"),
        "Continue",
        task=CLEAN_PAD,
    )
    if said != "Continue":
        raise RefusedError("stopped before the nozzle touched the pad")
    before = (camera.offset_x_mm, camera.offset_y_mm)
    offsets: list[tuple[float, float]] = []
    total = 2 * len(PRINTS)
    for number, (dx, dy) in enumerate(PRINTS):
        nozzle = _press(bench, pad[0] + dx, pad[1] + dy)
        yield Progress(2 * number + 1, total, f"print {number + 1} made")
        image, head = look(bench, *nozzle)
        seen = _first_print(bench, image) if number == 0 else (0.0, 0.0)
        found = find_fiducial(
            image,
            bench.model(),
            diameter_mm=target.print_diameter_mm,
            near_mm=seen,
            search_mm=PRINT_SEARCH_MM,
        )
        if not found.found:
            raise RefusedError(
                f"print {number + 1} is not seen: {'; '.join(found.reasons)}. Is the pad as high "
                "as the dots (target.surface_z_mm)?"
            )
        assert found.x_mm is not None
        assert found.y_mm is not None
        offset = (nozzle[0] - head[0] - found.x_mm, nozzle[1] - head[1] - found.y_mm)
        offsets.append(offset)
        bench.learn(offset_x_mm=offset[0], offset_y_mm=offset[1])
        yield Progress(2 * number + 2, total, f"print {number + 1} seen")
        yield Picture("nozzle print", image, camera.mm_per_px, {"x_mm": head[0], "y_mm": head[1]})
    measured = np.array(offsets)
    mean, scatter = measured.mean(axis=0), measured.std(axis=0, ddof=1)
    if scatter.max() > 0.1:
        raise RefusedError(
            f"the prints scatter by {scatter.max():.2f} mm: is the nozzle loose, or the pad?"
        )
    bench.learn(offset_x_mm=float(mean[0]), offset_y_mm=float(mean[1]))
    sigma = np.hypot(scatter / math.sqrt(len(offsets)), 0.001)
    for axis, value, error, old in zip("xy", mean, sigma, before, strict=True):
        yield Reading(
            f"camera_offset_{axis}",
            float(value),
            float(error),
            "mm",
            f"{len(offsets)} prints of the nozzle",
            conditions={"before": old, "scatter_mm": float(scatter["xy".index(axis)])},
        )
    yield Note("the nozzle's prints may be wiped off the pad")


def _press(bench: Bench, x_mm: float, y_mm: float) -> tuple[float, float]:
    """Touch the pad with the nozzle; where the nozzle was told to be."""
    line = bench.line
    line.move_over(x_mm, y_mm)
    here = line.gantry.position()
    with line.checkpoint():
        line.gantry.move_to(z_mm=bench.target.surface_z_mm, feed_mm_per_min=PRESS_FEED_MM_PER_MIN)
    line.lift()
    return here.x_mm, here.y_mm


def _first_print(
    bench: Bench, image: "np.ndarray[tuple[int, ...], np.dtype[np.uint8]]"
) -> tuple[float, float]:
    """The one round spot of a print's size near the middle, in mm from the optical axis."""
    middles, diameters = round_spots(image)
    model, wanted = bench.model(), bench.target.print_diameter_mm
    places = model.to_mm(middles) if len(middles) else np.empty((0, 2))
    size = diameters * model.mm_per_px
    near = np.hypot(*places.T) < FIRST_PRINT_WITHIN_MM
    alike = near & (np.abs(size / wanted - 1) < PRINT_SIZE_WITHIN)
    if alike.sum() != 1:
        raise RefusedError(
            f"{int(alike.sum())} spots of {wanted:g} mm within {FIRST_PRINT_WITHIN_MM:g} mm of "
            "where the print should be: put a clean pad there, or correct camera.offset_x_mm and "
            "offset_y_mm by hand"
        )
    x, y = places[alike][0]
    return float(x), float(y)


def _place(bench: Bench, sight: Sight) -> Place:
    return locate(bench.model(), sight.grid, bench.target.pitch_mm)


def _pose(sight: Sight) -> dict[str, float]:
    return dict(zip(("x_mm", "y_mm", "z_mm"), sight.head_mm, strict=True))


STEPS: Mapping[str, Callable[[Bench], Procedure]] = {
    "focus": find_focus,
    "camera": calibrate_camera,
    "backlash": measure_backlash,
    "repeatability": measure_repeatability,
    "tool": measure_tool_offset,
}
"""The steps in their order."""
