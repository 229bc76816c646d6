"""A gantry on a controller that runs Marlin, Smoothie or RepRapFirmware."""

import contextlib
import functools
import math
import threading
from dataclasses import dataclass

from drivers.clock import Clock, real_s
from drivers.errors import (
    InstrumentError,
    InstrumentInterrupted,
    InstrumentRefused,
    InstrumentTimeout,
    MachineAlarm,
    MotionStopped,
    NotHomed,
    names_its_errors,
)
from drivers.gantry_moves import (
    AXES,
    OneMove,
    agreed_position,
    check_arrival,
    check_target,
    named_axes,
    shown,
    whole_target,
)
from drivers.marlin import protocol
from drivers.marlin.controller import MarlinController
from drivers.marlin.protocol import DUET, Triple
from drivers.roles import Identity, Position
from drivers.touching import RESOLUTION_MM, WINDOW_MM, HomeDeviation, compare_switches

ARRIVAL_TOLERANCE_MM = 0.03
HOMING_DEADLINE_S = 180.0
LEAST_WAIT_S = 2.0
MOVE_MARGIN_S = 10.0
STOP_WITHIN_S = 3.0
"""Real seconds after which a motion that a stop does not end is killed."""
STATUS_POLL_S = 0.1
TOUCH_MM_PER_MIN = 600.0


@dataclass(frozen=True)
class _Leg:
    start: Triple
    goal: Triple
    feed_mm_per_min: float
    began_s: float

    def at(self, now_s: float) -> Triple:
        length = math.dist(self.start, self.goal)
        done = (now_s - self.began_s) * self.feed_mm_per_min / 60
        part = 1.0 if length == 0 else min(1.0, max(0.0, done / length))
        x, y, z = (a + (b - a) * part for a, b in zip(self.start, self.goal, strict=True))
        return x, y, z


