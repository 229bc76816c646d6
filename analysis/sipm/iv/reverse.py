"""Breakdown voltage from a reverse current-voltage curve, by four definitions."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.iv.curve import IVCurve, clean_curve, noise_of
from analysis.sipm.iv.knee import Order, find_knee, slopes
from analysis.sipm.iv.power_law import PowerLaw, fit_power_law
from analysis.sipm.iv.turn_on import LOG_W, V0, K, P, TurnOn, fit_turn_on

Array = NDArray[np.float64]

METHOD = "vbd_iv: maximum of d ln I / dV"
INVERSE = "vbd_iv: zero of (d ln I / dV)^-1"
SECOND = "vbd_iv: maximum of d^2 ln I / dV^2"
MODEL = "vbd_iv: power law with divergence above leakage"
LEAST_POINTS = 8
LEAST_RISE = 3.0
LEAST_SIGNIFICANCE = 5.0
LOWEST_BREAKDOWN_V = 10.0
WANTED_ERROR = 0.06
LARGEST_SIGMA_V = 0.75
STEP_SHARE, WIDTH_SHARE, LEAST_SIGMA_V = 0.03, 0.08, 0.003


@dataclass(frozen=True)
class ReverseIV:
    """What a reverse curve tells.

    vbd_iv: the recommended breakdown voltage (V), which is always the maximum of the relative
        derivative, unknown when that one is: definitions are not exchanged for one another.
    by_method: all four, by name: relative_derivative, inverse_relative_derivative,
        second_derivative, model.
    spread_v: largest minus smallest of the known ones, V; None with fewer than two.
    curve: the cleaned points. model: the fitted current, None where nothing fits.
    power_law: the fit behind inverse_relative_derivative.
    """

    vbd_iv: Estimate
    by_method: Mapping[str, Estimate]
    spread_v: float | None
    curve: IVCurve
    model: TurnOn | None
    power_law: PowerLaw | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the recommended value is unknown, and its warnings."""
        return self.vbd_iv.reasons


def reverse_iv(
    voltage_v: ArrayLike, current_a: ArrayLike, sigma_a: ArrayLike | None = None
) -> ReverseIV:
    """Breakdown voltage of a reverse curve by four definitions, each with its own error.

    voltage_v, current_a, sigma_a: as for `breakdown_from_iv`.

    relative_derivative: maximum of d ln I / dV. inverse_relative_derivative: zero of the straight
    line through (d ln I / dV)^-1 above breakdown. second_derivative: maximum of d^2 ln I / dV^2;
    that of I itself is a step for a parabola and has no maximum at breakdown. model: onset V0 of
    the model in `turn_on`. Definitions and their comparison: V. Chmill et al., arXiv:1605.01692,
    and A. Nagai et al., arXiv:1810.02275. They differ truly, by tenths of a volt: the first lies
    above the model's onset, the third below it.

    Raises ValueError when the arrays differ in length.
    """
    curve = clean_curve(voltage_v, current_a, sigma_a)
    knee = _Knee.of(curve)
    methods = {
        "relative_derivative": _maximum(knee, 1, METHOD),
        "inverse_relative_derivative": unknown("V", INVERSE, *_why(knee)),
        "second_derivative": _maximum(knee, 2, SECOND),
        "model": _onset(knee),
    }
    power_law = None
    if not knee.problem and knee.model is not None:
        power_law = fit_power_law(knee.curve, knee.model)
        methods["inverse_relative_derivative"] = _inverse(knee, power_law)
    known = [e.value for e in methods.values() if e.value is not None]
    spread = max(known) - min(known) if len(known) > 1 else None
    return ReverseIV(
        methods["relative_derivative"], methods, spread, knee.curve, knee.model, power_law
    )


def breakdown_from_iv(
    voltage_v: ArrayLike, current_a: ArrayLike, sigma_a: ArrayLike | None = None
) -> Estimate:
    """Breakdown voltage vbd_iv (V): where the relative derivative d ln I / dV is largest.

    The definition is the one of V. Chmill et al., arXiv:1605.01692 (see A. Nagai et al.,
    arXiv:1810.02275, for how it compares with others); it lies above the breakdown voltage of the
    gain, typically by half a volt.

    voltage_v, current_a: (n,) reverse bias and current in any order and of either sign. Repeated
        voltages (up and down sweeps) are averaged; overflows, lone glitches and the flat end where
        the supply limits the current are left out, and the reasons say so.
    sigma_a: (n,) or one number, standard deviation of a current; estimated from the scatter of the
        curve when absent.

    The derivative is the slope of ln I over a few neighbouring points. Averaging, step and noise
    move its maximum: a model of the knee is fitted, the same estimator is applied to curves drawn
    from it, and the shift found there is corrected; sigma is the spread found there and a part of
    the shift.

    Unknown without a knee: no maximum inside the curve, one that the noise explains, a current
    that rises less than threefold, or a leakage below breakdown that is lost in noise. Raises
    ValueError when the arrays differ in length.
    """
    return _maximum(_Knee.of(clean_curve(voltage_v, current_a, sigma_a)), 1, METHOD)


