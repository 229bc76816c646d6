"""An A7585D on a pseudo-terminal that biases a load."""

import math
import threading
from collections.abc import Callable

import numpy as np

from drivers.caen_a7585 import protocol
from drivers.caen_a7585.protocol import Mode, Monitor, Register
from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.output_stage import Load, Slope, held_by_limit
from drivers.pty_lines import PtyLines

DISCHARGE_TIME_S = 0.15
INPUT_V = 5.02
PRODUCT = 50
SERIAL = 1042
FIRMWARE = 12
HARDWARE = 3

DEFAULTS: dict[Register, float] = {
    Register.HV_ON: 0,
    Register.MODE: Mode.DIGITAL,
    Register.TARGET_V: protocol.LOWEST_V,
    Register.RAMP_V_PER_S: 5,
    Register.MAX_V: protocol.HIGHEST_V,
    Register.MAX_MA: protocol.HIGHEST_MA,
    Register.MAX_C: 85,
    Register.SENSOR_M2: 0,
    Register.SENSOR_M: 50,
    Register.SENSOR_Q: 0,
    Register.FILTER_VOUT: 1,
    Register.FILTER_IOUT: 1,
    Register.FILTER_VREF: 1,
    Register.FILTER_TREF: 1,
    Register.TEMPERATURE_COEFFICIENT: 0,
    Register.TABLE_ON: 0,
    Register.PI_ON: 1,
    Register.EMERGENCY_STOP: 0,
    Register.ZERO_CURRENT: 0,
    Register.TABLE_ADDRESS: 0,
    Register.TABLE_C: 0,
    Register.TABLE_V: 0,
    Register.TABLE_LENGTH: 0,
    Register.I2C_ADDRESS: 0x70,
    Register.CURRENT_RANGE: 2,
    Register.SAVE: 0,
}
BOUNDS: dict[Register, tuple[float, float]] = {
    Register.MODE: (0, 2),
    Register.TARGET_V: (protocol.LOWEST_V, protocol.HIGHEST_V),
    Register.RAMP_V_PER_S: (0, 1000),
    Register.MAX_V: (protocol.LOWEST_V, protocol.HIGHEST_V),
    Register.MAX_MA: (0, protocol.HIGHEST_MA),
}


