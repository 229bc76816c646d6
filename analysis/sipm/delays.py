"""Dark count rate, afterpulses and their time constants from the times between pulses."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, log, sqrt

import numpy as np
from iminuit import Minuit
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.pulse_trains import PulseTrain, train_of_delays, train_of_records

METHOD = "likelihood of pulse times"
LEAST_EVENTS = 30
FIRST_GAIN = 6.0
SECOND_GAIN = 7.0
MOST_DEAD = 0.5
MOST_HIDDEN = 3.0
STARTS_NS = (8.0, 25.0, 80.0, 250.0)
EXPECTED_NS = 30.0
EXPECTED_FACTOR = 2.5
LONGEST_NS = 5000.0
CUT_SHORT = 0.6

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DelayFit:
    """What the times between pulses tell.

    dcr: rate of primary dark counts, Hz; afterpulses are not part of it.
    afterpulse: mean number of afterpulses per avalanche, at all delays; the part within the dead
        time is extrapolated. Delayed crosstalk is part of it where amplitudes do not tell it apart.
    fast_ns, slow_ns: time constants; slow_ns is unknown where one describes the delays.
    slow_share: part of the afterpulses that the slow time constant describes.
    rate: rate of all counted pulses with the dead time taken off, Hz.
    train: the data of the fit.
    """

    dcr: Estimate
    afterpulse: Estimate
    fast_ns: Estimate
    slow_ns: Estimate
    slow_share: Estimate
    rate: Estimate
    dead_time_ns: float
    train: PulseTrain

    @property
    def components(self) -> tuple[tuple[float, float], ...]:
        """(mean afterpulses, time constant in ns) of what was fitted."""
        if self.afterpulse.value is None or self.fast_ns.value is None:
            return ()
        share = self.slow_share.value or 0.0
        if self.slow_ns.value is None:
            return ((self.afterpulse.value, self.fast_ns.value),)
        return (
            (self.afterpulse.value * (1 - share), self.fast_ns.value),
            (self.afterpulse.value * share, self.slow_ns.value),
        )


def fit_pulse_times(
    record: ArrayLike,
    time_ns: ArrayLike,
    *,
    n_records: int,
    length_ns: float,
    dead_time_ns: float | None = None,
    avalanches: ArrayLike | None = None,
) -> DelayFit:
    """Fit the pulses of records (or of one long record of time tags).

    record, time_ns: (m,) number of the record, and time after its beginning.
    n_records, length_ns: all records that were looked at, empty ones too.
    dead_time_ns: shorter delays are not used; found from the delays when absent.
    avalanches: (m,) fired pixels per pulse. Without them partners of crosstalk are one source, and
        afterpulses are counted per pulse.

    Raises ValueError when the arrays do not fit together.
    """
    number = np.asarray(record, dtype=np.int64).ravel()
    time = np.asarray(time_ns, dtype=np.float64).ravel()
    if len(number) != len(time):
        raise ValueError(f"{len(number)} records for {len(time)} times")
    if not np.all(np.isfinite(time)):
        return _nothing("times are not finite")
    if dead_time_ns is None:
        order = np.lexsort((time, number))
        gaps = np.diff(time[order])[np.diff(number[order]) == 0]
        dead_time_ns = visible_from(gaps)
    train = train_of_records(
        number,
        time,
        n_records=n_records,
        length_ns=length_ns,
        dead_time_ns=dead_time_ns,
        avalanches=avalanches,
    )
    notes = () if avalanches is not None else ("afterpulses are counted per pulse",)
    return _fit(train, dead_time_ns, notes)


def fit_delays(
    delay_ns: ArrayLike, *, dead_time_ns: float | None = None, empty_ns: ArrayLike = ()
) -> DelayFit:
    """Fit delays from pulses, before which it was quiet, to the next pulse.

    delay_ns: (n,) in ns. empty_ns: for how long was looked where no pulse followed. Without them
        nothing is told where the delays end before the dark counts do.
    dead_time_ns: shorter delays are not used; found from the delays when absent.

    Delays of an uninterrupted series, one after the other, hold more: hand their running sum to
    `fit_pulse_times`.
    """
    if dead_time_ns is not None and dead_time_ns < 0:
        raise ValueError(f"dead_time_ns must not be negative, not {dead_time_ns}")
    delay = np.asarray(delay_ns, dtype=np.float64).ravel()
    if not np.all(np.isfinite(delay)) or np.any(delay < 0):
        return _nothing("delays are negative or not finite")
    if len(np.unique(delay)) < min(len(delay), LEAST_EVENTS):
        return _nothing("too few different delays")
    if dead_time_ns is None:
        dead_time_ns = visible_from(delay)
    train = train_of_delays(delay, dead_time_ns=dead_time_ns, empty_ns=empty_ns)
    found = _fit(train, dead_time_ns, ("afterpulses are counted per pulse",))
    if found.dcr.value is not None and not np.size(empty_ns):
        longest, n = float(delay.max()), train.n_events
        if 1e-9 * found.dcr.value * longest < CUT_SHORT * log(n):
            cut = f"no delay beyond {longest:.4g} ns: where nothing followed is missing"
            return _nothing(cut, train=train, dead=dead_time_ns)
    return found


def fit_time_tags(time_ns: ArrayLike, *, dead_time_ns: float | None = None) -> DelayFit:
    """Fit the time tags of one uninterrupted run, (n,) in ns and in any order.

    The run is taken to begin with the first pulse and to end with the last.
    """
    time = np.sort(np.asarray(time_ns, dtype=np.float64).ravel())
    if not np.all(np.isfinite(time)):
        return _nothing("times are not finite")
    if len(time) < LEAST_EVENTS or time[0] == time[-1]:
        return _nothing(f"{len(time)} pulses are too few to tell afterpulses from dark counts")
    return fit_pulse_times(
        np.zeros(len(time), dtype=np.int64),
        time - time[0],
        n_records=1,
        length_ns=float(time[-1] - time[0]),
        dead_time_ns=dead_time_ns,
    )


def visible_from(delay_ns: ArrayLike) -> float:
    """Delay from which on no pulses are lost, ns.

    Without losses short delays are never rarer than longer ones; the densest place of the delay
    spectrum is therefore where losses end. 0 where no losses can be seen.
    """
    delay = np.sort(np.asarray(delay_ns, dtype=np.float64).ravel())
    if len(delay) < LEAST_EVENTS:
        return 0.0
    held = max(len(delay) // 40, 10)
    width = delay[held:] - delay[:-held]
    first = int(np.argmin(width))
    at_once = np.count_nonzero(delay < width[first])
    if at_once > held - 5 * sqrt(held):
        return 0.0
    return float(delay[first])


def _fit(train: PulseTrain, dead_time_ns: float, notes: tuple[str, ...]) -> DelayFit:
    n, live = train.n_events, train.live_ns
    if not live > 0:
        return _nothing("no time in which pulses could be seen", train=train, dead=dead_time_ns)
    rate = Estimate(1e9 * n / live, 1e9 * sqrt(n + 1) / live, "Hz", METHOD)
    if n < LEAST_EVENTS:
        few = f"{n} pulses are too few to tell afterpulses from dark counts"
        limit = f"the rate of all pulses is {rate.value:.3g} +- {rate.sigma:.2g} Hz"
        return _nothing(few, limit, train=train, dead=dead_time_ns, rate=rate)
    flat = train.negative_log_likelihood(n / live, [0.0], [1.0])
    one = _best(train, n / live, 1)
    gain_one = flat - one.nll
    if gain_one < FIRST_GAIN:
        return _without_time_constant(train, dead_time_ns, rate, gain_one, notes)
    if one.at_limit:
        return _without_time_constant(train, dead_time_ns, rate, gain_one, notes)
    two = _best(train, n / live, 2, one)
    gain_two = one.nll - two.nll
    chosen = two if gain_two > SECOND_GAIN and two.valid else one
    if not chosen.valid:
        return _nothing("the fit did not converge", train=train, dead=dead_time_ns, rate=rate)
    goodness = {"gain_one": gain_one, "gain_two": gain_two, "n_pulses": float(n)}
    hidden = exp(min(dead_time_ns / chosen.tau[0], 50.0))
    dcr, dcr_sigma = _averaged((one.dcr, one.dcr_sigma), (two.dcr, two.dcr_sigma), one, two)
    total, sigma = _averaged((one.total, one.total_sigma), (two.total, two.total_sigma), one, two)
    if hidden > MOST_HIDDEN or sigma > max(0.5 * total, 0.1):
        why = f"the dead time of {dead_time_ns:.3g} ns hides too many afterpulses"
        afterpulse = unknown("1", METHOD, why, *notes, goodness=goodness)
    else:
        told = "delayed crosstalk is counted as afterpulses"
        afterpulse = Estimate(total, sigma, "1", METHOD, goodness, (told, *notes))
    single = "one time constant describes the delays"
    slow, share = unknown("ns", METHOD, single), unknown("1", METHOD, single)
    fast_sigma = chosen.tau_sigma[0]
    if chosen is two:
        slow = Estimate(two.tau[1], two.tau_sigma[1], "ns", METHOD, goodness)
        share = Estimate(two.share, two.share_sigma, "1", METHOD, goodness)
    elif _weight(one, two) > 0:
        fast_sigma = hypot(fast_sigma, _weight(one, two) * (two.tau[0] - one.tau[0]))
    return DelayFit(
        dcr=Estimate(1e9 * dcr, 1e9 * dcr_sigma, "Hz", METHOD, goodness, notes),
        afterpulse=afterpulse,
        fast_ns=Estimate(chosen.tau[0], fast_sigma, "ns", METHOD, goodness),
        slow_ns=slow,
        slow_share=share,
        rate=rate,
        dead_time_ns=dead_time_ns,
        train=train,
    )


@dataclass(frozen=True)
class _Model:
    """A fitted number of components, in ns; tau rises."""

    nll: float
    valid: bool
    dcr: float
    dcr_sigma: float
    total: float
    total_sigma: float
    tau: tuple[float, ...]
    tau_sigma: tuple[float, ...]
    at_limit: bool = False
    share: float = 0.0
    share_sigma: float = 0.0


def _weight(one: _Model, two: _Model) -> float:
    """Weight of two time constants against one by Akaike's criterion."""
    if not two.valid or two.total_sigma > 5 * one.total_sigma + 0.02:
        return 0.0
    return 1 / (1 + exp(min(2 - (one.nll - two.nll), 50.0)))


