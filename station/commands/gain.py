"""The command `tessera gain`."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from station.commands.answers import (
    DEFAULT_DATA,
    Answer,
    DataOption,
    Exit,
    JsonOption,
    PlotOption,
    err,
    fail,
    save_figure,
    show,
)

if TYPE_CHECKING:
    from analysis.sipm.gain import DevicePrior
    from station.gain_files import FileGain

Value = float | None
UNITS = {
    "enf_divisor": "1",
    "gain": "ADC/pe",
    "crosstalk": "1",
    "gain_spread": "ADC",
    "light_jitter": "1",
    "noise": "ADC",
    "afterpulse": "1",
}


def gain(
    files: Annotated[
        list[str], typer.Argument(help="Spectra: CSV, TXT, NPZ, charge lists, FILE.root:HIST.")
    ],
    off: Annotated[
        list[str] | None,
        typer.Option(help="Light-off spectrum; one for all files, or repeated for each."),
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option(help="Earlier output of this command with --json: same device, same bias."),
    ] = None,
    enf_divisor: Annotated[
        Value, typer.Option(help="Divisor F of this device at this bias, measured.")
    ] = None,
    enf_divisor_sigma: Annotated[Value, typer.Option(help="Error of the divisor F.")] = None,
    earlier_gain: Annotated[
        Value, typer.Option(help="Gain measured earlier, ADC/pe; only compared.")
    ] = None,
    earlier_gain_sigma: Annotated[Value, typer.Option(help="Its error.")] = None,
    crosstalk: Annotated[
        Value, typer.Option(help="Crosstalk λ measured earlier; F with spread and earlier gain.")
    ] = None,
    crosstalk_sigma: Annotated[Value, typer.Option(help="Its error.")] = None,
    afterpulse: Annotated[
        Value, typer.Option(help="Afterpulses per avalanche measured earlier, for F.")
    ] = None,
    afterpulse_sigma: Annotated[Value, typer.Option(help="Its error.")] = None,
    gain_spread: Annotated[
        Value, typer.Option(help="Gain spread of the pixels measured earlier, ADC.")
    ] = None,
    gain_spread_sigma: Annotated[Value, typer.Option(help="Its error.")] = None,
    light_jitter: Annotated[
        Value, typer.Option(help="Relative rms of the light from pulse to pulse.")
    ] = None,
    light_jitter_sigma: Annotated[Value, typer.Option(help="Its error.")] = None,
    noise: Annotated[Value, typer.Option(help="Noise of the electronics alone, ADC.")] = None,
    noise_sigma: Annotated[Value, typer.Option(help="Its error.")] = None,
    n_pixels: Annotated[int | None, typer.Option(min=1, help="Pixels of the SiPM.")] = None,
    gate_ns: Annotated[
        Value, typer.Option(help="Gate; with the pulse time: gain from dark counts alone.")
    ] = None,
    pulse_tau_ns: Annotated[Value, typer.Option(help="Decay time of the pulses.")] = None,
    bin_width: Annotated[
        float, typer.Option(help="ADC per bin, for lists of single charges.")
    ] = 1.0,
    store: Annotated[
        bool, typer.Option("--store", help="Keep the results in the records.")
    ] = False,
    part: Annotated[
        str | None, typer.Option(help="Label of the part that the spectra belong to.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    operator: Annotated[str | None, typer.Option(help="Who measured; default: login name.")] = None,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Gain of a SiPM from each spectrum, or the reason why it can't be told.

    Peaks are fitted; with a light-off spectrum and a measured divisor F, mean and dispersion gives
    the gain where there are none. Exit code 3 when a gain can't be told or is flagged, 2 when a
    file can't be read.

    Example: tessera gain scan/*.csv --store --json
    """
    from db import StoreError
    from station.gain_files import GainError, Measured, gain_of_files, store_gains
    from station.session import DATABASE

    not_stored = None
    try:
        given = {
            "enf_divisor": _given("enf-divisor", enf_divisor, enf_divisor_sigma),
            "gain": _given("earlier-gain", earlier_gain, earlier_gain_sigma),
            "crosstalk": _given("crosstalk", crosstalk, crosstalk_sigma),
            "gain_spread": _given("gain-spread", gain_spread, gain_spread_sigma),
            "light_jitter": _given("light-jitter", light_jitter, light_jitter_sigma),
            "noise": _given("noise", noise, noise_sigma),
            "afterpulse": _given("afterpulse", afterpulse, afterpulse_sigma),
        }
        measured = Measured(off or (), bin_width, gate_ns, pulse_tau_ns)
        results = gain_of_files(files, measured, _priors(files, prior, given, n_pixels))
        if store:
            store_gains(results, data, part_label=part, operator=operator)
    except (GainError, ValueError) as error:
        fail(str(error), Exit.WRONG_INPUT)
    except StoreError as error:
        not_stored = f"not stored: {error}"
    if plot is not None:
        _draw(results, plot)
    answers = [_answer(result) for result in results]
    if not as_json:
        answers = [_without_unknowns(answer) for answer in answers]
    if not_stored is not None:
        with suppress(typer.Exit):
            show(answers, as_json=as_json)
        fail(not_stored, Exit.STOPPED)
    if store:
        kept = sum(result.spectrum is not None for result in results)
        err.print(f"{kept} of {len(results)} stored in {data / DATABASE}", soft_wrap=True)
    show(answers, as_json=as_json)


