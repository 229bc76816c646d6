import numpy as np
import pytest

from analysis.sipm.occupancy import pixel_state
from analysis.sipm.simulate import (
    Readout,
    SiPMTruth,
    crosstalk,
    current_a,
    gain,
    gate_share,
    photon_detection,
    random_readout,
    random_truth,
    simulate_charges,
)
from analysis.sipm.simulate.avalanches import rates
from analysis.sipm.simulate.coupling import dark_charge_per_ns
from tests.analysis.sipm.simulate.devices import AT, fano_pull, mean_pull, plain

PLAIN = SiPMTruth(
    gain_spread=0.0, crosstalk_per_v=0.0, afterpulse=0.0, dcr_hz=0.0, light_jitter=0.0
)
SETTING = {"bias_v": 40.778, "temperature_c": 25.0, "pedestal_adc": 100.0, "noise_adc": 3.0}


def charges(truth: SiPMTruth, mean_pe: float, n_events: int = 40000, **other: float) -> np.ndarray:
    setting = {**SETTING, **other}
    photons = mean_pe / photon_detection(truth, setting["bias_v"], setting["temperature_c"])
    return simulate_charges(
        np.random.default_rng(3), truth, mean_photons=photons, n_events=n_events, **setting
    )


def test_plain_light_has_poisson_mean_and_variance() -> None:
    found = charges(PLAIN, 2.0)
    g = gain(PLAIN, 40.778, 25.0)
    assert found.mean() == pytest.approx(100 + 2 * g, rel=0.01)
    assert found.var() == pytest.approx(9 + 2 * g**2, rel=0.03)


def test_crosstalk_gives_the_moments_of_the_generalised_poisson_law() -> None:
    truth = SiPMTruth(
        gain_spread=0.0, crosstalk_per_v=0.05, afterpulse=0.0, dcr_hz=0.0, light_jitter=0.0
    )
    found = charges(truth, 2.0, noise_adc=0.0)
    g, rate = gain(truth, 40.778, 25.0), crosstalk(truth, 40.778, 25.0)
    assert (found.mean() - 100) / g == pytest.approx(2 / (1 - rate), rel=0.01)
    assert found.var() / g**2 == pytest.approx(2 / (1 - rate) ** 3, rel=0.03)


def test_few_pixels_saturate() -> None:
    truth = SiPMTruth(n_pixels=100, crosstalk_per_v=0.0, afterpulse=0.0, dcr_hz=0.0)
    found = charges(truth, 200.0, n_events=500)
    fired = (found.mean() - 100) / gain(truth, 40.778, 25.0)
    assert fired == pytest.approx(100 * (1 - np.exp(-2)), rel=0.02)


def test_without_light_dark_counts_give_whole_and_partial_charges() -> None:
    truth = SiPMTruth(dcr_hz=2e6, crosstalk_per_v=0.0, afterpulse=0.0)
    found = (charges(truth, 0.0, noise_adc=0.0) - 100) / gain(truth, 40.778, 25.0)
    assert np.mean(found > 0.9) > 0.05
    assert np.mean((found > 0.1) & (found < 0.9)) > 0.02


def test_below_breakdown_there_is_only_noise() -> None:
    found = simulate_charges(
        np.random.default_rng(1),
        SiPMTruth(),
        bias_v=30.0,
        temperature_c=25.0,
        mean_photons=50.0,
        n_events=2000,
        pedestal_adc=100.0,
        noise_adc=3.0,
    )
    assert found.std() == pytest.approx(3.0, rel=0.1)


def test_warmth_lowers_the_gain_and_raises_the_current() -> None:
    truth = SiPMTruth()
    assert gain(truth, 41.0, 35.0) < gain(truth, 41.0, 25.0)
    assert current_a(truth, 41.0, 35.0) > current_a(truth, 41.0, 25.0)


def test_the_current_of_an_array_is_that_of_its_voltages() -> None:
    truth = SiPMTruth()
    voltages = np.array([[36.0, 38.0], [40.0, 42.0]])
    currents = current_a(truth, voltages, 25.0)
    assert isinstance(currents, np.ndarray)
    assert currents.shape == voltages.shape
    assert currents[1, 0] == current_a(truth, 40.0, 25.0)
    assert np.all(np.diff(currents.ravel()) > 0)


def test_the_same_seed_gives_the_same_charges() -> None:
    assert np.array_equal(charges(SiPMTruth(), 2.0, 100), charges(SiPMTruth(), 2.0, 100))


@pytest.mark.parametrize("wrong", [{"mean_photons": -1.0}, {"noise_adc": -1.0}])
def test_negative_settings_are_refused(wrong: dict[str, float]) -> None:
    setting = {**SETTING, "mean_photons": 1.0, "n_events": 10, **wrong}
    with pytest.raises(ValueError, match="negative"):
        simulate_charges(np.random.default_rng(1), SiPMTruth(), **setting)  # type: ignore[arg-type]


