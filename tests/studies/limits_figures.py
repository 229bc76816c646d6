"""Pictures of the study of limits."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from analysis.sipm.figures_gain import INK2, LINE, STYLE
from tests.studies.limits_grade import Grade, grade
from tests.studies.limits_map import (
    AREAS_MM2,
    OVERVOLTAGE_V,
    Limits,
    dark_rate,
    fluence_at,
)
from tests.studies.limits_points import BRIGHT_PE, Axis
from tests.studies.limits_trial import METHODS, Outcome

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURS = {
    "full_fit": "#1F5FA8",
    "peak_spacing": "#59A7D8",
    "mean_dispersion": "#C8501E",
    "ratio": "#2E7D4F",
    "ratio_free": "#8DBF6A",
    "intensity_scan": "#E2A12B",
    "dark_only": "#8B5FBF",
    "chooser": "#1B232B",
}
MARKS = {
    "full_fit": "o",
    "peak_spacing": "s",
    "mean_dispersion": "^",
    "ratio": "D",
    "ratio_free": "d",
    "intensity_scan": "v",
    "dark_only": "P",
    "chooser": "x",
}
LEAST_DRAWN = 4
DPI = 120

Grades = Mapping[tuple[str, str, float], Grade]


def save(figure: Figure, path: Path) -> None:
    """A PNG with few colours, which keeps it small."""
    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    image = Image.open(buffer).convert("RGB").quantize(64)
    image.save(path, optimize=True)


def axis_figure(axis: Axis, grades: Grades) -> Figure:
    """Error, bias, coverage and share of answers of every method along one axis."""
    with rc_context(STYLE):
        figure = Figure(figsize=(7.6, 8.2), layout="constrained")
        panels = figure.subplots(4, 1, sharex=True, height_ratios=[2.2, 1.5, 1.1, 1.1])
        error, bias, inside, answers = panels
        for method, colour in COLOURS.items():
            rows = [
                (x, grades[axis.name, method, x])
                for x in axis.values
                if _has(grades, axis, method, x)
            ]
            x = np.array([r[0] for r in rows])
            g = [r[1] for r in rows]
            style = {"color": colour, "marker": MARKS[method], "markersize": 4.5, "linewidth": 1.2}
            if method == "chooser":
                style |= {"linewidth": 0.0, "markersize": 6.5, "markeredgewidth": 1.4}
            if not len(x):
                continue
            answers.plot(x, [100 * one.answered for one in g], **style)
            drawn = [i for i, one in enumerate(g) if one.known >= LEAST_DRAWN]
            if not drawn:
                continue
            x, g = x[drawn], [g[i] for i in drawn]
            error.plot(x, [100 * one.seen for one in g], label=METHODS[method], **style)
            if method != "chooser":
                error.plot(x, [100 * one.claimed for one in g], color=colour, lw=0.8, ls=":")
            wrong = [(a, one) for a, one in zip(x, g, strict=True) if one.verdict == "wrong"]
            error.plot(
                [a for a, _ in wrong],
                [100 * one.seen for _, one in wrong],
                "o", ms=11, mfc="none", mec="#C62828", mew=1.3,
            )  # fmt: skip
            bias.errorbar(
                x,
                [100 * one.bias for one in g],
                [100 * one.bias_error for one in g],
                elinewidth=0.8,
                **style,
            )
            inside.plot(x, [100 * one.coverage for one in g], **style)
        error.set_yscale("log")
        error.yaxis.set_major_formatter(lambda y, _: f"{y:g}")
        error.plot([], [], color=INK2, lw=0.8, ls=":", label="claimed σ")
        error.plot([], [], "o", ms=9, mfc="none", mec="#C62828", label="errors that do not cover")
        error.set_ylabel("error seen, % of the gain")
        bias.set_yscale("symlog", linthresh=1.0)
        bias.set_yticks([-10, -1, -0.5, 0, 0.5, 1, 10], ["-10", "-1", "", "0", "", "1", "10"])
        bias.set_ylabel("mean deviation, %")
        bias.axhline(0, color=INK2, lw=0.8)
        inside.axhline(68.3, color=INK2, lw=0.8, ls="--")
        inside.set_ylim(0, 105)
        inside.set_ylabel("within 1 σ, %")
        answers.set_ylim(-5, 105)
        answers.set_ylabel("answers, %")
        answers.set_xlabel(axis.title)
        if axis.logarithmic:
            answers.set_xscale("log")
        if axis.values[-1] < 1e6:
            shown = [x for i, x in enumerate(axis.values) if len(axis.values) < 10 or i % 2 == 1]
            answers.set_xticks(shown, [f"{x:g}" for x in shown])
        figure.legend(
            *error.get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=8
        )
        figure.supxlabel(f"reference device otherwise; {axis.others}", fontsize=7.5, color=INK2)
        return figure


def _has(grades: Grades, axis: Axis, method: str, x: float) -> bool:
    return (axis.name, method, x) in grades


def pulls_figure(outcomes: Sequence[Outcome]) -> Figure:
    """Pulls of every method in the two random ensembles, beside the unit Gaussian."""
    names = [*COLOURS, "chooser_all"]
    with rc_context(STYLE):
        figure = Figure(figsize=(8.4, 7.6), layout="constrained")
        panels = figure.subplots(3, 3, sharex=True).ravel()
        edges, curve = np.linspace(-5, 5, 21), np.linspace(-5, 5, 101)
        for panel, name in zip(panels, names, strict=True):
            lines = []
            for ensemble, colour in (("resolved", "#1F5FA8"), ("anything", "#C8501E")):
                mine = [o for o in outcomes if (o.axis, o.method) == (ensemble, name)]
                known = [o for o in mine if not isnan(o.value)]
                pull = np.array([(o.value - o.true) / max(o.sigma, 1e-12) for o in known])
                if len(pull) < LEAST_DRAWN:
                    continue
                panel.hist(
                    np.clip(pull, -4.99, 4.99),
                    edges,
                    density=True,
                    histtype="step",
                    color=colour,
                    label=ensemble,
                )
                g = grade(mine)
                lines.append(
                    f"{ensemble}: {g.answered:.0%} answered,\n  {g.coverage:.0%} within 1 σ, "
                    f"width {g.pull_width:.2f}"
                )
            panel.plot(curve, np.exp(-(curve**2) / 2) / np.sqrt(2 * np.pi), color=INK2, lw=0.8)
            panel.set_title(METHODS[name], fontsize=8)
            panel.text(
                0.02, 0.98, "\n".join(lines), transform=panel.transAxes, va="top", fontsize=6.5
            )
            panel.set_ylim(0, 1.0)
            panel.set_yticks([])
        figure.legend(*panels[2].get_legend_handles_labels(), loc="outside upper center", ncols=2)
        figure.supxlabel(
            "(gain found - true gain) / claimed σ; beyond ±5 in the last bin", fontsize=8
        )
        return figure


def map_figure(found: Limits) -> Figure:
    """Which method may be used at which fluence and temperature."""
    with rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(8.6, 4.6), layout="constrained")
        panels = figure.subplots(1, len(AREAS_MM2), sharey=True)
        for panel, area in zip(panels, AREAS_MM2, strict=True):
            _map(panel, area, found)
        panels[0].set_ylabel("temperature, °C")
        figure.supxlabel(
            f"pair: light-on and light-off run of 20 000 gates, {BRIGHT_PE:g} p.e. of light; "
            "lines: dark count rate. Published damage constants move all borders by a factor of 3.",
            fontsize=7.5,
            color=INK2,
        )
        return figure


def _map(panel: "Axes", area: float, found: Limits) -> None:
    temperature = np.linspace(-40, 30, 141)
    fluence = np.geomspace(1e8, 1e15, 281)
    per_fluence = np.array([dark_rate(1.0, area, t) for t in temperature])
    rate = per_fluence[:, None] * fluence
    bounds = (found.peaks, found.pair_good, found.pair_poor)
    region = np.searchsorted(bounds, rate)
    colours = ("#BFD8EE", "#CFE5C5", "#F7E0A8", "#DDD3EA")
    panel.contourf(fluence, temperature, region, levels=[-0.5, 0.5, 1.5, 2.5, 3.5], colors=colours)
    lines = panel.contour(
        fluence, temperature, np.log10(rate), levels=range(5, 12), colors=INK2, linewidths=0.5
    )
    panel.clabel(lines, fmt=lambda v: f"$10^{{{v:.0f}}}$ Hz", fontsize=7)
    panel.set_xscale("log")
    panel.set_xlabel("fluence, 1 MeV n$_{eq}$/cm²")
    panel.set_title(f"SiPM of {area:g} mm² at {OVERVOLTAGE_V:g} V overvoltage", fontsize=9)
    last = "not tried" if found.pair_poor >= found.tried else "cannot\ntell"
    edges = [1e8, *(fluence_at(bound, area, -5.0) for bound in bounds), 1e15]
    words = ("peaks:\nfull fit", "pair, F known:\nto 3 %", "pair:\nto\n10 %", last)
    for low, high, word in zip(edges[:-1], edges[1:], words, strict=True):
        panel.text(
            np.sqrt(low * high),
            -5.0,
            word,
            ha="center",
            va="center",
            fontsize=8.5,
            bbox={"facecolor": "white", "edgecolor": LINE, "alpha": 0.75, "pad": 2},
        )
