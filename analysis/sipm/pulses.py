"""Times and amplitudes of the pulses in waveforms, those that overlap included.

Around every sample the waveform is taken as a pulse that starts there on the tail of earlier ones.
The least-squares amplitude of that pulse is a fixed weighted sum of the neighbouring samples, so
one linear filter gives it for all samples of all records; it is the matched filter for white noise
under the condition that an exponential tail is ignored. Maxima above a threshold are pulses.
What one pulse adds to the filter at the place of another is known: the amplitudes of
overlapping pulses are the solution of a sparse linear system, and times follow from the shape of
the maximum once the neighbours are taken off. What then remains is searched for pulses again.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import correlate1d
from scipy.sparse import coo_matrix
from scipy.sparse.linalg import spsolve

from analysis.sipm.baselines import (
    DENSEST_SHARE,
    DENSEST_WIDTH,
    MAD_TO_SIGMA,
    NOISE_RECORDS,
    as_records,
    baseline,
    clipped_samples,
)
from analysis.sipm.pulse_shape import PulseShape

THRESHOLD_SIGMAS = 5.5
BEFORE_FALLS = 0.5
AFTER_FALLS = 1.0
PASSES = 6
SPARSE = 0.3
SHAPE_DOUBT = 0.12
RIDGE = 1e-5
LEAST_APART = 0.15
FINE = 32
CHUNK_SAMPLES = 2_000_000
QUIET_SIGMAS = 3.0
LEAST_QUIET = 0.6

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class Pulses:
    """Pulses of many records, ordered by record and time.

    record: (m,) number of the waveform, from 0.
    time_ns: (m,) start of the pulse after the first sample.
    amplitude_adc: (m,) height of the pulse at its maximum above baseline and earlier tails.
    saturated: (m,) whether clipped samples fall on the pulse: the amplitude is then too small.
    baseline_adc: (n,) of every record; nan for records that could not be used.
    first_ns, length_ns: where in a record pulses are searched for, and for how long. Without the
        samples before and after, an amplitude can't be told.
    noise_adc: standard deviation of an amplitude.
    threshold_adc: smallest amplitude searched for. resolution_ns: closest distance at which two
    pulses of the same size are found as two.
    """

    record: Index
    time_ns: Array
    amplitude_adc: Array
    saturated: NDArray[np.bool_]
    baseline_adc: Array
    first_ns: float
    length_ns: float
    noise_adc: float
    threshold_adc: float
    resolution_ns: float

    @property
    def usable(self) -> NDArray[np.bool_]:
        """(n,) records whose pulses could be searched for."""
        return np.isfinite(self.baseline_adc)

    @property
    def live_ns(self) -> float:
        """Time in which pulses were searched for, all usable records together."""
        return float(self.usable.sum() * self.length_ns)


def find_pulses(
    waveforms: ArrayLike,
    dt_ns: float,
    shape: PulseShape,
    *,
    threshold_adc: float | None = None,
    ceiling: float | None = None,
) -> Pulses:
    """All pulses of waveforms.

    waveforms: (n_records, n_samples) ADC, positive pulses on a baseline that is constant within a
        record. Records with samples that are not finite, or without a baseline, are left out.
    dt_ns: distance of the samples. shape: what one avalanche looks like.
    threshold_adc: smallest amplitude; 5.5 standard deviations of the filter's noise when absent.
    ceiling: the ADC's largest code, recognised by clipped tops when absent.

    Raises ValueError when dt_ns or the threshold is not positive, or the pulse is shorter than two
    samples.
    """
    if not dt_ns > 0 or (threshold_adc is not None and not threshold_adc > 0):
        raise ValueError(f"dt_ns {dt_ns} and threshold_adc {threshold_adc} must be positive")
    if shape.fall_ns < 2 * dt_ns:
        raise ValueError(f"a pulse of {shape.fall_ns} ns is too short for samples of {dt_ns} ns")
    waves = as_records(waveforms)
    clipped = clipped_samples(waves, ceiling=ceiling)
    sieve = _Sieve.of(shape, dt_ns)
    rows = max(CHUNK_SAMPLES // waves.shape[1], 1)
    starts = range(0, len(waves), rows)
    noise = _noise(waves, sieve)
    parts, levels = [], []
    for a in starts:
        part, level, seen = _search(waves[a : a + rows], sieve, noise, threshold_adc)
        noise = seen if a == 0 else noise
        parts.append(replace(part, record=part.record + a))
        levels.append(level)
    found = _Found.joined(parts).within(sieve, waves.shape[1])
    threshold = THRESHOLD_SIGMAS * noise if threshold_adc is None else threshold_adc
    first = np.clip(np.floor(found.at).astype(np.int64), 0, waves.shape[1] - 1)
    reach = int(np.ceil((shape.top_ns + 0.5 * shape.fall_ns) / dt_ns)) + 1
    covered = np.minimum(first[:, None] + np.arange(reach), waves.shape[1] - 1)
    saturated = clipped[found.record[:, None], covered].any(axis=1)
    return Pulses(
        record=found.record,
        time_ns=found.at * dt_ns,
        amplitude_adc=found.height,
        saturated=saturated,
        baseline_adc=np.concatenate([np.zeros(0), *levels]),
        first_ns=sieve.before * dt_ns,
        length_ns=max(waves.shape[1] - len(sieve.weights), 0) * dt_ns,
        noise_adc=noise,
        threshold_adc=float(threshold),
        resolution_ns=sieve.apart * dt_ns,
    )


@dataclass(frozen=True)
class _Sieve:
    """The amplitude filter of a pulse shape; all lengths in samples.

    weights: of the samples from -before to +after around the start of a pulse.
    response: what a pulse of height 1 that started `lag` samples earlier gives, on a fine grid.
    offset: place of the vertex of a parabola through the maximum, against the true start.
    """

    shape: PulseShape
    dt_ns: float
    weights: Array
    before: int
    lags: Array
    response: Array
    vertex: Array
    start: Array
    apart: float

    @classmethod
    def of(cls, shape: PulseShape, dt_ns: float) -> "_Sieve":
        fall = shape.fall_ns / dt_ns
        before = max(round(BEFORE_FALLS * fall), 2)
        after = max(round(AFTER_FALLS * fall), round(shape.top_ns / dt_ns) + 2)
        window = np.arange(-before, after + 1)
        columns = np.stack([shape.at((window + 0.5) * dt_ns), np.exp(-(window + before) / fall)])
        weights = np.linalg.pinv(columns.T)[0]
        far = before + after + 3
        lags = np.arange(-far, far * FINE // FINE + 1, 1 / FINE)
        response = np.array([weights @ shape.at((window + lag) * dt_ns) for lag in lags])
        vertex, start = _vertices(lags, response)
        wide = lags[response > 0.5 * response.max()]
        return cls(
            shape, dt_ns, weights, before, lags, response, vertex, start, float(np.ptp(wide))
        )

    @property
    def reach(self) -> float:
        return float(self.lags[-1])

    def filtered(self, waves: Array) -> Array:
        origin = self.before - len(self.weights) // 2
        return np.asarray(
            correlate1d(waves, self.weights, axis=1, mode="nearest", origin=origin),
            dtype=np.float64,
        )

    def pulse(self, lag: Array) -> Array:
        """The pulse itself at `lag` samples after its start."""
        return self.shape.at(lag * self.dt_ns)

    def seen(self, lag: Array) -> Array:
        """Filter at `lag` samples after the start of a pulse of height 1."""
        place = (lag - self.lags[0]) * FINE
        low = np.clip(np.floor(place).astype(np.int64), 0, len(self.lags) - 2)
        share = place - low
        value = self.response[low] * (1 - share) + self.response[low + 1] * share
        return np.where(np.abs(lag) < self.reach, value, 0.0)


@dataclass(frozen=True)
class _Found:
    """Pulses of a chunk: record, start (samples) and height."""

    record: Index
    at: Array
    height: Array

    @classmethod
    def joined(cls, parts: "list[_Found]") -> "_Found":
        if not parts:
            return cls(np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0))
        record = np.concatenate([p.record for p in parts])
        at = np.concatenate([p.at for p in parts])
        height = np.concatenate([p.height for p in parts])
        order = np.lexsort((at, record))
        return cls(record[order], at[order], height[order])

    def within(self, sieve: _Sieve, n_samples: int) -> "_Found":
        first = sieve.before
        last = n_samples - (len(sieve.weights) - sieve.before)
        keep = (self.at >= first) & (self.at < last)
        return _Found(self.record[keep], self.at[keep], self.height[keep])


def _vertices(lags: Array, response: Array) -> tuple[Array, Array]:
    """Vertex of the parabola through the highest sample and its neighbours, for each true start."""
    top = lags[int(np.argmax(response))]
    begin = top + np.arange(-0.75, 0.75 + 1e-9, 1 / FINE)
    values = [np.interp(begin + o, lags, response) for o in (-1, 0, 1)]
    vertex = _parabola(*values)
    order = np.argsort(vertex)
    return vertex[order], -begin[order]


def _parabola(left: Array, middle: Array, right: Array) -> Array:
    bend = 2 * middle - left - right
    return np.clip(0.5 * (right - left) / np.where(bend > 0, bend, np.inf), -1, 1)


def _levels(waves: Array, noise: float, sieve: _Sieve) -> Array:
    """Baseline of every record; where pulses crowd, from the samples with their tails taken off."""
    level = baseline(waves)
    sigma = noise / np.linalg.norm(sieve.weights)
    quiet = np.mean(np.abs(waves - level[:, None]) < QUIET_SIGMAS * sigma, axis=1)
    crowded = np.flatnonzero(np.isfinite(level) & (quiet < LEAST_QUIET))
    if len(crowded):
        kept = _kept(sieve)
        level[crowded] = baseline(_without_tails(waves[crowded], kept)) / (1 - kept)
    return level


def _kept(sieve: _Sieve) -> float:
    return float(np.exp(-sieve.dt_ns / sieve.shape.fall_ns))


def _without_tails(waves: Array, kept: float) -> Array:
    return np.asarray(waves[:, 1:] - kept * waves[:, :-1], dtype=np.float64)


def _noise(waves: Array, sieve: _Sieve) -> float:
    """Noise of the filter for white noise, from the densest part of samples without tails."""
    some = waves[:: max(len(waves) // NOISE_RECORDS, 1)]
    some = some[np.isfinite(some).all(axis=1)]
    if not len(some):
        return float("nan")
    kept = _kept(sieve)
    ordered = np.sort(_without_tails(some, kept), axis=1)
    held = max(int(DENSEST_SHARE * ordered.shape[1]), 4)
    width = float(np.median((ordered[:, held:] - ordered[:, :-held]).min(axis=1)))
    white = max(width, 1e-9) / DENSEST_WIDTH / np.hypot(1, kept)
    return float(white * np.linalg.norm(sieve.weights))


def _search(
    waves: Array, sieve: _Sieve, noise: float, threshold_adc: float | None
) -> tuple[_Found, Array, float]:
    """Pulses and baselines of a chunk, and the noise of the filter once the pulses are off."""
    found = _Found.joined([])
    if not np.isfinite(noise):
        return found, np.full(len(waves), np.nan), noise
    levels = _levels(waves, noise, sieve)
    usable = np.flatnonzero(np.isfinite(levels))
    if not len(usable):
        return found, levels, noise
    flat = waves[usable] - levels[usable, None]
    values = sieve.filtered(flat)
    total = np.zeros(len(usable))
    for step in range(PASSES):
        rest = values - _drawn(found, values.shape, sieve) if step else values
        if step:
            sparse = len(found.record) * len(sieve.weights) < SPARSE * values.size
            noise = _spread(rest) if sparse else min(noise, _spread(rest))
        threshold = THRESHOLD_SIGMAS * noise if threshold_adc is None else threshold_adc
        new = _maxima(rest, found, sieve, threshold)
        if not len(new.record) and step:
            break
        found = _solved(_Found.joined([found, new]), values, sieve, threshold)
        shift = _left_over(flat, found, sieve)
        flat -= shift[:, None]
        values -= shift[:, None] * sieve.weights.sum()
        total += shift
    found = _solved(found, values, sieve, threshold)
    levels[usable] += total
    return replace(found, record=usable[found.record].astype(np.int64)), levels, noise


def _spread(values: Array) -> float:
    some = values[:: max(len(values) // NOISE_RECORDS, 1)]
    return float(MAD_TO_SIGMA * np.median(np.abs(some - np.median(some))))


def _maxima(rest: Array, known: _Found, sieve: _Sieve, threshold: float) -> _Found:
    middle = rest[:, 1:-1]
    peak = (middle > threshold) & (middle > rest[:, :-2]) & (middle >= rest[:, 2:])
    record, at = np.nonzero(peak)
    at = at + 1
    height = rest[record, at]
    if len(known.record):
        span = rest.shape[1] + 2 * sieve.reach
        place = known.record * span + known.at
        mine = record * span + at
        after = np.clip(np.searchsorted(place, mine), 0, len(place) - 1)
        keep = np.ones(len(record), dtype=bool)
        for other in (after, np.maximum(after - 1, 0)):
            gap = np.abs(place[other] - mine)
            keep &= gap > 0.5 * sieve.apart
            near = gap < sieve.reach
            keep &= ~near | (height > threshold + SHAPE_DOUBT * known.height[other])
        record, at, height = record[keep], at[keep], height[keep]
    return _Found(record.astype(np.int64), at.astype(np.float64), height)


def _solved(found: _Found, values: Array, sieve: _Sieve, threshold: float) -> _Found:
    """Heights and starts with the neighbours of every pulse taken into account."""
    for _ in range(3):
        n = len(found.record)
        if not n:
            return found
        sample = np.clip(np.rint(found.at).astype(np.int64), 1, values.shape[1] - 2)
        first, second = _pairs(found, sieve.reach)
        lag = sample[first] - found.at[second]
        own = sieve.seen(sample - found.at)
        rows = np.concatenate([np.arange(n), first])
        columns = np.concatenate([np.arange(n), second])
        entries = np.concatenate([own + RIDGE, sieve.seen(lag)])
        system = coo_matrix((entries, (rows, columns)), shape=(n, n)).tocsc()
        height = np.atleast_1d(spsolve(system, values[found.record, sample]))
        around = []
        for o in (-1, 0, 1):
            others = np.bincount(first, weights=height[second] * sieve.seen(lag + o), minlength=n)
            around.append(values[found.record, sample + o] - others)
        vertex = _parabola(*around)
        start = sample + np.interp(vertex, sieve.vertex, sieve.start)
        keep = height > threshold
        close = np.diff(found.record * (values.shape[1] + 9.0) + start) < LEAST_APART * sieve.apart
        keep[1:] &= ~close
        found = _Found.joined([_Found(found.record[keep], start[keep], height[keep])])
    return found


def _pairs(found: _Found, reach: float) -> tuple[Index, Index]:
    """All ordered pairs of different pulses of one record that are closer than `reach`."""
    first, second = [], []
    lag = 1
    while lag < len(found.record):
        near = (found.record[lag:] == found.record[:-lag]) & (
            found.at[lag:] - found.at[:-lag] < reach
        )
        at = np.flatnonzero(near)
        if not len(at):
            break
        first += [at, at + lag]
        second += [at + lag, at]
        lag += 1
    if not first:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    return np.concatenate(first), np.concatenate(second)


def _drawn(found: _Found, size: tuple[int, ...], sieve: _Sieve) -> Array:
    """What the found pulses give after the filter, (n, n_samples)."""
    reach = np.arange(-int(sieve.reach), int(sieve.reach) + 1)
    return _added(found, size, reach, sieve.seen)


def _left_over(flat: Array, found: _Found, sieve: _Sieve) -> Array:
    """What is left of the baseline of records with pulses once these are taken off, (n,)."""
    shift = np.zeros(len(flat))
    rows, record = np.unique(found.record, return_inverse=True)
    if len(rows):
        reach = np.arange(0, int(10 * sieve.shape.fall_ns / sieve.dt_ns) + 2)
        part = replace(found, record=record)
        rest = flat[rows] - _added(part, (len(rows), flat.shape[1]), reach, sieve.pulse)
        shift[rows] = np.median(rest, axis=1)
    return shift


def _added(
    found: _Found, size: tuple[int, ...], reach: Index, height: Callable[[Array], Array]
) -> Array:
    n, length = size
    total = np.zeros(n * length)
    for begin in range(0, len(found.record), 50_000):
        part = slice(begin, begin + 50_000)
        sample = np.rint(found.at[part]).astype(np.int64)[:, None] + reach
        value = found.height[part, None] * height(sample - found.at[part, None])
        inside = (sample >= 0) & (sample < length)
        flat = (found.record[part, None] * length + sample)[inside]
        total += np.bincount(flat, weights=value[inside], minlength=n * length)
    return total.reshape(n, length)
