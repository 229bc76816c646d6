"""The voltage source and ammeter of a Keithley 6517 as a bias supply."""

import math

from drivers.clock import Clock
from drivers.errors import BrokenReply, InstrumentRefused, LimitsNotProgrammed, WrongInstrument
from drivers.keithley import scpi
from drivers.keithley.protocol import QueuedError, parse_identity
from drivers.keithley6517 import protocol
from drivers.roles import BiasReading, Identity
from drivers.supply import Limits, SweepingSupply
from drivers.transport import Exchange, LineTransport


class Keithley6517(SweepingSupply):
    """A 6517 that sources a voltage and measures the current through its ammeter.

    This source has no adjustable current limit. What holds a current down is either its own
    maximum (10 mA up to 100 V, 1 mA above) or a resistor of 1 Mohm in series, which lets at most
    ``max_voltage_v`` / 1 Mohm through. :meth:`program_limits` takes a current limit that one of
    the two keeps, puts the resistor in where it takes that, and refuses every other one.

    A reading has ``in_compliance`` when the instrument says so, or when the current measured
    reaches the programmed one. Its ``voltage_v`` is not measured: it is the set-point, less what
    the resistor takes; in compliance the true voltage is lower. With the output off a reading
    gives 0 V and 0 A: the input is then shorted by the zero check.
    """

    NAME = "Keithley 6517"

    def __init__(
        self,
        transport: LineTransport,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 5.0,
    ) -> None:
        self.errors_found: list[QueuedError] = []
        super().__init__(transport, clock=clock, polarity=polarity, deadline_s=deadline_s)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 5.0,
        baud: int = protocol.BAUD,
        terminator: str = "CR+LF",
        pause_s: float = protocol.PAUSE_S,
    ) -> "Keithley6517":
        """Connect to a serial port or a VISA address (``GPIB0::27::INSTR``).

        Args:
            baud, terminator: as set at the instrument; only for serial ports.
            pause_s: least time between commands on a serial port.
        """
        return cls(
            scpi.port_to(address, baud=baud, terminator=terminator, pause_s=pause_s),
            clock=clock,
            polarity=polarity,
            deadline_s=deadline_s,
        )

    def correct_zero(self) -> None:
        """Take the offset of the ammeter now, and from now on off every current.

        Raises:
            InstrumentRefused: the output is on.
        """
        with self._transaction() as exchange:
            if self._output_on(exchange):
                raise InstrumentRefused(
                    f"{self.NAME}: the zero can't be corrected while the output is on",
                    port=self.port,
                    advice="Ramp down first.",
                )
            self._correct_zero(exchange)

    def _correct_zero(self, exchange: Exchange) -> None:
        for command in (
            f"{protocol.ZERO_CHECK} ON",
            f"{protocol.CURRENT_RANGE} {protocol.ZERO_RANGE_A:g}",
            f"{protocol.ZERO_CORRECT} OFF",
            f"{protocol.ZERO_CORRECT} ON",
            f"{protocol.CURRENT_AUTORANGE} ON",
        ):
            self._command(exchange, command)

    def _identify(self, exchange: Exchange) -> Identity:
        reply = scpi.ask(exchange, protocol.IDENTIFY)
        try:
            maker, model, serial, firmware = parse_identity(reply)
        except ValueError as error:
            raise BrokenReply(str(error), port=self.port, sent=protocol.IDENTIFY) from error
        if not maker.startswith(protocol.MAKER) or model not in protocol.MODELS:
            raise WrongInstrument(
                f"a {maker} {model} answers, not a Keithley 6517",
                port=self.port,
                sent=protocol.IDENTIFY,
            )
        return Identity(maker, model, serial, firmware, self.port)

    def _begin(self, exchange: Exchange) -> None:
        self.errors_found = scpi.drain_errors(exchange)

    def _read(self, exchange: Exchange) -> BiasReading:
        state = (protocol.OUTPUT + "?", protocol.VOLTAGE + "?", protocol.RESISTOR + "?")
        *twice, limited = scpi.ask_all(exchange, *state, *state, protocol.IN_COMPLIANCE)
        query = exchange.sent
        if twice[:3] != twice[3:]:
            raise BrokenReply(f"the same came differently: {twice}", port=self.port, sent=query)
        output_on = scpi.parse_flag(twice[0], port=self.port, sent=query)
        set_v = scpi.parse_number(twice[1], port=self.port, sent=query)
        resistor = scpi.parse_flag(twice[2], port=self.port, sent=query)
        in_compliance = scpi.parse_flag(limited, port=self.port, sent=query)
        if not output_on:
            return BiasReading(0.0, 0.0, output_on=False, in_compliance=False, set_v=set_v)
        reply = scpi.ask_twice(exchange, protocol.MEASURE, protocol.FETCH)
        current_a = protocol.parse_current(reply, port=self.port, sent=protocol.MEASURE)
        lost_v = current_a * protocol.RESISTOR_OHM if resistor else 0.0
        watched_a = self._limits.compliance_a if self._limits is not None else math.inf
        return BiasReading(
            voltage_v=set_v - lost_v,
            current_a=current_a,
            output_on=True,
            in_compliance=in_compliance or abs(current_a) >= watched_a,
            set_v=set_v,
        )

    def _follows_within_v(self, reading: BiasReading, at_v: float) -> float:
        # the resistor may take everything; that the source regulates is told by its compliance
        return abs(at_v) + super()._follows_within_v(reading, at_v)

    def _setpoint_v(self, exchange: Exchange) -> float:
        return scpi.ask_number(exchange, protocol.VOLTAGE + "?")

    def _output_on(self, exchange: Exchange) -> bool:
        return scpi.ask_flag(exchange, protocol.OUTPUT + "?")

    def _write_voltage(self, exchange: Exchange, voltage_v: float) -> None:
        self._command(exchange, f"{protocol.VOLTAGE} {voltage_v:.6E}")

    def _write_output(self, exchange: Exchange, *, on: bool) -> None:
        if on:
            self._command(exchange, f"{protocol.ZERO_CHECK} OFF")
            self._command(exchange, f"{protocol.OUTPUT} ON")
        else:
            self._command(exchange, f"{protocol.OUTPUT} OFF")
            self._command(exchange, f"{protocol.ZERO_CHECK} ON")

    def _check_limits(self, limits: Limits) -> None:
        if limits.max_voltage_v > protocol.MAX_V:
            self._refuse_setpoint(f"a maximum of {limits.max_voltage_v:g} V is above 1000 V")
        _, highest_a = protocol.source_range(limits.max_voltage_v)
        through_a = limits.max_voltage_v / protocol.RESISTOR_OHM
        if limits.compliance_a < through_a:
            self._refuse_setpoint(
                f"it can't hold {limits.compliance_a:g} A: its current limit can't be set, and at "
                f"{limits.max_voltage_v:g} V its resistor of 1 Mohm lets {through_a:g} A through; "
                f"ask for that or more (from {highest_a:g} A on without the resistor), or for a "
                "lower voltage"
            )

    def _resistor_needed(self, limits: Limits) -> bool:
        return limits.compliance_a < protocol.source_range(limits.max_voltage_v)[1]

    def _write_limits(self, exchange: Exchange, limits: Limits) -> None:
        range_v, _ = protocol.source_range(limits.max_voltage_v)
        for command in (
            f"{protocol.ZERO_CHECK} ON",
            f"{protocol.VOLTAGE} 0",
            f"{protocol.VOLTAGE_RANGE} {range_v:g}",
            f"{protocol.VOLTAGE_LIMIT} {limits.max_voltage_v:.6E}",
            f"{protocol.VOLTAGE_LIMIT_ON} ON",
            f"{protocol.RESISTOR} {'ON' if self._resistor_needed(limits) else 'OFF'}",
            f"{protocol.METER_CONNECT} ON",
            f"{protocol.CONTINUOUS} OFF",
            f"{protocol.ELEMENTS} {protocol.READING_ONLY}",
            f"{protocol.SENSE_FUNCTION} {protocol.CURRENT}",
            f"{protocol.INTEGRATION} 1",
        ):
            self._command(exchange, command)
        self._correct_zero(exchange)

    def _check_limits_programmed(self, exchange: Exchange, limits: Limits) -> None:
        limit_v, limit_on, resistor, connected = scpi.ask_all(
            exchange,
            protocol.VOLTAGE_LIMIT + "?",
            protocol.VOLTAGE_LIMIT_ON + "?",
            protocol.RESISTOR + "?",
            protocol.METER_CONNECT + "?",
        )
        query = exchange.sent
        found_v = scpi.parse_number(limit_v, port=self.port, sent=query)
        resistor_in = scpi.parse_flag(resistor, port=self.port, sent=query)
        for wrong, what in (
            (
                not math.isclose(found_v, limits.max_voltage_v, rel_tol=1e-3),
                f"the voltage limit reads back {found_v:g} V instead of {limits.max_voltage_v:g} V",
            ),
            (
                not scpi.parse_flag(limit_on, port=self.port, sent=query),
                "the voltage limit reads back off",
            ),
            (
                resistor_in != self._resistor_needed(limits),
                f"the series resistor reads back {'in' if resistor_in else 'out'}",
            ),
            (
                not scpi.parse_flag(connected, port=self.port, sent=query),
                "source and ammeter read back not connected",
            ),
        ):
            if wrong:
                raise LimitsNotProgrammed(f"{self.NAME}: {what}", port=self.port, sent=query)

    def _command(self, exchange: Exchange, command: str) -> None:
        scpi.command(exchange, command, name=self.NAME)
