"""Gain over bias and temperature in one model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, log, sqrt

import numpy as np
from numpy.typing import ArrayLike

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans.extrapolation import CURVATURE_PER_V
from analysis.sipm.scans.joint_model import METHOD, NAMES, JointFit, jacobian, model
from analysis.sipm.scans.lines import GOOD_P_VALUE, LEAST_P_VALUE, LinearFit, fit_linear
from analysis.sipm.scans.points import (
    Array,
    LeftOut,
    Measured,
    ScanPoint,
    gain_unit,
    mixed_units,
    usable,
)

REFERENCE_TEMPERATURE_C = 25.0
PLAIN = (0, 1, 2, 3)
ONE_TEMPERATURE = (0, 2)
CURVATURE, VBD_CURVATURE = 4, 5
DEMANDED = 3.0
VBD_CURVATURE_PER_K2 = 1e-5
LEAST_POINTS = 5
LEAST_FOR_OUTLIERS = 8
OUTLIER_GAP = 9.0
MOST_MISFIT = 0.05
MOST_STEPS = 40


@dataclass(frozen=True)
class _Fitted:
    values: Array
    free: tuple[int, ...]
    fit: LinearFit
    points: "_Points"
    outliers: tuple[LeftOut, ...] = ()


@dataclass(frozen=True)
class _Points:
    measured: Measured
    bias_v: Array
    warmer_k: Array

    def without(self, place: int) -> "_Points":
        keep = np.arange(len(self.bias_v)) != place
        return _Points(self.measured.part(keep), self.bias_v[keep], self.warmer_k[keep])


def joint_fit(
    points: Sequence[ScanPoint],
    *,
    covariance: ArrayLike | None = None,
    reference_temperature_c: float = REFERENCE_TEMPERATURE_C,
    curvature_per_v: float = CURVATURE_PER_V,
    vbd_curvature_per_k2: float = VBD_CURVATURE_PER_K2,
) -> JointFit:
    """Fit gain over bias and temperature together, see JointFit for the model.

    points: at least five, at two or more biases and temperatures that vary independently. With
        one temperature only g and vbd_gain are fitted.
    covariance: (n, n) of all gains in the order of `points`, in place of their errors.
    curvature_per_v, vbd_curvature_per_k2: standard deviations expected among devices of the terms
        k (1/V) and w (V/K^2), see gain_against_bias; what they do to the other parameters is part
        of the errors as long as the points do not demand the terms themselves (3 sigma).

    A quadratic term of gain or of breakdown voltage is added when it is significant; up to two
    points off the surface are named and left out. What then still scatters more than its errors
    has them scaled by sqrt(chi2 / ndf), and is unknown when it scatters by more than 5 % of the
    gain. Raises ValueError on a covariance that is none.
    """
    places = [
        point.bias_v if point.temperature_c is not None and isfinite(point.temperature_c) else None
        for point in points
    ]
    measured, left_out = usable(points, places, covariance)
    unit = gain_unit(points)
    temperature = np.array([points[i].temperature_c for i in measured.index], dtype=np.float64)
    data = _Points(measured, measured.x, temperature - reference_temperature_c)
    named = _named(points, left_out)
    problem = mixed_units(points)
    if len(measured.x) < LEAST_POINTS:
        problem = problem or f"{len(measured.x)} usable points: {LEAST_POINTS} are needed"
    elif measured.distinct < 2:
        problem = problem or "all points are at one bias: fit the gain against temperature"
    best = None if problem else _best(_with_bias_errors(points, data))
    if best is None:
        problem = problem or "bias and temperature do not vary independently of each other"
        return _refused((problem, *named), unit, reference_temperature_c, left_out)
    expected = {CURVATURE: curvature_per_v, VBD_CURVATURE: vbd_curvature_per_k2}
    return _result(best, points, left_out, unit, reference_temperature_c, expected)


def _best(data: _Points) -> _Fitted | None:
    """The simplest model that describes the points; the best one when none does."""
    one_temperature = np.ptp(data.warmer_k) < 1e-9
    plain = ONE_TEMPERATURE if one_temperature else PLAIN
    extras: list[tuple[int, ...]] = [(CURVATURE,)]
    if len(np.unique(data.warmer_k)) > 2:
        extras += [(VBD_CURVATURE,), (CURVATURE, VBD_CURVATURE)]
    first = _fit(data, plain)
    if first is None:
        return None
    richer = [_fit(data, (*plain, *extra), first.values) for extra in extras]
    models = [first, *(fitted for fitted in richer if fitted is not None)]
    good = [fitted for fitted in models if fitted.fit.p_value >= LEAST_P_VALUE]
    if first.fit.p_value < LEAST_P_VALUE:
        spoiled = [first] if good else models
        cleaned = [_without_outliers(fitted) for fitted in spoiled]
        good += [fitted for fitted in cleaned if fitted is not None]
    if good:
        return min(good, key=_cost)
    return min(models, key=_scaled_cost)


def _cost(fitted: _Fitted) -> float:
    """chi2 with what every additional term and every point left out must at least explain."""
    n = len(fitted.points.bias_v) + len(fitted.outliers)
    extra = sum(name >= CURVATURE for name in fitted.free)
    gap = DEMANDED**2
    return fitted.fit.chi2 + gap * extra + (gap + 2 * log(n)) * len(fitted.outliers)


def _scaled_cost(fitted: _Fitted) -> float:
    """The same for points whose errors are too small: -2 ln of the likelihood without them."""
    n = len(fitted.points.bias_v)
    extra = sum(name >= CURVATURE for name in fitted.free)
    return n * log(max(fitted.fit.chi2, 1e-300) / n) + DEMANDED**2 * extra


def _fit(data: _Points, free: tuple[int, ...], start: Array | None = None) -> _Fitted | None:
    """Gauss-Newton steps from a start that is linear least squares; None without a solution."""
    values = _start(data) if start is None else start.copy()
    if len(data.bias_v) <= len(free):
        return None
    columns = list(free)
    try:
        for _ in range(MOST_STEPS):
            known = model(values, data.bias_v, data.warmer_k)
            design = jacobian(values, data.bias_v, data.warmer_k)[:, columns]
            fit = fit_linear(design, data.measured, known)
            values[columns] += fit.parameters
            if np.all(np.abs(fit.parameters) < 1e-4 * np.sqrt(np.diag(fit.covariance))):
                break
        else:
            return None
    except np.linalg.LinAlgError:
        return None
    over = data.bias_v - values[2] - values[3] * data.warmer_k - values[5] * data.warmer_k**2
    if not np.all(np.isfinite(values)) or values[0] <= 0 or np.any(over <= 0):
        return None
    return _Fitted(values, free, fit, data)


def _start(data: _Points) -> Array:
    ones = np.ones_like(data.bias_v)
    columns = np.stack([data.bias_v, ones, data.warmer_k], axis=1)
    g, offset, by_t = np.linalg.lstsq(columns, data.measured.y, rcond=None)[0]
    if g == 0:
        return np.zeros(6)
    return np.array([g, 0.0, -offset / g, -by_t / g, 0.0, 0.0])


def _without_outliers(fitted: _Fitted) -> _Fitted | None:
    """The fit without one or two points, when these and no others spoil it."""
    if len(fitted.points.bias_v) < LEAST_FOR_OUTLIERS:
        return None
    for _ in range(2):
        tried = [
            (_fit(fitted.points.without(place), fitted.free, fitted.values), place)
            for place in range(len(fitted.points.bias_v))
        ]
        found = sorted(
            ((f, place) for f, place in tried if f is not None), key=lambda f: f[0].fit.chi2
        )
        if len(found) < 2 or found[1][0].fit.chi2 < found[0][0].fit.chi2 + OUTLIER_GAP:
            return None
        rest, place = found[0]
        bad = fitted.points
        away = float(
            bad.measured.y[place]
            - model(rest.values, bad.bias_v[[place]], bad.warmer_k[[place]])[0]
        )
        distance = away / float(bad.measured.sigma[place])
        why = f"lies {abs(distance):.1f} sigma {'above' if away > 0 else 'below'} the others' fit"
        out = LeftOut(int(bad.measured.index[place]), f"{why} and is left out")
        fitted = _Fitted(rest.values, rest.free, rest.fit, rest.points, (*fitted.outliers, out))
        if fitted.fit.p_value >= GOOD_P_VALUE:
            return fitted
    return None


def _result(
    best: _Fitted,
    points: Sequence[ScanPoint],
    left_out: tuple[LeftOut, ...],
    unit: str,
    reference_temperature_c: float,
    expected: Mapping[int, float],
) -> JointFit:
    fit, data = best.fit, best.points
    left_out += best.outliers
    notes = []
    scale = 1.0
    relative = float(np.sqrt(np.mean((fit.residuals / data.measured.y) ** 2)))
    if fit.p_value < LEAST_P_VALUE:
        if relative > MOST_MISFIT:
            problem = f"the points lie off any common surface by {relative:.0%} of the gain"
            named = _named(points, left_out)
            return _refused((problem, *named), unit, reference_temperature_c, left_out)
        scale = fit.scale
        notes.append(
            f"the points scatter {scale:.2g} times more than their errors "
            f"(chi2 / ndf {fit.chi2:.3g} / {fit.ndf}): the errors are scaled"
        )
    notes += [
        f"the points demand a quadratic term: {NAMES[place]}"
        for place in best.free
        if place >= CURVATURE
    ]
    notes += _named(points, left_out)
    columns = np.array(best.free)
    by = fit.influence
    spread = by @ data.measured.shared.T
    part = scale**2 * (by @ data.measured.independent @ by.T) + spread @ spread.T
    part = part + _omitted_terms(best, expected)
    covariance = np.zeros((6, 6))
    covariance[np.ix_(columns, columns)] = part
    units = (f"{unit}/V", "1/K", "V", "V/K", "1/V", "V/K^2")
    goodness = {"chi2": fit.chi2, "ndf": float(fit.ndf), "p_value": fit.p_value}
    parameters = {}
    for place, name in enumerate(NAMES):
        if place in best.free:
            sigma = sqrt(float(covariance[place, place]))
            parameters[name] = Estimate(
                float(best.values[place]), sigma, units[place], METHOD, goodness, tuple(notes)
            )
        elif place in PLAIN:
            parameters[name] = unknown(units[place], METHOD, "all points are at one temperature")
    return JointFit(
        parameters,
        best.values,
        covariance,
        reference_temperature_c,
        unit,
        "flag" if scale > 1 or best.outliers or max(best.free) >= CURVATURE else "pass",
        tuple(notes),
        fit.chi2,
        fit.ndf,
        scale,
        tuple(int(i) for i in sorted(data.measured.index)),
        left_out,
    )


def _omitted_terms(best: _Fitted, expected: Mapping[int, float]) -> Array:
    """Covariance of the parameters by quadratic terms that are not fitted.

    Points and expectation together allow the terms m +- S; as in bend_sigma a parameter that m
    moves by b and S by s gets the error |b| + s.
    """
    size = len(best.free)
    omitted = [term for term in expected if term not in best.free and expected[term] > 0]
    if 3 not in best.free:
        omitted = [term for term in omitted if term != VBD_CURVATURE]
    if not omitted:
        return np.zeros((size, size))
    data = best.points
    moved = best.fit.influence @ jacobian(best.values, data.bias_v, data.warmer_k)[:, omitted]
    allowed = np.diag([expected[term] ** 2 for term in omitted])
    mean = np.zeros(len(omitted))
    richer = _fit(data, (*best.free, *omitted), best.values)
    if richer is not None:
        seen = np.linalg.inv(richer.fit.covariance[size:, size:])
        allowed = np.linalg.inv(seen + np.linalg.inv(allowed))
        mean = allowed @ seen @ richer.values[omitted]
    spread, by_mean = moved @ allowed @ moved.T, moved @ mean
    both = np.sqrt(by_mean**2 + 2 * np.abs(by_mean) * np.sqrt(np.diag(spread)))
    signed = np.sign(by_mean) * both
    return np.asarray(spread + np.outer(signed, signed), dtype=np.float64)


def _with_bias_errors(points: Sequence[ScanPoint], data: _Points) -> _Points:
    error = np.array([points[index].bias_sigma_v for index in data.measured.index])
    if not np.any(error):
        return data
    old = data.measured
    independent = old.independent + np.diag((_start(data)[0] * error) ** 2)
    return _Points(
        Measured(old.x, old.y, independent, old.shared, old.index), data.bias_v, data.warmer_k
    )


def _refused(
    reasons: tuple[str, ...],
    unit: str,
    reference_temperature_c: float,
    left_out: tuple[LeftOut, ...],
) -> JointFit:
    units = (f"{unit}/V", "1/K", "V", "V/K")
    return JointFit(
        {NAMES[i]: unknown(units[i], METHOD, *reasons) for i in PLAIN},
        np.zeros(6),
        np.zeros((6, 6)),
        reference_temperature_c,
        unit,
        "unknown",
        reasons,
        left_out=left_out,
    )


def _named(points: Sequence[ScanPoint], left_out: Sequence[LeftOut]) -> list[str]:
    named = []
    for out in left_out:
        point = points[out.index]
        at = "" if point.temperature_c is None else f" and {point.temperature_c:g} C"
        named.append(f"the point at {point.bias_v:g} V{at} {out.why}")
    return named
