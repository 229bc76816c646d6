"""One page that shows a whole population of SiPM channels."""

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.sipm.batch.population import MAD_TO_SIGMA
from analysis.sipm.figures_gain import STYLE as FIGURE_STYLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, INK2, LINE, DATA = "#1B232B", "#5A6670", "#D9DDE1", "#1F5FA8"
COLOURS = {"pass": "#2E7D4F", "flag": "#B06A00", "fail": "#B3261E", "unknown": "#6B4FA0"}
FAR_COLOUR = "#B3261E"
A4_IN = (11.69, 8.27)
MOST_NAMED = 6
MOST_LINES = 300
MOST_REASONS = 6
SHOWN_SIGMAS = 6.0

STYLE: Any = {
    **FIGURE_STYLE,
    "font.size": 7.5,
    "axes.titlesize": 8.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "figure.constrained_layout.w_pad": 0.06,
    "figure.constrained_layout.h_pad": 0.06,
}

Array = NDArray[np.float64]


def draw_population(spectra: pd.DataFrame, channels: pd.DataFrame) -> "Figure":
    """Distributions, outliers, gain along the channels, trends with bias, verdicts and reasons.

    spectra, channels: the tables of `Summary`. The distributions are those of the bias at which
    the most gains are known; outliers are named by their channels.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=A4_IN, layout="constrained")
        figure.suptitle(_headline(spectra, channels), x=0.01, ha="left", fontsize=10.5)
        grid = figure.add_gridspec(3, 4)
        reference = _reference(spectra)
        at = "" if reference is None else f" at {reference:g} V"
        here = spectra if reference is None else spectra[_at(spectra, reference)]
        _distribution(figure.add_subplot(grid[0, 0]), here, "value", f"Gain{at}", "ADC/p.e.")
        _distribution(figure.add_subplot(grid[0, 1]), here, "noise", f"Noise{at}", "ADC")
        _distribution(figure.add_subplot(grid[0, 2]), here, "crosstalk", f"Crosstalk{at}", "λ")
        if channels["vbd_gain"].notna().any():
            axes = figure.add_subplot(grid[0, 3])
            _distribution(axes, channels, "vbd_gain", "Breakdown voltage (gain)", "V")
        else:
            axes = figure.add_subplot(grid[0, 3])
            _distribution(axes, here, "light_yield", f"Mean light{at}", "p.e.")
        _gain_along_channels(figure.add_subplot(grid[1, :3]), spectra)
        _verdicts(figure.add_subplot(grid[1, 3]), spectra, channels)
        _trend(figure.add_subplot(grid[2, 0]), spectra, "value", "Gain", "ADC/p.e.", channels)
        _trend(figure.add_subplot(grid[2, 1]), spectra, "crosstalk", "Crosstalk", "λ", None)
        _trend(figure.add_subplot(grid[2, 2]), spectra, "light_yield", "Mean light", "p.e.", None)
        _reasons(figure.add_subplot(grid[2, 3]), spectra)
    return figure


def save_page(figure: "Figure", folder: Path) -> list[Path]:
    """Write population.png and population.pdf."""
    files = [folder / "population.png", folder / "population.pdf"]
    figure.savefig(files[0], dpi=160)
    figure.set_layout_engine("none")
    figure.savefig(files[1])
    return files


def _headline(spectra: pd.DataFrame, channels: pd.DataFrame) -> str:
    biases = spectra["bias_v"].dropna()
    parts = [
        f"{channels['device'].nunique()} SiPM channels",
        f"{len(spectra)} spectra",
    ]
    if len(biases):
        low, high = biases.min(), biases.max()
        parts.append(f"{low:g} V" if low == high else f"{low:g} to {high:g} V")
    temperatures = spectra["temperature_c"].dropna()
    if len(temperatures):
        low, high = temperatures.min(), temperatures.max()
        parts.append(f"{low:.1f} °C" if high - low < 0.05 else f"{low:.1f} to {high:.1f} °C")
    return "   ·   ".join(parts)


def _reference(spectra: pd.DataFrame) -> float | None:
    """The bias at which the most gains are known, the middle one of several."""
    known = spectra.loc[spectra["value"].notna(), "bias_v"].dropna().round(3)
    if not len(known):
        return None
    counts = known.value_counts()
    best = sorted(counts.index[counts >= 0.98 * counts.max()])
    return float(best[len(best) // 2])


def _at(spectra: pd.DataFrame, bias_v: float) -> "pd.Series[bool]":
    return (spectra["bias_v"] - bias_v).abs() < 1e-3


def _name(row: Any) -> str:
    if not pd.isna(row.channel):
        return f"ch {row.channel}"
    return str(getattr(row, "device", ""))[-14:]


def _distribution(axes: "Axes", frame: pd.DataFrame, name: str, title: str, unit: str) -> None:
    axes.set_title(title)
    axes.set_xlabel(unit)
    axes.set_ylabel("channels")
    values = frame[name].to_numpy(dtype=np.float64)
    known = values[np.isfinite(values)]
    if not len(known):
        _say(axes, "nothing known")
        return
    middle = float(np.median(known))
    spread = MAD_TO_SIGMA * float(np.median(np.abs(known - middle)))
    least = max(1e-6 * abs(middle), 1e-9)
    reach = SHOWN_SIGMAS * spread if spread > least else max(abs(middle) * 0.05, 1e-3)
    low, high = max(known.min(), middle - reach), min(known.max(), middle + reach)
    if high - low < least:
        low, high = middle - 0.5 * reach, middle + 0.5 * reach
    bins = int(np.clip(2 * np.sqrt(len(known)), 8, 50))
    counts, edges = np.histogram(known, bins=bins, range=(low, high))
    axes.stairs(counts, edges, fill=True, color=DATA, alpha=0.25)
    axes.stairs(counts, edges, color=DATA, linewidth=1.0)
    axes.axvline(middle, color=INK, linewidth=0.8, linestyle="--")
    axes.set_ylim(0, counts.max() * 1.45)
    beyond = frame[(frame[name] < low) | (frame[name] > high)]
    relative = f" ({spread / abs(middle):.1%})" if middle and unit != "V" else ""
    digits = int(np.clip(1 - np.floor(np.log10(max(spread, least))), 0, 6))
    text = (
        f"median {middle:.{digits}f}\nrobust σ {spread:.2g}{relative}\n{len(known)} of {len(frame)}"
    )
    axes.text(0.98, 0.97, text, transform=axes.transAxes, ha="right", va="top", fontsize=6.8)
    for side, rows in (("low", beyond[beyond[name] < low]), ("high", beyond[beyond[name] > high])):
        if len(rows):
            _outside(axes, rows, name, side)


def _outside(axes: "Axes", rows: pd.DataFrame, name: str, side: str) -> None:
    """Names of the channels that lie beyond the shown range, at that side."""
    rows = rows.reindex(rows[name].sort_values(ascending=side == "low").index)
    named = [f"{_name(row)}: {getattr(row, name):.3g}" for row in rows.head(3).itertuples()]
    more = f"\n+{len(rows) - 3}" if len(rows) > 3 else ""
    where, align = (0.02, "left") if side == "low" else (0.98, "right")
    arrow = "◀ " if side == "low" else ""
    text = arrow + "\n".join(named) + more + (" ▶" if side == "high" else "")
    height = 0.97 if side == "low" else 0.60
    axes.text(
        where,
        height,
        text,
        transform=axes.transAxes,
        ha=align,
        va="top",
        fontsize=6,
        color=FAR_COLOUR,
    )


def _gain_along_channels(axes: "Axes", spectra: pd.DataFrame) -> None:
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    axes.set_title("Gain along the channels")
    axes.set_ylabel("gain, ADC/p.e.")
    numbers = pd.api.types.is_integer_dtype(spectra["channel"]) and spectra["channel"].notna().all()
    place = spectra["channel"] if numbers and _one_device_each(spectra) else None
    if place is None:
        place = pd.Series(pd.factorize(spectra["device"])[0], index=spectra.index)
        axes.set_xlabel("channel, in the order of the sources")
    else:
        axes.set_xlabel("channel")
    x = place.to_numpy(dtype=np.float64)
    known = spectra["value"].notna().to_numpy()
    if not known.any():
        _say(axes, "no gain is known")
        return
    bias = spectra["bias_v"].to_numpy(dtype=np.float64)
    y, sigma = (spectra[name].to_numpy(dtype=np.float64) for name in ("value", "sigma"))
    size = float(np.clip(4000 / max(known.sum(), 1), 1.5, 14))
    colour: Any = DATA
    if np.isfinite(bias).any() and np.nanmin(bias) < np.nanmax(bias):
        norm = Normalize(np.nanmin(bias), np.nanmax(bias))
        colour = colormaps["viridis"](0.92 * norm(np.nan_to_num(bias, nan=np.nanmin(bias))))[known]
        for value in np.unique(bias[known & np.isfinite(bias)])[:12]:
            shade = colormaps["viridis"](0.92 * norm(value))
            axes.plot([], [], "o", markersize=3, color=shade, label=f"{value:g} V")
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=6.5, handletextpad=0.2)
    if known.sum() <= 600:
        axes.errorbar(x[known], y[known], sigma[known], fmt="none", ecolor=LINE, zorder=1)
    axes.scatter(x[known], y[known], s=size, c=colour, linewidths=0, zorder=2)
    far = known & spectra["outlier"].str.contains("gain(?!_)", regex=True).to_numpy()
    axes.scatter(x[far], y[far], s=22, facecolors="none", edgecolors=FAR_COLOUR, linewidths=0.8)
    first = spectra[far].drop_duplicates("device").head(MOST_NAMED)
    for row in first.itertuples():
        at = spectra.index.get_loc(row.Index)
        axes.annotate(
            _name(row),
            (x[at], y[at]),
            xytext=(4, 3),
            textcoords="offset points",
            fontsize=6.2,
            color=FAR_COLOUR,
        )
    shown = y[known]
    low, high = np.percentile(shown, [0.5, 99.5])
    margin = 0.15 * (high - low) + 0.02 * abs(high)
    bottom, top = max(low - margin, shown.min() - margin), min(high + margin, shown.max() + margin)
    axes.set_ylim(bottom, top)
    hidden = int(np.count_nonzero((shown < bottom) | (shown > top)))
    if hidden:
        axes.set_title(f"Gain along the channels ({hidden} beyond the frame)")


def _one_device_each(spectra: pd.DataFrame) -> bool:
    return bool((spectra.groupby("channel")["device"].nunique() == 1).all())


def _trend(
    axes: "Axes",
    spectra: pd.DataFrame,
    name: str,
    title: str,
    unit: str,
    channels: pd.DataFrame | None,
) -> None:
    """Every channel against bias, with the median and the central 68 % and 95 % of all."""
    from matplotlib.collections import LineCollection

    axes.set_title(f"{title} against bias")
    axes.set_xlabel("bias, V")
    axes.set_ylabel(unit)
    known = spectra[spectra[name].notna() & spectra["bias_v"].notna()]
    if known["bias_v"].nunique() < 2:
        _say(axes, "fewer than two biases")
        return
    devices = known["device"].unique()
    drawn = known[known["device"].isin(devices[:: 1 + len(devices) // MOST_LINES])]
    lines = [
        line[["bias_v", name]].to_numpy(dtype=np.float64)
        for _, line in drawn.sort_values("bias_v").groupby("device", sort=False)
    ]
    axes.add_collection(LineCollection(lines, colors=INK2, alpha=0.15, linewidths=0.5))
    grouped = known.groupby(known["bias_v"].round(3))[name]
    bands = pd.DataFrame({q: grouped.quantile(q) for q in (0.025, 0.16, 0.5, 0.84, 0.975)})
    x = bands.index.to_numpy(dtype=np.float64)
    for low, high, alpha in ((0.025, 0.975, 0.15), (0.16, 0.84, 0.25)):
        axes.fill_between(x, bands[low], bands[high], color=DATA, alpha=alpha, linewidth=0)
    axes.plot(x, bands[0.5], "o-", color=DATA, markersize=3.5, linewidth=1.2, label="median")
    spread = bands[0.975].max() - bands[0.025].min()
    spread = spread if spread > 0 else max(abs(bands[0.5].iloc[0]), 1e-3)
    axes.set_ylim(bands[0.025].min() - 0.15 * spread, bands[0.975].max() + 0.15 * spread)
    vbd = None if channels is None else channels["vbd_gain"].median()
    if vbd is not None and np.isfinite(vbd):
        axes.plot([vbd, x[0]], [0, bands[0.5].iloc[0]], "--", color=DATA, linewidth=0.9)
        axes.plot([vbd], [0], "|", color=INK, markersize=9)
        axes.annotate(
            f"vbd_gain {vbd:.2f} V",
            (vbd, 0),
            xytext=(5, 2),
            textcoords="offset points",
            fontsize=6.8,
        )
        axes.set_ylim(bottom=0)
    axes.legend(loc="upper left", fontsize=6.5)


def _verdicts(axes: "Axes", spectra: pd.DataFrame, channels: pd.DataFrame) -> None:
    axes.set_title("Verdicts")
    axes.grid(visible=False)
    names = ("pass", "flag", "unknown")
    for row, frame in enumerate((channels, spectra)):
        counts = frame["verdict"].value_counts()
        left = 0.0
        for name in names:
            share = counts.get(name, 0) / max(len(frame), 1)
            axes.barh(row, share, left=left, color=COLOURS[name], height=0.55)
            if share > 0.12:
                axes.text(
                    left + share / 2,
                    row,
                    f"{name}\n{counts.get(name, 0)}",
                    ha="center",
                    va="center",
                    color="white",
                    fontsize=6.8,
                )
            left += share
        small = [
            f"{n} {counts.get(n, 0)}" for n in names if 0 < counts.get(n, 0) <= 0.12 * len(frame)
        ]
        axes.text(1.0, row + 0.42, ", ".join(small), ha="right", fontsize=6.8, color=INK2)
    axes.set_yticks([0, 1], ["channels", "spectra"])
    axes.set_ylim(1.75, -0.55)
    axes.set_xlim(0, 1)
    axes.set_xticks([])
    for side in ("left", "bottom"):
        axes.spines[side].set_visible(False)
    names_of_outliers = [
        _name(row)
        for row in spectra[spectra["outlier"] != ""].drop_duplicates("device").itertuples()
    ]
    if names_of_outliers:
        shown = ", ".join(names_of_outliers[:10])
        more = f" +{len(names_of_outliers) - 10}" if len(names_of_outliers) > 10 else ""
        axes.text(
            0.0,
            1.7,
            f"unlike the others: {shown}{more}",
            color=FAR_COLOUR,
            fontsize=6.5,
            wrap=True,
            va="bottom",
        )


def _reasons(axes: "Axes", spectra: pd.DataFrame) -> None:
    axes.set_title("Why unknown")
    axes.grid(visible=False)
    lost = spectra[spectra["verdict"] == "unknown"]
    counts = Counter(_in_general(reason) for reason in lost["reasons"])
    axes.set_axis_off()
    if not counts:
        _say(axes, "every gain is known")
        return
    top = counts.most_common(MOST_REASONS)
    most = top[0][1]
    for row, (reason, count) in enumerate(top):
        axes.barh(row, count / most, height=0.3, color=COLOURS["unknown"], alpha=0.85)
        axes.text(0.0, row - 0.22, f"{count} × {reason}", fontsize=6.3, va="bottom")
    axes.set_xlim(0, 1.6)
    axes.set_ylim(MOST_REASONS - 0.3, -0.8)
    rest = sum(counts.values()) - sum(count for _, count in top)
    if rest:
        axes.text(0.0, len(top) - 0.2, f"and {rest} for other reasons", fontsize=6.3, color=INK2)


def _in_general(reasons: str) -> str:
    """The first reason without file names and numbers, so that the same ones can be counted."""
    first = reasons.split("; ", maxsplit=1)[0]
    first = re.sub(r"^(?:\S*[/\\])?\S+\.\w+(?:, line \d+)?(?:, [^:]{1,40})?: ", "", first)
    first = re.sub(r"'[^']*'", "…", first)
    first = re.sub(r"[-+]?\d+(?:\.\d+)?(?:e[-+]?\d+)?", "#", first)
    return first if len(first) <= 52 else first[:50] + " …"


def _say(axes: "Axes", text: str) -> None:
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=INK2)
