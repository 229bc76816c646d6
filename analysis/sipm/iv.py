"""Breakdown voltage from a reverse current-voltage curve."""

from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import Estimate, unknown

METHOD = "vbd_iv: maximum of d ln I / dV"
LEAST_POINTS = 8
LEAST_RISE = 3.0
LEAST_SIGNIFICANCE = 5.0
WANTED_ERROR = 0.06
STEP_SHARE = 0.25
REPLICAS = 120

Array = NDArray[np.float64]


def breakdown_from_iv(
    voltage_v: ArrayLike, current_a: ArrayLike, sigma_a: ArrayLike | None = None
) -> Estimate:
    """Breakdown voltage vbd_iv (V): where the relative derivative d ln I / dV is largest.

    The definition is the one of V. Chmill et al., arXiv:1605.01692 (see A. Nagai et al.,
    arXiv:1810.02275, for how it compares with others); it lies above the breakdown voltage of the
    gain, typically by half a volt.

    voltage_v, current_a: (n,) reverse bias and current in any order; signs are dropped when all
        voltages or most currents are negative. Repeated voltages (up and down sweeps) are averaged.
    sigma_a: (n,) or one number, standard deviation of a current; estimated from the scatter of the
        curve when absent.

    The derivative is the slope of ln I over a few neighbouring points, as many as the noise needs;
    the maximum is the vertex of a parabola. Averaging over points moves the maximum of a knee that
    rises faster than it falls: the position is extrapolated linearly to no averaging. sigma is the
    spread under resampled noise, half that correction, and a quarter of the voltage step.

    Unknown without a knee: no maximum inside the curve, one that the noise explains, or a current
    that rises less than threefold. Raises ValueError when the arrays differ in length.
    """
    voltage, current, sigma, notes = _clean(voltage_v, current_a, sigma_a)
    if len(voltage) < LEAST_POINTS:
        return unknown("V", METHOD, f"{len(voltage)} usable points are too few", *notes)
    if sigma is None:
        sigma = _scatter(current)
    floor = np.maximum(sigma, 1e-18)
    log_current = np.log(np.maximum(current, floor))
    log_sigma = np.minimum(floor / np.maximum(current, floor), 1.0)
    points = _needed_points(voltage, log_current, log_sigma)
    at, slope, slope_sigma = _slopes(voltage, log_current, log_sigma, points)
    peak = int(np.argmax(slope))
    goodness = {
        "peak_slope_per_v": float(slope[peak]),
        "significance": float((slope[peak] - np.median(slope)) / slope_sigma[peak]),
        "points_per_slope": float(points),
    }
    start = float(np.median(log_current[: max(3, len(voltage) // 10)]))
    before = voltage < 2 * at[max(peak - 1, 0)] - at[peak]
    replicas = np.zeros(0)
    if log_current.max() - start < np.log(LEAST_RISE):
        problem = "the current does not rise: no breakdown in this range"
    elif not 2 <= peak <= len(slope) - 3:
        problem = (
            f"the steepest relative rise is at the {'lower' if peak < 2 else 'upper'} end of the "
            f"curve, {at[peak]:.4g} V: breakdown is not inside"
        )
    elif goodness["significance"] < LEAST_SIGNIFICANCE or slope[peak] < 2 * np.median(slope):
        problem = "no knee stands out of the curve"
    elif np.any(before) and np.median(current[before]) < 3 * np.median(sigma[before]):
        problem = (
            "the current below breakdown is lost in noise: the steepest rise only marks where it "
            "leaves the noise"
        )
    else:
        replicas = _resampled(voltage, log_current, log_sigma, points)
        wandering = np.ptp(np.quantile(replicas, [0.16, 0.84])) > 0.25 * np.ptp(voltage)
        problem = "the knee moves with the noise" if wandering else ""
    if problem:
        return unknown("V", METHOD, problem, *notes, goodness=goodness)

    value, correction = _knee(voltage, log_current, log_sigma, points)
    step = float(np.median(np.diff(voltage)[max(0, peak - 2) : peak + 3]))
    low, high = np.quantile(replicas, [0.16, 0.84])
    sigma_v = sqrt((0.5 * (high - low)) ** 2 + (0.5 * correction) ** 2 + (STEP_SHARE * step) ** 2)
    return Estimate(value, sigma_v, "V", METHOD, goodness, tuple(notes))


def _knee(voltage: Array, log_current: Array, log_sigma: Array, points: int) -> tuple[float, float]:
    """Position of the maximum, V, extrapolated to slopes without averaging; and the correction."""
    narrow = _vertex(*_slopes(voltage, log_current, log_sigma, points)[:2])
    wide = _vertex(*_slopes(voltage, log_current, log_sigma, points + 2)[:2])
    correction = 0.5 * (points - 1) * (wide - narrow)
    return narrow - correction, correction


def _resampled(voltage: Array, log_current: Array, log_sigma: Array, points: int) -> Array:
    """Knee positions of the curve with its noise added once more, (REPLICAS,)."""
    rng = np.random.default_rng(len(voltage))
    noise = log_sigma * rng.standard_normal((REPLICAS, len(voltage)))
    return np.array([_knee(voltage, log_current + n, log_sigma, points)[0] for n in noise])


def _clean(
    voltage_v: ArrayLike, current_a: ArrayLike, sigma_a: ArrayLike | None
) -> tuple[Array, Array, Array | None, list[str]]:
    """Finite points in rising order of voltage, repeated voltages averaged."""
    voltage = np.asarray(voltage_v, dtype=np.float64).ravel()
    current = np.asarray(current_a, dtype=np.float64).ravel()
    if voltage.shape != current.shape:
        raise ValueError(f"{len(voltage)} voltages and {len(current)} currents")
    sigma = np.full_like(current, np.nan)
    if sigma_a is not None:
        sigma = np.broadcast_to(np.asarray(sigma_a, dtype=np.float64), current.shape).copy()
    notes = []
    good = np.isfinite(voltage) & np.isfinite(current)
    if sigma_a is not None:
        good &= np.isfinite(sigma) & (sigma >= 0)
    if not np.all(good):
        notes.append(f"{np.count_nonzero(~good)} points that are not numbers left out")
    voltage, current, sigma = voltage[good], current[good], sigma[good]
    if len(voltage) and np.all(voltage <= 0):
        voltage = -voltage
    if len(current) and np.median(current) < 0:
        current = -current
    levels, index = np.unique(np.round(voltage, 6), return_inverse=True)
    times = np.bincount(index, minlength=len(levels))
    mean = np.bincount(index, weights=current, minlength=len(levels)) / np.maximum(times, 1)
    if sigma_a is None:
        return levels, mean, None, notes
    squares = np.bincount(index, weights=sigma**2, minlength=len(levels))
    return levels, mean, np.sqrt(squares) / np.maximum(times, 1), notes


def _scatter(current: Array) -> Array:
    """Noise of every point from third differences: a constant part and a relative part."""
    quiet = current[: max(6, len(current) // 3)]
    constant = _from_differences(quiet)
    floor = max(float(np.median(np.abs(quiet))), 1e-18)
    relative = _from_differences(np.log(np.maximum(current, 0.1 * floor)))
    return np.asarray(
        np.hypot(min(constant, floor), min(relative, 0.5) * np.abs(current)), dtype=np.float64
    )


def _from_differences(values: Array) -> float:
    third = np.diff(values, n=3)
    return float(np.median(np.abs(third)) / (0.6745 * sqrt(20.0)))


def _needed_points(voltage: Array, log_current: Array, log_sigma: Array) -> int:
    """Fewest points per slope that make the largest slope known to 6 %; at most a sixth of all."""
    most = max(2, len(voltage) // 6)
    for points in range(2, most):
        _, slope, sigma = _slopes(voltage, log_current, log_sigma, points)
        peak = int(np.argmax(slope))
        if sigma[peak] < WANTED_ERROR * slope[peak]:
            return points
    return most


def _slopes(
    voltage: Array, log_current: Array, log_sigma: Array, points: int
) -> tuple[Array, Array, Array]:
    """Straight lines through `points` neighbours: where (V), slope and its error (1/V)."""
    window = np.arange(len(voltage) - points + 1)[:, None] + np.arange(points)
    v = voltage[window]
    center = v.mean(axis=1)
    away = v - center[:, None]
    lever = away / (away**2).sum(axis=1, keepdims=True)
    slope = (lever * log_current[window]).sum(axis=1)
    sigma = np.sqrt((lever**2 * log_sigma[window] ** 2).sum(axis=1))
    return center, slope, np.maximum(sigma, 1e-9)


def _vertex(at: Array, slope: Array) -> float:
    """Position of the maximum from the parabola through it and its neighbours."""
    peak = int(np.clip(np.argmax(slope), 1, len(slope) - 2))
    x, y = at[peak - 1 : peak + 2], slope[peak - 1 : peak + 2]
    left = (y[1] - y[0]) / (x[1] - x[0])
    right = (y[2] - y[1]) / (x[2] - x[1])
    if left <= right:
        return float(x[1])
    middle_left, middle_right = 0.5 * (x[0] + x[1]), 0.5 * (x[1] + x[2])
    vertex = middle_left + left / (left - right) * (middle_right - middle_left)
    return float(np.clip(vertex, x[0], x[2]))
