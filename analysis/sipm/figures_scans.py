"""Figures of scans: gain against bias, temperature and light, with what was fitted."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from analysis.estimate import Estimate
from analysis.sipm.scans import (
    BiasScan,
    JointFit,
    LightScan,
    LineTests,
    ScanPoint,
    TemperatureScan,
)
from analysis.sipm.scans.points import Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, GREY, LINE, ACCENT, SOFT, FLAG = (
    "#1B232B",
    "#5A6670",
    "#D9DDE1",
    "#1F5FA8",
    "#C9DCF2",
    "#B06A00",
)
MM = 1 / 25.4
Curve = Callable[[float], Estimate]


def bias_figure(points: Sequence[ScanPoint], scan: BiasScan, title: str = "") -> "Figure":
    """Gain against bias with the line down to vbd_gain, residuals in percent below.

    Open circles were not fitted. The band is the error of the line; the shaded range is the one
    that the line was fitted to where the gain bends.
    """
    figure, upper, lower = _two_panels("reverse bias (V)", title)
    _points(upper, points, scan.used, [point.bias_v for point in points])
    unit = scan.slope.unit.removesuffix("/V")
    upper.set_ylabel(f"gain ({unit})")
    if scan.vbd_gain.value is None or scan.fit_range_v is None:
        _say(upper, "vbd_gain unknown\n" + "\n".join(scan.reasons[:2]))
        _no_residuals(lower)
        return figure
    vbd, sigma = scan.vbd_gain.value, scan.vbd_gain.sigma or 0.0
    low, high = scan.fit_range_v
    top = max(point.bias_v for point in points)
    reach = top - vbd
    _curve(upper, np.linspace(low, high, 80), scan.gain_at, "-")
    _curve(upper, np.linspace(vbd, low, 80), scan.gain_at, "--")
    _curve(upper, np.linspace(high, top + 0.04 * reach, 80), scan.gain_at, "--")
    upper.errorbar([vbd], [0], xerr=[sigma], fmt="D", color=FLAG, markersize=4, capsize=3, zorder=5)
    upper.axhline(0, color=LINE, linewidth=0.8, zorder=0)
    if not scan.linear:
        for axes in (upper, lower):
            axes.axvspan(low, high, color=SOFT, alpha=0.35, linewidth=0, zorder=0)
    tests = scan.tests
    lines = [
        f"$V_\\mathrm{{bd}}^\\mathrm{{gain}}$ = {_shown(scan.vbd_gain)}",
        f"d$G$/d$V$ = {_shown(scan.slope)}",
    ]
    if tests is not None:
        lines.append(_tested(tests))
    if not scan.linear:
        lines.append(f"not linear: fitted from {low:g} to {high:g} V")
    _say(upper, "\n".join(lines))
    _residuals(lower, points, scan.used, [p.bias_v for p in points], scan.gain_at)
    upper.set_xlim(vbd - 0.06 * reach - 3 * sigma, top + 0.06 * reach)
    return figure


def temperature_figure(
    points: Sequence[ScanPoint], scan: TemperatureScan, title: str = ""
) -> "Figure":
    """Gain against temperature at one bias, residuals in percent below."""
    figure, upper, lower = _two_panels("temperature (°C)", title)
    x = [np.nan if point.temperature_c is None else point.temperature_c for point in points]
    _points(upper, points, scan.used, x)
    upper.set_ylabel(f"gain ({scan.gain_at_reference.unit})")
    slope, at = scan.coefficient, scan.gain_at_reference
    if slope.value is None or at.value is None:
        _say(upper, "coefficient unknown\n" + "\n".join(scan.reasons[:2]))
        _no_residuals(lower)
        return figure
    value, start, reference = slope.value, at.value, scan.reference_temperature_c
    sigma = at.sigma or 0.0

    def line(temperature_c: float) -> Estimate:
        return Estimate(start + value * (temperature_c - reference), sigma, at.unit, at.method)

    _curve(upper, np.linspace(np.nanmin(x), np.nanmax(x), 60), line, "-")
    text = [f"d$G$/d$T$ = {_shown(slope)}", f"relative: {_shown(scan.relative)}"]
    if scan.tests is not None:
        text.append(_tested(scan.tests))
    _say(upper, "\n".join(text), "upper right" if value < 0 else "upper left")
    _residuals(lower, points, scan.used, x, line)
    return figure


def light_figure(points: Sequence[ScanPoint], scan: LightScan, title: str = "") -> "Figure":
    """Gain against light with the gain that is quoted, residuals in percent below."""
    figure, upper, lower = _two_panels("light", title)
    x = [np.nan if point.light is None else point.light for point in points]
    _points(upper, points, scan.used, x)
    upper.set_ylabel(f"gain ({scan.gain.unit})")
    positive = np.array([light for light in x if light > 0])
    if len(positive) and positive.max() > 30 * positive.min():
        upper.set_xscale("symlog", linthresh=float(positive.min()))
    gain, slope = scan.gain, scan.slope
    if gain.value is None or slope.value is None:
        _say(upper, "gain unknown\n" + "\n".join(scan.reasons[:2]))
        _no_residuals(lower)
        return figure
    value, rise = gain.value, 0.0 if scan.constant else slope.value
    sigma = gain.sigma or 0.0

    def line(light: float) -> Estimate:
        return Estimate(value + rise * light, sigma, gain.unit, gain.method)

    _curve(upper, np.linspace(np.nanmin(x), np.nanmax(x), 200), line, "-")
    text = [f"$G$ = {_shown(gain)}", f"change over the range: {_shown(scan.change)}"]
    _say(upper, "\n".join(text), "lower left" if rise < 0 else "upper left")
    _residuals(lower, points, scan.used, x, line)
    return figure


def joint_figure(points: Sequence[ScanPoint], fit: JointFit, title: str = "") -> "Figure":
    """Gain against bias at every temperature with the joint fit, residuals in percent below."""
    from matplotlib import colormaps
    from matplotlib.colors import Normalize

    figure, upper, lower = _two_panels("reverse bias (V)", title)
    upper.set_ylabel(f"gain ({fit.unit})")
    known = sorted({round(p.temperature_c, 1) for p in points if p.temperature_c is not None})
    shade = Normalize(min(known, default=0.0) - 1, max(known, default=1.0) + 8)
    for temperature in known:
        color = colormaps["viridis"](shade(temperature))
        here = [
            index
            for index, p in enumerate(points)
            if p.temperature_c is not None and round(p.temperature_c, 1) == temperature
        ]
        some = [points[index] for index in here]
        used = [place for place, index in enumerate(here) if index in fit.used]
        x = [point.bias_v for point in some]

        def curve(bias_v: float, at: float = temperature) -> Estimate:
            return fit.gain_at(bias_v, at)

        _points(upper, some, used, x, color=color, label=f"{temperature:g} °C")
        if fit.known:
            _curve(upper, np.linspace(min(x), max(x), 60), curve, "-", color=color)
            _residuals(lower, some, used, x, curve, color=color)
    if 0 < len(known) <= 8:
        upper.legend(loc="lower right", frameon=False, fontsize=7)
    if not fit.known:
        _say(upper, "joint fit unknown\n" + "\n".join(fit.reasons[:2]))
        _no_residuals(lower)
        return figure
    text = [
        f"$V_\\mathrm{{bd}}$({fit.reference_temperature_c:g} °C) = {_shown(fit.vbd_gain)}",
        f"d$V_\\mathrm{{bd}}$/d$T$ = {_shown(fit.vbd_slope)}",
        f"$\\chi^2$/ndf = {fit.chi2:.1f}/{fit.ndf}",
    ]
    _say(upper, "\n".join(text))
    return figure


def _two_panels(x_label: str, title: str) -> "tuple[Figure, Axes, Axes]":
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(120 * MM, 105 * MM), dpi=200, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    for axes in (upper, lower):
        axes.tick_params(direction="in", top=True, right=True, labelsize=8, colors=INK)
        for spine in axes.spines.values():
            spine.set_color(GREY)
            spine.set_linewidth(0.8)
        axes.xaxis.label.set_size(9)
        axes.yaxis.label.set_size(9)
    lower.set_xlabel(x_label)
    lower.set_ylabel("residual (%)")
    if title:
        upper.set_title(title, fontsize=9, loc="left", color=GREY)
    figure.align_ylabels()
    return figure, upper, lower


def _points(
    axes: "Axes",
    points: Sequence[ScanPoint],
    used: Sequence[int],
    x: Sequence[float],
    *,
    color: Any = ACCENT,
    label: str | None = None,
) -> None:
    for index, point in enumerate(points):
        if point.gain.value is None:
            continue
        fitted = index in used
        axes.errorbar(
            [x[index]],
            [point.gain.value],
            yerr=[_error(point)],
            fmt="o",
            color=color,
            markerfacecolor=color if fitted else "white",
            markersize=4,
            linewidth=1,
            capsize=2,
            label=label if index == min(used, default=0) else None,
            zorder=4,
        )


def _curve(axes: "Axes", x: Array, curve: Curve, style: str, *, color: Any = ACCENT) -> None:
    values = [curve(float(at)) for at in x]
    middle = np.array([value.value or 0.0 for value in values])
    error = np.array([value.sigma or 0.0 for value in values])
    axes.fill_between(x, middle - error, middle + error, color=color, alpha=0.18, linewidth=0)
    axes.plot(x, middle, style, color=color, linewidth=1.2, zorder=3)


def _residuals(
    axes: "Axes",
    points: Sequence[ScanPoint],
    used: Sequence[int],
    x: Sequence[float],
    curve: Curve,
    *,
    color: Any = ACCENT,
) -> None:
    axes.axhline(0, color=GREY, linewidth=0.8, zorder=1)
    for index, point in enumerate(points):
        if point.gain.value is None or not np.isfinite(x[index]):
            continue
        expected = curve(x[index]).value
        if not expected:
            continue
        axes.errorbar(
            [x[index]],
            [100 * (point.gain.value / expected - 1)],
            yerr=[100 * _error(point) / abs(expected)],
            fmt="o",
            color=color,
            markerfacecolor=color if index in used else "white",
            markersize=3.5,
            linewidth=1,
            capsize=2,
        )


def _no_residuals(axes: "Axes") -> None:
    axes.text(0.5, 0.5, "no fit", ha="center", va="center", color=GREY, transform=axes.transAxes)


def _error(point: ScanPoint) -> float:
    return point.gain.sigma or 0.0


def _say(axes: "Axes", text: str, corner: str = "upper left") -> None:
    vertical, horizontal = corner.split()
    axes.text(
        0.97 if horizontal == "right" else 0.03,
        0.04 if vertical == "lower" else 0.96,
        text,
        ha=horizontal,
        va="bottom" if vertical == "lower" else "top",
        fontsize=8,
        linespacing=1.5,
        color=INK,
        transform=axes.transAxes,
        wrap=True,
    )


def _tested(tests: LineTests) -> str:
    return f"$\\chi^2$/ndf = {tests.chi2:.1f}/{tests.ndf}, $p$ = {tests.p_value:.2g}"


def _shown(estimate: Estimate) -> str:
    if estimate.value is None or estimate.sigma is None:
        return "unknown"
    digits = 3
    if estimate.sigma > 0:
        digits = max(0, min(6, 1 - int(f"{estimate.sigma:e}".split("e")[1])))
    unit = "" if estimate.unit == "1" else f" {estimate.unit}"
    return f"{estimate.value:.{digits}f} ± {estimate.sigma:.{digits}f}{unit}"
