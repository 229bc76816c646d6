"""The Keithley 2450 as a bias supply."""

import math

from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InterlockOpen,
    LimitsNotProgrammed,
    WrongInstrument,
)
from drivers.keithley import protocol, scpi
from drivers.roles import BiasReading, Identity
from drivers.supply import Limits, SweepingSupply
from drivers.transport import Exchange, LineTransport, VisaTransport


class Keithley2450(SweepingSupply):
    """A Keithley 2450 in its native SCPI mode, sourcing voltage and measuring current.

    The over-voltage protection gets the lowest of the instrument's steps at or above the
    programmed maximum.
    """

    NAME = "Keithley 2450"

    def __init__(
        self,
        transport: LineTransport,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
    ) -> None:
        self.errors_found: list[protocol.QueuedError] = []
        super().__init__(transport, clock=clock, polarity=polarity, deadline_s=deadline_s)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
    ) -> "Keithley2450":
        """Connect to a VISA address, such as ``TCPIP::192.168.0.5::5025::SOCKET``."""
        return cls(VisaTransport(address), clock=clock, polarity=polarity, deadline_s=deadline_s)

    def interlock_closed(self) -> bool:
        """Whether the interlock lets the source go above 37 V."""
        with self._transaction() as exchange:
            return scpi.ask_flag(exchange, protocol.INTERLOCK)

    def _identify(self, exchange: Exchange) -> Identity:
        language = scpi.ask(exchange, protocol.LANGUAGE)
        if language in protocol.OTHER_LANGUAGES:
            raise WrongInstrument(
                f"the source is set to the command set {language}, not SCPI",
                port=self.port,
                sent=protocol.LANGUAGE,
                advice="At its front panel choose Menu, Settings, Command Set, SCPI; then restart "
                "the source.",
            )
        if language != protocol.NATIVE_LANGUAGE:
            raise WrongInstrument(
                f"no Keithley 2450 answers: {language!r}", port=self.port, sent=protocol.LANGUAGE
            )
        reply = scpi.ask(exchange, protocol.IDENTIFY)
        try:
            maker, model, serial, firmware = protocol.parse_identity(reply)
        except ValueError as error:
            raise BrokenReply(str(error), port=self.port, sent=protocol.IDENTIFY) from error
        if not (maker.startswith(protocol.MAKER) and model == protocol.MODEL):
            raise WrongInstrument(
                f"a {maker} {model} answers, not a Keithley 2450",
                port=self.port,
                sent=protocol.IDENTIFY,
            )
        return Identity(maker, model, serial, firmware, self.port)

    def _begin(self, exchange: Exchange) -> None:
        self.errors_found = scpi.drain_errors(exchange)

    def _read(self, exchange: Exchange) -> BiasReading:
        reply = scpi.ask_twice(exchange, protocol.MEASURE, protocol.REPEAT)
        measured = protocol.parse_measurement(reply, port=self.port, sent=protocol.MEASURE)
        set_v = self._setpoint_v(exchange)
        limited = scpi.ask_flag(exchange, protocol.CURRENT_LIMIT_TRIPPED)
        output_on = self._output_on(exchange)
        if output_on != measured.output_on:
            # it went off, or on, between the two; or one of them was misread
            output_on = self._output_on(exchange)
            if output_on == measured.output_on:
                raise BrokenReply(
                    "the output was reported on and off in one breath",
                    port=self.port,
                    sent=exchange.sent,
                )
        return BiasReading(
            voltage_v=measured.voltage_v,
            current_a=measured.current_a,
            output_on=output_on,
            in_compliance=output_on
            and (limited or bool(measured.status & protocol.STATUS_LIMITED)),
            set_v=set_v,
        )

    def _setpoint_v(self, exchange: Exchange) -> float:
        return scpi.ask_number(exchange, protocol.VOLTAGE + "?")

    def _output_on(self, exchange: Exchange) -> bool:
        return scpi.ask_flag(exchange, protocol.OUTPUT + "?")

    def _sources_voltage(self, exchange: Exchange) -> bool:
        return scpi.ask(exchange, protocol.SOURCE_FUNCTION + "?") == protocol.VOLTAGE_SOURCE

    def _write_voltage(self, exchange: Exchange, voltage_v: float) -> None:
        self._command(exchange, f"{protocol.VOLTAGE} {voltage_v:.6E}")

    def _write_output(self, exchange: Exchange, *, on: bool) -> None:
        self._command(exchange, f"{protocol.OUTPUT} {'ON' if on else 'OFF'}")

    def _check_limits(self, limits: Limits) -> None:
        try:
            protocol.overvoltage_step(limits.max_voltage_v)
        except ValueError as error:
            self._refuse_setpoint(str(error))
        highest_a = (
            protocol.MAX_CURRENT_A
            if limits.max_voltage_v <= protocol.LOW_RANGE_MAX_V
            else protocol.MAX_CURRENT_HIGH_RANGE_A
        )
        if not protocol.MIN_CURRENT_LIMIT_A <= limits.compliance_a <= highest_a:
            self._refuse_setpoint(
                f"a current limit of {limits.compliance_a} A is outside "
                f"{protocol.MIN_CURRENT_LIMIT_A:g} to {highest_a:g} A at "
                f"{limits.max_voltage_v:g} V"
            )

    def _write_limits(self, exchange: Exchange, limits: Limits) -> None:
        for command in (
            f"{protocol.VOLTAGE} 0",
            f"{protocol.SOURCE_FUNCTION} {protocol.VOLTAGE_SOURCE}",
            f'{protocol.SENSE_FUNCTION} "CURR"',
            f"{protocol.VOLTAGE_RANGE} {protocol.voltage_range(limits.max_voltage_v):g}",
            f"{protocol.READ_BACK} ON",
            f"{protocol.CURRENT_AUTORANGE} ON",
            f"{protocol.INTEGRATION} 1",
            f"{protocol.CURRENT_LIMIT} {limits.compliance_a:.6E}",
            f"{protocol.OVERVOLTAGE} {protocol.overvoltage_step(limits.max_voltage_v)}",
        ):
            self._command(exchange, command)

    def _check_limits_programmed(self, exchange: Exchange, limits: Limits) -> None:
        limit_a = scpi.ask_number(exchange, protocol.CURRENT_LIMIT + "?")
        if not math.isclose(limit_a, limits.compliance_a, rel_tol=1e-3):
            raise LimitsNotProgrammed(
                f"{self.NAME}: the current limit reads back {limit_a:g} A instead of "
                f"{limits.compliance_a:g} A",
                port=self.port,
                sent=protocol.CURRENT_LIMIT + "?",
            )
        step = protocol.overvoltage_step(limits.max_voltage_v)
        protection = scpi.ask(exchange, protocol.OVERVOLTAGE + "?")
        if protection != step:
            raise LimitsNotProgrammed(
                f"{self.NAME}: the over-voltage protection reads back {protection} instead of "
                f"{step}",
                port=self.port,
                sent=protocol.OVERVOLTAGE + "?",
            )

    def _check_output_allowed(self, exchange: Exchange, voltage_v: float) -> None:
        if abs(voltage_v) > protocol.INTERLOCK_FREE_MAX_V and not scpi.ask_flag(
            exchange, protocol.INTERLOCK
        ):
            raise InterlockOpen(
                f"{self.NAME}: {voltage_v:g} V needs the interlock closed; open, the source stays "
                f"within {protocol.INTERLOCK_FREE_MAX_V:g} V",
                port=self.port,
                sent=protocol.INTERLOCK,
            )

    def _command(self, exchange: Exchange, command: str) -> None:
        scpi.command(exchange, command, name=self.NAME)
