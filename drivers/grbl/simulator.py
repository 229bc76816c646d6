"""A GRBL 1.1h controller with three axes behind a pseudo-terminal."""

import math
import threading
from collections.abc import Callable, Generator, Mapping

from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.grbl import protocol
from drivers.grbl.coordinates import Coordinates, millimetres_per
from drivers.grbl.gcode import (
    COOLANT,
    JOG_WORDS,
    GcodeError,
    Line,
    ModalState,
    parse_line,
    strip_comments,
)
from drivers.grbl.protocol import AXES, Triple
from drivers.loopback import PtyEnd
from drivers.simulated_axes import Block, BlockKind, Motion

POLL_S = 0.002
WCO_EVERY = {"idle": 10, "busy": 30}
COOLANT_WORDS = {"flood": "M8", "mist": "M7"}
OVERRIDES_EVERY = {"idle": 10, "busy": 20}

_Steps = Generator[None, None, None]


class _RestartedError(Exception):
    """The controller restarted in the middle of a line."""


class GrblSimulator:
    """A gantry controller on the pseudo-terminal ``path``.

    It keeps its state (position, outputs, offsets, alarms) when a client goes and another one
    comes. Not simulated: arcs, probing moves, parking, accelerations.

    Args:
        probe: level of the probe input (the vacuum switch).
        on_output: called with ``flood`` or ``mist`` and the new level when an output changes.
        travel: length of the axes in mm.
        on_move: called with the true position at the end of every move, and wherever else the
            motion is looked at.
        start_mm: where the axes really are at power-up, 0 to ``travel``.
        settings: values of ``$`` settings that differ from the defaults.
        backlash_mm: play of the axes.
        has_mist: whether the firmware was built with the second output (M7).
        faults: what goes wrong on the line.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        probe: Callable[[], bool] = lambda: False,
        on_output: Callable[[str, bool], None] = lambda name, level: None,
        travel: Triple = (600.0, 400.0, 120.0),
        *,
        on_move: Callable[[Triple], None] = lambda true_mm: None,
        start_mm: Triple = (120.0, 80.0, 60.0),
        settings: Mapping[int, float] | None = None,
        backlash_mm: Triple = (0.0, 0.0, 0.0),
        has_mist: bool = True,
        faults: LineFaults | None = None,
    ) -> None:
        self._clock = clock or RealClock()
        self._probe = probe
        self._on_output = on_output
        self._settings = dict(protocol.DEFAULT_SETTINGS)
        self._settings.update(zip(protocol.TRAVEL, travel, strict=True))
        self._settings.update(settings or {})
        self._coordinates = Coordinates(self._settings)
        self._motion = Motion(travel, start_mm, self._clock.now_s(), on_move, backlash_mm)
        self._lock = threading.RLock()
        self.faults = faults or LineFaults()
        self._end = PtyEnd(self, name="grbl", faults=self.faults)
        self._motion.watched = bool(self._settings[protocol.HARD_LIMITS])
        self._door_open = False
        self._has_mist = has_mist
        self.most_bytes_waiting = 0
        self._unread = bytearray()
        self._outputs = {"flood": False, "mist": False}
        self._power_up()

    @property
    def path(self) -> str:
        """The device path of the port; known once started."""
        return self._end.path

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def true_commanded_position_mm(self) -> Triple:
        """Where the axes really are now, gantry frame: 0 to the travel."""
        with self._lock:
            self._motion.advance(self._clock.now_s())
            return self._motion.true_mm

    def output(self, name: str) -> bool:
        """The level of ``flood`` or ``mist``, for tests and the twin."""
        with self._lock:
            return self._outputs[name]

    def lose_steps(self, axis: str, lost_mm: float) -> None:
        """Let an axis slip without the controller knowing."""
        with self._lock:
            self._motion.lose_steps(AXES.index(axis), lost_mm)

    def stick(self, axis: str) -> None:
        """Let an axis jam: the controller counts on, the axis stays."""
        with self._lock:
            self._motion.advance(self._clock.now_s())
            self._motion.stuck.add(AXES.index(axis))

    def free(self, axis: str) -> None:
        with self._lock:
            self._motion.advance(self._clock.now_s())
            self._motion.stuck.discard(AXES.index(axis))

    def power_cycle(self) -> None:
        """Switch the controller off and on: stored settings stay, everything else goes."""
        with self._lock:
            self._motion.advance(self._clock.now_s())
            self._power_up()

    def open_door(self) -> None:
        """The safety door opens: its input tells, and the machine holds."""
        with self._lock:
            self._door_open = True
            self._take_realtime(protocol.DOOR[0])

    def close_door(self) -> None:
        """The door closes; a person must resume."""
        with self._lock:
            self._door_open = False

    def brown_out(self) -> None:
        """A dip of the supply: as a power cycle, in the middle of whatever is under way."""
        self.power_cycle()

    def receive(self, data: bytes) -> None:
        with self._lock:
            for byte in data:
                if byte in protocol.REALTIME:
                    self._take_realtime(byte)
                elif len(self._unread) < protocol.RECEIVE_BUFFER_BYTES:
                    self._unread.append(byte)
                    self.most_bytes_waiting = max(self.most_bytes_waiting, len(self._unread))
                    if byte == 0x0A:
                        self._work()
            self._work()

    def advance(self) -> float | None:
        with self._lock:
            self._work()
            return POLL_S if self._motion.busy or self._running is not None else None

    def _power_up(self) -> None:
        self._motion.clear()
        self._motion.limit_hit = None
        self._motion.declare((0.0, 0.0, 0.0))
        self._alarm = bool(self._settings[protocol.HOMING])
        self._restart()

    def _restart(self) -> None:
        """What both power-up and a soft reset do."""
        self._unread.clear()
        self._modal = ModalState()
        self._deaf = False
        self._owes_ok = False
        self._hold: str | None = None
        self._before_door: set[str] = set()
        self._checking = False
        self._homing = False
        self._running: _Steps | None = None
        self._status_wanted = 0
        self._wco_countdown = 0
        self._override_countdown = 0
        self._motion.feed_override = 1.0
        self._set_output("flood", on=False)
        self._set_output("mist", on=False)
        self._say("")
        self._say(protocol.BANNER)
        if self._alarm:
            self._say(protocol.MSG_LOCKED)

    def _say(self, line: str) -> None:
        self._end.send(line.encode() + protocol.TERMINATOR)

    def _set_output(self, name: str, *, on: bool) -> None:
        if self._outputs[name] != on:
            self._outputs[name] = on
            self._on_output(name, on)
        if on:
            self._modal.coolant.add(COOLANT_WORDS[name])
        else:
            self._modal.coolant.discard(COOLANT_WORDS[name])

    def _state(self) -> str:
        if self._alarm:
            return "Alarm"
        if self._homing:
            return "Home"
        if self._hold is not None:
            return self._hold
        if self._checking:
            return "Check"
        if self._motion.busy:
            return "Jog" if self._motion.kind == "jog" else "Run"
        return "Idle"

    def _take_realtime(self, byte: int) -> None:
        self._motion.advance(self._clock.now_s())
        character = bytes([byte])
        if character == protocol.SOFT_RESET:
            self._soft_reset()
        elif self._deaf or self._homing:
            if character == protocol.STATUS_REQUEST and self._homing:
                self._status_wanted = 1
        elif character == protocol.STATUS_REQUEST:
            self._report_status()
        elif character in (protocol.FEED_HOLD, protocol.DOOR):
            self._pause("Hold:0" if character == protocol.FEED_HOLD else "Door:0")
        elif character == protocol.RESUME:
            self._resume()
        elif character == protocol.JOG_CANCEL:
            if self._state() == "Jog":
                self._motion.clear()
        elif character in (protocol.FLOOD_TOGGLE, protocol.MIST_TOGGLE):
            name = "flood" if character == protocol.FLOOD_TOGGLE else "mist"
            allowed = name == "flood" or self._has_mist
            if allowed and self._state() in ("Idle", "Run", "Hold:0", "Jog"):
                self._set_output(name, on=not self._outputs[name])
                self._override_countdown = 0
        elif byte in protocol.FEED_OVERRIDES:
            change = protocol.FEED_OVERRIDES[byte]
            percent = round(self._motion.feed_override * 100) + change if change else 100
            self._motion.feed_override = min(200, max(10, percent)) / 100
            self._override_countdown = 0

    def _pause(self, state: str) -> None:
        if self._alarm or self._checking:
            return
        jogging = self._state() == "Jog"
        if jogging:
            self._motion.clear()
        if state.startswith("Door"):
            self._say(protocol.MSG_DOOR)
            # what the outputs switch is cut off, and comes back with the resume
            self._before_door |= {name for name, level in self._outputs.items() if level}
            for name in self._before_door:
                self._set_output(name, on=False)
            self._override_countdown = 0
        elif jogging:
            return
        self._hold = state
        self._motion.paused = True

    def _resume(self) -> None:
        self._hold = None
        self._motion.paused = False
        for name in self._before_door:
            self._set_output(name, on=True)
            self._override_countdown = 0
        self._before_door = set()

    def _soft_reset(self) -> None:
        moving = self._motion.busy and not self._motion.paused
        if self._homing:
            self._raise_alarm(6)
        elif moving and not self._deaf:
            self._raise_alarm(3)
        self._motion.clear()
        self._motion.limit_hit = None
        if self._running is not None or self._owes_ok:
            self._say("ok")
        self._restart()

    def _raise_alarm(self, number: int) -> None:
        self._alarm = True
        self._hold = None
        self._motion.clear()
        self._set_output("flood", on=False)
        self._set_output("mist", on=False)
        self._say(f"ALARM:{number}")
        if number in protocol.LOCKING_ALARMS:
            self._say(protocol.MSG_RESET)
            self._deaf = True

    def _work(self) -> None:
        """Let the machine move and the interpreter go on as far as it can now."""
        self._motion.advance(self._clock.now_s())
        if self._motion.limit_hit is not None and not self._deaf:
            self._raise_alarm(1)
        while not self._deaf and self._hold is None:
            if self._running is None:
                end = min(
                    (at for at in map(self._unread.find, (b"\n", b"\r")) if at >= 0), default=-1
                )
                if end < 0:
                    return
                text = self._unread[:end].decode("latin-1")
                del self._unread[: end + 1]
                self._running = self._execute(text)
            running = self._running
            try:
                next(running)
                return
            except StopIteration:
                if self._running is running:
                    self._running = None
            self._motion.advance(self._clock.now_s())

    def _execute(self, text: str) -> _Steps:
        line = strip_comments(text)
        try:
            if len(line) > protocol.MAX_LINE_CHARS:
                raise GcodeError(11)
            if line.startswith("$"):
                yield from self._execute_system(line)
            elif line:
                if self._alarm or self._state() == "Jog":
                    raise GcodeError(9)
                yield from self._execute_gcode(parse_line(line))
        except GcodeError as error:
            self._say(f"error:{error.number}")
            return
        except _RestartedError:
            return
        if not self._deaf:
            self._say("ok")

    def _execute_system(self, line: str) -> _Steps:
        state = self._state()
        listings: dict[str, Callable[[], None]] = {
            protocol.MODES: lambda: self._say(self._modal.report()),
            protocol.SETTINGS: self._list_settings,
            protocol.INFO: self._list_info,
            protocol.OFFSETS: self._list_offsets,
            protocol.UNLOCK: self._unlock,
            "$": lambda: self._say(protocol.HELP),
            "$C": self._toggle_check,
            "$N": self._list_startup_lines,
        }
        at_any_time = {protocol.MODES, protocol.UNLOCK, "$C", "$"}
        if state != "Run":
            at_any_time.add(protocol.SETTINGS)
        if line.startswith("$J"):
            yield from self._jog(line[2:])
        elif state not in ("Idle", "Alarm") and line not in at_any_time:
            raise GcodeError(8)
        elif line in listings:
            listings[line]()
        elif line == protocol.HOME:
            if not self._settings[protocol.HOMING]:
                raise GcodeError(5)
            if self._door_open:
                raise GcodeError(13)
            yield from self._home()
        else:
            self._store_setting(line)

    def _list_settings(self) -> None:
        for number, value in sorted(self._settings.items()):
            shown = f"{value:.3f}" if number in protocol.FLOAT_SETTINGS else f"{value:.0f}"
            self._say(f"${number}={shown}")

    def _list_info(self) -> None:
        self._say(self.faults.identity(f"[VER:{protocol.VERSION}:]"))
        options = "VM" if self._has_mist else "V"
        sizes = f"{protocol.PLANNER_BLOCKS},{protocol.RECEIVE_BUFFER_BYTES}"
        self._say(f"[OPT:{options},{sizes}]")

    def _list_startup_lines(self) -> None:
        self._say("$N0=")
        self._say("$N1=")

    def _unlock(self) -> None:
        if self._alarm:
            if self._door_open:
                raise GcodeError(13)
            self._say(protocol.MSG_UNLOCKED)
            self._alarm = False

    def _toggle_check(self) -> None:
        if not self._checking and self._state() != "Idle":
            raise GcodeError(8)
        if self._checking:
            self._say(protocol.MSG_DISABLED)
            self._say("ok")
            self._restart()
            raise _RestartedError
        self._checking = True
        self._say(protocol.MSG_ENABLED)

    def _list_offsets(self) -> None:
        for name, offset in self._coordinates.stored.items():
            self._say(f"[{name}:{protocol.format_triple(offset)}]")
        self._say(f"[G92:{protocol.format_triple(self._modal.g92)}]")
        self._say("[TLO:0.000]")
        self._say("[PRB:0.000,0.000,0.000:0]")

    def _store_setting(self, line: str) -> None:
        name, separator, text = line[1:].partition("=")
        if not name.isdigit():
            raise GcodeError(3 if name[:1].isdigit() else 2)
        if not separator:
            raise GcodeError(3)
        try:
            value = float(text)
        except ValueError:
            raise GcodeError(2) from None
        if int(name) not in self._settings:
            raise GcodeError(3)
        if value < 0:
            raise GcodeError(4)
        if int(name) == protocol.SOFT_LIMITS and value and not self._settings[protocol.HOMING]:
            raise GcodeError(10)
        self._settings[int(name)] = value
        self._motion.watched = bool(self._settings[protocol.HARD_LIMITS])

    def _home(self) -> _Steps:
        """Z up first, then x and y; the switches are at the ends of the travel."""
        self._alarm = False
        self._homing = True
        self._motion.clear()
        seek = self._settings[protocol.HOMING_SEEK] / 60
        feed = self._settings[protocol.HOMING_FEED] / 60
        pull_off = self._settings[protocol.HOMING_PULL_OFF]
        mask = int(self._settings[protocol.HOMING_DIRECTION])
        for axis in (2, 0, 1):
            towards = -1 if mask >> axis & 1 else 1
            travel = self._motion.travel_mm[axis]
            switch = 0.0 if towards < 0 else travel
            if axis in self._motion.stuck:
                yield from self._run_axis(axis, towards * 1.5 * travel, seek)
                self._homing = False
                self._raise_alarm(9)
                self._say("ok")
                self._restart()
                raise _RestartedError
            yield from self._run_axis(axis, self._motion.distance_to(axis, switch, towards), seek)
            yield from self._run_axis(axis, -towards * pull_off, seek)
            yield from self._run_axis(axis, towards * pull_off, feed)
            yield from self._run_axis(axis, -towards * pull_off, feed)
            machine = list(self._motion.machine)
            machine[axis] = -pull_off if towards > 0 else pull_off - travel
            self._motion.declare((machine[0], machine[1], machine[2]))
        self._wco_countdown = 0
        if self._status_wanted:
            self._status_wanted = 0
            self._report_status()
        self._homing = False

    def _run_axis(self, axis: int, distance: float, speed: float) -> _Steps:
        target = list(self._motion.machine)
        target[axis] += distance
        self._motion.add(Block((target[0], target[1], target[2]), speed, "homing"))
        while self._motion.busy:
            yield

    def _jog(self, text: str) -> _Steps:
        if self._state() not in ("Idle", "Jog"):
            raise GcodeError(8)
        if not text.startswith("="):
            raise GcodeError(3)
        line = parse_line(text[1:])
        if not set(line.codes) <= JOG_WORDS or {"S", "T", "P", "L"} & line.values.keys():
            raise GcodeError(16)
        if "F" not in line.values:
            raise GcodeError(22)
        if not line.has_axes:
            raise GcodeError(26)
        units = line.code_of("units") or self._modal.units
        distance = line.code_of("distance") or self._modal.distance
        target = self._coordinates.target(line, units, distance, self._modal, self._motion.end)
        if self._settings[protocol.SOFT_LIMITS] and not self._coordinates.reaches(target):
            raise GcodeError(15)
        yield from self._plan(target, line.values["F"] * millimetres_per(units), "jog")

    def _execute_gcode(self, line: Line) -> _Steps:
        if "M7" in line.codes and not self._has_mist:
            raise GcodeError(20)
        self._check_axis_words(line)
        units = line.code_of("units") or self._modal.units
        moves = line.has_axes and not {"G10", "G92"} & set(line.codes)
        self._update_modal(line, units, moves=moves)
        if any(code in COOLANT for code in line.codes):
            yield from self._finish_moves()
            self._switch_coolant(line.codes)
        if "G4" in line.codes:
            yield from self._finish_moves()
            ends_at_s = self._clock.now_s() + line.values["P"]
            while self._clock.now_s() < ends_at_s:
                yield
        elif "G10" in line.codes:
            self._coordinates.store(line, units, self._modal, self._motion.end)
            self._wco_countdown = 0
        elif "G92" in line.codes:
            self._coordinates.shift(line, units, self._modal, self._motion.end)
            self._wco_countdown = 0
        elif "G92.1" in line.codes:
            self._modal.g92 = (0.0, 0.0, 0.0)
            self._wco_countdown = 0
        elif moves:
            yield from self._move(line, units)
        if {"M2", "M30"} & set(line.codes):
            yield from self._finish_moves()
            self._modal.end_program()
            self._motion.feed_override = 1.0
            self._switch_coolant(("M9",))
            self._say(protocol.MSG_PROGRAM_END)

    def _update_modal(self, line: Line, units: str, *, moves: bool) -> None:
        modal, values = self._modal, line.values
        if not values.get("T", 0.0).is_integer():
            raise GcodeError(23)
        motion = line.code_of("motion") or modal.motion
        feed = values["F"] * millimetres_per(units) if "F" in values else modal.feed
        if moves and motion == "G1" and feed <= 0:
            raise GcodeError(22)
        modal.units, modal.motion, modal.feed = units, motion, feed
        modal.tool = int(values.get("T", modal.tool))
        modal.speed = values.get("S", modal.speed)
        modal.spindle = line.code_of("spindle") or modal.spindle
        modal.plane = line.code_of("plane") or modal.plane
        modal.feed_mode = line.code_of("feed_mode") or modal.feed_mode
        modal.distance = line.code_of("distance") or modal.distance
        coordinates = line.code_of("coordinates") or modal.coordinates
        if coordinates != modal.coordinates:
            modal.coordinates = coordinates
            self._wco_countdown = 0

    def _move(self, line: Line, units: str) -> _Steps:
        target = self._coordinates.target(
            line, units, self._modal.distance, self._modal, self._motion.end
        )
        if self._settings[protocol.SOFT_LIMITS] and not self._coordinates.reaches(target):
            yield from self._finish_moves()
            self._owes_ok = True
            self._raise_alarm(2)
            return
        rapid = max(self._settings[number] for number in protocol.MAX_RATE)
        feed = rapid if self._modal.motion == "G0" else self._modal.feed
        yield from self._plan(target, feed, "line")

    def _check_axis_words(self, line: Line) -> None:
        codes = set(line.codes)
        if len(codes & {"G10", "G92", "G92.1"}) + ("G4" in codes) > 1:
            raise GcodeError(21)
        if ("G4" in codes and "P" not in line.values) or (
            "G10" in codes and not {"P", "L"} <= line.values.keys()
        ):
            raise GcodeError(28)
        if ("G10" in codes or "G92" in codes) and not line.has_axes:
            raise GcodeError(26)
        if line.has_axes and codes & {"G4", "G92.1"}:
            raise GcodeError(31)
        if "G53" in codes and (line.code_of("motion") or self._modal.motion) not in ("G0", "G1"):
            raise GcodeError(30)
        if {"P", "L"} & line.values.keys() and not codes & {"G4", "G10"}:
            raise GcodeError(36)

    def _switch_coolant(self, codes: tuple[str, ...]) -> None:
        before = dict(self._outputs)
        if "M9" in codes:
            self._set_output("flood", on=False)
            self._set_output("mist", on=False)
        if "M8" in codes:
            self._set_output("flood", on=True)
        if "M7" in codes:
            self._set_output("mist", on=True)
        if self._outputs != before:
            self._override_countdown = 0

    def _plan(self, target: Triple, feed_mm_per_min: float, kind: BlockKind) -> _Steps:
        while self._motion.blocks >= protocol.PLANNER_BLOCKS:
            yield
        if self._checking:
            return
        start = self._motion.end
        length = math.dist(start, target)
        speed = feed_mm_per_min / 60
        for axis, number in enumerate(protocol.MAX_RATE):
            moved = abs(target[axis] - start[axis])
            if moved:
                speed = min(speed, self._settings[number] / 60 * length / moved)
        self._motion.add(Block(target, speed, kind))

    def _finish_moves(self) -> _Steps:
        while self._motion.busy:
            yield

    def _is_pressed(self, axis: int) -> bool:
        """Whether an axis is on its limit switch; hitting the far end shows there too."""
        true_mm, travel_mm = self._motion.true_mm[axis], self._motion.travel_mm[axis]
        at_low_end = int(self._settings[protocol.HOMING_DIRECTION]) >> axis & 1
        on_it = true_mm <= 1e-6 if at_low_end else true_mm >= travel_mm - 1e-6
        return on_it or self._motion.limit_hit == axis

    def _report_status(self) -> None:
        state = self._state()
        pace = "busy" if state in ("Run", "Hold:0", "Jog", "Door:0") else "idle"
        machine = self._coordinates.on_steps(self._motion.machine)
        offset = self._coordinates.offset(self._modal)
        if int(self._settings[protocol.STATUS_MASK]) & 1:
            fields = [state, f"MPos:{protocol.format_triple(machine)}"]
        else:
            work = (machine[0] - offset[0], machine[1] - offset[1], machine[2] - offset[2])
            fields = [state, f"WPos:{protocol.format_triple(work)}"]
        if int(self._settings[protocol.STATUS_MASK]) & 2:
            free = protocol.RECEIVE_BUFFER_BYTES - len(self._unread)
            fields.append(f"Bf:{protocol.PLANNER_BLOCKS - self._motion.blocks},{free}")
        fields.append(f"FS:{self._motion.speed_mm_per_s * 60:.0f},{self._modal.speed:.0f}")
        pins = "P" if self._probe() else ""
        pins += "".join(letter for axis, letter in enumerate("XYZ") if self._is_pressed(axis))
        if self._door_open:
            pins += protocol.DOOR_PIN
        if pins:
            fields.append(f"Pn:{pins}")
        if self._wco_countdown > 0:
            self._wco_countdown -= 1
        else:
            self._wco_countdown = WCO_EVERY[pace] - 1
            self._override_countdown = self._override_countdown or 1
            fields.append(f"WCO:{protocol.format_triple(offset)}")
        if self._override_countdown > 0:
            self._override_countdown -= 1
        else:
            self._override_countdown = OVERRIDES_EVERY[pace] - 1
            fields.append(f"Ov:{self._motion.feed_override * 100:.0f},100,100")
            letters = "".join(
                protocol.OUTPUT_LETTERS[name] for name, level in self._outputs.items() if level
            )
            if letters:
                fields.append(f"A:{letters}")
        self._say("<" + "|".join(fields) + ">")
