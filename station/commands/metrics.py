"""`tessera metrics`: how the line was, second by second."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from station.commands.answers import DEFAULT_DATA, DataOption, Exit, JsonOption, fail, out


def metrics(
    quantities: Annotated[
        list[str] | None,
        typer.Argument(help="Quantities such as bias.current_a or readout.*; default: all."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    hours: Annotated[float, typer.Option(min=0.0, help="How far back from the newest.")] = 8.0,
    csv: Annotated[Path | None, typer.Option("--csv", help="Write every value here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Temperatures, currents, positions and latencies of the line, one row for each quantity.

    Exit code 2 when nothing was recorded.

    Example: tessera metrics 'bias.*' 'readout.temperature_c.*' --hours 1 --csv trend.csv
    """
    from station.metrics import read_metrics

    frame = read_metrics(data, quantities or ("*",))
    if frame.empty:
        fail(
            f"{data} has no metrics of {', '.join(quantities or ['any quantity'])}",
            Exit.WRONG_INPUT,
        )
    newest = frame["at"].max()
    frame = frame[frame["at"] >= newest - timedelta(hours=hours)]
    if csv is not None:
        try:
            frame.to_csv(csv, index=False)
        except OSError as error:
            fail(f"{csv} can't be written: {error.strerror}", Exit.STOPPED)
    trend = frame.groupby("quantity", sort=True)["value"].agg(
        ["count", "min", "median", "max", "last"]
    )
    if as_json:
        rows = trend.reset_index().rename(columns={"count": "n"}).to_dict("records")
        print(json.dumps(rows, indent=2))
        return
    table = Table(box=None, title=f"up to {_local(newest)}")
    for heading in ("quantity", "n", "lowest", "median", "highest", "last"):
        table.add_column(heading, justify="left" if heading == "quantity" else "right")
    for row in trend.itertuples():
        numbers = (row.min, row.median, row.max, row.last)
        table.add_row(str(row.Index), str(row.count), *(f"{number:.5g}" for number in numbers))
    out.print(table)


def _local(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
