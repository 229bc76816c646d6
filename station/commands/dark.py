"""The command `tessera dark`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from station.commands.answers import (
    Answer,
    Exit,
    JsonOption,
    PlotOption,
    fail,
    save_figure,
    show,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.figure import Figure

    from analysis.estimate import Estimate
    from analysis.sipm.dark_files import (
        DarkData,
        DelayTable,
        StaircaseTable,
        TimeTable,
        WaveformTable,
    )
    from analysis.sipm.spectrum import Spectrum

Kind = Literal["gates", "staircase", "delays", "times", "waveforms"]


def dark(
    files: Annotated[
        list[str], typer.Argument(help="Dark spectra, staircases, delays, times or waveforms.")
    ],
    kind: Annotated[
        Kind | None, typer.Option(help="What the files hold; recognised when absent.")
    ] = None,
    gate_ns: Annotated[
        float | None, typer.Option(min=1e-3, help="Length of the gate (gates).")
    ] = None,
    pulse_tau_ns: Annotated[
        float | None, typer.Option(min=1e-3, help="Decay time of a pulse (gates, waveforms).")
    ] = None,
    pulse_rise_ns: Annotated[
        float, typer.Option(min=0, help="Rise time of a pulse, with --pulse-tau-ns (waveforms).")
    ] = 0.0,
    dead_time_ns: Annotated[
        float | None,
        typer.Option(min=0, help="Dead time (staircase, delays, times, waveforms)."),
    ] = None,
    dt_ns: Annotated[
        float | None, typer.Option(min=1e-6, help="Time between samples (waveforms).")
    ] = None,
    gain: Annotated[
        float | None, typer.Option(help="ADC per photoelectron (gates), pulse height (waveforms).")
    ] = None,
    gain_sigma: Annotated[float | None, typer.Option(min=0, help="Error of the gain.")] = None,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Dark count rate, crosstalk and afterpulses, or the reason why they can't be told.

    Gates need --gate-ns; waveforms need --dt-ns where the file does not hold it. The value is the
    dark count rate; crosstalk, afterpulses and the rest are its quantities.

    Example: tessera dark pedestal_run.csv --gate-ns 60 --pulse-tau-ns 8 --json
    """
    from analysis.estimate import Estimate, unknown
    from analysis.sipm.dark_files import read_dark
    from analysis.sipm.text_columns import SpectrumFileError

    if (gain is None) != (gain_sigma is None):
        fail("the gain and its error belong together: give both or none", Exit.WRONG_INPUT)
    if pulse_tau_ns is not None and pulse_rise_ns >= pulse_tau_ns:
        fail("a pulse rises faster than it falls: --pulse-rise-ns", Exit.WRONG_INPUT)
    given = None
    if gain is not None and gain_sigma is not None:
        given = Estimate(gain, gain_sigma, "ADC/pe", "given by the user")
    settings = _Settings(
        gate_ns=gate_ns,
        shape_ns=None if pulse_tau_ns is None else (pulse_rise_ns, pulse_tau_ns),
        dead_time_ns=dead_time_ns,
        dt_ns=dt_ns,
        gain=given,
    )
    draw: Callable[[], Figure] | None = None
    answers: list[Answer] = []
    for file in files:
        try:
            answer, figure = _answer(file, read_dark(file, kind=kind), settings)
        except SpectrumFileError as error:
            answers.append(Answer(file, unknown("Hz", "dark", str(error)), readable=False))
            continue
        answers.append(answer)
        draw = draw or figure
    if plot is not None and draw is not None:
        save_figure(draw(), plot)
    show(answers, as_json=as_json)


@dataclass(frozen=True)
class _Settings:
    """What the user gave; shape_ns is the rise and the fall of a pulse."""

    gate_ns: float | None
    shape_ns: tuple[float, float] | None
    dead_time_ns: float | None
    dt_ns: float | None
    gain: "Estimate | None"


def _answer(
    file: str, data: "DarkData", settings: _Settings
) -> "tuple[Answer, Callable[[], Figure]]":
    from analysis.sipm.dark_files import StaircaseTable, WaveformTable
    from analysis.sipm.spectrum import Spectrum

    match data:
        case Spectrum():
            return _gates(file, data, settings)
        case StaircaseTable():
            return _staircase(file, data, settings)
        case WaveformTable():
            return _waveforms(file, data, settings)
        case _:
            return _delays(file, data, settings)


