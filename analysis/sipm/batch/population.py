"""Which channels are unlike the others."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

JUDGED = ("value", "noise", "gain_spread", "light_yield", "crosstalk", "pedestal")
NAMES = {"value": "gain"}
LEAST_POPULATION = 8
FAR = 5.0
MAD_TO_SIGMA = 1.4826

Array = NDArray[np.float64]


def robust_distance(values: Array, sigmas: Array) -> Array:
    """Distance from the median in units of the spread of all and the error of the one, (n,).

    values, sigmas: (n,), nan where unknown. The spread is 1.4826 times the median absolute
    deviation. nan where unknown or where fewer than eight are known.
    """
    known = np.isfinite(values)
    if np.count_nonzero(known) < LEAST_POPULATION:
        return np.full(len(values), np.nan)
    middle = np.median(values[known])
    spread = MAD_TO_SIGMA * np.median(np.abs(values[known] - middle))
    own = np.where(np.isfinite(sigmas), sigmas, 0.0)
    width = np.hypot(spread, own)
    away = values - middle
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(away == 0, 0.0, away / width)


def judge_population(spectra: pd.DataFrame) -> pd.DataFrame:
    """The table with outliers named in `outlier` and `reasons`, and flagged.

    A spectrum is compared with all others at the same bias and temperature (to 1 mV and 1 K). An
    outlier is further than five robust standard deviations from their median.
    """
    spectra = spectra.copy()
    found: dict[int, list[str]] = {}
    said: dict[int, list[str]] = {}
    bias = spectra["bias_v"].round(3).fillna(-1.0)
    temperature = spectra["temperature_c"].round(0).fillna(-1000.0)
    for members in spectra.groupby([bias, temperature], sort=False).indices.values():
        rows = np.asarray(members, dtype=np.int64)
        for quantity in JUDGED:
            sigma = "sigma" if quantity == "value" else f"{quantity}_sigma"
            values = spectra[quantity].to_numpy(dtype=np.float64)[rows]
            sigmas = spectra[sigma].to_numpy(dtype=np.float64)[rows]
            distance = robust_distance(values, sigmas)
            middle = np.nanmedian(values) if np.isfinite(values).any() else np.nan
            for at in np.flatnonzero(np.abs(distance) > FAR):
                name = NAMES.get(quantity, quantity)
                found.setdefault(int(rows[at]), []).append(name)
                said.setdefault(int(rows[at]), []).append(
                    f"{name} {values[at]:.4g} lies {distance[at]:+.1f} robust sigma "
                    f"from the median {middle:.4g} of {np.isfinite(values).sum()}"
                )
    outlier, reasons, verdict = (spectra[n].tolist() for n in ("outlier", "reasons", "verdict"))
    for row, names in found.items():
        outlier[row] = ", ".join(names)
        reasons[row] = "; ".join([text for text in (reasons[row],) if text] + said[row])
        verdict[row] = "flag" if verdict[row] == "pass" else verdict[row]
    return spectra.assign(outlier=outlier, reasons=reasons, verdict=verdict)