@names_its_errors("Marlin gantry")
class MarlinGantry:
    """Three axes moved by a controller of the Marlin family.

    Positions run from 0 to the travel: the controller's own, less its lowest ones. A move ends
    when the controller says so and reports the target.

    None of these firmwares says where the axes are while they move: their `M114` tells the target,
    or answers only at the end. :meth:`position` is then computed from start, target and feed. None
    decelerates on a stop either, so that the gantry must be homed after one.

    Args:
        travel_mm: length of the axes; asked from the controller when left out.
        max_feed_mm_per_min: highest rates of the axes; asked from the controller when left out,
            and not checked where it does not tell.

    Raises:
        InstrumentRefused: nobody tells the travel, or the controller tells a shorter one.
    """

    def __init__(
        self,
        controller: MarlinController,
        *,
        travel_mm: Triple | None = None,
        max_feed_mm_per_min: Triple | None = None,
    ) -> None:
        self.controller = controller
        self._dialect = controller.firmware.dialect
        self._lowest, self._travel_mm = self._find_limits(travel_mm)
        self._rates = max_feed_mm_per_min or protocol.parse_rates(
            controller.command(
                protocol.SETTINGS, wanted=lambda line: protocol.parse_rates([line]) is not None
            )
            if self._dialect is not DUET
            else []
        )
        self._motion = threading.Lock()
        self._stops = 0
        self._leg: _Leg | None = None
        self._homing = False
        self._unsure = False

    @classmethod
    def open(
        cls,
        port: str,
        *,
        baud: int = protocol.BAUDS["marlin"],
        clock: Clock | None = None,
        travel_mm: Triple | None = None,
        max_feed_mm_per_min: Triple | None = None,
    ) -> "MarlinGantry":
        """Connect to a serial port or pseudo-terminal."""
        controller = MarlinController.open(port, baud=baud, clock=clock)
        try:
            return cls(controller, travel_mm=travel_mm, max_feed_mm_per_min=max_feed_mm_per_min)
        except BaseException:
            controller.close()
            raise

    @property
    def identity(self) -> Identity:
        return self.controller.identity

    @property
    def travel_mm(self) -> Triple:
        return self._travel_mm

    @property
    def stops_at_once(self) -> bool:
        """Whether the controller sees a stop before anything else that waits in its buffer.

        Where it does not, a stop acts when the controller reads the line: at once while it waits
        for a motion, late while it is busy with something else.
        """
        return self.controller.firmware.stops_at_once

    def is_homed(self) -> bool:
        """Whether the controller was homed through this driver and not reset or stopped since."""
        if self._leg is not None:
            return True
        return not self._homing and not self._unsure and self.controller.is_homed()

    def home(self) -> None:
        """Find the limit switches; leaves the axes at their homed positions.

        Raises:
            MachineAlarm: the controller halted (a switch was not found) or restarted.
            InstrumentRefused: it answers with an error, or the gantry is moving.
            MotionStopped: stopped on request.
        """
        with self._moving():
            self._forget_home()
            stops, restarts = self._stops, self.controller.restarts
            self._homing = True
            try:
                for line in (*protocol.MILLIMETRES_ABSOLUTE, self.controller.firmware.home):
                    self.controller.command(line, deadline_s=self._real_s(HOMING_DEADLINE_S))
                self._wait(HOMING_DEADLINE_S, stops, "homing")
            except (InstrumentInterrupted, MachineAlarm) as error:
                raise self._stopped_or(error, stops, "homing") from error
            finally:
                self._homing = False
            if stops != self._stops:
                raise self._stopped("homing")
            self._read_twice()
            self.controller.remember_homed(homed=True)
            if restarts != self.controller.restarts:
                self._forget_home()
                raise MachineAlarm("the controller restarted", port=self.controller.port)
            self._unsure = False

    def compare_home(
        self, *, window_mm: float = WINDOW_MM, resolution_mm: float = RESOLUTION_MM
    ) -> HomeDeviation:
        """Touch every limit switch again, slowly, and tell where it was found.

        Lost steps show by this and by nothing else that the controller knows. Its own axis limits
        are off meanwhile, until a reset at the latest. Nothing else is changed; home when it
        deviates.

        Raises:
            NotHomed: there is nothing to compare with.
            MotionStopped: a switch is not within ``window_mm`` of its place, or a stop.
        """
        with self._moving():
            stops = self._stops
            if not self.is_homed():
                raise NotHomed("the gantry is not homed", port=self.controller.port)
            names, switches = self._switches()
            self.controller.command(self._dialect.limits_off)
            try:
                return compare_switches(
                    lambda axis: self.endstops()[names[axis]],
                    functools.partial(self._go_along, stops=stops),
                    switches,
                    window_mm=window_mm,
                    resolution_mm=resolution_mm,
                    port=self.controller.port,
                )
            finally:
                self.controller.command(self._dialect.limits_on)

    def _switches(self) -> tuple[list[str], list[tuple[float, int]]]:
        """Names of the switches, and places and directions; the low end where a name is silent."""
        inputs = self.endstops()
        names: list[str] = []
        switches: list[tuple[float, int]] = []
        for axis, travel_mm in zip(AXES, self._travel_mm, strict=True):
            name = next((n for n in (f"{axis}_min", f"{axis}_max", axis) if n in inputs), None)
            if name is None:
                raise InstrumentRefused(
                    f"the controller lists no limit switch of {axis}",
                    port=self.controller.port,
                    sent=protocol.ENDSTOPS,
                )
            names.append(name)
            switches.append((travel_mm, 1) if name.endswith("_max") else (0.0, -1))
        return names, switches

    def _go_along(self, axis: int, place_mm: float, stops: int) -> None:
        start = self._read_position()
        goal = [*start]
        goal[axis] = place_mm
        feed = min(TOUCH_MM_PER_MIN, (self._rates or (TOUCH_MM_PER_MIN,) * 3)[axis])
        leg = _Leg(start, (goal[0], goal[1], goal[2]), feed, self.controller.clock.now_s())
        self._leg = leg
        try:
            self._go({AXES[axis]: place_mm}, leg, stops, self.controller.restarts)
        finally:
            self._leg = None

    def move_to(
        self,
        x_mm: float | None = None,
        y_mm: float | None = None,
        z_mm: float | None = None,
        *,
        feed_mm_per_min: float,
    ) -> None:
        """Go in a straight line and return on arrival; axes left out stay where they are.

        Args:
            feed_mm_per_min: speed along the line; refused above the highest rate of the axes
                named, where the controller tells it.

        Raises:
            SetpointRefused: a target outside the travel, or a feed that no axis named can do.
            NotHomed: the machine does not know where it is.
            MotionStopped: stopped before the target, or it does not arrive.
            MachineAlarm: the controller halted or restarted.
            InstrumentRefused: another move is under way, or the controller refuses.
        """
        target = named_axes(x_mm, y_mm, z_mm)
        check_target(
            target,
            feed_mm_per_min,
            travel_mm=self._travel_mm,
            rates_mm_per_min=self._rates,
            port=self.controller.port,
        )
        with self._moving():
            stops, restarts = self._stops, self.controller.restarts
            if not self.is_homed():
                raise NotHomed("the gantry is not homed", port=self.controller.port)
            if not target:
                return
            start = self._read_position()
            began_s = self.controller.clock.now_s()
            self._leg = _Leg(start, whole_target(target, start), feed_mm_per_min, began_s)
            try:
                self._go(target, self._leg, stops, restarts)
            except (InstrumentInterrupted, MachineAlarm) as error:
                raise self._stopped_or(error, stops, "a move") from error
            finally:
                self._leg = None

    def position(self) -> Position:
        """Where the controller believes to be; computed while a move is under way.

        Raises:
            NotHomed: it does not know.
        """
        leg = self._leg
        if leg is not None:
            return Position(*leg.at(self.controller.clock.now_s()))
        if not self.is_homed():
            raise NotHomed("the position is not known before homing", port=self.controller.port)
        return Position(*self._read_twice())

    def state(self) -> str:
        """Idle, Run, Home or Alarm; during a motion without asking the controller."""
        if self._homing:
            return "Home"
        if self._leg is not None:
            return "Run"
        try:
            self._read_position()
        except MachineAlarm:
            if self.controller.halted:
                return "Alarm"
            raise
        return "Alarm" if self.controller.halted else "Idle"

    def stop(self) -> None:
        """Stop at once; the blocked :meth:`move_to` or :meth:`home` raises. Home afterwards.

        What :attr:`stops_at_once` denies is told there. A motion that does not end is killed with
        `M112`: the controller then needs its reset button.
        """
        self._stops += 1
        moving = self._motion.locked()
        if not moving and self._dialect.stop_halts:
            # a halt at a standstill would only cost the position
            return
        self._unsure = self._unsure or moving
        self.controller.send_realtime(self._dialect.stop)
        if self._dialect.stop_halts:
            self.controller.note_halt("stopped on request")
        if self._motion.acquire(timeout=STOP_WITHIN_S):
            self._motion.release()
            if not self.controller.halted:
                self.controller.resynchronise()
            return
        self.kill()
        self.controller.interrupt()

    def kill(self) -> None:
        """Send `M112` past everything: the controller is dead until its reset button is pressed.

        It acts at once only where :attr:`stops_at_once`; elsewhere when the line is read.
        """
        self._unsure = True
        self.controller.send_realtime(f"\n{protocol.STOP_ALL}\n".encode())

    def recover(self) -> None:
        """End a halt on request of a person; nothing moves. Home afterwards.

        Raises:
            InstrumentRefused: something moves.
            InstrumentTimeout: the controller was killed and needs its reset button.
        """
        with self._moving():
            self._unsure = True
            self.controller.restart()
            self._forget_home()

    def interrupt(self) -> None:
        """Break off the transactions that other threads have under way."""
        self.controller.interrupt()

    def endstops(self) -> dict[str, bool]:
        """The inputs by name, such as x_min or z_probe: whether they are triggered."""
        lines = self.controller.ask(protocol.ENDSTOPS, protocol.is_endstops)
        return protocol.parse_endstops(lines, self._dialect, port=self.controller.port)

    def close(self) -> None:
        """Stop a move that is under way and give the port back; outputs stay."""
        try:
            if self._motion.locked():
                self.stop()
        finally:
            self.controller.close()

    def _go(self, target: dict[str, float], leg: _Leg, stops: int, restarts: int) -> None:
        feed, start, goal = leg.feed_mm_per_min, leg.start, leg.goal
        words = " ".join(
            f"{axis.upper()}{value + self._lowest[AXES.index(axis)]:.3f}"
            for axis, value in target.items()
        )
        for line in protocol.MILLIMETRES_ABSOLUTE:
            self.controller.command(line)
        if stops != self._stops:
            raise self._stopped("a move")
        self.controller.command(f"G1 {words} F{feed:.1f}", deadline_s=MOVE_MARGIN_S, since=restarts)
        slowest = min(feed, *(self._rates or (feed,)))
        self._wait(2 * math.dist(start, goal) / slowest * 60 + MOVE_MARGIN_S, stops, "a move")
        if stops != self._stops:
            raise self._stopped("a move")
        check_arrival(
            self._read_position(),
            goal,
            tolerance_mm=ARRIVAL_TOLERANCE_MM,
            read_again=self._read_twice,
            port=self.controller.port,
        )

    def _wait(self, within_s: float, stops: int, what: str) -> None:
        """Until the controller stands still."""
        if not self._dialect.waits_silently:
            self._wait_for_answer(within_s, what)
            return
        clock = self.controller.clock
        ends_at_s = clock.now_s() + within_s
        while stops == self._stops:
            late = clock.now_s() > ends_at_s
            (line,) = self.controller.ask(protocol.DUET_STATUS, lambda text: text[:1] == "{")[:1]
            status = protocol.parse_model(
                line, port=self.controller.port, sent=protocol.DUET_STATUS
            )
            if status in protocol.DUET_STANDING:
                return
            if late:
                self.controller.send_realtime(self._dialect.stop)
                raise self._late(what)
            clock.sleep(STATUS_POLL_S)

    def _wait_for_answer(self, within_s: float, what: str) -> None:
        try:
            self.controller.command(protocol.WAIT, deadline_s=self._real_s(within_s))
        except InstrumentTimeout as error:
            self._unsure = True
            self.controller.send_realtime(self._dialect.stop)
            raise self._late(what) from error

    def _real_s(self, duration_s: float) -> float:
        return LEAST_WAIT_S + real_s(self.controller.clock, duration_s)

    def _late(self, what: str) -> MotionStopped:
        self._unsure = True
        return MotionStopped(
            f"{what} takes much longer than it should and was stopped",
            port=self.controller.port,
            advice="Look for a jammed axis and a feed rate override, then home the gantry.",
        )

    def _read_position(self) -> Triple:
        lines = self.controller.ask(
            protocol.POSITION, lambda line: protocol.is_position(line, self._dialect)
        )
        here = protocol.parse_position(lines[-1], self._dialect, port=self.controller.port)
        x, y, z = (value - low for value, low in zip(here, self._lowest, strict=True))
        return x, y, z

    def _read_twice(self) -> Triple:
        """Two readings that agree, at a standstill."""
        return agreed_position(
            lambda: (self._read_position(), False),
            port=self.controller.port,
            sent=protocol.POSITION,
        )

    def _find_limits(self, given: Triple | None) -> tuple[Triple, Triple]:
        if not self._dialect.limits:
            told = None
        else:
            lines = self.controller.command(self._dialect.limits, wanted=protocol.is_limits)
            told = protocol.parse_limits(lines[0], port=self.controller.port) if lines else None
        if told is None:
            if given is None:
                raise InstrumentRefused(
                    "the controller does not tell its travel",
                    port=self.controller.port,
                    sent=self._dialect.limits,
                    advice="Set the travel of the gantry in the site profile.",
                )
            return (0.0, 0.0, 0.0), given
        low, high = told
        x, y, z = (b - a for a, b in zip(low, high, strict=True))
        if given is not None and any(a > b + 1e-6 for a, b in zip(given, (x, y, z), strict=True)):
            raise InstrumentRefused(
                f"the controller's travel is {shown((x, y, z))} mm, not {shown(given)}",
                port=self.controller.port,
                sent=self._dialect.limits,
                advice="Correct the travel in the site profile or in the controller.",
            )
        return low, given or (x, y, z)

    def _forget_home(self) -> None:
        self._unsure = True
        self.controller.remember_homed(homed=False)

    def _stopped_or(self, error: InstrumentError, stops: int, what: str) -> InstrumentError:
        self._unsure = True
        return error if stops == self._stops else self._stopped(what)

    def _stopped(self, what: str) -> MotionStopped:
        self._unsure = True
        # a stop is acknowledged too, at a time of its own
        self.controller.resynchronise()
        if not self.controller.halted:
            # a station that starts again must not trust the position either
            with contextlib.suppress(InstrumentError):
                self.controller.remember_homed(homed=False)
        return MotionStopped(
            f"{what} was stopped on request",
            port=self.controller.port,
            advice="Make sure that the way is free, then home the gantry.",
        )

    def _moving(self) -> OneMove:
        return OneMove(self._motion, self.controller.port)
