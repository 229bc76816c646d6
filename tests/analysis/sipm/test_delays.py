import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.sipm.delays import fit_delays, fit_pulse_times, fit_time_tags, visible_from
from analysis.sipm.pulse_trains import decayed_sum, train_of_records
from tests.analysis.sipm.dark_toys import DarkTruth, avalanches


def pulls(truth: DarkTruth, *, n_pulses: int, n_sets: int, seed: int) -> np.ndarray:
    """(value - truth) / sigma of rate and afterpulses of many sets, (n_sets, 2)."""
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n_sets):
        length = 1e9 * n_pulses / truth.dcr_hz
        time, size, _ = avalanches(rng, truth, length)
        record = (time // (length / 10)).astype(int)
        fit = fit_pulse_times(
            record,
            time - record * (length / 10),
            n_records=10,
            length_ns=length / 10,
            dead_time_ns=5.0,
            avalanches=np.maximum(size, 0),
        )
        assert fit.dcr.value is not None, fit.dcr.reasons
        assert fit.afterpulse.value is not None, fit.afterpulse.reasons
        assert fit.dcr.sigma is not None
        assert fit.afterpulse.sigma is not None
        found.append(
            (
                (fit.dcr.value - truth.dcr_hz) / fit.dcr.sigma,
                (fit.afterpulse.value - truth.afterpulse) / fit.afterpulse.sigma,
            )
        )
    return np.array(found)


@pytest.mark.parametrize("dcr_hz", [1e4, 1e6, 3e7])
@pytest.mark.parametrize("afterpulse", [0.0, 0.2])
def test_rate_and_afterpulses_are_found_with_honest_errors(
    dcr_hz: float, afterpulse: float
) -> None:
    truth = DarkTruth(dcr_hz=dcr_hz, afterpulse=afterpulse)
    found = pulls(truth, n_pulses=2000, n_sets=4, seed=3)
    assert np.all(np.abs(found) < 3.5)
    assert np.all(np.abs(found.mean(axis=0)) < 1.7)


@pytest.mark.study
@pytest.mark.parametrize("dcr_hz", [1e4, 1e5, 1e6, 1e7, 1e8])
@pytest.mark.parametrize("afterpulse", [0.0, 0.05, 0.2])
def test_pulls_have_unit_width(dcr_hz: float, afterpulse: float) -> None:
    truth = DarkTruth(dcr_hz=dcr_hz, afterpulse=afterpulse)
    found = pulls(truth, n_pulses=5000, n_sets=60, seed=4)
    assert np.all(np.abs(found.mean(axis=0)) < 0.6)
    assert np.all(found.std(axis=0) < 1.25)


def test_two_time_constants_are_told_apart_where_the_data_need_them() -> None:
    rng = np.random.default_rng(1)
    truth = DarkTruth(
        dcr_hz=1e4, afterpulse=0.2, afterpulse_ns=12, slow_share=0.4, slow_ns=200, crosstalk=0
    )
    time, *_ = avalanches(rng, truth, 5e8)
    fit = fit_time_tags(time, dead_time_ns=3.0)
    assert fit.fast_ns.value == pytest.approx(12, abs=5 * (fit.fast_ns.sigma or 0))
    assert fit.slow_ns.value == pytest.approx(200, abs=5 * (fit.slow_ns.sigma or 0))
    assert fit.slow_share.value == pytest.approx(0.4, abs=0.12)
    assert len(fit.components) == 2
    assert sum(mean for mean, _ in fit.components) == pytest.approx(fit.afterpulse.value, abs=0.02)


def test_first_arrivals_give_the_same_as_their_closed_form() -> None:
    rng = np.random.default_rng(2)
    dcr, mean, tau = 1e5, 0.1, 40.0
    dark = rng.exponential(1e9 / dcr, 6000)
    # the first of a Poisson number of afterpulses comes earlier than a single one
    many = rng.poisson(mean, 6000)
    after = np.array([rng.exponential(tau, k).min() if k else np.inf for k in many])
    fit = fit_delays(np.minimum(dark, after), dead_time_ns=0.0)
    assert fit.dcr.value == pytest.approx(dcr, abs=3 * (fit.dcr.sigma or 0))
    assert fit.afterpulse.value == pytest.approx(mean, abs=3 * (fit.afterpulse.sigma or 0))
    assert fit.fast_ns.value == pytest.approx(tau, abs=3 * (fit.fast_ns.sigma or 0))


def test_delays_that_a_window_cut_off_tell_nothing_unless_the_rest_is_given() -> None:
    rng = np.random.default_rng(2)
    delay = rng.exponential(1e4, 5000)
    cut = fit_delays(delay[delay < 3000], dead_time_ns=0.0)
    assert not cut.dcr.known
    assert "no delay beyond" in cut.dcr.reasons[0]
    empty = np.full(np.count_nonzero(delay >= 3000), 3000.0)
    whole = fit_delays(delay[delay < 3000], dead_time_ns=0.0, empty_ns=empty)
    assert whole.dcr.value == pytest.approx(1e5, abs=3.5 * (whole.dcr.sigma or 0))


def test_a_dead_time_that_hides_the_afterpulses_makes_them_unknown() -> None:
    rng = np.random.default_rng(2)
    time, *_ = avalanches(rng, DarkTruth(dcr_hz=1e5, afterpulse=0.2, afterpulse_ns=10), 3e7)
    fit = fit_time_tags(time, dead_time_ns=60.0)
    assert not fit.afterpulse.known
    assert fit.dcr.known


def test_few_pulses_give_a_rate_only() -> None:
    fit = fit_pulse_times([0, 0, 1], [10.0, 300.0, 40.0], n_records=5, length_ns=1000.0)
    assert not fit.dcr.known
    assert fit.rate.value == pytest.approx(1e9 * 3 / 5000)


def test_losses_of_short_delays_are_seen_in_the_delays() -> None:
    rng = np.random.default_rng(1)
    delay = rng.exponential(100.0, 5000)
    assert visible_from(delay) == 0
    assert 9 <= visible_from(delay[delay > 10]) < 16
    assert visible_from([]) == 0


@pytest.mark.parametrize(
    "bad", [[np.nan] * 50, [-1.0] * 50, [0.0] * 50, [1e-300] * 50, [5.0] * 50, []]
)
def test_bad_delays_are_unknown(bad: list[float]) -> None:
    fit = fit_delays(bad)
    assert not fit.dcr.known
    assert fit.dcr.reasons
    assert not fit_time_tags(bad).dcr.known


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="records for"):
        fit_pulse_times([0], [1.0, 2.0], n_records=1, length_ns=10.0)
    with pytest.raises(ValueError, match="outside"):
        fit_pulse_times([0], [11.0], n_records=1, length_ns=10.0)
    with pytest.raises(ValueError, match="record 3 of 2"):
        train_of_records([3], [1.0], n_records=2, length_ns=10.0, dead_time_ns=0.0)
    with pytest.raises(ValueError, match="negative"):
        fit_delays([1.0] * 40, dead_time_ns=-1.0)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-10, 10)), max_size=40))
