"""Every avalanche of a SiPM, one by one: the common source of charges and waveforms.

All candidates are drawn as if every pixel were always recovered: Poisson light with jitter, dark
counts, and by generations their prompt crosstalk, delayed crosstalk and afterpulses, the branching
process of S. Vinogradov, arXiv:1109.2014. Then those in pixels that have not recovered are thinned
(`recovery`).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from math import log

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.simulate.recovery import Candidates, fired
from analysis.sipm.simulate.truth import (
    SiPMTruth,
    afterpulsing,
    crosstalk,
    dark_rate_hz,
    delayed_crosstalk,
    overvoltage,
    photon_detection,
)

MAX_SECONDARIES = 0.95
AVALANCHES_PER_CHUNK = 300_000
NEGLIGIBLE = 1e-3


class Origin(IntEnum):
    """What started an avalanche."""

    LIGHT = 0
    DARK = 1
    CROSSTALK = 2
    DELAYED_CROSSTALK = 3
    AFTERPULSE = 4


@dataclass(frozen=True)
class Avalanches:
    """Avalanches of some events; all arrays (n,).

    event: index of the event; time_ns: start; pixel: which pixel fired; size: charge relative to
    that of a fully recovered pixel; origin: an `Origin`.
    """

    event: NDArray[np.int64]
    time_ns: NDArray[np.float64]
    pixel: NDArray[np.int64]
    size: NDArray[np.float64]
    origin: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.event)


@dataclass(frozen=True)
class Rates:
    """Means per event (light), per ns (dark) and per avalanche (the others)."""

    light: float
    dark_per_ns: float
    crosstalk: float
    delayed: float
    afterpulses: float

    @property
    def secondaries(self) -> float:
        return self.crosstalk + self.delayed + self.afterpulses


def rates(truth: SiPMTruth, bias_v: float, temperature_c: float, mean_photons: float) -> Rates:
    """Mean numbers of all kinds of avalanches.

    Secondaries are kept below 0.95 per avalanche, as a real device above that would never stop.
    """
    prompt = crosstalk(truth, bias_v, temperature_c)
    delayed = delayed_crosstalk(truth, bias_v, temperature_c)
    again = afterpulsing(truth, bias_v, temperature_c)
    tamed = min(1.0, MAX_SECONDARIES / max(prompt + delayed + again, MAX_SECONDARIES))
    return Rates(
        mean_photons * photon_detection(truth, bias_v, temperature_c),
        dark_rate_hz(truth, bias_v, temperature_c) * 1e-9,
        prompt * tamed,
        delayed * tamed,
        again * tamed,
    )


def history_ns(truth: SiPMTruth, mean: Rates, slowest_pulse_ns: float) -> float:
    """How long before the gate dark counts still matter, ns.

    Beyond it, less than about 1e-3 of the dark charge comes from pulse tails, late afterpulses and
    delayed crosstalk, or is lost to pixels that have not recovered.
    """
    busy = mean.dark_per_ns * truth.recovery_ns / truth.n_pixels
    tails = (
        (1.0, slowest_pulse_ns),
        (busy / (1.0 - mean.secondaries), truth.recovery_ns),
        (mean.delayed, truth.delayed_crosstalk_ns),
        (mean.afterpulses, truth.afterpulse_fast_ns),
        (mean.afterpulses * truth.afterpulse_slow_share, truth.afterpulse_slow_ns),
    )
    return max(tau * log(max(weight / NEGLIGIBLE, 1.0)) for weight, tau in tails)


def simulate_avalanches(
    rng: np.random.Generator,
    truth: SiPMTruth,
    *,
    bias_v: float,
    temperature_c: float,
    mean_photons: float,
    n_events: int,
    start_ns: float,
    stop_ns: float,
    light_at_ns: float,
    light_width_ns: float = 0.0,
) -> Iterator[tuple[slice, Avalanches]]:
    """Avalanches between start_ns and stop_ns of `n_events` events, some events at a time.

    mean_photons: mean photons per light pulse, arriving at light_at_ns with a Gaussian spread of
    light_width_ns. Yields the events as a slice of 0..n_events and their avalanches, whose `event`
    counts from the start of the slice; nothing below breakdown. Raises ValueError on negative
    numbers and on a stop before the start.
    """
    if min(mean_photons, n_events, light_width_ns) < 0 or stop_ns < start_ns:
        raise ValueError("light, events and widths must not be negative, nor stop before start")
    over = overvoltage(truth, bias_v, temperature_c)
    if over == 0:
        return
    mean = rates(truth, bias_v, temperature_c, mean_photons)
    expected = (mean.light + mean.dark_per_ns * (stop_ns - start_ns)) / (1.0 - mean.secondaries)
    step = int(np.clip(AVALANCHES_PER_CHUNK / (expected + 0.3), 1, max(n_events, 1)))
    for begin in range(0, n_events, step):
        events = slice(begin, min(begin + step, n_events))
        drawn = _primaries(
            rng,
            truth,
            mean,
            n_events=events.stop - events.start,
            start_ns=start_ns,
            stop_ns=stop_ns,
            light_at_ns=light_at_ns,
            light_width_ns=light_width_ns,
        )
        drawn = _with_secondaries(rng, truth, mean, drawn, stop_ns)
        which, size = fired(
            rng,
            drawn,
            n_pixels=truth.n_pixels,
            recovery_ns=truth.recovery_ns,
            steepness=over / truth.pde_scale_v,
        )
        yield (
            events,
            Avalanches(
                drawn.event[which],
                drawn.time_ns[which],
                drawn.pixel[which],
                size,
                drawn.origin[which],
            ),
        )


def _primaries(
    rng: np.random.Generator,
    truth: SiPMTruth,
    mean: Rates,
    *,
    n_events: int,
    start_ns: float,
    stop_ns: float,
    light_at_ns: float,
    light_width_ns: float,
) -> Candidates:
    events = np.arange(n_events)
    lit = events[:0]
    if mean.light > 0:
        light = np.maximum(1.0 + truth.light_jitter * rng.standard_normal(n_events), 0.0)
        lit = np.repeat(events, rng.poisson(mean.light * light))
    n_dark = int(rng.poisson(mean.dark_per_ns * (stop_ns - start_ns) * n_events))
    light_time = np.full(len(lit), light_at_ns)
    if light_width_ns > 0:
        light_time += light_width_ns * rng.standard_normal(len(lit))
    dark_time = start_ns + (stop_ns - start_ns) * rng.random(n_dark)
    n = len(lit) + n_dark
    return Candidates(
        event=np.concatenate([lit, rng.integers(max(n_events, 1), size=n_dark)]),
        time_ns=np.concatenate([light_time, dark_time]),
        pixel=rng.integers(truth.n_pixels, size=n),
        origin=np.repeat(np.array([Origin.LIGHT, Origin.DARK], dtype=np.int8), [len(lit), n_dark]),
        parent=np.zeros(0, dtype=np.int64),
        generation=np.zeros(n, dtype=np.int64),
        in_same_pixel=np.zeros(0, dtype=np.bool_),
    )


def _with_secondaries(
    rng: np.random.Generator,
    truth: SiPMTruth,
    mean: Rates,
    primaries: Candidates,
    stop_ns: float,
) -> Candidates:
    """Generation after generation: a Poisson total of secondaries, dealt out to random parents."""
    if mean.secondaries == 0:
        return primaries
    odds = np.array([mean.crosstalk, mean.crosstalk + mean.delayed]) / mean.secondaries
    event, time, pixel = [primaries.event], [primaries.time_ns], [primaries.pixel]
    origin, parent = [primaries.origin], [primaries.parent]
    begin = 0
    while n_parents := len(event[-1]):
        n = int(rng.poisson(mean.secondaries * n_parents))
        mother = rng.integers(n_parents, size=n)
        kind = Origin.CROSSTALK + np.searchsorted(odds, rng.random(n), side="right")
        delay = np.zeros(n)
        late = kind == Origin.DELAYED_CROSSTALK
        delay[late] = truth.delayed_crosstalk_ns * rng.standard_exponential(int(late.sum()))
        again = np.flatnonzero(kind == Origin.AFTERPULSE)
        slow = rng.random(len(again)) < truth.afterpulse_slow_share
        delay[again] = rng.standard_exponential(len(again)) * np.where(
            slow, truth.afterpulse_slow_ns, truth.afterpulse_fast_ns
        )
        where = rng.integers(truth.n_pixels, size=n)
        where[again] = pixel[-1][mother[again]]
        when = time[-1][mother] + delay
        seen = when < stop_ns
        mother = mother[seen]
        parent.append(begin + mother)
        begin += n_parents
        event.append(event[-1][mother])
        time.append(when[seen])
        pixel.append(where[seen])
        origin.append(kind[seen].astype(np.int8))
    origins = np.concatenate(origin)
    return Candidates(
        event=np.concatenate(event),
        time_ns=np.concatenate(time),
        pixel=np.concatenate(pixel),
        origin=origins,
        parent=np.concatenate(parent),
        generation=np.repeat(np.arange(len(event)), [len(one) for one in event]),
        in_same_pixel=origins[len(primaries.event) :] == Origin.AFTERPULSE,
    )
