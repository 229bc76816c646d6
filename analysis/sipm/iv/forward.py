"""Quench resistance from a forward current-voltage curve."""

from dataclasses import dataclass
from math import hypot

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.iv.curve import IVCurve, clean_curve, noise_of

Array = NDArray[np.float64]

METHOD = "quench_resistance: V = U0 + n UT ln I + I R of all pixels, R times pixels"
SERIES = (
    "the series resistance of leads and contacts is not told apart: an upper bound by its value "
    "times the pixels"
)
LEAST_POINTS = 6
THERMAL_V, THERMAL_SIGMA_V = 0.040, 0.015
LEAST_OHMIC_V = 0.15
LEAST_DIODE_V = 0.25
LARGEST_ERROR = 0.3
ROUNDS, CANDIDATES = 12, 7


@dataclass(frozen=True)
class ForwardFit:
    """V = offset_v + thermal_v ln(I / 1 A) + I R.

    resistance_ohm: of all pixels in parallel, with sigma_ohm. from_v, to_v, points: the range of
    the fit. ohmic_v: I R at its end. chi2, ndf: of the fit. curve: the cleaned points.
    """

    offset_v: float
    thermal_v: float
    resistance_ohm: float
    sigma_ohm: float
    from_v: float
    to_v: float
    points: int
    ohmic_v: float
    chi2: float
    ndf: int
    curve: IVCurve

    def voltage(self, current_a: Array) -> Array:
        """Voltage of the fit at a current, V."""
        diode = self.offset_v + self.thermal_v * np.log(current_a)
        return np.asarray(diode + self.resistance_ohm * current_a, dtype=np.float64)


def quench_resistance(
    voltage_v: ArrayLike,
    current_a: ArrayLike,
    n_pixels: int,
    sigma_a: ArrayLike | None = None,
) -> Estimate:
    """Quench resistance of one pixel (ohm): the ohmic part of a forward curve times the pixels.

    voltage_v, current_a: (n,) in any order and of either sign. n_pixels: pixels in parallel.
    sigma_a: (n,) or one number, standard deviation of a current; from the scatter when absent.

    The current of N diodes with their resistors in parallel obeys V = U0 + n UT ln I + I R_q / N.
    A straight line at the end of the curve would count the differential resistance n UT / I of the
    diodes as resistance; the logarithm takes it up. n UT is held at 40 +- 15 mV (ideality 1 to 2 at
    room temperature) when the range is too short to tell. The fit begins at the voltage from which
    on the equation holds.

    Unknown without a diode (a resistor, a short, an open circuit), when the ohmic part is less than
    0.15 V at the end, and when it is known to less than 30 %. Raises ValueError when the arrays
    differ in length or n_pixels is less than one.
    """
    if n_pixels < 1:
        raise ValueError(f"{n_pixels} pixels")
    found = fit_forward(voltage_v, current_a, sigma_a)
    if isinstance(found, str):
        return unknown("ohm", METHOD, found)
    goodness = {
        "chi2": found.chi2,
        "ndf": float(found.ndf),
        "from_v": found.from_v,
        "to_v": found.to_v,
        "points": float(found.points),
        "thermal_v": found.thermal_v,
        "resistance_ohm": found.resistance_ohm,
    }
    return Estimate(
        found.resistance_ohm * n_pixels,
        found.sigma_ohm * n_pixels,
        "ohm",
        METHOD,
        goodness,
        (SERIES, *found.curve.notes),
    )


