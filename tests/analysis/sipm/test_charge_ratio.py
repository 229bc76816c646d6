from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.estimate import Estimate, unknown
from analysis.sipm.charge_ratio import fit_pair_ratio
from analysis.sipm.dispersion import mean_dispersion
from analysis.sipm.light_charge import THETA, divisor, divisor_slopes, light_transfer
from analysis.sipm.pair_functions import covariance, pair_functions
from analysis.sipm.readers import read_spectrum
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.light_pairs import Light, draw, draw_pair

NO_JITTER = Estimate(0.0, 0.003, "1", "test")


@dataclass(frozen=True)
class Prior:
    enf_divisor: Estimate | None = None
    light_jitter: Estimate | None = NO_JITTER
    light_curvature: Estimate | None = None
    n_pixels: int | None = 1_000_000


def pulls(light: Light, n_pairs: int, *, divisor_error: float | None) -> np.ndarray:
    """(value - truth) / sigma; F is given with a random error of its relative size, or not."""
    rng = np.random.default_rng(7)
    found = []
    for _ in range(n_pairs):
        f = None
        if divisor_error is not None:
            seen = light.divisor * (1 + divisor_error * rng.standard_normal())
            f = Estimate(seen, divisor_error * light.divisor, "1", "test")
        estimate = fit_pair_ratio(*draw_pair(rng, light), Prior(f))
        assert estimate.value is not None, estimate.reasons
        assert estimate.sigma is not None
        found.append((estimate.value - light.gain_adc) / estimate.sigma)
    return np.array(found)


@pytest.mark.parametrize(
    ("light", "divisor_error"),
    [
        (Light(noise_pe=0.3, mu=2, n_events=5000), None),
        (Light(noise_pe=1.0, mu=5), 0.02),
        pytest.param(Light(noise_pe=0.5, mu=1, n_events=50_000), None, marks=pytest.mark.study),
        pytest.param(Light(noise_pe=1.0, mu=5, n_events=100_000), None, marks=pytest.mark.study),
        pytest.param(Light(noise_pe=3.0, mu=20), 0.02, marks=pytest.mark.study),
    ],
)
def test_the_gain_is_found_with_errors_that_cover(
    light: Light, divisor_error: float | None
) -> None:
    found = pulls(light, 20, divisor_error=divisor_error)
    assert abs(np.mean(found)) < 0.7
    assert 0.6 < np.std(found) < 1.3
    assert np.abs(found).max() < 4


def test_residual_modulation_beats_mean_and_dispersion_by_far_without_any_divisor() -> None:
    light = Light(noise_pe=0.35, mu=3, n_events=20_000)
    on, off = draw_pair(np.random.default_rng(1), light)
    f = Estimate(light.divisor, 0.02 * light.divisor, "1", "test")
    rival = mean_dispersion(on, off, f, Prior().light_jitter)
    found = fit_pair_ratio(on, off, Prior())
    assert (found.sigma or 1) < 0.3 * (rival.sigma or 0)
    assert abs((found.value or 0) - light.gain_adc) < 4 * (found.sigma or 0)


def test_at_high_noise_it_is_mean_and_dispersion() -> None:
    light = Light(noise_pe=4.0, mu=10, n_events=20_000)
    on, off = draw_pair(np.random.default_rng(1), light)
    f = Estimate(light.divisor, 0.02 * light.divisor, "1", "test")
    rival = mean_dispersion(on, off, f, Prior().light_jitter)
    found = fit_pair_ratio(on, off, Prior(f))
    assert abs((found.value or 0) - (rival.value or 0)) < 0.5 * (rival.sigma or 0)
    assert (found.sigma or 0) == pytest.approx(rival.sigma or 0, rel=0.25)


def test_without_a_divisor_high_noise_is_refused() -> None:
    found = fit_pair_ratio(*draw_pair(np.random.default_rng(1), Light(noise_pe=4.0)), Prior())
    assert not found.known
    assert "tells the gain only to" in found.reasons[0]


def test_light_of_unknown_jitter_is_trusted_less() -> None:
    light = Light(noise_pe=2.0, mu=40, n_events=50_000, jitter=0.02)
    on, off = draw_pair(np.random.default_rng(1), light)
    f = Estimate(light.divisor, 0.005 * light.divisor, "1", "test")
    measured = fit_pair_ratio(on, off, Prior(f, Estimate(0.02, 0.001, "1", "test")))
    guessed = fit_pair_ratio(on, off, Prior(f, None))
    assert (guessed.sigma or 0) > 1.2 * (measured.sigma or 1)
    for found in (measured, guessed):
        assert abs((found.value or 0) - light.gain_adc) < 3 * (found.sigma or 0)


def test_more_noise_with_light_than_without_is_refused() -> None:
    rng = np.random.default_rng(1)
    light = Light(noise_pe=0.4, mu=3, n_events=50_000)
    on = draw(rng, replace(light, noise_pe=0.5), lit=True)
    f = Estimate(light.divisor, 0.01 * light.divisor, "1", "test")
    found = fit_pair_ratio(on, draw(rng, light, lit=False), Prior(f))
    assert not found.known
    assert "more than light" in found.reasons[0]


def test_two_runs_without_light_are_refused() -> None:
    rng = np.random.default_rng(1)
    dark = [draw(rng, Light(), lit=False) for _ in range(2)]
    assert fit_pair_ratio(*dark).reasons[0].startswith("no light")


