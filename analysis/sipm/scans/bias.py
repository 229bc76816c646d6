"""Gain against bias: the breakdown voltage of the gain, and whether it may be quoted."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, isfinite, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans.extrapolation import (
    CURVATURE_PER_V,
    Crossing,
    bend_sigma,
    curvature,
    parabola_crossing,
    zero_crossing,
)
from analysis.sipm.scans.lines import (
    LEAST_P_VALUE,
    TOO_DIFFERENT,
    Judged,
    LineTests,
    fit_parabola,
    judge,
    line_tests,
)
from analysis.sipm.scans.one_temperature import AtOneTemperature, at_one_temperature
from analysis.sipm.scans.points import (
    Array,
    LeftOut,
    Measured,
    ScanPoint,
    gain_unit,
    mixed_units,
    usable,
)

METHOD = "vbd_gain: straight line of gain against bias, extrapolated to zero"
LOCAL_METHOD = "vbd_gain: straight line of gain against bias near breakdown, extrapolated to zero"
SLOPE_METHOD = "straight line of gain against bias"
LEAST_POINTS = 3

Verdict = Literal["pass", "flag", "unknown"]


@dataclass(frozen=True)
class LocalFit:
    """A straight line through neighbouring points of a scan.

    low_v, high_v: range of bias, V. vbd_gain: its zero, V, with statistical and shared errors.
    slope: ADC/pe/V. straight: whether its points lie on it.
    """

    low_v: float
    high_v: float
    vbd_gain: Estimate
    slope: Estimate
    straight: bool


@dataclass(frozen=True)
class BiasScan:
    """What a scan of the bias tells.

    vbd_gain: bias where the gain extrapolates to zero, V. Its sigma is the quadratic sum of the
        statistical and shared errors (goodness["statistical_sigma"]) and of what a bend does to
        the extrapolation (goodness["bend_sigma"]); goodness["fieller_low"] and ["fieller_high"]
        are the ends of the 68 % interval without the bend.
    slope: dG/dV in the fitted range, ADC/pe/V.
    curvature: relative quadratic term k of G = g (V - vbd) (1 + k (V - vbd)), 1/V, of all points.
    vbd_curved: where a parabola through all points reaches zero, V.
    linear: whether all points, named outliers left out, lie on one straight line.
    tests: of a straight line through all usable points; None where there are too few.
    line_covariance: (2, 2) of (slope, vbd_gain), statistical and shared errors.
    fit_range_v: lowest and highest bias of the line that vbd_gain comes from.
    temperature_c: mean temperature of the points; None when unknown.
    used: places of the fitted points in the list given; left_out: the others that were not
        fitted for a reason of their own.
    measured: the points that were tested, outliers left out; None when unknown.
    """

    vbd_gain: Estimate
    slope: Estimate
    curvature: Estimate
    vbd_curved: Estimate
    linear: bool
    verdict: Verdict
    tests: LineTests | None = None
    line_covariance: Array | None = None
    fit_range_v: tuple[float, float] | None = None
    temperature_c: float | None = None
    used: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    measured: Measured | None = None

    @property
    def local_fits(self) -> tuple[LocalFit, ...]:
        """Lines through neighbouring points, at least three each, over the whole range."""
        return () if self.measured is None else _local_fits(self.measured, self.slope.unit)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why vbd_gain is unknown, or what to keep in mind."""
        return self.vbd_gain.reasons

    def gain_at(self, bias_v: float) -> Estimate:
        """Gain that the line gives at a bias, with the error of the line."""
        unit = self.slope.unit.removesuffix("/V")
        if self.slope.value is None or self.vbd_gain.value is None or self.line_covariance is None:
            return unknown(unit, SLOPE_METHOD, *self.reasons)
        over = bias_v - self.vbd_gain.value
        by = np.array([over, -self.slope.value])
        sigma = sqrt(max(float(by @ self.line_covariance @ by), 0.0))
        return Estimate(self.slope.value * over, sigma, unit, SLOPE_METHOD)


