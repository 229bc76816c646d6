"""Rate of dark pulses against the threshold of a discriminator: the staircase curve."""

from dataclasses import dataclass
from math import exp, hypot, log, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from analysis.estimate import Estimate, unknown

METHOD = "staircase: rate against threshold"
LEAST_POINTS = 12
LEAST_PER_STEP = 4
MOST_STEPS = 6
MOST_FALLS = 9
MOST_CALLS = 150
WALL_FACTOR = 1.6
FLAT_SPAN = 0.2
STEEP = 2.0
FAR_OFFSET = 0.35
LEFT_OUT_COST = 4.0
MOST_WIDTH = 0.28
MOST_CHI2 = 6.0
RATE_DOUBT = 0.004
MOST_LOSS = 0.3
MOST_LOG_ERROR = 0.3
LEAST_DROP = 0.2
UNTOLD_SIGMA = 0.02

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Staircase:
    """What a staircase curve tells.

    dcr: rate of pulses above half a photoelectron with dead-time losses added, Hz; afterpulses are
        counted. crosstalk_probability: part of the pulses with more than one photoelectron, without
        chance coincidences; crosstalk: mean number lambda of prompt secondaries, -ln(1 - p).
    gain: distance of the steps and offset: where no photoelectron lies, in units of the threshold.
    threshold, rate, sigma: (n,) the points that were used, Hz; model: (n,) the fitted curve.
    plateau_hz: rates of the plateaus above 0.5, 1.5, ... photoelectrons as they were counted.
    """

    dcr: Estimate
    crosstalk: Estimate
    crosstalk_probability: Estimate
    gain: Estimate
    offset: Estimate
    threshold: Array
    rate: Array
    sigma: Array
    model: Array
    plateau_hz: tuple[float, ...]


def staircase(
    threshold: ArrayLike,
    rate_hz: ArrayLike,
    sigma_hz: ArrayLike | None = None,
    *,
    live_s: ArrayLike | None = None,
    dead_time_ns: float = 0.0,
    unit: str = "ADC",
) -> Staircase:
    """Plateaus, steps, dark count rate and crosstalk of a staircase curve.

    threshold: (n,) in any order, rising with the size of a pulse (signs of negative pulses are
        turned by the caller). rate_hz: (n,) pulses per second above it.
    sigma_hz: (n,) its errors; live_s: (n,) or one number, the time each point was counted. Without
        either, errors are taken from the scatter about a smooth curve.
    dead_time_ns: width of the pulse or dead time of the counter in which two pulses count as one.
    unit: of the threshold.

    Fitted is rate(x) = sum over k of (r_k - r_(k+1)) Phi((offset + k gain - x) / width_k) with the
    plateau rates r_k free, and a noise wall A exp(-(x - offset)^2 / 2 w^2) (Rice's rate of
    crossings) of which only the foot is used. Losses are those of a counter whose dead time is
    prolonged or not, the mean of both; a second dark count within the dead time looks like
    crosstalk: 1 - p = (1 - r_2/r_1) exp(rate times dead time).

    Unknown with fewer than two plateaus, steps that noise has washed out, or a curve that is no
    staircase. Raises ValueError when the arrays differ in length or dead_time_ns is negative.
    """
    if dead_time_ns < 0:
        raise ValueError(f"dead_time_ns must not be negative, not {dead_time_ns}")
    points = _points(threshold, rate_hz, sigma_hz, live_s)
    if isinstance(points, str):
        return _refused(points, unit)
    x, rate, sigma = points
    best: _Steps | None = None
    for gain, first in _guesses(x, rate, sigma):
        found = _fit(x, rate, sigma, gain, first)
        if found is not None and (best is None or found.score < best.score):
            best = found
    if best is None:
        return _refused("no two steps stand out of the curve", unit, points)
    problem = _problem(best)
    if problem is not None:
        return _refused(problem, unit, points)
    return _answer(points, best, dead_time_ns, unit)


