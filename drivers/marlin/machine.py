"""What the simulated controller of the Marlin family does: motion, switches, outputs, answers."""

import json
import re
from collections.abc import Callable, Generator

from drivers.clock import Clock
from drivers.marlin.protocol import DUET, MARLIN, SMOOTHIE, Dialect, Triple
from drivers.simulated_axes import Block, BlockKind, Motion

Steps = Generator[None, None, str | None]
"""Ends with what follows the ``ok``; None for no acknowledgement at all."""

PLANNER_BLOCKS = 16
STEPS_PER_MM = (80, 80, 400)
RATES_MM_PER_S = (200.0, 200.0, 50.0)
HOMING_MM_PER_S = 50.0
STOP_LOSES_MM = 0.05
"""What an axis slips when it is stopped without a deceleration."""
HALTED_ANSWERS = frozenset({"M105", "M106", "M107", "M114", "M119", "M503"})
HOMING_COMMANDS = ("G28", "G28.2")

_WORD = re.compile(r"([A-Z])(-?\d+\.?\d*)?")

MARLIN_IDENTITY = (
    "FIRMWARE_NAME:Marlin 2.1.2 (Aug  1 2023 12:00:00) "
    "SOURCE_CODE_URL:github.com/MarlinFirmware/Marlin PROTOCOL_VERSION:1.0 "
    "MACHINE_TYPE:Gantry EXTRUDER_COUNT:1 UUID:cede2a2f-41a2-4748-9b12-c55c62f367ff"
)
SMOOTHIE_IDENTITY = (
    "FIRMWARE_NAME:Smoothieware, FIRMWARE_URL:http%3A//smoothieware.org, "
    "X-SOURCE_CODE_URL:https://github.com/Smoothieware/Smoothieware, "
    "FIRMWARE_VERSION:edge-3332442, X-FIRMWARE_BUILD_DATE:Apr 22 2020 17:12:09, "
    "X-SYSTEM_CLOCK:100MHz, X-AXES:5, X-GRBL_MODE:0, X-CNC:0, X-MSD:1"
)
DUET_IDENTITY = (
    "FIRMWARE_NAME: RepRapFirmware for Duet 2 WiFi/Ethernet FIRMWARE_VERSION: 3.4.6 "
    "ELECTRONICS: Duet WiFi 1.02 or later FIRMWARE_DATE: 2023-07-21 14:08:28"
)