def gain_against_bias(
    points: Sequence[ScanPoint],
    *,
    covariance: ArrayLike | None = None,
    vbd_slope: Estimate | None = None,
    curvature_per_v: float = CURVATURE_PER_V,
) -> BiasScan:
    """Breakdown voltage vbd_gain, the bias at which the gain extrapolates to zero.

    points: at least three different biases, in any order, at one temperature. Points whose gain
        is unknown are skipped with a note.
    covariance: (n, n) of all gains in the order of `points`, in place of their errors.
    vbd_slope: dVbd/dT, V/K. With it, points at different temperatures are brought to their mean
        temperature, and its error is added; without it small drifts enlarge the error, and points
        of another temperature are left out by name or make the answer unknown.
    curvature_per_v: standard deviation expected among devices of the relative quadratic term k of
        G = g OV (1 + k OV), 1/V. An extrapolation depends on curvature far below what a test can
        see: the error of vbd_gain contains the shift of a line by the k that points and
        expectation together allow. 0 says that the device is known to be linear.

    Before vbd_gain is quoted, chi2, a quadratic term and the runs of residuals are tested. Where
    the line bends, it is fitted to the largest range from the lowest bias upward that passes the
    tests, and the largest difference to other local lines and to a parabola is added as a
    systematic error. One or two points off an otherwise straight line are named and left out;
    scatter without shape scales the errors with sqrt(chi2 / ndf). All of this flags the result.

    Unknown below three biases, without a significant slope, and where three points do not lie on
    a line. Raises ValueError on a covariance that is none and on a negative curvature_per_v.
    """
    if not (isfinite(curvature_per_v) and curvature_per_v >= 0):
        raise ValueError(f"curvature_per_v must not be negative, not {curvature_per_v}")
    measured, left_out = usable(points, [point.bias_v for point in points], covariance)
    try:
        settled = at_one_temperature(points, measured, vbd_slope)
        return _scan(points, settled, left_out + settled.left_out, curvature_per_v)
    except np.linalg.LinAlgError:
        reasons = (TOO_DIFFERENT, *_named(points, left_out))
        return _refused(f"{gain_unit(points)}/V", reasons, left_out, None)


def _scan(
    points: Sequence[ScanPoint],
    settled: AtOneTemperature,
    left_out: tuple[LeftOut, ...],
    curvature_per_v: float,
) -> BiasScan:
    unit = f"{gain_unit(points)}/V"
    n = settled.measured.distinct
    problem = mixed_units(points) or settled.problem
    if not problem and n < LEAST_POINTS:
        problem = f"{n} usable biases: a line needs {LEAST_POINTS} to be tested"
    if problem:
        reasons = (problem, *settled.notes, *_named(points, left_out))
        return _refused(unit, reasons, left_out, settled.temperature_c)
    judged = judge(_with_bias_errors(points, settled.measured))
    left_out += judged.named(settled.measured)
    notes = [*settled.notes, *_named(points, left_out)]
    chosen, shape = _fitted_range(judged)
    crossing = zero_crossing(chosen)
    if judged.shape == "bent" and judged.measured.distinct == LEAST_POINTS:
        crossing = "the three points do not lie on a line, and nothing tells which to believe"
    if isinstance(crossing, str):
        reasons = (crossing, *shape, *notes)
        return _refused(unit, reasons, left_out, settled.temperature_c, judged.tests)
    bent = curvature(judged.measured, crossing)
    if judged.shape == "bent":
        bend = _bend_from_other_fits(judged.measured, chosen, crossing)
        shape = (*shape, f"other local fits and a parabola differ by up to {bend:.2g} V")
    else:
        bend = bend_sigma(chosen, crossing, bent, curvature_per_v)
    goodness = {
        **judged.tests.as_goodness(),
        "statistical_sigma": crossing.sigma_v,
        "bend_sigma": bend,
        "fieller_low": crossing.low_v,
        "fieller_high": crossing.high_v,
        "error_scale": judged.scale,
    }
    vbd = Estimate(
        crossing.vbd_v,
        hypot(crossing.sigma_v, bend),
        "V",
        LOCAL_METHOD if judged.shape == "bent" else METHOD,
        goodness,
        (*shape, *notes),
    )
    return BiasScan(
        vbd_gain=vbd,
        slope=Estimate(crossing.slope, crossing.slope_sigma, unit, SLOPE_METHOD),
        curvature=bent,
        vbd_curved=parabola_crossing(judged.measured),
        linear=judged.shape in {"straight", "outliers"},
        verdict="pass" if judged.shape == "straight" and not settled.flagged else "flag",
        tests=judged.tests,
        line_covariance=crossing.covariance,
        fit_range_v=(float(chosen.x[0]), float(chosen.x[-1])),
        temperature_c=settled.temperature_c,
        used=tuple(int(index) for index in sorted(chosen.index)),
        left_out=left_out,
        measured=judged.measured,
    )


