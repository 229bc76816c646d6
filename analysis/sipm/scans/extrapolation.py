"""Where a line of gain against bias reaches zero, and what a bend would do to it."""

from dataclasses import dataclass
from math import inf, sqrt

import numpy as np

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans.lines import (
    LinearFit,
    center,
    fit_line,
    fit_linear,
    fit_parabola,
    line_design,
)
from analysis.sipm.scans.points import Array, Measured

CURVATURE_PER_V = 0.003
CURVED_METHOD = "vbd_gain: parabola of gain against bias, extrapolated to zero"
LEAST_SLOPE_SIGNIFICANCE = 5.0


@dataclass(frozen=True)
class Crossing:
    """The zero of a straight line.

    vbd_v, sigma_v: zero and its error, V; the error is the larger half of the 68 % interval from
        low_v to high_v (E. C. Fieller, J. R. Stat. Soc. B 16 (1954) 175).
    slope, slope_sigma: of the line. covariance: (2, 2) of (slope, zero), first order.
    """

    line: LinearFit
    vbd_v: float
    sigma_v: float
    low_v: float
    high_v: float
    covariance: Array

    @property
    def slope(self) -> float:
        """Slope of the line."""
        return float(self.line.parameters[1])

    @property
    def slope_sigma(self) -> float:
        """Error of the slope."""
        return sqrt(float(self.line.covariance[1, 1]))


def zero_crossing(measured: Measured) -> Crossing | str:
    """Fit a line and find its zero; or why there is none."""
    line, origin = fit_line(measured), center(measured)
    (a, b), cov = line.parameters, line.covariance
    significance = b / sqrt(cov[1, 1])
    if significance < LEAST_SLOPE_SIGNIFICANCE:
        rises = "rises" if b > 0 else "does not rise"
        return f"the gain {rises} with bias by {significance:.1f} sigma of its slope only"
    rest = b * b - cov[1, 1]
    middle = (a * b - cov[0, 1]) / rest
    half = sqrt(max(middle**2 - (a * a - cov[0, 0]) / rest, 0.0))
    vbd = origin - a / b
    low, high = origin - middle - half, origin - middle + half
    if vbd >= measured.x[0]:
        return f"the line reaches zero at {vbd:.4g} V, above the lowest bias with a gain"
    by = np.array([[0.0, 1.0], [-1 / b, a / b**2]])
    return Crossing(
        line,
        float(vbd),
        float(max(vbd - low, high - vbd)),
        float(low),
        float(high),
        np.asarray(by @ cov @ by.T, dtype=np.float64),
    )


def curvature(measured: Measured, crossing: Crossing) -> Estimate:
    """Relative quadratic term k of G = g (V - vbd) (1 + k (V - vbd)), 1/V, to first order in k."""
    method = "quadratic term beside a straight line"
    if measured.distinct < 3:
        return unknown("1/V", method, f"{measured.distinct} biases are too few")
    design = line_design(measured.x, center(measured))
    bend = crossing.slope * (measured.x - crossing.vbd_v) ** 2
    fit = fit_linear(np.column_stack([design, bend]), measured)
    goodness = {"chi2": fit.chi2, "ndf": float(fit.ndf), "p_value": fit.p_value}
    return Estimate(float(fit.parameters[2]), sqrt(fit.covariance[2, 2]), "1/V", method, goodness)


def bend_sigma(
    measured: Measured, crossing: Crossing, curvature: Estimate, expected_per_v: float
) -> float:
    """Shift of the zero, V, by a curvature k that the line leaves out.

    k is expected to be 0 +- expected_per_v; together with the `curvature` of the points that makes
    m +- s (inverse variance weights). The shift is that of |m| + s: m moves the zero one way, and
    the root mean square would cover less than 68 % of a shift that is known but not corrected.
    """
    if expected_per_v == 0:
        return 0.0
    k, sigma = 0.0, inf
    if curvature.value is not None and curvature.sigma:
        k, sigma = curvature.value, curvature.sigma
    share = 1.0 if sigma == 0 else 1 / (1 + (sigma / expected_per_v) ** 2)
    mean = share * k
    variance = expected_per_v**2 * (1 - share)
    bend = crossing.slope * (measured.x - crossing.vbd_v) ** 2
    moved = crossing.line.influence @ bend
    shift = (moved[0] + moved[1] * (crossing.vbd_v - center(measured))) / crossing.slope
    return float(abs(shift) * (abs(mean) + sqrt(variance)))


def parabola_crossing(measured: Measured) -> Estimate:
    """Zero of a parabola through the points, the one next below the lowest bias."""
    if measured.distinct < 3:
        return unknown("V", CURVED_METHOD, f"{measured.distinct} biases are too few")
    fit, origin = fit_parabola(measured), center(measured)
    goodness = {"chi2": fit.chi2, "ndf": float(fit.ndf), "p_value": fit.p_value}
    c, b, a = fit.parameters
    zeros = np.roots([a, b, c]) if a != 0 else np.array([-c / b])
    below = np.real(zeros[np.isreal(zeros)]) + origin
    below = below[below < measured.x[0]]
    if not len(below):
        return unknown("V", CURVED_METHOD, "the parabola does not reach zero", goodness=goodness)
    zero = float(below.max())
    at = np.array([1.0, zero - origin, (zero - origin) ** 2])
    slope = b + 2 * a * (zero - origin)
    sigma = sqrt(float(at @ fit.covariance @ at)) / abs(slope) if slope else inf
    if not slope > 0 or not sigma < zero_reach(measured, zero):
        return unknown(
            "V", CURVED_METHOD, "the zero of the parabola is not determined", goodness=goodness
        )
    return Estimate(zero, sigma, "V", CURVED_METHOD, goodness)


def zero_reach(measured: Measured, zero: float) -> float:
    """Distance of the highest bias from a zero, V: an error as large says nothing."""
    return float(measured.x[-1] - zero)
