"""The command `tessera iv`."""

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
    from analysis.sipm.iv import IVTable


def iv(
    files: Annotated[list[Path], typer.Argument(help="Tables of voltage and current.")],
    forward: Annotated[
        bool, typer.Option("--forward", help="Forward curves: the quench resistance.")
    ] = False,
    n_pixels: Annotated[
        int | None, typer.Option("--n-pixels", min=1, help="Pixels of the SiPM (forward).")
    ] = None,
    overvoltage: Annotated[
        float | None, typer.Option("--overvoltage", help="Volts above breakdown: dark current.")
    ] = None,
    vbd: Annotated[
        float | None, typer.Option("--vbd", help="Breakdown voltage to count from, not vbd_iv.")
    ] = None,
    voltage_column: Annotated[
        int | None, typer.Option(min=1, help="Column of the voltage, from 1.")
    ] = None,
    current_column: Annotated[
        int | None, typer.Option(min=1, help="Column of the current, from 1.")
    ] = None,
    as_json: JsonOption = False,
    plot: PlotOption = None,
) -> None:
    """Find the breakdown voltage, dark current or quench resistance in current-voltage curves."""
    from analysis.estimate import unknown
    from analysis.sipm.iv import read_iv
    from analysis.sipm.text_columns import SpectrumFileError

    if forward and n_pixels is None:
        fail("--forward needs --n-pixels, the pixels of the SiPM", Exit.WRONG_INPUT)
    if forward and (overvoltage is not None or vbd is not None):
        fail("--overvoltage and --vbd are for reverse curves", Exit.WRONG_INPUT)
    if vbd is not None and overvoltage is None:
        fail("--vbd needs --overvoltage", Exit.WRONG_INPUT)
    quantity, unit = ("quench_resistance", "ohm") if forward else ("vbd_iv", "V")
    answers: list[Answer] = []
    drawn: list[tuple[str, IVTable]] = []
    for file in files:
        try:
            tables = read_iv(file, voltage_column=voltage_column, current_column=current_column)
        except SpectrumFileError as error:
            answers.append(Answer(str(file), unknown(unit, quantity, str(error)), readable=False))
            continue
        for table in tables:
            source = str(file) if len(tables) == 1 else f"{file}:{table.name}"
            drawn.append((source, table))
            answers.append(
                _forward(source, table, n_pixels)
                if n_pixels is not None and forward
                else _reverse(source, table, overvoltage, vbd)
            )
    if plot is not None and drawn:
        save_figure(_figure(drawn, n_pixels if forward else None), plot)
    show(answers, as_json=as_json)


def _forward(source: str, table: "IVTable", n_pixels: int) -> Answer:
    from analysis.sipm.iv import quench_resistance

    found = quench_resistance(table.voltage_v, table.current_a, n_pixels, table.sigma_a)
    return Answer(source, found, {"quench_resistance": found})


def _reverse(
    source: str, table: "IVTable", overvoltage_v: float | None, vbd_v: float | None
) -> Answer:
    from analysis.sipm.iv import dark_current_at, reverse_iv

    found = reverse_iv(table.voltage_v, table.current_a, table.sigma_a)
    quantities: dict[str, Estimate] = {"vbd_iv": found.vbd_iv}
    quantities |= {f"vbd_iv_{name}": estimate for name, estimate in found.by_method.items()}
    if overvoltage_v is not None:
        quantities["dark_current"] = dark_current_at(
            table.voltage_v,
            table.current_a,
            found.vbd_iv if vbd_v is None else vbd_v,
            overvoltage_v,
            table.sigma_a,
        )
    return Answer(source, found.vbd_iv, quantities)


def _figure(drawn: "list[tuple[str, IVTable]]", n_pixels: int | None) -> "Figure":
    from analysis.sipm.figures_iv import curves_figure, forward_figure, reverse_figure
    from analysis.sipm.iv import fit_forward, reverse_iv

    source, table = drawn[0]
    if n_pixels is not None:
        fit = fit_forward(table.voltage_v, table.current_a, table.sigma_a)
        if isinstance(fit, str):
            fail(f"{source}: nothing to draw: {fit}", Exit.STOPPED)
        return forward_figure(fit, n_pixels, Path(source).name)
    found = [(Path(s).name, reverse_iv(t.voltage_v, t.current_a, t.sigma_a)) for s, t in drawn]
    if len(found) == 1:
        return reverse_figure(found[0][1], found[0][0])
    return curves_figure(found)
