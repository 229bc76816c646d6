import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.sipm.peaks import PeakFit, dark_rate, fit_peaks
from analysis.sipm.simulate import SiPMTruth
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.channels import Channel, fitted, one, pulls


def assert_gain(channel: Channel, fit: PeakFit, *, scale: float = 1.0) -> None:
    assert fit.gain.value is not None, fit.reasons
    assert fit.gain.sigma is not None
    assert abs(fit.gain.value - scale * channel.gain) < 4 * fit.gain.sigma
    assert fit.gain.sigma < 0.03 * fit.gain.value


def assert_refused(fit: PeakFit) -> None:
    assert fit.kind == "unresolved"
    assert not fit.gain.known
    assert fit.gain.reasons
    assert not fit.model.any()


@pytest.mark.parametrize("mean_pe", [0.1, 0.3, 1.0, 2.0, 5.0, 10.0, 15.0])
def test_the_gain_is_found_from_little_to_much_light(mean_pe: float) -> None:
    channel, fit = fitted(mean_pe)
    assert fit.kind == "charge"
    assert_gain(channel, fit)


@pytest.mark.parametrize("noise_adc", [1.0, 2.0, 4.0, 6.0])
def test_pedestal_and_noise_are_found_despite_adc_rounding(noise_adc: float) -> None:
    channel, fit = fitted(2.0, noise_adc=noise_adc)
    assert_gain(channel, fit)
    assert fit.noise.value == pytest.approx(noise_adc, abs=4 * (fit.noise.sigma or 0.0))
    assert fit.pedestal.value == pytest.approx(100.0, abs=4 * (fit.pedestal.sigma or 0.0))


def test_light_and_crosstalk_of_a_device_without_dark_counts_are_found() -> None:
    truth = SiPMTruth(dcr_hz=0.0, afterpulse=0.0, light_jitter=0.0, crosstalk_per_v=0.03)
    _, fit = fitted(2.0, 20000, truth=truth)
    assert fit.light_yield.value == pytest.approx(2.0, abs=4 * (fit.light_yield.sigma or 0.0))
    assert fit.crosstalk.value == pytest.approx(0.09, abs=4 * (fit.crosstalk.sigma or 0.0))
    assert fit.gain_spread.value == pytest.approx(0.04 * 27.9, abs=0.2)


def test_the_expected_counts_add_up_to_the_entries() -> None:
    _, spectrum = one(2.0)
    fit = fit_peaks(spectrum)
    assert fit.model.shape == spectrum.counts.shape
    assert fit.model.sum() == pytest.approx(spectrum.n_entries, rel=0.01)


def test_afterpulses_do_not_bias_the_gain() -> None:
    truth = SiPMTruth(afterpulse=0.06, dcr_hz=1e3)
    channel, fit = fitted(2.0, 200_000, truth=truth)
    assert fit.gain.value == pytest.approx(channel.gain, rel=1.5e-3)


def test_afterpulses_and_dark_rate_are_found_where_the_model_is_the_truth() -> None:
    truth = SiPMTruth(
        afterpulse=0.06, afterpulse_slow_share=0.0, dcr_hz=3e6, light_jitter=0.0, gain_spread=0.02
    )
    _, fit = fitted(2.0, 100_000, truth=truth)
    assert fit.afterpulse.value == pytest.approx(0.06, abs=0.02)
    rate = dark_rate(fit, truth.pulse_tau_ns)
    assert rate.unit == "Hz"
    assert rate.value == pytest.approx(3e6, abs=4 * (rate.sigma or 0.0))
    with pytest.raises(ValueError, match="pulse_tau_ns"):
        dark_rate(fit, 0.0)


