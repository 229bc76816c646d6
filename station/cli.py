"""The command line: `tessera`. A thin shell over the station's functions.

Exit codes: 0 done and good; 1 refused, stopped or failed; 2 wrong use or unreadable input;
3 done, but something is flagged, failed or can't be told.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from station.commands.answers import DEFAULT_DATA, DataOption, Exit, JsonOption, err, out
from station.commands.answers import fail as _fail
from station.commands.batch import batch
from station.commands.commission import commission
from station.commands.dark import dark
from station.commands.doctor import doctor
from station.commands.gain import gain
from station.commands.iv import iv
from station.commands.metrics import metrics
from station.commands.scan import scan

if TYPE_CHECKING:
    from station.session import Session

app = typer.Typer(
    name="tessera",
    help="Build and qualify SiPM-on-tile detector modules.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
LineOption = Annotated[
    Path | None,
    typer.Option("--line", help="Site profile of the line (TOML). Without it: the twin."),
]
ShapeOption = Annotated[str, typer.Option(help="Board shape that the twin loads, such as D8F.")]
SpeedOption = Annotated[float, typer.Option(min=0.1, help="How much faster than real the twin is.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(version("tessera-qc"))
        raise typer.Exit


@app.callback()
def _options(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Build and qualify SiPM-on-tile detector modules."""


