"""Bringing the points of a bias scan to one temperature, or saying that they are not at one."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate
from analysis.sipm.scans.lines import fit_line
from analysis.sipm.scans.points import Array, LeftOut, Measured, ScanPoint

GROUP_GAP_K = 1.0
NAMED_DRIFT_K = 0.3
LEAST_SHARE = 0.6
LEAST_DISTINCT = 3
USUAL_VBD_SLOPE = 0.043


@dataclass(frozen=True)
class AtOneTemperature:
    """Points that may be fitted together.

    notes: what to flag. problem: why they may not; empty when they may.
    """

    measured: Measured
    temperature_c: float | None
    left_out: tuple[LeftOut, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""

    @property
    def flagged(self) -> bool:
        """Whether the temperatures ask for attention."""
        return bool(self.left_out or self.notes)


def at_one_temperature(
    points: Sequence[ScanPoint], measured: Measured, vbd_slope: Estimate | None
) -> AtOneTemperature:
    """The points at one temperature, with what its drift does as a shared error.

    With `vbd_slope` (V/K) the biases are moved to the mean temperature. Without it the largest
    group of temperatures, if it holds most points, is kept, and a drift inside it enters with
    0.043 V/K, the root mean square of what devices have (0.02 to 0.06 V/K).
    """
    temperature = np.array(
        [_number(points[index].temperature_c) for index in measured.index], dtype=np.float64
    )
    known = np.isfinite(temperature)
    if not np.any(known):
        return AtOneTemperature(measured, None)
    unknown_note = (
        ()
        if np.all(known)
        else (f"{np.sum(~known)} points without temperature are taken to be at that of the others",)
    )
    corrected = vbd_slope is not None and vbd_slope.value is not None
    group = known if corrected else largest_group(temperature, GROUP_GAP_K)
    keep = group | ~known
    groups = int(groups_of(temperature, GROUP_GAP_K).max()) + 1
    mean = float(temperature[group].mean())
    rest = measured.part(keep)
    if np.sum(group) < LEAST_SHARE * np.sum(known) or rest.distinct < LEAST_DISTINCT < groups + 2:
        return AtOneTemperature(
            measured,
            mean,
            problem=f"the points are at {groups} temperatures: fit voltage and temperature jointly",
        )
    left_out = tuple(
        LeftOut(
            int(measured.index[place]),
            f"is at {temperature[place]:.4g} C, the others are at {mean:.4g} C",
        )
        for place in np.flatnonzero(~keep)
    )
    away = np.where(known, temperature - mean, 0.0)[keep]
    notes = list(unknown_note)
    if rest.distinct >= 2 and np.any(away):
        slope = abs(float(fit_line(rest).parameters[1]))
        if vbd_slope is not None and vbd_slope.value is not None:
            rest = rest.moved(rest.x - vbd_slope.value * away)
            rest = _in_order(rest.with_error(slope * (vbd_slope.sigma or 0.0) * away))
        else:
            rest = rest.with_error(slope * USUAL_VBD_SLOPE * away)
            drift = float(np.ptp(away))
            if drift > NAMED_DRIFT_K:
                notes.append(f"the temperature differs by {drift:.2g} K between the points")
    return AtOneTemperature(rest, mean, left_out, tuple(notes))


def _number(temperature_c: float | None) -> float:
    if temperature_c is None or not isfinite(temperature_c):
        return float("nan")
    return temperature_c


def groups_of(values: Array, gap: float) -> NDArray[np.int64]:
    """Number of the group of every value, groups being more than `gap` apart; -1 for NaN."""
    label = np.full(len(values), -1)
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(values[known])]
    if len(order):
        label[order] = np.concatenate([[0], np.cumsum(np.diff(values[order]) > gap)])
    return label


def largest_group(values: Array, gap: float) -> NDArray[np.bool_]:
    """Which values belong to the largest group."""
    label = groups_of(values, gap)
    if not np.any(label >= 0):
        return np.zeros(len(values), dtype=bool)
    return np.asarray(label == np.argmax(np.bincount(label[label >= 0])))


def _in_order(measured: Measured) -> Measured:
    return measured.part(np.argsort(measured.x, kind="stable"))
