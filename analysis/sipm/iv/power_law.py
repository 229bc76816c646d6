"""Zero of the inverse relative derivative of a current above breakdown."""

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.iv.curve import IVCurve
from analysis.sipm.iv.turn_on import LEAST_RELATIVE, TurnOn

Array = NDArray[np.float64]

LEAST_ABOVE_FOOT = 10.0
LONGEST_V = 2.0
LEAST_POINTS = 5
LEAST_LENGTH_V = 0.5
FARTHEST_V = 2.5


@dataclass(frozen=True)
class PowerLaw:
    """V0 and exponent n of I = C (V - V0)^n with errors; the range (V) and points of the fit."""

    zero_v: float
    sigma_v: float
    exponent: float
    low_v: float
    high_v: float
    points: int
    chi2: float


def fit_power_law(curve: IVCurve, model: TurnOn) -> PowerLaw | None:
    """The straight line (dlnI/dV)^-1 = (V - V0) / n, fitted in its integral form.

    A straight line through the inverse of noisy slopes is biased; the current it stands for,
    ln I = c + n ln(V - V0), is not. The range begins where the current is ten times that below
    breakdown and is 2 V long, or as long as five points need; all of it weighs the same, whatever
    the sampling. None when the curve has no such range.
    """
    voltage, current = curve.voltage_v, curve.current_a
    leak = model.current(voltage) - model.avalanche(voltage)
    above = np.flatnonzero(model.current(voltage) < LEAST_ABOVE_FOOT * leak)
    begin = int(above[-1]) + 1 if len(above) else 0
    if begin == 0 or begin > len(voltage) - LEAST_POINTS:
        return None
    low_v = _crossing(model, float(voltage[begin - 1]), float(voltage[begin]))
    end = int(np.searchsorted(voltage, low_v + LONGEST_V, side="right"))
    end = min(max(end, begin + LEAST_POINTS), len(voltage))
    v, i = voltage[begin:end], current[begin:end]
    good = i > 0
    if curve.sigma_a is None:
        sigma = np.hypot(model.constant_a, max(model.relative, LEAST_RELATIVE) * model.current(v))
    else:
        sigma = curve.sigma_a[begin:end]
    good &= np.abs(i - model.current(v)) < 6 * sigma + 0.5 * model.current(v)
    v, i, sigma = v[good], i[good], sigma[good]
    if len(v) < LEAST_POINTS or v[-1] - v[0] < LEAST_LENGTH_V:
        return None
    log_sigma = sigma / np.maximum(i, sigma)
    edges = np.concatenate([[v[0]], 0.5 * (v[1:] + v[:-1]), [v[-1]]])
    weight = np.diff(edges)
    found = _fit(v, np.log(i), log_sigma, weight, low_v)
    if found is None:
        return None
    zero, stat, exponent, chi2 = found
    part = v <= v[0] + 0.7 * (v[-1] - v[0])
    shape = 0.0
    if np.count_nonzero(part) >= LEAST_POINTS:
        shorter = _fit(v[part], np.log(i[part]), log_sigma[part], weight[part], low_v)
        if shorter is not None:
            excess = (shorter[0] - zero) ** 2 - max(shorter[1] ** 2 - stat**2, 0.0)
            shape = 0.25 * float(np.sqrt(max(excess, 0.0)))
    return PowerLaw(
        zero,
        hypot(stat, shape, 0.02 * float(np.median(np.diff(v)))),
        exponent,
        low_v,
        float(v[-1]),
        len(v),
        chi2,
    )


def _crossing(model: TurnOn, low_v: float, high_v: float) -> float:
    """Where the model's current reaches ten times its leakage, V."""
    fine = np.linspace(low_v, high_v, 50)
    total = model.current(fine)
    reached = total >= LEAST_ABOVE_FOOT * (total - model.avalanche(fine))
    return float(fine[int(np.argmax(reached))]) if np.any(reached) else high_v


def _fit(
    v: Array, log_current: Array, log_sigma: Array, weight: Array, low_v: float
) -> tuple[float, float, float, float] | None:
    """V0, its error, n and chi2; None when the minimum is at the end of the search."""
    zeros = v[0] - np.geomspace(0.02, FARTHEST_V + 2.0, 120)
    x = np.log(v - zeros[:, None])
    share = weight / weight.sum()
    mean_x, mean_y = x @ share, float(log_current @ share)
    away, y = x - mean_x[:, None], log_current - mean_y
    sxx, sxy = (away**2) @ share, (away * y) @ share
    cost = float((y**2) @ share) - sxy**2 / sxx
    best = int(np.argmin(cost))
    if not 0 < best < len(zeros) - 1:
        return None
    zero = _parabola(zeros[best - 1 : best + 2], cost[best - 1 : best + 2])
    x = np.log(v - zero)
    away = x - float(x @ share)
    exponent = float((away * y) @ share / ((away**2) @ share))
    design = np.stack([np.ones_like(v), x, -exponent / (v - zero)], axis=1)
    root = np.sqrt(share)
    solve = np.linalg.pinv(design * root[:, None]) * root
    residual = log_current - mean_y - exponent * away
    chi2 = float(((residual / log_sigma) ** 2).sum())
    swell = max(chi2 / max(len(v) - 3, 1), 1.0)
    variance = swell * float((solve[2] ** 2) @ log_sigma**2)
    return zero, float(np.sqrt(variance)), exponent, chi2


def _parabola(x: Array, y: Array) -> float:
    left, right = (y[1] - y[0]) / (x[1] - x[0]), (y[2] - y[1]) / (x[2] - x[1])
    middle_left, middle_right = 0.5 * (x[0] + x[1]), 0.5 * (x[1] + x[2])
    if left == right:
        return float(x[1])
    zero = middle_left - left * (middle_right - middle_left) / (right - left)
    return float(np.clip(zero, min(x[0], x[2]), max(x[0], x[2])))
