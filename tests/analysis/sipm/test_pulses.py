import numpy as np
import pytest

from analysis.sipm.baselines import baseline, clipped_samples, running_baseline, sample_noise
from analysis.sipm.pulse_shape import PulseShape
from analysis.sipm.pulses import Pulses, find_pulses
from analysis.sipm.shape_search import estimate_shape
from tests.analysis.sipm.dark_toys import DarkTruth, records

SHAPE = PulseShape(1.0, 8.0)
TWO = np.arange(300.0)


def toy(dcr_hz: float, n: int = 300, *, seed: int = 1, **settings: float):  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    return records(rng, DarkTruth(dcr_hz=dcr_hz), n_records=n, n_samples=500, **settings)


def two_pulses(apart_ns: float, first: float = 20.0, second: float = 20.0) -> np.ndarray:
    return 50.0 + first * SHAPE.at(TWO - 100.3) + second * SHAPE.at(TWO - 100.3 - apart_ns)


def matched(pulses: Pulses, record: np.ndarray, time: np.ndarray) -> np.ndarray:
    """Distance of the nearest found pulse to every true one, ns."""
    found = pulses.record * 1e5 + pulses.time_ns
    true = record * 1e5 + time
    right = np.clip(np.searchsorted(found, true), 1, len(found) - 1)
    apart = np.stack([found[right] - true, found[right - 1] - true])
    return np.take_along_axis(apart, np.abs(apart).argmin(axis=0)[None], axis=0)[0]


@pytest.mark.parametrize(("dcr_hz", "most"), [(3e5, 0.05), (1e7, 0.3)])
def test_the_baseline_stands_up_to_pulses(dcr_hz: float, most: float) -> None:
    waves, *_ = toy(dcr_hz)
    level = baseline(waves)
    assert abs(level.mean() - 100) < most
    assert level.std() < 0.25


def test_the_running_baseline_follows_a_wandering_one() -> None:
    waves, *_ = toy(1e6, 50)
    wander = 3 * np.sin(2 * np.pi * np.arange(500) / 500)
    level = running_baseline(waves + wander, 1.0, window_ns=50.0)
    assert np.abs(level - 100 - wander).mean() < 0.5


def test_a_record_that_is_not_finite_has_no_baseline_and_no_pulses() -> None:
    waves, *_ = toy(1e7, 20)
    waves[3, 100] = np.nan
    pulses = find_pulses(waves, 1.0, SHAPE)
    assert np.isnan(baseline(waves)[3])
    assert not pulses.usable[3]
    assert pulses.usable.sum() == 19
    assert 3 not in pulses.record


def test_the_noise_of_samples_is_told_with_pulses_on_it() -> None:
    waves, *_ = toy(3e6, noise_adc=2.0)
    assert sample_noise(waves).mean() == pytest.approx(2.0, rel=0.05)


def test_clipped_samples_are_recognised_and_single_maxima_are_not() -> None:
    waves, *_ = toy(3e6, 100)
    assert not clipped_samples(waves).any()
    cut = np.minimum(waves, 115.0)
    assert np.array_equal(clipped_samples(cut), waves >= 115.0)
    assert np.array_equal(clipped_samples(waves, ceiling=115.0), waves >= 115.0)


def test_times_and_heights_are_found_without_bias() -> None:
    waves, record, time, _ = toy(3e5, 2000)
    pulses = find_pulses(waves, 1.0, SHAPE)
    inside = (time > pulses.first_ns + 1) & (time < pulses.first_ns + pulses.length_ns - 1)
    apart = matched(pulses, record, time)
    near = (np.abs(apart) < 1.5) & inside
    assert near.sum() > 0.98 * inside.sum()
    assert abs(apart[near].mean()) < 0.03
    assert apart[near].std() < 0.2
    alone = pulses.amplitude_adc[np.abs(pulses.amplitude_adc - 20) < 6]
    assert np.median(alone) == pytest.approx(20.0, rel=0.01)


