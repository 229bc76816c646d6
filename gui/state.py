"""What the window shows, folded from the station's messages. No Qt here."""

from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from gui.words import (
    ENDING_WORDS,
    PROCEDURE_WORDS,
    STEP_WORDS,
    VERDICT_WORDS,
    Value,
    offset_value,
    quantity,
    sentence,
    worst_of,
)
from station.events import (
    SHIFT_STEPS,
    Curve,
    Finding,
    Happened,
    InstrumentState,
    LineState,
    Message,
    ModuleDone,
    Note,
    Picture,
    Progress,
    Reading,
    RunEnded,
    RunStarted,
    ShiftStep,
    Verdict,
)

TREND_LENGTH = 90
EVENTS_KEPT = 200
LEAST_ELAPSED_S = 2.0
REASONS_SAID = 3
BAD_WORST_FIRST = ("fail", "unknown", "flag")
PLACING = ("sipm_offset_x", "sipm_offset_y", "sipm_offset", "placed_rotation")
COUNTED = ("wrapped_tiles",)
"""Counts of work done: they measure nothing of the module."""
ROUTINE_NOTES = ("placing", "wrapping", "operating point", "board found")
"""Notes that only the records need."""


@dataclass
class Measured:
    """What is known of one channel, one position or one tile."""

    values: dict[str, Value] = field(default_factory=dict)
    spectrum: Curve | None = None

    @property
    def verdict(self) -> Verdict | None:
        return worst_of(value.verdict for value in self.values.values())

    def forget_test(self) -> None:
        """Keep only what placing the tile measured: a new test begins."""
        self.values = {name: v for name, v in self.values.items() if name in PLACING}
        self.spectrum = None


@dataclass
class InspectedTile:
    """A tile with its picture, its measurements and what was found on it."""

    label: str = ""
    picture: Picture | None = None
    measured: Measured = field(default_factory=Measured)
    findings: list[Finding] = field(default_factory=list)

    @property
    def verdict(self) -> Verdict | None:
        return worst_of([self.measured.verdict, *(finding.verdict for finding in self.findings)])


@dataclass(frozen=True)
class EventLine:
    """One line of the list of events; `tone` is a verdict, "trip" or empty."""

    number: int
    at: datetime
    tone: str
    text: str


@dataclass(frozen=True)
class RunInWork:
    run_id: UUID
    procedure: str
    label: str
    began_s: float


