"""Every avalanche of a SiPM, one by one: the common source of charges and waveforms.

All candidates are drawn as if every pixel were always recovered: Poisson light with jitter, dark
counts, and by generations their prompt crosstalk, delayed crosstalk and afterpulses. Then they are
thinned in causal order: a candidate in a pixel that fired a time t ago has the size
1 - exp(-t / recovery) and triggers with the probability that goes with its reduced overvoltage, and
an avalanche of reduced size keeps that part of its secondaries. The thinning is repeated until
nothing changes; because causes precede effects, the result is unique.

The branching is that of S. Vinogradov, arXiv:1109.2014.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from math import log

import numpy as np
from numpy.typing import NDArray

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
BUCKETS = 1 << 20


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
    counts from the start of the slice. Raises ValueError on negative numbers.
    """
    if min(mean_photons, n_events, light_width_ns) < 0 or stop_ns < start_ns:
        raise ValueError("light, events and widths must not be negative, nor stop before start")
    if overvoltage(truth, bias_v, temperature_c) == 0:
        return
    mean = rates(truth, bias_v, temperature_c, mean_photons)
    expected = (mean.light + mean.dark_per_ns * (stop_ns - start_ns)) / (1.0 - mean.secondaries)
    step = int(np.clip(AVALANCHES_PER_CHUNK / (expected + 0.3), 1, max(n_events, 1)))
    steepness = overvoltage(truth, bias_v, temperature_c) / truth.pde_scale_v
    for begin in range(0, n_events, step):
        events = slice(begin, min(begin + step, n_events))
        found = _Candidates(rng, truth, mean, start_ns, stop_ns)
        found.add_primaries(events.stop - events.start, light_at_ns, light_width_ns)
        found.add_secondaries()
        yield events, found.thinned(steepness)


