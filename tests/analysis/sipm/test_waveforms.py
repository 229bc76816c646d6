import numpy as np
import pytest

from analysis.estimate import Estimate
from analysis.sipm.peaks import fit_peaks
from analysis.sipm.pulse_shape import PulseShape
from analysis.sipm.simulate import (
    SiPMTruth,
    crosstalk,
    dark_rate_hz,
    gain,
    photon_detection,
    simulate_waveforms,
)
from analysis.sipm.spectrum import Spectrum
from analysis.sipm.waveforms import dark_from_waveforms, integrate, upright
from tests.analysis.sipm.dark_toys import DarkTruth, records

SHAPE = PulseShape(1.0, 8.0)
TRUTH = SiPMTruth()
BIAS_V = 40.778


def pull(estimate: Estimate, true: float) -> float:
    assert estimate.value is not None, estimate.reasons
    return (estimate.value - true) / (estimate.sigma or np.nan)


@pytest.mark.parametrize(("dcr_hz", "n_records"), [(1e6, 700), (1e7, 200), (3e7, 150)])
@pytest.mark.parametrize(("lam", "afterpulse"), [(0.0, 0.0), (0.2, 0.1)])
def test_dark_waveforms_tell_rate_crosstalk_and_afterpulses(
    dcr_hz: float, n_records: int, lam: float, afterpulse: float
) -> None:
    truth = DarkTruth(dcr_hz=dcr_hz, crosstalk=lam, afterpulse=afterpulse)
    rng = np.random.default_rng(5)
    waves, *_ = records(rng, truth, n_records=n_records, n_samples=1000)
    found = dark_from_waveforms(waves, 1.0, shape=SHAPE)
    assert abs(pull(found.dcr, dcr_hz)) < 3
    assert abs(pull(found.crosstalk, lam)) < 3
    assert abs(pull(found.afterpulse, afterpulse)) < 3
    assert abs(pull(found.amplitude, 20.0)) < 3
    assert (found.dcr.sigma or 0) < 0.2 * dcr_hz
    assert (found.crosstalk.sigma or 0) < 0.1


def test_the_simulator_s_dark_waveforms_give_its_truth_back() -> None:
    rng = np.random.default_rng(1)
    truth = SiPMTruth(dcr_hz=3e6, afterpulse=0.05)
    waves = simulate_waveforms(
        rng,
        truth,
        bias_v=BIAS_V,
        temperature_c=25.0,
        mean_photons=0.0,
        n_events=600,
        n_samples=800,
        dt_ns=1.0,
        pedestal_adc=50.0,
        noise_adc=0.15,
    )
    found = dark_from_waveforms(waves, 1.0)
    assert abs(pull(found.dcr, dark_rate_hz(truth, BIAS_V, 25.0))) < 3
    assert abs(pull(found.crosstalk, crosstalk(truth, BIAS_V, 25.0))) < 3
    assert found.shape is not None
    area = (found.amplitude.value or 0) * found.shape.area_ns
    assert area == pytest.approx(gain(truth, BIAS_V, 25.0), rel=0.06)


def test_negative_pulses_are_turned_over() -> None:
    truth = DarkTruth(dcr_hz=1e6)
    waves, *_ = records(np.random.default_rng(5), truth, n_records=300, n_samples=500)
    assert np.array_equal(upright(waves), waves)
    assert np.array_equal(upright(-waves), waves)
    up, down = (dark_from_waveforms(w, 1.0, shape=SHAPE).dcr for w in (waves, -waves))
    assert up.value == down.value


def test_integrated_light_has_the_gain_of_the_simulator() -> None:
    rng = np.random.default_rng(2)
    truth = SiPMTruth(dcr_hz=1e5, afterpulse=0.0)
    waves = simulate_waveforms(
        rng,
        truth,
        bias_v=BIAS_V,
        temperature_c=25.0,
        mean_photons=2.0 / photon_detection(truth, BIAS_V, 25.0),
        n_events=8000,
        n_samples=120,
        dt_ns=1.0,
        pedestal_adc=50.0,
        noise_adc=0.1,
        light_at_ns=40.0,
    )
    charges = integrate(waves, 1.0, (38.0, 100.0), baseline_ns=(0.0, 35.0))
    fit = fit_peaks(Spectrum.from_charges(charges, bin_width=0.5))
    assert fit.gain.value == pytest.approx(gain(truth, BIAS_V, 25.0), rel=0.01)
    assert fit.light_yield.value == pytest.approx(2.0, rel=0.05)


def test_the_integral_is_exact_for_gates_that_cut_samples() -> None:
    waves = np.full((2, 40), 3.0)
    waves[:, 20:24] = 13.0
    charges = integrate(waves, 2.0, (39.0, 50.0), baseline_ns=(0.0, 30.0))
    assert charges == pytest.approx([80.0, 80.0])
    assert integrate(waves, 2.0, (41.0, 43.0), baseline_ns=(0.0, 30.0))[0] == pytest.approx(20.0)


def test_records_that_are_not_finite_have_no_charge() -> None:
    waves = np.random.default_rng(1).standard_normal((3, 100))
    waves[1, 50] = np.nan
    assert np.isfinite(integrate(waves, 1.0, (10.0, 60.0))).tolist() == [True, False, True]


@pytest.mark.parametrize("gate", [(-1.0, 5.0), (5.0, 5.0), (0.0, 101.0)])
def test_a_gate_outside_the_record_is_refused(gate: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="gate"):
        integrate(np.zeros((2, 100)), 1.0, gate)


@pytest.mark.parametrize(
    "waves",
    [
        np.zeros((20, 200)),
        np.full((20, 200), np.nan),
        np.random.default_rng(1).standard_normal((50, 300)),
        np.random.default_rng(1).exponential(1.0, (50, 300)),
        np.cumsum(np.random.default_rng(1).standard_normal((50, 300)), axis=1),
        np.tile(np.sin(np.arange(300) / 5.0), (50, 1)),
    ],
    ids=["zero", "nan", "noise", "spikes", "walk", "pickup"],
)
def test_waveforms_without_pulses_give_no_number(waves: np.ndarray) -> None:
    for shape in (None, SHAPE):
        found = dark_from_waveforms(waves, 1.0, shape=shape)
        assert not found.dcr.known
        assert found.dcr.reasons


def test_pulses_that_pile_up_too_much_are_not_counted() -> None:
    truth = DarkTruth(dcr_hz=2e8)
    waves, *_ = records(np.random.default_rng(5), truth, n_records=40, n_samples=500)
    found = dark_from_waveforms(waves, 1.0, shape=SHAPE)
    assert not found.dcr.known
    assert not found.crosstalk.known


def test_noise_that_hides_single_photoelectrons_is_said() -> None:
    truth = DarkTruth(dcr_hz=1e6)
    rng = np.random.default_rng(5)
    waves, *_ = records(rng, truth, n_records=300, n_samples=500, noise_adc=12.0)
    given = Estimate(20.0, 0.2, "ADC/pe", "test")
    found = dark_from_waveforms(waves, 1.0, shape=SHAPE, amplitude=given)
    assert not found.dcr.known
    assert "noise hides" in found.dcr.reasons[0]
