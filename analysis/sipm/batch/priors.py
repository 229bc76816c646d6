"""What an earlier batch tells about the same devices."""

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from analysis.estimate import Estimate
from analysis.sipm.batch.journal import BatchError
from analysis.sipm.batch.labels import Channel

if TYPE_CHECKING:
    import pandas as pd

    from analysis.sipm.gain import DevicePrior

UNITS = {
    "enf_divisor": "1",
    "gain": "ADC/pe",
    "light_jitter": "1",
    "crosstalk": "1",
    "gain_spread": "ADC",
    "noise": "ADC",
    "pedestal": "ADC",
    "light_curvature": "1",
    "afterpulse": "1",
}
METHOD = "earlier batch"


def priors_of(
    spectra: "pd.DataFrame",
) -> "dict[tuple[Channel | None, float | None], DevicePrior]":
    """Priors by channel and bias (V, to 1 mV) from the `spectra` of an earlier `Summary`.

    Spectra without a gain and outliers are left out. Raises BatchError when a channel is there
    twice at one bias, or when the table is none of a batch.
    """
    import pandas as pd

    from analysis.sipm.gain import DevicePrior

    lacking = {"channel", "bias_v", "value", "sigma", "outlier"} - set(spectra.columns)
    if lacking:
        raise BatchError(f"no summary of a batch: there is no column {', '.join(sorted(lacking))}")
    names = [field.name for field in fields(DevicePrior) if field.name in UNITS]
    priors: dict[tuple[Channel | None, float | None], DevicePrior] = {}
    for row in spectra.to_dict("records"):
        outlier = row["outlier"]
        if pd.isna(row["value"]) or (isinstance(outlier, str) and outlier):
            continue
        channel = None if pd.isna(row["channel"]) else row["channel"]
        bias = None if pd.isna(row["bias_v"]) else round(float(row["bias_v"]), 3)
        if (channel, bias) in priors:
            raise BatchError(f"channel {channel} at {bias} V is there twice")
        known: dict[str, Any] = {name: _estimate(row, name) for name in names}
        priors[channel, bias] = DevicePrior(**known)
    return priors


def _estimate(row: dict[Any, Any], name: str) -> Estimate | None:
    import pandas as pd

    columns = ("value", "sigma") if name == "gain" else (name, f"{name}_sigma")
    value, sigma = (row.get(column) for column in columns)
    if value is None or sigma is None or pd.isna(value) or pd.isna(sigma):
        return None
    return Estimate(float(value), float(sigma), UNITS[name], METHOD)