class _Candidates:
    def __init__(
        self,
        rng: np.random.Generator,
        truth: SiPMTruth,
        mean: Rates,
        start_ns: float,
        stop_ns: float,
    ) -> None:
        self._rng = rng
        self._truth = truth
        self._mean = mean
        self._start_ns = start_ns
        self._stop_ns = stop_ns
        self._n_primaries = 0

    def add_primaries(self, n_events: int, light_at_ns: float, light_width_ns: float) -> None:
        rng, mean = self._rng, self._mean
        window_ns = self._stop_ns - self._start_ns
        events = np.arange(n_events)
        if mean.light > 0:
            jitter = 1.0 + self._truth.light_jitter * rng.standard_normal(n_events)
            lit = np.repeat(events, rng.poisson(mean.light * np.maximum(jitter, 0.0)))
        else:
            lit = events[:0]
        n_dark = int(rng.poisson(mean.dark_per_ns * window_ns * n_events))
        light_time = np.full(len(lit), light_at_ns)
        if light_width_ns > 0:
            light_time += light_width_ns * rng.standard_normal(len(lit))
        self.event = np.concatenate([lit, rng.integers(max(n_events, 1), size=n_dark)])
        self.time = np.concatenate([light_time, self._start_ns + window_ns * rng.random(n_dark)])
        self.pixel = rng.integers(self._truth.n_pixels, size=len(self.event))
        self.origin = np.repeat(
            np.array([Origin.LIGHT, Origin.DARK], dtype=np.int8), [len(lit), n_dark]
        )
        self.parent = np.full(len(self.event), -1)
        self._n_primaries = len(self.event)

    def add_secondaries(self) -> None:
        """Generations of secondaries: a Poisson total, dealt out to parents at random."""
        rng, truth, mean = self._rng, self._truth, self._mean
        if mean.secondaries == 0:
            return
        kinds = np.array(
            [Origin.CROSSTALK, Origin.DELAYED_CROSSTALK, Origin.AFTERPULSE], dtype=np.int8
        )
        odds = np.array([mean.crosstalk, mean.delayed, mean.afterpulses]) / mean.secondaries
        begin = 0
        event, time, pixel = [self.event], [self.time], [self.pixel]
        parent, origin = [self.parent], [self.origin]
        while len(event[-1]):
            n = int(rng.poisson(mean.secondaries * len(event[-1])))
            mother = rng.integers(len(event[-1]), size=n)
            kind = kinds[np.searchsorted(np.cumsum(odds)[:-1], rng.random(n), side="right")]
            delay = np.zeros(n)
            late = kind == Origin.DELAYED_CROSSTALK
            delay[late] = truth.delayed_crosstalk_ns * rng.standard_exponential(late.sum())
            again = np.flatnonzero(kind == Origin.AFTERPULSE)
            slow = rng.random(len(again)) < truth.afterpulse_slow_share
            delay[again] = rng.standard_exponential(len(again)) * np.where(
                slow, truth.afterpulse_slow_ns, truth.afterpulse_fast_ns
            )
            where = rng.integers(truth.n_pixels, size=n)
            where[again] = pixel[-1][mother[again]]
            when = time[-1][mother] + delay
            seen = when < self._stop_ns
            mother = mother[seen]
            parent.append(begin + mother)
            begin += len(event[-1])
            event.append(event[-1][mother])
            time.append(when[seen])
            pixel.append(where[seen])
            origin.append(kind[seen])
        self.event, self.time = np.concatenate(event), np.concatenate(time)
        self.pixel, self.parent = np.concatenate(pixel), np.concatenate(parent)
        self.origin = np.concatenate(origin)

    def thinned(self, steepness: float) -> Avalanches:
        """What is left when pixels need time to recover.

        steepness: overvoltage over the voltage scale of the PDE; a pixel at the fraction s of its
        overvoltage triggers with (1 - exp(-s steepness)) / (1 - exp(-steepness)).
        """
        size = np.ones(len(self.event))
        fires = np.ones(len(self.event), dtype=bool)
        shared, rounds, group = _in_shared_pixels(
            self.event * self._truth.n_pixels, self.pixel, self.time
        )
        luck = self._rng.random(len(shared))
        born = self._rng.random(len(self.event) - self._n_primaries)
        if not len(shared):
            return Avalanches(self.event, self.time, self.pixel, size, self.origin)
        time, parent = self.time[shared], self.parent[shared]
        again = self.origin[shared] == Origin.AFTERPULSE
        reference = np.ones(len(shared))
        reference[again] = self._recovered(time[again] - self.time[parent[again]])
        needed = luck * -np.expm1(-steepness * reference)
        offered = np.ones(len(self.event), dtype=bool)
        mother = self.parent[self._n_primaries :]
        while True:
            fires[:] = offered
            last = np.full(int(group.max()) + 1, -np.inf)
            for turn in rounds:
                which = group[turn]
                state = self._recovered(time[turn] - last[which])
                size[shared[turn]] = state
                hit = offered[shared[turn]] & (needed[turn] < -np.expm1(-steepness * state))
                fires[shared[turn]] = hit
                last[which[hit]] = time[turn][hit]
            before = offered[self._n_primaries :].copy()
            offered[self._n_primaries :] = fires[mother] & (born < size[mother])
            if np.array_equal(before, offered[self._n_primaries :]):
                break
        return Avalanches(
            self.event[fires], self.time[fires], self.pixel[fires], size[fires], self.origin[fires]
        )

    def _recovered(self, since_ns: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(-np.expm1(-since_ns / self._truth.recovery_ns), dtype=np.float64)


def _in_shared_pixels(
    first_pixel: NDArray[np.int64], pixel: NDArray[np.int64], time_ns: NDArray[np.float64]
) -> tuple[NDArray[np.int64], list[NDArray[np.int64]], NDArray[np.int64]]:
    """Candidates whose pixel has another candidate in the same event.

    Returns their indices (m,), ordered by pixel and time; the positions in it of the first, second,
    third... candidate of every pixel; and the number of the pixel of each (m,).
    """
    key = first_pixel + pixel
    bucket = (key * 0x9E3779B1 >> 7) & (BUCKETS - 1)
    maybe = np.flatnonzero(np.bincount(bucket, minlength=BUCKETS)[bucket] > 1)
    maybe = maybe[np.lexsort((time_ns[maybe], key[maybe]))]
    ordered = key[maybe]
    new = np.ones(len(ordered), dtype=bool)
    new[1:] = ordered[1:] != ordered[:-1]
    alone = new & np.append(new[1:], True)
    shared, new = maybe[~alone], new[~alone]
    if not len(shared):
        return shared, [], shared
    starts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    rank = np.arange(len(shared)) - starts[group]
    by_rank = np.argsort(rank, kind="stable")
    return shared, np.split(by_rank, np.cumsum(np.bincount(rank))[:-1]), group