@dataclass(frozen=True)
class _Steps:
    gain: float
    offset: float
    width: float
    plateau: Array
    covariance: Array
    model: Array
    left_out: int
    chi2: float
    ndf: int

    @property
    def score(self) -> float:
        return self.chi2 + 2 * len(self.plateau) + LEFT_OUT_COST * self.left_out


def _points(
    threshold: ArrayLike,
    rate_hz: ArrayLike,
    sigma_hz: ArrayLike | None,
    live_s: ArrayLike | None,
) -> tuple[Array, Array, Array] | str:
    x = np.asarray(threshold, dtype=np.float64).ravel()
    rate = np.asarray(rate_hz, dtype=np.float64).ravel()
    if len(x) != len(rate):
        raise ValueError(f"{len(x)} thresholds for {len(rate)} rates")
    good = np.isfinite(x) & np.isfinite(rate) & (rate >= 0)
    given = None
    if sigma_hz is not None:
        given = np.broadcast_to(np.asarray(sigma_hz, dtype=np.float64), x.shape)
        good &= np.isfinite(given) & (given > 0)
    elif live_s is not None:
        live = np.broadcast_to(np.asarray(live_s, dtype=np.float64), x.shape)
        good &= np.isfinite(live) & (live > 0)
        given = np.sqrt(np.maximum(rate * live, 0) + 1) / np.where(live > 0, live, np.inf)
    order = np.argsort(x[good], kind="stable")
    x, rate = x[good][order], rate[good][order]
    if len(x) < LEAST_POINTS or not np.ptp(x) > 0:
        return f"{len(x)} usable points are too few"
    if not rate.max() > 0:
        return "nothing was counted"
    if given is None:
        smooth = np.sqrt(rate)
        bend = np.abs(smooth[2:] - 2 * smooth[1:-1] + smooth[:-2]) / sqrt(6)
        # steps bend the curve too: the quieter half of the points tells the scatter
        scatter = 2 * max(float(np.quantile(bend, 0.4)), 1e-4 * float(smooth.max()))
        sigma = 2 * np.maximum(smooth, scatter) * scatter
    else:
        sigma = np.asarray(given[good][order])
    return x, rate, np.hypot(sigma, RATE_DOUBT * rate)


