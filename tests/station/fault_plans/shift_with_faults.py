"""A whole simulated shift under a seeded plan of faults, and what must hold whatever happens.

seed -> faults on the wires + faults of the world -> shift with a patient operator -> Outcome
Outcome + truth of the twin -> list of broken promises (empty is good)
"""

import contextlib
import math
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlmodel import select

import db
from db import Store, open_store
from drivers.errors import InstrumentError
from drivers.faults import FAULT_KINDS, FaultKind, FaultPlan, WireFault
from drivers.transport import LineTransport
from station.events import Ask, Happened, Message, ModuleDone, RunEnded
from station.safety import InterlockTrippedError
from station.session import Session, SessionError, open_session
from station.shift import ShiftStoppedError
from station.twin.mischief import Mischief, WorldFault, drawn
from station.twin.server import Twin, start_twin

SPEED = 200.0
TINY_BOARD = Path(__file__).with_name("tiny_board.toml")
SHAPE = "A3F"
ROUNDS = 12
ROUNDS_WITH_FAULTS = 8
SHIFT_S = 2500.0
"""Faults of the world begin within this time of the twin."""
SAFE_V = 0.5
MARGIN_S = 1.0
SIGMAS = 6.0
SIZE_TOLERANCE_MM = 0.03
PLACEMENT_TOLERANCE_MM = 0.06
GAIN_TOLERANCE = 0.02


@dataclass
class Outcome:
    """What a shift under faults did and said."""

    seed: int
    hits: list[tuple[str, WireFault]] = field(default_factory=list)
    world: list[WorldFault] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    """Every sentence that ended a run or a round."""
    endings: Counter[str] = field(default_factory=Counter)
    facts: list[UUID] = field(default_factory=list)
    done: list[ModuleDone] = field(default_factory=list)
    rounds: int = 0
    overrun_s: float = 0.0
    """The longest time by which a transaction outlived its deadline."""
    trips_s: list[float] = field(default_factory=list)
    """Real seconds from each trip until the terminals were at 0 V."""
    highest_v: float = 0.0
    unsafe_end: str = ""
    wall_s: float = 0.0
    broken: list[str] = field(default_factory=list)


def wire_faults(seed: int, wire: str) -> tuple[WireFault, ...]:
    """The faults of one wire: some plans have none there, some few, some many."""
    draw = random.Random(f"{seed}/rates/{wire}")
    if draw.random() < 0.4:
        return ()
    rate = 10 ** draw.uniform(-4.0, -2.3)
    kinds: list[FaultKind] = draw.sample(FAULT_KINDS, draw.randint(1, len(FAULT_KINDS)))
    return FaultPlan.from_seed(
        seed, wire=wire, rates={kind: rate / len(kinds) for kind in kinds}
    ).faults


class _BiasWatch(threading.Thread):
    """Looks at the true voltage at the terminals, past every driver."""

    def __init__(self, twin: Twin, outcome: Outcome) -> None:
        super().__init__(daemon=True)
        self._twin = twin
        self._outcome = outcome
        self._finish = threading.Event()
        self.session: Session | None = None

    def run(self) -> None:
        tripped_at: float | None = None
        last = None
        while not self._finish.wait(0.002):
            volts = abs(self._twin.bias.true_voltage_v())
            self._outcome.highest_v = max(self._outcome.highest_v, volts)
            session = self.session
            trip = session.line.interlock.tripped if session else None
            if trip is not None and trip is not last:
                tripped_at = time.monotonic()
            last = trip
            if tripped_at is not None and volts < SAFE_V:
                self._outcome.trips_s.append(time.monotonic() - tripped_at)
                tripped_at = None
        if tripped_at is not None:
            self._outcome.trips_s.append(math.inf)

    def finish(self) -> None:
        self._finish.set()
        self.join()


@contextlib.contextmanager
def _deadlines_watched(outcome: Outcome) -> Iterator[None]:
    """Measures how long transactions outlive their deadlines."""
    whole = LineTransport.transaction

    @contextlib.contextmanager
    def watched(self: LineTransport, *, deadline_s: float) -> Iterator[Any]:
        start_s = time.monotonic()
        try:
            with whole(self, deadline_s=deadline_s) as exchange:
                yield exchange
        finally:
            outcome.overrun_s = max(outcome.overrun_s, time.monotonic() - start_s - deadline_s)

    LineTransport.transaction = watched  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        LineTransport.transaction = whole  # type: ignore[method-assign]


