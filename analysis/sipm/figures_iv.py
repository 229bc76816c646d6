"""Figures of current-voltage curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from analysis.estimate import Estimate
from analysis.sipm.iv.forward import ForwardFit
from analysis.sipm.iv.reverse import ReverseIV

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {
    "relative_derivative": "#1f6fb4",
    "inverse_relative_derivative": "#c8571b",
    "second_derivative": "#3f8f3f",
    "model": "#7a4fa3",
}


def reverse_figure(
    found: ReverseIV, title: str = "", dark_current: Estimate | None = None
) -> "Figure":
    """Current, relative derivative and its inverse against bias, with the breakdown voltages."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 8.0), layout="constrained")
    current, slope, inverse = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    v, i = found.curve.voltage_v, found.curve.current_a
    positive = i > 0
    current.semilogy(v[positive], i[positive], ".", color="0.25", ms=4, label="measured")
    current.set_ylabel("current [A]")
    v_mid = 0.5 * (v[1:] + v[:-1])
    if len(v) > 1:
        with np.errstate(all="ignore"):
            derivative = np.diff(np.log(np.where(positive, i, np.nan))) / np.diff(v)
            upside_down = 1.0 / np.where(derivative > 0, derivative, np.nan)
        slope.plot(v_mid, derivative, ".", color="0.25", ms=3)
        inverse.plot(v_mid, upside_down, ".", color="0.25", ms=3)
    if found.model is not None:
        _draw_model(found, current, slope, inverse)
    for name, estimate in found.by_method.items():
        if estimate.value is None or estimate.sigma is None:
            continue
        low, high = estimate.value - estimate.sigma, estimate.value + estimate.sigma
        for axes in (current, slope, inverse):
            axes.axvspan(low, high, color=COLORS[name], alpha=0.15, lw=0)
            axes.axvline(estimate.value, color=COLORS[name], lw=1)
        label = f"{name.replace('_', ' ')}: {estimate.value:.3f} ± {estimate.sigma:.3f} V"
        current.plot([], [], color=COLORS[name], label=label)
    if found.curve.limit_a is not None:
        current.axhline(found.curve.limit_a, color="0.6", ls=":", label="limit of the supply")
    if dark_current is not None and dark_current.value is not None and dark_current.value > 0:
        current.axhline(dark_current.value, color="0.4", ls="--", lw=0.8)
    current.legend(loc="upper left", fontsize="small")
    slope.set_ylabel("d ln I / dV [1/V]")
    inverse.set_ylabel("(d ln I / dV)$^{-1}$ [V]")
    inverse.set_ylim(0, _inverse_top(found))
    inverse.set_xlabel("reverse bias [V]")
    if found.model is not None:
        inverse.set_xlim(found.model.voltage_v[0] - 1.0, found.model.voltage_v[-1] + 0.5)
    heading = title if found.vbd_iv.known else f"{title}  cannot tell: {found.reasons[0]}"
    current.set_title(heading.strip(), fontsize="medium", wrap=True)
    return figure


def _draw_model(found: ReverseIV, current: "Axes", slope: "Axes", inverse: "Axes") -> None:
    model = found.model
    if model is None:
        return
    fine = np.linspace(model.voltage_v[0], model.voltage_v[-1], 600)
    smooth = model.current(fine)
    rise = np.gradient(np.log(smooth), fine)
    current.plot(fine, smooth, color=COLORS["model"], lw=1, label="model")
    slope.plot(fine, rise, color=COLORS["model"], lw=1)
    inverse.plot(fine, 1.0 / rise, color=COLORS["model"], lw=1)
    if found.power_law is not None:
        law = found.power_law
        line = np.linspace(law.zero_v, law.high_v, 50)
        inverse.plot(
            line,
            (line - law.zero_v) / law.exponent,
            color=COLORS["inverse_relative_derivative"],
            lw=1,
        )


def _inverse_top(found: ReverseIV) -> float:
    if found.power_law is None:
        return 5.0
    return 1.5 * (found.power_law.high_v - found.power_law.zero_v) / found.power_law.exponent


def forward_figure(found: ForwardFit, n_pixels: int, title: str = "") -> "Figure":
    """Forward current against voltage with the fit, and the voltage across the resistors."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 5.5), layout="constrained")
    current, ohmic = figure.subplots(2, 1, height_ratios=[2, 1])
    v, i = found.curve.voltage_v, found.curve.current_a
    current.plot(v, 1e3 * i, ".", color="0.25", ms=4, label="measured")
    fitted = i[(v >= found.from_v) & (i > 0)]
    fine = np.geomspace(fitted.min(), fitted.max(), 200)
    label = (
        f"R = {found.resistance_ohm:.4g} ± {found.sigma_ohm:.2g} Ω, "
        f"× {n_pixels} = {found.resistance_ohm * n_pixels / 1e3:.4g} kΩ"
    )
    current.plot(found.voltage(fine), 1e3 * fine, color=COLORS["relative_derivative"], label=label)
    current.set_xlabel("forward voltage [V]")
    current.set_ylabel("current [mA]")
    current.legend(loc="upper left", fontsize="small")
    current.set_title(title, fontsize="medium")
    use = i > 0.02 * i.max()
    across = v[use] - found.offset_v - found.thermal_v * np.log(i[use])
    ohmic.plot(1e3 * i[use], across, ".", color="0.25", ms=3)
    ohmic.plot(1e3 * fine, found.resistance_ohm * fine, color=COLORS["relative_derivative"])
    ohmic.set_xlabel("current [mA]")
    ohmic.set_ylabel("V - diode [V]")
    return figure


def curves_figure(curves: Sequence[tuple[str, ReverseIV]]) -> "Figure":
    """Many reverse curves on one page, and the breakdown voltages side by side."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 7.0), layout="constrained")
    current, values = figure.subplots(2, 1, height_ratios=[2, 1])
    for _, found in curves:
        positive = found.curve.current_a > 0
        color = "#1f6fb4" if found.vbd_iv.known else "#c0392b"
        current.semilogy(
            found.curve.voltage_v[positive], found.curve.current_a[positive], lw=0.8, color=color
        )
    current.set_xlabel("reverse bias [V]")
    current.set_ylabel("current [A]")
    current.set_title("red: breakdown cannot be told", fontsize="medium")
    for number, (_, found) in enumerate(curves):
        for name, estimate in found.by_method.items():
            if estimate.value is not None:
                values.errorbar(
                    [number], [estimate.value], [estimate.sigma], fmt=".", ms=4, color=COLORS[name]
                )
    for name, color in COLORS.items():
        values.plot([], [], ".", color=color, label=name.replace("_", " "))
    values.legend(fontsize="x-small", ncols=4)
    values.set_ylabel("vbd_iv [V]")
    if len(curves) <= 16:
        values.set_xticks(range(len(curves)), [name for name, _ in curves], rotation=30, fontsize=7)
    else:
        values.set_xlabel("curve")
    return figure
