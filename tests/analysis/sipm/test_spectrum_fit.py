import numpy as np
import pytest

from analysis.sipm.response import (
    NAMES,
    BinnedResponse,
    bin_probabilities,
    binning_for,
    peak_weights,
    probabilities_and_slopes,
)
from analysis.sipm.spectrum_fit import fit_spectrum, pearson

VALUES = np.array([100.0, 28.0, 3.0, 1.5, 2.0, 0.07, 0.03, -0.4, 0.01])
BINNING = binning_for(50.0, 1.0, 450, 70.0, 900.0)


def of(values: np.ndarray, **changes: float) -> np.ndarray:
    changed = values.copy()
    for name, value in changes.items():
        changed[NAMES.index(name)] = value
    return changed


def counts(n_events: int, seed: int = 2, values: np.ndarray = VALUES) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.poisson(n_events * bin_probabilities(BINNING, values)).astype(float)


def test_weights_have_the_moments_of_the_generalised_poisson_law() -> None:
    k = np.arange(200.0)
    weight = peak_weights(k, 2.0, 0.1)
    assert weight.sum() == pytest.approx(1.0)
    assert weight @ k == pytest.approx(2.0 / 0.9)
    assert weight @ (k - 2.0 / 0.9) ** 2 == pytest.approx(2.0 / 0.9**3)


@pytest.mark.parametrize("noise", [0.3, 1.0, 3.0, 9.0])
def test_without_afterpulses_and_dark_counts_the_bins_are_those_of_gaussian_peaks(
    noise: float,
) -> None:
    from scipy.special import ndtr

    values = of(VALUES, noise=noise, afterpulse=0.0, dark_edge=0.0)
    k = np.arange(60.0)[:, None]
    z = (BINNING.edges - 100.0 - 28.0 * k) / np.sqrt(noise**2 + 1.5 * k)
    peaks = (peak_weights(k, 2.0, 0.07) * np.diff(ndtr(z), axis=1)).sum(axis=0)
    np.testing.assert_allclose(
        bin_probabilities(BINNING, values), (1 - 1e-4) * peaks + 1e-4 / 450, atol=1e-8
    )


def test_the_mean_is_that_of_the_cascades_with_their_afterpulses() -> None:
    wide = binning_for(-200.0, 1.0, 1800, -200.0, 1600.0)
    p = bin_probabilities(wide, VALUES)
    p = (p - 1e-4 / 1800) / (1 - 1e-4)
    x = 0.5 * (wide.edges[1:] + wide.edges[:-1])
    mean = p @ x
    # An afterpulse has on average the charge <x> = 1 / (1 + b) and <x> times the secondaries.
    share = 1 / (1 + np.exp(-0.4))
    boost = 1 + 0.03 * share
    mean_single = 1 + 0.03 * share * boost
    cascade = mean_single / (1 - 0.07 * boost)
    assert mean == pytest.approx(100.0 + 28.0 * 2.0 * cascade, rel=1e-4)


def test_dark_counts_at_the_edges_of_the_gate_widen_but_do_not_shift() -> None:
    """What dark counts before the gate add, those cut off by its end take away."""
    wide = binning_for(-300.0, 1.0, 1600, -300.0, 1300.0)
    x = 0.5 * (wide.edges[1:] + wide.edges[:-1])
    base = of(VALUES, crosstalk=0.0, afterpulse=0.0, pe_variance=0.0)
    without, with_edge = (bin_probabilities(wide, of(base, dark_edge=edge)) for edge in (0.0, 0.02))
    assert (with_edge - without) @ x == pytest.approx(0.0, abs=1e-3)
    # int x^2 [1/x + 1/(1-x)] - int 1/(1-x) = 1/2 - 3/2
    assert (with_edge - without) @ (x - 156.0) ** 2 == pytest.approx(-0.02 * 28.0**2, rel=1e-2)


def test_bins_hold_all_events() -> None:
    wide = binning_for(0.0, 1.0, 1200, 0.0, 1200.0)
    assert bin_probabilities(wide, VALUES).sum() == pytest.approx(1.0, abs=1e-6)