def _averaged(
    by_one: tuple[float, float], by_two: tuple[float, float], one: _Model, two: _Model
) -> tuple[float, float]:
    """Value and sigma over both numbers of time constants."""
    weight = _weight(one, two)
    value = (1 - weight) * by_one[0] + weight * by_two[0]
    spread = [hypot(sigma, at - value) ** 2 for at, sigma in (by_one, by_two)]
    return value, sqrt((1 - weight) * spread[0] + weight * spread[1])


def _best(train: PulseTrain, rate: float, components: int, base: _Model | None = None) -> _Model:
    """Best fit over several starts. Parameters: ln dcr, total, ln tau_1 (, ln ratio, share)."""
    longest = min(LONGEST_NS, max(10 / rate, 100.0))
    shortest = 0.5

    def cost(p: Sequence[float]) -> float:
        tau, share = _components(p)
        return train.negative_log_likelihood(rate * exp(p[0]), p[1] * share, tau)

    starts: list[list[float]]
    if base is None:
        starts = [[log(0.95), 0.05, log(t)] for t in STARTS_NS if t < longest]
    else:
        at = [log(base.dcr / rate), base.total, log(base.tau[0])]
        starts = [
            [at[0], at[1], at[2] - 0.5, log(4.0), 0.4],
            [at[0], at[1], at[2] - 1.2, log(5.0), 0.6],
        ]
    names = ["dcr", "total", "tau", "ratio", "share"][: len(starts[0])]
    limits = [(-6, 2), (0.0, 0.9), (log(shortest), log(longest)), (log(1.8), log(60.0)), (0, 1)]
    begun = min(starts, key=cost) if base is None else starts[0]
    tried = []
    for start in [begun] if base is None else starts:
        minuit = Minuit(cost, start, name=names)
        minuit.errordef = Minuit.LIKELIHOOD
        minuit.strategy = 0
        for name, limit in zip(names, limits, strict=False):
            minuit.limits[name] = limit
        minuit.migrad(ncall=600)
        tried.append(minuit)
    best = min(tried, key=lambda m: m.fval)
    best.strategy = 1
    best.migrad(ncall=600)
    best.hesse()
    return _model(best, rate)


