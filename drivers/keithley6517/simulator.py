"""A Keithley 6517 on a serial port or socket that drives a load through its ammeter."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.keithley.scpi_machine import Action, Link, choice, number, switch
from drivers.keithley.source_machine import SourceMachine
from drivers.keithley6517 import protocol
from drivers.supply.terminals import Terminals

FIRMWARE = "A13/700x"
NANOAMPERE_SETTLING_S = 0.05


@dataclass
class _State:
    """What the mains switch restores."""

    set_v: float = 0.0
    range_v: float = 100.0
    limit_v: float = 1000.0
    limit_on: bool = False
    resistor: bool = False
    connected: bool = False
    output_on: bool = False
    zero_check: bool = True
    zero_correct: bool = False
    function: str = "VOLT"
    autorange: bool = True
    range_a: float = 20e-3
    nplc: float = 1.0
    continuous: bool = True
    elements: str = "READ,TIME,STAT"


class Keithley6517Simulator(SourceMachine[_State]):
    """A 6517 whose source sees ``load`` in series with its ammeter.

    Args:
        load: current in A drawn at a voltage in V; rising with the voltage.
        interlock_closed: whether the interlock lets the output go on.
        link: ``tcp`` or ``pty``.
        model: a name in :data:`drivers.keithley6517.protocol.MODELS`.
        capacitance_f: capacitor at the terminals.
        offset_a: offset of the ammeter, gone once the zero is corrected.
        noise_a: RMS of a reading at one power line cycle.
        relative_noise: RMS of a reading relative to the current.
    """

    NAME = "keithley-6517"
    ERROR_QUEUE_LENGTH = protocol.ERROR_QUEUE_LENGTH

    def __init__(
        self,
        load: Callable[[float], float],
        interlock_closed: Callable[[], bool] = lambda: True,
        clock: Clock | None = None,
        *,
        link: Link = "tcp",
        terminator: bytes = b"\n",
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        model: str = "MODEL 6517B",
        serial: str = "1265432",
        capacitance_f: float = 0.0,
        offset_a: float = 5e-12,
        noise_a: float = 2e-15,
        relative_noise: float = 1e-4,
        faults: LineFaults | None = None,
    ) -> None:
        self._clock = clock or RealClock()
        self._identity = f"{protocol.MAKER} INC.,{model},{serial},{FIRMWARE}"
        self._interlock_closed = interlock_closed
        self._rng = np.random.default_rng(seed)
        self._noise_a = noise_a
        self._relative_noise = relative_noise
        self._offset_a = offset_a
        self._state = _State()
        self._last = ""
        self._device = load
        self.terminals = Terminals(
            self._drawn_a, self._clock, capacitance_f=capacitance_f, settling_s=0.005
        )
        super().__init__(link=link, terminator=terminator, host=host, port=port, faults=faults)

    def _restarted(self) -> _State:
        return _State()

    def true_load_v(self) -> float:
        """The voltage that is left for the load behind the resistor, for tests and the twin."""
        voltage_v = self.true_voltage_v()
        lost_v = self._drawn_a(voltage_v) * protocol.RESISTOR_OHM if self._state.resistor else 0.0
        return voltage_v - lost_v

    def true_limits(self) -> tuple[float, float]:
        """Voltage limit (V) and the current (A) that can flow at most, for tests."""
        with self._lock:
            state = self._state
            limit_v = state.limit_v if state.limit_on else protocol.MAX_V
            most_a = dict(protocol.RANGES)[state.range_v]
            return limit_v, min(
                most_a, limit_v / protocol.RESISTOR_OHM
            ) if state.resistor else most_a

    def _drawn_a(self, voltage_v: float) -> float:
        """What flows out of the source, with or without the resistor in its way."""
        if not self._state.resistor:
            return self._device(voltage_v)
        low, high = 0.0, 1.0
        for _ in range(40):
            part = (low + high) / 2
            if abs(self._device(part * voltage_v)) * protocol.RESISTOR_OHM > abs(
                (1 - part) * voltage_v
            ):
                high = part
            else:
                low = part
        return self._device(low * voltage_v)

    def _let_pass(self) -> float:
        if self._state.output_on and not self._interlock_closed():
            self._state.output_on = False
            self._drive()
        return self._clock.now_s()

    def _drive(self) -> None:
        state = self._state
        target_v = 0.0
        if state.output_on:
            highest_v = min(state.range_v, state.limit_v if state.limit_on else math.inf)
            target_v = max(-highest_v, min(highest_v, state.set_v))
        self.terminals.drive(target_v, dict(protocol.RANGES)[state.range_v])

    def _read(self, _: str) -> str:
        state = self._state
        self._clock.sleep(state.nplc / protocol.POWER_LINE_HZ + NANOAMPERE_SETTLING_S)
        self._let_pass()
        current_a = self.terminals.current_a() if state.connected else 0.0
        if not state.zero_correct:
            current_a += self._offset_a
        current_a += self._rng.normal() * self._noise_a / math.sqrt(state.nplc)
        current_a *= 1 + self._rng.normal() * self._relative_noise
        letter = "N"
        most_a = protocol.MAX_CURRENT_A if state.autorange else 1.05 * state.range_a
        if state.zero_check:
            letter = "Z"
        elif abs(current_a) > most_a:
            letter, current_a = "O", protocol.OVERFLOW
        self._last = protocol.format_number(current_a)
        if state.elements != protocol.READING_ONLY:
            self._last += f"{letter}ADC,+0000001.00secs"
        elif letter == "Z":
            self._last += "ZADC"
        return self._last

    def _switch_output(self, argument: str) -> None:
        on = switch(argument)
        if on and not self._interlock_closed():
            # the manual has a code of its own for this, not known here
            self._queue_error(-221)
            return
        self._state.output_on = on
        self._drive()

    def _level(self, argument: str) -> float:
        return number(argument, -self._state.range_v, self._state.range_v)

    def _range(self, argument: str) -> float:
        return 100.0 if abs(number(argument, -1000.0, 1000.0)) <= 100 else 1000.0

    def _format_number(self, value: float) -> str:
        return protocol.format_number(value)

    def _format_error(self, code: int) -> str:
        return protocol.format_error(code)

    def _vocabulary(self) -> dict[str, Action]:
        words: dict[str, Action] = {
            "*IDN?": lambda _: self.faults.identity(self._identity),
            "*CLS": self._clear,
            "*OPC?": lambda _: "1",
            ":SYSTem:ERRor[:NEXT]?": self._next_error,
            ":READ?": self._read,
            ":FETCh?": lambda _: self._last or self._read(""),
            ":OUTPut[1][:STATe]": self._switch_output,
            ":OUTPut[1][:STATe]?": self._say("output_on"),
            ":SOURce[1]:CURRent:LIMit[:STATe]?": lambda _: str(
                int(self._state.output_on and self.terminals.limited())
            ),
        }
        voltage = ":SOURce[1]:VOLTage"
        for header, name, convert in (
            (f"{voltage}[:LEVel][:IMMediate][:AMPLitude]", "set_v", self._level),
            (f"{voltage}:RANGe", "range_v", self._range),
            (f"{voltage}:LIMit[:AMPLitude]", "limit_v", lambda a: number(a, 0.0, 1000.0)),
            (f"{voltage}:LIMit:STATe", "limit_on", switch),
            (f"{voltage}:MCONnect", "connected", switch),
            (":SOURce[1]:CURRent:RLIMit[:STATe]", "resistor", switch),
            (":SYSTem:ZCHeck[:STATe]", "zero_check", switch),
            (":SYSTem:ZCORrect[:STATe]", "zero_correct", switch),
            (
                ":SENSe[1]:FUNCtion[:ON]",
                "function",
                lambda a: choice(a.split(":")[0], ("VOLTage", "CURRent", "RESistance", "CHARge")),
            ),
            (":SENSe[1]:CURRent[:DC]:RANGe[:UPPer]", "range_a", lambda a: number(a, -0.021, 0.021)),
            (":SENSe[1]:CURRent[:DC]:RANGe:AUTO", "autorange", switch),
            (":SENSe[1]:CURRent[:DC]:NPLCycles", "nplc", lambda a: number(a, 0.01, 10.0)),
            (":INITiate:CONTinuous", "continuous", switch),
            (":FORMat:ELEMents", "elements", lambda a: a.upper().replace(" ", "")),
        ):
            words[header] = self._set(name, convert)
            words.setdefault(header + "?", self._say(name))
        return words
