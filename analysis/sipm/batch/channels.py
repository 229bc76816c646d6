"""All spectra of one channel together: breakdown voltage and one verdict."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from analysis.estimate import Estimate, unknown
from analysis.sipm.batch.population import FAR, robust_distance
from analysis.sipm.scans import BiasScan, ScanPoint, gain_against_bias

LEAST_POINTS = 3
SAME_TEMPERATURE_K = 2.0
COLUMNS = (
    *("device", "channel", "temperature_c", "verdict", "reasons", "n_spectra", "n_known"),
    *("vbd_gain", "vbd_gain_sigma", "slope", "slope_sigma", "linear"),
)


def grouped(spectra: pd.DataFrame) -> pd.DataFrame:
    """The table with `device` the same for all spectra of one channel.

    Spectra of the same folder and channel number belong together, unless two of them have the same
    bias and temperature: then the names have to tell the devices apart.
    """
    of_place = spectra[spectra["place"] != ""]
    twice = of_place.duplicated(["place", "bias_v", "temperature_c"], keep=False)
    unclear = set(of_place.loc[twice, "place"])
    together = (spectra["place"] != "") & ~spectra["place"].isin(unclear)
    return spectra.assign(device=spectra["device"].where(~together, spectra["place"]))


def channels_of(spectra: pd.DataFrame) -> pd.DataFrame:
    """A row per channel, and per temperature where spectra were taken at several, 2 K apart.

    Three biases or more give vbd_gain (V) and the slope (ADC/pe/V). The verdict is "unknown" where
    no spectrum gave a gain, "flag" where some did not, where a spectrum is flagged, and where
    vbd_gain or slope is unlike the other channels; else "pass".
    """
    columns = {name: spectra[name].tolist() for name in ("bias_v", "temperature_c", "value")}
    columns |= {name: spectra[name].tolist() for name in ("sigma", "unit", "method", "verdict")}
    columns |= {name: spectra[name].tolist() for name in ("source", "outlier", "failure")}
    columns["reasons"] = spectra["reasons"].tolist()
    channels = spectra["channel"].tolist()
    rows = []
    for device, inside in spectra.groupby("device", sort=False).indices.items():
        temperatures = np.array([columns["temperature_c"][at] for at in inside], dtype=np.float64)
        for members in _by_temperature(temperatures):
            at = [int(i) for i in inside[members]]
            rows.append(_row(str(device), channels[at[0]], at, columns))
    frame = pd.DataFrame(rows, columns=list(COLUMNS))
    frame["channel"] = frame["channel"].astype(spectra["channel"].dtype)
    for name in ("temperature_c", "vbd_gain", "vbd_gain_sigma", "slope", "slope_sigma"):
        frame[name] = frame[name].astype("float64")
    frame["linear"] = frame["linear"].astype("boolean")
    return _judged(frame)


def _by_temperature(temperatures: Any) -> list[Any]:
    """Places of the members of each group of temperatures; those without one stay together."""
    order = np.argsort(temperatures, kind="stable")
    gaps = np.diff(temperatures[order])
    cuts = (
        np.flatnonzero(
            np.isnan(gaps) & ~np.isnan(temperatures[order][:-1]) | (gaps > SAME_TEMPERATURE_K)
        )
        + 1
    )
    return [np.sort(group) for group in np.split(order, cuts)]


def _row(
    device: str, channel: Any, at: Sequence[int], columns: dict[str, list[Any]]
) -> dict[str, Any]:
    def of(name: str) -> list[Any]:
        return [columns[name][i] for i in at]

    known = [not np.isnan(value) for value in of("value")]
    reasons = []
    if not any(known):
        verdict = "unknown"
        reasons.append(_first_reason(of("reasons")))
    else:
        verdict = "pass"
        missing = [_where(columns, i) for i, good in zip(at, known, strict=True) if not good]
        if missing:
            verdict = "flag"
            reasons.append(f"no gain at {_listed(missing)}")
        for i, good in zip(at, known, strict=True):
            if good and columns["verdict"][i] != "pass":
                verdict = "flag"
                what = (
                    f"{columns['outlier'][i]} unlike the others"
                    if columns["outlier"][i]
                    else (columns["reasons"][i] or "flagged")
                )
                reasons.append(f"at {_where(columns, i)}: {what}")
    if _contradictory(of("bias_v"), of("value"), of("sigma")):
        verdict = "flag"
        reasons.append("spectra at one bias give different gains: are they of one channel?")
    scan = _scan(at, columns)
    vbd = unknown("V", "", "fewer than three biases")
    slope = vbd
    if scan is not None:
        vbd, slope = scan.vbd_gain, scan.slope
        if scan.verdict != "pass" and any(known):
            verdict = "flag" if verdict == "pass" else verdict
            reasons += [f"vbd_gain: {reason}" for reason in scan.reasons]
    temperatures = [t for t in of("temperature_c") if not np.isnan(t)]
    return {
        "device": device,
        "channel": channel,
        "temperature_c": float(np.mean(temperatures)) if temperatures else None,
        "verdict": verdict,
        "reasons": "; ".join(reasons),
        "n_spectra": len(at),
        "n_known": sum(known),
        "vbd_gain": vbd.value,
        "vbd_gain_sigma": vbd.sigma,
        "slope": slope.value,
        "slope_sigma": slope.sigma,
        "linear": None if scan is None or vbd.value is None else scan.linear,
    }


def _contradictory(
    biases: Sequence[float], values: Sequence[float], sigmas: Sequence[float]
) -> bool:
    """Whether two spectra at the same bias, or at none, differ by more than 5 sigma and 1 %."""
    places: dict[float, list[int]] = {}
    for i, (bias, value) in enumerate(zip(biases, values, strict=True)):
        if not np.isnan(value):
            places.setdefault(-1.0 if np.isnan(bias) else round(bias, 3), []).append(i)
    for same in places.values():
        low, high = (pick(same, key=lambda i: values[i]) for pick in (min, max))
        apart = values[high] - values[low]
        if apart > 5 * np.hypot(sigmas[low], sigmas[high]) and apart > 0.01 * values[high]:
            return True
    return False


def _scan(at: Sequence[int], columns: dict[str, list[Any]]) -> BiasScan | None:
    points = [
        ScanPoint(
            columns["bias_v"][i],
            None if np.isnan(columns["temperature_c"][i]) else columns["temperature_c"][i],
            Estimate(
                columns["value"][i], columns["sigma"][i], columns["unit"][i], columns["method"][i]
            ),
        )
        for i in at
        if not np.isnan(columns["bias_v"][i]) and not np.isnan(columns["value"][i])
    ]
    if len({point.bias_v for point in points}) < LEAST_POINTS:
        return None
    return gain_against_bias(points)


def _where(columns: dict[str, list[Any]], row: int) -> str:
    bias = columns["bias_v"][row]
    return columns["source"][row] if np.isnan(bias) else f"{bias:g} V"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:4])
    return shown if len(names) <= 4 else f"{shown} and {len(names) - 4} more"


def _first_reason(reasons: Sequence[str]) -> str:
    distinct = list(dict.fromkeys(reason for reason in reasons if reason))
    return " | ".join(distinct[:2]) or "no gain"


def _judged(channels: pd.DataFrame) -> pd.DataFrame:
    """Flags where vbd_gain or slope is unlike the other channels."""
    verdict, reasons = channels["verdict"].tolist(), channels["reasons"].tolist()
    temperature = channels["temperature_c"].round(0).fillna(-1000.0)
    for members in channels.groupby(temperature, sort=False).indices.values():
        rows = np.asarray(members, dtype=np.int64)
        for name, unit in (("vbd_gain", "V"), ("slope", "ADC/pe/V")):
            values = channels[name].to_numpy(dtype=np.float64)[rows]
            sigmas = channels[f"{name}_sigma"].to_numpy(dtype=np.float64)[rows]
            distance = robust_distance(values, sigmas)
            for place in np.flatnonzero(np.abs(distance) > FAR):
                row = int(rows[place])
                said = (
                    f"{name} {values[place]:.5g} {unit} lies {distance[place]:+.1f} robust sigma "
                    f"from the median {np.nanmedian(values):.5g}"
                )
                reasons[row] = "; ".join(text for text in (reasons[row], said) if text)
                verdict[row] = "flag" if verdict[row] == "pass" else verdict[row]
    return channels.assign(verdict=verdict, reasons=reasons)
