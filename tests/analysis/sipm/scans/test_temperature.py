from dataclasses import replace

import numpy as np
import pytest

from analysis.estimate import unknown
from analysis.sipm.scans import (
    ScanPoint,
    TemperatureScan,
    gain_against_bias,
    gain_against_temperature,
    vbd_against_temperature,
)
from tests.analysis.sipm.scans.toys import Device, adc, biases, scanned

TEMPERATURES = np.linspace(-30.0, 40.0, 8)
DEVICE = Device(vbd_slope=0.05)


def cooled(rng: np.random.Generator, **errors: float) -> list[ScanPoint]:
    return scanned(rng, [(54.0, float(t)) for t in TEMPERATURES], DEVICE, **errors)


def pulls(scans: list[TemperatureScan]) -> np.ndarray:
    coefficient = -9.3 * 0.05
    relative, at = coefficient / DEVICE.gain(54.0), DEVICE.gain(54.0)
    return np.array(
        [
            [
                ((estimate.value or 0) - true) / (estimate.sigma or 0)
                for estimate, true in (
                    (scan.coefficient, coefficient),
                    (scan.relative, relative),
                    (scan.gain_at_reference, at),
                )
            ]
            for scan in scans
        ]
    )


@pytest.mark.parametrize("errors", [{}, {"scale_error": 0.03}, {"offset_error": 0.2}])
def test_coefficients_have_pulls_of_width_one(errors: dict) -> None:
    rng = np.random.default_rng(21)
    scans = [gain_against_temperature(cooled(rng, **errors)) for _ in range(300)]
    found = pulls(scans)
    np.testing.assert_allclose(found.std(axis=0), 1.0, atol=0.13)
    np.testing.assert_allclose(found.mean(axis=0), 0.0, atol=0.2)
    assert np.mean([scan.verdict == "pass" for scan in scans]) > 0.97


def test_a_curved_dependence_gives_the_mean_slope_and_names_how_it_changes() -> None:
    device = replace(DEVICE, vbd_curvature=2e-4)
    rng = np.random.default_rng(3)
    points = scanned(rng, [(54.0, float(t)) for t in TEMPERATURES], device)
    scan = gain_against_temperature(points)
    assert scan.verdict == "flag"
    assert not scan.linear
    assert "the slope goes from" in scan.reasons[0]
    slopes = np.gradient([device.gain(54.0, float(t)) for t in TEMPERATURES], TEMPERATURES)
    sigma = scan.coefficient.sigma or 0
    assert scan.coefficient.value == pytest.approx(slopes.mean(), abs=sigma)
    assert sigma > 0.5 * slopes.std()
    at = scan.gain_at_reference
    assert at.value == pytest.approx(device.gain(54.0), abs=3 * (at.sigma or 0))


def test_a_point_at_another_bias_is_named() -> None:
    points = [*cooled(np.random.default_rng(1)), ScanPoint(55.0, 20.0, adc(40, 0.1))]
    scan = gain_against_temperature(points)
    assert [out.index for out in scan.left_out] == [8]
    assert scan.verdict == "flag"
    assert scan.bias_v == pytest.approx(54.0)


def test_points_at_many_biases_are_refused() -> None:
    points = scanned(
        np.random.default_rng(1), [(v, t) for v in (53.0, 54.0) for t in (0.0, 10.0, 20.0)]
    )
    assert "different biases" in gain_against_temperature(points).reasons[0]


def test_two_temperatures_are_not_enough() -> None:
    scan = gain_against_temperature(cooled(np.random.default_rng(1))[:2])
    assert scan.verdict == "unknown"
    assert not scan.relative.known


def test_a_wrong_point_is_named() -> None:
    points = cooled(np.random.default_rng(1))
    points[4] = replace(points[4], gain=adc(1.05 * (points[4].gain.value or 0), 0.05))
    scan = gain_against_temperature(points)
    assert [out.index for out in scan.left_out] == [4]
    assert any("5 C lies" in reason.replace("10 C", "5 C") for reason in scan.reasons)


def test_vbd_against_temperature_has_pulls_of_width_one() -> None:
    rng = np.random.default_rng(5)
    found = []
    for _ in range(300):
        common = 0.02 * rng.standard_normal()
        vbds = [
            (float(t), adc(51 + 0.05 * (t - 25) + 0.004 * rng.standard_normal() + common, 0.004))
            for t in TEMPERATURES
        ]
        scan = vbd_against_temperature(vbds, shared_sigma_v=0.02)
        found.append(
            [
                ((scan.slope.value or 0) - 0.05) / (scan.slope.sigma or 0),
                ((scan.vbd_at_reference.value or 0) - 51) / (scan.vbd_at_reference.sigma or 0),
            ]
        )
    np.testing.assert_allclose(np.std(found, axis=0), 1.0, atol=0.13)


def test_bias_scans_at_several_temperatures_give_the_slope() -> None:
    rng = np.random.default_rng(6)
    vbds = []
    for t in (-20.0, 0.0, 20.0):
        scan = gain_against_bias(scanned(rng, biases(53.0, 56.0, 0.5, t), DEVICE))
        vbds.append((t, scan.vbd_gain))
    found = vbd_against_temperature(vbds)
    assert found.slope.value == pytest.approx(0.05, abs=2 * (found.slope.sigma or 0))
    missing = vbd_against_temperature([*vbds[:2], (20.0, unknown("V", "toy", "no knee"))])
    assert missing.verdict == "unknown"
    assert any("no knee" in reason for reason in missing.reasons)