def shift_with_faults(seed: int, folder: Path) -> Outcome:
    """Build one small module under the plan of `seed`; the operator goes on as long as it helps."""
    outcome = Outcome(seed)
    start_s = time.monotonic()
    twin = start_twin(
        folder / "twin",
        seed=seed,
        shape=SHAPE,
        speed=SPEED,
        tells_truth=True,
        catalogue_files=(TINY_BOARD,),
    )
    runs: list[tuple[datetime, dict[str, Any]]] = []
    _remember_light(twin, runs)
    wires = {
        "bias": twin.bias.faults,
        "gantry": twin.gantry.faults,
        "camera": twin.camera.faults,
        **{f"tester {name}": faults for name, faults in twin.tester.wires.items()},
    }
    for wire, faults in wires.items():
        faults.plan_all(wire_faults(seed, wire))
    mischief = Mischief(twin, drawn(seed, within_s=SHIFT_S))
    watch = _BiasWatch(twin, outcome)

    def calm() -> None:
        mischief.finish()
        for wire in wires.values():
            wire.clear()

    watch.start()
    session: Session | None = None
    try:
        with _deadlines_watched(outcome):
            session = _work(outcome, twin, folder, watch, mischief, calm)
            calm()
            if session is not None:
                watch.session = None
                outcome.unsafe_end = "; ".join(session.close())
    finally:
        calm()
        watch.finish()
        outcome.world = mischief.done
        outcome.hits = [(wire, hit) for wire, faults in wires.items() for hit in faults.hits]
        if abs(twin.bias.true_voltage_v()) > SAFE_V:
            outcome.unsafe_end += f" bias at {twin.bias.true_voltage_v():.1f} V"
        truth = twin.world.truth()
        twin.close()
        outcome.wall_s = time.monotonic() - start_s
    _judge(outcome, twin, truth, runs, folder / "data")
    return outcome


def _work(
    outcome: Outcome,
    twin: Twin,
    folder: Path,
    watch: _BiasWatch,
    mischief: Mischief,
    calm: Callable[[], None],
) -> Session | None:
    session: Session | None = None

    def listen(message: Message) -> None:
        if isinstance(message, Happened) and message.fact_id is not None:
            outcome.facts.append(message.fact_id)
        if isinstance(message, RunEnded):
            outcome.endings[message.ending] += 1
            if message.ending != "done":
                outcome.said.append(message.reasons[0])

    for outcome.rounds in range(1, ROUNDS + 1):
        if outcome.rounds > ROUNDS_WITH_FAULTS:
            calm()
        try:
            if session is None:
                session = open_session(
                    folder / "data",
                    line_file=folder / "twin" / "line.toml",
                    operator="A. Weber",
                    listener=listen,
                )
                watch.session = session
                if outcome.rounds == 1:
                    mischief.start()
            if session.line.interlock.tripped is not None:
                session.reset_trip("A. Weber", "looked at it")
            outcome.done = session.run_shift(boards=1, answer=_person)
            return session
        except (
            ShiftStoppedError,
            SessionError,
            InstrumentError,
            InterlockTrippedError,
        ) as error:
            outcome.said.append(str(error))
        if session is not None and outcome.rounds % 3 == 0:
            watch.session = None
            session.close()
            session = None
    return session


def _person(ask: Ask) -> str:
    """Goes on where that is offered: the plan should be worked through, not stopped."""
    return "Continue" if "Continue" in ask.choices else ask.default


def _remember_light(twin: Twin, runs: list[tuple[datetime, dict[str, Any]]]) -> None:
    charges = twin.world.charges

    def remembered(*args: Any, **kwargs: Any) -> Any:
        adc = charges(*args, **kwargs)
        runs.append((datetime.now(UTC), dict(twin.world.truth()["led_run"])))
        return adc

    twin.world.charges = remembered  # type: ignore[method-assign]


# -- what must hold ------------------------------------------------------------------------------


