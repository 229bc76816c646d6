"""From waveforms to charges, and to dark counts with their correlated noise."""

from dataclasses import dataclass, replace
from math import exp, hypot, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from analysis.estimate import Estimate, unknown
from analysis.sipm.baselines import as_records, baseline, clipped_samples, running_baseline
from analysis.sipm.delays import EXPECTED_NS, DelayFit, fit_pulse_times
from analysis.sipm.pulse_shape import PulseShape
from analysis.sipm.pulses import Pulses, find_pulses
from analysis.sipm.shape_search import estimate_shape

__all__ = [
    "PulseShape",
    "Pulses",
    "WaveformNoise",
    "baseline",
    "clipped_samples",
    "dark_from_waveforms",
    "estimate_shape",
    "find_pulses",
    "integrate",
    "running_baseline",
    "upright",
]

METHOD = "pulses of waveforms"
LEAST_PULSES = 60
COUNTED_ABOVE = 0.5
DELAYED_ABOVE = 0.3
# seen in simulated waveforms: pixels that recover, and pulses that pile up
LOST_SHARE = 0.08
LOST_IN_CROWD = 0.6
SINGLE_SHARE = 0.25
MOST_SPREAD = 0.25
MOST_CROWDED = 0.35
LONGER = 1.5
LONGER_TRIES = 3
MOST_CLIPPED = 0.01
ISOLATED_FALLS = 5.0

Array = NDArray[np.float64]


def integrate(
    waveforms: ArrayLike,
    dt_ns: float,
    gate_ns: tuple[float, float],
    *,
    baseline_ns: tuple[float, float] | None = None,
) -> Array:
    """Charges of waveforms, (n,), in ADC ns: the integral over a gate above the baseline.

    waveforms: (n_records, n_samples) ADC. Sample k stands for the time from k dt_ns to
        (k + 1) dt_ns; samples that the gate cuts count in part.
    gate_ns: begin and end of the gate after the beginning of the first sample.
    baseline_ns: begin and end of a part without light, the mean of which is the baseline; a record
        with a dark pulse there gets a baseline that is too high. Without it, the quiet samples of
        the whole record are found (`baseline`).

    Charges are nan where a record is not finite or has no quiet part. Clipped samples are
    integrated as they are: see `clipped_samples`.

    Raises ValueError for a gate or baseline part outside the record or without length.
    """
    waves = as_records(waveforms)
    if baseline_ns is None:
        level = baseline(waves)
    else:
        weight = _gate_weights(waves.shape[1], dt_ns, baseline_ns, "baseline")
        level = waves @ weight / weight.sum()
    gate = _gate_weights(waves.shape[1], dt_ns, gate_ns, "gate")
    return np.asarray((waves @ gate - level * gate.sum()) * dt_ns, dtype=np.float64)