def _refused(
    unit: str,
    reasons: tuple[str, ...],
    left_out: tuple[LeftOut, ...],
    temperature_c: float | None,
    tests: LineTests | None = None,
) -> BiasScan:
    goodness = {} if tests is None else tests.as_goodness()
    return BiasScan(
        vbd_gain=unknown("V", METHOD, *reasons, goodness=goodness),
        slope=unknown(unit, SLOPE_METHOD, *reasons),
        curvature=unknown("1/V", SLOPE_METHOD, *reasons),
        vbd_curved=unknown("V", SLOPE_METHOD, *reasons),
        linear=False,
        verdict="unknown",
        tests=tests,
        temperature_c=temperature_c,
        left_out=left_out,
    )


def _named(points: Sequence[ScanPoint], left_out: Sequence[LeftOut]) -> list[str]:
    return [f"the point at {points[out.index].bias_v:g} V {out.why}" for out in left_out]


def _with_bias_errors(points: Sequence[ScanPoint], measured: Measured) -> Measured:
    """Errors of the bias added as errors of the gain, by the slope."""
    error = np.array([points[index].bias_sigma_v for index in measured.index])
    if not np.any(error):
        return measured
    (slope,) = np.polyfit(measured.x, measured.y, 1)[:1]
    independent = measured.independent + np.diag((slope * error) ** 2)
    return Measured(measured.x, measured.y, independent, measured.shared, measured.index)


def _fitted_range(judged: Judged) -> tuple[Measured, tuple[str, ...]]:
    """The points of the line that vbd_gain comes from, and what to say about the choice."""
    tests, measured = judged.tests, judged.measured
    misfit = f"chi2 / ndf {tests.chi2:.3g} / {tests.ndf}"
    if judged.shape == "scattered":
        return measured, (
            f"the points scatter {judged.scale:.2g} times more than their errors ({misfit}): "
            "the errors are scaled",
        )
    if judged.shape in {"straight", "outliers"}:
        return measured, ()
    misfit += f", quadratic term {tests.curvature_pull:+.1f} sigma"
    chosen = _near_breakdown(measured)
    found = f"fitted from {chosen.x[0]:g} to {chosen.x[-1]:g} V"
    if not line_tests(chosen).straight:
        found += ", where the points do not lie on a line either"
    return chosen, (f"the gain is not linear in the bias ({misfit}): {found}",)


def _near_breakdown(measured: Measured) -> Measured:
    """The most points from the lowest bias upward that lie on a line; at least three biases."""
    shortest = measured
    for stop in range(len(measured.x) - 1, LEAST_POINTS - 1, -1):
        part = measured.part(slice(stop))
        if part.distinct < LEAST_POINTS:
            break
        shortest = part
        if line_tests(part).straight:
            return part
    return shortest


def _bend_from_other_fits(measured: Measured, chosen: Measured, crossing: Crossing) -> float:
    """Largest distance, V, of other zeros from that of the chosen range.

    The others: the range moved and extended by one point, and a parabola through as many points
    from the lowest bias upward as it describes, with its error added.
    """
    n = len(chosen.x)
    zeros = [zero_crossing(measured.part(part)) for part in (slice(n + 1), slice(1, n + 1))]
    away = [abs(zero.vbd_v - crossing.vbd_v) for zero in zeros if isinstance(zero, Crossing)]
    for stop in range(len(measured.x), n, -1):
        part = measured.part(slice(stop))
        if fit_parabola(part).p_value >= LEAST_P_VALUE or stop == n + 1:
            curved = parabola_crossing(part)
            if curved.value is not None and curved.sigma is not None:
                away.append(abs(curved.value - crossing.vbd_v) + curved.sigma)
            break
    return max(away, default=0.0)


def _local_fits(measured: Measured, unit: str) -> tuple[LocalFit, ...]:
    width = max(LEAST_POINTS, len(measured.x) // 5)
    found = []
    for start in range(len(measured.x) - width + 1):
        part = measured.part(slice(start, start + width))
        if part.distinct < LEAST_POINTS:
            continue
        zero = zero_crossing(part)
        low, high = float(part.x[0]), float(part.x[-1])
        if isinstance(zero, str):
            vbd, slope = unknown("V", SLOPE_METHOD, zero), unknown(unit, SLOPE_METHOD, zero)
        else:
            vbd = Estimate(zero.vbd_v, zero.sigma_v, "V", SLOPE_METHOD)
            slope = Estimate(zero.slope, zero.slope_sigma, unit, SLOPE_METHOD)
        found.append(LocalFit(low, high, vbd, slope, line_tests(part).straight))
    return tuple(found)
