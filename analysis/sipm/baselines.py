"""Baseline, noise and clipped samples of waveforms."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAD_TO_SIGMA = 1.4826
DENSEST_SHARE = 0.25
DENSEST_WIDTH = 0.637  # of the densest quarter of a normal distribution, in sigma
NOISE_RECORDS = 100
CLIP_SIGMAS = 2.0
LEAST_QUIET = 0.08
LEAST_SAMPLES = 16
LEAST_RUN = 3

Array = NDArray[np.float64]


def as_records(waveforms: ArrayLike) -> Array:
    """Waveforms as (n_records, n_samples) floats; one waveform becomes one record.

    Raises ValueError for other dimensions and for records of fewer than 16 samples.
    """
    waves = np.atleast_2d(np.asarray(waveforms, dtype=np.float64))
    if waves.ndim != 2 or waves.shape[1] < LEAST_SAMPLES:
        raise ValueError(
            f"waveforms are (n_records, n_samples >= {LEAST_SAMPLES}), not {np.shape(waveforms)}"
        )
    return waves


def sample_noise(waveforms: ArrayLike) -> Array:
    """Standard deviation of the white noise of every record, (n,), ADC.

    From the median size of the steps between neighbouring samples, which pulses hardly move.
    """
    waves = as_records(waveforms)
    steps = np.diff(waves, axis=1)
    size = np.median(np.abs(steps - np.median(steps, axis=1, keepdims=True)), axis=1)
    # steps of an integer ADC that are mostly zero still hide the rounding
    return np.asarray(np.maximum(MAD_TO_SIGMA * size / sqrt(2), 1e-12), dtype=np.float64)


def baseline(waveforms: ArrayLike) -> Array:
    """Level without pulses of every record, (n,), ADC; nan where no quiet part can be found.

    The start is the middle of the densest quarter of all samples (the shortest interval that holds
    them), which is the mode of the distribution and stands up to pulses on most of a record; then
    the samples within two standard deviations of the noise are averaged. Records with samples that
    are not finite give nan.
    """
    waves = as_records(waveforms)
    good = np.isfinite(waves).all(axis=1)
    level = np.full(len(waves), np.nan)
    if good.any():
        level[good] = _quiet_level(waves[good])
    return level


def running_baseline(waveforms: ArrayLike, dt_ns: float, *, window_ns: float) -> Array:
    """Baseline that wanders within a record, (n, n_samples), ADC.

    The baseline of every `window_ns` is joined by straight lines; a window must be much longer
    than a pulse. Windows without a quiet part are bridged. nan for records without any.

    Raises ValueError when a window holds fewer than 16 samples.
    """
    waves = as_records(waveforms)
    length = round(window_ns / dt_ns)
    if length < LEAST_SAMPLES:
        raise ValueError(f"a window of {window_ns} ns holds {length} samples, needs 16")
    starts = np.arange(0, max(waves.shape[1] - length // 2, 1), length)
    ends = np.append(starts[1:], waves.shape[1])
    levels = np.stack([baseline(waves[:, a:b]) for a, b in zip(starts, ends, strict=True)], axis=1)
    middle = 0.5 * (starts + ends - 1)
    sample = np.arange(waves.shape[1])
    out = np.full(waves.shape, np.nan)
    for row, level in enumerate(levels):
        known = np.isfinite(level)
        if known.any():
            out[row] = np.interp(sample, middle[known], level[known])
    return out


def clipped_samples(waveforms: ArrayLike, *, ceiling: float | None = None) -> NDArray[np.bool_]:
    """Which samples lie at the end of the ADC's range, (n, n_samples).

    ceiling: the largest (or, for negative pulses, smallest) code. Without it, a range that ends is
    recognised by runs of three or more samples that share the extreme value of all records.
    """
    waves = as_records(waveforms)
    if ceiling is not None:
        middle = np.nanmedian(waves) if np.isfinite(waves).any() else 0.0
        return waves >= ceiling if ceiling >= middle else waves <= ceiling
    clipped = np.zeros(waves.shape, dtype=bool)
    finite = waves[np.isfinite(waves)]
    if not finite.size:
        return clipped
    for extreme in (finite.max(), finite.min()):
        at = waves == extreme
        run = at[:, 2:] & at[:, 1:-1] & at[:, :-2]
        if run.any() and at.mean() < 0.5:
            clipped |= at
    return clipped


def _quiet_level(waves: Array) -> Array:
    ordered = np.sort(waves, axis=1)
    held = max(int(DENSEST_SHARE * waves.shape[1]), 4)
    width = ordered[:, held:] - ordered[:, :-held]
    first = np.argmin(width, axis=1)
    rows = np.arange(len(waves))
    level = ordered[rows, first + held // 2]
    noise = float(np.median(sample_noise(waves[:: max(len(waves) // NOISE_RECORDS, 1)])))
    reach = CLIP_SIGMAS * np.maximum(noise, width[rows, first] / DENSEST_WIDTH)[:, None]
    for _ in range(2):
        quiet = np.abs(waves - level[:, None]) <= reach
        count = quiet.sum(axis=1)
        level = np.einsum("ij,ij->i", waves, quiet) / np.maximum(count, 1)
    return np.where(count >= LEAST_QUIET * waves.shape[1], level, np.nan)
