"""The safe state of a line: ordered steps, each tried whatever happened to the others.

light off, bias down, bias switch open, glue valve shut, gantry stopped. A step is idempotent, has
its own deadline, runs on its own thread and is verified by reading back, so that a silent
instrument delays nothing but its own step. Only the switch waits: it can't break a current, so it
opens once the bias step has ended. The vacuum stays as it is: a held tile must not fall.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drivers.errors import InstrumentError, MachineAlarm
from station.safety.section import SafeStep

if TYPE_CHECKING:
    from station.line import Line

SAFE_VOLTAGE_V = 0.5
STEP_DEADLINE_S = 6.0
"""Longer than a driver insists on one command."""
RAMP_SLACK_S = 15.0
MOVING = ("Run", "Jog", "Home")


@dataclass(frozen=True)
class _Step:
    """`act` brings one thing to its safe state and returns what it could not verify, or None."""

    what: str
    act: Callable[["Line"], str | None]
    deadline_s: Callable[["Line"], float]
    after: SafeStep | None = None


def make_safe(line: "Line", steps: Sequence[SafeStep] | None = None) -> tuple[str, ...]:
    """Bring the line to its safe state. Idempotent, from any thread, several at once.

    steps: only these; None means the steps of the profile, of which the gantry is stopped only
    when the interlock has tripped. A trip about the bias breaks off what another thread has under
    way with the supply and brings the bias down first.

    Returns what could not be verified: an empty tuple means that the line is safe.
    """
    trip = line.interlock.tripped
    names = list(line.profile.safety.safe_state if steps is None else steps)
    if steps is None and trip is None and "gantry_stop" in names:
        names.remove("gantry_stop")
    if trip is not None and trip.quantity.startswith("bias."):
        names.sort(key=lambda name: name != "bias_down")
    return _take(line, names)


def halt(line: "Line") -> tuple[str, ...]:
    """Stop the motion at once, then the safe state."""
    steps = [name for name in line.profile.safety.safe_state if name != "gantry_stop"]
    return _take(line, ["gantry_stop", *steps])


def _take(line: "Line", names: Sequence[SafeStep]) -> tuple[str, ...]:
    begun_s = time.monotonic()
    taken = {name: _Taken(line, STEPS[name]) for name in names}
    for one in taken.values():
        one.start(taken)
    problems = [one.result(begun_s) for one in taken.values()]
    return tuple(problem for problem in problems if problem)


class _Taken:
    """One step on its way, on a thread of its own."""

    def __init__(self, line: "Line", step: _Step) -> None:
        self._line = line
        self._step = step
        self._problem: str | None = "it was broken off"
        self._stuck = False
        self._ended = threading.Event()

    def start(self, beside: Mapping[SafeStep, "_Taken"]) -> None:
        first = beside.get(self._step.after) if self._step.after else None
        thread = threading.Thread(
            target=self._run, args=(first,), name=f"safe-state: {self._step.what}", daemon=True
        )
        try:
            thread.start()
        except (RuntimeError, MemoryError):
            # the system has no thread left: better one step after the other than none
            self._run(first)

    def allowed_s(self) -> float:
        own_s = self._step.deadline_s(self._line)
        if self._step.after is None:
            return own_s
        return own_s + STEPS[self._step.after].deadline_s(self._line)

    def result(self, begun_s: float) -> str | None:
        ended = self._ended.wait(max(0.0, begun_s + self.allowed_s() - time.monotonic()))
        if self._step is STEPS["bias_down"]:
            self._line.interlock.bias_stuck = not ended or self._stuck
        if not ended:
            return f"{self._step.what}: not done within {self.allowed_s():.0f} s"
        return None if self._problem is None else f"{self._step.what}: {self._problem}"

    def _run(self, first: "_Taken | None") -> None:
        try:
            if first is not None:
                first._ended.wait(first.allowed_s())
            # one at a time: the step of another thread may undo what this one reads back
            lock = self._line.safe_locks[self._step.what]
            if not lock.acquire(timeout=self._step.deadline_s(self._line)):
                self._stuck = True
                self._problem = "the same step of another thread does not end"
                return
            try:
                self._problem = self._step.act(self._line)
            finally:
                lock.release()
        except InstrumentError as error:
            self._problem = str(error)
        except Exception as error:  # noqa: BLE001 - the other steps must be taken too
            self._problem = f"{type(error).__name__}: {error}"
        finally:
            self._ended.set()


def _light_off(line: "Line") -> str | None:
    line.light.pulse_off()
    return "still pulsing" if line.light.pulsing() else None


def _bias_down(line: "Line") -> str | None:
    # the supply's own way down breaks off what another thread has under way with it
    reading = line.bias_down()
    if reading.output_on or abs(reading.voltage_v) > SAFE_VOLTAGE_V:
        output = "on" if reading.output_on else "off"
        return f"bias still reads {reading.voltage_v:.2f} V, output {output}"
    return None


def _bias_switch_open(line: "Line") -> str | None:
    line.switch.disconnect()
    return "still closed" if line.switch.connected() else None


def _glue_valve_shut(line: "Line") -> str | None:
    if line.glue_valve is None:
        return None
    line.glue_valve.shut()
    return "still open" if line.glue_valve.is_open() else None


def _gantry_stop(line: "Line") -> str | None:
    line.gantry.stop()
    try:
        state = line.gantry.state()
    except MachineAlarm:
        return None
    return f"still in {state}" if state.startswith(MOVING) else None


def bias_deadline_s(line: "Line") -> float:
    """Real seconds after which a ramp down that has not ended is not believed to end."""
    section, scale = line.profile.bias, line.profile.station.time_scale
    return RAMP_SLACK_S + 1.5 * section.max_voltage_v / section.ramp_v_per_s / scale


def _soon(line: "Line") -> float:
    return STEP_DEADLINE_S


STEPS: Mapping[SafeStep, _Step] = {
    "light_off": _Step("light", _light_off, _soon),
    "bias_down": _Step("bias", _bias_down, bias_deadline_s),
    "bias_switch_open": _Step("bias switch", _bias_switch_open, _soon, after="bias_down"),
    "glue_valve_shut": _Step("glue valve", _glue_valve_shut, _soon),
    "gantry_stop": _Step("gantry", _gantry_stop, _soon),
}


def step_locks() -> dict[str, threading.Lock]:
    """A lock for each step, so that no two threads take the same one at once."""
    return {step.what: threading.Lock() for step in STEPS.values()}