def upright(waveforms: ArrayLike) -> Array:
    """Waveforms with positive pulses: turned over when most of their excursions are negative."""
    waves = as_records(waveforms)
    some = waves[:: max(len(waves) // 500, 1)]
    some = some[np.isfinite(some).all(axis=1)]
    if not len(some):
        return waves
    away = some - np.median(some, axis=1, keepdims=True)
    return -waves if (away**3).sum() < 0 else waves


@dataclass(frozen=True)
class WaveformNoise:
    """Dark counts and correlated noise of waveforms without light.

    amplitude: height of the pulse of one photoelectron, ADC/pe.
    crosstalk: mean number lambda of prompt secondaries per avalanche; crosstalk_probability:
        probability of at least one, 1 - exp(-lambda).
    delays: rate, afterpulses and time constants, see DelayFit.
    pulses: all that were found; pe: (m,) their heights in photoelectrons.
    """

    dcr: Estimate
    afterpulse: Estimate
    crosstalk: Estimate
    crosstalk_probability: Estimate
    amplitude: Estimate
    shape: PulseShape | None
    delays: DelayFit | None
    pulses: Pulses | None
    reasons: tuple[str, ...]

    @property
    def pe(self) -> Array:
        if self.pulses is None or self.amplitude.value is None:
            return np.zeros(0)
        return self.pulses.amplitude_adc / self.amplitude.value


def dark_from_waveforms(
    waveforms: ArrayLike,
    dt_ns: float,
    *,
    shape: PulseShape | None = None,
    amplitude: Estimate | None = None,
    dead_time_ns: float | None = None,
    ceiling: float | None = None,
) -> WaveformNoise:
    """Dark count rate, crosstalk and afterpulses from waveforms taken without light.

    waveforms: (n_records, n_samples) ADC of either polarity, taken at random times or before the
        light; records triggered by the dark pulses themselves make the rate too high.
    shape: pulse of one avalanche; found in the waveforms when absent.
    amplitude: height of one photoelectron, ADC; the most frequent height when absent.
    dead_time_ns: delays below are not used. When absent, the distance at which overlapping pulses
        are still told apart, or more where pixels that recover hide early afterpulses.

    Pulses above 0.3 photoelectrons count, so that afterpulses of pixels that recover are seen.
    Within the resolution after a pulse everything is added to it; chance coincidences are taken off
    the crosstalk with the fitted rate, 1 - p = (1 - seen) exp(expected pulses in it).

    Never raises for bad data: what cannot be told is unknown, with its reason.
    """
    waves = upright(waveforms)
    shape = shape or estimate_shape(waves, dt_ns)
    if shape is None:
        return _silent("no pulses that stand alone: give the pulse shape")
    if shape.fall_ns < 2 * dt_ns:
        return _silent(f"pulses of {shape.fall_ns:.3g} ns are too short for {dt_ns:g} ns samples")
    pulses = find_pulses(waves, dt_ns, shape, ceiling=ceiling)
    single = amplitude or _single_height(pulses)
    problem = _problem(pulses, single)
    if single.value is None or problem:
        return _silent(*problem, *_warnings(pulses, waves), shape=shape, pulses=pulses)
    return _counted(pulses, single, shape, dead_time_ns, _warnings(pulses, waves))


def _problem(pulses: Pulses, single: Estimate) -> tuple[str, ...]:
    """Why the pulses can't be counted; empty when they can."""
    if not pulses.usable.any():
        return ("no record has a baseline",)
    if single.value is None:
        return single.reasons
    if not single.value > 0:
        return ("the amplitude of one photoelectron must be positive",)
    if COUNTED_ABOVE * single.value < 0.9 * pulses.threshold_adc:
        part = pulses.threshold_adc / single.value
        return (f"the noise hides pulses below {part:.2f} photoelectrons",)
    high = np.count_nonzero(pulses.amplitude_adc > COUNTED_ABOVE * single.value)
    crowd = high / pulses.live_ns * pulses.resolution_ns
    if crowd > MOST_CROWDED:
        return (f"{crowd:.2f} pulses in {pulses.resolution_ns:.3g} ns: they pile up",)
    return ()


def _counted(
    pulses: Pulses,
    single: Estimate,
    shape: PulseShape,
    dead_time_ns: float | None,
    reasons: tuple[str, ...],
) -> WaveformNoise:
    pe = pulses.amplitude_adc / (single.value or 1.0)
    high = pe > DELAYED_ABOVE
    delays = _delays(pulses, pe, high, dead_time_ns or pulses.resolution_ns)
    if dead_time_ns is None:
        for _ in range(LONGER_TRIES):
            longer = _delays(pulses, pe, high, LONGER * delays.dead_time_ns)
            if not _disagree(delays, longer):
                delays = _widened(delays, longer)
                break
            delays = longer
    crowd = np.count_nonzero(high) / pulses.live_ns * pulses.resolution_ns
    delays = _with_losses(delays, LOST_SHARE + LOST_IN_CROWD * crowd)
    crosstalk, probability = _crosstalk(pulses, pe, delays, shape)
    return WaveformNoise(
        dcr=_noted(delays.dcr, reasons),
        afterpulse=_noted(delays.afterpulse, reasons),
        crosstalk=crosstalk,
        crosstalk_probability=probability,
        amplitude=single,
        shape=shape,
        delays=delays,
        pulses=pulses,
        reasons=reasons,
    )


def _delays(pulses: Pulses, pe: Array, high: NDArray[np.bool_], dead_time_ns: float) -> DelayFit:
    return fit_pulse_times(
        pulses.record[high],
        np.clip(pulses.time_ns[high] - pulses.first_ns, 0.0, pulses.length_ns),
        n_records=len(pulses.baseline_adc),
        length_ns=pulses.length_ns,
        dead_time_ns=dead_time_ns,
        avalanches=pe[high],
    )


def _disagree(short: DelayFit, longer: DelayFit) -> bool:
    """Whether a longer dead time gives more afterpulses than statistics explain: pixels that
    recover hide the early ones."""
    a, b = short.afterpulse, longer.afterpulse
    if a.value is None or b.value is None or a.sigma is None or b.sigma is None:
        return False
    extra = sqrt(max(b.sigma**2 - a.sigma**2, (0.3 * b.sigma) ** 2))
    return b.value - a.value > 1.5 * extra


def _widened(short: DelayFit, longer: DelayFit) -> DelayFit:
    """The fit with what a longer dead time changes added to the error of the afterpulses."""
    a, b = short.afterpulse, longer.afterpulse
    if a.value is None or b.value is None or a.sigma is None:
        return short
    sigma = hypot(a.sigma, max(b.value - a.value, 0.0))
    return replace(short, afterpulse=replace(a, sigma=sigma))


def _with_losses(delays: DelayFit, share: float) -> DelayFit:
    """The fit with the share of early, small afterpulses that are missed added to the error."""
    found = delays.afterpulse
    if found.value is None or found.sigma is None:
        return delays
    sigma = hypot(found.sigma, share * found.value)
    return replace(delays, afterpulse=replace(found, sigma=sigma))


def _gate_weights(n_samples: int, dt_ns: float, part_ns: tuple[float, float], name: str) -> Array:
    begin, end = part_ns[0] / dt_ns, part_ns[1] / dt_ns
    if not 0 <= begin < end <= n_samples + 1e-9:
        raise ValueError(f"{name} {part_ns} ns is not inside {n_samples} samples of {dt_ns} ns")
    sample = np.arange(n_samples)
    part = np.minimum(sample + 1, end) - np.maximum(sample, begin)
    return np.asarray(np.clip(part, 0.0, 1.0), dtype=np.float64)


def _single_height(pulses: Pulses) -> Estimate:
    """The most frequent height: with crosstalk below one half it is one photoelectron."""
    height = np.sort(pulses.amplitude_adc[~pulses.saturated])
    if len(height) < LEAST_PULSES:
        return unknown("ADC/pe", METHOD, f"{len(height)} pulses are too few")
    held = max(int(SINGLE_SHARE * len(height)), 10)
    first = int(np.argmin(height[held:] - height[:-held]))
    middle = float(np.median(height[first : first + held]))
    for _ in range(5):
        near = height[np.abs(height - middle) < 0.3 * middle]
        middle = float(np.median(near))
    sigma = float(np.subtract(*np.quantile(near, [0.75, 0.25])) / 1.349)
    if middle - pulses.threshold_adc < 1.5 * sigma or sigma > MOST_SPREAD * middle:
        return unknown("ADC/pe", METHOD, "one photoelectron does not stand out of the noise")
    below = np.count_nonzero(height < 0.7 * middle) / len(height)
    if below > 0.35:
        return unknown("ADC/pe", METHOD, "many pulses below the most frequent height")
    crowd = len(height) / pulses.live_ns * pulses.resolution_ns
    error = hypot(1.2533 * sigma / sqrt(len(near)), (0.006 + 0.05 * crowd) * middle)
    return Estimate(middle, error, "ADC/pe", METHOD, {"spread_adc": sigma})


def _crosstalk(
    pulses: Pulses, pe: Array, delays: DelayFit, shape: PulseShape
) -> tuple[Estimate, Estimate]:
    """Mean secondaries and probability from the heights within the resolution after quiet."""
    dead = pulses.resolution_ns
    span = pulses.first_ns + pulses.length_ns + 10 * dead
    place = pulses.record * span + pulses.time_ns
    gap = np.diff(place, prepend=-np.inf)
    # a pulse in the slope of an earlier one may be an afterpulse of a pixel that recovers
    quiet = min(ISOLATED_FALLS * shape.fall_ns, max(2 * dead, float(np.median(gap[1:]))))
    shown = pulses.time_ns > pulses.first_ns + quiet
    shown &= pulses.time_ns + dead < pulses.first_ns + pulses.length_ns
    first = np.flatnonzero((gap > quiet) & (pe > COUNTED_ABOVE) & shown)
    if len(first) < LEAST_PULSES:
        few = f"{len(first)} pulses with quiet before them are too few"
        return unknown("1", METHOD, few), unknown("1", METHOD, few)
    sums = np.append(0.0, np.cumsum(pe))
    last = np.searchsorted(place, place[first] + dead, side="left")
    together = sums[last] - sums[first]
    n, more = len(first), int(np.count_nonzero(together > 1.5))
    seen = more / n
    low, all_pulses = delays.dcr.value or 0.0, delays.rate.value or 0.0
    rate = 0.5 * (low + all_pulses) * 1e-9 * dead
    rate_sigma = hypot(0.5 * (all_pulses - low) * 1e-9 * dead, 0.08 * rate)
    early = sum(a * (1 - exp(-dead / tau)) for a, tau in delays.components)
    if not delays.components:
        early = max(delays.afterpulse.value or 0.0, 0.0) * (1 - exp(-dead / EXPECTED_NS))
    # few afterpulses so early have recovered enough to lift the sum above 1.5
    coincident = rate + 0.2 * early
    kept = (1 - seen) * exp(coincident)
    singles = together[np.abs(together - 1) < 0.5]
    width = float(np.subtract(*np.quantile(singles, [0.84, 0.16])) / 2)
    leak = float(ndtr(-0.5 / max(width, 1e-3)))
    sigma = hypot(
        sqrt((max(more, n * coincident) + 1) * (n - more + 1) / n**3) * exp(coincident),
        kept * hypot(0.25 * early, rate_sigma),
        leak,
    )
    goodness = {"seen": seen, "n_pulses": float(n), "coincident": coincident, "leak": leak}
    if leak > 0.02 or kept <= 0:
        why = "one and two photoelectrons are not told apart"
        return (
            unknown("1", METHOD, why, goodness=goodness),
            unknown("1", METHOD, why, goodness=goodness),
        )
    p = 1 - kept
    probability = Estimate(p, sigma, "1", METHOD, goodness)
    return Estimate(-log(kept), sigma / kept, "1", METHOD, goodness), probability


def _warnings(pulses: Pulses, waves: Array) -> tuple[str, ...]:
    reasons = []
    lost = int(np.count_nonzero(~pulses.usable))
    if lost:
        reasons.append(f"{lost} of {len(waves)} records could not be used")
    if len(pulses.saturated) and pulses.saturated.mean() > MOST_CLIPPED:
        reasons.append(f"{pulses.saturated.mean():.1%} of the pulses are clipped")
    return tuple(reasons)


def _noted(estimate: Estimate, reasons: tuple[str, ...]) -> Estimate:
    return replace(estimate, reasons=(*estimate.reasons, *reasons)) if reasons else estimate


def _silent(
    *reasons: str, shape: PulseShape | None = None, pulses: Pulses | None = None
) -> WaveformNoise:
    return WaveformNoise(
        dcr=unknown("Hz", METHOD, *reasons),
        afterpulse=unknown("1", METHOD, *reasons),
        crosstalk=unknown("1", METHOD, *reasons),
        crosstalk_probability=unknown("1", METHOD, *reasons),
        amplitude=unknown("ADC/pe", METHOD, *reasons),
        shape=shape,
        delays=None,
        pulses=pulses,
        reasons=reasons,
    )
