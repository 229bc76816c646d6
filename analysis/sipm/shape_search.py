"""Finding the pulse shape of one avalanche in waveforms."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from analysis.sipm.baselines import as_records, baseline, sample_noise
from analysis.sipm.pulse_shape import PulseShape
from analysis.sipm.pulses import Pulses, find_pulses

LEAST_PULSES = 5
MOST_PULSES = 4000
MOST_RECORDS = 3000
START_SIGMAS = 8.0
QUIET_SIGMAS = 3.0
LEAST_QUIET = 0.5
MOST_CROWDED = 0.3
CELLS_PER_SAMPLE = 4
MOST_MISFIT = 0.1

Array = NDArray[np.float64]


def estimate_shape(waveforms: ArrayLike, dt_ns: float) -> PulseShape | None:
    """Pulse shape from the pulses that stand alone in the waveforms; None where none can be told.

    waveforms: (n_records, n_samples) ADC with positive pulses. Steep rises of more than eight
    standard deviations of the noise that nothing else precedes or follows are averaged, aligned
    by their rise, and fitted with a rise and a fall; then the pulses that a search with this shape
    finds alone are averaged at their fitted times and fitted again. Pulses narrower than two
    samples give None, and so do pulses on more than half of the samples: too few stand alone.
    """
    waves = as_records(waveforms)
    waves = waves[np.isfinite(waves).all(axis=1)][: 10 * MOST_RECORDS]
    level = baseline(waves) if len(waves) else np.zeros(0)
    waves = (waves - level[:, None])[np.isfinite(level)]
    first = _rough(waves, dt_ns) if len(waves) else None
    if first is None:
        return None
    some = waves[:MOST_RECORDS]
    pulses = find_pulses(some, dt_ns, first)
    if len(pulses.record) * first.fall_ns > MOST_CROWDED * max(pulses.live_ns, 1.0):
        return None
    return _refined(some, dt_ns, first, pulses) or first


def _rough(waves: Array, dt_ns: float) -> PulseShape | None:
    noise = float(np.median(sample_noise(waves)))
    fall = _first_fall(waves, noise)
    if fall is None or np.mean(waves < QUIET_SIGMAS * noise) < LEAST_QUIET:
        return None
    for _ in range(2):
        mean = _mean_pulse(waves, noise, fall)
        if mean is None:
            return None
        shape, fall = _fitted(mean, fall)
        fall = max(fall, 2.0)
    return None if shape is None else PulseShape(shape[0] * dt_ns, shape[1] * dt_ns)


def _first_fall(waves: Array, noise: float) -> float | None:
    """Rough fall time in samples: how long high pulses stay above 1/e of their top."""
    top = waves.max(axis=1)
    chosen = np.argsort(top)[-200:]
    chosen = chosen[top[chosen] > START_SIGMAS * noise]
    if not len(chosen):
        return None
    at = waves[chosen].argmax(axis=1)
    lengths = []
    for row, start in zip(chosen, at, strict=True):
        under = np.flatnonzero(waves[row, start:] < top[row] / np.e)
        if len(under):
            lengths.append(float(under[0]))
    return max(float(np.quantile(lengths, 0.3)), 1.0) if lengths else None


def _mean_pulse(waves: Array, noise: float, fall: float) -> Array | None:
    """Average of isolated pulses from 3 falls before to 6 falls after the steepest rise."""
    before, after = int(3 * fall) + 3, int(6 * fall) + 4
    step = max(round(0.25 * fall), 1)
    rise = waves[:, step:] - waves[:, :-step]
    floor = START_SIGMAS * noise
    middle = rise[:, 1:-1]
    peak = (middle > floor) & (middle >= rise[:, 2:]) & (middle > rise[:, :-2])
    row, at = np.nonzero(peak)
    at = at + 1
    inside = (at >= before) & (at + after < waves.shape[1])
    row, at = row[inside][:MOST_PULSES], at[inside][:MOST_PULSES]
    if len(row) < LEAST_PULSES:
        return None
    cut = waves[row[:, None], at[:, None] + np.arange(-before, after)]
    top = cut[:, before : before + int(fall) + 2 + step].max(axis=1)
    quiet = np.abs(cut[:, : before - 2]).max(axis=1) < 0.25 * top + 3 * noise
    rises = np.diff(cut[:, before + 2 * step + 2 :], axis=1).max(axis=1)
    alone = quiet & (rises < 0.3 * top + 3 * noise)
    if alone.sum() < LEAST_PULSES:
        return None
    weight = top[alone, None]
    return np.asarray(np.median(cut[alone] / weight, axis=0), dtype=np.float64)


def _refined(waves: Array, dt_ns: float, shape: PulseShape, pulses: Pulses) -> PulseShape | None:
    """Fit to the mean of isolated pulses, each at its own fitted time."""
    fall = shape.fall_ns / dt_ns
    at = pulses.time_ns / dt_ns
    before, after = int(2 * fall) + 2, int(6 * fall) + 4
    span = waves.shape[1] + 20 * fall
    place = pulses.record * span + at
    gap = np.diff(place)
    alone = (np.append(np.inf, gap) > 8 * fall) & (np.append(gap, np.inf) > after + 2)
    alone &= (at > before) & (at + after < waves.shape[1]) & ~pulses.saturated
    chosen = np.flatnonzero(alone)[:MOST_PULSES]
    if len(chosen) < LEAST_PULSES:
        return None
    sample = np.floor(at[chosen]).astype(np.int64)[:, None] + np.arange(-before, after)
    level = pulses.baseline_adc[pulses.record[chosen], None]
    value = waves[pulses.record[chosen, None], sample] - level
    cell = np.floor((sample - at[chosen, None] + before + 1) * CELLS_PER_SAMPLE).astype(np.int64)
    height = np.broadcast_to(pulses.amplitude_adc[chosen, None], value.shape)
    total = np.bincount(cell.ravel(), weights=value.ravel())
    scale = np.bincount(cell.ravel(), weights=height.ravel())
    filled = np.flatnonzero(scale > 0)
    mean = total[filled] / scale[filled]
    middle = (filled + 0.5) / CELLS_PER_SAMPLE - before - 1
    shape_found, _ = _fitted(mean, fall, middle, np.sqrt(scale[filled] / scale.max()))
    if shape_found is None:
        return None
    return PulseShape(shape_found[0] * dt_ns, shape_found[1] * dt_ns)


def _fitted(
    mean: Array, fall: float, at: Array | None = None, weight: Array | float = 1.0
) -> tuple[tuple[float, float] | None, float]:
    """Rise and fall in samples of a mean pulse, None where it has another shape, and its fall."""
    at = np.arange(len(mean), dtype=np.float64) if at is None else at
    peak = int(np.argmax(mean))

    def apart(p: Array) -> Array:
        start, rise, tail, height, level = p
        shape = PulseShape(min(rise, 0.95 * tail), tail)
        return np.asarray(weight * (height * shape.at(at - start) + level - mean), dtype=np.float64)

    begin = np.array([at[peak] - 1.0, 0.5, fall, mean[peak], 0.0])
    bounds = (
        [at[peak] - fall - 5, 0.05, 0.5, 0.1 * mean[peak], -0.2],
        [at[peak] + 1.0, 3 * fall + 1, 20 * fall + 1, 3 * mean[peak] + 1e-9, 0.2],
    )
    fit = least_squares(apart, begin, bounds=bounds, diff_step=1e-3)
    _, rise, tail, height, _ = fit.x
    if tail < 2 or np.sqrt(np.mean(fit.fun**2)) > MOST_MISFIT * height:
        return None, float(tail)
    return (float(min(rise, 0.95 * tail)), float(tail)), float(tail)
