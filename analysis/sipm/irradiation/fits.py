"""Damage constant, temperature dependence and annealing from measured points with errors."""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

from analysis.estimate import Estimate, unknown
from analysis.sipm.irradiation.annealing import exponential_decay, logarithmic_decay
from analysis.sipm.irradiation.points import (
    LeastSquares,
    Points,
    fit_points,
    nothing,
    usable_points,
)
from analysis.sipm.irradiation.temperature import (
    Array,
    arrhenius_factor,
    doubling_factor,
    kelvin,
)

MAX_LOG_TIME_SIGMA = 0.5


@dataclass(frozen=True)
class FluenceFit:
    """dark_rate: damage constant, Hz/(mm2 V neq/cm2); before: dark counts at no fluence, Hz."""

    dark_rate: Estimate
    before: Estimate


@dataclass(frozen=True)
class TemperatureFit:
    """Two descriptions of the same points; the goodness of each says which of them holds.

    doubling: K; activation_energy: eV; rate: Hz (or A) at reference_c, by the activation energy.
    """

    doubling: Estimate
    activation_energy: Estimate
    rate: Estimate
    reference_c: float


@dataclass(frozen=True)
class AnnealingFit:
    """Sum of exponentials: shares and their times (h), the fastest first, and what stays."""

    shares: tuple[Estimate, ...]
    hours: tuple[Estimate, ...]
    rest: Estimate


@dataclass(frozen=True)
class LogarithmicFit:
    """Damage at one hour, and what it loses while the time grows by a factor e."""

    at_one_hour: Estimate
    per_e_fold: Estimate


def fit_damage_constant(
    fluence_neq_per_cm2: ArrayLike,
    dark_rate_hz: ArrayLike,
    sigma_hz: ArrayLike,
    *,
    area_mm2: float,
    overvoltage_v: float,
    fluence_sigma: float = 0.0,
) -> FluenceFit:
    """Straight line of dark counts against fluence, all arrays (n,), at one temperature and state.

    fluence_sigma: relative error that all fluences have in common (dosimetry, hardness factor).
    A curved dependence shows in the p-value and in the reasons; then the errors are scaled up.
    Raises ValueError if area or overvoltage are not positive, or on unequal lengths.
    """
    if area_mm2 <= 0 or overvoltage_v <= 0 or fluence_sigma < 0:
        raise ValueError("area and overvoltage must be positive, errors not negative")
    method, unit = "dark counts in proportion to fluence", "Hz/(mm2 V neq/cm2)"
    points = usable_points(fluence_neq_per_cm2, dark_rate_hz, sigma_hz)
    if len(points) and points.x.min() < 0:
        found = nothing("negative fluences")
    elif len(points) < 2 or np.ptp(points.x) == 0:
        found = nothing("no two different fluences", *points.reasons)
    else:
        most = points.x.max()
        found = fit_points(
            points, lambda x, v: np.asarray(v[0] * x / most + v[1]), [points.y.max(), 0.0]
        )
        found = _rescaled(found, np.array([1.0 / most, 1.0]))
    constant = found.estimate(0, unit, method, 1.0 / (area_mm2 * overvoltage_v))
    if constant.value is not None and constant.sigma is not None:
        sigma = float(np.hypot(constant.sigma, constant.value * fluence_sigma))
        constant = Estimate(
            constant.value, sigma, unit, method, constant.goodness, constant.reasons
        )
    return FluenceFit(constant, found.estimate(1, "Hz", method))


def fit_temperature(
    temperature_c: ArrayLike, rate: ArrayLike, sigma: ArrayLike, *, unit: str = "Hz"
) -> TemperatureFit:
    """Doubling temperature and activation energy of dark counts or currents, all arrays (n,).

    Rates at one overvoltage (not at one bias: the breakdown moves). The doubling holds at the mean
    temperature. Raises ValueError on unequal lengths or below the absolute zero.
    """
    points = usable_points(temperature_c, rate, sigma)
    reference = float(points.x.mean()) if len(points) else 0.0
    kelvin(points.x)
    by_doubling, by_energy = nothing(), nothing()
    if len(points) < 2 or np.ptp(points.x) == 0:
        by_doubling = by_energy = nothing("no two different temperatures", *points.reasons)
    elif points.y.min() <= 0:
        by_doubling = by_energy = nothing("rates that are not positive", *points.reasons)
    else:
        weight = points.y / points.sigma
        slope, level = np.polyfit(points.x - reference, np.log(points.y), 1, w=weight)
        start = [np.exp(level), slope]
        by_doubling = fit_points(
            points,
            lambda x, v: v[0] * doubling_factor(x, reference, np.log(2.0) / (v[1] or 1e-12)),
            start,
        )
        per_k = float(np.log(arrhenius_factor(reference + 1.0, reference, 1.0)))
        by_energy = fit_points(
            points,
            lambda x, v: v[0] * arrhenius_factor(x, reference, v[1]),
            [np.exp(level), slope / per_k],
        )
    return TemperatureFit(
        _doubling(by_doubling),
        by_energy.estimate(1, "eV", "activation energy"),
        by_energy.estimate(0, unit, "activation energy"),
        reference,
    )


