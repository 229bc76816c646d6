"""The shift in a terminal: progress, questions and verdicts, one line each."""

import json
from dataclasses import asdict, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO
from uuid import UUID

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from station.events import (
    Answer,
    Ask,
    Happened,
    InstrumentChanged,
    Joined,
    LineState,
    Listener,
    Message,
    ModuleDone,
    RunChanged,
    RunEnded,
    Scanned,
    ShiftStep,
    Verdict,
    unattended,
)
from station.events import Progress as Step
from station.line import RunAbortedError

MARKS: dict[Verdict, str] = {
    "pass": "[green]✓ pass[/]",
    "flag": "[yellow]▲ flag[/]",
    "fail": "[red]✗ fail[/]",
    "unknown": "[magenta]? unknown[/]",
}
REASONS_SHOWN = 5


class TerminalShift:
    """Listener that draws a shift on a terminal; plain lines where there is none."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("[bold]{task.description:<44}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID | None = None
        self._trip: str | None = None
        self._counts: dict[str, dict[str, int]] = {}

    def __enter__(self) -> "TerminalShift":
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, message: Message) -> None:
        if isinstance(message, ShiftStep):
            self._begin(message)
        elif isinstance(message, RunEnded):
            self._ended(message)
        elif isinstance(message, Happened):
            self._happened(message)
        elif isinstance(message, LineState):
            if message.trip is not None and message.trip != self._trip:
                self._console.print(f"[bold red]INTERLOCK[/] {message.trip}")
            self._trip = message.trip
        elif isinstance(message, Scanned):
            self._scanned(message)
        elif isinstance(message, ModuleDone):
            self._console.print(f"[bold]{message.module}[/] {MARKS[message.verdict]}")
            for reason in message.reasons[:REASONS_SHOWN]:
                self._console.print(f"    {reason}", markup=False, soft_wrap=True)
            self._console.print(f"    report: {message.report_html}", markup=False, soft_wrap=True)

    def _scanned(self, scan: Scanned) -> None:
        said = scan.trouble or f"scanned: {scan.text}"
        self._console.print(f"    {said}", markup=False, soft_wrap=True)

    def _begin(self, step: ShiftStep) -> None:
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._task = self._progress.add_task(step.text, total=1)
        self._console.print(
            f"[dim]{datetime.now():%H:%M:%S}[/] board {step.board_number}/{step.boards} "
            f"[bold]{step.step:<8}[/] {step.text}"
        )

    def _happened(self, message: Happened) -> None:
        if isinstance(message.event, Step) and self._task is not None:
            self._progress.update(
                self._task,
                completed=message.event.done,
                total=max(message.event.total, 1),
                description=message.event.text,
            )
        elif isinstance(message.event, Joined):
            self._progress.refresh()

    def _ended(self, ended: RunEnded) -> None:
        if ended.procedure == "inspect_tile" and ended.verdict == "pass":
            return
        self._console.print(f"    {ended.procedure} {ended.label} {MARKS[ended.verdict]}")
        for reason in ended.reasons[:REASONS_SHOWN]:
            self._console.print(f"        {reason}", markup=False, soft_wrap=True)
        if len(ended.reasons) > REASONS_SHOWN:
            self._console.print(f"        and {len(ended.reasons) - REASONS_SHOWN} more")


class DefaultAnswers:
    """Answers every question with its default, saying so: nobody sits at a headless line."""

    unattended = True

    def __init__(self, console: Console) -> None:
        self._console = console

    def __call__(self, ask: Ask) -> str:
        self._console.print(f"    [dim]{ask.question} → {ask.default}[/]", soft_wrap=True)
        return ask.default


def default_answers(console: Console) -> DefaultAnswers:
    """Default answers, told on a console."""
    return DefaultAnswers(console)


class TerminalQuestions:
    """Puts every question to the person at this terminal; Enter takes the default."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self.asking = False

    def __call__(self, ask: Ask) -> str:
        """The answer. Raises RunAbortedError when the person stops or the input ends."""
        self.asking = True
        try:
            self._console.print(f"    [bold]{ask.question}[/]", soft_wrap=True)
            return self._choice(ask) if ask.choices else self._text()
        except (KeyboardInterrupt, EOFError):
            raise RunAbortedError(f"stopped at the question: {ask.question}") from None
        finally:
            self.asking = False

    def _text(self) -> str:
        self._console.print("    [dim]Scan or type; an empty line ends it.[/]")
        return "\n".join(iter(lambda: self._console.input("    > ").strip(), ""))

    def _choice(self, ask: Ask) -> str:
        offered = ", ".join(f"{n} {choice}" for n, choice in enumerate(ask.choices, start=1))
        while True:
            said = self._console.input(f"    {offered} ({ask.default}): ", markup=False).strip()
            if not said:
                return ask.default
            if said in ask.choices:
                return said
            if said.isdecimal() and 1 <= int(said) <= len(ask.choices):
                return ask.choices[int(said) - 1]


def choosing(choice: str, otherwise: Answer) -> Answer:
    """Answer `choice` wherever it is offered, and as `otherwise` does elsewhere."""

    def answer(ask: Ask) -> str:
        return choice if choice in ask.choices else otherwise(ask)

    answer.unattended = unattended(otherwise)  # type: ignore[attr-defined]
    return answer


def both(first: Listener, second: Listener) -> Listener:
    """A listener that tells two."""

    def tell(message: Message) -> None:
        first(message)
        second(message)

    return tell


def log_to(file: TextIO) -> Listener:
    """A listener that writes one JSON object per message, flushed: a log of stored facts."""

    def write(message: Message) -> None:
        if isinstance(message, LineState | RunChanged | InstrumentChanged):
            return
        file.write(json.dumps({"message": type(message).__name__, **_plain(message)}) + "\n")
        file.flush()

    return write


def _plain(message: Message) -> dict[str, Any]:
    if isinstance(message, Happened):
        return {
            "run_id": str(message.run_id),
            "label": message.label,
            "event": type(message.event).__name__,
            "fact_id": None if message.fact_id is None else str(message.fact_id),
            "verdict": message.verdict,
        }
    assert is_dataclass(message)
    return {key: _value(value) for key, value in asdict(message).items()}


def _value(value: object) -> Any:
    if isinstance(value, UUID | datetime | Path):
        return str(value)
    if isinstance(value, np.ndarray):
        return value.tolist()
    return value