def _judge(
    outcome: Outcome,
    twin: Twin,
    truth: dict[str, Any],
    runs: list[tuple[datetime, dict[str, Any]]],
    data: Path,
) -> None:
    broken = outcome.broken
    if outcome.overrun_s > MARGIN_S:
        broken.append(f"a transaction outlived its deadline by {outcome.overrun_s:.2f} s")
    if outcome.unsafe_end:
        broken.append(f"unsafe at the end: {outcome.unsafe_end}")
    highest_v = twin.profile.bias.max_voltage_v
    if outcome.highest_v > highest_v * 1.002 + 0.05:
        broken.append(f"{outcome.highest_v:.2f} V at the terminals, {highest_v} V allowed")
    broken += [f"bias not down after a trip: {s:.1f} s" for s in outcome.trips_s if s > 15.0]
    broken += [
        f"says neither instrument nor remedy: {text}" for text in outcome.said if _mute(text)
    ]
    if not (data / "station.sqlite").exists():
        return
    with open_store(data / "station.sqlite", data / "attachments") as store:
        broken += _lost(store, outcome)
        broken += _wrong(store, truth, runs)


REMEDIES = re.compile(
    r"\b(check|retry|reconnect|ramp down|look|clear|home|close|take|correct|switch|scan|put|make|"
    r"wait|free|release|find|stop|start|restart|replace|cool|reset|repeat|set aside|acknowledge|"
    r"read)\b",
    re.IGNORECASE,
)
NAMES = re.compile(
    r"supply|source|2450|gantry|grbl|camera|tester|readout|board|tile|module|bias|gripper|nozzle|"
    r"vacuum|lid|interlock|fiducial|station|journal",
    re.IGNORECASE,
)


def _mute(text: str) -> bool:
    """Whether a sentence lacks the instrument (or part) or what to do about it.

    An instrument's error names the instrument before its port and the remedy behind it.
    """
    who, port, advice = text.partition("(port ")
    return not (NAMES.search(who) and REMEDIES.search(advice if port else text))


def _lost(store: Store, outcome: Outcome) -> list[str]:
    """Facts that were told and are not there, or are there twice; runs without exactly one end."""
    broken = []
    with store.session() as session:
        sent = Counter(session.exec(select(db.Outbox.table_name, db.Outbox.fact_id)).all())
        runs = session.exec(select(db.Run.id)).all()
        ends = Counter(session.exec(select(db.RunEnd.run_id)).all())
        joined = session.exec(select(db.Assembly)).all()
        readings = session.exec(select(db.Reading)).all()
    stored = {fact for _, fact in sent}
    lost = [fact for fact in outcome.facts if fact.hex not in stored]
    if lost:
        broken.append(f"{len(lost)} facts that were told are not stored")
    if sent and max(sent.values()) > 1:
        broken.append("a fact is in the outbox twice")
    if set(runs) != set(ends) or any(count != 1 for count in ends.values()):
        broken.append("a run has no end, or two")
    once = Counter((a.parent_id, a.position) for a in joined)
    broken += [f"two parts at {place}" for place, count in once.items() if count > 1]
    broken += [
        f"{quantity} of channel {channel} stored twice in one run"
        for (_, _, channel, quantity), count in Counter(
            (r.run_id, r.part_id, r.channel, r.quantity) for r in readings
        ).items()
        if count > 1
    ]
    return broken


def _wrong(
    store: Store, truth: dict[str, Any], runs: list[tuple[datetime, dict[str, Any]]]
) -> list[str]:
    """Stored values that the truth contradicts."""
    with store.session() as session:
        readings = session.exec(select(db.Reading)).all()
        labels = {part.id: part.label for part in session.exec(select(db.Part)).all()}
    tiles = {
        tile["bare_label"]: tile
        for tile in (*truth["placed_tiles"], *truth["retired"], *truth["tray"].values())
    }
    wrong = []
    for reading in readings:
        if reading.value is None:
            continue
        label = labels[reading.part_id]
        true, tolerance = None, 0.0
        if label in tiles and reading.quantity in ("inner_width", "outer_width", "height"):
            true, tolerance = tiles[label][f"{reading.quantity}_mm"], SIZE_TOLERANCE_MM
        elif reading.quantity == "gain" and reading.channel is not None:
            before = [led for at, led in runs if at <= _aware(reading.at)]
            gains = before[-1]["gain"] if before else {}
            if reading.channel in gains:
                true = gains[reading.channel]
                tolerance = GAIN_TOLERANCE * true
        if true is None:
            continue
        allowed = max(tolerance, SIGMAS * (reading.sigma or 0.0))
        if abs(reading.value - true) > allowed:
            wrong.append(
                f"{label} {reading.quantity} channel {reading.channel}: {reading.value:.4g} ± "
                f"{reading.sigma} stored, {true:.4g} true, verdict {reading.verdict}"
            )
    return wrong


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo else at.replace(tzinfo=UTC)
