"""Whether a reverse curve has the knee of a breakdown, and what hides it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.iv.curve import IVCurve, noise_of
from analysis.sipm.iv.knee import slopes
from analysis.sipm.iv.turn_on import LOG_W, V0, TurnOn, fit_turn_on

Array = NDArray[np.float64]

LEAST_POINTS = 8
LEAST_RISE = 3.0
LEAST_SIGNIFICANCE = 5.0
LOWEST_BREAKDOWN_V = 10.0
WANTED_ERROR = 0.06
RIVAL_SHARE, RIVAL_DISTANCE_V = 0.5, 1.0
LEAST_EXPONENT = 0.5
OHMIC_SCATTER = 0.05


@dataclass(frozen=True)
class Sighting:
    """Where a knee is seen.

    curve: the points it is looked for in. model: the fit of the turn-on, None without a knee.
    problem: why there is none, empty otherwise. lost: why its position depends on the noise, empty
    otherwise. goodness: figures of merit.
    """

    curve: IVCurve
    goodness: Mapping[str, float]
    problem: str
    lost: str = ""
    model: TurnOn | None = None


def sight_knee(curve: IVCurve) -> Sighting:
    """Look for the knee of breakdown above 5 V and fit the turn-on there."""
    far = curve.between(0.5 * LOWEST_BREAKDOWN_V, np.inf)
    if len(curve) and curve.voltage_v[-1] < LOWEST_BREAKDOWN_V:
        problem = (
            f"the current does not rise: the curve ends at {curve.voltage_v[-1]:.4g} V, below the "
            "breakdown of any SiPM"
        )
        return Sighting(curve, {}, problem)
    if len(far) < LEAST_POINTS:
        return Sighting(curve, {}, f"{len(far)} usable points are too few")
    return _seen(far)


def _seen(curve: IVCurve) -> Sighting:
    voltage, current = curve.voltage_v, curve.current_a
    sigma = curve.sigma_a
    if sigma is None:
        constant, relative = noise_of(curve)
        sigma = np.hypot(constant, relative * np.abs(current))
    floor = np.maximum(sigma, 1e-18)
    log_current = np.log(np.maximum(current, floor))
    log_sigma = np.minimum(floor / np.maximum(current, floor), 1.0)
    points = _needed_points(voltage, log_current, log_sigma)
    at, slope, slope_sigma = slopes(voltage, log_current, log_sigma, points)
    peak = int(np.argmax(slope))
    goodness = {
        "peak_slope_per_v": float(slope[peak]),
        "significance": float((slope[peak] - np.median(slope)) / slope_sigma[peak]),
        "points_per_slope": float(points),
    }
    problem = _flat(voltage, current, log_current) or _no_peak(at, slope, slope_sigma)
    if problem:
        return Sighting(curve, goodness, problem)
    model = fit_turn_on(curve, float(at[peak]))
    if model is None:
        return Sighting(curve, goodness, "no model of a breakdown fits the knee")
    return _judged(*_without_outliers(curve, model), goodness)


def _flat(voltage: Array, current: Array, log_current: Array) -> str:
    """Why the current as a whole shows no breakdown."""
    ohm = _resistor(voltage, current)
    if ohm is not None:
        return f"the current does not rise beyond that of a resistor of {ohm:.3g} ohm"
    start = float(np.median(log_current[: max(3, len(voltage) // 10)]))
    if log_current.max() - start < np.log(LEAST_RISE):
        return "the current does not rise: no breakdown in this range"
    return ""


def _no_peak(at: Array, slope: Array, slope_sigma: Array) -> str:
    """Why the slopes have no maximum that stands out."""
    peak = int(np.argmax(slope))
    usual = float(np.median(slope))
    if not 2 <= peak <= len(slope) - 3:
        return (
            f"the steepest relative rise is at the {'lower' if peak < 2 else 'upper'} end of the "
            f"curve, {at[peak]:.4g} V: breakdown is not inside"
        )
    if slope[peak] - usual < LEAST_SIGNIFICANCE * slope_sigma[peak] or slope[peak] < 2 * usual:
        return "no knee stands out of the curve"
    rival = _rival(at, slope, slope_sigma, peak)
    if rival is not None:
        return f"two knees: the current turns on at {at[peak]:.4g} and {rival:.4g} V"
    return ""


def _resistor(voltage: Array, current: Array) -> float | None:
    """The resistance of a curve that obeys Ohm's law, ohm."""
    conductance = float(np.median(current / voltage))
    if conductance <= 0:
        return None
    away = np.abs(current / (conductance * voltage) - 1.0)
    return 1.0 / conductance if np.quantile(away, 0.95) < OHMIC_SCATTER else None