@dataclass(frozen=True)
class _Knee:
    """Where a knee is seen, or the problem that hides it; lost: no leakage above the noise."""

    curve: IVCurve
    goodness: Mapping[str, float]
    problem: str
    lost: str = ""
    model: TurnOn | None = None

    @classmethod
    def of(cls, curve: IVCurve) -> "_Knee":
        if len(curve) < LEAST_POINTS:
            return cls(curve, {}, f"{len(curve)} usable points are too few")
        if curve.voltage_v[-1] < LOWEST_BREAKDOWN_V:
            return cls(
                curve,
                {},
                f"the current does not rise: the curve ends at {curve.voltage_v[-1]:.4g} V, below "
                "the breakdown of any SiPM",
            )
        far = curve.between(0.5 * LOWEST_BREAKDOWN_V, np.inf)
        if len(far) < LEAST_POINTS:
            return cls(curve, {}, f"{len(far)} usable points are too few")
        return _seen(far)


def _seen(curve: IVCurve) -> _Knee:
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
    start = float(np.median(log_current[: max(3, len(voltage) // 10)]))
    if log_current.max() - start < np.log(LEAST_RISE):
        return _Knee(curve, goodness, "the current does not rise: no breakdown in this range")
    if not 2 <= peak <= len(slope) - 3:
        return _Knee(
            curve,
            goodness,
            f"the steepest relative rise is at the {'lower' if peak < 2 else 'upper'} end of the "
            f"curve, {at[peak]:.4g} V: breakdown is not inside",
        )
    if goodness["significance"] < LEAST_SIGNIFICANCE or slope[peak] < 2 * np.median(slope):
        return _Knee(curve, goodness, "no knee stands out of the curve")
    model = fit_turn_on(curve, float(at[peak]))
    if model is None:
        return _Knee(curve, goodness, "no model of a breakdown fits the knee")
    return _judged(curve, goodness, model)


def _judged(curve: IVCurve, goodness: Mapping[str, float], model: TurnOn) -> _Knee:
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
    return _Knee(curve, goodness, problem, lost, model)


def _why(knee: _Knee) -> tuple[str, ...]:
    return (knee.problem, *knee.curve.notes)


def _maximum(knee: _Knee, order: Order, method: str) -> Estimate:
    problem = knee.problem or knee.lost
    if problem or knee.model is None:
        return unknown("V", method, problem, *knee.curve.notes, goodness=knee.goodness)
    found = find_knee(knee.curve, knee.model, order)
    if found is None:
        return unknown("V", method, "too few points around the knee", *knee.curve.notes)
    goodness = {**knee.goodness, "points": float(found.points), "shift_v": found.shift_v}
    return _bounded(found.value_v, found.sigma_v, method, goodness, knee)


def _onset(knee: _Knee) -> Estimate:
    if knee.problem or knee.model is None:
        return unknown("V", MODEL, *_why(knee), goodness=knee.goodness)
    model = knee.model
    goodness = {
        **knee.goodness,
        "exponent": float(model.parameters[P]),
        "divergence_per_v": float(model.parameters[K]),
        "width_v": float(np.exp(model.parameters[LOG_W])),
    }
    swell = max(model.chi2 / model.ndf, 1.0)
    step = float(np.median(np.diff(model.voltage_v)))
    shape = hypot(STEP_SHARE * step, WIDTH_SHARE * goodness["width_v"], LEAST_SIGMA_V)
    sigma = hypot(float(np.sqrt(model.covariance[V0, V0] * swell)), shape)
    return _bounded(float(model.parameters[V0]), sigma, MODEL, goodness, knee)


def _inverse(knee: _Knee, found: PowerLaw | None) -> Estimate:
    if found is None:
        return unknown(
            "V",
            INVERSE,
            "no range above breakdown in which a power law could be fitted",
            *knee.curve.notes,
            goodness=knee.goodness,
        )
    goodness = {
        **knee.goodness,
        "chi2": found.chi2,
        "ndf": float(max(found.points - 3, 1)),
        "exponent": found.exponent,
        "from_v": found.low_v,
        "to_v": found.high_v,
    }
    return _bounded(found.zero_v, found.sigma_v, INVERSE, goodness, knee)


def _bounded(
    value_v: float, sigma_v: float, method: str, goodness: Mapping[str, float], knee: _Knee
) -> Estimate:
    voltage = knee.curve.voltage_v
    reason = ""
    if not np.isfinite(value_v + sigma_v) or sigma_v > LARGEST_SIGMA_V:
        reason = f"known to {sigma_v:.2g} V only"
    elif not voltage[0] < value_v < voltage[-1]:
        reason = f"{value_v:.4g} V is outside of the curve"
    if reason:
        return unknown("V", method, reason, *knee.curve.notes, goodness=goodness)
    return Estimate(value_v, sigma_v, "V", method, goodness, knee.curve.notes)


def _needed_points(voltage: Array, log_current: Array, log_sigma: Array) -> int:
    """Fewest points per slope that make the largest slope known to 6 %; at most a sixth of all."""
    most = max(2, len(voltage) // 6)
    for points in range(2, most):
        _, slope, sigma = slopes(voltage, log_current, log_sigma, points)
        peak = int(np.argmax(slope))
        if sigma[peak] < WANTED_ERROR * slope[peak]:
            return points
    return most
