"""Slope of points and their value at a reference, however they lie."""

from dataclasses import dataclass
from math import sqrt

import numpy as np

from analysis.sipm.scans.lines import (
    TOO_DIFFERENT,
    Judged,
    center,
    fit_line,
    fit_parabola,
    judge,
)
from analysis.sipm.scans.points import Array, Measured

LEAST_POINTS = 3


@dataclass(frozen=True)
class Slope:
    """Slope and value at a reference.

    slope, slope_sigma: per unit of x. value, value_sigma: at the reference.
    covariance: (2, 2) of (slope, value), systematic errors of a bend included.
    notes: what is to be said about the points.
    """

    judged: Judged
    slope: float
    value: float
    covariance: Array
    notes: tuple[str, ...]

    @property
    def slope_sigma(self) -> float:
        """Error of the slope."""
        return sqrt(float(self.covariance[0, 0]))

    @property
    def value_sigma(self) -> float:
        """Error of the value at the reference."""
        return sqrt(float(self.covariance[1, 1]))


def slope_of(measured: Measured, reference: float, axis: str) -> Slope | str:
    """Slope through points with at least three different x; or why there is none.

    Of points on a bent curve the slope is the mean over their range; its error contains the root
    mean square of the local slopes about the mean, from a parabola, which also gives the value.
    """
    if measured.distinct < LEAST_POINTS:
        return f"{measured.distinct} usable places in {axis}: {LEAST_POINTS} are needed to test it"
    try:
        return _slope(measured, reference, axis)
    except np.linalg.LinAlgError:
        return TOO_DIFFERENT


def _slope(measured: Measured, reference: float, axis: str) -> Slope:
    judged = judge(measured)
    points = judged.measured
    line, origin = fit_line(points), center(points)
    at = np.array([[0.0, 1.0], [1.0, reference - origin]])
    slope, value = at @ line.parameters
    covariance = at @ line.covariance @ at.T
    tests = judged.tests
    misfit = f"chi2 / ndf {tests.chi2:.3g} / {tests.ndf}"
    notes: tuple[str, ...] = ()
    if judged.shape == "scattered":
        notes = (
            f"the points scatter {judged.scale:.2g} times more than their errors ({misfit}): "
            "the errors are scaled",
        )
    if judged.shape == "bent":
        curve = fit_parabola(points)
        away = reference - origin
        by = np.array([[0.0, 1.0, 2 * (_middle(points) - origin)], [1.0, away, away**2]])
        bend, half = float(curve.parameters[2]), 0.5 * float(np.ptp(points.x))
        slope, value = by @ curve.parameters
        covariance = curve.scale**2 * (by @ curve.covariance @ by.T)
        covariance[0, 0] += (2 * bend * half) ** 2 / 3
        first, last = slope - 2 * bend * half, slope + 2 * bend * half
        notes = (
            f"not linear in the {axis} ({misfit}, quadratic term {tests.curvature_pull:+.1f} "
            f"sigma): the slope goes from {first:.4g} at {points.x[0]:.4g} "
            f"to {last:.4g} at {points.x[-1]:.4g}",
        )
    return Slope(judged, float(slope), float(value), np.asarray(covariance), notes)


def _middle(measured: Measured) -> float:
    return 0.5 * float(measured.x[0] + measured.x[-1])
