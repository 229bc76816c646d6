"""A session: the line's instruments open, the records open, the interlock watching.

The command line and the desktop both work through this, and nothing else opens an instrument.
"""

import getpass
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout
from sqlmodel import func, select

import db
from db import Store, open_store
from drivers.clock import Clock, RealClock, ScaledClock
from drivers.errors import InstrumentError, MachineAlarm
from station.catalogue import Catalogue, load_catalogue
from station.commissioning.work import Commissioning
from station.events import (
    SCAN,
    Answer,
    Ask,
    LineState,
    Listener,
    Message,
    ModuleDone,
    RefusedError,
    RunEnded,
    unattended,
)
from station.heartbeat import beating
from station.instruments import line_on, open_bias
from station.journal_file import JournalError
from station.line import Line, RunAbortedError
from station.profile import Profile
from station.profile_file import load_profile
from station.recipes import Recipes, load_recipes
from station.recovery import Recovery, recover_gantry
from station.run_record import Crew
from station.safety import InterlockTrippedError, Trip
from station.safety.watchdog_link import WatchdogError, WatchdogLink
from station.safety.watchdog_report import BUSY_WITHIN_S, lock_file, watchdog_busy
from station.scanning import ScannerWatch
from station.setup_facts import SetupFacts, setup_facts
from station.shift import Shift, ShiftStoppedError
from station.states import InstrumentStates
from station.taking_up import bias_as_found, take_up
from station.twin.hands import TwinHands
from station.twin.process import LINE_FILE, start_or_adopt
from station.watching import LineWatch, record_reports, watchdog_over

if TYPE_CHECKING:
    from station.doctor import Found

DATABASE = "station.sqlite"
JOURNAL = "line.journal"
CLOSING_S = 60.0
"""A close that takes longer hangs: the watchdog takes over."""


class SessionError(Exception):
    """The station can't start; the message says what happened and what to do."""


