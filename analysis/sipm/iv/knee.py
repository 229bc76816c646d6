"""Where a knee is: maxima of the first and the second derivative of ln I.

A derivative is the slope (the curvature) of a straight line (a parabola) through a few neighbouring
points. The averaging, the step and the noise move and spread its maximum. How far, is told by the
same estimator on curves drawn from a model fitted to the data, whose maximum is known: the shift is
corrected and the spread is the error.
"""

from dataclasses import dataclass, replace
from math import hypot
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.iv.curve import IVCurve
from analysis.sipm.iv.turn_on import LOG_W, V0, TurnOn

Array = NDArray[np.float64]
Order = Literal[1, 2]

REPLICAS = 48
WINDOWS = {1: (2, 3, 4, 6, 8, 11, 15, 20, 27), 2: (3, 4, 5, 7, 9, 12, 16, 21, 28)}
SEARCH_V = 0.7
AROUND_V = 2.5
GRID_V = 0.015
SHIFT_SHARE, STEP_SHARE = 0.2, 0.03
WIDTH_SHARE = {1: 0.04, 2: 0.08}
LEAST_SIGMA_V = 0.003
HOPELESS = 2.0
RIVAL_SHARE, RIVAL_SIGMA = 0.6, 1.6


@dataclass(frozen=True)
class Knee:
    """Position of a maximum with its error, V; the correction that was applied, V; the window.

    The error holds the spread on drawn curves, a fifth of the correction, and what another shape
    of the onset would do: 3 % of the step, 4 % (8 % for the second derivative) of the onset's
    width and 3 mV, chosen on curves whose onset is none of the model's; up to three times that
    where the model visibly does not fit. Windows that are nearly as good and disagree more than
    drawn curves do add to it.
    """

    value_v: float
    sigma_v: float
    shift_v: float
    points: int


def slopes(
    voltage: Array, log_current: Array, log_sigma: Array, points: int
) -> tuple[Array, Array, Array]:
    """Straight lines through `points` neighbours: where (V), slope and its error (1/V)."""
    at, lever = _levers(voltage, points, 1)
    window = np.arange(len(voltage) - points + 1)[:, None] + np.arange(points)
    slope = (lever * log_current[window]).sum(axis=1)
    sigma = np.sqrt((lever**2 * log_sigma[window] ** 2).sum(axis=1))
    return at, slope, np.maximum(sigma, 1e-9)


