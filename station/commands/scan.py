"""The command `tessera scan`."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
    from matplotlib.figure import Figure

    from analysis.estimate import Estimate
    from analysis.sipm.scans import ScanPoint
    from analysis.sipm.scans.reference import By
    from station.events import Verdict
    from station.scan_files import Scan


class AgainstOption(StrEnum):
    """What the gain is plotted against."""

    BIAS = "bias"
    TEMPERATURE = "temperature"
    LIGHT = "light"
    BOTH = "both"


def scan(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Spectra whose names tell the bias (53.5V, OV_3, -20C, LED_10uA), or a table: "
            "file,bias_v,temperature_c,light,off or bias_v,gain,sigma,temperature_c,light."
        ),
    ],
    against: Annotated[
        AgainstOption | None, typer.Option(help="Default: what varies among the points.")
    ] = None,
    bias_pattern: Annotated[
        str | None,
        typer.Option(
            help="Regular expression for the names: its group is the bias, or groups named bias, "
            "overvoltage, temperature, light."
        ),
    ] = None,
    off: Annotated[
        str | None, typer.Option(help="Light-off spectrum of all points that name none.")
    ] = None,
    vbd: Annotated[
        float | None, typer.Option(help="Nominal breakdown voltage that overvoltages count from.")
    ] = None,
    vbd_slope: Annotated[
        float | None, typer.Option(help="dVbd/dT, V/K, to correct drifts within a bias scan.")
    ] = None,
    vbd_slope_sigma: Annotated[float | None, typer.Option(help="Error of dVbd/dT, V/K.")] = None,
    curvature: Annotated[
        float | None,
        typer.Option(
            help="Spread among devices of the relative quadratic term of gain against overvoltage, "
            "1/V, which the error of vbd_gain covers; 0: known to be linear. Default: 0.003."
        ),
    ] = None,
    reference: Annotated[float, typer.Option(help="Reference temperature, C.")] = 25.0,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Gain of a SiPM against bias, temperature or light: breakdown voltage and coefficients.

    The first answer is the scan's: vbd_gain (bias, both), dG/dT (temperature), gain (light); the
    others are its points. Exit code 3 when something is flagged or can't be told, 2 when an input
    can't be read.

    Example: tessera scan spectra/*V.csv --plot vbd.pdf
    """
    from analysis.estimate import Estimate
    from station.scan_files import ScanError, read_scans
    from station.scan_names import compiled

    if curvature is not None and not 0 <= curvature < inf:
        fail(f"--curvature must not be negative, not {curvature}", Exit.WRONG_INPUT)
    if (vbd_slope is None) != (vbd_slope_sigma is None):
        fail(
            "--vbd-slope and --vbd-slope-sigma belong together: give both or none", Exit.WRONG_INPUT
        )
    slope = None
    try:
        if vbd_slope is not None and vbd_slope_sigma is not None:
            slope = Estimate(vbd_slope, vbd_slope_sigma, "V/K", "given by the user")
        pattern = None if bias_pattern is None else compiled(bias_pattern)
        scans = read_scans(inputs, pattern=pattern, off=off, nominal_vbd_v=vbd)
    except (ScanError, ValueError) as error:
        fail(str(error), Exit.WRONG_INPUT)
    if plot is not None and len(scans) > 1:
        fail(f"--plot draws one scan, here are {len(scans)}", Exit.WRONG_INPUT)
    answers: list[Answer] = []
    for one in scans:
        analysed = _analyse(one, against, slope, reference, curvature)
        answers += [analysed.answer, *_of_points(one, analysed, reference)]
        if plot is not None:
            save_figure(analysed.figure(), plot)
    show(answers, as_json=as_json)


@dataclass(frozen=True)
class _Analysed:
    """A scan's answer, what corrects its gains to the reference, and how it is drawn."""

    answer: Answer
    left_out: frozenset[int]
    correction: "By | None"
    figure: "Callable[[], Figure]"


def _analyse(
    scan: "Scan",
    against: AgainstOption | None,
    vbd_slope: "Estimate | None",
    reference_c: float,
    curvature: float | None,
) -> _Analysed:
    from analysis.sipm.scans import CURVATURE_PER_V
    from station.scan_files import recognised

    points = [one.point for one in scan.points]
    spread = CURVATURE_PER_V if curvature is None else curvature
    kind = against.value if against is not None else recognised(points)
    if kind == "bias":
        return _against_bias(scan, points, vbd_slope, spread)
    if kind == "temperature":
        return _against_temperature(scan, points, reference_c)
    if kind == "light":
        return _against_light(scan, points)
    return _against_both(scan, points, reference_c, spread)