@pytest.mark.parametrize("noise_adc", [3.0, 6.0])
def test_two_dark_counts_per_gate_do_not_bias_the_gain(noise_adc: float) -> None:
    truth = SiPMTruth(dcr_hz=3.3e7, light_jitter=0.0)
    for seed in range(3):
        channel, fit = fitted(2.0, 20_000, noise_adc=noise_adc, truth=truth, seed=seed)
        if fit.gain.value is not None:
            assert abs(fit.gain.value - channel.gain) < 3.5 * (fit.gain.sigma or 0.0)
            assert fit.gain.value == pytest.approx(channel.gain, rel=0.03)


def test_minos_follows_the_likelihood_of_the_gain_on_request() -> None:
    _, spectrum = one(2.0)
    assert fit_peaks(spectrum).gain_interval is None
    fit = fit_peaks(spectrum, errors="minos")
    assert fit.gain_interval is not None
    assert min(fit.gain_interval) > 0.5 * (fit.gain.sigma or 0.0)
    assert max(fit.gain_interval) < 2.0 * (fit.gain.sigma or 0.0)


@pytest.mark.parametrize("factor", [2, 4, 6])
def test_coarse_bins_give_the_same_gain(factor: int) -> None:
    channel, spectrum = one(2.0)
    assert_gain(channel, fit_peaks(spectrum.rebinned(factor)))


@pytest.mark.parametrize("width", [0.05, 0.25, 0.5])
def test_bins_finer_than_the_data_are_joined(width: float) -> None:
    channel, spectrum = one(2.0)
    charges = np.repeat(spectrum.centers, spectrum.counts.astype(int))
    counts, edges = np.histogram(charges, np.arange(60, 400 + width / 2, width) - width / 2)
    fit = fit_peaks(Spectrum(counts.astype(float), edges))
    assert_gain(channel, fit)
    assert any("joined" in reason for reason in fit.reasons)


def test_bins_of_different_widths_are_not_taken_for_equal_ones() -> None:
    channel, spectrum = one(2.0)
    charges = np.repeat(spectrum.centers, spectrum.counts.astype(int))
    charges += np.random.default_rng(3).uniform(-0.5, 0.5, len(charges))
    steps = np.arange(charges.max() - charges.min() + 1)
    edges = charges.min() + steps * (1 + 1e-3 * steps)
    counts, _ = np.histogram(charges, edges)
    fit = fit_peaks(Spectrum(counts.astype(float), edges))
    assert fit.kind != "charge"
    assert any("different widths" in reason for reason in fit.reasons)
    if fit.gain.known:
        assert_gain(channel, fit)


@pytest.mark.parametrize("step", [2, 3, 4])
def test_joined_bins_are_as_wide_where_the_histogram_ends_with_the_data(step: int) -> None:
    _, spectrum = one(2.0)
    charges = np.repeat(spectrum.centers, spectrum.counts.astype(int))
    coarse = step * np.floor(charges / step)
    comb = fit_peaks(Spectrum.from_charges(coarse, bin_width=1.0))
    whole = fit_peaks(Spectrum.from_charges(coarse, bin_width=float(step)))
    assert comb.gain.value == pytest.approx(whole.gain.value, rel=1e-6)
    assert comb.gain.sigma == pytest.approx(whole.gain.sigma, rel=1e-3)


@pytest.mark.parametrize(("scale", "offset"), [(1e-3, 0.0), (100.0, 0.0), (1.0, -5000.0)])
def test_the_unit_and_the_origin_of_the_axis_do_not_matter(scale: float, offset: float) -> None:
    channel, spectrum = one(2.0)
    moved = Spectrum(spectrum.counts, spectrum.edges * scale + offset)
    assert_gain(channel, fit_peaks(moved), scale=scale)


def test_a_divided_histogram_gives_what_its_counts_give() -> None:
    _, spectrum = one(2.0)
    whole = fit_peaks(spectrum)
    divided = fit_peaks(Spectrum(spectrum.counts / spectrum.n_entries, spectrum.edges))
    assert divided.gain.value == pytest.approx(whole.gain.value)
    assert divided.gain.sigma == pytest.approx(whole.gain.sigma)
    assert divided.model.sum() == pytest.approx(1.0, rel=0.01)