def _gates(
    file: str, spectrum: "Spectrum", settings: _Settings
) -> "tuple[Answer, Callable[[], Figure]]":
    from analysis.sipm.dark import dcr_from_gates
    from analysis.sipm.figures_dark import gates_figure

    if settings.gate_ns is None:
        fail(f"{file}: a dark spectrum needs --gate-ns", Exit.WRONG_INPUT)
    found = dcr_from_gates(
        spectrum,
        settings.gate_ns,
        pulse_tau_ns=None if settings.shape_ns is None else settings.shape_ns[1],
        gain=settings.gain,
    )
    quantities = {
        "dcr": found.dcr,
        "crosstalk": found.crosstalk,
        "afterpulse_in_gate": found.afterpulse_in_gate,
        "gain": found.gain,
        "pedestal": found.pedestal,
        "noise": found.noise,
    }
    answer = Answer(file, found.dcr, quantities)
    return answer, lambda: gates_figure(spectrum, found, Path(file).name)


def _staircase(
    file: str, table: "StaircaseTable", settings: _Settings
) -> "tuple[Answer, Callable[[], Figure]]":
    from analysis.sipm.dark import staircase
    from analysis.sipm.figures_dark import staircase_figure

    found = staircase(
        table.threshold,
        table.rate_hz,
        table.sigma_hz,
        dead_time_ns=settings.dead_time_ns or 0.0,
        unit=table.unit,
    )
    quantities = {
        "dcr": found.dcr,
        "crosstalk": found.crosstalk,
        "crosstalk_probability": found.crosstalk_probability,
        "gain": found.gain,
    }
    answer = Answer(file, found.dcr, quantities)
    return answer, lambda: staircase_figure(found, Path(file).name)


def _delays(
    file: str, table: "DelayTable | TimeTable", settings: _Settings
) -> "tuple[Answer, Callable[[], Figure]]":
    from analysis.sipm.dark_files import DelayTable
    from analysis.sipm.delays import fit_delays, fit_time_tags
    from analysis.sipm.figures_dark import delays_figure

    if isinstance(table, DelayTable):
        found = fit_delays(table.delay_ns, dead_time_ns=settings.dead_time_ns)
    else:
        found = fit_time_tags(table.time_ns, dead_time_ns=settings.dead_time_ns)
    quantities = {
        "dcr": found.dcr,
        "afterpulse": found.afterpulse,
        "afterpulse_fast": found.fast_ns,
        "afterpulse_slow": found.slow_ns,
        "pulse_rate": found.rate,
    }
    answer = Answer(file, found.dcr, quantities)
    return answer, lambda: delays_figure(found, Path(file).name)


def _waveforms(
    file: str, table: "WaveformTable", settings: _Settings
) -> "tuple[Answer, Callable[[], Figure]]":
    from analysis.sipm.figures_dark import waveforms_figure
    from analysis.sipm.waveforms import PulseShape, dark_from_waveforms

    dt_ns = settings.dt_ns or table.dt_ns
    if dt_ns is None:
        fail(f"{file}: waveforms need --dt-ns", Exit.WRONG_INPUT)
    found = dark_from_waveforms(
        table.waveforms,
        dt_ns,
        shape=None if settings.shape_ns is None else PulseShape(*settings.shape_ns),
        amplitude=settings.gain,
        dead_time_ns=settings.dead_time_ns,
    )
    quantities = {
        "dcr": found.dcr,
        "crosstalk": found.crosstalk,
        "crosstalk_probability": found.crosstalk_probability,
        "afterpulse": found.afterpulse,
        "amplitude": found.amplitude,
    }
    if found.delays is not None:
        quantities["afterpulse_fast"] = found.delays.fast_ns
        quantities["afterpulse_slow"] = found.delays.slow_ns
    answer = Answer(file, found.dcr, quantities)
    return answer, lambda: waveforms_figure(table.waveforms, dt_ns, found, Path(file).name)
