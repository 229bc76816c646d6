"""Zero of the inverse relative derivative of a current above breakdown."""

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.iv.curve import IVCurve
from analysis.sipm.iv.turn_on import LEAST_RELATIVE, LOG_W, V0, TurnOn

Array = NDArray[np.float64]

LEAST_ABOVE_FOOT = 10.0
LONGEST_V = 2.0
LEAST_POINTS = 4
LEAST_OVERVOLTAGE_V = 0.3
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
    ln I = c + n ln(V - V0), is not. The range begins where the current is ten times the leakage,
    clear of the smeared onset, and is 2 V long; all of it weighs the same, whatever the sampling.
    None when the curve has no such range.
    """
    voltage, current = curve.voltage_v, curve.current_a
    low_v = _beginning(model, float(voltage[-1]))
    edges = np.concatenate([[voltage[0]], 0.5 * (voltage[1:] + voltage[:-1]), [voltage[-1]]])
    overlap = np.minimum(edges[1:], low_v + LONGEST_V) - np.maximum(edges[:-1], low_v)
    clear = voltage > model.parameters[V0] + 0.5 * (low_v - model.parameters[V0])
    if curve.sigma_a is None:
        noise = np.hypot(
            model.constant_a, max(model.relative, LEAST_RELATIVE) * model.current(voltage)
        )
    else:
        noise = curve.sigma_a
    off = np.abs(current - model.current(voltage))
    use = (overlap > 0) & clear & (current > 0) & (off < 6 * noise + 0.5 * model.current(voltage))
    v, i, sigma, weight = voltage[use], current[use], noise[use], overlap[use]
    if len(v) < LEAST_POINTS or v[-1] - v[0] < LEAST_LENGTH_V:
        return None
    log_sigma = sigma / np.maximum(i, sigma)
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
        hypot(stat, shape, 0.02 * float(np.median(np.diff(v))), 0.002),
        exponent,
        low_v,
        float(v[-1]),
        len(v),
        chi2,
    )


def _beginning(model: TurnOn, end_v: float) -> float:
    """Where the onset is over and the current is ten times the leakage, V."""
    onset = float(model.parameters[V0])
    clear = onset + max(LEAST_OVERVOLTAGE_V, 3.0 * float(np.exp(model.parameters[LOG_W])))
    fine = np.linspace(onset, max(end_v, clear), 400)
    total = model.current(fine)
    reached = total >= LEAST_ABOVE_FOOT * (total - model.avalanche(fine))
    return max(float(fine[int(np.argmax(reached))]) if np.any(reached) else end_v, clear)


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
