"""A gantry and a vacuum gripper on one GRBL 1.1 controller."""

import contextlib
import functools
import math
import threading
from collections.abc import Generator

from drivers.clock import Clock, real_s
from drivers.errors import (
    InstrumentRefused,
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
    whole_target,
)
from drivers.grbl import protocol
from drivers.grbl.controller import HELD, MOVING, GrblController
from drivers.grbl.outputs import GrblVacuumGripper
from drivers.grbl.protocol import Status, Triple
from drivers.grbl.readiness import (
    HOMED,
    UNANSWERING,
    check_answering,
    check_coordinates,
    check_settings,
    set_coordinates,
)
from drivers.roles import Identity, Position
from drivers.touching import RESOLUTION_MM, WINDOW_MM, HomeDeviation, compare_switches
from drivers.transport import PortStatistics

__all__ = ["GrblGantry", "GrblVacuumGripper"]

ARRIVAL_TOLERANCE_MM = 0.02
HOMING_DEADLINE_S = 180.0
LEAST_WAIT_S = 5.0
MOVE_MARGIN_S = 10.0
TOUCH_MM_PER_MIN = 600.0
STOP_WITHIN_S = 3.0
"""Real seconds after which a homing that does not end by itself is broken off."""


@names_its_errors("GRBL gantry")
class GrblGantry:
    """Three axes moved by a GRBL 1.1 controller.

    Positions are work coordinates from 0 to the travel: homing sets the offset G54 so that the
    machine's -travel..0 becomes 0..travel, and reads it back. Moves are jogs, which the controller
    can drop without the reset that would switch the vacuum off.

    The controller itself remembers that it was homed (as a tool number that any reset clears), so
    that a station that starts again needs no homing. What it can't know is whether somebody pushed
    an axis while the motors were without power.
    """

    def __init__(self, controller: GrblController) -> None:
        self.controller = controller
        settings = controller.settings
        try:
            x, y, z = (settings[number] for number in protocol.TRAVEL)
            self._rates = tuple(settings[number] for number in protocol.MAX_RATE)
            self._step_mm = max(1 / settings[number] for number in protocol.STEPS_PER_MM)
        except KeyError as error:
            raise InstrumentRefused(
                f"the controller lists no setting ${error.args[0]}",
                port=controller.port,
                sent=protocol.SETTINGS,
                advice="Check the firmware of the controller.",
            ) from error
        self._travel_mm: Triple = (x, y, z)
        self._motion = threading.Lock()
        self._stops = 0
        self._homing = False
        self._homed_at: int | None = None

    @classmethod
    def open(cls, port: str, *, clock: Clock | None = None) -> "GrblGantry":
        """Connect to a serial port or pseudo-terminal."""
        return cls(GrblController.open(port, clock=clock))

    @property
    def identity(self) -> Identity:
        return self.controller.identity

    @property
    def statistics(self) -> PortStatistics:
        """How the transactions with the controller went."""
        return self.controller.statistics

    @property
    def travel_mm(self) -> Triple:
        return self._travel_mm

    def is_homed(self) -> bool:
        """Whether the controller was homed through this driver and not reset since."""
        if self.controller.status().mode in UNANSWERING:
            # held, it answers no lines: what it said last holds until it restarts
            return self._homed_at == self.controller.restarts
        homed = HOMED in self.controller.modes()
        self._homed_at = self.controller.restarts if homed else None
        return homed

    def home(self) -> None:
        """Find the limit switches, then set up the coordinates; leaves an unlocked machine.

        Raises:
            MachineAlarm: a switch was not found, or the homing was stopped.
            InstrumentRefused: homing or soft limits are disabled in the settings, or the gantry
                is moving.
        """
        with self._moving():
            check_settings(self.controller)
            stops = self._stops
            self._homing = True
            try:
                self.controller.command(
                    protocol.HOME,
                    deadline_s=LEAST_WAIT_S + real_s(self.controller.clock, HOMING_DEADLINE_S),
                )
            finally:
                self._homing = False
            if stops != self._stops:
                raise self._stopped("homing")
            set_coordinates(self.controller, self._travel_mm)
            self.controller.command(HOMED)
            self._homed_at = self.controller.restarts

    def compare_home(
        self, *, window_mm: float = WINDOW_MM, resolution_mm: float = RESOLUTION_MM
    ) -> HomeDeviation:
        """Touch every limit switch again, slowly, and tell where it was found.

        Lost steps show by this and by nothing else that the controller knows. The limits are off
        in the controller's settings meanwhile: the hard ones first and the soft ones last to come
        back, without which no move is made. Nothing else is changed; home when it deviates.

        Raises:
            NotHomed: there is nothing to compare with.
            MotionStopped: a switch is not within ``window_mm`` of its place, or a stop.
            InstrumentRefused: the settings do not read back.
        """
        with self._moving():
            stops = self._stops
            check_settings(self.controller)
            check_answering(self.controller)
            check_coordinates(self.controller)
            go = functools.partial(self._go_along, stops=stops)
            switches = [(self._switch_mm(axis), self._towards(axis)) for axis in range(len(AXES))]
            for axis in (2, 0, 1):
                expected_mm, towards = switches[axis]
                go(axis, expected_mm - towards * window_mm)
            with self._limits_off():
                return compare_switches(
                    self._is_pressed,
                    go,
                    switches,
                    window_mm=window_mm,
                    resolution_mm=resolution_mm,
                    port=self.controller.port,
                )

    def _towards(self, axis: int) -> int:
        mask = int(self.controller.settings.get(protocol.HOMING_DIRECTION, 0))
        return -1 if mask >> axis & 1 else 1

    def _switch_mm(self, axis: int) -> float:
        return self._travel_mm[axis] if self._towards(axis) > 0 else 0.0

    def _is_pressed(self, axis: int) -> bool:
        return AXES[axis].upper() in self.controller.status().pins

    def _go_along(self, axis: int, place_mm: float, stops: int) -> None:
        start = self.controller.work_position(self.controller.status())
        goal = [*start]
        goal[axis] = place_mm
        feed = min(TOUCH_MM_PER_MIN, self._rates[axis])
        self.controller.command(f"$J=G21G90{AXES[axis].upper()}{place_mm:.3f}F{feed:.1f}")
        self._wait_for_arrival(start, (goal[0], goal[1], goal[2]), feed, stops)

    @contextlib.contextmanager
    def _limits_off(self) -> Generator[None]:
        numbers = (protocol.HARD_LIMITS, protocol.SOFT_LIMITS)
        before = {number: self.controller.settings[number] for number in numbers}
        try:
            for number in numbers:
                self.controller.set(number, 0)
            yield
        finally:
            for number, value in before.items():
                self.controller.set(number, value)

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
            feed_mm_per_min: speed along the line. The controller slows down where one axis could
                not follow; above the highest rate of the axes named it is refused.

        Raises:
            SetpointRefused: a target outside the travel, or a feed that no axis named can do.
            NotHomed: the machine does not know where it is.
            MotionStopped: stopped or held before the target, or it does not arrive.
            MachineAlarm: an alarm, at a limit switch for example.
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
            stops = self._stops
            check_settings(self.controller)
            status = check_answering(self.controller)
            check_coordinates(self.controller)
            if not target:
                return
            start = self.controller.work_position(status)
            words = "".join(f"{axis.upper()}{value:.3f}" for axis, value in target.items())
            self.controller.command(f"$J=G21G90{words}F{feed_mm_per_min:.1f}")
            self._wait_for_arrival(start, whole_target(target, start), feed_mm_per_min, stops)

    def position(self) -> Position:
        """Where the controller believes to be.

        Raises:
            NotHomed: it does not know.
        """
        if not self.is_homed():
            raise NotHomed("the position is not known before homing", port=self.controller.port)
        return Position(*self._read_twice())

    def state(self) -> str:
        """Idle, Run, Jog, Hold:0, Hold:1, Alarm, Home, Door:0..3, Check or Sleep."""
        if self._homing:
            return "Home"
        return self.controller.status().state

    def door_closed(self) -> bool:
        """Whether the safety door input says that the door is closed.

        Firmware built without that input (ENABLE_SAFETY_DOOR_INPUT_PIN) never says that it is open.
        """
        return protocol.DOOR_PIN not in self.controller.status().pins

    def stop(self) -> None:
        """Stop as soon as possible; the blocked :meth:`move_to` or :meth:`home` raises.

        A jog is dropped and the outputs stay, so a held tile stays held. A homing, or a motion that
        this driver did not start, needs a reset, which switches the outputs off.
        """
        self._stops += 1
        self.controller.send_realtime(protocol.JOG_CANCEL)
        if self._homing:
            self.controller.send_realtime(protocol.SOFT_RESET)
            if self._motion.acquire(timeout=STOP_WITHIN_S):
                self._motion.release()
            else:
                self.controller.interrupt()
            return
        try:
            self._wait_for_standstill()
        except MachineAlarm:
            return

    def _wait_for_standstill(self) -> None:
        status = self.controller.status()
        if status.mode == "Run":
            self.controller.send_realtime(protocol.FEED_HOLD)
            while status.state not in ("Hold:0", "Idle", "Alarm"):
                self.controller.clock.sleep(protocol.STATUS_POLL_S)
                status = self.controller.status()
            self.controller.reset()
        while status.mode == "Jog":
            self.controller.clock.sleep(protocol.STATUS_POLL_S)
            status = self.controller.status()

    def recover(self) -> None:
        """Leave an alarm, a hold or a deaf controller on request of a person; home afterwards.

        Nothing moves. A reset, where one is needed, switches the outputs off: a held tile falls.

        Raises:
            InstrumentRefused: something moves, or the safety door is open.
            InstrumentTimeout: the controller does not even restart.
        """
        with self._moving():
            self._homed_at = None
            self.controller.recover()

    def interrupt(self) -> None:
        """Break off the transactions that other threads have under way; they raise
        :class:`drivers.errors.InstrumentInterrupted`. Returns at once, from any thread."""
        self.controller.interrupt()

    def close(self) -> None:
        """Stop a jog that is under way and give the port back; outputs and offsets stay."""
        try:
            self.controller.send_realtime(protocol.JOG_CANCEL)
        finally:
            self.controller.close()

    def _read_twice(self) -> Triple:
        """Two readings that agree; one while something moves."""
        return agreed_position(self._read_position, port=self.controller.port, sent="?")

    def _read_position(self) -> tuple[Triple, bool]:
        status = self.controller.status()
        return self.controller.work_position(status), status.mode in MOVING

    def _wait_for_arrival(self, start: Triple, goal: Triple, feed: float, stops: int) -> None:
        clock = self.controller.clock
        slowest = min(feed, *self._rates)
        ends_at_s = clock.now_s() + 2 * math.dist(start, goal) / slowest * 60 + MOVE_MARGIN_S
        while True:
            if stops != self._stops:
                self.controller.send_realtime(protocol.JOG_CANCEL)
                raise self._stopped("a move")
            # Looked at before the status: a move that is late has had the whole time to arrive.
            late = clock.now_s() > ends_at_s
            status = self.controller.status()
            if status.mode == "Idle":
                break
            if status.mode == "Alarm":
                raise self._alarm()
            if status.mode in HELD or status.mode in ("Sleep", "Check"):
                raise MotionStopped(
                    f"the controller went to {status.state} during a move",
                    port=self.controller.port,
                    advice="Release the hold or close the door, then move again.",
                )
            if late:
                self.controller.send_realtime(protocol.JOG_CANCEL)
                raise MotionStopped(
                    "a move takes much longer than it should and was stopped",
                    port=self.controller.port,
                    advice="Look for an override of the feed and for a jammed axis.",
                )
            clock.sleep(protocol.STATUS_POLL_S)
        self._check_arrival(status, goal, stops)

    def _check_arrival(self, status: Status, goal: Triple, stops: int) -> None:
        if stops != self._stops:
            raise self._stopped("a move")
        check_arrival(
            self.controller.work_position(status),
            goal,
            tolerance_mm=ARRIVAL_TOLERANCE_MM + self._step_mm,
            read_again=self._read_twice,
            port=self.controller.port,
        )

    def _alarm(self) -> MachineAlarm:
        number = self.controller.last_alarm
        return MachineAlarm(
            protocol.alarm_text(number) if number else "the controller is in alarm",
            port=self.controller.port,
        )

    def _stopped(self, what: str) -> MotionStopped:
        return MotionStopped(f"{what} was stopped on request", port=self.controller.port)

    def _moving(self) -> OneMove:
        return OneMove(self._motion, self.controller.port)
