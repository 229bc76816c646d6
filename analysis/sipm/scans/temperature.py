"""Gain and breakdown voltage against temperature."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite, nan, sqrt
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans.lines import LineTests
from analysis.sipm.scans.one_temperature import LEAST_SHARE, largest_group
from analysis.sipm.scans.points import (
    Array,
    LeftOut,
    ScanPoint,
    gain_unit,
    mixed_units,
    usable,
)
from analysis.sipm.scans.slopes import slope_of

GAIN_METHOD = "straight line of gain against temperature at fixed bias"
VBD_METHOD = "straight line of the breakdown voltage against temperature"
REFERENCE_TEMPERATURE_C = 25.0
SAME_BIAS_V = 0.02

Verdict = Literal["pass", "flag", "unknown"]


@dataclass(frozen=True)
class TemperatureScan:
    """Gain against temperature at fixed bias.

    coefficient: dG/dT, ADC/pe/K. relative: dG/dT over the gain at the reference temperature, 1/K.
    gain_at_reference: ADC/pe. linear: whether all points, named outliers left out, lie on a
    straight line; where not, the coefficient is the mean over the range and its error contains
    how it changes. bias_v: mean bias of the points.
    """

    coefficient: Estimate
    relative: Estimate
    gain_at_reference: Estimate
    reference_temperature_c: float
    linear: bool
    verdict: Verdict
    bias_v: float | None = None
    tests: LineTests | None = None
    used: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the coefficient is unknown, or what to keep in mind."""
        return self.coefficient.reasons


