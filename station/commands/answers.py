"""What the analysis commands print: one answer per input, for people or as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console

from analysis.estimate import Estimate
from station.events import Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure

out = Console()
err = Console(stderr=True)


class Exit(IntEnum):
    """What a script learns from a command."""

    GOOD = 0
    STOPPED = 1
    WRONG_INPUT = 2
    NOT_ALL_GOOD = 3


DEFAULT_DATA = Path("data")
DataOption = Annotated[
    Path,
    typer.Option("--data", envvar="TESSERA_DATA", help="Folder of records, pictures and reports."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as a JSON array.")]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Draw the result into this file (png, pdf, svg).")
]


@dataclass(frozen=True)
class Answer:
    """What one input gave.

    source: the input as the user named it. readable: False when the input could not be read; the
    estimate then says why. quantities: everything else that was found, by its name.
    """

    source: str
    estimate: Estimate
    quantities: Mapping[str, Estimate] = field(default_factory=dict)
    verdict: Verdict | None = None
    readable: bool = True

    @property
    def judged(self) -> Verdict:
        """The verdict; without a judgement a known value passes."""
        if self.verdict is not None:
            return self.verdict
        return "pass" if self.estimate.known else "unknown"

    def as_data(self) -> dict[str, Any]:
        """The object that `--json` prints."""
        return {
            "source": self.source,
            **estimate_data(self.estimate),
            "verdict": self.judged,
            "goodness": dict(self.estimate.goodness),
            "quantities": {name: estimate_data(e) for name, e in self.quantities.items()},
        }


def estimate_data(estimate: Estimate) -> dict[str, Any]:
    """An estimate in JSON's types."""
    return {
        "value": estimate.value,
        "sigma": estimate.sigma,
        "unit": estimate.unit,
        "method": estimate.method,
        "reasons": list(estimate.reasons),
    }


def show(answers: Sequence[Answer], *, as_json: bool) -> None:
    """Print the answers and leave with the exit code they deserve, if it is not 0."""
    if as_json:
        print(json.dumps([answer.as_data() for answer in answers], indent=2))
    else:
        _print_table(answers)
    if any(not answer.readable for answer in answers):
        raise typer.Exit(Exit.WRONG_INPUT)
    if any(answer.judged != "pass" for answer in answers):
        raise typer.Exit(Exit.NOT_ALL_GOOD)


def shown(estimate: Estimate) -> str:
    """One estimate in words: value ± sigma with two digits of the error, or "can't tell"."""
    if estimate.value is None or estimate.sigma is None:
        return "can't tell"
    unit = "" if estimate.unit == "1" else f" {estimate.unit}"
    if not 1e-4 < abs(estimate.value) < 1e6:
        return f"{estimate.value:.4g} ± {estimate.sigma:.2g}{unit}"
    digits = 3
    if estimate.sigma > 0:
        digits = max(0, min(6, 1 - int(f"{estimate.sigma:e}".split("e")[1])))
    return f"{estimate.value:.{digits}f} ± {estimate.sigma:.{digits}f}{unit}"


def _print_table(answers: Sequence[Answer]) -> None:
    widest = max((len(Path(answer.source).name) for answer in answers), default=0)
    for answer in answers:
        name = Path(answer.source).name
        out.print(
            f"{name:<{widest}}  {shown(answer.estimate):<26}  {answer.estimate.method}",
            highlight=False,
            markup=False,
        )
        for quantity, estimate in answer.quantities.items():
            out.print(f"    {quantity:<20} {shown(estimate)}", highlight=False, markup=False)
        for reason in answer.estimate.reasons:
            out.print(f"    {reason}", style="dim", markup=False, highlight=False)


def save_figure(figure: "Figure", file: Path) -> None:
    """Write a figure; leaves with exit code 2 when the name has no known ending or no folder."""
    try:
        figure.savefig(file)
    except (OSError, ValueError) as error:
        fail(f"{file}: {error}", Exit.WRONG_INPUT)


def fail(message: str, code: Exit) -> NoReturn:
    """Say what went wrong and leave."""
    err.print(f"[bold red]error:[/] {message}", highlight=False, soft_wrap=True)
    raise typer.Exit(code)