def _given(name: str, value: float | None, sigma: float | None) -> "tuple[float, float] | None":
    if value is None and sigma is None:
        return None
    if value is None or sigma is None:
        fail(
            f"--{name} and --{name}-sigma, the value and its error, belong together",
            Exit.WRONG_INPUT,
        )
    return value, sigma


def _priors(
    files: Sequence[str],
    earlier: Path | None,
    given: "dict[str, tuple[float, float] | None]",
    n_pixels: int | None,
) -> "list[DevicePrior | None]":
    from analysis.estimate import Estimate
    from analysis.sipm.gain import DevicePrior
    from station.gain_files import priors_from_answers

    priors: list[DevicePrior | None] = [None] * len(files)
    if earlier is not None:
        priors = priors_from_answers(earlier, files)
    known: dict[str, Any] = {
        name: Estimate(*pair, UNITS[name], "given by the user")
        for name, pair in given.items()
        if pair is not None
    }
    if not known and n_pixels is None:
        return priors
    priors = [replace(prior or DevicePrior(), **known) for prior in priors]
    if n_pixels is not None:
        priors = [replace(prior or DevicePrior(), n_pixels=n_pixels) for prior in priors]
    return priors


def _answer(result: "FileGain") -> Answer:
    return Answer(
        result.source,
        result.answer.gain,
        result.answer.quantities,
        result.answer.verdict,
        result.spectrum is not None,
    )


def _without_unknowns(answer: Answer) -> Answer:
    return replace(answer, quantities={n: e for n, e in answer.quantities.items() if e.known})


def _draw(results: "Sequence[FileGain]", file: Path) -> None:
    """Pages of a PDF, or all spectra side by side in one picture."""
    from analysis.sipm.figures_gain import Drawn, gain_grid, gain_pages

    drawn = [
        Drawn(Path(result.source).name, result.spectrum, result.answer, result.off)
        for result in results
        if result.spectrum is not None
    ]
    if not drawn:
        return
    if file.suffix.lower() != ".pdf":
        save_figure(gain_grid(drawn), file)
        return
    from matplotlib.backends.backend_pdf import PdfPages

    try:
        with PdfPages(file) as pages:
            for page in gain_pages(drawn):
                pages.savefig(page)
    except OSError as error:
        fail(f"{file}: {error}", Exit.WRONG_INPUT)
