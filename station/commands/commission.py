"""`tessera commission`: calibrate camera, axes and nozzle, and write the profile."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from station.commands.answers import DEFAULT_DATA, DataOption, Exit, JsonOption, err, fail, out

if TYPE_CHECKING:
    from station.commissioning.result import Change
    from station.events import Answer
    from station.session import Session


def commission(
    line: Annotated[
        Path | None,
        typer.Option("--line", help="Site profile of the line (TOML). Without it: the twin."),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    step: Annotated[
        list[str] | None,
        typer.Option(help="Only this step; may be repeated. Default: all, in their order."),
    ] = None,
    save: Annotated[
        bool, typer.Option("--save", help="Write what was found into the profile; a copy is kept.")
    ] = False,
    operator: Annotated[
        str | None, typer.Option(help="Who works; default: the login name.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of the twin.")] = None,
    speed: Annotated[float, typer.Option(min=0.1, help="How much faster the twin is.")] = 20.0,
    as_json: JsonOption = False,
) -> None:
    """Calibrate the line with the calibration target: focus, camera, backlash, repeatability, tool.

    Every step is a run in the records. Exit code 1 when a step does not end well; what the steps
    before it found is shown, and nothing is saved.

    Example: tessera commission --line line.toml --save
    """
    from db import StoreError
    from drivers.errors import InstrumentError
    from station.commissioning.steps import STEPS
    from station.commissioning.write import WriteRefusedError
    from station.events import RefusedError
    from station.session import SessionError, open_session
    from station.settings import SettingsError
    from station.shift import ShiftStoppedError
    from station.terminal import TerminalQuestions, TerminalShift, default_answers
    from station.twin.process import TwinError

    wanted = step or list(STEPS)
    for name in wanted:
        if name not in STEPS:
            fail(f"{name!r} is no step; there are {', '.join(STEPS)}", Exit.WRONG_INPUT)
    console = err if as_json else out
    with TerminalShift(console) as screen:
        try:
            session = open_session(
                data,
                line_file=line,
                seed=seed,
                operator=operator,
                listener=screen,
                shape="G3L",
                speed=speed,
            )
        except SettingsError as error:
            fail(str(error), Exit.WRONG_INPUT)
        except (SessionError, TwinError, RefusedError, StoreError, InstrumentError) as error:
            fail(str(error), Exit.STOPPED)
        try:
            answer = (
                default_answers(console) if session.profile.twin else TerminalQuestions(console)
            )
            trouble = _do(session, [name for name in STEPS if name in wanted], answer)
            found = session.commissioning.found()
            if save and not trouble:
                kept = session.save_commissioning()
                console.print(f"written; the file as it was is {kept}", soft_wrap=True)
        except (ShiftStoppedError, StoreError, WriteRefusedError) as error:
            fail(str(error), Exit.STOPPED)
        finally:
            unverified = session.close()
    if as_json:
        print(json.dumps([_as_data(change) for change in found], indent=2))
    else:
        _show(found)
    if trouble:
        fail(trouble, Exit.STOPPED)
    if unverified:
        fail(f"not verified safe: {'; '.join(unverified)}", Exit.STOPPED)


def _do(session: "Session", steps: list[str], answer: "Answer") -> str:
    """Do the steps until one does not end well; why it did not, or empty."""
    for step in steps:
        ended = session.commission(step, answer)
        if ended.ending != "done":
            return f"{step} {ended.ending}: {'; '.join(ended.reasons)}"
    return ""


def _as_data(change: "Change") -> dict[str, object]:
    return {
        "quantity": change.quantity,
        "field": None if change.field is None else ".".join(map(str, change.field)),
        "before": change.old,
        "value": change.new,
        "sigma": change.sigma,
        "unit": change.unit,
    }


def _show(found: "tuple[Change, ...]") -> None:
    from station.commissioning.result import told

    table = Table(box=None)
    for heading in ("quantity", "before", "now", "unit"):
        table.add_column(heading, overflow="fold")
    for change in found:
        before = "–" if change.old is None else f"{change.old:g}"
        table.add_row(change.quantity, before, told(change.new, change.sigma), change.unit)
    out.print(table)
