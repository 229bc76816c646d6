"""Breakdown voltage from a reverse current-voltage curve, by four definitions."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import hypot

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.iv.curve import IVCurve, clean_curve
from analysis.sipm.iv.knee import Order, find_knee
from analysis.sipm.iv.power_law import PowerLaw, fit_power_law
from analysis.sipm.iv.sighting import Sighting, sight_knee
from analysis.sipm.iv.turn_on import LOG_W, V0, K, P, TurnOn

Array = NDArray[np.float64]

METHOD = "vbd_iv: maximum of d ln I / dV"
INVERSE = "vbd_iv: zero of (d ln I / dV)^-1"
SECOND = "vbd_iv: maximum of d^2 ln I / dV^2"
MODEL = "vbd_iv: power law with divergence above leakage"
LARGEST_SIGMA_V = 0.75
LARGEST_DISPLACEMENT_V, NOTED_DISPLACEMENT_V = 0.6, 0.3
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
    knee = sight_knee(curve)
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
    that rises less than threefold, a leakage below breakdown that is lost in noise or so large
    that it moves the maximum by more than 0.6 V (a note tells of more than 0.3 V), two knees, a
    jump. Raises ValueError when the arrays differ in length.
    """
    return _maximum(sight_knee(clean_curve(voltage_v, current_a, sigma_a)), 1, METHOD)


def _why(knee: Sighting) -> tuple[str, ...]:
    return (knee.problem, *knee.curve.notes)


def _maximum(knee: Sighting, order: Order, method: str) -> Estimate:
    problem = knee.problem or knee.lost
    if problem or knee.model is None:
        return unknown("V", method, problem, *knee.curve.notes, goodness=knee.goodness)
    found = find_knee(knee.curve, knee.model, order)
    if found is None:
        return unknown("V", method, "too few points around the knee", *knee.curve.notes)
    displaced = found.value_v - float(knee.model.parameters[V0])
    goodness = {
        **knee.goodness,
        "points": float(found.points),
        "shift_v": found.shift_v,
        "above_onset_v": displaced,
    }
    moved = (
        f"{displaced:.2g} V above the onset of the avalanches at {knee.model.parameters[V0]:.4g} V"
    )
    if order == 1 and displaced > LARGEST_DISPLACEMENT_V:
        problem = f"leakage hides the knee: the steepest rise of their sum is {moved}"
        return unknown("V", method, problem, *knee.curve.notes, goodness=goodness)
    answer = _bounded(found.value_v, found.sigma_v, method, goodness, knee)
    if order == 1 and displaced > NOTED_DISPLACEMENT_V and answer.known:
        note = f"leakage moves the knee: it is {moved}"
        return replace(answer, reasons=(*answer.reasons, note))
    return answer


def _onset(knee: Sighting) -> Estimate:
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
    shape *= model.misfit
    sigma = hypot(float(np.sqrt(model.covariance[V0, V0] * swell)), shape)
    return _bounded(float(model.parameters[V0]), sigma, MODEL, goodness, knee)


def _inverse(knee: Sighting, found: PowerLaw | None) -> Estimate:
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
    value_v: float, sigma_v: float, method: str, goodness: Mapping[str, float], knee: Sighting
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