def test_the_decayed_sum_is_the_recursion(pairs: list[tuple[float, float]]) -> None:
    decay = np.array([d for d, _ in pairs])
    weight = np.array([w for _, w in pairs])
    expected, state = [], 0.0
    for d, w in pairs:
        state = d * state + w
        expected.append(state)
    assert decayed_sum(decay, weight) == pytest.approx(expected, abs=1e-9)


def test_the_likelihood_is_that_of_a_point_process() -> None:
    train = train_of_records(
        [0, 0, 0], [10.0, 12.0, 40.0], n_records=1, length_ns=100.0, dead_time_ns=5.0
    )
    rate, mean, tau = 0.01, 0.3, 20.0

    def kernel(delay: float) -> float:
        return mean / tau * np.exp(-delay / tau)

    total = rate / (1 - mean)

    def at(t: float, *sources: float) -> float:
        history = total * tau * kernel(t)
        return rate + history + sum(kernel(t - s) for s in sources)

    def between(a: float, b: float, *sources: float) -> float:
        fine = np.linspace(a, b, 20001)
        return float(np.trapezoid([at(t, *sources) for t in fine], fine))

    integral = between(0, 10) + between(15, 40, 10, 12) + between(45, 100, 10, 12, 40)
    expected = integral - np.log(at(10)) - np.log(at(40, 10, 12))
    assert train.negative_log_likelihood(rate, [mean], [tau]) == pytest.approx(expected, rel=1e-6)