def test_an_impossible_divisor_is_refused_and_an_unknown_one_not_used() -> None:
    rng = np.random.default_rng(1)
    on, off = draw_pair(rng, Light(noise_pe=0.3))
    assert "below 1" in fit_pair_ratio(on, off, Prior(Estimate(0.9, 0.1, "1", "t"))).reasons[0]
    assert fit_pair_ratio(on, off, Prior(unknown("1", "t", "no peaks"))) == fit_pair_ratio(
        on, off, Prior()
    )


def test_bins_that_do_not_match_are_refused() -> None:
    on, off = draw_pair(np.random.default_rng(1), Light(noise_pe=0.3))
    moved = Spectrum(off.counts, off.edges + 0.5)
    assert "do not match" in fit_pair_ratio(on, moved).reasons[0]
    stretched = Spectrum(off.counts, np.append(off.edges[:-1], off.edges[-1] + 3))
    assert "one width" in fit_pair_ratio(on, stretched).reasons[0]


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_no_pair_of_histograms_makes_it_raise(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n_bins = int(rng.integers(1, 60))
    width = float(10.0 ** rng.uniform(-3, 3))
    edges = rng.normal(0, 100) + width * np.arange(n_bins + 1)
    counts = rng.poisson(10.0 ** rng.uniform(-1, 4, n_bins)) * (rng.random(n_bins) < 0.7)
    on = Spectrum(counts, edges)
    off = Spectrum(rng.permutation(counts), edges)
    found = fit_pair_ratio(on, off)
    assert found.known or found.reasons


def test_scale_and_pedestal_do_not_matter() -> None:
    on, off = draw_pair(np.random.default_rng(1), Light(noise_pe=0.4))
    found = fit_pair_ratio(on, off)
    scaled = [Spectrum(s.counts, 1e-3 * s.edges - 5.0) for s in (on, off)]
    again = fit_pair_ratio(*scaled)
    assert again.value == pytest.approx(1e-3 * (found.value or 0), rel=1e-4)
    assert again.sigma == pytest.approx(1e-3 * (found.sigma or 0), rel=1e-2)


def test_the_model_has_the_cumulants_of_the_generalised_poisson_law() -> None:
    theta = np.array([[0.0, 0.1, 0.002, 0.03, 0.0]])
    gain, shift, omega = np.array([20.0]), 55.0, np.array([1e-3])
    transfer, _ = light_transfer(omega, shift, gain, theta)
    logarithm = np.log(transfer[0, 0]) / omega[0]
    assert logarithm.imag == pytest.approx(shift, rel=1e-3)
    f = float(divisor(0.1, 0.002, 0.03))
    assert -2 * logarithm.real / omega[0] == pytest.approx(shift * f * 20.0, rel=1e-3)


def test_the_slopes_of_the_model_are_its_differences() -> None:
    rng = np.random.default_rng(1)
    omega, gain = np.linspace(0.02, 0.4, 9), np.array([18.0, 22.0])
    theta = np.array([[0.01, 0.1, 0.002, 0.03, 2e-4]]) * rng.uniform(0.5, 1.5, (2, 5))
    transfer, slopes = light_transfer(omega, 60.0, gain, theta)
    by_f = divisor_slopes(*theta[:, 1:4].T)
    for i in range(len(THETA)):
        ahead = theta.copy()
        ahead[:, i] += 1e-7
        moved = light_transfer(omega, 60.0, gain, ahead)[0]
        np.testing.assert_allclose(
            (moved / transfer - 1) / 1e-7, slopes[:, i], rtol=1e-4, atol=1e-4
        )
        rise = divisor(*ahead[:, 1:4].T) - divisor(*theta[:, 1:4].T)
        np.testing.assert_allclose(rise / 1e-7, by_f[:, i], rtol=1e-4, atol=1e-6)


def test_the_covariance_of_the_functions_is_the_seen_one() -> None:
    rng = np.random.default_rng(1)
    light = Light(noise_pe=0.4, mu=1.5, n_events=1000)
    reference = pair_functions(*draw_pair(rng, light))
    assert not isinstance(reference, str)
    index = reference.index[:6]
    omega = reference.step * index
    seen = []
    for _ in range(600):
        on = draw(rng, light, lit=True)
        values = np.exp(1j * np.outer(omega, on.centers - 300.0)) @ on.counts / on.n_entries
        seen.append(np.concatenate([values.real, values.imag]))
    many = draw(rng, replace(light, n_events=200_000), lit=True)
    grid = reference.step * np.arange(2 * index[-1] + 1)
    function = np.exp(1j * np.outer(grid, many.centers - 300.0)) @ many.counts / many.n_entries
    expected = covariance(function, index, 1000)
    scale = np.sqrt(np.diag(expected))
    difference = (np.cov(np.array(seen).T) - expected) / np.outer(scale, scale)
    assert np.abs(difference).max() < 0.2


def test_real_amplitude_spectra_of_two_led_currents_are_no_pair(shared_data: Path) -> None:
    folder = shared_data / "spectra" / "ketek3350_led_scan"
    if not folder.is_dir():
        pytest.skip(f"no LED scan at {folder}")
    spectra = [read_spectrum(path) for path in sorted(folder.glob("*.csv"))]
    assert len(spectra) == 12
    for on in spectra:
        for off in spectra:
            assert not fit_pair_ratio(on, off).known