@app.command()
def run(
    headless: Annotated[
        bool, typer.Option("--headless", help="Work in the terminal instead of the desktop.")
    ] = False,
    boards: Annotated[int, typer.Option(min=1, help="How many modules to build.")] = 1,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the twin: the same tiles and boards again.")
    ] = None,
    line: LineOption = None,
    data: DataOption = DEFAULT_DATA,
    operator: Annotated[
        str | None, typer.Option(help="Who works; default: the login name.")
    ] = None,
    label: Annotated[
        str | None, typer.Option(help="Scanned label of the module that must be in the fixture.")
    ] = None,
    shape: ShapeOption = "D8F",
    speed: SpeedOption = 20.0,
    retest: Annotated[
        bool, typer.Option("--retest", help="Test a finished module in the fixture again.")
    ] = False,
    log: Annotated[
        Path | None, typer.Option(help="Append every stored fact to this file, a JSON line each.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Run the shift: from the scanned label to the QC report, module after module.

    Without `--line` the line is the twin, run as a process of its own.

    Example: tessera run --headless --boards 2 --seed 7
    """
    if not headless:
        lacking = _why_no_desktop()
        if lacking is None:
            raise typer.Exit(
                _desktop(
                    data,
                    line=line,
                    seed=seed,
                    boards=boards,
                    operator=operator,
                    shape=shape,
                    speed=speed,
                )
            )
        err.print(f"[yellow]{lacking}[/] The shift goes on in this terminal.")
    _run_headless(
        data,
        line=line,
        seed=seed,
        boards=boards,
        operator=operator,
        label=label,
        shape=shape,
        speed=speed,
        retest=retest,
        log=log,
        as_json=as_json,
    )


def _run_headless(
    data: Path,
    *,
    line: Path | None,
    seed: int | None,
    boards: int,
    operator: str | None,
    label: str | None,
    shape: str,
    speed: float,
    retest: bool,
    log: Path | None,
    as_json: bool,
) -> None:
    from db import StoreError
    from drivers.errors import InstrumentError
    from station.catalogue import LabelError, parse_label
    from station.events import Listener, RefusedError
    from station.session import SessionError, open_session
    from station.settings import SettingsError
    from station.shift import RETEST, ShiftStoppedError
    from station.terminal import (
        TerminalQuestions,
        TerminalShift,
        both,
        choosing,
        default_answers,
        log_to,
    )
    from station.twin.process import TwinError

    if label is not None:
        try:
            parse_label(label)
        except LabelError as error:
            _fail(str(error), Exit.WRONG_INPUT)
    console = err if as_json else out
    unverified: list[str] = []
    with ExitStack() as stack:
        screen = stack.enter_context(TerminalShift(console))
        listener: Listener = screen
        if log is not None:
            log.parent.mkdir(parents=True, exist_ok=True)
            listener = both(log_to(stack.enter_context(log.open("a"))), screen)
        try:
            session = open_session(
                data,
                line_file=line,
                seed=seed,
                operator=operator,
                listener=listener,
                shape=shape,
                speed=speed,
            )
        except SettingsError as error:
            _fail(str(error), Exit.WRONG_INPUT)
        except (SessionError, TwinError, RefusedError, StoreError, InstrumentError) as error:
            _fail(str(error), Exit.STOPPED)
        stack.callback(_close, session, console, unverified)
        for story in session.recovery:
            console.print(f"[yellow]recovered:[/] {story}")
        questions = TerminalQuestions(console)

        def end(*_: object) -> None:
            session.line.abort("stopped from the terminal")
            if questions.asking:
                raise KeyboardInterrupt

        for number in _ENDING_SIGNALS:
            signal.signal(number, end)
        answer = default_answers(console) if session.profile.twin else questions
        try:
            done = session.run_shift(
                boards=boards, answer=choosing(RETEST, answer) if retest else answer, label=label
            )
        except (ShiftStoppedError, StoreError) as error:
            _fail(str(error), Exit.STOPPED)
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "module": module.module,
                        "verdict": module.verdict,
                        "reasons": list(module.reasons),
                        "report_html": module.report_html,
                        "report_pdf": module.report_pdf,
                    }
                    for module in done
                ],
                indent=2,
            )
        )
    if unverified:
        raise typer.Exit(Exit.STOPPED)
    if any(module.verdict != "pass" for module in done):
        raise typer.Exit(Exit.NOT_ALL_GOOD)


# A terminal that is closed hangs up (SIGHUP, where there is one).
_ENDING_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


def _close(session: "Session", console: Console, unverified: list[str]) -> None:
    unverified += session.close()
    for problem in unverified:
        console.print(f"[bold red]NOT VERIFIED SAFE:[/] {problem}")


def _desktop(
    data: Path,
    *,
    line: Path | None,
    seed: int | None,
    boards: int,
    operator: str | None,
    shape: str,
    speed: float,
) -> int:
    command = [sys.executable, "-m", "gui", "--data", str(data), "--boards", str(boards)]
    command += ["--shape", shape, "--speed", str(speed)]
    for option, value in (("--line", line), ("--seed", seed), ("--operator", operator)):
        if value is not None:
            command += [option, str(value)]
    sys.stdout.flush()
    if os.name == "posix":
        os.execv(command[0], command)  # so that a signal to this process reaches the desktop
    return subprocess.call(command)


def _why_no_desktop() -> str | None:
    """The sentence that says why no window can be opened, or None when one can."""
    if sys.platform.startswith("linux") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    ):
        return "There is no display."
    probe = subprocess.run(
        [sys.executable, "-c", "from PyQt6.QtWidgets import QApplication; QApplication([])"],
        capture_output=True,
        text=True,
        check=False,
    )
    if probe.returncode == 0:
        return None
    complaint = (probe.stderr.strip().splitlines() or ["no reason given"])[-1]
    return (
        f"The desktop can't start: {complaint}. On Debian or Ubuntu install "
        "libegl1 libgl1 libxkbcommon-x11-0 libdbus-1-3 libfontconfig1 libxcb-cursor0 "
        "libxcb-icccm4 libxcb-keysyms1 libxcb-shape0."
    )


@app.command()
def twin(
    folder: Annotated[
        Path, typer.Option(help="Where the twin writes line.toml, the profile of its line.")
    ] = DEFAULT_DATA / "twin",
    seed: Annotated[int | None, typer.Option(help="The same tiles and boards again.")] = None,
    shape: ShapeOption = "D8F",
    speed: SpeedOption = 1.0,
) -> None:
    """Run the twin's simulators alone, so that drivers can be used against it by hand.

    Prints where its profile is; `tessera doctor --line FILE` shows the instruments, and
    `tessera run --line FILE` works on it. Ends with Ctrl-C.

    Example: tessera twin --seed 7
    """
    from station.events import RefusedError
    from station.twin.__main__ import serve
    from station.twin.process import TwinError

    try:
        serve(
            folder,
            seed=int.from_bytes(os.urandom(4)) if seed is None else seed,
            shape=shape,
            speed=speed,
            first_serial=1,
            parent=None,
        )
    except RefusedError as error:
        _fail(str(error), Exit.WRONG_INPUT)
    except TwinError as error:
        _fail(str(error), Exit.STOPPED)


for _command in (gain, scan, iv, dark, batch, doctor, commission, metrics):
    app.command()(_command)


@app.command()
def report(
    label: Annotated[str, typer.Argument(help="Label of the tile module.")],
    data: DataOption = DEFAULT_DATA,
    to: Annotated[Path | None, typer.Option("--to", help="Folder; default: DATA/reports.")] = None,
    catalogue_files: Annotated[
        list[Path] | None,
        typer.Option("--catalogue", help="The site's own catalogue entries; may be repeated."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the QC report of a module from the records, as HTML page and PDF.

    Example: tessera report 320TMD8FC000001
    """
    from db import StoreError, open_store
    from station.catalogue import LabelError, load_catalogue, parse_label
    from station.report import ReportError, collect, write_report
    from station.session import DATABASE
    from station.settings import SettingsError

    if not (data / DATABASE).exists():
        _fail(f"there are no records in {data}", Exit.WRONG_INPUT)
    try:
        text = parse_label(label).text
        with open_store(data / DATABASE, data / "attachments") as store:
            catalogue = load_catalogue(*(catalogue_files or ()))
            content = collect(store, catalogue, text)
            files = write_report(store, catalogue, text, to or data / "reports")
    except (LabelError, ReportError, SettingsError) as error:
        _fail(str(error), Exit.WRONG_INPUT)
    except StoreError as error:
        _fail(str(error), Exit.STOPPED)
    if as_json:
        print(
            json.dumps(
                [
                    {
                        "module": text,
                        "verdict": content.verdict or "unknown",
                        "reasons": [*content.missing, *content.reasons],
                        "report_html": str(files.html),
                        "report_pdf": str(files.pdf),
                    }
                ],
                indent=2,
            )
        )
    else:
        out.print(f"{text}: {content.verdict or 'not finished'}")
        for reason in (*content.missing, *content.reasons):
            out.print(f"    {reason}", markup=False, soft_wrap=True)
        out.print(f"{files.html}\n{files.pdf}", soft_wrap=True)
    if content.verdict != "pass":
        raise typer.Exit(Exit.NOT_ALL_GOOD)


def main() -> None:
    app()


if __name__ == "__main__":
    main()
