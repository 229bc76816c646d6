import numpy as np
import pytest

from analysis.estimate import Estimate
from analysis.sipm.dark import DarkGates, dcr_from_gates, dcr_from_pedestal
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.dark_toys import DarkTruth, gated_charges

GAIN, PEDESTAL, NOISE, GATE_NS, TAU_NS = 28.0, 100.0, 3.0, 60.0, 8.0
KNOWN_GAIN = Estimate(GAIN, 0.3, "ADC/pe", "test")


def dark(truth: DarkTruth, seed: int, *, n_gates: int = 20_000, noise: float = NOISE) -> Spectrum:
    charges = gated_charges(
        np.random.default_rng(seed),
        truth,
        n_gates=n_gates,
        gate_ns=GATE_NS,
        tau_ns=TAU_NS,
        gain_adc=GAIN,
        pedestal_adc=PEDESTAL,
        noise_adc=noise,
    )
    return Spectrum.from_charges(np.rint(charges))


def pull(estimate: Estimate, true: float) -> float:
    assert estimate.value is not None, estimate.reasons
    return (estimate.value - true) / (estimate.sigma or np.nan)


@pytest.mark.parametrize("dcr_hz", [1e5, 1e6, 1e7])
@pytest.mark.parametrize(("crosstalk", "afterpulse"), [(0.0, 0.0), (0.2, 0.1)])
def test_rate_and_crosstalk_are_found_with_honest_errors(
    dcr_hz: float, crosstalk: float, afterpulse: float
) -> None:
    truth = DarkTruth(dcr_hz=dcr_hz, crosstalk=crosstalk, afterpulse=afterpulse)
    found = dcr_from_gates(dark(truth, 1), GATE_NS, pulse_tau_ns=TAU_NS, gain=KNOWN_GAIN)
    assert abs(pull(found.dcr, dcr_hz)) < 3
    assert abs(pull(found.gain, GAIN)) < 3
    assert abs(pull(found.pedestal, PEDESTAL)) < 3.5
    if dcr_hz > 2e5:
        assert abs(pull(found.crosstalk, crosstalk)) < 3
        assert (found.dcr.sigma or 0) < 0.2 * dcr_hz


def test_many_dark_counts_need_no_gain() -> None:
    found = dcr_from_gates(dark(DarkTruth(dcr_hz=5e6), 2), GATE_NS, pulse_tau_ns=TAU_NS)
    assert abs(pull(found.dcr, 5e6)) < 3
    assert abs(pull(found.gain, GAIN)) < 3


def test_the_model_adds_up_to_the_gates() -> None:
    spectrum = dark(DarkTruth(dcr_hz=5e6), 2)
    found = dcr_from_gates(spectrum, GATE_NS, pulse_tau_ns=TAU_NS)
    assert found.model.sum() == pytest.approx(spectrum.n_entries, rel=1e-6)
    assert np.abs(found.model - spectrum.counts).max() < 8 * np.sqrt(spectrum.counts.max())


def test_few_dark_counts_need_the_gain() -> None:
    spectrum = dark(DarkTruth(dcr_hz=1e4), 3)
    assert not dcr_from_gates(spectrum, GATE_NS, pulse_tau_ns=TAU_NS).dcr.known


def test_no_dark_counts_give_an_upper_limit_in_words() -> None:
    found = dcr_from_gates(
        dark(DarkTruth(dcr_hz=10.0), 3), GATE_NS, pulse_tau_ns=TAU_NS, gain=KNOWN_GAIN
    )
    assert not found.dcr.known
    assert "no dark counts stand out" in found.dcr.reasons[0]


@pytest.mark.parametrize("dcr_hz", [1e5, 1e6, 5e6])
def test_the_share_of_empty_gates_agrees(dcr_hz: float) -> None:
    truth = DarkTruth(dcr_hz=dcr_hz, crosstalk=0.2, afterpulse=0.0)
    found = dcr_from_pedestal(
        dark(truth, 4),
        GATE_NS,
        gain=KNOWN_GAIN,
        pedestal=Estimate(PEDESTAL, 0.1, "ADC", "test"),
        noise=Estimate(NOISE, 0.1, "ADC", "test"),
        crosstalk=0.2,
        pulse_tau_ns=TAU_NS,
    )
    assert abs(pull(found, dcr_hz)) < 3


def test_noise_that_leaks_over_half_a_photoelectron_is_no_dark_count() -> None:
    truth = DarkTruth(dcr_hz=3e5, crosstalk=0.0, afterpulse=0.0)
    found = dcr_from_pedestal(
        dark(truth, 5, noise=7.0),
        GATE_NS,
        gain=KNOWN_GAIN,
        pedestal=Estimate(PEDESTAL, 0.1, "ADC", "test"),
        noise=Estimate(7.0, 0.05, "ADC", "test"),
    )
    assert found.known is False or abs(pull(found, 3e5)) < 3


def refused(spectrum: Spectrum) -> DarkGates:
    found = dcr_from_gates(spectrum, GATE_NS, pulse_tau_ns=TAU_NS)
    assert not found.dcr.known
    assert found.dcr.reasons
    assert not found.model.any()
    return found


def test_spectra_that_are_none_are_refused_with_a_reason() -> None:
    edges = np.arange(201.0)
    refused(Spectrum(np.zeros(200), edges))
    refused(Spectrum(np.full(200, 50.0), edges))
    refused(Spectrum(np.eye(200)[50] * 1e4, edges))
    refused(Spectrum(np.full(200, 0.3), edges))
    piled = np.zeros(200)
    piled[:100], piled[-1] = 100.0, 1e4
    assert "pile up" in refused(Spectrum(piled, edges)).dcr.reasons[0]


def test_light_is_not_taken_for_dark_counts_of_another_pedestal() -> None:
    rng = np.random.default_rng(1)
    light = PEDESTAL + GAIN * rng.poisson(8.0, 20_000) + NOISE * rng.standard_normal(20_000)
    refused(Spectrum.from_charges(np.rint(light)))


def test_a_gate_as_short_as_the_pulse_is_refused() -> None:
    spectrum = dark(DarkTruth(), 1)
    found = dcr_from_gates(spectrum, 20.0, pulse_tau_ns=10.0)
    assert "no whole charges" in found.dcr.reasons[0]
    with pytest.raises(ValueError, match="positive"):
        dcr_from_gates(spectrum, 0.0)
    with pytest.raises(ValueError, match="positive"):
        dcr_from_gates(spectrum, 60.0, pulse_tau_ns=-1.0)