@pytest.mark.parametrize(("rate", "spread"), [(0.05, 0.05), (0.2, 0.15), (0.35, 0.0)])
def test_the_variance_grows_with_the_divisor_of_mean_and_dispersion(
    rate: float, spread: float
) -> None:
    truth = plain(crosstalk_per_v=rate / 3, gain_spread=spread)
    found = charges(truth, 5.0, n_events=100_000, noise_adc=0.0, pedestal_adc=0.0, gate_ns=1000.0)
    divisor = 1 / (1 - rate) ** 2 + spread**2
    assert abs(fano_pull(found / gain(truth, **AT), divisor)) < 4
    assert abs(mean_pull(found / gain(truth, **AT), 5 / (1 - rate))) < 4


@pytest.mark.parametrize("gate_ns", [10.0, 60.0])
def test_dark_counts_alone_have_the_dispersion_of_their_gate(gate_ns: float) -> None:
    rate, spread, tau = 0.15, 0.1, 8.0
    truth = plain(dcr_hz=1e8, crosstalk_per_v=rate / 3, gain_spread=spread, pulse_tau_ns=tau)
    readout = Readout(gate_ns=gate_ns, light_at_ns=0.0, pedestal_adc=0.0, noise_adc=0.0)
    found = simulate_charges(
        np.random.default_rng(9), truth, **AT, mean_photons=0.0, n_events=60_000, readout=readout
    )
    divisor = 1 / (1 - rate) ** 2 + spread**2
    of_gate = 1 - tau / gate_ns * (1 - np.exp(-gate_ns / tau))
    full = found / gain(truth, **AT) * (1 - np.exp(-gate_ns / tau))
    assert abs(fano_pull(full, divisor * of_gate)) < 4
    assert abs(mean_pull(full, 0.1 * gate_ns / (1 - rate) * (1 - 0.5 * tau / gate_ns * 1e-3))) < 4


def test_a_photoelectron_has_the_charge_of_the_gain_whatever_the_gate() -> None:
    for setting in ({"gate_ns": 12.0}, {"gate_ns": 200.0}, {"light_at_ns": 30.0}):
        truth = plain(pulse_slow_share=0.4, pulse_rise_ns=2.0, gain_spread=0.1)
        found = charges(truth, 3.0, noise_adc=0.0, pedestal_adc=0.0, **setting)
        assert abs(mean_pull(found / gain(truth, **AT), 3.0)) < 4


@pytest.mark.parametrize("dcr_hz", [0.0, 1e10])
@pytest.mark.parametrize("mean_photons", [0.0, 10_000.0])
def test_extremes_stay_finite(dcr_hz: float, mean_photons: float) -> None:
    found = simulate_charges(
        np.random.default_rng(1),
        SiPMTruth(dcr_hz=dcr_hz),
        **AT,
        mean_photons=mean_photons,
        n_events=20,
    )
    assert found.shape == (20,)
    assert np.all(np.isfinite(found))


def test_no_events_are_no_charges() -> None:
    assert charges(SiPMTruth(), 3.0, n_events=0).shape == (0,)


def test_random_devices_are_many_and_repeatable() -> None:
    devices = [random_truth(np.random.default_rng(seed)) for seed in range(40)]
    assert devices[3] == random_truth(np.random.default_rng(3))
    assert np.ptp([np.log10(d.dcr_hz) for d in devices]) > 1.5
    assert random_truth(np.random.default_rng(1), dcr_hz=(1e9, 1e9)).dcr_hz == pytest.approx(1e9)
    for seed, truth in enumerate(devices):
        rng = np.random.default_rng(seed)
        readout = random_readout(rng, truth, gain(truth, truth.vbd_v + 3, 25.0))
        found = simulate_charges(
            rng,
            truth,
            bias_v=truth.vbd_v + 3,
            temperature_c=25.0,
            mean_photons=10.0,
            n_events=300,
            readout=readout,
        )
        assert found.mean() > readout.pedestal_adc
        assert np.all(np.isfinite(found))


def test_pixels_are_as_busy_at_the_start_of_the_gate_as_at_any_time() -> None:
    truth = plain(dcr_hz=1e10, n_pixels=300, recovery_ns=60.0)
    found = simulate_charges(
        np.random.default_rng(2),
        truth,
        **AT,
        mean_photons=0.0,
        n_events=150,
        readout=Readout(gate_ns=30.0, light_at_ns=0.0, pedestal_adc=0.0, noise_adc=0.0),
    )
    state = pixel_state(10.0 / 300 * 60.0, 3.0 / truth.pde_scale_v)
    expected = 10.0 * 30.0 * state.charge / (1 - np.exp(-30.0 / 8.0))
    assert abs(mean_pull(found / gain(truth, **AT), expected)) < 4
    assert found.std() < 0.1 * found.mean()


@pytest.mark.parametrize("n_pixels", [500, 7284])
def test_the_mean_dark_charge_of_busy_pixels_with_secondaries_is_known_to_a_percent(
    n_pixels: int,
) -> None:
    truth = plain(dcr_hz=1e10, n_pixels=n_pixels, crosstalk_per_v=0.05, afterpulse=0.03)
    found = simulate_charges(
        np.random.default_rng(3), truth, **AT, mean_photons=0.0, n_events=150, pedestal_adc=0.0
    )
    mean = rates(truth, **AT, mean_photons=0.0)
    expected = 60.0 * dark_charge_per_ns(truth, mean, 3.0) / gate_share(truth, Readout())
    assert found.mean() / gain(truth, **AT) == pytest.approx(expected, rel=0.01)
