import numpy as np
import pytest

from analysis.sipm.simulate import Readout, gain, gate_share, simulate_charges
from analysis.sipm.simulate.readout import (
    add_sample_noise,
    charge_noise,
    digitised,
    one_over_f,
    wander,
)
from tests.analysis.sipm.simulate.devices import (
    AT,
    PLAIN,
    chi2_probability,
    mean_pull,
    photons,
    plain,
    variance_pull,
)

QUIET = Readout(pedestal_adc=100.0, noise_adc=0.0)


def noise(seed: int, n_events: int = 100_000, **settings: float) -> np.ndarray:
    readout = Readout(**{"pedestal_adc": 100.0, "noise_adc": 0.0, **settings})  # type: ignore[arg-type]
    return charge_noise(np.random.default_rng(seed), readout, n_events)


def test_white_noise_has_its_rms_and_no_memory() -> None:
    found = noise(1, noise_adc=3.0)
    assert abs(mean_pull(found, 100.0)) < 4
    assert abs(variance_pull(found, 9.0)) < 4
    assert abs(mean_pull((found[1:] - 100) * (found[:-1] - 100), 0.0)) < 4


def test_one_over_f_noise_has_its_rms_and_its_slope() -> None:
    n, series = 4096, 400
    found = one_over_f(np.random.default_rng(2), series, n, 5.0)
    assert abs(mean_pull((found**2).mean(axis=1), 25.0)) < 4
    power = np.mean(np.abs(np.fft.rfft(found, axis=1)) ** 2, axis=0)[1 : n // 2]
    frequency = np.arange(1, n // 2)
    (slope, _), covariance = np.polyfit(
        np.log(frequency), np.log(power), 1, w=np.full(len(power), series**0.5), cov="unscaled"
    )
    assert abs(slope + 1.0) < 4 * np.sqrt(covariance[0, 0])
    assert np.sqrt(covariance[0, 0]) < 0.01


def test_one_over_f_noise_of_charges_runs_over_the_run() -> None:
    found = noise(3, 65536, one_over_f_adc=5.0)
    assert abs(np.mean((found[1:] - 100) * (found[:-1] - 100))) > 10
    assert found.std() == pytest.approx(5.0, rel=0.3)


def test_wander_remembers_for_its_correlation_length() -> None:
    found = wander(np.random.default_rng(4), 400_000, 2.0, 20.0)
    assert found.std() == pytest.approx(2.0, rel=0.05)
    later = np.mean(found[20:] * found[:-20]) / np.mean(found**2)
    assert later == pytest.approx(np.exp(-1), abs=0.04)
    assert noise(5, wander_adc=2.0, wander_events=10.0).std() == pytest.approx(2.0, rel=0.05)


def test_pickup_of_an_unaware_trigger_is_an_arcsine() -> None:
    found = noise(6, pickup_adc=4.0, pickup_mhz=0.05)
    edges = np.linspace(-4, 4, 41)
    share = np.diff(np.arcsin(edges / 4)) / np.pi
    counts = np.histogram(found - 100, edges * np.sinc(0.05e-3 * 60))[0]
    assert chi2_probability(counts, share * len(found)) > 1e-3


def test_a_gate_of_one_period_sees_no_pickup() -> None:
    found = noise(7, pickup_adc=4.0, pickup_mhz=1000 / 60.0)
    assert found == pytest.approx(100.0, abs=1e-9)


def test_waveform_noise_has_all_its_parts() -> None:
    readout = Readout(
        noise_adc=1.0, one_over_f_adc=2.0, pickup_adc=4.0, wander_adc=3.0, wander_events=10
    )
    found = np.zeros((4000, 256))
    add_sample_noise(np.random.default_rng(8), readout, found, 4.0)
    assert found.var() == pytest.approx(1 + 4 + 8 + 9, rel=0.1)
    alone = np.zeros((3, 250))
    pickup = Readout(noise_adc=0.0, pickup_adc=4.0, pickup_mhz=10.0)
    add_sample_noise(np.random.default_rng(9), pickup, alone, 2.0)
    power = np.abs(np.fft.rfft(alone - alone.mean(axis=1, keepdims=True), axis=1))
    assert np.all(np.argmax(power, axis=1) == 5)


def test_the_adc_rounds_and_clips() -> None:
    readout = Readout(adc_bits=10)
    seen = digitised(np.array([-5.0, 3.4, 3.6, 1022.9, 1e6]), readout)
    assert seen.tolist() == [0, 3, 4, 1023, 1023]


def test_the_nonlinearity_is_its_relative_loss_at_full_scale() -> None:
    readout = Readout(nonlinearity=0.1, full_scale_adc=1000.0)
    seen = digitised(np.array([-10.0, 0.0, 500.0, 1000.0]), readout)
    assert seen == pytest.approx([-10.0, 0.0, 475.0, 900.0])
    assert np.all(np.diff(digitised(np.linspace(-100, 3000, 500), readout)) > 0)


def test_gate_jitter_moves_the_light_in_the_gate() -> None:
    readout = Readout(
        gate_ns=20.0, light_at_ns=12.0, noise_adc=0.0, pedestal_adc=0.0, gate_jitter_ns=3.0
    )
    found = simulate_charges(
        np.random.default_rng(10),
        PLAIN,
        **AT,
        mean_photons=photons(PLAIN, 100.0),
        n_events=20_000,
        readout=readout,
    ) / gain(PLAIN, **AT)
    tau = PLAIN.pulse_tau_ns
    shift = 3.0 * np.random.default_rng(11).standard_normal(400_000)
    seen = (1 - np.exp(-np.maximum(8 + shift, 0) / tau)) / gate_share(PLAIN, readout)
    assert abs(mean_pull(found, 100 * seen.mean())) < 4
    expected = 100 * np.mean(seen**2) + 100**2 * seen.var()
    assert found.var() == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize("dcr_hz", [1e7, 1e9])
def test_behind_an_ac_coupling_the_dark_mean_is_the_pedestal(dcr_hz: float) -> None:
    truth = plain(dcr_hz=dcr_hz, crosstalk_per_v=0.05)
    settings = {**AT, "mean_photons": 0.0, "n_events": 20_000 if dcr_hz < 1e8 else 8000}
    coupled = Readout(pedestal_adc=0.0, noise_adc=0.0, coupling_ns=1000.0)
    found = simulate_charges(np.random.default_rng(12), truth, **settings, readout=coupled)  # type: ignore[arg-type]
    assert abs(mean_pull(found, 0.0)) < 4
    direct = simulate_charges(np.random.default_rng(12), truth, **settings, readout=QUIET)  # type: ignore[arg-type]
    assert mean_pull(direct, 100.0) > 20


def test_a_coupling_that_leaves_no_charge_in_the_gate_is_refused() -> None:
    with pytest.raises(ValueError, match="no more than"):
        gate_share(plain(pulse_tau_ns=20.0), Readout(gate_ns=500.0, coupling_ns=10.0))


@pytest.mark.parametrize(
    "wrong",
    [
        {"noise_adc": -1.0},
        {"pickup_adc": -1.0},
        {"wander_events": 0.0},
        {"coupling_ns": 0.0},
        {"light_at_ns": 60.0},
        {"light_at_ns": -1.0},
        {"nonlinearity": 0.6},
        {"adc_bits": 0},
        {"noise_adc": float("nan")},
    ],
)
def test_impossible_readouts_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"must|outside|monotonic|bits"):
        Readout(**wrong)  # type: ignore[arg-type]


def test_a_whole_number_of_adc_is_a_pedestal_too() -> None:
    charges = charge_noise(np.random.default_rng(1), Readout(pedestal_adc=100, noise_adc=1.0), 1000)
    assert charges.mean() == pytest.approx(100.0, abs=0.2)
