"""The command `tessera batch`."""

import json
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from station.commands.answers import Answer, Exit, JsonOption, err, fail, out

if TYPE_CHECKING:
    import pandas as pd

    from analysis.sipm.batch import Progress, Settings
    from analysis.sipm.batch.summary import Summary
    from analysis.sipm.batch.workers import Workers

QUANTITIES = {
    "pedestal": "ADC",
    "noise": "ADC",
    "gain_spread": "ADC",
    "light_yield": "pe",
    "crosstalk": "1",
    "afterpulse": "1",
    "enf_divisor": "1",
    "dcr": "Hz",
}


def batch(
    sources: Annotated[
        list[str],
        typer.Argument(help="Spectrum files, folders, patterns; Parquet and ROOT tables."),
    ],
    folder: Annotated[
        Path, typer.Option("--out", help="Folder of the results; the same one resumes.")
    ],
    jobs: Annotated[
        int | None, typer.Option(min=0, help="Processes; 0: none but this. Default: all cores.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Address of a dask.distributed scheduler, in place of --jobs."),
    ] = None,
    pattern: Annotated[
        str | None,
        typer.Option(help='How names are built, such as "{channel}_{bias_v}V_{light}".'),
    ] = None,
    prior: Annotated[
        Path | None,
        typer.Option(help="Table of an earlier batch of the same channels (summary.parquet)."),
    ] = None,
    bin_width: Annotated[
        float, typer.Option(help="ADC per bin, for lists of single charges.")
    ] = 1.0,
    gate_ns: Annotated[
        float | None, typer.Option(help="Gate; with the pulse time: gain from dark counts alone.")
    ] = None,
    pulse_tau_ns: Annotated[float | None, typer.Option(help="Decay time of the pulses.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Gain of thousands of channels: one table, one page of plots, one verdict per channel.

    Light-off spectra are matched by their names or columns. A run that was stopped goes on where
    it was when it is started again with the same --out. Exit code 3 when a channel is flagged or
    can't be told, 2 when a source can't be read.

    Example: tessera batch scan/ --out results --jobs 4
    """
    from analysis.sipm.batch import BatchError, run_batch

    try:
        settings = _settings(pattern, prior, bin_width, gate_ns, pulse_tau_ns)
        with _workers(jobs, scheduler) as workers, _shown() as progress:
            found = run_batch(
                sources, folder, workers=workers, settings=settings, progress=progress
            )
    except (BatchError, ValueError) as error:
        fail(str(error), Exit.WRONG_INPUT)
    for file in found.files:
        err.print(f"written: {file}", highlight=False, soft_wrap=True)
    if as_json:
        print(json.dumps(_as_data(found), indent=1))
    else:
        _print(found)
    if (found.spectra["failure"] == "unreadable").any():
        raise typer.Exit(Exit.WRONG_INPUT)
    if (found.channels["verdict"] != "pass").any():
        raise typer.Exit(Exit.NOT_ALL_GOOD)


def _settings(
    pattern: str | None,
    prior: Path | None,
    bin_width: float,
    gate_ns: float | None,
    pulse_tau_ns: float | None,
) -> "Settings":
    from analysis.sipm.batch import Conditions, Naming, Settings, priors_of

    if not bin_width > 0:
        fail(f"--bin-width must be positive, not {bin_width}", Exit.WRONG_INPUT)
    conditions = Conditions(gate_ns=gate_ns, pulse_tau_ns=pulse_tau_ns)
    priors = {} if prior is None else priors_of(_table(prior))
    return Settings(Naming(pattern, bin_width), priors, conditions)


def _table(file: Path) -> "pd.DataFrame":
    import pandas as pd

    try:
        if file.suffix.lower() == ".csv":
            return pd.read_csv(file)
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        fail(f"{file}: {error}", Exit.WRONG_INPUT)


@contextmanager
def _workers(jobs: int | None, scheduler: str | None) -> "Iterator[Workers]":
    if scheduler is None:
        yield jobs if jobs is not None else os.cpu_count() or 1
        return
    if jobs is not None:
        fail("--jobs is for this machine, --scheduler for a cluster: give one", Exit.WRONG_INPUT)
    try:
        from distributed import Client
    except ImportError:
        fail("--scheduler needs dask.distributed: pip install distributed", Exit.WRONG_INPUT)
    try:
        client: Any = Client(scheduler, timeout=10)  # type: ignore[no-untyped-call]
    except (OSError, ValueError) as error:
        fail(f"no scheduler at {scheduler}: {error}", Exit.WRONG_INPUT)
    with client:
        if not client.nthreads():
            fail(f"the scheduler at {scheduler} has no workers", Exit.STOPPED)
        yield client


@contextmanager
def _shown() -> "Iterator[Any]":
    """A bar on the error stream; what is known of the total grows while tables are read."""
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=err, transient=True) as bar:
        task = bar.add_task("reading", total=None)

        def progress(step: "Progress") -> None:
            kept = f" ({step.kept} from before)" if step.kept else ""
            bar.update(task, description=f"spectra{kept}", completed=step.done, total=step.expected)

        yield progress


def _as_data(found: "Summary") -> list[dict[str, Any]]:
    """An object per spectrum, with the verdict of its channel."""
    import pandas as pd

    of_channel = found.channels.drop_duplicates("device").set_index("device")["verdict"]
    answers = []
    for row in found.spectra.to_dict("records"):
        method, reasons = str(row["method"]), tuple(r for r in str(row["reasons"]).split("; ") if r)
        quantities = {
            name: estimate
            for name, unit in QUANTITIES.items()
            if (estimate := _estimate(row[name], row[f"{name}_sigma"], unit, method, ())).known
        }
        gain = _estimate(row["value"], row["sigma"], str(row["unit"]), method, reasons)
        readable = row["failure"] != "unreadable"
        answer = Answer(str(row["source"]), gain, quantities, row["verdict"], readable)
        where = {
            name: None if pd.isna(row[name]) else row[name]
            for name in ("channel", "bias_v", "temperature_c")
        }
        answers.append({**answer.as_data(), **where, "channel_verdict": of_channel[row["device"]]})
    return answers


def _estimate(value: Any, sigma: Any, unit: str, method: str, reasons: tuple[str, ...]) -> Any:
    from analysis.estimate import Estimate, unknown

    if value is None or math.isnan(value):
        return unknown(unit, method, *(reasons or ("not measured",)))
    return Estimate(float(value), float(sigma), unit, method, {}, reasons)


def _print(found: "Summary") -> None:
    """Counts of the verdicts, and the channels that deserve a look."""
    channels = found.channels
    counts = channels["verdict"].value_counts()
    words = ", ".join(f"{counts[name]} {name}" for name in counts.index)
    out.print(f"{len(channels)} channels: {words}; {len(found.spectra)} spectra", highlight=False)
    doubtful = channels[channels["verdict"] != "pass"]
    for row in doubtful.head(20).itertuples():
        out.print(f"{row.verdict:<8} {row.device}", highlight=False, markup=False)
        out.print(f"    {row.reasons}", style="dim", markup=False, highlight=False)
    if len(doubtful) > 20:
        out.print(f"and {len(doubtful) - 20} more in channels.csv", highlight=False)