class Session:
    """An open line. Made by `open_session`; `close` leaves everything safe."""

    def __init__(
        self,
        *,
        profile: Profile,
        line: Line,
        store: Store,
        crew: Crew,
        catalogue: Catalogue,
        recipes: Recipes,
        operator_name: str,
        reports: Path,
        hands: TwinHands | None,
        listener: Listener,
        recovery: Recovery,
        stories: tuple[str, ...],
        watchdog: WatchdogLink,
        commissioning: Commissioning,
        closing: ExitStack,
    ) -> None:
        self.profile = profile
        self.line = line
        self.store = store
        self.crew = crew
        self.catalogue = catalogue
        self.operator_name = operator_name
        self.recovery = stories
        """What was found when the station started, in sentences."""
        self.commissioning = commissioning
        self._recovery = recovery
        self._recipes = recipes
        self._reports = reports
        self._hands = hands
        self._listener = listener
        self._closing = closing
        self._gate = threading.Condition(threading.RLock())
        self._shift_on = False
        self._ending = False
        self._closing_once = threading.Lock()
        self._unverified: tuple[str, ...] | None = None
        self._scans = _scans_of(line, listener)
        self._states = InstrumentStates(listener)
        self._watchdog = watchdog
        self._watch = LineWatch(line, store, crew, heart=watchdog, listener=self._seen)
        self._watch.start()
        if self._scans is not None:
            self._scans.start()

    def run_shift(
        self, *, boards: int, answer: Answer, label: str | None = None
    ) -> list[ModuleDone]:
        """Build `boards` modules; blocks until done. One shift at a time.

        First it is settled with the operator what a stop or a crash left behind. Raises
        ShiftStoppedError, `db.StoreError`, and SessionError when a shift is running or the station
        is closing.
        """
        with self._working():
            self._settle(answer)
            shift = Shift(
                self.line,
                self.catalogue,
                self.store,
                self.crew,
                self._recipes,
                reports=self._reports,
                listener=self._listener,
                answer=self._with_hands(answer),
            )
            return shift.run(boards=boards, label=label)

    def commission(self, step: str, answer: Answer) -> RunEnded:
        """Do one step of the commissioning (`station.commissioning.steps`); blocks until done.

        Raises as `run_shift` does.
        """
        with self._working():
            self._settle(answer)
            return self.commissioning.run(step, self._with_hands(answer))

    def save_commissioning(self) -> Path:
        """Write what the commissioning found into the profile; returns the copy of the old file.

        Raises as `station.commissioning.work.Commissioning.save` does.
        """
        return self.commissioning.save(self.operator_name)

    def setup(self) -> SetupFacts:
        """Instruments, rules, trips and commissioning as they are now. Raises `db.StoreError`."""
        return setup_facts(self)

    def look_around(self) -> "list[Found]":
        """Who else is connected; the line's own ports are left alone. May take a minute."""
        # the doctor looks at the session's records
        from station.doctor import Places, scan
        from station.doctor.surroundings import serial_ports

        own = frozenset(str(port) for _, port in serial_ports(self.profile))
        return scan(Places(leave_alone=own))

    def settle(self, answer: Answer) -> tuple[str, ...]:
        """Settle what a stop or a crash left behind, without a shift; returns what was done.

        Raises as `run_shift` does.
        """
        with self._working():
            return self._settle(answer)

    @contextmanager
    def _working(self) -> Iterator[None]:
        """One thing at a time works on the line."""
        with self._gate:
            if self._ending:
                raise SessionError("the station is closed")
            if self._shift_on:
                raise SessionError("a shift is running already")
            self._shift_on = True
        try:
            yield
        finally:
            with self._gate:
                self._shift_on = False
                self.line.clear_abort()
                self._gate.notify_all()

    def _settle(self, answer: Answer) -> tuple[str, ...]:
        try:
            return self._recovery.settle(answer)
        except (
            RefusedError,
            InstrumentError,
            InterlockTrippedError,
            JournalError,
            RunAbortedError,
        ) as error:
            raise ShiftStoppedError(str(error)) from error

    def stop(self, reason: str) -> None:
        """End the run at its next step and bring the line to its safe state. Thread-safe.

        A safe state that can't be verified trips the interlock.
        """
        with self._gate:
            if self._shift_on:
                self.line.abort(reason)
        problems = self.line.halt()
        if problems:
            self.line.interlock.trip(
                Trip(datetime.now(UTC), "unsafe", f"after a stop: {'; '.join(problems)}")
            )

    def reset_trip(self, who: str, why: str = "") -> None:
        """Release a latched trip on the word of `who`; it is recorded with the reason.

        A gantry in alarm is recovered and homed first, unless anything else is wrong.
        Raises InterlockTrippedError while a cause still stands, and
        `drivers.errors.InstrumentError` when the gantry can't be recovered.
        """
        if self._gantry_in_alarm():
            self._watch.recover(lambda: recover_gantry(self.line))
        self._watch.reset(who, why)

    def _gantry_in_alarm(self) -> bool:
        try:
            return self.line.gantry.state().startswith("Alarm")
        except MachineAlarm:
            return True

    def close(self) -> tuple[str, ...]:
        """Stop, verify the safe state, close instruments and records, end our own twin.

        Returns what could not be verified; empty when the line is safe.
        """
        with self._closing_once:
            if self._unverified is None:
                self._unverified = self._close()
            return self._unverified

    def _close(self) -> tuple[str, ...]:
        with self._gate:
            self._ending = True
            self.line.abort("the station is closing")
            self._gate.wait_for(lambda: not self._shift_on)
        with beating(self._watchdog, CLOSING_S):
            problems = list(self.line.make_safe())
            self._watch.finish()
            if self._scans is not None:
                self._scans.finish()
            try:
                if problems:
                    self._remember("error", "closed without a verified safe state", problems)
            except db.StoreError as error:
                problems.append(str(error))
            try:
                if self.line.journal is not None:
                    self.line.journal.close(clean=not problems)
            except JournalError as error:
                problems.append(str(error))
            try:
                self._closing.close()
            except (InstrumentError, WatchdogError) as error:
                problems.append(str(error))
        return tuple(problems)

    def _with_hands(self, answer: Answer) -> Answer:
        hands = self._hands
        if hands is None:
            return answer if self._scans is None else self._scans.answering(answer)

        def with_hands(ask: Ask) -> str:
            if ask.task is None:
                return answer(ask)
            if ask.task.startswith(SCAN):
                return str(hands.do(ask.task))
            said = answer(ask)
            if said == ask.default:
                hands.do(ask.task)
            return said

        with_hands.unattended = unattended(answer)  # type: ignore[attr-defined]
        return with_hands

    def _seen(self, message: Message) -> None:
        self._listener(message)
        if isinstance(message, LineState):
            self._states.see(message)

    def _remember(self, kind: str, text: str, data: object) -> None:
        self.store.record(
            db.Event(
                station_id=self.crew.station_id,
                at=datetime.now(UTC),
                kind=kind,
                text=text,
                data=data if isinstance(data, dict) else {"details": data},
            )
        )