def fit_annealing(
    hours: ArrayLike, damage: ArrayLike, sigma: ArrayLike, *, n_terms: int = 1
) -> AnnealingFit:
    """Sum of n_terms exponentials and a rest through damage against time, all arrays (n,).

    Damage in any unit, at one temperature. A time constant that the points determine to no better
    than a factor of 1.6 is unknown. Raises ValueError on unequal lengths or less than one term.
    """
    if n_terms < 1:
        raise ValueError(f"{n_terms} terms")
    method = f"{n_terms} exponentials and a rest"
    points = usable_points(hours, damage, sigma)
    if len(points) and points.x.min() < 0:
        found = nothing("negative times")
    elif len(points) < 2 * n_terms + 2 or points.x.max() == 0:
        found = nothing(
            f"{len(points)} usable points are too few for {n_terms} terms", *points.reasons
        )
    else:
        found = fit_points(points, lambda x, v: _sum(x, v, n_terms), _start(points, n_terms))
    times = found.values[n_terms : 2 * n_terms]
    order = [int(i) for i in np.argsort(times)] if len(times) else list(range(n_terms))
    return AnnealingFit(
        tuple(found.estimate(i, "1", method) for i in order),
        tuple(_time(found, n_terms + i, method) for i in order),
        found.estimate(2 * n_terms, "1", method),
    )


def fit_logarithmic(hours: ArrayLike, damage: ArrayLike, sigma: ArrayLike) -> LogarithmicFit:
    """Damage falling with the logarithm of time, all arrays (n,). Raises as `fit_annealing`."""
    method = "logarithmic annealing"
    points = usable_points(hours, damage, sigma)
    if len(points) and points.x.min() <= 0:
        found = nothing("times that are not positive")
    elif len(points) < 2 or np.ptp(points.x) == 0:
        found = nothing("no two different times", *points.reasons)
    else:
        found = fit_points(points, lambda x, v: logarithmic_decay(x, v[0], v[1]), [1.0, 0.0])
    return LogarithmicFit(found.estimate(0, "1", method), found.estimate(1, "1", method))


def _rescaled(found: LeastSquares, factors: Array) -> LeastSquares:
    if not len(found.values):
        return found
    return LeastSquares(
        found.values * factors,
        found.covariance * np.outer(factors, factors),
        found.goodness,
        found.reasons,
    )


def _doubling(found: LeastSquares) -> Estimate:
    method = "doubling temperature"
    slope = found.estimate(1, "1/K", method)
    if slope.value is None or slope.sigma is None:
        return unknown("K", method, *slope.reasons, goodness=slope.goodness)
    if slope.value < 3 * slope.sigma:
        return unknown("K", method, "no significant rise with temperature", goodness=slope.goodness)
    doubling = np.log(2.0) / slope.value
    return Estimate(
        float(doubling),
        float(doubling * slope.sigma / slope.value),
        "K",
        method,
        slope.goodness,
        slope.reasons,
    )


def _time(found: LeastSquares, index: int, method: str) -> Estimate:
    in_logarithm = found.estimate(index, "1", method)
    if in_logarithm.value is None or in_logarithm.sigma is None:
        return unknown("h", method, *in_logarithm.reasons, goodness=in_logarithm.goodness)
    if in_logarithm.sigma > MAX_LOG_TIME_SIGMA:
        return unknown(
            "h", method, "the points do not determine this time", goodness=in_logarithm.goodness
        )
    hours = float(np.exp(in_logarithm.value))
    return Estimate(
        hours,
        hours * in_logarithm.sigma,
        "h",
        method,
        in_logarithm.goodness,
        in_logarithm.reasons,
    )


def _sum(hours: Array, values: Array, n_terms: int) -> Array:
    times = np.exp(np.clip(values[n_terms : 2 * n_terms], -200, 200))
    return exponential_decay(hours, list(values[:n_terms]), list(times), float(values[-1]))


def _start(points: Points, n_terms: int) -> Array:
    """Best of a grid of times, with the shares that fit linearly."""
    positive = points.x[points.x > 0]
    grid = np.geomspace(positive.min() / 2, positive.max() * 2, 16)
    best, least = np.zeros(2 * n_terms + 1), np.inf
    for times in combinations(grid, n_terms):
        columns = [np.exp(-points.x / time) for time in times] + [np.ones(len(points))]
        design = np.stack(columns, axis=1) / points.sigma[:, None]
        shares, *_ = np.linalg.lstsq(design, points.y / points.sigma, rcond=None)
        chi2 = float(np.sum((design @ shares - points.y / points.sigma) ** 2))
        if chi2 < least:
            best, least = np.concatenate([shares[:-1], np.log(times), shares[-1:]]), chi2
    return best
