"""The pulse that one avalanche leaves in a waveform."""

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares

from analysis.sipm.baselines import as_records, baseline, sample_noise

LEAST_PULSES = 5
MOST_PULSES = 4000
START_SIGMAS = 8.0
QUIET_SIGMAS = 3.0
LEAST_QUIET = 0.5

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PulseShape:
    """A pulse that rises and falls exponentially, with its maximum at 1.

    rise_ns: time constant of the rise; 0 for a pulse that starts at its maximum.
    fall_ns: time constant of the fall, larger than rise_ns.

    Raises ValueError otherwise.
    """

    rise_ns: float
    fall_ns: float

    def __post_init__(self) -> None:
        if not 0 <= self.rise_ns < self.fall_ns:
            raise ValueError(f"0 <= rise ({self.rise_ns} ns) < fall ({self.fall_ns} ns) needed")

    @property
    def top_ns(self) -> float:
        """Time from the start to the maximum, ns."""
        if self.rise_ns == 0:
            return 0.0
        rate = 1 / self.rise_ns - 1 / self.fall_ns
        return log(self.fall_ns / self.rise_ns) / rate

    @property
    def area_ns(self) -> float:
        """Integral of the pulse per unit of its maximum, ns."""
        return (self.fall_ns - self.rise_ns) / self._scale

    @property
    def _scale(self) -> float:
        if self.rise_ns == 0:
            return 1.0
        return exp(-self.top_ns / self.fall_ns) - exp(-self.top_ns / self.rise_ns)

    def at(self, time_ns: ArrayLike) -> Array:
        """Height at times after the start of the pulse, ns; same shape as the times."""
        time = np.asarray(time_ns, dtype=np.float64)
        started = np.maximum(time, 0.0)
        value = np.exp(-started / self.fall_ns)
        if self.rise_ns > 0:
            value -= np.exp(-started / self.rise_ns)
        return np.asarray(np.where(time >= 0, value / self._scale, 0.0), dtype=np.float64)


def estimate_shape(waveforms: ArrayLike, dt_ns: float) -> PulseShape | None:
    """Pulse shape from the pulses that stand alone in the waveforms; None where none can be told.

    waveforms: (n_records, n_samples) ADC with positive pulses. Steep rises of more than eight
    standard deviations of the noise that nothing else precedes or follows are averaged, aligned
    by their rise, and fitted with a rise and a fall. Pulses narrower than two samples give None,
    and so do pulses on more than half of the samples: too few stand alone.
    """
    waves = as_records(waveforms)
    waves = waves[np.isfinite(waves).all(axis=1)]
    level = baseline(waves) if len(waves) else np.zeros(0)
    waves = (waves - level[:, None])[np.isfinite(level)]
    if not len(waves):
        return None
    noise = float(np.median(sample_noise(waves)))
    if np.mean(waves < QUIET_SIGMAS * noise) < LEAST_QUIET:
        return None
    fall = _first_fall(waves, noise)
    if fall is None:
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


def _fitted(mean: Array, fall: float) -> tuple[tuple[float, float] | None, float]:
    at = np.arange(len(mean), dtype=np.float64)
    peak = int(np.argmax(mean))

    def apart(p: Array) -> Array:
        start, rise, tail, height, level = p
        shape = PulseShape(min(rise, 0.95 * tail), tail)
        return np.asarray(height * shape.at(at - start) + level - mean, dtype=np.float64)

    begin = np.array([peak - 1.0, 0.5, fall, mean[peak], 0.0])
    bounds = (
        [peak - fall - 5, 0.05, 0.5, 0.1 * mean[peak], -0.2],
        [peak + 1.0, 3 * fall + 1, 20 * fall + 1, 3 * mean[peak] + 1e-9, 0.2],
    )
    fit = least_squares(apart, begin, bounds=bounds, diff_step=1e-3)
    _, rise, tail, height, _ = fit.x
    if tail < 2 or np.sqrt(np.mean(fit.fun**2)) > 0.1 * height:
        return None, float(tail)
    return (float(min(rise, 0.95 * tail)), float(tail)), float(tail)
