import numpy as np
import pytest

from analysis.sipm.poisson_fit import fit_poisson, pearson
from analysis.sipm.poisson_model import (
    NAMES,
    bin_probabilities,
    likelihood_gradient,
    negative_log_likelihood,
    peak_weights,
)

VALUES = np.array([100.0, 28.0, 3.0, 1.5, 2.0, 0.07, 0.03, 0.04])
EDGES = np.arange(50.0, 500.0)


def test_weights_have_the_moments_of_the_generalised_poisson_law() -> None:
    k = np.arange(200.0)
    weight = peak_weights(k, 2.0, 0.1)
    assert weight.sum() == pytest.approx(1.0)
    assert weight @ k == pytest.approx(2.0 / 0.9)
    assert weight @ (k - 2.0 / 0.9) ** 2 == pytest.approx(2.0 / 0.9**3)


def test_bins_hold_all_events() -> None:
    assert bin_probabilities(EDGES, VALUES, 20).sum() == pytest.approx(1.0, abs=1e-4)


def test_probabilities_do_not_depend_on_how_bins_are_joined() -> None:
    fine = bin_probabilities(EDGES[:449], VALUES, 20)
    coarse = bin_probabilities(EDGES[:449:4], VALUES, 20)
    np.testing.assert_allclose(fine.reshape(-1, 4).sum(axis=1), coarse, atol=1e-10)


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_the_gradient_is_that_of_the_likelihood(index: int) -> None:
    counts = np.random.default_rng(2).poisson(3000 * bin_probabilities(EDGES, VALUES, 20))
    counts = counts.astype(float)
    step = 1e-5 * max(1.0, VALUES[index])
    up, down = VALUES.copy(), VALUES.copy()
    up[index] += step
    down[index] -= step
    rise = negative_log_likelihood(counts, EDGES, up, 20) - negative_log_likelihood(
        counts, EDGES, down, 20
    )
    gradient = likelihood_gradient(counts, EDGES, VALUES, 20)
    assert gradient[index] == pytest.approx(rise / (2 * step), rel=1e-4, abs=1e-3)


def test_the_fit_does_not_depend_on_the_unit_of_the_axis() -> None:
    counts = np.random.default_rng(2).poisson(5000 * bin_probabilities(EDGES, VALUES, 20))
    scale = np.array([1e-3, 1e-3, 1e-3, 1e-6, 1, 1, 1, 1])
    adc = fit_poisson(counts.astype(float), EDGES, VALUES)
    volts = fit_poisson(counts.astype(float), EDGES * 1e-3, VALUES * scale)
    np.testing.assert_allclose(volts.values, adc.values * scale, rtol=1e-6)
    assert volts.sigma("gain") == pytest.approx(adc.sigma("gain") * 1e-3, rel=1e-6)


def test_chi2_of_the_truth_is_about_its_number_of_cells() -> None:
    expected = 5000 * bin_probabilities(EDGES, VALUES, 20)
    rng = np.random.default_rng(4)
    ratio = [
        chi2 / n
        for chi2, n in (pearson(rng.poisson(expected).astype(float), expected) for _ in range(40))
    ]
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.06)
