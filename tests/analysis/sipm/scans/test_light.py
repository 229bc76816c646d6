from dataclasses import replace

import numpy as np
import pytest

from analysis.sipm.scans import LightScan, ScanPoint, gain_against_light
from tests.analysis.sipm.scans.toys import adc

LEVELS = np.geomspace(0.5, 30.0, 8)


def lit(
    rng: np.random.Generator, gain: np.ndarray, *, relative: float = 0.003, scale: float = 0.0
) -> list[ScanPoint]:
    common = scale * rng.standard_normal()
    points = []
    for light, true in zip(LEVELS, gain, strict=True):
        seen = true * (1 + relative * rng.standard_normal() + common)
        points.append(
            ScanPoint(54.0, 25.0, adc(seen, relative * true), scale * seen, light=float(light))
        )
    return points


def pull(scan: LightScan) -> float:
    return ((scan.gain.value or 0) - 30.0) / (scan.gain.sigma or 0)


@pytest.mark.parametrize("scale", [0.0, 0.03])
def test_a_constant_gain_is_their_mean_with_a_pull_of_width_one(scale: float) -> None:
    rng = np.random.default_rng(31)
    scans = [gain_against_light(lit(rng, np.full(8, 30.0), scale=scale)) for _ in range(300)]
    assert np.std([pull(scan) for scan in scans]) == pytest.approx(1.0, abs=0.13)
    assert np.mean([scan.verdict == "pass" for scan in scans]) > 0.96
    slopes = [(scan.slope.value or 0) / (scan.slope.sigma or 1) for scan in scans]
    assert np.std(slopes) == pytest.approx(1.0, abs=0.13)


@pytest.mark.parametrize(("rise", "cause"), [(-0.002, "saturate"), (0.002, "pulse to pulse")])
def test_a_slope_is_flagged_with_its_likely_cause(rise: float, cause: str) -> None:
    rng = np.random.default_rng(32)
    gain = 30 * (1 + rise * LEVELS)
    pulls = []
    for _ in range(100):
        scan = gain_against_light(lit(rng, gain))
        assert scan.verdict == "flag"
        assert not scan.constant
        assert cause in scan.reasons[0]
        assert scan.change.value == pytest.approx(rise * 29.5, rel=0.5)
        pulls.append(pull(scan))
    assert np.std(pulls) < 1.25
    assert abs(np.mean(pulls)) < 0.3


def test_saturation_that_bends_is_covered() -> None:
    rng = np.random.default_rng(33)
    gain = 30 * (1 - np.exp(-40 / LEVELS))
    pulls = [pull(gain_against_light(lit(rng, gain, relative=0.001))) for _ in range(60)]
    assert np.max(np.abs(pulls)) < 3


def test_a_scale_error_cannot_hide_a_slope() -> None:
    points = lit(np.random.default_rng(34), 30 * (1 + 0.001 * LEVELS), relative=0.0005)
    with_scale = [replace(p, shared_sigma=0.2 * (p.gain.value or 0)) for p in points]
    assert gain_against_light(with_scale).verdict == "flag"


def test_points_without_light_level_are_named() -> None:
    points = lit(np.random.default_rng(35), np.full(8, 30.0))
    points[1] = replace(points[1], light=None)
    scan = gain_against_light(points)
    assert [out.index for out in scan.left_out] == [1]
    assert gain_against_light(points[:3]).verdict == "unknown"