class Machine:
    """Three axes with limit switches at their low ends, and outputs."""

    def __init__(
        self,
        dialect: Dialect,
        clock: Clock,
        say: Callable[[str], None],
        *,
        travel: Triple,
        start_mm: Triple,
        backlash_mm: Triple,
        probe: Callable[[], bool],
        on_output: Callable[[str, bool], None],
        on_move: Callable[[Triple], None],
        emergency_parser: bool,
        identity: Callable[[str], str],
    ) -> None:
        self._dialect = dialect
        self._clock = clock
        self._say = say
        self._travel = travel
        self._probe = probe
        self._on_output = on_output
        self._emergency_parser = emergency_parser
        self._identity = identity
        self.axes = Motion(travel, start_mm, clock.now_s(), on_move, backlash_mm)
        self.outputs: dict[str, bool] = {}
        self.reset()

    def reset(self) -> None:
        """What a power-up and a reset do; the axes stay where they are."""
        self.axes.clear()
        # outside homing nobody looks at the switches: the motor grinds at the end
        self.axes.watched = False
        self.axes.declare((0.0, 0.0, 0.0))
        self.halted = False
        self.dead = False
        self.homed = False
        self._limits_on = True
        self._feed_mm_per_s = 50.0
        self._relative = False
        for name in list(self.outputs):
            self._set_output(name, level=False)

    def advance(self) -> None:
        self.axes.advance(self._clock.now_s())

    def stop(self, command: str) -> None:
        """M410 and M112: the axes stop without a deceleration and slip."""
        self._break_off()
        if command == "M112" and self._dialect is MARLIN:
            self._say("Error:Printer halted. kill() called!")
            self.dead = True

    def halt(self, message: str) -> None:
        self._break_off()
        self.halted = True
        self.homed = False
        self._say(message)

    def query(self) -> str:
        """Smoothie's answer to ``?``."""
        state = "Alarm" if self.halted else "Run" if self.axes.busy else "Idle"
        places = ",".join(f"{value:.4f}" for value in self.axes.machine)
        return f"<{state}|MPos:{places}|WPos:{places}|F:3000.0,0.0,100.0>"

    def execute(self, line: str) -> Steps:
        code = (line.split(maxsplit=1) or [""])[0]
        if self.halted and code not in HALTED_ANSWERS:
            return self._halted_answer(code)
        if code in HOMING_COMMANDS:
            return self._home()
        if code in ("G0", "G1"):
            return self._go(line)
        if code == "M400":
            return self._wait()
        if code == "M409":
            return self._model(line)
        return self._answer(code, line)

    def _halted_answer(self, code: str) -> Steps:
        yield from ()
        if code == "M999":
            self.halted = False
            if self._dialect is SMOOTHIE:
                self._say("WARNING: After HALT you should HOME as position is currently unknown")
            return ""
        if self._dialect is SMOOTHIE:
            self._say("!!")
        return None

    def _answer(self, code: str, line: str) -> Steps:
        yield from ()
        words = dict(_WORD.findall(line.partition(" ")[2]))
        if code == "M114" and self._dialect is SMOOTHIE:
            x, y, z = self.axes.end
            return f"C: X:{x:.4f} Y:{y:.4f} Z:{z:.4f}"
        if code == "M112" and self._dialect is not MARLIN:
            self.halt("ok Emergency Stop Requested - reset or M999 required to exit HALT state")
            return None
        if code in ("G90", "G91"):
            self._relative = code == "G91"
        elif code in ("M106", "M107", "M42"):
            self._switch(code, words)
        elif code == "M410":
            self._break_off()
        elif code == self._dialect.limits_off.split()[0] and words.get("S"):
            self._limits_on = float(words["S"]) != 0
        elif code in _QUIET:
            pass
        elif (lines := self._lines(code)) is not None:
            for text in lines:
                self._say(text)
        elif self._dialect is MARLIN:
            self._say(f'echo:Unknown command: "{line}"')
        elif self._dialect is DUET:
            self._say(f"Error: Bad command: {line}")
        return ""

    def _lines(self, code: str) -> list[str] | None:
        told: dict[str, Callable[[], list[str]]] = {
            "M115": self._identity_lines,
            "M114": lambda: [self._position()],
            "M119": self._endstops,
            "M503": _settings,
        }
        if self._dialect.limits:
            told[self._dialect.limits] = self._limits
        return told[code]() if code in told else None

    def _limits(self) -> list[str]:
        if self._dialect is DUET:
            places = ", ".join(
                f"{axis}: 0.0 min, {length:.1f} max"
                for axis, length in zip("XYZ", self._travel, strict=True)
            )
            return [f"Axis limits {places}"]
        x, y, z = self._travel
        return [
            f"echo:Soft endstops: On  Min:  X0.00 Y0.00 Z0.00   Max:  X{x:.2f} Y{y:.2f} Z{z:.2f}"
        ]

    def _identity_lines(self) -> list[str]:
        if self._dialect is SMOOTHIE:
            return [self._identity(SMOOTHIE_IDENTITY)]
        if self._dialect is DUET:
            return [self._identity(DUET_IDENTITY)]
        return [
            self._identity(MARLIN_IDENTITY),
            "Cap:SERIAL_XON_XOFF:0",
            "Cap:EEPROM:1",
            f"Cap:EMERGENCY_PARSER:{self._emergency_parser:d}",
        ]

    def _position(self) -> str:
        x, y, z = self.axes.end
        counts = [
            round(value * steps) for value, steps in zip(self.axes.end, STEPS_PER_MM, strict=True)
        ]
        if self._dialect is DUET:
            live = " ".join(f"{value:.3f}" for value in self.axes.machine)
            steps = " ".join(str(count) for count in counts)
            return (
                f"X:{x:.3f} Y:{y:.3f} Z:{z:.3f} E:0.000 E0:0.0 Count {steps} "
                f"Machine {live} Bed comp 0.000"
            )
        return (
            f"X:{x:.2f} Y:{y:.2f} Z:{z:.2f} E:0.00 Count X:{counts[0]} Y:{counts[1]} Z:{counts[2]}"
        )

    def _endstops(self) -> list[str]:
        at_end = [place <= 1e-6 for place in self.axes.true_mm]
        probe = self._probe()
        if self._dialect is MARLIN:
            named = [*zip(("x_min", "y_min", "z_min"), at_end, strict=True), ("z_probe", probe)]
            return [
                "Reporting endstop status",
                *(f"{name}: {'TRIGGERED' if level else 'open'}" for name, level in named),
            ]
        if self._dialect is SMOOTHIE:
            ends = " ".join(f"{axis}_min:{a:d}" for axis, a in zip("XYZ", at_end, strict=True))
            return [f"{ends} Probe:{probe:d} pins- (X)P1.24:{at_end[0]:d}"]
        ends = ", ".join(
            f"{axis}: {'at min stop' if a else 'not stopped'}"
            for axis, a in zip("XYZ", at_end, strict=True)
        )
        return [f"Endstops - {ends}, Z probe: {'at min stop' if probe else 'not stopped'}"]

    def _model(self, line: str) -> Steps:
        yield from ()
        key = line.partition('K"')[2].rstrip('"')
        results: dict[str, object] = {
            "move.axes[].homed": [self.homed] * 3,
            "state.status": "busy" if self.axes.busy else "idle",
            "fans[].actualValue": [
                float(self.outputs.get(f"fan{number}", False)) for number in range(4)
            ],
        }
        answer = {"key": key, "flags": "", "result": results.get(key)}
        self._say(json.dumps(answer, separators=(",", ":")))
        return ""

    def _switch(self, code: str, words: dict[str, str]) -> None:
        number = int(float(words.get("P") or 0))
        level = code != "M107" and float(words.get("S") or 255) > 0
        self._set_output(f"{'pin' if code == 'M42' else 'fan'}{number}", level=level)

    def _set_output(self, name: str, *, level: bool) -> None:
        if self.outputs.get(name, False) != level:
            self._on_output(name, level)
        self.outputs[name] = level

    def _wait(self) -> Steps:
        while self.axes.busy:
            yield
        return None if self.halted else ""

    def _go(self, line: str) -> Steps:
        words = dict(_WORD.findall(line.partition(" ")[2]))
        if words.get("F"):
            self._feed_mm_per_s = float(words["F"]) / 60
        target = list(self.axes.end)
        for axis, letter in enumerate("XYZ"):
            if words.get(letter):
                target[axis] = float(words[letter]) + (target[axis] if self._relative else 0.0)
        inside = all(0 <= value <= end for value, end in zip(target, self._travel, strict=True))
        if self._dialect is DUET and not (self.homed and (inside or not self._limits_on)):
            why = "target position outside machine limits" if self.homed else "axes not homed"
            self._say(f"Error: G1: {why}")
            return ""
        if self._dialect is MARLIN and self.homed and self._limits_on:
            # moved to the nearest place that is allowed, without a word
            target = [
                min(max(value, 0.0), end) for value, end in zip(target, self._travel, strict=True)
            ]
        while self.axes.blocks >= PLANNER_BLOCKS:
            yield
        self._add((target[0], target[1], target[2]), self._feed_mm_per_s, "line")
        return ""

    def _add(self, target: Triple, speed: float, kind: BlockKind) -> None:
        self.axes.add(Block(target, speed, kind))

    def _home(self) -> Steps:
        """Z first, then x and y, each to its switch at the low end."""
        for axis in (2, 0, 1):
            jammed = axis in self.axes.stuck
            distance = self.axes.distance_to(axis, 0.0, -1)
            target = list(self.axes.machine)
            target[axis] += -1.5 * self._travel[axis] if jammed else distance
            self._add((target[0], target[1], target[2]), HOMING_MM_PER_S, "homing")
            while self.axes.busy:
                yield
            if self.halted or self.dead:
                return None
            if jammed:
                return self._homing_failed()
            machine = list(self.axes.machine)
            machine[axis] = 0.0
            self.axes.declare((machine[0], machine[1], machine[2]))
        self.homed = True
        return ""

    def _homing_failed(self) -> str | None:
        self.homed = False
        if self._dialect is MARLIN:
            self._say("echo:Homing Failed")
            self.stop("M112")
            return None
        if self._dialect is SMOOTHIE:
            self.halt("ALARM: Homing fail")
            return None
        self._say("Error: Homing failed")
        return ""

    def _break_off(self) -> None:
        if self.axes.busy:
            before, after = self.axes.machine, self.axes.end
            self.axes.clear()
            for axis, (here, there) in enumerate(zip(before, after, strict=True)):
                if here != there:
                    slip = STOP_LOSES_MM if there > here else -STOP_LOSES_MM
                    self.axes.lose_steps(axis, slip)


def _settings() -> list[str]:
    x, y, z = RATES_MM_PER_S
    return [f"echo:  M203 X{x:.2f} Y{y:.2f} Z{z:.2f} E25.00"]


_QUIET = frozenset({"G20", "G21", "G4", "M110", "M999", "M17", "M18", "M84", "M105", "M113"})
