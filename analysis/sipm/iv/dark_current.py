"""Dark current at an overvoltage."""

from math import hypot
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.interpolate import PchipInterpolator

from analysis.estimate import Estimate, unknown
from analysis.sipm.iv.curve import clean_curve, noise_of

Array = NDArray[np.float64]

METHOD = "dark_current: ln I interpolated at {over:.4g} V above {what}"
LEAST_POINTS, MOST_POINTS = 4, 11
WANTED_ERROR = 0.02
BEND_SHARE, HIDDEN_SHARE, SMOOTHED_SHARE = 0.5, 0.05, 0.3


def dark_current_at(
    voltage_v: ArrayLike,
    current_a: ArrayLike,
    vbd: Estimate | float,
    overvoltage_v: float,
    sigma_a: ArrayLike | None = None,
) -> Estimate:
    """Dark current (A) at vbd + overvoltage_v, with the error of vbd in it.

    voltage_v, current_a, sigma_a: (n,) a reverse curve, as for `breakdown_from_iv`.
    vbd: breakdown voltage, V, of any definition (a plain number has no error). Its definition
        goes into the method's name: an overvoltage means nothing without it.

    ln I is interpolated by a monotone cubic through the neighbours or, where the noise asks for
    it, by a parabola through more points. sigma adds the noise, the difference to a straight line,
    what a knee between the points could hide, and d ln I / dV times the error of vbd. Currents that
    do not stand out of their noise are interpolated as they are.

    Unknown when vbd is, and outside of the curve: nothing is extrapolated. Raises ValueError when
    the arrays differ in length or the overvoltage is not a number.
    """
    if not np.isfinite(overvoltage_v):
        raise ValueError(f"an overvoltage of {overvoltage_v} V")
    curve = clean_curve(voltage_v, current_a, sigma_a)
    if isinstance(vbd, Estimate):
        what = vbd.method or "vbd"
        method = METHOD.format(over=overvoltage_v, what=what)
        if vbd.value is None or vbd.sigma is None:
            return unknown("A", method, "breakdown is not known", *vbd.reasons)
        at, at_sigma = vbd.value + overvoltage_v, vbd.sigma
    else:
        method = METHOD.format(over=overvoltage_v, what=f"{vbd:.4g} V")
        at, at_sigma = float(vbd) + overvoltage_v, 0.0
    if len(curve) < LEAST_POINTS:
        return unknown("A", method, f"{len(curve)} usable points are too few", *curve.notes)
    voltage, current = curve.voltage_v, curve.current_a
    if not voltage[0] <= at <= voltage[-1]:
        return unknown(
            "A",
            method,
            f"{at:.4g} V is outside of the curve, {voltage[0]:.4g} V to {voltage[-1]:.4g} V",
            *curve.notes,
        )
    if curve.sigma_a is None:
        constant, relative = noise_of(curve)
        noise = np.hypot(constant, max(relative, 1e-6) * current)
    else:
        noise = np.maximum(curve.sigma_a, 1e-6 * np.abs(current) + 1e-18)
    noise = np.maximum(noise, 1e-18)
    found = through = _interpolated(voltage, current, noise, at)
    nearest = np.argsort(np.abs(voltage - at), kind="stable")
    for points in range(LEAST_POINTS + 1, min(MOST_POINTS, len(voltage)) + 1):
        if found.sigma < WANTED_ERROR * abs(found.value):
            break
        use = np.sort(nearest[:points])
        smoothed = _smoothed(voltage[use], current[use], noise[use], at)
        agrees = abs(smoothed.value - through.value) < 3 * through.sigma
        if agrees and smoothed.sigma < found.sigma:
            found = smoothed
    return Estimate(
        found.value,
        hypot(found.sigma, found.slope * at_sigma),
        "A",
        method,
        {"points": float(found.points), "slope_a_per_v": found.slope},
        curve.notes,
    )


class _Found(NamedTuple):
    """Current and its error (A), slope (A/V) and how many points they rest on."""

    value: float
    sigma: float
    slope: float
    points: int


def _interpolated(voltage: Array, current: Array, noise: Array, at: float) -> _Found:
    """Through the points: monotone cubic against a straight line, both in ln I."""
    right = int(np.clip(np.searchsorted(voltage, at), 1, len(voltage) - 1))
    near = slice(max(right - 3, 0), right + 3)
    v, (y, s, logarithmic) = voltage[near], _scaled(current[near], noise[near])
    right -= max(right - 3, 0)
    curve = PchipInterpolator(v, y)
    value, slope = float(curve(at)), float(curve(at, 1))
    share = (at - v[right - 1]) / (v[right] - v[right - 1])
    line = float(y[right - 1] + share * (y[right] - y[right - 1]))
    stat = hypot((1 - share) * s[right - 1], share * s[right])
    rise = y[right] - y[right - 1]
    hidden = max(rise**2 - s[right] ** 2 - s[right - 1] ** 2, 0.0) if logarithmic else 0.0
    bend = max(abs(value - line) - stat, 0.0)
    sigma = hypot(stat, BEND_SHARE * bend, HIDDEN_SHARE * float(hidden) * 4 * share * (1 - share))
    return _back(value, sigma, slope, len(v), logarithmic)


def _smoothed(voltage: Array, current: Array, noise: Array, at: float) -> _Found:
    """A parabola through more points than it needs, against a straight line through them."""
    y, s, logarithmic = _scaled(current, noise)
    parabola, line = _at_zero(voltage - at, 2), _at_zero(voltage - at, 1)
    value, slope = float(parabola[0] @ y), float(parabola[1] @ y)
    stat = float(np.sqrt((parabola[0] ** 2) @ s**2))
    away = parabola[0] - line[0]
    bend = np.sqrt(max(float(away @ y) ** 2 - float((away**2) @ s**2), 0.0))
    residual = y - sum(row @ y * (voltage - at) ** power for power, row in enumerate(parabola))
    swell = max(float(((residual / s) ** 2).sum()) / (len(y) - 3), 1.0)
    sigma = hypot(stat * swell, SMOOTHED_SHARE * float(bend))
    return _back(value, sigma, slope, len(y), logarithmic)


def _scaled(current: Array, noise: Array) -> tuple[Array, Array, bool]:
    if np.all(current > 3 * noise) and np.all(current > 0):
        return np.log(current), noise / current, True
    return current, noise, False


def _back(value: float, sigma: float, slope: float, points: int, logarithmic: bool) -> _Found:
    if not logarithmic:
        return _Found(value, sigma, abs(slope), points)
    size = float(np.exp(value))
    return _Found(size, size * sigma, size * abs(slope), points)


def _at_zero(x: Array, degree: int) -> Array:
    """Weights of the points in a polynomial's value, slope ... at x = 0, (degree + 1, n)."""
    scale = max(float(np.max(np.abs(x))), 1e-9)
    design = (x[:, None] / scale) ** np.arange(degree + 1)
    weights = np.linalg.pinv(design) / scale ** np.arange(degree + 1)[:, None]
    return np.asarray(weights, dtype=np.float64)