class ShiftState:
    """Folds messages. `apply` is cheap: some thousand messages fit between two frames."""

    def __init__(self) -> None:
        self.module = ""
        self.board_shape = ""
        self.step = ""
        self.step_text = ""
        self.board_number = 0
        self.boards = 0
        self.run: RunInWork | None = None
        self.progress: Progress | None = None
        self.seconds_left: float | None = None
        self.channels: dict[int, Measured] = {}
        self.module_values: dict[str, Value] = {}
        self.tile = InspectedTile()
        """The tile that was measured last; the one in work takes its place when it is done."""
        self.looked_at: tuple[str, Picture] | None = None
        """Label and picture of the last look that was no inspection."""
        self.newest: int | None = None
        self.finished: ModuleDone | None = None
        self.stopped = False
        """The shift ended before the module in work had a verdict."""
        self.done: list[ModuleDone] = []
        self.instruments: tuple[InstrumentState, ...] = ()
        self.trends: dict[str, deque[float | None]] = {}
        self.trip: str | None = None
        self.line_seen_at: datetime | None = None
        self.results_stored = 0
        self.tiles_good = 0
        self._step_began_s = 0.0
        self.events: deque[EventLine] = deque(maxlen=EVENTS_KEPT)
        self.events_seen = 0
        self._runs: dict[UUID, RunInWork] = {}
        self._tile_in_work = InspectedTile()

    @property
    def verdict(self) -> Verdict | None:
        """The verdict of the module: final once it is finished, so far before."""
        if self.finished is not None:
            return self.finished.verdict
        return self.verdict_so_far

    @property
    def verdict_so_far(self) -> Verdict | None:
        """The worst verdict of what was measured of the module itself; None before that."""
        return worst_of(
            [
                *(v.verdict for name, v in self.module_values.items() if name not in COUNTED),
                *(measured.verdict for measured in self.channels.values()),
            ]
        )

    @property
    def next_step(self) -> str:
        """Words for the step after this one; empty at the end."""
        if self.step not in SHIFT_STEPS:
            return ""
        after = SHIFT_STEPS.index(self.step) + 1
        return STEP_WORDS[SHIFT_STEPS[after]] if after < len(SHIFT_STEPS) else ""

    def begin_shift(self) -> None:
        """A shift starts: its module is not known before its first step."""
        self.finished, self.stopped, self.step = None, False, ""

    def end_shift(self) -> None:
        """The shift ended, well or not."""
        self.run = self.progress = None
        self.stopped = bool(self.step) and self.finished is None

    def instrument(self, role: str) -> InstrumentState | None:
        return next((state for state in self.instruments if state.role == role), None)

    def say(self, text: str, at: datetime, tone: str = "") -> None:
        """Add a line of the desktop's own to the list of events."""
        self.events_seen += 1
        self.events.append(EventLine(self.events_seen, at, tone, text))

    def apply(self, message: Message, *, at: datetime, now_s: float) -> None:
        """Take in one message that arrived at `at` (aware), `now_s` on a monotonic clock."""
        match message:
            case LineState():
                self._line(message, at)
            case Happened():
                self._happened(message, at, now_s)
            case RunStarted():
                self._run_started(message, at, now_s)
            case RunEnded():
                self._run_ended(message, at)
            case ShiftStep():
                self._shift_step(message, at, now_s)
            case ModuleDone():
                self.finished = message
                self.done.append(message)
                word = VERDICT_WORDS[message.verdict]
                why = because(message.reasons)
                self.say(f"{message.module} is {word}{why}", at, message.verdict)

    def _line(self, line: LineState, at: datetime) -> None:
        self.instruments = line.instruments
        self.line_seen_at = line.at
        for state in line.instruments:
            trend = self.trends.setdefault(state.role, deque(maxlen=TREND_LENGTH))
            trend.append(state.trend)
        if line.trip is not None and line.trip != self.trip:
            self.say(f"TRIP: {line.trip}", at, "fail")
        elif line.trip is None and self.trip is not None:
            self.say("The trip was reset", at)
        self.trip = line.trip

    def _shift_step(self, step: ShiftStep, at: datetime, now_s: float) -> None:
        if step.module != self.module or step.board_number != self.board_number:
            self.channels, self.module_values = {}, {}
            self.finished, self.newest = None, None
        self.stopped = False
        if step.step != self.step or step.module != self.module:
            self.progress = self.seconds_left = None
            self.tiles_good, self._step_began_s = 0, now_s
            self.say(f"{STEP_WORDS.get(step.step, step.step)}: {step.text or step.module}", at)
        self.module, self.step, self.step_text = step.module, step.step, step.text
        self.board_shape = step.board_shape
        self.board_number, self.boards = step.board_number, step.boards

    def _run_started(self, started: RunStarted, at: datetime, now_s: float) -> None:
        self.run = RunInWork(started.run_id, started.procedure, started.label, now_s)
        self._runs[started.run_id] = self.run
        if started.procedure != "inspect_tile":
            self.progress = self.seconds_left = None
        if started.procedure == "inspect_tile":
            self._tile_in_work = InspectedTile(started.label)
            return
        if started.procedure == "test_board":
            self.module_values, self.newest = {}, None
            for measured in self.channels.values():
                measured.forget_test()
        if started.label:
            self.say(f"{started.label}: {self.doing(started.procedure)}", at)

    @staticmethod
    def doing(procedure: str) -> str:
        """What a procedure does, in words."""
        return PROCEDURE_WORDS.get(procedure, procedure.replace("_", " "))

    def _run_ended(self, ended: RunEnded, at: datetime) -> None:
        self._runs.pop(ended.run_id, None)
        if self.run is not None and self.run.run_id == ended.run_id:
            self.run = None
        if ended.procedure == "inspect_tile":
            self.tile, self.looked_at = self._tile_in_work, None
            self.tiles_good += ended.verdict in ("pass", "flag")
        if ended.ending != "done":
            what = f"{ended.label}: {self.doing(ended.procedure)} {ENDING_WORDS[ended.ending]}"
            self.say(what + because(ended.reasons), at, "fail")

    def _happened(self, happened: Happened, at: datetime, now_s: float) -> None:
        event = happened.event
        match event:
            case Progress():
                self._progressed(happened, event, now_s)
            case Reading():
                self._read(happened, event, at)
            case Curve():
                if event.channel is not None and event.quantity == "charge_spectrum":
                    self._channel(event.channel).spectrum = event
                    self.newest = event.channel
            case Picture():
                self._looked(happened, event)
            case Finding():
                self._tile_in_work.findings.append(event)
                self.say(f"{happened.label}: {event.text or event.kind}", at, event.verdict)
            case Note():
                if event.text not in ROUTINE_NOTES:
                    self.say(event.text, at)
            case _:
                pass

    def _looked(self, happened: Happened, picture: Picture) -> None:
        run = self._runs.get(happened.run_id)
        if run is not None and run.procedure == "inspect_tile":
            self._tile_in_work.picture = picture
        else:
            self.looked_at = happened.label, picture

    def _progressed(self, happened: Happened, progress: Progress, now_s: float) -> None:
        self.progress = progress
        run = self._runs.get(happened.run_id)
        if run is None or run.procedure == "inspect_tile":
            return
        self.seconds_left = time_left(now_s - run.began_s, progress.done, progress.total)

    def inspecting_left(self, tiles: int, now_s: float) -> float | None:
        """Seconds until all `tiles` are inspected, from those inspected so far."""
        return time_left(now_s - self._step_began_s, self.tiles_good, tiles)

    def _read(self, happened: Happened, reading: Reading, at: datetime) -> None:
        if happened.fact_id is not None:
            self.results_stored += 1
        value = Value(
            reading.quantity,
            reading.value,
            reading.sigma,
            reading.unit,
            happened.low,
            happened.high,
            happened.verdict,
            happened.reasons or reading.reasons,
        )
        run = self._runs.get(happened.run_id)
        procedure = run.procedure if run is not None else ""
        where = ""
        if procedure == "inspect_tile":
            self._tile_in_work.measured.values[reading.quantity] = value
            where = f"{happened.label}: "
        elif reading.channel is None:
            self.module_values[reading.quantity] = value
        else:
            values = self._channel(reading.channel).values
            values[reading.quantity] = value
            if (offset := offset_value(values)) is not None:
                values["sipm_offset"] = offset
            self.newest = reading.channel
            where = f"Channel {reading.channel}: "
        if value.verdict not in (None, "pass"):
            text = sentence(value) or quantity(value).name
            self.say(f"{where}{text}", at, value.verdict or "")

    def _channel(self, channel: int) -> Measured:
        return self.channels.setdefault(channel, Measured())


def because(reasons: tuple[str, ...]) -> str:
    """`: first; second; third; and 4 more`, or empty without reasons."""
    if not reasons:
        return ""
    more = len(reasons) - REASONS_SAID
    said = [*reasons[:REASONS_SAID], *([f"and {more} more"] if more > 0 else [])]
    return f": {'; '.join(said)}"


def time_left(elapsed_s: float, done: int, total: int) -> float | None:
    """Seconds left when the rest goes as fast as what is done; None while that is a guess."""
    if not 0 < done <= total or elapsed_s < LEAST_ELAPSED_S:
        return None
    return elapsed_s * (total - done) / done


def reason_text(measured: Measured | None) -> str:
    """The sentence of the worst value, and how many more there are."""
    if measured is None:
        return ""
    bad = [
        value
        for verdict in BAD_WORST_FIRST
        for name, value in measured.values.items()
        if value.verdict == verdict and name != "sipm_offset"
    ]
    if not bad:
        return ""
    more = f" And {len(bad) - 1} more." if len(bad) > 1 else ""
    return sentence(bad[0]) + more
