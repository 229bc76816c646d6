from dataclasses import replace

import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.dispersion import (
    enf_divisor,
    enf_divisor_of_pair,
    gain_times_divisor,
    mean_dispersion,
    prediction,
)
from analysis.sipm.peaks import fit_peaks
from analysis.sipm.simulate import SiPMTruth, gain, photon_detection, simulate_charges
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.pair_toys import Toy, charges, random_toy, spectrum

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
        found = mean_dispersion(
            take(rng, mean_pe), take(rng, 0.0), DIVISOR, n_pixels=SiPMTruth().n_pixels
        )
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


def pulls_and_errors(
    toy: Toy, mean_pe: float, n_events: int, n_pairs: int, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    pulls, statistics = [], []
    for _ in range(n_pairs):
        found = mean_dispersion(
            spectrum(rng, toy, mean_pe, n_events),
            spectrum(rng, toy, 0.0, n_events),
            toy.known_divisor(),
            toy.known_jitter(),
            n_pixels=10**7,
        )
        assert found.value is not None, found.reasons
        pulls.append((found.value - toy.gain) / (found.sigma or 0))
        statistics.append(found.goodness["sigma_statistics"] / toy.gain)
    return np.array(pulls), np.array(statistics)


@pytest.mark.parametrize(("mean_pe", "noise"), [(20.0, 0.5), (20.0, 3.0), (50.0, 2.0)])
def test_the_statistical_error_is_the_predicted_one(mean_pe: float, noise: float) -> None:
    toy = Toy(noise=noise)
    _, statistics = pulls_and_errors(toy, mean_pe, 4000, 20, seed=2)
    charge_pe = mean_pe / (1 - toy.crosstalk)
    wanted = prediction(charge_pe, toy.divisor, noise, 4000)
    assert statistics.mean() == pytest.approx(wanted, rel=0.05)


@pytest.mark.parametrize(("mean_pe", "noise"), [(2.0, 0.3), (10.0, 1.0), (30.0, 4.0)])
def test_the_pulls_are_standard_normal(mean_pe: float, noise: float) -> None:
    pulls, _ = pulls_and_errors(Toy(noise=noise, dark=1.0, jitter=0.02), mean_pe, 2000, 120, seed=3)
    assert abs(pulls.mean()) < 0.3
    assert 0.83 < pulls.std() < 1.17


def test_a_variance_that_does_not_grow_at_all_is_refused() -> None:
    edges = np.arange(41.0)
    counts = np.zeros(40)
    counts[10:20] = 100.0
    found = mean_dispersion(Spectrum(np.roll(counts, 5), edges), Spectrum(counts, edges), DIVISOR)
    assert not found.known
    assert found.reasons


def test_known_light_jitter_is_taken_out() -> None:
    toy = Toy(jitter=0.05)
    rng = np.random.default_rng(4)
    on, off = spectrum(rng, toy, 80.0, 20_000), spectrum(rng, toy, 0.0, 20_000)
    known = mean_dispersion(on, off, toy.known_divisor(), toy.known_jitter(2e-3), n_pixels=10**7)
    ignored = mean_dispersion(
        on, off, toy.known_divisor(), Estimate(0.0, 1e-4, "1", "wrong"), n_pixels=10**7
    )
    assert known.value == pytest.approx(toy.gain, abs=4 * (known.sigma or 0))
    assert ignored.value == pytest.approx(toy.gain * 1.18, rel=0.05)
    never = mean_dispersion(on, off, toy.known_divisor(), n_pixels=10**7)
    assert never.value == pytest.approx(ignored.value, rel=1e-4)
    assert never.goodness["sigma_curvature"] > 0.05 * toy.gain


def test_much_light_of_unknown_jitter_is_refused() -> None:
    rng = np.random.default_rng(5)
    toy = Toy()
    on, off = spectrum(rng, toy, 250.0, 3000), spectrum(rng, toy, 0.0, 3000)
    refused = mean_dispersion(on, off, toy.known_divisor())
    assert refused.reasons[0].startswith("too much light")
    assert mean_dispersion(on, off, toy.known_divisor(), toy.known_jitter(), n_pixels=7284).known


@pytest.mark.parametrize("n_pixels", [1000, 3000])
def test_finite_pixels_are_corrected_where_their_number_is_known(n_pixels: int) -> None:
    truth = replace(TRUTH, n_pixels=n_pixels, dcr_hz=1e3)
    rng = np.random.default_rng(6)
    photons = 100.0 / photon_detection(truth, BIAS_V, 25.0)
    on, off = (
        Spectrum.from_charges(
            np.rint(
                simulate_charges(
                    rng,
                    truth,
                    bias_v=BIAS_V,
                    temperature_c=25.0,
                    mean_photons=mean_photons,
                    n_events=10_000,
                    pedestal_adc=300.0,
                    noise_adc=5.0,
                )
            )
        )
        for mean_photons in (photons, 0.0)
    )
    steady = Estimate(0.0, 1e-4, "1", "truth")
    found = mean_dispersion(on, off, DIVISOR, steady, n_pixels=n_pixels)
    assert found.value == pytest.approx(GAIN, abs=3.5 * (found.sigma or 0))
    assert (found.sigma or 1) < 0.06 * GAIN


def test_the_budget_adds_up_to_the_error() -> None:
    rng = np.random.default_rng(7)
    found = mean_dispersion(take(rng, 5.0), take(rng, 0.0), Estimate(1.3, 0.05, "1", "test"))
    parts = [part for name, part in found.goodness.items() if name.startswith("sigma_")]
    assert found.sigma == pytest.approx(np.sqrt(np.sum(np.square(parts))))
    assert found.goodness["sigma_divisor"] == pytest.approx((found.value or 0) * 0.05 / 1.3)


def test_a_pair_with_a_known_gain_gives_the_divisor() -> None:
    toy = Toy(noise=0.2, jitter=0.02)
    rng = np.random.default_rng(8)
    on, off = spectrum(rng, toy, 4.0, 20_000), spectrum(rng, toy, 0.0, 20_000)
    gain = Estimate(toy.gain, 0.01, "ADC/pe", "truth")
    divisor = enf_divisor_of_pair(on, off, gain, toy.known_jitter())
    assert divisor.value == pytest.approx(toy.divisor, abs=4 * (divisor.sigma or 0))
    assert (divisor.sigma or 1) < 0.03
    product = gain_times_divisor(on, off, toy.known_jitter())
    assert product.value == pytest.approx((divisor.value or 0) * toy.gain)
    assert not enf_divisor_of_pair(on, off, unknown("ADC/pe", "x", "no peaks")).known


def test_a_drifting_baseline_is_seen_in_the_order_of_the_charges() -> None:
    toy = Toy(noise=1.0)
    rng = np.random.default_rng(9)
    on, off = charges(rng, toy, 6.0, 20_000), charges(rng, toy, 0.0, 20_000)

    def found(on_charges: np.ndarray, off_charges: np.ndarray) -> Estimate:
        return mean_dispersion(
            Spectrum.from_charges(np.rint(on_charges)),
            Spectrum.from_charges(np.rint(off_charges)),
            toy.known_divisor(),
            on_charges=on_charges,
            off_charges=off_charges,
        )

    steady = found(on, off)
    assert steady.known
    assert not steady.reasons
    slow = np.linspace(-1, 1, len(on))
    little = found(on + 5 * slow, off)
    assert little.known
    assert "moves by" in little.reasons[0]
    assert (little.sigma or 0) > (steady.sigma or 1)
    assert "moves by" in found(on + 30 * slow, off).reasons[0]
    assert not found(on + 30 * slow, off).known


def test_a_light_off_run_quieter_than_the_electronics_is_refused() -> None:
    rng = np.random.default_rng(10)
    on, off = take(rng, 5.0, n_events=20_000), take(rng, 0.0, n_events=20_000)
    right, wrong = (Estimate(rms, 0.1, "ADC", "earlier") for rms in (30.0, 36.0))
    assert mean_dispersion(on, off, DIVISOR, noise=right).known
    assert "narrower" in mean_dispersion(on, off, DIVISOR, noise=wrong).reasons[0]


def test_runs_of_different_noise_are_seen_by_the_third_moment() -> None:
    rng = np.random.default_rng(11)
    toy = Toy(noise=2.0)
    on, off = spectrum(rng, toy, 3.0, 20_000), spectrum(rng, replace(toy, noise=1.4), 0.0, 20_000)
    refused = mean_dispersion(on, off, toy.known_divisor(0.01))
    assert not refused.known
    assert any("third moment" in reason or "baselines" in reason for reason in refused.reasons)


def test_the_same_run_twice_is_no_light() -> None:
    on = take(np.random.default_rng(12), 5.0)
    assert "count for count" in mean_dispersion(on, on, DIVISOR).reasons[0]


def test_many_dark_counts_make_it_an_effective_gain() -> None:
    toy = Toy(noise=0.3, dark=60.0)
    rng = np.random.default_rng(13)
    found = mean_dispersion(
        spectrum(rng, toy, 60.0, 10_000), spectrum(rng, toy, 0.0, 10_000), toy.known_divisor()
    )
    assert found.known
    assert "effective gain" in found.reasons[0]


@pytest.mark.study
def test_pulls_and_coverage_over_wide_random_parameters() -> None:
    rng = np.random.default_rng(14)
    pulls, refused = [], 0
    for _ in range(3000):
        toy, n_events = random_toy(rng), int(10 ** rng.uniform(3, 4.7))
        mean_pe = 10 ** rng.uniform(np.log10(0.3), np.log10(300))
        f_sigma = toy.divisor * rng.uniform(0.002, 0.03)
        f = Estimate(toy.divisor + f_sigma * rng.standard_normal(), f_sigma, "1", "measured")
        b_sigma = 0.002
        b = Estimate(abs(toy.jitter + b_sigma * rng.standard_normal()), b_sigma, "1", "measured")
        found = mean_dispersion(
            spectrum(rng, toy, mean_pe, n_events),
            spectrum(rng, toy, 0.0, n_events),
            f,
            b,
            n_pixels=10**7,
        )
        if found.value is None:
            refused += 1
        else:
            pulls.append((found.value - toy.gain) / (found.sigma or 0))
    seen = np.array(pulls)
    print(
        f"{len(seen)} answers, {refused} refused: bias {seen.mean():+.3f} sigma, width "
        f"{seen.std():.3f}, coverage {np.mean(np.abs(seen) < 1):.3f}"
    )
    assert len(seen) > 2000
    assert 0.66 < np.mean(np.abs(seen) < 1) < 0.70
    assert 0.95 < seen.std() < 1.05
    assert np.abs(seen).max() < 5


@pytest.mark.parametrize("shape", ["flat", "heavy tails"])
def test_what_light_cannot_make_is_refused(shape: str) -> None:
    rng = np.random.default_rng(15)
    values = {
        "flat": rng.uniform(600, 1000, 3000),
        "heavy tails": 900 + 60 * rng.standard_t(3, 3000),
    }
    on = Spectrum.from_charges(np.rint(values[shape]))
    refused = mean_dispersion(on, spectrum(rng, Toy(), 0.0, 3000), Toy().known_divisor())
    assert not refused.known
    assert any("tails" in reason for reason in refused.reasons)
