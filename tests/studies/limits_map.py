"""From dark count rate to fluence and temperature: which method may be used where."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.irradiation import Damage, induced_dark_rate
from tests.studies.limits_grade import Grade

AREAS_MM2 = (4.0, 9.0)
OVERVOLTAGE_V = 2.0
TEMPERATURES_C = (25.0, 10.0, 0.0, -10.0, -20.0, -30.0, -40.0)
GOOD_ERROR = 0.03
POOR_ERROR = 0.1

Array = NDArray[np.float64]
Grades = Mapping[tuple[str, str, float], Grade]


@dataclass(frozen=True)
class Limits:
    """Dark count rates in Hz up to which peaks tell the gain, and a pair to 3 % and to 10 %; the
    range in which dark counts alone do; and the highest rate that was tried."""

    peaks: float
    pair_good: float
    pair_poor: float
    dark_alone: tuple[float, float]
    tried: float


def limits(grades: Grades) -> Limits:
    """The limits that the study found on its axes of dark counts."""
    return Limits(
        peaks=reach(grades, "dcr", "full_fit")[1],
        pair_good=_rate_at_error(grades, GOOD_ERROR),
        pair_poor=_rate_at_error(grades, POOR_ERROR),
        dark_alone=reach(grades, "dcr", "dark_only"),
        tried=max(x for axis, _, x in grades if axis == "dcr_bright"),
    )


def reach(grades: Grades, axis: str, method: str) -> tuple[float, float]:
    """First and last x of the longest stretch of an axis on which a method works; nan if none."""
    verdicts = sorted((x, g.verdict) for (a, m, x), g in grades.items() if (a, m) == (axis, method))
    best: list[float] = []
    here: list[float] = []
    for x, verdict in verdicts:
        here = [*here, x] if verdict == "works" else []
        best = max(best, here, key=len)
    return (best[0], best[-1]) if best else (float("nan"), float("nan"))


def _rate_at_error(grades: Grades, error: float) -> float:
    """Rate at which a pair with bright light claims this error, by interpolation; the last rate
    that was tried where it claims less."""
    known = sorted(
        (x, g.claimed)
        for (axis, method, x), g in grades.items()
        if (axis, method) == ("dcr_bright", "mean_dispersion") and g.known
    )
    rate, claimed = np.log(np.array(known)).T
    above = np.flatnonzero(claimed > np.log(error))
    if not len(above):
        return float(np.exp(rate[-1]))
    end = slice(max(above[0] - 1, 0), above[0] + 1)
    return float(np.exp(np.interp(np.log(error), claimed[end], rate[end])))


def dark_rate(fluence: float, area_mm2: float, temperature_c: float) -> float:
    """Dark counts of an irradiated SiPM, Hz; fluence in 1 MeV neq/cm2."""
    rate = induced_dark_rate(
        Damage(),
        fluence,
        area_mm2=area_mm2,
        overvoltage_v=OVERVOLTAGE_V,
        temperature_c=temperature_c,
    )
    assert rate.value is not None
    return rate.value


def fluence_at(dcr_hz: float, area_mm2: float, temperature_c: float) -> float:
    """Fluence that gives this rate, 1 MeV neq/cm2; dark counts before irradiation left out."""
    return dcr_hz / dark_rate(1.0, area_mm2, temperature_c)