def fit_forward(
    voltage_v: ArrayLike, current_a: ArrayLike, sigma_a: ArrayLike | None = None
) -> ForwardFit | str:
    """The fit behind `quench_resistance`, or why there is none."""
    curve = clean_curve(voltage_v, current_a, sigma_a)
    voltage, current = curve.voltage_v, curve.current_a
    if len(curve) < LEAST_POINTS:
        return f"{len(curve)} usable points are too few"
    if curve.sigma_a is None:
        constant, relative = noise_of(curve)
        noise = np.hypot(constant, max(relative, 1e-5) * current)
    else:
        noise = np.hypot(curve.sigma_a, 1e-5 * current)
    clear = (current > 5 * noise) & (voltage > 0)
    begin = int(np.flatnonzero(~clear)[-1]) + 1 if not np.all(clear) else 0
    if len(curve) - begin < LEAST_POINTS:
        return "no current above the noise: the circuit is open or the diode does not conduct"
    candidates = np.unique(np.linspace(begin, len(curve) - LEAST_POINTS, CANDIDATES).astype(int))
    fits = [_fit(curve, noise, int(start)) for start in candidates]
    if curve.sigma_a is None:
        scatter = np.sqrt(np.median([fit.chi2 / fit.ndf for fit in fits[len(fits) // 2 :]]))
        noise = noise * float(np.clip(scatter, 1e-3, 2.0))
        fits = [_fit(curve, noise, int(start)) for start in candidates]
    accepted = [fit for fit in fits if fit.chi2 < fit.ndf + 3.0 * np.sqrt(2.0 * fit.ndf)]
    chosen = min(accepted or fits[len(fits) // 2 :], key=lambda fit: fit.sigma_ohm)
    return _problem(chosen) or _with_range(chosen, accepted)


def _problem(fit: ForwardFit) -> str:
    last = float(fit.curve.current_a[-1])
    knee = fit.to_v - fit.ohmic_v
    if fit.curve.limit_a is not None and fit.to_v < LEAST_DIODE_V:
        return "the supply limits the current before a diode conducts: a short circuit"
    if knee < LEAST_DIODE_V:
        return (
            f"no diode: the current at {fit.to_v:.3g} V, {last:.3g} A, is that of a resistor from "
            "zero on"
        )
    if fit.ohmic_v < LEAST_OHMIC_V:
        return (
            f"the diodes govern the curve to its end: only {fit.ohmic_v:.2g} V of "
            f"{fit.to_v:.3g} V is across the resistors"
        )
    if fit.resistance_ohm <= 0 or fit.sigma_ohm > LARGEST_ERROR * fit.resistance_ohm:
        return f"the resistance is known to {fit.sigma_ohm:.2g} of {fit.resistance_ohm:.2g} ohm"
    return ""


def _with_range(fit: ForwardFit, accepted: list[ForwardFit]) -> ForwardFit:
    """The fit with what the choice of its range adds to the error."""
    later = [f for f in accepted if f.from_v > fit.from_v]
    added = 0.0
    if later:
        other = later[len(later) // 3]
        excess = (other.resistance_ohm - fit.resistance_ohm) ** 2
        excess -= max(other.sigma_ohm**2 - fit.sigma_ohm**2, 0.0)
        added = 0.3 * float(np.sqrt(max(excess, 0.0)))
    swell = np.sqrt(max(fit.chi2 / fit.ndf, 1.0))
    sigma = hypot(fit.sigma_ohm * float(swell), added, 3e-4 * fit.resistance_ohm)
    return ForwardFit(**{**fit.__dict__, "sigma_ohm": sigma})


def _fit(curve: IVCurve, noise: Array, start: int) -> ForwardFit:
    """Least squares in ln I with the current of the fit in the slopes: the noise biases nothing."""
    v, i, s = curve.voltage_v[start:], curve.current_a[start:], noise[start:]
    scale = float(i[-1])
    ohmic_v = max(float(v[-1]) - 0.7, 0.3 * float(v[-1]))
    theta = np.array([float(v[-1]) - ohmic_v, THERMAL_V, ohmic_v])
    prior = np.array([0.0, THERMAL_SIGMA_V**-2, 0.0])
    covariance, chi2, smooth = np.eye(3), 0.0, i
    for _ in range(ROUNDS):
        smooth = _smooth(v, smooth, theta, scale)
        slope = theta[1] + theta[2] * smooth / scale
        weight = np.minimum(smooth / s, 1e5)
        columns = [np.ones_like(v), np.log(smooth / scale), smooth / scale]
        design = np.stack(columns, axis=1) * (weight / slope)[:, None]
        away = -np.log(i / smooth) * weight
        chi2 = float(away @ away)
        normal = (design[:, :, None] * design[:, None, :]).sum(axis=0) + np.diag(prior)
        gradient = (design * away[:, None]).sum(axis=0) + prior * (THERMAL_V - theta[1])
        covariance = np.linalg.pinv(normal)
        change = covariance @ gradient
        theta = theta + np.clip(change, -0.5, 0.5)
        theta[1] = np.clip(theta[1], 0.01, 0.2)
        theta[2] = max(theta[2], 0.0)
        if np.max(np.abs(change)) < 1e-5:
            break
    return ForwardFit(
        float(theta[0] - theta[1] * np.log(scale)),
        float(theta[1]),
        float(theta[2]) / scale,
        float(np.sqrt(covariance[2, 2])) / scale,
        float(v[0]),
        float(v[-1]),
        len(v),
        float(theta[2]),
        chi2,
        max(len(v) - 3, 1),
        curve,
    )


def _smooth(v: Array, guess: Array, theta: Array, scale: float) -> Array:
    """Current of the fit at the voltages, by Newton steps in ln I."""
    log_i = np.log(guess / scale)
    for _ in range(5):
        i = np.exp(log_i)
        off = theta[0] + theta[1] * log_i + theta[2] * i - v
        log_i = np.clip(log_i - np.clip(off / (theta[1] + theta[2] * i), -2.0, 2.0), -60.0, 5.0)
    return np.asarray(scale * np.exp(log_i), dtype=np.float64)
