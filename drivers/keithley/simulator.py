"""A Keithley 2450 that listens on a TCP socket and drives a load."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.keithley import protocol
from drivers.keithley.scpi_machine import Action, ScpiError, number, switch
from drivers.keithley.source_machine import SourceMachine
from drivers.supply.terminals import Terminals

SETTLING_TIME_S = 0.002
SERIAL = "04412026"
FIRMWARE = "1.7.12b"


@dataclass
class _State:
    """What ``*RST`` restores."""

    source_function: str = "VOLT"
    sense_function: str = '"CURR:DC"'
    set_v: float = 0.0
    set_a: float = 0.0
    range_v: float = 0.02
    current_limit_a: float = 1.05e-4
    overvoltage: str = "NONE"
    read_back: bool = True
    autorange: bool = True
    current_range_a: float = 1e-4
    nplc: float = 1.0
    output_on: bool = False
    limited: bool = field(default=False)


class Keithley2450Simulator(SourceMachine[_State]):
    """A 2450 on ``TCPIP::<host>::<port>::SOCKET`` whose terminals see ``load``.

    The output settles exponentially, sags to where the load draws the current limit, is held by
    the over-voltage protection, and drops when the interlock opens above 37 V. Its state
    outlives its clients.

    Args:
        load: current in A drawn at a voltage in V; rising with the voltage.
        interlock_closed: whether the interlock line is asserted.
        noise_a: RMS of a current reading at one power line cycle.
        relative_noise: RMS of a current reading relative to the current.
        noise_v: RMS of a voltage read-back at one power line cycle.
        language: command set that ``*LANG?`` names.
        identity: reply to ``*IDN?``.
        utc_now: time of the entries in the error queue.
        faults: what goes wrong with the replies.
    """

    NAME = "keithley-2450"
    ERROR_QUEUE_LENGTH = protocol.ERROR_QUEUE_LENGTH

    def __init__(
        self,
        load: Callable[[float], float],
        interlock_closed: Callable[[], bool] = lambda: True,
        clock: Clock | None = None,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        seed: int = 0,
        noise_a: float = 2e-11,
        relative_noise: float = 1e-4,
        noise_v: float = 2e-4,
        language: str = protocol.NATIVE_LANGUAGE,
        identity: str = f"{protocol.MAKER},{protocol.MODEL},{SERIAL},{FIRMWARE}",
        utc_now: Callable[[], datetime] = lambda: datetime.now(UTC),
        faults: LineFaults | None = None,
    ) -> None:
        self._interlock_closed = interlock_closed
        self._clock = clock or RealClock()
        self._rng = np.random.default_rng(seed)
        self._noise_a = noise_a
        self._relative_noise = relative_noise
        self._noise_v = noise_v
        self._language = language
        self._identity = identity
        self._utc_now = utc_now
        self._state = _State()
        self._last: dict[str, str] = {}
        self.terminals = Terminals(load, self._clock, settling_s=SETTLING_TIME_S)
        super().__init__(host=host, port=port, faults=faults)

    def _restarted(self) -> _State:
        return _State()

    def true_limits(self) -> tuple[float, float]:
        """Over-voltage protection (V) and current limit (A) that hold now, for tests."""
        with self._lock:
            return self._protection_v(), self._state.current_limit_a

    def _vocabulary(self) -> dict[str, Action]:
        return {
            "*IDN?": lambda _: self.faults.identity(self._identity),
            "*LANG?": lambda _: self._language,
            "*OPC?": lambda _: "1",
            "*RST": self._reset,
            "*CLS": self._clear,
            ":SYSTem:ERRor[:NEXT]?": self._next_error,
            ":SYSTem:ERRor:COUNt?": lambda _: str(len(self._errors)),
            ":SOURce[1]:FUNCtion[:MODE]": self._set_source_function,
            ":SOURce[1]:FUNCtion[:MODE]?": lambda _: self._state.source_function,
            ":SENSe[1]:FUNCtion[:ON]": self._set_sense_function,
            ":SENSe[1]:FUNCtion[:ON]?": lambda _: self._state.sense_function,
            ":SOURce[1]:VOLTage[:LEVel][:IMMediate][:AMPLitude]": self._set_voltage,
            ":SOURce[1]:VOLTage[:LEVel][:IMMediate][:AMPLitude]?": lambda _: protocol.format_number(
                self._state.set_v
            ),
            ":SOURce[1]:CURRent[:LEVel][:IMMediate][:AMPLitude]": self._set_source_current,
            ":SOURce[1]:CURRent[:LEVel][:IMMediate][:AMPLitude]?": lambda _: protocol.format_number(
                self._state.set_a
            ),
            ":SOURce[1]:VOLTage:RANGe": self._set_range,
            ":SOURce[1]:VOLTage:RANGe?": lambda _: protocol.format_number(self._state.range_v),
            ":SOURce[1]:VOLTage:READ:BACK": self._set_read_back,
            ":SOURce[1]:VOLTage:READ:BACK?": lambda _: str(int(self._state.read_back)),
            ":SOURce[1]:VOLTage:ILIMit[:LEVel]": self._set_current_limit,
            ":SOURce[1]:VOLTage:ILIMit[:LEVel]?": lambda _: protocol.format_number(
                self._state.current_limit_a
            ),
            ":SOURce[1]:VOLTage:ILIMit[:LEVel]:TRIPped?": lambda _: str(int(self._limited())),
            ":SOURce[1]:VOLTage:PROTection[:LEVel]": self._set_overvoltage,
            ":SOURce[1]:VOLTage:PROTection[:LEVel]?": lambda _: self._state.overvoltage,
            ":SOURce[1]:VOLTage:PROTection[:LEVel]:TRIPped?": lambda _: str(
                int(self._protection_acts())
            ),
            ":SENSe[1]:CURRent:RANGe:AUTO": self._set_autorange,
            ":SENSe[1]:CURRent:RANGe:AUTO?": lambda _: str(int(self._state.autorange)),
            ":SENSe[1]:CURRent:NPLCycles": self._set_nplc,
            ":SENSe[1]:CURRent:NPLCycles?": lambda _: protocol.format_number(self._state.nplc),
            ":OUTPut[1][:STATe]": self._switch_output,
            ":OUTPut[1][:STATe]?": lambda _: str(int(self._state.output_on)),
            ":OUTPut[1]:INTerlock:TRIPped?": lambda _: str(int(self._interlock_closed())),
            ":READ?": self._read,
            ":FETCh?": self._fetch,
        }

    def _format_error(self, code: int) -> str:
        at = self._utc_now().strftime("%Y/%m/%d %H:%M:%S.%f")[:-3] if code else ""
        return protocol.format_error(code, at)

    def _format_number(self, value: float) -> str:
        return protocol.format_number(value)

    def _reset(self, _: str) -> None:
        self._state = _State()
        self._drive()

    def _set_source_function(self, argument: str) -> None:
        function = argument.strip('"').upper()[:4]
        if function not in ("VOLT", "CURR"):
            raise ScpiError(-224 if argument else -109)
        if function != self._state.source_function:
            self._state.output_on = False
        self._state.source_function = function
        self._drive()

    def _set_sense_function(self, argument: str) -> None:
        functions = {"CURR": '"CURR:DC"', "VOLT": '"VOLT:DC"', "RES": '"RES"'}
        name = argument.strip("\"'").upper().split(":")[0]
        if name.startswith(("CURR", "VOLT", "RES")):
            self._state.sense_function = functions["RES" if name.startswith("RES") else name[:4]]
        else:
            raise ScpiError(-224 if argument else -109)

    def _set_voltage(self, argument: str) -> None:
        value = number(argument, -protocol.MAX_SOURCE_V, protocol.MAX_SOURCE_V)
        if abs(value) > protocol.INTERLOCK_FREE_MAX_V and not self._interlock_closed():
            raise ScpiError(-221)
        self._state.set_v = value
        self._drive()

    def _set_source_current(self, argument: str) -> None:
        self._state.set_a = number(argument, -protocol.MAX_CURRENT_A, protocol.MAX_CURRENT_A)

    def _set_range(self, argument: str) -> None:
        self._state.range_v = protocol.voltage_range(
            number(argument, -protocol.MAX_SOURCE_V, protocol.MAX_SOURCE_V)
        )

    def _set_read_back(self, argument: str) -> None:
        self._state.read_back = switch(argument)

    def _set_current_limit(self, argument: str) -> None:
        value = number(argument, protocol.MIN_CURRENT_LIMIT_A, protocol.MAX_CURRENT_A)
        self._state.current_limit_a = value
        self._drive()

    def _set_overvoltage(self, argument: str) -> None:
        names = {f"PROT{step_v}" for step_v in protocol.OVERVOLTAGE_STEPS_V} | {"NONE"}
        if argument.upper() not in names:
            raise ScpiError(-224 if argument else -109)
        self._state.overvoltage = argument.upper()
        self._drive()

    def _set_autorange(self, argument: str) -> None:
        self._state.autorange = switch(argument)

    def _set_nplc(self, argument: str) -> None:
        self._state.nplc = number(argument, 0.01, 10.0)

    def _switch_output(self, argument: str) -> None:
        on = switch(argument)
        if on and not self._interlock_closed():
            voltage_v = abs(self._state.set_v)
            if voltage_v > protocol.INTERLOCK_FREE_MAX_V:
                raise ScpiError(-221)
        self._state.output_on = on
        self._drive()

    def _let_pass(self) -> float:
        if (
            self._state.output_on
            and abs(self._state.set_v) > protocol.INTERLOCK_FREE_MAX_V
            and not self._interlock_closed()
        ):
            self._state.output_on = False
            self._drive()
        return self._clock.now_s()

    def _drive(self) -> None:
        """Send the output stage to where the settings want it."""
        target_v = 0.0
        if self._state.output_on and self._state.source_function == "VOLT":
            limit_v = self._protection_v()
            target_v = max(-limit_v, min(limit_v, self._state.set_v))
        limit_a = self._state.current_limit_a if self._state.output_on else math.inf
        self.terminals.drive(target_v, limit_a)

    def _limited(self) -> bool:
        return self._state.output_on and self.terminals.limited()

    def _protection_v(self) -> float:
        name = self._state.overvoltage
        return math.inf if name == "NONE" else float(name.removeprefix("PROT"))

    def _protection_acts(self) -> bool:
        return self._state.output_on and abs(self._state.set_v) > self._protection_v()

    def _read(self, argument: str) -> str:
        self._clock.sleep(self._state.nplc / protocol.POWER_LINE_HZ)
        self._let_pass()
        voltage_v = self.terminals.voltage_v()
        limited = self._limited()
        current_a = self.terminals.current_a()
        averaging = 1 / math.sqrt(self._state.nplc)
        current_a += self._rng.normal() * averaging * self._noise_a
        current_a *= 1 + self._rng.normal() * averaging * self._relative_noise
        read_v = voltage_v + self._rng.normal() * averaging * self._noise_v
        status = protocol.STATUS_READ_BACK if self._state.read_back else 0
        if self._state.output_on:
            status |= protocol.STATUS_OUTPUT_ON
        if limited:
            status |= protocol.STATUS_LIMITED
        if self._protection_acts():
            status |= protocol.STATUS_PROTECTION
        self._last = {
            "SOUR": protocol.format_number(read_v if self._state.read_back else self._state.set_v),
            "READ": protocol.format_number(current_a),
            "SOURSTAT": str(status),
        }
        return self._fetch(argument)

    def _fetch(self, argument: str) -> str:
        _, *elements = [text.strip().upper() for text in argument.split(",")]
        try:
            return ",".join(self._last[element] for element in elements or ["READ"])
        except KeyError:
            raise ScpiError(-224) from None