def test_probabilities_do_not_depend_on_how_bins_are_joined() -> None:
    coarse = binning_for(50.0, 5.0, 90, 70.0, 900.0)
    fine = bin_probabilities(BINNING, VALUES).reshape(-1, 5).sum(axis=1)
    np.testing.assert_allclose(fine, bin_probabilities(coarse, VALUES), atol=1e-8)


@pytest.mark.parametrize("noise", [0.4, 3.0])
@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_the_slopes_are_those_of_the_probabilities(index: int, noise: float) -> None:
    values = of(VALUES, noise=noise)
    step = 1e-4 * max(0.1, abs(values[index]))
    up, down = values.copy(), values.copy()
    up[index] += step
    down[index] -= step
    rise = (bin_probabilities(BINNING, up) - bin_probabilities(BINNING, down)) / (2 * step)
    _, slopes = probabilities_and_slopes(BINNING, values)
    np.testing.assert_allclose(slopes[index], rise, atol=5e-3 * np.abs(rise).max())


def test_pulling_back_is_the_same_as_multiplying_with_the_slopes() -> None:
    pull = np.random.default_rng(1).standard_normal(450)
    _, slopes = probabilities_and_slopes(BINNING, VALUES)
    model = BinnedResponse(BINNING, VALUES)
    np.testing.assert_allclose(model.pullback(pull), slopes @ pull, rtol=1e-9, atol=1e-12)


def test_the_fit_does_not_depend_on_the_unit_of_the_axis() -> None:
    seen = counts(5000)
    scale = np.array([1e-3, 1e-3, 1e-3, 1e-6, 1, 1, 1, 1, 1])
    adc = fit_spectrum(seen, BINNING.edges, VALUES)
    volts = fit_spectrum(seen, BINNING.edges * 1e-3, VALUES * scale)
    np.testing.assert_allclose(volts.values, adc.values * scale, rtol=1e-5)
    assert volts.sigma("gain") == pytest.approx(adc.sigma("gain") * 1e-3, rel=1e-5)


def test_the_fit_finds_the_truth_from_a_rough_start() -> None:
    start = np.array([103.0, 27.0, 4.5, 3.0, 1.5, 0.15, 0.01, 0.0, 0.0])
    fit = fit_spectrum(counts(400_000), BINNING.edges, start)
    assert fit.valid
    for name, true in zip(NAMES, VALUES, strict=True):
        assert abs(fit.value(name) - true) < 4 * fit.sigma(name), name
    assert fit.p_value > 1e-3


def test_pulls_of_data_that_follow_the_model_have_unit_width() -> None:
    start = np.array([101.0, 27.5, 3.5, 2.0, 1.8, 0.1, 0.02, 0.0, 0.01])
    pull = []
    for seed in range(80):
        fit = fit_spectrum(counts(10_000, seed), BINNING.edges, start)
        pull.append((fit.value("gain") - 28.0) / fit.sigma("gain"))
    assert 0.75 < np.std(pull) < 1.2
    assert abs(np.mean(pull)) < 0.6


def test_a_held_parameter_stays_and_has_no_error() -> None:
    fit = fit_spectrum(counts(5000), BINNING.edges, VALUES, held={"afterpulse": 0.0})
    assert fit.value("afterpulse") == 0.0
    assert fit.sigma("afterpulse") == 0.0
    assert fit.sigma("gain") > 0


def test_minos_and_hesse_agree_where_the_likelihood_is_a_parabola() -> None:
    fit = fit_spectrum(counts(200_000), BINNING.edges, VALUES, minos=["gain", "mu"])
    for name in ("gain", "mu"):
        lower, upper = fit.intervals[name]
        assert lower == pytest.approx(fit.sigma(name), rel=0.15)
        assert upper == pytest.approx(fit.sigma(name), rel=0.15)


def test_chi2_of_the_truth_is_about_its_number_of_cells() -> None:
    expected = 5000 * bin_probabilities(BINNING, VALUES)
    rng = np.random.default_rng(4)
    ratio = [
        chi2 / n
        for chi2, n in (pearson(rng.poisson(expected).astype(float), expected) for _ in range(40))
    ]
    assert np.mean(ratio) == pytest.approx(1.0, abs=0.06)
