from itertools import product

import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans import (
    By,
    VbdTemperature,
    all_at_reference,
    at_reference,
    joint_fit,
)
from tests.analysis.sipm.scans.toys import Device, adc, scanned

DEVICE = Device(gain_per_v_slope=-3e-4)
PLACES = [(float(v), t) for t, v in product((-20.0, 0.0, 20.0, 30.0), np.arange(53.0, 56.1, 1.0))]


def test_every_gain_comes_to_the_reference_with_a_pull_of_width_one() -> None:
    rng = np.random.default_rng(51)
    pulls = []
    for _ in range(150):
        fit = joint_fit(scanned(rng, PLACES, DEVICE), curvature_per_v=0.0, vbd_curvature_per_k2=0.0)
        new = scanned(rng, [(54.0, -10.0)], DEVICE)
        (corrected,) = all_at_reference(new, fit)
        assert corrected.measured is new[0]
        at = corrected.at_reference
        assert (at.sigma or 0) > (new[0].gain.sigma or 0) * 0.5
        pulls.append(((at.value or 0) - DEVICE.gain(54.0)) / (at.sigma or 0))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.18)
    assert abs(np.mean(pulls)) < 0.25


def test_the_data_of_a_device_type_are_enough() -> None:
    device = Device()
    kind = VbdTemperature(
        Estimate(0.05, 0.002, "V/K", "recipe"), Estimate(51.0, 0.02, "V", "toy"), 25.0
    )
    measured = adc(device.gain(54.0, 5.0), 0.05)
    at = at_reference(measured, bias_v=54.0, temperature_c=5.0, by=kind)
    assert at.value == pytest.approx(device.gain(54.0))
    over = 54.0 - 51.0 + 0.05 * 20
    by_gain = 3.0 / over * 0.05
    by_slope = measured.value * 20 * 0.002 * 3.0 / over**2
    by_vbd = measured.value * 0.02 * abs(3.0 / over - 1) / over
    assert at.sigma == pytest.approx(np.sqrt(by_gain**2 + by_slope**2 + by_vbd**2))


@pytest.mark.parametrize("kind", ["fit", "breakdown", "relative", "absolute"])
def test_derivatives_are_those_of_the_correction(kind: str) -> None:
    by: By
    if kind == "fit":
        by = joint_fit(scanned(np.random.default_rng(1), PLACES, DEVICE))
    elif kind == "breakdown":
        by = VbdTemperature(Estimate(0.05, 0.0, "V/K", "t"), Estimate(51.0, 0.0, "V", "t"))
    elif kind == "relative":
        by = Estimate(-0.015, 0.0, "1/K", "t")
    else:
        by = Estimate(-0.45, 0.0, "ADC/pe/K", "t")

    def value(gain: float, temperature: float) -> float:
        at = at_reference(adc(gain, 0.1), bias_v=54.0, temperature_c=temperature, by=by)
        return at.value or 0.0

    by_gain = (value(31.01, 10.0) - value(30.99, 10.0)) / 0.02
    by_kelvin = (value(31.0, 10.01) - value(31.0, 9.99)) / 0.02
    exact = at_reference(adc(31.0, 0.0), bias_v=54.0, temperature_c=10.0, by=by)
    both = at_reference(
        adc(31.0, 0.1), bias_v=54.0, temperature_c=10.0, by=by, temperature_sigma_k=0.5
    )
    expected = (by_gain * 0.1) ** 2 + (by_kelvin * 0.5) ** 2 + (exact.sigma or 0) ** 2
    assert (both.sigma or 0) ** 2 == pytest.approx(expected, rel=1e-3)


def test_at_the_reference_nothing_changes() -> None:
    fit = joint_fit(scanned(np.random.default_rng(1), PLACES, DEVICE))
    at = at_reference(adc(28.0, 0.1), bias_v=54.0, temperature_c=25.0, by=fit)
    assert (at.value, at.sigma) == (pytest.approx(28.0), pytest.approx(0.1))


def test_what_is_not_known_stays_unknown() -> None:
    coefficient = Estimate(-0.01, 0.001, "1/K", "toy")
    nothing = unknown("ADC/pe", "toy", "no peak")
    known = adc(30, 0.1)
    kind = VbdTemperature(Estimate(0.05, 0, "V/K", "t"), Estimate(51.0, 0, "V", "t"))
    cases = [
        at_reference(nothing, bias_v=54.0, temperature_c=5.0, by=coefficient),
        at_reference(known, bias_v=54.0, temperature_c=None, by=coefficient),
        at_reference(known, bias_v=54.0, temperature_c=5.0, by=unknown("1/K", "t", "why")),
        at_reference(known, bias_v=50.5, temperature_c=20.0, by=kind),
        at_reference(known, bias_v=54.0, temperature_c=500.0, by=coefficient),
        at_reference(known, bias_v=54.0, temperature_c=5.0, by=joint_fit([])),
    ]
    assert not any(case.known for case in cases)
    with pytest.raises(ValueError, match="1/K"):
        at_reference(known, bias_v=54.0, temperature_c=5.0, by=Estimate(1, 1, "V/K", "t"))