def _components(p: Sequence[float]) -> tuple[Array, Array]:
    if len(p) == 3:
        return np.array([exp(p[2])]), np.ones(1)
    return np.array([exp(p[2]), exp(p[2] + p[3])]), np.array([1 - p[4], p[4]])


def _model(m: Minuit, rate: float) -> _Model:
    v, e = list(m.values), list(m.errors)
    dcr = rate * exp(v[0])
    tau = tuple(_components(v)[0])
    sigmas = [tau[0] * e[2]]
    if len(v) > 3 and m.covariance is not None:
        c = m.covariance
        sigmas.append(tau[1] * sqrt(max(c[2, 2] + c[3, 3] + 2 * c[2, 3], 0.0)))
    elif len(v) > 3:
        sigmas.append(tau[1])
    finite = bool(np.all(np.isfinite([*v, *e, m.fval])))
    valid = finite and bool(m.fmin is not None and m.fmin.has_covariance)
    return _Model(
        nll=float(m.fval),
        valid=valid,
        dcr=dcr,
        dcr_sigma=dcr * e[0],
        total=v[1],
        total_sigma=e[1],
        tau=tau,
        tau_sigma=tuple(sigmas),
        at_limit=bool(np.any(np.abs(np.array(v[2]) - np.array(m.limits["tau"])) < 0.05)),
        share=v[4] if len(v) > 3 else 0.0,
        share_sigma=e[4] if len(v) > 3 else 0.0,
    )


