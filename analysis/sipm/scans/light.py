"""Gain against the amount of light: a gain does not know how much light there is."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans.lines import LineTests, center, fit_line, fit_linear, fit_parabola
from analysis.sipm.scans.points import (
    LeftOut,
    Measured,
    ScanPoint,
    gain_unit,
    mixed_units,
    usable,
)
from analysis.sipm.scans.slopes import Slope, slope_of

CONSTANT_METHOD = "mean of the gains at different light"
ZERO_METHOD = "gain against light, extrapolated to no light"
LEAST_P_VALUE = 3e-3
MOST_SLOPE = 3.0
FALLS = "pixels or readout saturate, or the baseline sinks with the light"
RISES = "the light varies from pulse to pulse, or the readout is not linear"

Verdict = Literal["pass", "flag", "unknown"]


@dataclass(frozen=True)
class LightScan:
    """Gain against light.

    gain: mean of all points where it is constant, otherwise its extrapolation to no light, ADC/pe.
    slope: dG per unit of light. change: relative change of the gain from the lowest to the
    highest light. constant: whether the gain does not depend on the light.
    """

    gain: Estimate
    slope: Estimate
    change: Estimate
    constant: bool
    verdict: Verdict
    tests: LineTests | None = None
    used: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the gain is unknown, or what its dependence on light may come from."""
        return self.gain.reasons


def gain_against_light(
    points: Sequence[ScanPoint], *, covariance: ArrayLike | None = None
) -> LightScan:
    """Test that the gain is the same at all light levels.

    points: with their `light`, at least three different levels.
    covariance: (n, n) of all gains in the order of `points`, in place of their errors.

    A slope of more than three sigma or a chi2 of the mean with a probability below 0.3 % flags
    the scan: falling gain is a sign of saturation, rising gain of light that varies from pulse to
    pulse (in mean and dispersion it adds B^2 times the mean charge over F) or of a readout that is
    not linear. The gain is then the extrapolation to no light, with the difference to a parabola
    as a systematic error where the points bend. Raises ValueError on a covariance that is none.
    """
    measured, left_out = usable(points, [point.light for point in points], covariance)
    unit = gain_unit(points)
    problem = mixed_units(points)
    found = problem or slope_of(measured, 0.0, "light")
    if isinstance(found, str):
        reasons = (found, *_named(points, left_out))
        return LightScan(
            gain=unknown(unit, CONSTANT_METHOD, *reasons),
            slope=unknown(f"{unit} per light", ZERO_METHOD, *reasons),
            change=unknown("1", ZERO_METHOD, *reasons),
            constant=False,
            verdict="unknown",
            left_out=left_out,
        )
    kept = found.judged.measured
    left_out += found.judged.named(measured)
    mean = fit_linear(np.ones((len(kept.x), 1)), kept)
    falls_or_rises = _differential_pull(kept)
    constant = mean.p_value >= LEAST_P_VALUE and abs(falls_or_rises) < MOST_SLOPE
    gain_value = float(mean.parameters[0])
    span = float(np.ptp(kept.x))
    change = Estimate(
        found.slope * span / gain_value,
        found.slope_sigma * span / abs(gain_value),
        "1",
        ZERO_METHOD,
    )
    notes = [*_named(points, left_out)]
    goodness = {
        **found.judged.tests.as_goodness(),
        "chi2_constant": mean.chi2,
        "ndf_constant": float(mean.ndf),
        "p_value_constant": mean.p_value,
        "slope_pull": falls_or_rises,
    }
    if constant:
        method, value, sigma = CONSTANT_METHOD, gain_value, sqrt(mean.covariance[0, 0])
        notes = [*(found.notes if found.judged.shape == "scattered" else ()), *notes]
    else:
        method, value = ZERO_METHOD, found.value
        sigma = hypot(found.value_sigma, _bend_at_zero(kept, found))
        way, cause = ("falls", FALLS) if found.slope < 0 else ("rises", RISES)
        why = f"the gain {way} with the light by {abs(change.value or 0):.2%}: {cause}"
        notes = [why, *found.notes, *notes]
    clean = constant and found.judged.shape == "straight"
    return LightScan(
        gain=Estimate(value, sigma, unit, method, goodness, tuple(notes)),
        slope=Estimate(found.slope, found.slope_sigma, f"{unit} per light", ZERO_METHOD),
        change=change,
        constant=constant,
        verdict="pass" if clean else "flag",
        tests=found.judged.tests,
        used=tuple(int(i) for i in sorted(kept.index)),
        left_out=left_out,
    )


def _differential_pull(measured: Measured) -> float:
    """Slope over its error: errors in proportion to the gain cannot make a slope."""
    only_independent = Measured(
        measured.x, measured.y, measured.independent, 0 * measured.shared, measured.index
    )
    line = fit_line(only_independent)
    return float(line.parameters[1] / sqrt(line.covariance[1, 1]))


def _bend_at_zero(measured: Measured, found: Slope) -> float:
    """What line and parabola differ by at no light."""
    if found.judged.shape != "bent":
        return 0.0
    line, curve, at = fit_line(measured), fit_parabola(measured), -center(measured)
    straight = line.parameters[0] + at * line.parameters[1]
    bent = curve.parameters[0] + at * curve.parameters[1] + at**2 * curve.parameters[2]
    return abs(float(straight - bent))


def _named(points: Sequence[ScanPoint], left_out: Sequence[LeftOut]) -> list[str]:
    named = []
    for out in left_out:
        light = points[out.index].light
        where = f"point {out.index + 1}" if light is None else f"the point at light {light:g}"
        named.append(f"{where} {out.why}")
    return named
