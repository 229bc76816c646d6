"""A Keithley 2400 or 2410 on a serial port or socket that drives a load."""

import math
from collections.abc import Callable

import numpy as np

from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.keithley.scpi_machine import (
    Action,
    Link,
    ScpiError,
    choice,
    number,
    switch,
)
from drivers.keithley.source_machine import SourceMachine
from drivers.keithley2400 import protocol
from drivers.keithley2400.state import State, Sweep
from drivers.supply.terminals import Terminals

FIRMWARE = "C34 Sep 21 2016 15:30:00/A02  /U/M"
OFF_LIMIT = 0.005
"""Part of the current range that is left as the limit while the output is off."""


class Keithley2400Simulator(SourceMachine[State]):
    """A 2400 whose terminals see ``load``; its state outlives its clients.

    Args:
        load: current in A drawn at a voltage in V; rising with the voltage.
        output_enabled: whether the output-enable line at the rear lets the output go on; counts
            only once ``:OUTP:ENAB`` is on, or in the 2450.
        link: ``tcp`` or ``pty``.
        model: ``MODEL 2400``, ``MODEL 2410``, or ``MODEL 2450``, which also has a language.
        capacitance_f: capacitor at the terminals.
        noise_a, noise_v: RMS of a reading at one power line cycle.
    """

    NAME = "keithley-2400"
    ERROR_QUEUE_LENGTH = protocol.ERROR_QUEUE_LENGTH

    def __init__(
        self,
        load: Callable[[float], float],
        output_enabled: Callable[[], bool] = lambda: True,
        clock: Clock | None = None,
        *,
        link: Link = "tcp",
        terminator: bytes = b"\n",
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        model: str = "MODEL 2400",
        serial: str = "1234567",
        language: str = protocol.EMULATED_LANGUAGE,
        capacitance_f: float = 0.0,
        noise_a: float = 2e-11,
        noise_v: float = 2e-4,
        faults: LineFaults | None = None,
    ) -> None:
        self._clock = clock or RealClock()
        self._model = protocol.MODELS[model]
        self._identity = f"{protocol.MAKER} INC.,{model},{serial},{FIRMWARE}"
        self._language = language
        self._output_enabled = output_enabled
        self._rng = np.random.default_rng(seed)
        self._noise_a = noise_a
        self._noise_v = noise_v
        self._state = State()
        self._sweep: Sweep | None = None
        self.terminals = Terminals(load, self._clock, capacitance_f=capacitance_f)
        super().__init__(link=link, terminator=terminator, host=host, port=port, faults=faults)

    def _restarted(self) -> State:
        self._sweep = None
        return State(output_enable=self._state.output_enable)

    def true_limits(self) -> tuple[float, float]:
        """Over-voltage protection (V) and compliance (A) that hold now, for tests."""
        with self._lock:
            return self._state.overvoltage_v, self._state.compliance_a

    def _before(self, header: str) -> None:
        self._let_pass()
        if self._sweep is not None and "ABOR" not in header.upper():
            # out of idle nothing but an abort is heard
            sweep = self._sweep
            ends_s = sweep.since_s + len(sweep.points_v) * sweep.per_point_s
            self._clock.sleep(ends_s - self._clock.now_s() + 1e-3)
            self._let_pass()

    def _let_pass(self) -> float:
        """Let the sweep and the output-enable line act up to now, which is returned."""
        now_s = self._clock.now_s()
        while (sweep := self._sweep) is not None:
            due_s = sweep.since_s + (sweep.done + 1) * sweep.per_point_s
            if due_s > now_s:
                break
            self._drive(at_s=due_s)
            self._state.readings.append(self._measured(due_s))
            limited = self.terminals.limited(at_s=due_s)
            sweep.done += 1
            if sweep.done == len(sweep.points_v) or (limited and self._state.aborts == "LATE"):
                self._sweep = None
            else:
                self._drive(sweep.points_v[sweep.done], at_s=due_s)
        if self._state.output_on and not self._may_be_on():
            self._state.output_on = False
            self._sweep = None
            self._drive(at_s=now_s)
        return now_s

    def _may_be_on(self) -> bool:
        watched = self._state.output_enable or (
            self._model.name == "2450" and abs(self._state.set_v) > protocol.INTERLOCK_FREE_MAX_V
        )
        return not watched or self._output_enabled()

    def _drive(self, level_v: float | None = None, *, at_s: float | None = None) -> None:
        """Send the output stage to where the settings, or a point of a sweep, want it."""
        state = self._state
        left = {"NORM": OFF_LIMIT, "HIMP": 0.0}.get(state.off_mode, 1.0)
        target_v, limit_a = 0.0, left * state.compliance_a
        if state.output_on:
            wanted_v = state.set_v if level_v is None else level_v
            if level_v is None and self._sweep is not None:
                wanted_v = self._sweep.points_v[self._sweep.done]
            highest_v = min(state.overvoltage_v, 1.1 * state.range_v)
            target_v = max(-highest_v, min(highest_v, wanted_v))
            limit_a = state.compliance_a
        if state.source_function != "VOLT":
            target_v = 0.0
        self.terminals.drive(target_v, limit_a, at_s=at_s)

    def _measured(self, at_s: float) -> str:
        state = self._state
        averaging = 1 / math.sqrt(state.nplc)
        status = protocol.STATUS_VOLTAGE_SOURCED
        voltage_v = state.set_v
        if "VOLT" in state.sense_functions:
            status |= protocol.STATUS_VOLTAGE_MEASURED
            voltage_v = (
                self.terminals.voltage_v(at_s=at_s) + self._rng.normal() * averaging * self._noise_v
            )
        if "CURR" in state.sense_functions:
            status |= protocol.STATUS_CURRENT_MEASURED
        if self.terminals.limited(at_s=at_s):
            status |= protocol.STATUS_COMPLIANCE
        if abs(state.set_v) > state.overvoltage_v:
            status |= protocol.STATUS_OVERVOLTAGE
        current_a = (
            self.terminals.current_a(at_s=at_s) + self._rng.normal() * averaging * self._noise_a
        )
        if abs(current_a) > 1.1 * self._model.max_low_a:
            status |= protocol.STATUS_OVERFLOW
            current_a = math.copysign(protocol.OVERFLOW, current_a)
        return protocol.format_measurement(protocol.Measurement(voltage_v, current_a, status), at_s)

    def _read(self, _: str) -> str:
        if not self._state.output_on:
            raise ScpiError(803)
        self._clock.sleep(self._measuring_s() + self._state.delay_s)
        self._let_pass()
        if not self._state.output_on:
            raise ScpiError(803)
        self._state.readings = [self._measured(self._clock.now_s())]
        return self._fetch("")

    def _fetch(self, _: str) -> str:
        if not self._state.readings:
            raise ScpiError(-420)
        names = protocol.ALL_ELEMENTS.split(",")
        wanted = self._state.elements.split(",")
        return ",".join(
            field
            for reading in self._state.readings
            for name, field in zip(names, reading.split(","), strict=True)
            if name in wanted
        )

    def _measuring_s(self) -> float:
        return len(self._state.sense_functions) * self._state.nplc / protocol.POWER_LINE_HZ

    def _initiate(self, _: str) -> None:
        state = self._state
        if not state.output_on:
            raise ScpiError(803)
        state.readings = []
        if state.mode != "SWE":
            state.readings = [self._measured(self._clock.now_s())] * state.trigger_count
            return
        span_v = state.stop_v - state.start_v
        count = round(span_v / state.step_v) + 1 if state.step_v else 1
        if span_v * state.step_v < 0 or count < 1:
            raise ScpiError(-221)
        points = [state.start_v + k * state.step_v for k in range(count)][: state.trigger_count]
        since_s = self._clock.now_s()
        self._sweep = Sweep(points, since_s, state.delay_s + self._measuring_s())
        self._drive(at_s=since_s)

    def _abort(self, _: str) -> None:
        self._sweep = None
        self._drive()

    def _switch_output(self, argument: str) -> None:
        on = switch(argument)
        if on and not self._may_be_on():
            raise ScpiError(802)
        self._state.output_on = on
        self._drive()

    def _protection(self, argument: str) -> float:
        if argument.upper() in ("NONE", "DEF", "MAX"):
            return math.inf
        wanted_v = abs(number(argument, -self._model.max_v, self._model.max_v))
        lower = [step_v for step_v in self._model.overvoltage_steps_v if step_v <= wanted_v]
        if wanted_v > self._model.overvoltage_steps_v[-1]:
            return math.inf
        return float(lower[-1] if lower else self._model.overvoltage_steps_v[0])

    def _level(self, argument: str) -> float:
        value = number(argument, -self._model.max_v, self._model.max_v)
        if abs(value) > 1.1 * self._state.range_v:
            raise ScpiError(-222)
        return value

    def _range(self, argument: str) -> float:
        wanted_v = abs(number(argument, -self._model.max_v, self._model.max_v))
        return next(r for r in self._model.ranges_v if wanted_v <= 1.1 * r)

    def _sensed(self, argument: str) -> tuple[str, ...]:
        names = [
            choice(name.strip(), ("VOLTage", "CURRent", "RESistance"))
            for name in argument.split(",")
        ]
        kept = self._state.sense_functions if self._state.concurrent else ()
        return tuple(sorted({*kept, *names}, reverse=True))

    def _elements(self, argument: str) -> str:
        given = [name.strip().upper()[:4] for name in argument.split(",")]
        if not set(given) <= {"VOLT", "CURR", "RES", "TIME", "STAT"}:
            raise ScpiError(-224)
        return ",".join(name for name in protocol.ALL_ELEMENTS.split(",") if name in given)

    def _format_number(self, value: float) -> str:
        return protocol.format_number(value)

    def _format_error(self, code: int) -> str:
        return protocol.format_error(code)

    def _vocabulary(self) -> dict[str, Action]:
        highest_a = self._model.max_low_a
        words: dict[str, Action] = {
            "*IDN?": lambda _: self.faults.identity(self._identity),
            "*OPC?": lambda _: "1",
            "*CLS": self._clear,
            ":SYSTem:ERRor[:NEXT]?": self._next_error,
            ":SYSTem:REMote": lambda _: None,
            ":READ?": self._read,
            ":FETCh?": self._fetch,
            ":INITiate[:IMMediate]": self._initiate,
            ":ABORt": self._abort,
            ":OUTPut[1][:STATe]": self._switch_output,
            ":OUTPut[1][:STATe]?": self._say("output_on"),
            ":OUTPut[1]:ENABle:TRIPped?": lambda _: str(int(self._output_enabled())),
            ":SENSe[1]:CURRent[:DC]:PROTection:TRIPped?": lambda _: str(
                int(self._state.output_on and self.terminals.limited())
            ),
            ":SOURce[1]:VOLTage:PROTection[:LEVel]?": lambda _: protocol.format_number(
                min(self._state.overvoltage_v, self._model.max_v)
            ),
        }
        if self._model.name == "2450":
            words["*LANG?"] = lambda _: self._language
        voltage = ":SOURce[1]:VOLTage"
        for header, name, convert in (
            (f"{voltage}[:LEVel][:IMMediate][:AMPLitude]", "set_v", self._level),
            (f"{voltage}:RANGe", "range_v", self._range),
            (f"{voltage}:MODE", "mode", lambda a: choice(a, ("FIXed", "SWEep", "LIST"))),
            (f"{voltage}:STARt", "start_v", self._level),
            (f"{voltage}:STOP", "stop_v", self._level),
            (f"{voltage}:STEP", "step_v", lambda a: number(a, -2200.0, 2200.0)),
            (
                ":SOURce[1]:FUNCtion[:MODE]",
                "source_function",
                lambda a: choice(a, ("VOLTage", "CURRent", "MEMory")),
            ),
            (":SOURce[1]:DELay", "delay_s", lambda a: number(a, 0.0, 9999.999)),
            (":SOURce[1]:CLEar:AUTO", "auto_off", switch),
            (":SENSe[1]:FUNCtion[:ON]", "sense_functions", self._sensed),
            (":SENSe[1]:FUNCtion:CONCurrent", "concurrent", switch),
            (
                ":SENSe[1]:CURRent[:DC]:PROTection[:LEVel]",
                "compliance_a",
                lambda a: abs(number(a, -highest_a, highest_a)),
            ),
            (":SENSe[1]:CURRent[:DC]:RANGe:AUTO", "autorange", switch),
            (":SENSe[1]:CURRent[:DC]:NPLCycles", "nplc", lambda a: number(a, 0.01, 10.0)),
            (
                ":OUTPut[1]:SMODe",
                "off_mode",
                lambda a: choice(a, ("HIMPedance", "NORMal", "ZERO", "GUARd")),
            ),
            (":OUTPut[1]:ENABle[:STATe]", "output_enable", switch),
            (":ROUTe:TERMinals", "terminals", lambda a: choice(a, ("FRONt", "REAR"))),
            (":TRIGger:COUNt", "trigger_count", lambda a: int(number(a, 1, 2500))),
            (":FORMat:ELEMents", "elements", self._elements),
            (":SOURce[1]:SWEep:CABort", "aborts", lambda a: choice(a, ("NEVer", "EARLy", "LATE"))),
        ):
            words[header] = self._set(name, convert)
            words.setdefault(header + "?", self._say(name))
        words[f"{voltage}:PROTection[:LEVel]"] = self._set("overvoltage_v", self._protection)
        words[":SENSe[1]:FUNCtion[:ON]?"] = lambda _: ",".join(
            f'"{name}:DC"' for name in self._state.sense_functions
        )
        for header in (":SOURce[1]:SWEep:SPACing", ":SOURce[1]:SWEep:RANGing"):
            words[header] = lambda _: None
        return words
