"""The tables of a batch: a row per spectrum, a row per channel."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from analysis.sipm.batch.channels import channels_of, grouped
from analysis.sipm.batch.journal import FILE, Record, read_records
from analysis.sipm.batch.population import judge_population

UNITS = {
    "pedestal": "ADC",
    "noise": "ADC",
    "gain_spread": "ADC",
    "light_yield": "pe",
    "crosstalk": "1",
    "afterpulse": "1",
    "enf_divisor": "1",
    "dcr": "Hz",
}


@dataclass(frozen=True)
class Summary:
    """What a batch found.

    spectra: a row per spectrum, in the order of the sources: source, off_source, device, channel,
        bias_v, temperature_c, value, sigma, unit, method, verdict, reasons (joined by "; "),
        outlier (names of the quantities that lie far from the other channels at this bias),
        n_entries, agreement_pull (the largest between two methods), failure, then every further
        quantity and its `_sigma`: pedestal, noise, gain_spread, light_yield, crosstalk, ...
    channels: a row per channel: device, channel, temperature_c, verdict, reasons, n_spectra,
        n_known, vbd_gain (V), vbd_gain_sigma, slope (ADC/pe/V), slope_sigma, linear.
    files: what was written.
    """

    spectra: pd.DataFrame
    channels: pd.DataFrame
    files: tuple[Path, ...]


def summarise(folder: Path, keys: Sequence[str]) -> Summary:
    """Tables and page of the records with these keys, written into the folder of the batch."""
    from analysis.sipm.batch.page import draw_population, save_page

    spectra = judge_population(grouped(table_of(read_records(folder / FILE), keys)))
    channels = channels_of(spectra)
    spectra = spectra.drop(columns=["place"])
    files = []
    for name, frame in (("summary", spectra), ("channels", channels)):
        frame.to_parquet(folder / f"{name}.parquet", index=False)
        frame.to_csv(folder / f"{name}.csv", index=False)
        files += [folder / f"{name}.parquet", folder / f"{name}.csv"]
    files += save_page(draw_population(spectra, channels), folder)
    return Summary(spectra, channels, tuple(files))


def table_of(records: Iterable[Record], keys: Sequence[str]) -> pd.DataFrame:
    """A row per key from its last record."""
    wanted = set(keys)
    rows = {record["key"]: _row(record) for record in records if record["key"] in wanted}
    frame = pd.DataFrame([rows[key] for key in keys if key in rows])
    for name in _columns(frame):
        if name not in frame:
            frame[name] = pd.Series(dtype="float64")
    frame = frame[_columns(frame)]
    channel = frame["channel"]
    if all(isinstance(value, int) or value is None for value in channel):
        frame["channel"] = channel.astype("Int64")
    else:
        frame["channel"] = [None if value is None else str(value) for value in channel]
    numbers = [n for n in frame.columns if n not in _TEXTS and n != "channel"]
    frame[numbers] = frame[numbers].astype("float64")
    return frame


_TEXTS = (
    *("source", "off_source", "device", "place", "unit", "method", "verdict", "reasons"),
    *("outlier", "failure"),
)
_FIRST = (
    *("source", "off_source", "device", "place", "channel", "bias_v", "temperature_c", "value"),
    *("sigma", "unit", "method", "verdict", "reasons", "outlier", "n_entries", "agreement_pull"),
    *("failure", "seconds"),
)


def _columns(frame: pd.DataFrame) -> list[str]:
    names = [name for quantity in UNITS for name in (quantity, f"{quantity}_sigma")]
    return [*_FIRST, *names, *(n for n in frame.columns if n not in _FIRST and n not in names)]


def _row(record: Record) -> dict[str, Any]:
    gain: Mapping[str, Any] = record["gain"]
    row = {
        name: record[name]
        for name in ("source", "off_source", "device", "place", "channel", "bias_v")
    }
    row |= {
        "temperature_c": record["temperature_c"],
        "value": gain["value"],
        "sigma": gain["sigma"],
        "unit": gain["unit"],
        "method": gain["method"],
        "verdict": record["verdict"],
        "reasons": "; ".join(gain["reasons"]),
        "outlier": "",
        "n_entries": record["n_entries"],
        "agreement_pull": max(record["agreement"].values(), key=abs, default=None),
        "failure": record["failure"],
        "seconds": record["seconds"],
    }
    for name, estimate in record["quantities"].items():
        row[name] = estimate["value"]
        row[f"{name}_sigma"] = estimate["sigma"]
    return row