def find_knee(curve: IVCurve, model: TurnOn, order: Order) -> Knee | None:
    """Maximum of the first (order 1) or second (order 2) derivative of ln I; None if out of reach.

    The window is the one with the least error on curves drawn from the model.
    """
    rng = np.random.default_rng(len(curve))
    drawn = model.draws(rng, REPLICAS)
    grid = np.arange(-AROUND_V + 1.0, AROUND_V - 1.0, GRID_V) + model.parameters[V0]
    best = _grid_maximum(model, model.parameters[None, :], grid, order)[0]
    truth = _grid_maximum(model, drawn, grid, order)
    near = curve.between(best - AROUND_V, best + AROUND_V)
    if len(near) < 5:
        spare = np.argsort(np.abs(curve.voltage_v - best))[:9]
        near = curve.between(curve.voltage_v[spare].min(), curve.voltage_v[spare].max())
    voltage = near.voltage_v
    floor = np.maximum(0.5 * model.constant_a, 0.02 * np.exp(model.parameters[0]) + 1e-18)
    smooth = model.current(voltage, drawn)
    noise = np.hypot(model.constant_a, model.relative * smooth)
    if near.sigma_a is not None:
        noise = np.broadcast_to(near.sigma_a, smooth.shape)
    replicas = smooth + noise * rng.standard_normal(smooth.shape)
    log_replicas = np.log(np.maximum(replicas, floor))
    log_current = np.log(np.maximum(near.current_a, floor))
    step = float(np.median(np.diff(voltage)))
    tried: list[tuple[Knee, Array]] = []
    for points in WINDOWS[order]:
        if points > max(order + 1, len(voltage) // 3):
            break
        at, lever = _levers(voltage, points, order)
        inside = np.abs(at - best) < max(SEARCH_V, 2.5 * step)
        if np.count_nonzero(inside) < 3:
            continue
        begin = int(np.argmax(inside))
        found = _vertices(at[inside], _derivative(log_replicas, lever[inside], begin))
        derivative = _derivative(log_current[None, :], lever[inside], begin)
        measured = _vertices(at[inside], derivative)[0]
        off = found - truth
        low, shift, high = np.quantile(off, [0.16, 0.5, 0.84])
        sigma = float(np.hypot(0.5 * (high - low), SHIFT_SHARE * shift))
        tried.append((Knee(float(measured - shift), sigma, float(shift), points), off - shift))
        if sigma > HOPELESS * min(knee.sigma_v for knee, _ in tried):
            break
    if not tried:
        return None
    chosen, _ = min(tried, key=lambda one: one[0].sigma_v)
    width = float(np.exp(model.parameters[LOG_W]))
    shape = model.misfit * hypot(STEP_SHARE * step, WIDTH_SHARE[order] * width, LEAST_SIGMA_V)
    disagreement = RIVAL_SHARE * _disagreement(tried)
    return replace(chosen, sigma_v=hypot(chosen.sigma_v, shape, disagreement))


def _disagreement(tried: list[tuple[Knee, Array]]) -> float:
    """Largest difference of another window that is nearly as good, beyond what was drawn, V."""
    chosen, chosen_off = min(tried, key=lambda one: one[0].sigma_v)
    excess = [0.0]
    for knee, off in tried:
        if knee.sigma_v < RIVAL_SIGMA * chosen.sigma_v:
            low, high = np.quantile(off - chosen_off, [0.16, 0.84])
            excess.append((knee.value_v - chosen.value_v) ** 2 - 0.25 * (high - low) ** 2)
    return float(np.sqrt(max(excess)))


def _levers(voltage: Array, points: int, order: Order) -> tuple[Array, Array]:
    """Weights that give the derivative at the middle of every window, (m, points)."""
    window = np.arange(len(voltage) - points + 1)[:, None] + np.arange(points)
    v = voltage[window]
    center = v.mean(axis=1)
    away = v - center[:, None]
    square = (away**2).sum(axis=1, keepdims=True)
    if order == 1:
        return center, away / square
    if points == 3:
        left, right = away[:, 1] - away[:, 0], away[:, 2] - away[:, 1]
        span = left + right
        lever = np.stack([2 / (left * span), -2 / (left * right), 2 / (right * span)], axis=1)
        return center, lever
    bent = away**2 - square / points
    bent -= away * (bent * away).sum(axis=1, keepdims=True) / square
    return center, 2.0 * bent / (bent**2).sum(axis=1, keepdims=True)


def _derivative(values: Array, lever: Array, begin: int) -> Array:
    """Derivatives of every row in the windows that start at `begin`, (rows, windows)."""
    windows, points = lever.shape
    total = np.zeros((len(values), windows))
    for column in range(points):
        first = begin + column
        total += lever[:, column] * values[:, first : first + windows]
    return total


def _vertices(at: Array, values: Array) -> Array:
    """Positions of the maxima of every row, from the parabola through three points, (rows,)."""
    peak = np.clip(np.argmax(values, axis=1), 1, len(at) - 2)
    rows = np.arange(len(values))
    x0, x1, x2 = at[peak - 1], at[peak], at[peak + 1]
    y0, y1, y2 = values[rows, peak - 1], values[rows, peak], values[rows, peak + 1]
    left, right = (y1 - y0) / (x1 - x0), (y2 - y1) / (x2 - x1)
    with np.errstate(divide="ignore", invalid="ignore"):
        vertex = 0.5 * (x0 + x1) + left / (left - right) * 0.5 * (x2 - x0)
    return np.asarray(np.where(left > right, np.clip(vertex, x0, x2), x1), dtype=np.float64)


def _grid_maximum(model: TurnOn, parameters: Array, grid: Array, order: Order) -> Array:
    log_current = np.log(model.current(grid, parameters))
    derivative = np.diff(log_current, n=order, axis=1)
    at = grid[1:-1] if order == 2 else 0.5 * (grid[1:] + grid[:-1])
    return _vertices(at, derivative)
