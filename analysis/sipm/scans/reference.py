"""Gains brought to the reference temperature; the measured ones stay what they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, sqrt

import numpy as np

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans.joint_model import JointFit, jacobian, model
from analysis.sipm.scans.points import Array, ScanPoint
from analysis.sipm.scans.temperature import REFERENCE_TEMPERATURE_C, VbdTemperature

By = Estimate | VbdTemperature | JointFit


@dataclass(frozen=True)
class Corrected:
    """A gain as measured, and what it would be at the reference temperature."""

    measured: ScanPoint
    at_reference: Estimate


def at_reference(
    gain: Estimate,
    *,
    bias_v: float,
    temperature_c: float | None,
    by: By,
    reference_temperature_c: float = REFERENCE_TEMPERATURE_C,
    temperature_sigma_k: float = 0.0,
) -> Estimate:
    """The gain that the same SiPM has at the same bias and the reference temperature.

    by: a JointFit, G_ref = G model(V, T_ref) / model(V, T); a VbdTemperature, G_ref =
        G (V - vbd(T_ref)) / (V - vbd(T)); or a coefficient, in 1/K: G_ref = G / (1 + c (T -
        T_ref)), in the unit of the gain per kelvin: G_ref = G - c (T - T_ref).
    temperature_sigma_k: error of the temperature, K.

    The errors of gain, temperature and correction are independent and added in square; a
    JointFit or a VbdTemperature enters with its full covariance. Unknown when anything needed is.
    Raises ValueError on a coefficient in another unit and on a negative error.
    """
    if not (isfinite(temperature_sigma_k) and temperature_sigma_k >= 0):
        raise ValueError(f"temperature_sigma_k must not be negative, not {temperature_sigma_k}")
    method = f"{gain.method}, at {reference_temperature_c:g} C"
    if gain.value is None or gain.sigma is None:
        return unknown(gain.unit, method, *gain.reasons)
    if temperature_c is None or not isfinite(temperature_c) or not isfinite(bias_v):
        return unknown(gain.unit, method, "bias or temperature is not known")
    moved = _moved(gain, bias_v, temperature_c, by, reference_temperature_c)
    if isinstance(moved, str):
        return unknown(gain.unit, method, moved)
    value, by_gain, by_kelvin, correction = moved
    sigma = sqrt((by_gain * gain.sigma) ** 2 + (by_kelvin * temperature_sigma_k) ** 2 + correction)
    if not (isfinite(value) and isfinite(sigma)) or value <= 0:
        return unknown(gain.unit, method, "the correction leaves no gain")
    return Estimate(value, sigma, gain.unit, method, gain.goodness, gain.reasons)


def all_at_reference(
    points: Sequence[ScanPoint],
    by: By,
    *,
    reference_temperature_c: float = REFERENCE_TEMPERATURE_C,
    temperature_sigma_k: float = 0.0,
) -> tuple[Corrected, ...]:
    """Every point with its gain at the reference temperature beside it."""
    return tuple(
        Corrected(
            point,
            at_reference(
                point.gain,
                bias_v=point.bias_v,
                temperature_c=point.temperature_c,
                by=by,
                reference_temperature_c=reference_temperature_c,
                temperature_sigma_k=temperature_sigma_k,
            ),
        )
        for point in points
    )


Moved = tuple[float, float, float, float]


def _moved(
    gain: Estimate, bias_v: float, temperature_c: float, by: By, reference_c: float
) -> Moved | str:
    """Corrected gain, its derivatives by gain and temperature, variance of the correction."""
    value = gain.value or 0.0
    if isinstance(by, JointFit):
        return _by_joint_fit(value, bias_v, temperature_c, by, reference_c)
    if isinstance(by, VbdTemperature):
        return _by_breakdown(value, bias_v, temperature_c, by, reference_c)
    if by.value is None or by.sigma is None:
        return f"the temperature coefficient is unknown: {'; '.join(by.reasons)}"
    warmer = temperature_c - reference_c
    if by.unit == f"{gain.unit}/K":
        return value - by.value * warmer, 1.0, -by.value, (by.sigma * warmer) ** 2
    if by.unit != "1/K":
        raise ValueError(f"a coefficient in 1/K or {gain.unit}/K is needed, not {by.unit}")
    scale = 1 + by.value * warmer
    if scale <= 0:
        return "the temperature coefficient leaves no gain"
    at = value / scale
    return at, 1 / scale, -at * by.value / scale, (at / scale * warmer * by.sigma) ** 2


def _by_joint_fit(
    value: float, bias_v: float, temperature_c: float, by: JointFit, reference_c: float
) -> Moved | str:
    if not by.known:
        return f"the joint fit is unknown: {'; '.join(by.reasons)}"
    if not by.vbd_slope.known and temperature_c != reference_c:
        return "the joint fit knows one temperature only"
    here, there = _model(by, bias_v, temperature_c), _model(by, bias_v, reference_c)
    if here[0] <= 0 or there[0] <= 0:
        return f"{bias_v:g} V is not above breakdown"
    ratio = there[0] / here[0]
    slope = ratio * (there[1] / there[0] - here[1] / here[0])
    step = 0.01
    by_kelvin = -ratio * (_model(by, bias_v, temperature_c + step)[0] / here[0] - 1) / step
    variance = float(slope @ by.covariance @ slope)
    return value * ratio, ratio, value * by_kelvin, value**2 * max(variance, 0.0)


def _model(by: JointFit, bias_v: float, temperature_c: float) -> tuple[float, Array]:
    v, t = np.array([bias_v]), np.array([temperature_c - by.reference_temperature_c])
    return float(model(by.values, v, t)[0]), jacobian(by.values, v, t)[0]


def _by_breakdown(
    value: float, bias_v: float, temperature_c: float, by: VbdTemperature, reference_c: float
) -> Moved | str:
    slope, vbd = by.slope, by.vbd_at_reference
    if slope.value is None or vbd.value is None:
        return f"the breakdown voltage is unknown: {'; '.join((*slope.reasons, *vbd.reasons))}"
    covariance = by.covariance
    if covariance is None:
        covariance = np.diag([(slope.sigma or 0.0) ** 2, (vbd.sigma or 0.0) ** 2])
    here_k = temperature_c - by.reference_temperature_c
    there_k = reference_c - by.reference_temperature_c
    here = bias_v - vbd.value - slope.value * here_k
    there = bias_v - vbd.value - slope.value * there_k
    if here <= 0 or there <= 0:
        return f"{bias_v:g} V is not above breakdown"
    ratio = there / here
    to = np.array([ratio * here_k - there_k, ratio - 1]) / here
    variance = float(to @ covariance @ to)
    return value * ratio, ratio, value * ratio * slope.value / here, value**2 * variance