def test_weighted_counts_are_refused_because_their_errors_are_unknown() -> None:
    _, spectrum = one(2.0)
    weights = np.random.default_rng(1).uniform(0.9, 1.1, len(spectrum.counts))
    fit = fit_peaks(Spectrum(spectrum.counts * weights, spectrum.edges))
    assert_refused(fit)
    assert "whole numbers" in fit.reasons[0]


def test_an_overflow_spike_is_left_out() -> None:
    channel, spectrum = one(2.0)
    charges = np.minimum(np.repeat(spectrum.centers, spectrum.counts.astype(int)), 200)
    fit = fit_peaks(Spectrum.from_charges(charges))
    assert_gain(channel, fit)
    assert any("overflow" in reason for reason in fit.reasons)


def test_stray_events_far_away_do_not_steer_the_fit() -> None:
    channel, spectrum = one(2.0)
    charges = np.repeat(spectrum.centers, spectrum.counts.astype(int))
    stray = np.random.default_rng(1).integers(400, 1023, 12)
    assert_gain(channel, fit_peaks(Spectrum.from_charges(np.append(charges, stray))))


@pytest.mark.parametrize("cut_adc", [115.0, 140.0])
def test_no_pedestal_is_claimed_when_the_low_side_was_cut_off(cut_adc: float) -> None:
    channel, spectrum = one(2.0, 10000)
    keep = spectrum.centers > cut_adc
    edges = np.append(cut_adc + 0.5, spectrum.edges[1:][keep])
    fit = fit_peaks(Spectrum(spectrum.counts[keep], edges))
    assert_gain(channel, fit)
    assert not fit.pedestal.known
    assert not fit.light_yield.known


@pytest.mark.parametrize("mean_pe", [10.0, 20.0])
def test_no_pedestal_is_claimed_when_light_leaves_none(mean_pe: float) -> None:
    channel, fit = fitted(mean_pe, noise_adc=2.0, n_events=10000)
    assert_gain(channel, fit)
    assert not fit.pedestal.known
    assert "pedestal" in fit.pedestal.reasons[0]


def test_much_light_gives_the_gain_or_none_but_never_that_of_every_other_peak() -> None:
    for seed in (0, 3):
        channel, fit = fitted(40.0, 10000, noise_adc=2.0, seed=seed)
        if fit.gain.known:
            assert_gain(channel, fit)


def noise_shapes() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    return {
        "pedestal without light": rng.normal(100, 3, 5000),
        "broad peak": rng.normal(300, 40, 5000),
        "flat": rng.uniform(0, 500, 5000),
        "exponential": rng.exponential(60, 50000),
        "long tail": 300 + 50 * rng.lognormal(0, 0.6, 5000),
        "pedestal and one broad peak": np.append(
            rng.normal(100, 3, 3000), rng.normal(180, 20, 2000)
        ),
        "one value": np.full(1000, 77.0),
        "two values": np.append(np.full(1000, 77.0), np.full(500, 105.0)),
        "few events": rng.normal(100, 30, 60),
        "peaks drowned by dark counts": one(2.0, truth=SiPMTruth(dcr_hz=1e8))[1].centers,
    }


@pytest.mark.parametrize("name", noise_shapes())
def test_spectra_without_photoelectron_peaks_are_refused(name: str) -> None:
    assert_refused(fit_peaks(Spectrum.from_charges(np.rint(noise_shapes()[name]))))


def test_an_empty_spectrum_is_refused() -> None:
    fit = fit_peaks(Spectrum(np.zeros(50), np.arange(51.0)))
    assert_refused(fit)
    assert fit.reasons == ("the spectrum is empty",)


