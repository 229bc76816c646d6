import numpy as np
import pytest

from analysis.sipm.simulate import (
    Readout,
    SiPMTruth,
    gain,
    gate_share,
    simulate_charges,
    simulate_waveforms,
)
from tests.analysis.sipm.simulate.devices import AT, PLAIN, mean_pull, photons, plain

BUSY = SiPMTruth(
    dcr_hz=5e7,
    crosstalk_per_v=0.05,
    delayed_crosstalk_per_v=0.01,
    pulse_slow_share=0.3,
    pulse_rise_ns=1.0,
)


@pytest.mark.parametrize("coupling_ns", [np.inf, 500.0])
@pytest.mark.parametrize("dt_ns", [0.5, 2.0])
def test_the_integral_of_a_waveform_is_the_charge_of_the_same_avalanches(
    coupling_ns: float, dt_ns: float
) -> None:
    readout = Readout(
        gate_ns=100.0, noise_adc=0.0, pedestal_adc=100.0, coupling_ns=coupling_ns, light_width_ns=1
    )
    setting = {**AT, "mean_photons": 20.0, "n_events": 400, "readout": readout}
    charge = simulate_charges(np.random.default_rng(1), BUSY, **setting)  # type: ignore[arg-type]
    waves = simulate_waveforms(
        np.random.default_rng(1),
        BUSY,
        n_samples=round(100 / dt_ns),
        dt_ns=dt_ns,
        **setting,  # type: ignore[arg-type]
    )
    integral = (waves - 100).sum(axis=1) * dt_ns
    assert integral == pytest.approx((charge - 100) * gate_share(BUSY, readout), abs=1e-9)
    assert charge.std() > 10


def test_one_photoelectron_has_the_area_of_the_gain_and_its_pulse() -> None:
    waves = simulate_waveforms(
        np.random.default_rng(2),
        PLAIN,
        **AT,
        mean_photons=photons(PLAIN, 0.3),
        n_events=300,
        n_samples=400,
        dt_ns=0.5,
        light_at_ns=20.0,
        pedestal_adc=0.0,
        noise_adc=0.0,
    )
    area = waves.sum(axis=1) * 0.5 / gain(PLAIN, **AT)
    assert area == pytest.approx(np.rint(area), abs=1e-6)
    one = waves[np.rint(area) == 1]
    assert one[:, 40:] == pytest.approx(
        np.tile(
            gain(PLAIN, **AT) / 0.5 * -np.diff(np.exp(-np.arange(361) * 0.5 / PLAIN.pulse_tau_ns)),
            (len(one), 1),
        )
    )
    assert np.all(one[:, :40] == 0)


def test_dark_counts_go_on_from_before_the_first_sample() -> None:
    truth = plain(dcr_hz=1e8)
    waves = simulate_waveforms(
        np.random.default_rng(3),
        truth,
        **AT,
        mean_photons=0.0,
        n_events=20_000,
        n_samples=100,
        dt_ns=1.0,
        pedestal_adc=0.0,
        noise_adc=0.0,
    )
    level = 0.1 * gain(truth, **AT)
    assert abs(mean_pull(waves[:, 0], level * (1 - 0.5e-3))) < 4
    assert abs(mean_pull(waves[:, -1], level)) < 4


def test_very_high_dark_rates_give_finite_waveforms() -> None:
    waves = simulate_waveforms(
        np.random.default_rng(4),
        SiPMTruth(dcr_hz=1e10),
        **AT,
        mean_photons=40_000.0,
        n_events=20,
        n_samples=300,
        dt_ns=1.0,
    )
    assert np.all(np.isfinite(waves))
    assert waves.mean() > 300


def test_the_readout_digitises_and_the_given_values_win() -> None:
    waves = simulate_waveforms(
        np.random.default_rng(5),
        BUSY,
        **AT,
        mean_photons=1e4,
        n_events=50,
        n_samples=100,
        dt_ns=1.0,
        pedestal_adc=20.0,
        readout=Readout(adc_bits=8, pedestal_adc=500.0, noise_adc=2.0),
    )
    assert np.array_equal(waves, np.rint(waves))
    assert waves.min() < 30
    assert waves.max() == 255


@pytest.mark.parametrize(("n_events", "n_samples"), [(0, 10), (10, 0), (0, 0)])
def test_nothing_asked_nothing_given(n_events: int, n_samples: int) -> None:
    waves = simulate_waveforms(
        np.random.default_rng(6),
        BUSY,
        **AT,
        mean_photons=1.0,
        n_events=n_events,
        n_samples=n_samples,
        dt_ns=1.0,
    )
    assert waves.shape == (n_events, n_samples)


@pytest.mark.parametrize(
    "wrong", [{"mean_photons": -1.0}, {"dt_ns": 0.0}, {"n_samples": -1}, {"light_at_ns": 50.0}]
)
def test_wrong_use_is_refused(wrong: dict[str, float]) -> None:
    setting = {"mean_photons": 1.0, "n_events": 2, "n_samples": 40, "dt_ns": 1.0, **wrong}
    with pytest.raises(ValueError, match=r"negative|outside"):
        simulate_waveforms(np.random.default_rng(7), BUSY, **AT, **setting)  # type: ignore[arg-type]