def _without_time_constant(
    train: PulseTrain, dead_time_ns: float, rate: Estimate, gain: float, notes: tuple[str, ...]
) -> DelayFit:
    """Afterpulses that do not stand out: their number for an expected time constant."""
    found = []
    for tau in (EXPECTED_NS, EXPECTED_NS / EXPECTED_FACTOR, EXPECTED_NS * EXPECTED_FACTOR):
        found.append(_at_fixed(train, tau))
    (dcr, dcr_sigma, total, total_sigma), *others = found
    dcr_sigma = hypot(dcr_sigma, max(abs(o[0] - dcr) for o in others))
    goodness = {"gain_one": gain, "n_pulses": float(train.n_events)}
    why = "afterpulses do not stand out of the dark counts"
    silent = unknown("ns", METHOD, why)
    if exp(min(dead_time_ns / EXPECTED_NS * EXPECTED_FACTOR, 50.0)) > 2 * MOST_HIDDEN:
        hidden = f"the dead time of {dead_time_ns:.3g} ns could hide them"
        afterpulse = unknown("1", METHOD, why, hidden, goodness=goodness)
    else:
        spread = max(hypot(o[2] - total, o[3]) for o in others)
        told = f"{why}: their number holds for delays of {EXPECTED_NS:g} ns within a factor 2.5"
        sigma = max(total_sigma, spread)
        afterpulse = Estimate(total, sigma, "1", METHOD, goodness, (told, *notes))
    return DelayFit(
        dcr=Estimate(1e9 * dcr, 1e9 * dcr_sigma, "Hz", METHOD, goodness, notes),
        afterpulse=afterpulse,
        fast_ns=silent,
        slow_ns=silent,
        slow_share=unknown("1", METHOD, why),
        rate=rate,
        dead_time_ns=dead_time_ns,
        train=train,
    )


def _at_fixed(train: PulseTrain, tau: float) -> tuple[float, float, float, float]:
    rate = train.n_events / train.live_ns

    def cost(p: Sequence[float]) -> float:
        return train.negative_log_likelihood(rate * exp(p[0]), [p[1]], [tau])

    minuit = Minuit(cost, [0.0, 0.01], name=["dcr", "total"])
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.limits["dcr"] = (-6, 2)
    # a rate is nowhere negative
    minuit.limits["total"] = (-min(0.5 * rate * tau, 0.3), 0.9)
    minuit.migrad()
    minuit.hesse()
    (a, b), (ea, eb) = minuit.values, minuit.errors
    return rate * exp(a), rate * exp(a) * ea, b, eb


def _nothing(
    *reasons: str, train: PulseTrain | None = None, dead: float = 0.0, rate: Estimate | None = None
) -> DelayFit:
    return DelayFit(
        dcr=unknown("Hz", METHOD, *reasons),
        afterpulse=unknown("1", METHOD, *reasons),
        fast_ns=unknown("ns", METHOD, *reasons),
        slow_ns=unknown("ns", METHOD, *reasons),
        slow_share=unknown("1", METHOD, *reasons),
        rate=rate or unknown("Hz", METHOD, *reasons),
        dead_time_ns=dead,
        train=train or train_of_delays([], dead_time_ns=0.0),
    )
