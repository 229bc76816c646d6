"""Figures of dark counts and correlated noise."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate
from analysis.sipm.dark import DarkGates
from analysis.sipm.delays import DelayFit
from analysis.sipm.spectrum import Spectrum
from analysis.sipm.staircase import Staircase
from analysis.sipm.waveforms import WaveformNoise, upright

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DATA = "0.25"
MODEL = "#1f6fb4"
SECOND = "#c8571b"


def gates_figure(dark: Spectrum, found: DarkGates, title: str = "") -> "Figure":
    """Dark spectrum with the fitted model, and what it gave."""
    figure, axes = _empty(title)
    axes.stairs(dark.counts, dark.edges, color=DATA, label="gates without light")
    if found.model.any():
        axes.plot(dark.centers, found.model, color=MODEL, lw=1.2, label="model")
    _at_zero(axes, found.pedestal, found.gain)
    axes.set_yscale("log")
    axes.set_ylim(bottom=0.5)
    axes.set_xlabel("charge [ADC]")
    axes.set_ylabel("gates per bin")
    _told(axes, (("DCR", found.dcr), ("crosstalk", found.crosstalk), ("gain", found.gain)))
    return figure


def staircase_figure(found: Staircase, title: str = "") -> "Figure":
    """Rate against threshold with the fitted steps and plateaus."""
    figure, axes = _empty(title)
    axes.errorbar(
        found.threshold, found.rate, found.sigma, fmt=".", color=DATA, ms=4, label="counted"
    )
    if found.model.any():
        axes.plot(found.threshold, found.model, color=MODEL, lw=1.2, label="model")
    if found.gain.value is not None and found.offset.value is not None:
        for k, rate in enumerate(found.plateau_hz):
            low = found.offset.value + k * found.gain.value
            axes.hlines(rate, low, low + found.gain.value, color=SECOND, lw=0.8, ls="--")
    axes.set_yscale("log")
    axes.set_xlabel(f"threshold [{found.offset.unit}]")
    axes.set_ylabel("rate [Hz]")
    _told(axes, (("DCR", found.dcr), ("crosstalk", found.crosstalk), ("step", found.gain)))
    return figure


def delays_figure(found: DelayFit, title: str = "") -> "Figure":
    """Rate of the next pulse against the time since the last, with the fitted components.

    Pulses are divided by the time in which they would have been seen, so dark counts alone are a
    level and afterpulses stand on it.
    """
    figure, axes = _empty(title)
    train = found.train
    end = train.end_ns[train.event]
    if len(end) >= 2 and end.max() > 0:
        low = max(found.dead_time_ns, float(end[end > 0].min()), 0.1)
        edges = np.geomspace(low, end.max() * 1.001, 60)
        pulses = np.histogram(end, edges)[0]
        seen = _time_seen(edges, train.wait_ns, train.end_ns)
        good = (seen > 0) & (pulses > 0)
        middle = np.sqrt(edges[1:] * edges[:-1])
        rate = 1e9 * pulses[good] / seen[good]
        error = rate / np.sqrt(pulses[good])
        axes.errorbar(middle[good], rate, error, fmt=".", color=DATA, ms=4, label="next pulse")
        if found.dcr.value is not None:
            model = np.full(len(middle), found.dcr.value)
            for mean, tau in found.components:
                part = 1e9 * mean / tau * np.exp(-middle / tau)
                model = model + part
                axes.plot(
                    middle, found.dcr.value + part, color=SECOND, lw=0.8, label=f"{tau:.3g} ns"
                )
            axes.plot(middle, model, color=MODEL, lw=1.2, label="model")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_ylim(bottom=0.3 * float(np.median(rate)))
    axes.set_xlabel("time since the last pulse [ns]")
    axes.set_ylabel("rate [Hz]")
    _told(axes, (("DCR", found.dcr), ("afterpulses", found.afterpulse), ("τ", found.fast_ns)))
    return figure


def waveforms_figure(
    waveforms: NDArray[np.float64], dt_ns: float, found: WaveformNoise, title: str = ""
) -> "Figure":
    """The record with most pulses, the heights of all, and the delay spectrum's quantities."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 7.0), layout="constrained")
    wave, height = figure.subplots(2, 1)
    waves = upright(waveforms)
    pulses = found.pulses
    row = 0
    if pulses is not None and len(pulses.record):
        row = int(np.bincount(pulses.record).argmax())
    wave.plot(dt_ns * np.arange(waves.shape[1]), waves[row], color=DATA, lw=0.8)
    wave.set_xlabel("time [ns]")
    wave.set_ylabel("signal [ADC]")
    if pulses is not None:
        level = pulses.baseline_adc[row]
        here = pulses.record == row
        wave.axhline(level, color=MODEL, lw=0.8)
        top = level + pulses.amplitude_adc[here]
        wave.plot(pulses.time_ns[here], top, "v", color=SECOND, ms=5)
        if len(pulses.amplitude_adc):
            unit = found.amplitude.value or 1.0
            height.hist(pulses.amplitude_adc / unit, bins=120, histtype="step", color=DATA)
            height.set_yscale("log")
        height.set_xlabel("height [pe]" if found.amplitude.known else "height [ADC]")
        height.set_ylabel("pulses")
    wave.set_title(title or f"record {row}")
    _told(
        height,
        (
            ("DCR", found.dcr),
            ("crosstalk", found.crosstalk),
            ("afterpulses", found.afterpulse),
            ("1 pe", found.amplitude),
        ),
    )
    return figure


def _time_seen(
    edges: NDArray[np.float64], begin: NDArray[np.float64], end: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Time that the intervals from begin to end spend in each bin, ns."""

    def until(x: NDArray[np.float64], stops: NDArray[np.float64]) -> NDArray[np.float64]:
        ordered = np.sort(stops)
        total = np.append(0.0, np.cumsum(ordered))
        below = np.searchsorted(ordered, x)
        return np.asarray(total[below] + x * (len(ordered) - below), dtype=np.float64)

    return np.asarray(np.diff(until(edges, end) - until(edges, begin)), dtype=np.float64)


def _empty(title: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _at_zero(axes: "Axes", pedestal: Estimate, gain: Estimate) -> None:
    if pedestal.value is None or gain.value is None:
        return
    for k in range(4):
        axes.axvline(pedestal.value + k * gain.value, color="0.8", lw=0.7, zorder=0)


def _told(axes: "Axes", estimates: tuple[tuple[str, Estimate], ...]) -> None:
    """The legend, with one line for every quantity."""
    for name, e in estimates:
        unit = "" if e.unit == "1" else f" {e.unit}"
        told = "unknown" if e.value is None else f"{e.value:.4g} ± {e.sigma:.2g}{unit}"
        axes.plot([], [], " ", label=f"{name}: {told}")
    axes.legend(fontsize="small", loc="upper right")