def _guesses(x: Array, rate: Array, sigma: Array) -> list[tuple[float, float]]:
    """Plausible gains and places of the first step, from the steepest falls of ln rate."""
    floor = np.maximum(rate, sigma)
    fine = np.linspace(x[0], x[-1], 400)
    curve = np.interp(fine, x, np.log(floor))
    reach = max(len(fine) // 60, 1)
    fall = np.zeros_like(fine)
    fall[reach:-reach] = curve[: -2 * reach] - curve[2 * reach :]
    peaks = np.flatnonzero(
        (fall[1:-1] > fall[:-2]) & (fall[1:-1] >= fall[2:]) & (fall[1:-1] > LEAST_DROP)
    )
    at = fine[peaks + 1]
    at = at[np.argsort(fall[peaks + 1])[::-1]][:MOST_FALLS]
    guesses = []
    for a in at:
        for b in at:
            gain = b - a
            if gain > 3 * np.median(np.diff(x)) and gain < 0.8 * np.ptp(x):
                guesses.append((float(gain), float(a)))
    return guesses


def _flattest(x: Array, rate: Array, low: float, high: float) -> float | None:
    """Rate where the curve is flattest between two thresholds, Hz."""
    inside = np.flatnonzero((x > low) & (x < high) & (rate > 0))
    if len(inside) < 2:
        return None
    slope = np.abs(np.gradient(np.log(rate[inside]), x[inside]))
    near = inside[np.argsort(slope)[: max(len(inside) // 3, 2)]]
    return float(np.median(rate[near]))


def _flat_among(x: Array, rate: Array, left_out: Array, gain: float) -> bool:
    """Whether the points taken for the noise wall hold a plateau."""
    ahead = FLAT_SPAN * gain
    begins = left_out[left_out + ahead < left_out.max(initial=-np.inf) + 0.1 * gain]
    if not len(begins):
        return False
    log_rate = np.log(np.maximum(rate, 1e-300))
    drop = np.interp(begins, x, log_rate) - np.interp(begins + ahead, x, log_rate)
    return bool(drop.min() < STEEP * FLAT_SPAN)


def _fit(x: Array, rate: Array, sigma: Array, gain: float, first: float) -> _Steps | None:
    steps = int(min(np.floor((x[-1] - first) / gain + 0.5), MOST_STEPS))
    if steps < 1:
        return None
    # plateau k lies above the threshold offset + (k - 1/2) gain; the last one may be cut
    k = np.arange(1, steps + 2)
    level = _flattest(x, rate, first - 0.8 * gain, first - 0.2 * gain)
    if level is None:
        return None
    kept = rate < WALL_FACTOR * level
    if _flat_among(x, rate, x[~kept], gain):
        return None
    whole = x
    x, rate, sigma = x[kept], rate[kept], sigma[kept]
    if len(x) < LEAST_POINTS - 2:
        return None
    middle = first + (k - 1.5) * gain
    heights = np.maximum(np.interp(middle, x, rate), 1e-3 * level * 0.3 ** (k - 1))
    heights[0] = level
    begin = [gain, first - gain, 0.12, *np.log(heights), 0.002, log(0.3 * level), 0.15]

    def curve(p: Array, x: Array) -> Array:
        g, offset, width = p[0], p[1], p[2]
        plateaus = np.exp(p[3 : 3 + len(k)])
        drop = plateaus - np.append(plateaus[1:], 0.0)
        z = (offset + k[:, None] * g - x) / (g * np.sqrt(width**2 + p[-3] * k[:, None]))
        edge = ((kept_from - offset) / (g * p[-1])) ** 2
        noise = p[-2] - 0.5 * (((x - offset) / (g * p[-1])) ** 2 - edge)
        return np.asarray(drop @ ndtr(z) + np.exp(np.clip(noise, -300, 60)), dtype=np.float64)

    kept_from = float(x[0])

    def apart(p: Array) -> Array:
        return (curve(p, x) - rate) / sigma

    low_limit = [0.6 * gain, first - 2 * gain, 0.01]
    high_limit = [1.6 * gain, first, 0.5]
    for height in begin[3:-3]:
        low_limit.append(height - 6)
        high_limit.append(height + 3)
    low_limit += [0.0, begin[-2] - 15, 0.03]
    high_limit += [0.05, begin[-2] + 3, 0.45]
    scale = [0.1 * gain, 0.1 * gain, 0.05, *(0.3 for _ in k), 0.01, 1.0, 0.1]
    start = np.clip(begin, np.array(low_limit) + 1e-6, np.array(high_limit) - 1e-6)
    fit = least_squares(
        apart, start, bounds=(low_limit, high_limit), x_scale=scale, max_nfev=MOST_CALLS
    )
    p = fit.x
    # a flat direction gets a large error instead of none
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac + 1e-12 * np.eye(len(p)))
    if not (np.all(np.isfinite(p)) and np.all(np.isfinite(covariance))):
        return None
    return _Steps(
        gain=float(p[0]),
        offset=float(p[1]),
        width=float(p[2]),
        plateau=np.exp(p[3 : 3 + len(k)]),
        covariance=covariance,
        model=curve(p, whole),
        left_out=len(whole) - len(x),
        chi2=float((fit.fun**2).sum()),
        ndf=max(len(x) - len(p), 1),
    )


def _problem(best: _Steps) -> str | None:
    """Why the curve must not be believed; None when it may."""
    excess = best.chi2 - best.ndf > 6 * sqrt(2 * best.ndf)
    slope = best.chi2 / best.ndf
    c = best.covariance
    few = len(best.plateau) < 2
    problems = (
        (best.width > MOST_WIDTH, "the noise has washed out the steps"),
        (excess and slope > MOST_CHI2, f"the curve is no staircase: chi2/ndf {slope:.3g}"),
        (few, "fewer than two plateaus"),
        (not c[3, 3] < MOST_LOG_ERROR**2, "the first plateau can't be told from the noise wall"),
        (
            not few and best.plateau[1] > 0.9 * best.plateau[0],
            "the first two plateaus are as high: no step between them",
        ),
        (
            best.left_out == 0 and abs(best.offset) > FAR_OFFSET * best.gain,
            "no noise wall below: the first plateau may not be that of one photoelectron",
        ),
        (c[0, 0] > (0.1 * best.gain) ** 2, "the distance of the steps can't be told"),
    )
    return next((why for wrong, why in problems if wrong), None)


def _answer(
    points: tuple[Array, Array, Array], best: _Steps, dead_time_ns: float, unit: str
) -> Staircase:
    x, rate, sigma = points
    stretch = sqrt(max(best.chi2 / best.ndf, 1.0))
    goodness = {"chi2": best.chi2, "ndf": float(best.ndf), "width_pe": best.width}
    c = best.covariance * stretch**2
    first, second = float(best.plateau[0]), float(best.plateau[1])
    loss = first * dead_time_ns * 1e-9
    counted = "afterpulses are counted as dark counts"
    if loss > MOST_LOSS:
        why = f"{loss:.0%} of the time is dead: the losses can't be told"
        dcr = unknown("Hz", METHOD, why, goodness=goodness)
        crosstalk = probability = unknown("1", METHOD, why, goodness=goodness)
    else:
        plain, prolonged = first / (1 - loss), first * exp(_prolonged(loss))
        true = 0.5 * (plain + prolonged)
        relative = hypot(sqrt(c[3, 3]), UNTOLD_SIGMA * 0.25)
        dcr_sigma = hypot(true * relative, 0.5 * abs(plain - prolonged), 0.1 * loss * true)
        dcr = Estimate(true, dcr_sigma, "Hz", METHOD, goodness, (counted,))
        ratio = second / first
        ratio_sigma = ratio * sqrt(max(c[3, 3] + c[4, 4] - 2 * c[3, 4], 0.0))
        chance = true * dead_time_ns * 1e-9
        kept = (1 - ratio) * exp(chance)
        kept_sigma = hypot(ratio_sigma * exp(chance), kept * 0.25 * chance, 0.003)
        probability = Estimate(1 - kept, kept_sigma, "1", METHOD, goodness)
        crosstalk = Estimate(-log(kept), kept_sigma / kept, "1", METHOD, goodness)
    return Staircase(
        dcr=dcr,
        crosstalk=crosstalk,
        crosstalk_probability=probability,
        gain=Estimate(best.gain, _error(c[0, 0], best.gain), f"{unit}/pe", METHOD, goodness),
        offset=Estimate(best.offset, _error(c[1, 1], best.gain), unit, METHOD, goodness),
        threshold=x,
        rate=rate,
        sigma=sigma,
        model=best.model,
        plateau_hz=tuple(float(r) for r in best.plateau),
    )


def _error(variance: float, gain: float) -> float:
    return hypot(sqrt(max(variance, 0.0)), 0.005 * gain)


def _prolonged(loss: float) -> float:
    """y with y exp(-y) = loss: what a counter with a prolonged dead time sees of y pulses."""
    y = loss
    for _ in range(60):
        y = loss * exp(y)
    return y


def _refused(why: str, unit: str, points: tuple[Array, Array, Array] | None = None) -> Staircase:
    x, rate, sigma = points or (np.zeros(0), np.zeros(0), np.zeros(0))
    return Staircase(
        dcr=unknown("Hz", METHOD, why),
        crosstalk=unknown("1", METHOD, why),
        crosstalk_probability=unknown("1", METHOD, why),
        gain=unknown(f"{unit}/pe", METHOD, why),
        offset=unknown(unit, METHOD, why),
        threshold=x,
        rate=rate,
        sigma=sigma,
        model=np.zeros(len(x)),
        plateau_hz=(),
    )