class CaenA7585Simulator:
    """A module that answers on ``address`` and whose terminals see ``load``.

    Its output begins at 20 V at once, follows its target at its ramp, is held by its voltage limit
    and sags to where the load draws its current limit, and goes off above its highest
    temperature and on an emergency stop; off, it discharges in a moment. How the real module does
    these is unverified. Its state outlives its clients.

    Args:
        load: current in A drawn at a voltage in V; rising with the voltage.
        temperature_c: of the thermometer input.
        noise_v, noise_a: RMS of a reading.
        flag_words: whether switches read as ``true`` and ``false`` or as ``1`` and ``0``.
        product: product code.
        faults: what happens to the replies.
    """

    def __init__(
        self,
        load: Load,
        temperature_c: Callable[[], float] = lambda: 25.0,
        clock: Clock | None = None,
        *,
        seed: int = 0,
        noise_v: float = 1e-3,
        noise_a: float = 2e-8,
        flag_words: bool = True,
        product: int = PRODUCT,
        serial: int = SERIAL,
        faults: LineFaults | None = None,
    ) -> None:
        self._load = load
        self._temperature_c = temperature_c
        self._clock = clock or RealClock()
        self._rng = np.random.default_rng(seed)
        self._noise_v, self._noise_a = noise_v, noise_a
        self._flag_words = flag_words
        self._product, self._serial = product, serial
        self._lock = threading.RLock()
        self._registers = dict(DEFAULTS)
        self._saved = dict(DEFAULTS)
        self._slope = Slope(self._clock)
        self._off_since_s = -math.inf
        self._off_from_v = 0.0
        self._echoes = True
        self.faults = faults or LineFaults()
        self._end = PtyLines(self._answer_line, name="caen-a7585", faults=self.faults)

    @property
    def address(self) -> str:
        """The device path; known once started."""
        return self._end.path

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def power_cycle(self) -> None:
        """Lose everything that was not saved."""
        with self._lock:
            self._switch(on=False)
            self._registers = dict(self._saved) | {Register.HV_ON: 0}
            self._echoes = True

    def press_output_button(self) -> None:
        """Toggle the output, as another program on the module's other port could."""
        with self._lock:
            self._switch(on=not self._registers[Register.HV_ON])
            self._advance()

    def set_by_hand(self, register: Register, value: float) -> None:
        """Write a register from somewhere else."""
        with self._lock:
            self._advance()
            self._write(register, value)

    def register(self, register: Register) -> float:
        """What a register holds, for tests."""
        with self._lock:
            self._advance()
            return self._registers[register]

    def output_is_on(self) -> bool:
        """The true state, for tests and the twin."""
        return bool(self.register(Register.HV_ON))

    def true_voltage_v(self) -> float:
        """The voltage at the terminals now, for tests and the twin."""
        with self._lock:
            self._advance()
            return self._terminals()[0]

    def _answer_line(self, line: bytes) -> bytes | None:
        text = line.decode("latin-1").strip()
        with self._lock:
            self._advance()
            echo = line + b"\n" if self._echoes else b""
            reply = self._execute(text) if text else None
        return echo + (reply.encode() + protocol.TERMINATOR if reply is not None else b"") or None

    def _execute(self, text: str) -> str:
        name, _, arguments = text.partition(",")
        match name:
            case protocol.MACHINE_MODE:
                self._echoes = False
                return protocol.OK
            case protocol.MAKER_QUERY:
                return "Nuclear Instruments"
            case protocol.MODEL_QUERY:
                return "A7585D"
            case "AT+GET" if arguments.isdigit():
                return self._get(int(arguments))
            case "AT+SET":
                return self._set(*arguments.partition(",")[::2])
        return "ERROR"

    def _get(self, number: int) -> str:
        register = _register(number)
        if register is None:
            return "ERROR"
        if isinstance(register, Monitor):
            value = self._monitor(register)
        else:
            value = self._registers[register]
        if register in protocol.SWITCHES:
            words = ("false", "true") if self._flag_words else ("0", "1")
            return f"{protocol.OK}={words[bool(value)]}"
        if register is Monitor.SERIAL:
            return f"{protocol.OK}={self.faults.identity(str(int(value)))}"
        if register in protocol.WHOLE or register >= Monitor.PRODUCT_CODE:
            return f"{protocol.OK}={int(value)}"
        return f"{protocol.OK}={value:.6f}"

    def _set(self, number: str, words: str) -> str:
        register = _register(int(number)) if number.isdigit() else None
        try:
            value = float(words)
        except ValueError:
            value = math.nan
        if not isinstance(register, Register) or not math.isfinite(value):
            return "ERROR"
        low, high = BOUNDS.get(register, (-math.inf, math.inf))
        if not low <= value <= high:
            return "ERROR"
        self._write(register, value)
        return protocol.OK

    def _write(self, register: Register, value: float) -> None:
        match register:
            case Register.HV_ON:
                self._switch(on=bool(value))
            case Register.EMERGENCY_STOP if value:
                self._switch(on=False)
            case Register.SAVE:
                self._saved = dict(self._registers)
            case _:
                self._registers[register] = value
        self._advance()

    def _switch(self, *, on: bool) -> None:
        if on == bool(self._registers[Register.HV_ON]):
            return
        if on:
            self._slope.jump_to(protocol.LOWEST_V)
        else:
            self._off_from_v = self._terminals()[0]
            self._off_since_s = self._clock.now_s()
        self._registers[Register.HV_ON] = on

    def _wanted_v(self) -> float:
        target_v = self._registers[Register.TARGET_V] + self._correction_v()
        return max(protocol.LOWEST_V, min(target_v, self._registers[Register.MAX_V]))

    def _correction_v(self) -> float:
        if self._registers[Register.MODE] != Mode.TEMPERATURE:
            return 0.0
        above_c = self._temperature_c() - protocol.REFERENCE_TEMPERATURE_C
        return -self._registers[Register.TEMPERATURE_COEFFICIENT] * 1e-3 * above_c

    def _advance(self) -> None:
        """What has happened by itself since the last look."""
        if self._temperature_c() > self._registers[Register.MAX_C]:
            self._switch(on=False)
        wanted_v, rate = self._wanted_v(), self._registers[Register.RAMP_V_PER_S]
        if wanted_v != self._slope.target_v:
            self._slope.go_to(wanted_v, rate)

    def _terminals(self) -> tuple[float, bool]:
        if not self._registers[Register.HV_ON]:
            constants = (self._clock.now_s() - self._off_since_s) / DISCHARGE_TIME_S
            return self._off_from_v * (math.exp(-constants) if constants < 40 else 0.0), False
        return held_by_limit(
            self._slope.now_v(), self._load, self._registers[Register.MAX_MA] * 1e-3
        )

    def _monitor(self, register: Monitor) -> float:
        voltage_v, limited = self._terminals()
        current_a = self._load(voltage_v) + self._rng.normal() * self._noise_a
        values = {
            Monitor.VIN: INPUT_V,
            Monitor.VOUT: voltage_v + self._rng.normal() * self._noise_v,
            Monitor.IOUT_MA: current_a * 1e3,
            Monitor.TREF_C: self._temperature_c(),
            Monitor.TARGET_V: self._wanted_v(),
            Monitor.RAMP_AT_V: self._slope.now_v(),
            Monitor.CORRECTION_V: self._correction_v(),
            Monitor.COMPLIANCE_V: self._registers[Register.TARGET_V] + self._correction_v()
            > self._registers[Register.MAX_V],
            Monitor.COMPLIANCE_I: limited,
            Monitor.PRODUCT_CODE: self._product,
            Monitor.FIRMWARE: FIRMWARE,
            Monitor.HARDWARE: HARDWARE,
            Monitor.SERIAL: self._serial,
        }
        return float(values.get(register, 0.0))


def _register(number: int) -> Register | Monitor | None:
    for kind in (Register, Monitor):
        if number in kind.__members__.values():
            return kind(number)
    return None