def _rival(at: Array, slope: Array, slope_sigma: Array, peak: int) -> float | None:
    """Where another maximum of the slope is nearly as high, behind a clear minimum, V."""
    for other in np.argsort(slope)[::-1]:
        if slope[other] < RIVAL_SHARE * slope[peak]:
            return None
        if abs(at[other] - at[peak]) > RIVAL_DISTANCE_V:
            low, high = sorted((int(other), peak))
            least = float(slope[low : high + 1].min())
            if slope[other] - least > LEAST_SIGNIFICANCE * slope_sigma[other] and (
                slope[other] > 2 * least
            ):
                return float(at[other])
    return None


def _without_outliers(curve: IVCurve, model: TurnOn) -> tuple[IVCurve, TurnOn]:
    lost = model.voltage_v[~model.kept]
    if not len(lost):
        return curve, model
    at = ", ".join(f"{v:.4g}" for v in lost[:3])
    note = f"{len(lost)} points far off the curve around them left out: {at} V"
    return replace(curve.without(lost), notes=(*curve.notes, note)), model


def _judged(curve: IVCurve, model: TurnOn, goodness: Mapping[str, float]) -> Sighting:
    onset = float(model.parameters[V0])
    end = curve.voltage_v[-1:]
    total, avalanche = float(model.current(end)[0]), float(model.avalanche(end)[0])
    goodness = {
        **goodness,
        "chi2": model.chi2,
        "ndf": float(model.ndf),
        "relative_noise": model.relative,
        "avalanche_share": avalanche / total,
    }
    problem = ""
    if not curve.voltage_v[0] < onset < curve.voltage_v[-1]:
        problem = f"the model places breakdown outside of the curve, at {onset:.4g} V"
    elif onset < LOWEST_BREAKDOWN_V:
        problem = f"the current turns on at {onset:.3g} V, below the breakdown of any SiPM"
    elif avalanche < (1.0 - 1.0 / LEAST_RISE) * total:
        problem = (
            f"leakage hides the knee: at the end of the curve only {avalanche / total:.0%} of the "
            "current is from avalanches"
        )
    elif _exponent(curve, model) < LEAST_EXPONENT:
        problem = (
            "the current above the knee does not grow as avalanches do: a jump, or a supply that "
            "limits it"
        )
    below = curve.current_a[curve.voltage_v < onset - 2 * np.exp(model.parameters[LOG_W])]
    lost = ""
    sigma = model.constant_a if curve.sigma_a is None else float(np.median(curve.sigma_a[:5]))
    if len(below) < 2:
        problem = problem or "too few points below breakdown"
    elif np.median(below) < 3 * sigma:
        lost = (
            "the current below breakdown is lost in noise: the steepest rise only marks where it "
            "leaves the noise"
        )
    return Sighting(curve, goodness, problem, lost, model)


def _exponent(curve: IVCurve, model: TurnOn) -> float:
    """d ln I / d ln (V - V0) above the onset; 2 for a parabola."""
    onset = model.parameters[V0] + 2 * np.exp(model.parameters[LOG_W])
    above = (curve.voltage_v > onset) & (curve.current_a > 0)
    if np.count_nonzero(above) < 3:
        return 2.0
    x = np.log(curve.voltage_v[above] - model.parameters[V0])
    return float(np.polyfit(x, np.log(curve.current_a[above]), 1)[0])


def _needed_points(voltage: Array, log_current: Array, log_sigma: Array) -> int:
    """Fewest points per slope that make the largest slope known to 6 %; at most a sixth of all."""
    most = max(2, len(voltage) // 6)
    for points in range(2, most):
        _, slope, sigma = slopes(voltage, log_current, log_sigma, points)
        peak = int(np.argmax(slope))
        if sigma[peak] < WANTED_ERROR * slope[peak]:
            return points
    return most
