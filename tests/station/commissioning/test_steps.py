"""The commissioning on the twin, whose truth is known. The tests of this module build on each
other in their order, as the steps do."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from drivers.errors import InstrumentError
from station.commissioning import steps
from station.commissioning.axes_fit import AxesFit, fit_axes
from station.commissioning.focus_fit import fit_focus
from station.commissioning.looking import Bench
from station.events import Ask, Curve, Picture, Progress, Reading, RefusedError
from station.twin import world
from tests.station.commissioning.conftest import Yard

WITHIN = 4.5


def agrees(reading: Reading, truth: float) -> bool:
    assert reading.value is not None
    assert reading.sigma is not None
    return abs(reading.value - truth) < WITHIN * reading.sigma


def test_a_line_without_a_target_says_what_its_profile_lacks(yard: Yard) -> None:
    profile = yard.line.profile
    yard.line.profile = profile.model_copy(update={"target": None})
    try:
        with pytest.raises(RefusedError, match=r"\[target\]"):
            Bench.of(yard.line)
    finally:
        yard.line.profile = profile


def test_the_focus_is_where_the_picture_is_sharpest(yard: Yard, bench: Bench) -> None:
    events = yard.run(steps.find_focus(bench))
    (reading,) = (e for e in events if isinstance(e, Reading))
    assert agrees(reading, yard.true.working_distance_mm)
    assert reading.sigma is not None
    assert reading.sigma < 0.1
    assert [type(e) for e in events if isinstance(e, Curve | Picture)] == [Curve, Picture]
    last = [e for e in events if isinstance(e, Progress)][-1]
    assert last.done == last.total


def test_the_camera_is_found_within_its_errors(yard: Yard, bench: Bench) -> None:
    found = yard.readings(steps.calibrate_camera(bench))
    true = yard.true
    # The scale belongs to the height from which it was seen.
    height = bench.camera.working_distance_mm / true.working_distance_mm
    assert agrees(found["mm_per_px"], true.mm_per_px * height)
    assert agrees(found["camera_rotation"], true.rotation_rad)
    assert agrees(found["camera_k1"], true.k1_per_mm2)
    assert agrees(found["gantry_scale_x"], 1.0)
    assert agrees(found["gantry_scale_y"], 1.0)
    assert agrees(found["axes_skew"], 0.0)
    scale = found["mm_per_px"]
    assert scale.sigma is not None
    assert scale.value is not None
    assert scale.sigma / scale.value < 1e-4
    assert scale.conditions["before"] == yard.line.profile.camera.mm_per_px


def test_the_play_of_every_axis_is_found_from_both_sides(
    yard: Yard, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "TURNS", 2)
    found = yard.readings(steps.measure_backlash(bench))
    for axis, truth in zip("xyz", world.BACKLASH_MM, strict=True):
        assert agrees(found[f"backlash_{axis}"], truth)
        assert found[f"backlash_{axis}"].value == pytest.approx(truth, abs=1e-3)


def test_a_place_is_found_again_from_everywhere(
    yard: Yard, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(steps, "AGAIN", 4)
    found = yard.readings(steps.measure_repeatability(bench))
    for axis in "xy":
        value = found[f"repeatability_{axis}"].value
        assert value is not None
        assert value < 2e-3


def test_the_nozzle_is_found_by_its_prints(yard: Yard, bench: Bench) -> None:
    events = yard.run(steps.measure_tool_offset(bench))
    found = {e.quantity: e for e in events if isinstance(e, Reading)}
    assert agrees(found["camera_offset_x"], yard.true.offset_x_mm)
    assert agrees(found["camera_offset_y"], yard.true.offset_y_mm)
    asked = [e for e in events if isinstance(e, Ask)]
    assert len(asked) == 1
    assert "clean pad" in asked[0].question
    assert not yard.line.gripper.vacuum_on()


def test_a_pad_with_old_prints_is_refused(yard: Yard, bench: Bench) -> None:
    assert bench.target.pad_mm is not None
    procedure = steps.measure_tool_offset(bench)
    event = next(procedure)
    while not isinstance(event, Ask):
        event = next(procedure)
    for dx in (-4.0, 4.0):
        yard.twin.world._target.touch(  # type: ignore[union-attr]
            bench.target.pad_mm[0] + dx, bench.target.pad_mm[1], bench.target.surface_z_mm
        )
    with pytest.raises(RefusedError, match="clean pad"):
        event = procedure.send(event.default)
        while True:
            event = next(procedure)


def test_the_answer_stop_leaves_the_pad_untouched(yard: Yard, bench: Bench) -> None:
    yard.twin.world.clean_pad()
    procedure = steps.measure_tool_offset(bench)
    assert isinstance(next(procedure), Ask)
    with pytest.raises(RefusedError, match="stopped"):
        procedure.send("Stop")
    assert yard.twin.world._target._prints == []  # type: ignore[union-attr]


def test_a_dark_lamp_is_refused_with_its_reason(yard: Yard, bench: Bench) -> None:
    yard.twin.world.lamp = 0.02
    try:
        with pytest.raises((RefusedError, InstrumentError), match="dark"):
            yard.run(steps.calibrate_camera(bench))
    finally:
        yard.twin.world.lamp = 1.0


def test_a_machine_whose_millimetre_is_another_than_the_targets_is_refused() -> None:
    axes = AxesFit(0.0, 1e-5, 1.0, 1.02, 1e-5, 0.0, 1e-5, 1e-3)
    with pytest.raises(RefusedError, match=r"gantry's y measures 1\.02.*steps per mm"):
        steps._check_axes(axes, 2e-5)


def test_a_target_that_the_camera_can_not_reach_is_refused(yard: Yard, bench: Bench) -> None:
    there = bench.centre_mm
    bench.centre_mm = (20.0, 100.0)
    try:
        with pytest.raises(RefusedError, match="move the target"):
            yard.run(steps.find_focus(bench))
    finally:
        bench.centre_mm = there


@pytest.mark.study
def test_over_many_lines_every_number_agrees_with_the_truth_within_its_error(
    open_yard: Callable[[int], Yard],
) -> None:
    pulls: dict[str, list[float]] = {}
    for seed in range(200, 212):
        yard = open_yard(seed)
        bench = Bench.of(yard.line)
        found: dict[str, Reading] = {}
        for step in steps.STEPS.values():
            found |= yard.readings(step(bench))
        true = yard.true
        height = bench.camera.working_distance_mm / true.working_distance_mm
        truth = {
            "working_distance": true.working_distance_mm,
            "mm_per_px": true.mm_per_px * height,
            "camera_k1": true.k1_per_mm2,
            "camera_rotation": true.rotation_rad,
            "gantry_scale_x": 1.0,
            "gantry_scale_y": 1.0,
            "axes_skew": 0.0,
            "camera_offset_x": true.offset_x_mm,
            "camera_offset_y": true.offset_y_mm,
            **{f"backlash_{a}": v for a, v in zip("xyz", world.BACKLASH_MM, strict=True)},
        }
        for name, value in truth.items():
            reading = found[name]
            assert reading.value is not None
            assert reading.sigma is not None
            pulls.setdefault(name, []).append((reading.value - value) / reading.sigma)
    for name, values in pulls.items():
        print(f"{name}: pull {np.mean(values):+.2f} ± {np.std(values):.2f}")
        assert np.abs(values).max() < 5, name
        assert abs(np.mean(values)) < 2, name


# -- the fits alone --------------------------------------------------------------------------------


def test_rotation_scales_and_skew_are_told_apart() -> None:
    rng = np.random.default_rng(2)
    head = rng.uniform(-20, 20, (40, 2)) + np.array([700.0, 100.0])
    rotation, skew, noise = 0.02, 0.003, 0.004
    x_axis = 1.001 * np.array([math.cos(-rotation - skew / 2), math.sin(-rotation - skew / 2)])
    y_axis = 0.999 * np.array([-math.sin(-rotation + skew / 2), math.cos(-rotation + skew / 2)])
    shift = np.array([3.0, 4.0]) - head @ np.array([x_axis, y_axis]) + rng.normal(0, noise, (40, 2))
    fit = fit_axes(head, shift)
    assert abs(fit.rotation_rad - rotation) < 4 * fit.rotation_sigma_rad
    assert abs(fit.skew_rad - skew) < 4 * fit.skew_sigma_rad
    assert abs(fit.scale_x - 1.001) < 4 * fit.scale_sigma
    assert abs(fit.scale_y - 0.999) < 4 * fit.scale_sigma
    assert fit.residual_mm == pytest.approx(noise, rel=0.3)


def test_places_on_one_line_say_nothing_about_the_other_axis() -> None:
    head = np.column_stack((np.arange(6.0), np.zeros(6)))
    with pytest.raises(ValueError, match="one line"):
        fit_axes(head, -head)
    with pytest.raises(ValueError, match="at least 5"):
        fit_axes(head[:4], -head[:4])


def test_the_sharpest_height_is_found_within_its_error() -> None:
    rng = np.random.default_rng(4)
    offsets = np.linspace(-6, 6, 13)
    pulls = []
    for _ in range(60):
        true = rng.uniform(-3, 3)
        sharp = (0.8 + 0.06 * (offsets - true) ** 2) ** -0.5 * rng.normal(1, 0.01, 13)
        fit = fit_focus(offsets, sharp)
        pulls.append((fit.offset_mm - true) / fit.sigma_mm)
    assert 0.7 < np.std(pulls) < 1.4
    assert abs(np.mean(pulls)) < 0.5


@pytest.mark.parametrize(
    ("sharp", "told"),
    [
        (np.linspace(1, 2, 13), "maximum|end of the range"),
        (np.ones(13), "maximum"),
        (np.zeros(13), "contrast"),
        (np.concatenate((np.ones(12), [0.0])), "contrast"),
    ],
)
def test_heights_without_a_sharpest_one_are_refused(sharp: np.ndarray, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fit_focus(np.linspace(-6, 6, 13), sharp)
