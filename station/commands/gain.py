"""The command `tessera gain`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from station.commands.answers import DEFAULT_DATA, DataOption, Exit, JsonOption, err, fail, out

if TYPE_CHECKING:
    from station.gain_files import FileGain


def gain(
    files: Annotated[
        list[str], typer.Argument(help="Spectra: CSV, TXT, NPZ, charge lists, FILE.root:HIST.")
    ],
    off: Annotated[
        str | None, typer.Option(help="Light-off spectrum for mean and dispersion.")
    ] = None,
    enf_divisor: Annotated[
        float | None, typer.Option(help="Divisor F of this device at this bias, measured.")
    ] = None,
    enf_divisor_sigma: Annotated[float | None, typer.Option(help="Error of the divisor F.")] = None,
    store: Annotated[
        bool, typer.Option("--store", help="Keep the results in the records.")
    ] = False,
    part: Annotated[
        str | None, typer.Option(help="Label of the part that the spectra belong to.")
    ] = None,
    data: DataOption = DEFAULT_DATA,
    operator: Annotated[str | None, typer.Option(help="Who measured; default: login name.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Gain of a SiPM from each spectrum, or the reason why it can't be told.

    Exit code 3 when a gain can't be told, 2 when a file can't be read.

    Example: tessera gain scan/*.csv --store --json
    """
    from db import StoreError
    from station.gain_files import GainError, gain_of_files, store_gains
    from station.session import DATABASE

    not_stored = None
    try:
        results = gain_of_files(
            files, off=off, enf_divisor=enf_divisor, enf_divisor_sigma=enf_divisor_sigma
        )
        if store:
            store_gains(results, data, part_label=part, operator=operator)
    except GainError as error:
        fail(str(error), Exit.WRONG_INPUT)
    except StoreError as error:
        not_stored = f"not stored: {error}"
    if as_json:
        print(json.dumps([result.as_data() for result in results], indent=2))
    else:
        _print_gains(results)
    if not_stored is not None:
        fail(not_stored, Exit.STOPPED)
    if store:
        kept = sum(not result.unreadable for result in results)
        err.print(f"{kept} of {len(results)} stored in {data / DATABASE}", soft_wrap=True)
    if any(result.unreadable for result in results):
        raise typer.Exit(Exit.WRONG_INPUT)
    if any(result.estimate.value is None for result in results):
        raise typer.Exit(Exit.NOT_ALL_GOOD)


def _print_gains(results: "list[FileGain]") -> None:
    widest = max(len(Path(result.file).name) for result in results)
    for result in results:
        estimate = result.estimate
        shown = (
            "can't tell"
            if estimate.value is None
            else f"{estimate.value:.3f} ± {estimate.sigma:.3f} {estimate.unit}"
        )
        name = Path(result.file).name
        out.print(f"{name:<{widest}}  {shown:<26}  {estimate.method}", highlight=False)
        for reason in estimate.reasons:
            out.print(f"    {reason}", style="dim", markup=False, highlight=False)
