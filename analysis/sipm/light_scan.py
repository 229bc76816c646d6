"""Gain and light jitter from several light intensities at one bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_distribution

from analysis.estimate import Estimate, unknown
from analysis.sipm.assumptions import Broken, Light, evaluate
from analysis.sipm.moments import Pair, one_pair
from analysis.sipm.refusals import pair_sentences
from analysis.sipm.spectrum import Spectrum

METHOD = "intensity scan"
UNIT = "ADC/pe"
LEAST_POINTS = 3
ODD_PULL = 4.5
BEND_SIGNIFICANCE = 4.0
MOST_ITERATIONS = 30
SATURATION_SIGNIFICANCE = 3.0
NO_CURVATURE = Light(curvature=Estimate(0.0, 0.0, "1", "fitted later"))
NOT_ABOUT_ONE_PAIR = Broken.SHAPE | Broken.BEGINS_HIGHER | Broken.TOO_UNCERTAIN

Array = NDArray[np.float64]


@dataclass(frozen=True)
class IntensityScan:
    """Fit of Var_on - Var_off = a dQ + c dQ^2 to pairs of runs, dQ = Mean_on - Mean_off.

    gain_times_f: slope a = F G, ADC/pe. light_jitter: B with c = B^2, relative rms of the light.
    curvature: c; it contains about -1 / n_pixels and is what a single pair is corrected with.
    linear: whether a straight line describes the points (c = 0 within 3 standard deviations).
    bent: whether even the parabola does not, as in a saturating ADC; then everything is unknown.
    used, odd: indices of the pairs that were fitted, and of those left out as odd; the reasons of
        `gain_times_f` say why.
    shift, growth: (n,) dQ in ADC and the growth of the variance in ADC^2 of every pair with their
        errors; nan for pairs that can't be used. pull: (n,) residual over its error.
    """

    gain_times_f: Estimate
    light_jitter: Estimate
    curvature: Estimate
    linear: bool
    bent: bool
    used: tuple[int, ...]
    odd: tuple[int, ...]
    shift: Array
    shift_sigma: Array
    growth: Array
    growth_sigma: Array
    pull: Array

    def gain(self, enf_divisor: Estimate | None) -> Estimate:
        """G = a / F, ADC/pe, for the divisor F of this device at this bias."""
        slope = self.gain_times_f
        if slope.value is None or slope.sigma is None:
            return unknown(UNIT, METHOD, *slope.reasons, goodness=slope.goodness)
        divisor = enf_divisor or unknown("1", METHOD, "the divisor F of this device is not given")
        if divisor.value is None or divisor.sigma is None:
            why = f"the divisor F is unknown: {'; '.join(divisor.reasons)}"
            return unknown(UNIT, METHOD, why, goodness=slope.goodness)
        if divisor.value + 2 * divisor.sigma < 1:
            why = f"the divisor F cannot be {divisor.value:.3g}, below 1"
            return unknown(UNIT, METHOD, why, goodness=slope.goodness)
        value = slope.value / divisor.value
        by_divisor = value * divisor.sigma / divisor.value
        goodness = {
            **slope.goodness,
            "sigma_statistics": slope.sigma / divisor.value,
            "sigma_divisor": by_divisor,
        }
        sigma = hypot(slope.sigma / divisor.value, by_divisor)
        return Estimate(value, sigma, UNIT, METHOD, goodness, slope.reasons)

    def divisor(self, gain: Estimate) -> Estimate:
        """F = a / G for a gain known from resolved peaks at this bias."""
        slope = self.gain_times_f
        if slope.value is None or slope.sigma is None:
            return unknown("1", METHOD, *slope.reasons)
        if gain.value is None or gain.sigma is None or gain.value <= 0:
            return unknown("1", METHOD, *(gain.reasons or ("the gain is not positive",)))
        value = slope.value / gain.value
        sigma = hypot(slope.sigma / gain.value, value * gain.sigma / gain.value)
        return Estimate(value, sigma, "1", "known gain, intensity scan")


def intensity_scan(pairs: Sequence[tuple[Spectrum, Spectrum]]) -> IntensityScan:
    """Slope and curvature of variance against mean from (light-on, light-off) pairs at one bias.

    Errors of both coordinates and their covariances enter; a light-off run that serves several
    pairs correlates them. A pair that contradicts its own assumptions, or lies 4.5 standard
    deviations off the curve through the others, is left out and named. A cubic term of 4 standard
    deviations means saturation or a non-linear ADC: the brightest pairs are left out until it is
    gone, and with fewer than three pairs left nothing is known.
    """
    table = [_Point.of(on, off) for on, off in pairs]
    shift, growth = (np.array([getattr(p, name) for p in table]) for name in ("shift", "growth"))
    notes: list[str] = []
    usable = []
    for i, point in enumerate(table):
        if point.problems:
            notes.append(f"pair {i + 1}: {'; '.join(point.problems)}")
        else:
            usable.append(i)
    covariance = _covariance(pairs, [point.pair for point in table])
    used = _without_odd(shift, growth, covariance, usable, notes)
    trimmed = list(used)
    while len(trimmed) > LEAST_POINTS and _bend(shift, growth, covariance, trimmed):
        trimmed.remove(max(trimmed, key=lambda i: shift[i]))
    bent = False
    if len(trimmed) < len(used):
        bright = ", ".join(str(i + 1) for i in sorted(set(used) - set(trimmed)))
        notes.append(f"saturation or non-linearity: without the brightest pairs ({bright})")
        bent = len(trimmed) <= LEAST_POINTS
    used = trimmed
    odd = tuple(i for i in range(len(table)) if i not in used)
    goodness: dict[str, float] = {"n_pairs": float(len(used))}
    errors = [np.sqrt(np.maximum(covariance[k::2, k::2].diagonal(), 0.0)) for k in (0, 1)]

    def scan(slope: Estimate, jitter: Estimate, curvature: Estimate, pull: Array) -> IntensityScan:
        c = curvature
        linear = c.value is not None and abs(c.value) < SATURATION_SIGNIFICANCE * (c.sigma or 0)
        return IntensityScan(
            slope, jitter, curvature, linear, bent, tuple(used), odd,
            shift, errors[0], growth, errors[1], pull,
        )  # fmt: skip

    if len(used) < LEAST_POINTS or bent:
        notes.insert(0, f"{len(used)} usable light levels are too few for a curve")
        return scan(
            unknown(UNIT, METHOD, *notes),
            unknown("1", METHOD, *notes),
            unknown("1", METHOD, *notes),
            np.full(len(table), np.nan),
        )
    fit = _fit(shift[used], growth[used], _part(covariance, used), 2)
    pull = np.full(len(table), np.nan)
    pull[used] = fit.pull
    ndf = len(used) - 2
    p_value = float(chi2_distribution.sf(fit.chi2, ndf)) if ndf else float("nan")
    goodness |= {"chi2": fit.chi2, "ndf": float(ndf)}
    stretch = 1.0
    if ndf:
        goodness["p_value"] = p_value
        if p_value < 0.01:
            stretch = sqrt(fit.chi2 / ndf)
            notes.append(f"chi2/ndf {fit.chi2 / ndf:.3g}: errors multiplied by {stretch:.3g}")
    (a, c), sigma = fit.values, stretch * np.sqrt(fit.covariance.diagonal())
    if a <= 0:
        notes.insert(0, "the variance does not rise with the light")
        nothing = unknown("1", METHOD, *notes, goodness=goodness)
        return scan(unknown(UNIT, METHOD, *notes, goodness=goodness), nothing, nothing, pull)
    reasons = tuple(notes)
    return scan(
        Estimate(float(a), float(sigma[0]), UNIT, METHOD, goodness, reasons),
        _jitter(float(c), float(sigma[1]), goodness, reasons),
        Estimate(float(c), float(sigma[1]), "1", METHOD, goodness, reasons),
        pull,
    )


def _jitter(c: float, sigma: float, goodness: dict[str, float], notes: tuple[str, ...]) -> Estimate:
    """B = sqrt(c) with an error that stays finite at 0."""
    if c < -SATURATION_SIGNIFICANCE * sigma:
        why = f"the curvature {c:.2g} +- {sigma:.1g} is negative: saturation hides the light jitter"
        return unknown("1", METHOD, why, *notes, goodness=goodness)
    value = sqrt(max(c, 0.0))
    error = sigma / (2 * value) if value**2 > sigma else sqrt(value**2 + sigma) - value
    return Estimate(value, error, "1", METHOD, goodness, notes)


@dataclass(frozen=True)
class _Point:
    pair: Pair
    shift: float
    growth: float
    problems: tuple[str, ...]

    @classmethod
    def of(cls, on: Spectrum, off: Spectrum) -> "_Point":
        pair = one_pair(on, off)
        found = evaluate(pair, np.ones(1), np.zeros(1), light=NO_CURVATURE)
        problems = pair_sentences(found, pair, skip=NOT_ABOUT_ONE_PAIR)
        if not np.isclose(np.median(on.widths), np.median(off.widths), rtol=1e-3):
            problems = ("the two spectra have different bin widths", *problems)
        return cls(pair, float(found.shift[0]), float(found.growth[0]), problems)


def _covariance(pairs: Sequence[tuple[Spectrum, Spectrum]], table: list[Pair]) -> Array:
    """(2 n, 2 n) covariance of dQ_1, dV_1, dQ_2, ... with light-off runs that are shared."""
    n = len(table)
    total = np.zeros((2 * n, 2 * n))
    for i in range(n):
        for j in range(n):
            block = np.zeros((2, 2))
            if i == j:
                block += table[i].on.covariance[0, :2, :2]
            if i == j or _same(pairs[i][1], pairs[j][1]):
                block += table[i].off.covariance[0, :2, :2]
            total[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = block
    return total


def _same(one: Spectrum, other: Spectrum) -> bool:
    return one is other or (
        len(one.counts) == len(other.counts)
        and bool(np.array_equal(one.counts, other.counts))
        and bool(np.array_equal(one.edges, other.edges))
    )


def _part(covariance: Array, used: Sequence[int]) -> Array:
    index = np.array([[2 * i, 2 * i + 1] for i in used]).ravel()
    return np.asarray(covariance[np.ix_(index, index)])


@dataclass(frozen=True)
class _Fit:
    values: Array
    covariance: Array
    chi2: float
    pull: Array
    residual: Array
    residual_covariance: Array


def _fit(x: Array, y: Array, covariance: Array, n_terms: int) -> _Fit:
    """Generalised least squares of y = sum_k p_k x^k, k = 1..n_terms, errors in x and y.

    The residuals y - f(x) have the covariance J C J^T, J = (-f'(x), 1): iterated.
    """
    n = len(x)
    powers = np.arange(1, n_terms + 1)
    scale = float(np.max(np.abs(x)))
    design = (x[:, None] / scale) ** powers
    slope = np.full(n, float(np.median(y / x)))
    for _ in range(MOST_ITERATIONS):
        jacobian = np.zeros((n, 2 * n))
        jacobian[np.arange(n), 2 * np.arange(n)] = -slope
        jacobian[np.arange(n), 2 * np.arange(n) + 1] = 1.0
        spread = jacobian @ covariance @ jacobian.T
        inverse = np.linalg.pinv(spread, hermitian=True)
        error = np.linalg.pinv(design.T @ inverse @ design, hermitian=True)
        values = error @ (design.T @ (inverse @ y))
        new = (powers * values * (x[:, None] / scale) ** (powers - 1)).sum(axis=1) / scale
        settled = np.allclose(new, slope, rtol=1e-10)
        slope = new
        if settled:
            break
    residual = y - design @ values
    left = np.diag(spread - design @ error @ design.T)
    pull = residual / np.sqrt(np.maximum(left, 1e-12 * np.diag(spread)))
    rescale = scale ** -powers.astype(np.float64)
    return _Fit(
        values * rescale,
        error * np.outer(rescale, rescale),
        float(residual @ inverse @ residual),
        pull,
        residual,
        spread,
    )


def _without_odd(
    x: Array, y: Array, covariance: Array, usable: list[int], notes: list[str]
) -> list[int]:
    """Leave out the oddest pair as long as one lies far off the curve through the others."""
    used = list(usable)
    while len(used) > LEAST_POINTS:
        pulls = _fit(x[used], y[used], _part(covariance, used), min(3, len(used) - 1)).pull
        worst = int(np.argmax(np.abs(pulls)))
        if not abs(pulls[worst]) > ODD_PULL:
            break
        notes.append(f"pair {used[worst] + 1} lies {pulls[worst]:+.1f} sigma off the others")
        del used[worst]
    return used


def _bend(x: Array, y: Array, covariance: Array, used: list[int]) -> bool:
    """Whether a cubic term is significant."""
    fit = _fit(x[used], y[used], _part(covariance, used), 3)
    error = sqrt(max(float(fit.covariance[2, 2]), 0.0))
    return abs(float(fit.values[2])) > BEND_SIGNIFICANCE * error > 0