def test_a_mixture_of_two_gains_is_refused() -> None:
    _, first = one(2.0)
    _, second = one(2.0, truth=SiPMTruth(gain_per_v=12.1))
    charges = np.concatenate([np.repeat(s.centers, s.counts.astype(int)) for s in (first, second)])
    assert_refused(fit_peaks(Spectrum.from_charges(charges)))


def test_the_spacing_is_not_that_of_every_other_peak() -> None:
    """Peaks that a smoothing or a threshold would miss must not double the gain."""
    rng = np.random.default_rng(6)
    k = rng.poisson(12, 20000)
    kept = (k % 2 == 0) | (rng.random(20000) < 0.35)
    charges = 100 + 28 * k + 4.0 * rng.standard_normal(20000)
    fit = fit_peaks(Spectrum.from_charges(np.rint(charges[kept])))
    if fit.gain.value is not None:
        assert fit.gain.value == pytest.approx(28.0, rel=0.02)


def triggered_spectrum(width: float) -> Spectrum:
    """Amplitudes of dark pulses: crosstalk cascades from one pixel on, a few noise triggers."""
    rng = np.random.default_rng(8)
    size = np.ones(300_000)
    for _ in range(12):
        size += rng.poisson(0.03 * size)
    size[:20_000] = 0
    charges = 20 + 30 * size + width * np.sqrt(1 + 0.1 * size) * rng.standard_normal(len(size))
    return Spectrum.from_charges(np.rint(charges))


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_coarse_bins_of_a_triggered_spectrum_give_the_same_gain(factor: int) -> None:
    fit = fit_peaks(triggered_spectrum(3.0).rebinned(factor))
    assert fit.kind == "amplitude"
    assert abs((fit.gain.value or 0) - 30.0) < 3 * (fit.gain.sigma or 0)


@pytest.mark.parametrize("width", [3.0, 5.0])
def test_a_triggered_spectrum_gives_the_gain_and_claims_no_pedestal(width: float) -> None:
    fit = fit_peaks(triggered_spectrum(width))
    assert fit.kind == "amplitude"
    assert fit.gain.value == pytest.approx(30.0, rel=0.01)
    assert abs((fit.gain.value or 0) - 30.0) < 3 * (fit.gain.sigma or 0)
    assert not fit.pedestal.known
    assert not fit.light_yield.known
    assert fit.model.any()


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    arrays(
        np.float64,
        st.integers(1, 60),
        elements=st.one_of(st.just(0.0), st.floats(0, 1e7), st.integers(0, 500).map(float)),
    ),
    st.floats(1e-6, 1e6),
    st.floats(-1e6, 1e6),
)
def test_no_histogram_makes_the_fit_raise(counts: np.ndarray, width: float, low: float) -> None:
    edges = low + width * np.arange(len(counts) + 1)
    assume(bool(np.all(np.diff(edges) > 0)))
    fit = fit_peaks(Spectrum(counts, edges))
    assert fit.gain.known or fit.reasons
    assert np.all(np.isfinite(fit.model))


def test_pulls_of_gain_pedestal_and_noise_have_unit_width() -> None:
    found = pulls(seed=11, n_channels=60, n_events=2500)
    for name in ("gain", "pedestal", "noise"):
        assert len(found[name]) >= 55, name
        assert 0.75 < found[name].std() < 1.25, name
        assert abs(found[name].mean()) < 0.45, name


@pytest.mark.study
@pytest.mark.timeout(900)
def test_pulls_over_500_channels_have_unit_width() -> None:
    found = pulls(seed=7, n_channels=500, n_events=2500)
    for name in ("gain", "pedestal", "noise"):
        print(
            f"{name}: n {len(found[name])}, mean {found[name].mean():+.3f}, "
            f"width {found[name].std():.3f}"
        )
    for name in ("gain", "pedestal", "noise"):
        assert len(found[name]) >= 480, name
        assert 0.9 < found[name].std() < 1.1, name
        assert abs(found[name].mean()) < 0.2, name
