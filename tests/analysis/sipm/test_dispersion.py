import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.dispersion import enf_divisor, mean_dispersion
from analysis.sipm.peaks import fit_peaks
from analysis.sipm.simulate import SiPMTruth, gain, photon_detection, simulate_charges
from analysis.sipm.spectrum import Spectrum

TRUTH = SiPMTruth(afterpulse=0.0, light_jitter=0.0, crosstalk_per_v=0.04)
BIAS_V = 40.778
GAIN = gain(TRUTH, BIAS_V, 25.0)
DIVISOR = Estimate(1 / (1 - 0.12) ** 2 + 0.04**2, 0.0, "1", "truth")


def take(rng: np.random.Generator, mean_pe: float, **other: float) -> Spectrum:
    setting = {"n_events": 5000, "pedestal_adc": 300.0, "noise_adc": 30.0, **other}
    photons = mean_pe / photon_detection(TRUTH, BIAS_V, 25.0)
    charges = simulate_charges(
        rng, TRUTH, bias_v=BIAS_V, temperature_c=25.0, mean_photons=photons, **setting
    )
    return Spectrum.from_charges(np.rint(charges))


@pytest.mark.parametrize("mean_pe", [1.0, 5.0])
def test_the_gain_is_found_without_peaks_and_with_honest_errors(mean_pe: float) -> None:
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(40):
        found = mean_dispersion(take(rng, mean_pe), take(rng, 0.0), DIVISOR)
        assert found.value is not None, found.reasons
        assert found.sigma is not None
        pulls.append((found.value - GAIN) / found.sigma)
    assert 0.7 < np.std(pulls) < 1.35
    assert abs(np.mean(pulls)) < 0.5


def test_the_error_of_the_divisor_is_part_of_the_error() -> None:
    rng = np.random.default_rng(1)
    on, off = take(rng, 5.0), take(rng, 0.0)
    sure = mean_dispersion(on, off, DIVISOR)
    unsure = mean_dispersion(on, off, Estimate(DIVISOR.value, 0.1, "1", "test"))
    extra = (sure.value or 0) * 0.1 / (DIVISOR.value or 1)
    assert unsure.sigma == pytest.approx(np.hypot(sure.sigma or 0, extra))


@pytest.mark.parametrize("divisor", [None, unknown("1", "test", "peaks not resolved")])
def test_without_the_divisor_the_gain_is_unknown(divisor: Estimate | None) -> None:
    rng = np.random.default_rng(1)
    found = mean_dispersion(take(rng, 5.0), take(rng, 0.0), divisor)
    assert not found.known
    assert "divisor F" in found.reasons[0]


def test_an_impossible_divisor_is_refused() -> None:
    rng = np.random.default_rng(1)
    found = mean_dispersion(take(rng, 5.0), take(rng, 0.0), Estimate(0.9, 0.01, "1", "test"))
    assert "below 1" in found.reasons[0]


def test_no_light_is_seen_and_refused() -> None:
    rng = np.random.default_rng(1)
    found = mean_dispersion(take(rng, 0.0), take(rng, 0.0), DIVISOR)
    assert found.reasons[0].startswith("no light")


def test_swapped_runs_are_refused() -> None:
    rng = np.random.default_rng(1)
    found = mean_dispersion(take(rng, 0.0), take(rng, 5.0), DIVISOR)
    assert "baselines differ" in found.reasons[0]


@pytest.mark.parametrize("pedestal_adc", [312.0, 288.0])
def test_a_moved_baseline_is_seen_where_the_pedestal_is(pedestal_adc: float) -> None:
    rng = np.random.default_rng(1)
    on = take(rng, 0.5, pedestal_adc=pedestal_adc, noise_adc=4.0)
    found = mean_dispersion(on, take(rng, 0.0, noise_adc=4.0), DIVISOR)
    assert not found.known
    assert "baseline" in found.reasons[0]


def test_overflow_is_refused() -> None:
    rng = np.random.default_rng(1)
    on = take(rng, 20.0)
    cut = np.minimum(np.repeat(on.centers, on.counts.astype(int)), 1023)
    found = mean_dispersion(Spectrum.from_charges(cut), take(rng, 0.0), DIVISOR)
    assert "last bin" in found.reasons[0]


def test_different_bin_widths_are_refused() -> None:
    rng = np.random.default_rng(1)
    found = mean_dispersion(take(rng, 5.0).rebinned(2), take(rng, 0.0), DIVISOR)
    assert "bin widths" in found.reasons[0]


def test_the_divisor_of_resolved_peaks_gives_the_gain_of_the_unresolved() -> None:
    rng = np.random.default_rng(1)
    resolved = fit_peaks(take(rng, 2.0, n_events=20000, noise_adc=3.0, pedestal_adc=100.0))
    divisor = enf_divisor(resolved)
    assert divisor.value == pytest.approx(DIVISOR.value, abs=0.05)
    on, off = take(rng, 10.0, n_events=20000), take(rng, 0.0, n_events=20000)
    found = mean_dispersion(on, off, divisor)
    assert abs((found.value or 0) - GAIN) < 3.5 * (found.sigma or 0)
    assert (found.sigma or 0) < 0.05 * GAIN


def test_the_divisor_of_unresolved_peaks_is_unknown() -> None:
    spectrum = take(np.random.default_rng(1), 5.0)
    assert not enf_divisor(fit_peaks(spectrum)).known