def open_session(
    data: Path,
    *,
    line_file: Path | None = None,
    seed: int | None = None,
    operator: str | None = None,
    listener: Listener = lambda message: None,
    shape: str = "D8F",
    speed: float = 20.0,
) -> Session:
    """Open the line of `line_file`, or a twin of our own, and recover from what was left.

    data: folder of the records (database, attachments, reports), made when missing.
    seed, shape, speed: for our own twin only. Without a line file a twin that a crashed session
    left behind is taken over, so that its true state is found.

    The bias is read, and brought down if it is on, before anything else is touched.
    Raises SessionError, TwinError, SettingsError, `db.StoreError` or
    `drivers.errors.InstrumentError`.
    """
    try:
        (data / "twin" if line_file is None else data).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SessionError(f"the folder of the records can't be made: {error}") from error
    with ExitStack() as stack:
        if line_file is None:
            folder = data / "twin"
            stack.enter_context(sole_owner(folder / LINE_FILE))
            twin = start_or_adopt(
                folder,
                seed=seed,
                shape=shape,
                speed=speed,
                first_serial=lambda: _next_serial(data),
            )
            stack.callback(twin.end)
            line_file = twin.line_file
            profile = load_profile(line_file)
        else:
            profile = load_profile(line_file)
            stack.enter_context(sole_owner(line_file))
        watchdog = stack.enter_context(watchdog_over(line_file, profile, data))
        scale = profile.station.time_scale
        clock: Clock = RealClock() if scale == 1 else ScaledClock(scale)
        bias = open_bias(profile, clock)
        stack.callback(bias.close)
        bias_found, bias_story = bias_as_found(bias, ramp_v_per_s=profile.bias.ramp_v_per_s)
        store = open_store(data / DATABASE, data / "attachments")
        stack.callback(store.close)
        operator_name = operator or getpass.getuser()
        crew = _crew(store, profile, operator_name)
        told = record_reports(store, crew, data)
        beside = line_file.parent
        own_recipes = profile.files.recipes
        recipes = load_recipes(None if own_recipes is None else beside / own_recipes)
        catalogue = load_catalogue(*(beside / name for name in profile.files.catalogue))
        line = line_on(profile, bias, clock, stack)
        problems = line.make_safe()
        try:
            stories, recovery = take_up(
                line,
                store,
                crew,
                data / JOURNAL,
                bias=bias_found,
                bias_story=bias_story,
                watchdog="; ".join(told),
            )
        except JournalError as error:
            raise SessionError(str(error)) from error
        if line.journal is not None:
            stack.callback(line.journal.close, clean=False)
        if problems:
            raise SessionError(
                f"the line can't be brought to its safe state: {'; '.join(problems)}"
            )
        try:
            watchdog.wait_until_ready()
        except WatchdogError as error:
            raise SessionError(str(error)) from error
        hands = TwinHands(profile.twin.hands) if profile.twin else None
        if hands is not None:
            stack.callback(hands.close)
        return Session(
            profile=profile,
            line=line,
            store=store,
            crew=crew,
            catalogue=catalogue,
            recipes=recipes,
            operator_name=operator_name,
            reports=data / "reports",
            hands=hands,
            listener=listener,
            recovery=recovery,
            stories=(*told, *stories),
            watchdog=watchdog,
            commissioning=Commissioning(line, store, crew, line_file=line_file, listener=listener),
            closing=stack.pop_all(),
        )


def _scans_of(line: Line, listener: Listener) -> ScannerWatch | None:
    def nobody_waits() -> bool:
        return line.abort_reason is not None or line.interlock.tripped is not None

    return None if line.scanner is None else ScannerWatch(line.scanner, listener, nobody_waits)


def _crew(store: Store, profile: Profile, operator_name: str) -> Crew:
    site = store.ensure_site(db.Site(name=profile.site.name, code=profile.site.code))
    station = store.ensure_station(db.Station(site_id=site.id, name=profile.station.name))
    operator = store.ensure_operator(db.Operator(site_id=site.id, name=operator_name))
    return Crew(site.id, station.id, operator.id, version("tessera-qc"))


@contextmanager
def sole_owner(line_file: Path) -> Iterator[None]:
    """Own the line of a profile: no other station or doctor may open its ports meanwhile.

    The lock goes with the process, however it ends. A watchdog that brings the bias of a dead
    station down is waited for. Raises SessionError when the lock is taken.
    """
    lock = FileLock(lock_file(line_file))
    try:
        lock.acquire(timeout=BUSY_WITHIN_S if watchdog_busy(line_file) else 0)
    except Timeout:
        if watchdog_busy(line_file):
            raise SessionError(
                f"the watchdog of the last station on the line of {line_file} can't read that the "
                "bias is off: check the bias supply and its cable, then start again"
            ) from None
        raise SessionError(
            f"another station works on the line of {line_file}: close it first"
        ) from None
    except OSError as error:
        raise SessionError(f"the line can't be locked: {error}") from error
    try:
        yield
    finally:
        lock.release()


def _next_serial(data: Path) -> int:
    """A serial number that no module in the records of `data` has."""
    if not (data / DATABASE).exists():
        return 1
    with (
        open_store(data / DATABASE, data / "attachments") as store,
        store.session() as session,
    ):
        modules = session.exec(
            select(func.count()).select_from(db.Part).where(db.Part.kind == "tile_module")
        ).one()
    return modules + 1
