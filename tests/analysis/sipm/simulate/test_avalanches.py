import numpy as np
import pytest
from scipy.stats import kstest

from analysis.sipm.occupancy import pixel_state
from analysis.sipm.simulate import Origin, SiPMTruth, dark_rate_hz, simulate_avalanches
from tests.analysis.sipm.simulate.devices import (
    AT,
    OVER_V,
    PLAIN,
    avalanches,
    chi2_probability,
    generalised_poisson,
    mean_pull,
    plain,
    variance_pull,
)


def fired_pixels(truth: SiPMTruth, mean_pe: float, n_events: int) -> np.ndarray:
    return np.bincount(avalanches(truth, mean_pe, n_events).event, minlength=n_events)


@pytest.mark.parametrize(("mu", "rate"), [(0.5, 0.0), (2.0, 0.1), (3.0, 0.3), (20.0, 0.2)])
def test_fired_pixels_follow_the_generalised_poisson_law(mu: float, rate: float) -> None:
    n = 60_000
    fired = fired_pixels(plain(crosstalk_per_v=rate / OVER_V), mu, n)
    counts = np.bincount(fired)
    k = np.arange(len(counts) + 50)
    expected = n * generalised_poisson(k, mu, rate)
    counts = np.pad(counts, (0, len(k) - len(counts)))
    assert chi2_probability(counts, expected) > 1e-3
    assert abs(mean_pull(fired, mu / (1 - rate))) < 4
    assert abs(variance_pull(fired, mu / (1 - rate) ** 3)) < 4


def test_light_jitter_adds_its_square_to_the_variance() -> None:
    fired = fired_pixels(plain(light_jitter=0.1), 50.0, 40_000)
    assert abs(mean_pull(fired, 50.0)) < 4
    assert abs(variance_pull(fired, 50.0 + (0.1 * 50.0) ** 2)) < 4


def test_photons_of_one_pulse_arrive_with_the_spread_of_the_pulse() -> None:
    (_, fired), *_ = simulate_avalanches(
        np.random.default_rng(2),
        PLAIN,
        **AT,
        mean_photons=100.0,
        n_events=500,
        start_ns=0.0,
        stop_ns=60.0,
        light_at_ns=20.0,
        light_width_ns=1.5,
    )
    assert kstest(fired.time_ns, "norm", args=(20.0, 1.5)).pvalue > 1e-3


def test_few_pixels_saturate_as_occupancy_says() -> None:
    pixels, light = 400, 600.0
    fired = fired_pixels(plain(n_pixels=pixels), light, 4000)
    assert abs(mean_pull(fired, pixels * (1 - np.exp(-light / pixels)))) < 4
    idle = np.exp(-light / pixels)
    assert abs(variance_pull(fired, pixels * idle * (1 - idle))) < 4


def test_dark_counts_are_poisson_and_spread_over_the_window() -> None:
    truth = plain(dcr_hz=4e7)
    dark = avalanches(truth, 0.0, 20_000, start_ns=-50, stop_ns=100)
    per_event = np.bincount(dark.event, minlength=20_000)
    expected = dark_rate_hz(truth, **AT) * 150e-9
    assert abs(mean_pull(per_event, expected)) < 4
    assert abs(variance_pull(per_event, expected)) < 4
    assert kstest(dark.time_ns, "uniform", args=(-50, 150)).pvalue > 1e-3


def test_dark_counts_grow_with_overvoltage_and_double_with_warmth() -> None:
    truth = plain(dcr_hz=1e6, dcr_doubling_k=9.0, vbd_slope_v_per_k=0.0)
    assert dark_rate_hz(truth, 40.778, 34.0) == pytest.approx(2e6)
    assert dark_rate_hz(truth, 43.778, 25.0) == pytest.approx(2e6)


def test_afterpulses_are_as_many_and_as_late_as_the_device_says() -> None:
    truth, n = plain(afterpulse=0.02, afterpulse_slow_share=0.3), 100_000
    fired = avalanches(truth, 5.0, n, stop_ns=2000.0)
    late = fired.origin == Origin.AFTERPULSE

    def law(t: np.ndarray) -> np.ndarray:
        fast, slow = truth.afterpulse_fast_ns, truth.afterpulse_slow_ns
        return 1 - 0.7 * np.exp(-t / fast) - 0.3 * np.exp(-t / slow)

    assert kstest(fired.time_ns[late] - 5.0, law).pvalue > 1e-3
    assert late.sum() == pytest.approx(0.02 * 5.0 * n, abs=4 * np.sqrt(0.02 * 5.0 * n))