def test_noise_alone_gives_hardly_any_pulses() -> None:
    rng = np.random.default_rng(1)
    pulses = find_pulses(rng.standard_normal((1000, 500)), 1.0, SHAPE)
    assert len(pulses.record) <= 2


@pytest.mark.parametrize("apart_ns", [7.0, 10.0, 20.0])
@pytest.mark.parametrize("second", [10.0, 20.0, 60.0])
def test_pulses_that_pile_up_are_told_apart(apart_ns: float, second: float) -> None:
    rng = np.random.default_rng(1)
    waves = two_pulses(apart_ns, 20.0, second) + 0.5 * rng.standard_normal((50, 300))
    pulses = find_pulses(waves, 1.0, SHAPE)
    assert len(pulses.record) == 100
    heights = pulses.amplitude_adc.reshape(50, 2)
    assert heights.mean(axis=0) == pytest.approx([20.0, second], rel=0.03)
    times = pulses.time_ns.reshape(50, 2)
    assert times.mean(axis=0) == pytest.approx([100.3, 100.3 + apart_ns], abs=0.3)


def test_a_pulse_on_the_tail_of_a_large_one_is_no_higher_for_it() -> None:
    pulses = find_pulses(two_pulses(15.0, 200.0, 20.0)[None] + noise(1), 1.0, SHAPE)
    assert pulses.amplitude_adc == pytest.approx([200.0, 20.0], abs=2.0)


def noise(n: int) -> np.ndarray:
    return 0.3 * np.random.default_rng(2).standard_normal((n, 300))


def test_pulses_on_clipped_samples_are_flagged() -> None:
    waves = np.minimum(two_pulses(80.0, 100.0, 20.0) + noise(5), 120.0)
    pulses = find_pulses(waves, 1.0, SHAPE)
    assert pulses.saturated.any()
    assert np.array_equal(pulses.saturated, pulses.time_ns < 150)


@pytest.mark.parametrize("dt_ns", [0.5, 1.0, 2.0])
def test_the_shape_is_found_in_the_waveforms(dt_ns: float) -> None:
    waves, *_ = toy(1e6, 600, dt_ns=dt_ns)
    shape = estimate_shape(waves, dt_ns)
    assert shape is not None
    assert shape.fall_ns == pytest.approx(8.0, rel=0.05)


def test_no_shape_is_told_without_pulses_or_where_none_stands_alone() -> None:
    rng = np.random.default_rng(1)
    assert estimate_shape(rng.standard_normal((50, 500)), 1.0) is None
    assert estimate_shape(toy(1e8, 50)[0], 1.0) is None
    assert estimate_shape(np.zeros((5, 100)), 1.0) is None
    assert estimate_shape(np.full((5, 100), np.nan), 1.0) is None


def test_a_pulse_shape_has_its_maximum_at_one_and_the_area_it_says() -> None:
    fine = np.arange(0, 200, 0.01)
    for shape in (SHAPE, PulseShape(0.0, 8.0)):
        assert shape.at(fine).max() == pytest.approx(1.0, rel=1e-4)
        assert shape.at(fine).sum() * 0.01 == pytest.approx(shape.area_ns, rel=1e-3)
        assert shape.at(-1.0) == 0


@pytest.mark.parametrize(
    ("dt_ns", "shape", "threshold"),
    [(0.0, SHAPE, None), (1.0, PulseShape(0.0, 1.0), None), (1.0, SHAPE, -1.0)],
)
def test_wrong_use_is_refused(dt_ns: float, shape: PulseShape, threshold: float | None) -> None:
    with pytest.raises(ValueError, match=r"positive|short"):
        find_pulses(np.zeros((2, 100)), dt_ns, shape, threshold_adc=threshold)
    with pytest.raises(ValueError, match="rise"):
        PulseShape(5.0, 4.0)


@pytest.mark.parametrize("value", [0.0, 7.0, np.nan, np.inf])
def test_records_without_content_give_no_pulses(value: float) -> None:
    pulses = find_pulses(np.full((3, 100), value), 1.0, SHAPE)
    assert len(pulses.record) == 0
