"""A CAEN A7585D or DT5485 as a bias supply."""

import math

from drivers.caen_a7585 import protocol
from drivers.caen_a7585.protocol import Mode, Monitor, Register, TemperatureCompensation
from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    LimitsNotProgrammed,
    SetpointRefused,
    WrongInstrument,
)
from drivers.roles import BiasReading, Identity
from drivers.settled import settled
from drivers.supply import Limits, SteppedSupply
from drivers.transport import Exchange, LineTransport, SerialTransport

STARTING_RATE_V_PER_S = 10.0
MODE_CHANGE_S = 0.1
QUIET_S = 0.05
READS_BACK_WITHIN = 5e-4
SLOWEST_V_PER_S = 1e-3


class CaenA7585(SteppedSupply):
    """An A7585D, A7585DU or DT5485: one positive channel of 20 to 85 V and at most 10 mA.

    The module has no output between off and 20 V. Switching on therefore brings the terminals to
    20 V, at the module's own ramp of 10 V/s or, where its converter starts there, at once;
    ramping down walks to 20 V and switches off, and the load discharges the rest. Set-points below
    20 V are refused.

    With temperature compensation the terminals are not at the set-point but where the
    coefficient and the thermometer put them; ``read().set_v`` stays the set-point, and every check
    of the output uses the compensated voltage. Without it the module is set to follow the
    set-point alone, whatever mode it was in. Each set-point and the voltage that it means at the
    temperature now must be within the limits.

    Args:
        transport: the serial port; the driver closes it.
        clock: time for ramps and settling.
        polarity: +1; the module has no other.
        deadline_s: real seconds for one transaction.
        compensation: what the output follows beside the set-point.
        max_temperature_c: where the module switches itself off; None leaves its own limit.

    Raises:
        ValueError: a polarity other than +1.
        WrongInstrument: another instrument answers.
        InstrumentLost, InstrumentTimeout, BrokenReply: nobody, or nobody sensible, answers.
    """

    NAME = "CAEN A7585"
    LOWEST_V = protocol.LOWEST_V
    FOLLOWS_WITHIN_S = 5.0
    DISCHARGED_V = 1.0
    DISCHARGE_S = 10.0

    def __init__(
        self,
        transport: LineTransport,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
        compensation: TemperatureCompensation | None = None,
        max_temperature_c: float | None = None,
    ) -> None:
        _check_polarity(polarity)
        self._compensation = compensation
        self._max_temperature_c = max_temperature_c
        self._maker_and_model: tuple[str, str] | None = None
        self._known: tuple[int, int, str] | None = None
        super().__init__(transport, clock=clock, polarity=polarity, deadline_s=deadline_s)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        baud: int = protocol.BAUD,
        deadline_s: float = 3.0,
        compensation: TemperatureCompensation | None = None,
        max_temperature_c: float | None = None,
    ) -> "CaenA7585":
        """Connect to a serial port, such as ``/dev/ttyUSB0``."""
        _check_polarity(polarity)
        return cls(
            SerialTransport(address, baud=baud, write_terminator=protocol.TERMINATOR),
            clock=clock,
            polarity=polarity,
            deadline_s=deadline_s,
            compensation=compensation,
            max_temperature_c=max_temperature_c,
        )

    def temperature_c(self) -> float:
        """What the module's thermometer input reads."""
        with self._transaction() as exchange:
            return self._get(exchange, Monitor.TREF_C)

    def input_voltage_v(self) -> float:
        """What feeds the module."""
        with self._transaction() as exchange:
            return self._get(exchange, Monitor.VIN)

    def emergency_stop(self) -> None:
        """Let the module drop its output by itself; what it needs afterwards is unverified."""
        with self._transaction() as exchange:
            self._set_register(exchange, Register.EMERGENCY_STOP, 1)

    def _identify(self, exchange: Exchange) -> Identity:
        exchange.send(protocol.MACHINE_MODE)
        exchange.drain(MODE_CHANGE_S)
        if self._maker_and_model is None:
            self._maker_and_model = (
                self._words(exchange, protocol.MAKER_QUERY),
                self._words(exchange, protocol.MODEL_QUERY),
            )
        found = settled(exchange, self._numbers, self._known)
        product, serial, firmware = found
        if product not in protocol.PRODUCT_CODES:
            raise WrongInstrument(
                f"product {product} answers ({' '.join(self._maker_and_model)}), not a {self.NAME}",
                port=self.port,
                sent=protocol.read_command(Monitor.PRODUCT_CODE),
            )
        self._known = self._known or found
        maker, model = self._maker_and_model
        return Identity(maker, model, str(serial), firmware, self.port)

    def _numbers(self, exchange: Exchange) -> tuple[int, int, str]:
        product = self._get_whole(exchange, Monitor.PRODUCT_CODE)
        serial = self._get_whole(exchange, Monitor.SERIAL)
        return product, serial, f"{self._get(exchange, Monitor.FIRMWARE):g}"

    def _words(self, exchange: Exchange, query: str) -> str:
        """The first line of an answer; whether a second one follows is unverified."""
        exchange.send(query)
        words = exchange.receive().removeprefix(protocol.OK + "=").strip()
        exchange.drain(QUIET_S)
        if not words or not words.isprintable():
            raise BrokenReply(f"{words!r} is no name", port=self.port, sent=query)
        return words

    def _read(self, exchange: Exchange) -> BiasReading:
        voltage_v = self._get(exchange, Monitor.VOUT)
        current_a = self._get(exchange, Monitor.IOUT_MA) * 1e-3
        set_v = self._setpoint_v(exchange)
        limited = self._get_flag(exchange, Monitor.COMPLIANCE_I)
        output_on = self._output_on(exchange)
        return BiasReading(
            voltage_v=voltage_v,
            current_a=current_a,
            output_on=output_on,
            in_compliance=output_on and limited,
            set_v=set_v,
        )

    def _setpoint_v(self, exchange: Exchange) -> float:
        return self._get(exchange, Register.TARGET_V)

    def _output_on(self, exchange: Exchange) -> bool:
        return self._get_flag(exchange, Register.HV_ON)

    def _sources_voltage(self, exchange: Exchange) -> bool:
        return self._get_whole(exchange, Register.MODE) != Mode.ANALOG

    def _write_voltage(self, exchange: Exchange, voltage_v: float) -> None:
        self._set_register(exchange, Register.TARGET_V, voltage_v)

    def _write_output(self, exchange: Exchange, *, on: bool) -> None:
        if on:
            self._set_register(exchange, Register.RAMP_V_PER_S, STARTING_RATE_V_PER_S)
        self._set_register(exchange, Register.HV_ON, on)
        if not on and self._output_on(exchange):
            self._set_register(exchange, Register.EMERGENCY_STOP, 1)

    def _check_limits(self, limits: Limits) -> None:
        if limits.max_voltage_v > protocol.HIGHEST_V:
            self._refuse_setpoint(
                f"a maximum of {limits.max_voltage_v:g} V is above its {protocol.HIGHEST_V:g} V"
            )
        if not 1e-6 <= limits.compliance_a <= protocol.HIGHEST_MA * 1e-3:
            self._refuse_setpoint(
                f"a current limit of {limits.compliance_a:g} A is outside 1e-06 to "
                f"{protocol.HIGHEST_MA * 1e-3:g} A"
            )

    def _write_limits(self, exchange: Exchange, limits: Limits) -> None:
        self._set_register(exchange, Register.TARGET_V, protocol.LOWEST_V)
        self._set_register(exchange, Register.RAMP_V_PER_S, STARTING_RATE_V_PER_S)
        for register, value in self._programme(limits):
            self._set_register(exchange, register, value)

    def _check_limits_programmed(self, exchange: Exchange, limits: Limits) -> None:
        for register, value in self._programme(limits):
            found = self._get(exchange, register)
            if not math.isclose(found, value, rel_tol=READS_BACK_WITHIN, abs_tol=1e-6):
                raise LimitsNotProgrammed(
                    f"{self.NAME}: register {int(register)} ({register.name.lower()}) reads back "
                    f"{found:g} instead of {value:g}",
                    port=self.port,
                    sent=protocol.read_command(register),
                )

    def _programme(self, limits: Limits) -> list[tuple[Register, float]]:
        """What the module must hold before its output goes on, and every time it rises."""
        wanted: list[tuple[Register, float]] = [
            (Register.MAX_V, limits.max_voltage_v),
            (Register.MAX_MA, limits.compliance_a * 1e3),
        ]
        if self._max_temperature_c is not None:
            wanted.append((Register.MAX_C, self._max_temperature_c))
        if self._compensation is None:
            return [*wanted, (Register.MODE, Mode.DIGITAL)]
        wanted.append((Register.TEMPERATURE_COEFFICIENT, self._compensation.coefficient_mv_per_c))
        if self._compensation.sensor is not None:
            sensor_registers = (Register.SENSOR_M2, Register.SENSOR_M, Register.SENSOR_Q)
            wanted += zip(sensor_registers, self._compensation.sensor, strict=True)
        return [*wanted, (Register.MODE, Mode.TEMPERATURE)]

    def _check_output_allowed(self, exchange: Exchange, voltage_v: float) -> None:
        if self._compensation is None or self._limits is None:
            return
        output_v = self._expected_v(exchange, voltage_v)
        if output_v > self._limits.max_voltage_v:
            raise SetpointRefused(
                f"{self.NAME}: at the temperature now, {voltage_v:g} V means {output_v:.3f} V, "
                f"above the programmed maximum of {self._limits.max_voltage_v:g} V",
                port=self.port,
            )

    def _expected_v(self, exchange: Exchange, set_v: float) -> float:
        if self._compensation is None:
            return set_v
        temperature_c = self._get(exchange, Monitor.TREF_C)
        return max(protocol.LOWEST_V, self._compensation.output_v(set_v, temperature_c))

    def _write_ramp(self, exchange: Exchange, rate_v_per_s: float) -> None:
        self._set_register(exchange, Register.RAMP_V_PER_S, max(rate_v_per_s, SLOWEST_V_PER_S))

    def _alarm(self, exchange: Exchange) -> str:
        alarms = []
        if self._get_flag(exchange, Monitor.COMPLIANCE_V):
            alarms.append("its voltage limit")
        if self._max_temperature_c is not None:
            temperature_c = self._get(exchange, Monitor.TREF_C)
            if temperature_c > self._max_temperature_c:
                alarms.append(f"{temperature_c:.1f} C")
        return " and ".join(alarms)

    def _get(self, exchange: Exchange, register: Register | Monitor) -> float:
        exchange.send(protocol.read_command(register))
        return protocol.parse_value(exchange.receive(), port=self.port, sent=exchange.sent)

    def _get_flag(self, exchange: Exchange, register: Register | Monitor) -> bool:
        exchange.send(protocol.read_command(register))
        return protocol.parse_flag(exchange.receive(), port=self.port, sent=exchange.sent)

    def _get_whole(self, exchange: Exchange, register: Register | Monitor) -> int:
        exchange.send(protocol.read_command(register))
        return protocol.parse_whole(exchange.receive(), port=self.port, sent=exchange.sent)

    def _set_register(self, exchange: Exchange, register: Register, value: float) -> None:
        exchange.send(protocol.write_command(register, value))
        protocol.check_accepted(exchange.receive(), port=self.port, sent=exchange.sent)


def _check_polarity(polarity: int) -> None:
    if polarity != 1:
        raise ValueError(f"the {CaenA7585.NAME} gives positive voltages only")