def _against_bias(
    scan: "Scan", points: "list[ScanPoint]", vbd_slope: "Estimate | None", curvature: float
) -> _Analysed:
    from analysis.sipm.figures_scans import bias_figure
    from analysis.sipm.scans import VbdTemperature, gain_against_bias

    found = gain_against_bias(points, vbd_slope=vbd_slope, curvature_per_v=curvature)
    quantities = {
        "gain_per_v": found.slope,
        "curvature": found.curvature,
        "vbd_curved": found.vbd_curved,
    }
    correction = None
    if vbd_slope is not None and found.temperature_c is not None:
        correction = VbdTemperature(vbd_slope, found.vbd_gain, found.temperature_c)
    return _Analysed(
        _answer(scan, found.vbd_gain, quantities, found.verdict),
        frozenset(out.index for out in found.left_out),
        correction,
        lambda: bias_figure(points, found, _title(scan)),
    )


def _against_temperature(scan: "Scan", points: "list[ScanPoint]", reference_c: float) -> _Analysed:
    from analysis.sipm.figures_scans import temperature_figure
    from analysis.sipm.scans import gain_against_temperature

    found = gain_against_temperature(points, reference_temperature_c=reference_c)
    quantities = {
        "gain_temperature_relative": found.relative,
        "gain_at_reference": found.gain_at_reference,
    }
    return _Analysed(
        _answer(scan, found.coefficient, quantities, found.verdict),
        frozenset(out.index for out in found.left_out),
        found.relative if found.relative.known else None,
        lambda: temperature_figure(points, found, _title(scan)),
    )


def _against_light(scan: "Scan", points: "list[ScanPoint]") -> _Analysed:
    from analysis.sipm.figures_scans import light_figure
    from analysis.sipm.scans import gain_against_light

    found = gain_against_light(points)
    quantities = {"slope": found.slope, "change_over_range": found.change}
    return _Analysed(
        _answer(scan, found.gain, quantities, found.verdict),
        frozenset(out.index for out in found.left_out),
        None,
        lambda: light_figure(points, found, _title(scan)),
    )


def _against_both(
    scan: "Scan", points: "list[ScanPoint]", reference_c: float, curvature: float
) -> _Analysed:
    from analysis.sipm.figures_scans import joint_figure
    from analysis.sipm.scans import joint_fit

    found = joint_fit(points, reference_temperature_c=reference_c, curvature_per_v=curvature)
    quantities = {name: e for name, e in found.parameters.items() if name != "vbd_gain"}
    return _Analysed(
        _answer(scan, found.vbd_gain, quantities, found.verdict),
        frozenset(out.index for out in found.left_out),
        found if found.known else None,
        lambda: joint_figure(points, found, _title(scan)),
    )


def _answer(
    scan: "Scan", headline: "Estimate", quantities: "dict[str, Estimate]", verdict: "Verdict"
) -> Answer:
    noted = replace(headline, reasons=(*headline.reasons, *scan.notes))
    return Answer(scan.source, noted, quantities, verdict)


def _of_points(scan: "Scan", analysed: _Analysed, reference_c: float) -> list[Answer]:
    """The gain of every point as measured and, where a correction is known, at the reference."""
    from analysis.sipm.scans import at_reference

    answers = []
    for index, one in enumerate(scan.points):
        point = one.point
        conditions = {
            "bias_v": point.bias_v,
            "temperature_c": point.temperature_c,
            "light": point.light,
        }
        goodness = {
            **point.gain.goodness,
            **{n: v for n, v in conditions.items() if v is not None and isfinite(v)},
        }
        quantities = {}
        if analysed.correction is not None:
            quantities["gain_at_reference"] = at_reference(
                point.gain,
                bias_v=point.bias_v,
                temperature_c=point.temperature_c,
                by=analysed.correction,
                reference_temperature_c=reference_c,
            )
        flagged = point.gain.known and index in analysed.left_out
        answers.append(
            Answer(
                one.source,
                replace(point.gain, goodness=goodness),
                quantities,
                "flag" if flagged else None,
                one.readable,
            )
        )
    return answers


def _title(scan: "Scan") -> str:
    return Path(scan.source).name
