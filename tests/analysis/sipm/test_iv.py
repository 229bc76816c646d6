import numpy as np
import pytest

from analysis.sipm.iv import breakdown_from_iv
from analysis.sipm.simulate import SiPMTruth, current_a

TRUTH = SiPMTruth()


def true_knee() -> float:
    voltage = np.arange(37.0, 40.0, 0.001)
    return float(voltage[np.argmax(np.gradient(np.log(current_a(TRUTH, voltage, 25.0)), voltage))])


def curve(step_v: float, noise: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    voltage = np.arange(33.0 + step_v * rng.random(), 42.0, step_v)
    current = np.asarray(current_a(TRUTH, voltage, 25.0))
    sigma = np.hypot(noise * current, 1e-12)
    return voltage, current + sigma * rng.standard_normal(len(voltage))


@pytest.mark.parametrize("step_v", [0.02, 0.05, 0.1, 0.2, 0.5])
@pytest.mark.parametrize("noise", [0.0, 0.01, 0.03])
def test_the_knee_is_found_with_an_honest_error(step_v: float, noise: float) -> None:
    pulls = []
    for seed in range(12):
        found = breakdown_from_iv(*curve(step_v, noise, seed))
        assert found.value is not None, found.reasons
        assert found.sigma is not None
        assert found.sigma < 0.2 + 0.4 * step_v
        pulls.append((found.value - true_knee()) / found.sigma)
    assert np.sqrt(np.mean(np.square(pulls))) < 1.9
    assert np.max(np.abs(pulls)) < 4


def test_a_log_spaced_curve_gives_the_same_knee() -> None:
    voltage = 33.0 + np.geomspace(0.3, 9.0, 60)
    found = breakdown_from_iv(voltage, current_a(TRUTH, voltage, 25.0))
    assert found.value == pytest.approx(true_knee(), abs=3 * (found.sigma or 0))


def test_the_method_names_its_definition() -> None:
    found = breakdown_from_iv(*curve(0.1, 0.01, 1))
    assert "vbd_iv" in found.method
    assert found.unit == "V"


def test_signs_order_and_double_sweeps_do_not_matter() -> None:
    voltage, current = curve(0.1, 0.0, 1)
    plain = breakdown_from_iv(voltage, current)
    order = np.random.default_rng(2).permutation(len(voltage))
    shuffled = breakdown_from_iv(-voltage[order], -current[order])
    double = breakdown_from_iv(np.tile(voltage, 2), np.tile(current, 2))
    assert shuffled.value == pytest.approx(plain.value)
    assert double.value == pytest.approx(plain.value)


def test_a_compliance_plateau_does_not_hide_the_knee() -> None:
    voltage = np.arange(33.0, 48.0, 0.1)
    current = np.minimum(current_a(TRUTH, voltage, 25.0), 5e-9)
    found = breakdown_from_iv(voltage, current)
    assert found.value == pytest.approx(true_knee(), abs=0.1)


def no_knees() -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    rng = np.random.default_rng(3)
    below, above = np.arange(30.0, 37.0, 0.1), np.arange(38.6, 44.0, 0.1)
    return {
        "below breakdown": (below, 1e-11 * below, "does not rise"),
        "above breakdown": (above, np.asarray(current_a(TRUTH, above, 25.0)), "lower end"),
        "noise": (below, 1e-13 * rng.standard_normal(len(below)), ""),
        "exponential": (
            below,
            np.exp(below / 2) * (1 + 0.01 * rng.standard_normal(len(below))),
            "",
        ),
        "few points": (below[:5], np.arange(5.0), "too few"),
        "no points": (np.zeros(0), np.zeros(0), "too few"),
        "constant": (below, np.full(len(below), 1e-9), "does not rise"),
        "zeros": (below, np.zeros(len(below)), "does not rise"),
    }


@pytest.mark.parametrize("name", no_knees())
def test_curves_without_a_knee_are_refused(name: str) -> None:
    voltage, current, reason = no_knees()[name]
    found = breakdown_from_iv(voltage, current)
    assert not found.known
    assert reason in found.reasons[0]


def test_a_knee_under_noise_is_refused() -> None:
    voltage = np.arange(33.0, 42.0, 0.1)
    rng = np.random.default_rng(4)
    noisy = np.asarray(current_a(TRUTH, voltage, 25.0)) + 2e-10 * rng.standard_normal(len(voltage))
    assert not breakdown_from_iv(voltage, noisy, 2e-10).known


def test_points_that_are_not_numbers_are_left_out_and_named() -> None:
    voltage, current = curve(0.1, 0.0, 1)
    current[3] = np.nan
    found = breakdown_from_iv(voltage, current)
    assert found.known
    assert "1 points" in found.reasons[0]


def test_arrays_of_different_length_are_an_error() -> None:
    with pytest.raises(ValueError, match="3 voltages and 2 currents"):
        breakdown_from_iv([1, 2, 3], [1, 2])
