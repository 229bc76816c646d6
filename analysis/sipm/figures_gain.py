"""The figure of a gain: spectrum, model, numbered peaks, pulls and what was found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10, sqrt
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate
from analysis.sipm.gain import GainAnswer
from analysis.sipm.spectrum import Spectrum

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

PAGE_IN = (8.0, 5.6)
INK, INK2, LINE, MODEL, DARK = "#1B232B", "#5A6670", "#D9DDE1", "#1F5FA8", "#8B959E"
COLOURS = {"pass": "#2E7D4F", "flag": "#B06A00", "unknown": "#6B4FA0"}
MOST_NUMBERED = 16
LOGARITHMIC_FROM = 5000.0
LEAST_EXPECTED = 5.0
SYMBOLS = {
    "pedestal": "pedestal",
    "noise": "noise σ₀",
    "gain_spread": "gain spread σ_G",
    "light_yield": "mean light μ",
    "crosstalk": "crosstalk λ",
    "afterpulse": "afterpulse",
    "dcr": "dark count rate",
    "enf_divisor": "divisor F",
}
STYLE: Any = {
    "font.size": 8,
    "axes.edgecolor": INK2,
    "axes.labelcolor": INK,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": LINE,
    "grid.linewidth": 0.5,
    "text.color": INK,
    "xtick.color": INK2,
    "ytick.color": INK2,
    "legend.frameon": False,
}

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Drawn:
    """One spectrum to draw with its answer. off: the light-off spectrum that went with it."""

    title: str
    spectrum: Spectrum
    answer: GainAnswer
    off: Spectrum | None = None


def gain_pages(drawn: Sequence[Drawn]) -> "list[Figure]":
    """A figure for every spectrum."""
    return [gain_grid([one]) for one in drawn]


def gain_grid(drawn: Sequence[Drawn]) -> "Figure":
    """All spectra on one figure, side by side and below each other.

    Raises ValueError when there is nothing to draw.
    """
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    if not drawn:
        raise ValueError("no spectrum to draw")
    columns = ceil(sqrt(len(drawn)))
    rows = ceil(len(drawn) / columns)
    with rc_context(STYLE):
        figure = Figure((PAGE_IN[0] * columns, PAGE_IN[1] * rows), layout="constrained")
        places = figure.subfigures(rows, columns, squeeze=False).ravel()
        for place, one in zip(places, drawn, strict=False):
            _draw(place, one)
    return figure


def _draw(place: "SubFigure", drawn: Drawn) -> None:
    answer, spectrum = drawn.answer, drawn.spectrum
    model = answer.model if answer.model is not None and np.any(answer.model > 0) else None
    fitted = model is not None and "chi2" in answer.gain.goodness
    heights = [3.2, 1.0] if fitted else [1.0]
    axes = np.atleast_1d(
        place.subplots(len(heights), 1, sharex=True, gridspec_kw={"height_ratios": heights})
    )
    top = axes[0]
    top.set_title(drawn.title, loc="left", fontsize=9, fontweight="bold")
    mark = {"pass": "✓ pass", "flag": "▲ flag", "unknown": "? unknown"}[answer.verdict]
    top.set_title(mark, loc="right", fontsize=9, color=COLOURS[answer.verdict])
    low, high = _range(spectrum)
    _counts(top, drawn, model)
    if model is not None:
        _peaks(top, answer, spectrum, model)
    _box(top, answer)
    top.set_xlim(low, high)
    top.set_ylabel(f"entries per {_width(spectrum)} ADC")
    if model is not None and fitted:
        _pulls(axes[1], spectrum, model)
    axes[-1].set_xlabel("charge, ADC")


def _range(spectrum: Spectrum) -> tuple[float, float]:
    """Where the entries are, without the last 0.02 % at either end."""
    below = np.append(0.0, np.cumsum(spectrum.counts))
    if below[-1] == 0:
        return float(spectrum.edges[0]), float(spectrum.edges[-1])
    low, high = np.interp([2e-4 * below[-1], (1 - 2e-4) * below[-1]], below, spectrum.edges)
    margin = 0.06 * (high - low) + float(np.median(spectrum.widths))
    return float(low - margin), float(high + margin)


def _width(spectrum: Spectrum) -> str:
    return f"{float(np.median(spectrum.widths)):.3g}"


def _counts(axes: "Axes", drawn: Drawn, model: Array | None) -> None:
    spectrum = drawn.spectrum
    if drawn.off is not None and drawn.off.n_entries:
        scale = spectrum.n_entries / drawn.off.n_entries
        scale *= float(np.median(spectrum.widths) / np.median(drawn.off.widths))
        axes.stairs(
            drawn.off.counts * scale,
            drawn.off.edges,
            color=DARK,
            linewidth=0.8,
            linestyle=":",
            label="light off, scaled",
        )
    axes.stairs(spectrum.counts, spectrum.edges, color=INK, linewidth=0.8, label="spectrum")
    if model is not None:
        shown = np.where(model > 0, model, np.nan)
        axes.plot(spectrum.centers, shown, color=MODEL, linewidth=1.4, label="model")
    highest = float(spectrum.counts.max(initial=1.0))
    if highest > LOGARITHMIC_FROM:
        axes.set_yscale("log")
        axes.set_ylim(0.5, 30 * highest)
    else:
        axes.set_ylim(0, 1.3 * max(highest, 1.0))
    axes.legend(loc="upper left", fontsize=7)


def _peaks(axes: "Axes", answer: GainAnswer, spectrum: Spectrum, model: Array) -> None:
    """The number of photoelectrons over every peak that the model shows."""
    gain, pedestal = answer.gain.value, answer.quantities.get("pedestal")
    if gain is None or pedestal is None or pedestal.value is None:
        return
    for number in range(MOST_NUMBERED):
        position = pedestal.value + number * gain
        height = float(np.interp(position, spectrum.centers, model, left=0.0, right=0.0))
        if height < 1:
            continue
        near = np.abs(spectrum.centers - position) < 0.25 * gain
        highest = max(height, float(spectrum.counts[near].max(initial=0.0)))
        axes.plot([position] * 2, [0, height], color=MODEL, linewidth=0.5, linestyle="--")
        axes.annotate(
            f"{number}",
            (position, highest),
            xytext=(0, 2),
            textcoords="offset points",
            ha="center",
            va="bottom",
            fontsize=7,
            color=MODEL,
        )


def _box(axes: "Axes", answer: GainAnswer) -> None:
    lines = [f"gain = {written(answer.gain)}", f"({answer.gain.method})"]
    lines += [
        f"{symbol} = {written(answer.quantities[name])}"
        for name, symbol in SYMBOLS.items()
        if name in answer.quantities and answer.quantities[name].known
    ]
    lines += _goodness(answer.gain.goodness)
    if answer.verdict != "pass":
        lines += [_folded(reason) for reason in answer.reasons[:3]]
    axes.text(
        0.985,
        0.97,
        "\n".join(lines),
        transform=axes.transAxes,
        ha="right",
        va="top",
        fontsize=7,
        linespacing=1.35,
        bbox={"facecolor": "white", "edgecolor": LINE, "alpha": 0.9, "boxstyle": "round,pad=0.4"},
    )


def _goodness(goodness: Mapping[str, float]) -> list[str]:
    if "chi2" not in goodness or "ndf" not in goodness:
        return []
    text = f"χ²/ndf = {goodness['chi2']:.0f}/{goodness['ndf']:.0f}"
    return [f"{text}, p = {goodness['p_value']:.2g}" if "p_value" in goodness else text]


def _folded(text: str, width: int = 44) -> str:
    from textwrap import wrap

    return "\n".join(wrap(text, width)[:3])


def _pulls(axes: "Axes", spectrum: Spectrum, model: Array) -> None:
    """(n - m) / sqrt(m); neighbouring bins are joined until the model m expects five entries."""
    group = np.floor(np.cumsum(model) / LEAST_EXPECTED).astype(np.int64)
    expected = np.bincount(group, weights=model)
    seen = np.bincount(group, weights=spectrum.counts)
    at = np.bincount(group, weights=spectrum.centers * model) / np.where(expected > 0, expected, 1)
    good = expected > 0.6 * LEAST_EXPECTED
    pulls = (seen[good] - expected[good]) / np.sqrt(expected[good])
    axes.axhspan(-1, 1, color=MODEL, alpha=0.10, linewidth=0)
    axes.axhline(0, color=INK2, linewidth=0.6)
    axes.plot(at[good], pulls, ".", color=INK, markersize=2.5)
    reach = max(3.5, min(8.0, 1.1 * float(np.abs(pulls).max(initial=0.0))))
    axes.set_ylim(-reach, reach)
    axes.set_ylabel("pull")


def written(estimate: Estimate) -> str:
    """Value ± sigma with two digits of the error, and the unit; "unknown" without a value."""
    if estimate.value is None or estimate.sigma is None:
        return "unknown"
    unit = "" if estimate.unit == "1" else f" {estimate.unit.replace('pe', 'p.e.')}"
    if abs(estimate.value) >= 1e5:
        return f"{estimate.value:.3g} ± {estimate.sigma:.2g}{unit}"
    digits = 3 if estimate.sigma == 0 else int(np.clip(1 - floor(log10(estimate.sigma)), 0, 6))
    return f"{estimate.value:.{digits}f} ± {estimate.sigma:.{digits}f}{unit}"