@dataclass(frozen=True)
class VbdTemperature:
    """Breakdown voltage against temperature: a scan's result, or a device type's data.

    slope: dVbd/dT, V/K. vbd_at_reference: V. covariance: (2, 2) of (slope, vbd_at_reference);
    None when their errors are independent.
    """

    slope: Estimate
    vbd_at_reference: Estimate
    reference_temperature_c: float = REFERENCE_TEMPERATURE_C
    covariance: Array | None = None
    linear: bool = True
    verdict: Verdict = "pass"
    tests: LineTests | None = None
    used: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the slope is unknown, or what to keep in mind."""
        return self.slope.reasons


def gain_against_temperature(
    points: Sequence[ScanPoint],
    *,
    covariance: ArrayLike | None = None,
    reference_temperature_c: float = REFERENCE_TEMPERATURE_C,
) -> TemperatureScan:
    """Temperature coefficient of the gain at fixed bias.

    points: at least three different temperatures at one bias; points at another bias are left out
        by name when most are at one, otherwise the answer is unknown.
    covariance: (n, n) of all gains in the order of `points`, in place of their errors.

    Raises ValueError on a covariance that is none.
    """
    measured, left_out = usable(points, [point.temperature_c for point in points], covariance)
    bias = np.array([points[index].bias_v for index in measured.index], dtype=np.float64)
    keep = largest_group(bias, SAME_BIAS_V) | ~np.isfinite(bias)
    mean_bias = float(np.mean(bias[keep])) if np.any(keep) else None
    problem = mixed_units(points)
    if keep.sum() < LEAST_SHARE * len(keep):
        problem = problem or "the points are at different biases: fit voltage and temperature"
    else:
        left_out += tuple(
            LeftOut(int(i), f"is at {points[i].bias_v:g} V, the others are at {mean_bias:g} V")
            for i in measured.index[~keep]
        )
        measured = measured.part(keep)
    unit = gain_unit(points)
    found = problem or slope_of(measured, reference_temperature_c, "temperature")
    if isinstance(found, str):
        reasons = (found, *_named(points, left_out))
        return TemperatureScan(
            coefficient=unknown(f"{unit}/K", GAIN_METHOD, *reasons),
            relative=unknown("1/K", GAIN_METHOD, *reasons),
            gain_at_reference=unknown(unit, GAIN_METHOD, *reasons),
            reference_temperature_c=reference_temperature_c,
            linear=False,
            verdict="unknown",
            bias_v=mean_bias,
            left_out=left_out,
        )
    left_out += found.judged.named(measured)
    tests = found.judged.tests
    reasons = (*found.notes, *_named(points, left_out))
    goodness = {**tests.as_goodness(), "error_scale": found.judged.scale}
    at = Estimate(found.value, found.value_sigma, unit, GAIN_METHOD, goodness, reasons)
    by = np.array([1 / found.value, -found.slope / found.value**2])
    relative = unknown("1/K", GAIN_METHOD, "the gain at the reference temperature is not positive")
    if found.value > 0:
        sigma = sqrt(float(by @ found.covariance @ by))
        value = found.slope / found.value
        relative = Estimate(value, sigma, "1/K", GAIN_METHOD, goodness, reasons)
    wrong_bias = len(keep) > keep.sum()
    return TemperatureScan(
        coefficient=Estimate(
            found.slope, found.slope_sigma, f"{unit}/K", GAIN_METHOD, goodness, reasons
        ),
        relative=relative,
        gain_at_reference=at,
        reference_temperature_c=reference_temperature_c,
        linear=found.judged.shape in {"straight", "outliers"},
        verdict="pass" if found.judged.shape == "straight" and not wrong_bias else "flag",
        bias_v=mean_bias,
        tests=tests,
        used=tuple(int(i) for i in sorted(found.judged.measured.index)),
        left_out=left_out,
    )


def vbd_against_temperature(
    vbds: Sequence[tuple[float, Estimate]],
    *,
    shared_sigma_v: float = 0.0,
    reference_temperature_c: float = REFERENCE_TEMPERATURE_C,
) -> VbdTemperature:
    """dVbd/dT from breakdown voltages at three or more temperatures.

    vbds: pairs of temperature (C) and breakdown voltage (V), all of one definition.
    shared_sigma_v: further error that all have in common, V; it does not move the slope.

    Raises ValueError on a negative shared_sigma_v.
    """
    points = [
        ScanPoint(nan, temperature, vbd, shared_sigma=shared_sigma_v) for temperature, vbd in vbds
    ]
    temperatures = [t if isfinite(t) else None for t, _ in vbds]
    measured, left_out = usable(points, temperatures, None)
    found = slope_of(measured, reference_temperature_c, "temperature")
    if isinstance(found, str):
        reasons = (found, *_named(points, left_out))
        return VbdTemperature(
            slope=unknown("V/K", VBD_METHOD, *reasons),
            vbd_at_reference=unknown("V", VBD_METHOD, *reasons),
            reference_temperature_c=reference_temperature_c,
            linear=False,
            verdict="unknown",
            left_out=left_out,
        )
    left_out += found.judged.named(measured)
    reasons = (*found.notes, *_named(points, left_out))
    goodness = {**found.judged.tests.as_goodness(), "error_scale": found.judged.scale}
    return VbdTemperature(
        slope=Estimate(found.slope, found.slope_sigma, "V/K", VBD_METHOD, goodness, reasons),
        vbd_at_reference=Estimate(
            found.value, found.value_sigma, "V", VBD_METHOD, goodness, reasons
        ),
        reference_temperature_c=reference_temperature_c,
        covariance=found.covariance,
        linear=found.judged.shape in {"straight", "outliers"},
        verdict="pass" if found.judged.shape == "straight" else "flag",
        tests=found.judged.tests,
        used=tuple(int(i) for i in sorted(found.judged.measured.index)),
        left_out=left_out,
    )


def _named(points: Sequence[ScanPoint], left_out: Sequence[LeftOut]) -> list[str]:
    named = []
    for out in left_out:
        at = points[out.index].temperature_c
        where = f"point {out.index + 1}" if at is None else f"the point at {at:g} C"
        named.append(f"{where} {out.why}")
    return named