def test_weak_avalanches_cause_fewer_secondaries() -> None:
    rate, n = 0.3, 100_000
    truth = plain(afterpulse=0.4, crosstalk_per_v=rate / OVER_V)
    fired = avalanches(truth, 1.0, n, stop_ns=1e5)
    charge = fired.size.sum()
    assert charge < 0.9 * len(fired)
    crosstalk = np.sum(fired.origin == Origin.CROSSTALK)
    assert abs(crosstalk - rate * charge) / np.sqrt(rate * charge) < 4


def test_delayed_crosstalk_is_exponential_and_in_other_pixels() -> None:
    truth = plain(delayed_crosstalk_per_v=0.05, delayed_crosstalk_ns=25.0)
    n = 60_000
    fired = avalanches(truth, 1.0, n, stop_ns=1e4)
    delayed = fired.origin == Origin.DELAYED_CROSSTALK
    total = np.bincount(fired.event, minlength=n)
    assert abs(mean_pull(total, 1 / (1 - 0.15))) < 4
    assert abs(variance_pull(total, 1 / (1 - 0.15) ** 3)) < 4
    assert np.all(fired.size[delayed] == 1)
    few = avalanches(plain(delayed_crosstalk_per_v=0.004), 5.0, n, stop_ns=1e4)
    late = few.time_ns[few.origin == Origin.DELAYED_CROSSTALK] - 5.0
    assert abs(mean_pull(late, 25.0 * (1 + 0.012))) < 4


def test_every_avalanche_has_the_charge_that_its_pixel_regained() -> None:
    truth = SiPMTruth(dcr_hz=5e9, n_pixels=200, crosstalk_per_v=0.06, afterpulse=0.1)
    fired = avalanches(truth, 100.0, 300, start_ns=-200, stop_ns=100)
    order = np.lexsort((fired.time_ns, fired.pixel, fired.event))
    event, pixel, time = fired.event[order], fired.pixel[order], fired.time_ns[order]
    same = (event[1:] == event[:-1]) & (pixel[1:] == pixel[:-1])
    regained = np.ones(len(fired))
    regained[1:][same] = -np.expm1(-np.diff(time)[same] / truth.recovery_ns)
    assert same.mean() > 0.5
    assert np.allclose(fired.size[order], regained, atol=1e-12)
    assert np.all(np.diff(time)[same] > 0)


@pytest.mark.parametrize("busy", [0.1, 0.5, 2.0])
def test_busy_pixels_respond_to_light_as_renewal_theory_says(busy: float) -> None:
    pixels, light, n = 500, 15.0, 600 if busy < 1 else 150
    truth = plain(n_pixels=pixels, dcr_hz=busy * pixels / 15e-9, recovery_ns=15.0)
    fired = avalanches(truth, light, n, start_ns=-120, stop_ns=1, light_at_ns=0.0)
    state = pixel_state(busy, OVER_V / truth.pde_scale_v)
    lit = fired.origin == Origin.LIGHT
    seen = np.bincount(fired.event[lit], minlength=n)
    collected = np.bincount(fired.event[lit], weights=fired.size[lit], minlength=n)
    alone = 1 - state.trigger * light / pixels / 2
    assert abs(mean_pull(seen, light * state.trigger * alone)) < 4
    assert abs(mean_pull(collected, light * state.charge * alone)) < 4


def test_runaway_secondaries_are_tamed() -> None:
    fired = avalanches(plain(crosstalk_per_v=1.0, n_pixels=500), 2.0, 50)
    assert len(fired) > 100


def test_slices_cover_all_events_once() -> None:
    slices = [
        events
        for events, _ in simulate_avalanches(
            np.random.default_rng(1),
            plain(dcr_hz=1e9),
            **AT,
            mean_photons=100.0,
            n_events=5000,
            start_ns=0.0,
            stop_ns=1000.0,
            light_at_ns=5.0,
        )
    ]
    assert len(slices) > 3
    assert np.array_equal(
        np.concatenate([np.arange(s.start, s.stop) for s in slices]), np.arange(5000)
    )


@pytest.mark.parametrize(
    "wrong", [{"mean_photons": -1.0}, {"n_events": -1}, {"stop_ns": -1.0}, {"light_width_ns": -1.0}]
)
def test_wrong_use_is_refused(wrong: dict[str, float]) -> None:
    setting = {
        "mean_photons": 1.0,
        "n_events": 10,
        "start_ns": 0.0,
        "stop_ns": 1.0,
        "light_at_ns": 0.0,
        **wrong,
    }
    with pytest.raises(ValueError, match="must not be negative"):
        next(simulate_avalanches(np.random.default_rng(1), PLAIN, **AT, **setting))  # type: ignore[arg-type]
