"""What the simulated GRBL controller does with a line: system commands, jogs and G-code."""

import math
from collections.abc import Callable

from drivers.grbl import protocol
from drivers.grbl.coordinates import millimetres_per
from drivers.grbl.gcode import COOLANT, JOG_WORDS, GcodeError, Line, parse_line, strip_comments
from drivers.grbl.protocol import Triple
from drivers.grbl.simulated_machine import SimulatedMachine, Steps
from drivers.simulated_axes import Block, BlockKind


class _RestartedError(Exception):
    """The controller restarted in the middle of a line."""


class LineInterpreter(SimulatedMachine):
    """The machine with an interpreter of its lines."""

    def _execute(self, text: str) -> Steps:
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

    def _execute_system(self, line: str) -> Steps:
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

    def _home(self) -> Steps:
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

    def _run_axis(self, axis: int, distance: float, speed: float) -> Steps:
        target = list(self._motion.machine)
        target[axis] += distance
        self._motion.add(Block((target[0], target[1], target[2]), speed, "homing"))
        while self._motion.busy:
            yield

    def _jog(self, text: str) -> Steps:
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

    def _execute_gcode(self, line: Line) -> Steps:
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

    def _move(self, line: Line, units: str) -> Steps:
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

    def _plan(self, target: Triple, feed_mm_per_min: float, kind: BlockKind) -> Steps:
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

    def _finish_moves(self) -> Steps:
        while self._motion.busy:
            yield
