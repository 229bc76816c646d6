"""The Keithley 2400 and 2410, and the 2450 in their language, as bias supplies."""

import functools
import math
from collections.abc import Generator, Sequence
from typing import Literal

from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentRefused,
    InterlockOpen,
    LimitsNotProgrammed,
    WrongInstrument,
)
from drivers.keithley import scpi
from drivers.keithley2400 import protocol
from drivers.roles import BiasReading, Identity
from drivers.supply import Limits, SweepingSupply, Trace
from drivers.transport import Exchange, LineTransport

MEASURING_S = 2 / protocol.POWER_LINE_HZ
"""Voltage and current, one power line cycle each."""
CHUNK_S = 1.0
"""Longest stretch of a sweep that the instrument runs by itself."""


class Keithley2400(SweepingSupply):
    """A Keithley 2400 or 2410, sourcing voltage and measuring voltage and current.

    The voltage protection gets the lowest of the instrument's steps at or above the programmed
    maximum. ``*RST`` is never sent: it would switch off an output-enable line that the site has
    switched on.

    With the output off the instrument measures nothing (it answers error 803). A reading then
    gives 0 V and 0 A: the off mode ``ZERO``, programmed and read back with the limits, drives the
    terminals to 0 V with the programmed current, where the usual off mode would leave a capacitor
    charged.

    Args:
        terminals: which side the board is connected to.
    """

    NAME = "Keithley 2400"

    def __init__(
        self,
        transport: LineTransport,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
        terminals: Literal["FRON", "REAR"] = "REAR",
    ) -> None:
        if terminals not in ("FRON", "REAR"):
            raise ValueError(f"the terminals are FRON or REAR, not {terminals!r}")
        self.errors_found: list[protocol.QueuedError] = []
        self._model = protocol.MODELS["MODEL 2400"]
        self._terminals = terminals
        self._sweeping = False
        super().__init__(transport, clock=clock, polarity=polarity, deadline_s=deadline_s)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
        terminals: Literal["FRON", "REAR"] = "REAR",
        baud: int = protocol.BAUD,
        terminator: str = "LF",
    ) -> "Keithley2400":
        """Connect to a serial port or a VISA address (``GPIB0::24::INSTR``).

        Args:
            baud, terminator: as set at the instrument; only for serial ports.
        """
        return cls(
            scpi.port_to(address, baud=baud, terminator=terminator),
            clock=clock,
            polarity=polarity,
            deadline_s=deadline_s,
            terminals=terminals,
        )

    def interlock_closed(self) -> bool:
        """Whether the interlock or output-enable line at the rear lets the output be on.

        Raises:
            InstrumentRefused: the line is switched off, and what it says counts for nothing.
        """
        with self._transaction() as exchange:
            if not self._line_counts(exchange):
                raise InstrumentRefused(
                    f"{self.NAME}: its output-enable line is switched off",
                    port=self.port,
                    sent=exchange.sent,
                    advice="Switch it on at the front panel (Config, Output, Output enable).",
                )
            return scpi.ask_flag(exchange, protocol.OUTPUT_MAY_GO_ON)

    def _identify(self, exchange: Exchange) -> Identity:
        reply = scpi.ask(exchange, protocol.IDENTIFY)
        try:
            maker, model, serial, firmware = protocol.parse_identity(reply)
        except ValueError as error:
            raise BrokenReply(str(error), port=self.port, sent=protocol.IDENTIFY) from error
        if not maker.startswith(protocol.MAKER) or model not in protocol.MODELS:
            raise WrongInstrument(
                f"a {maker} {model} answers, not a Keithley 2400 or 2410",
                port=self.port,
                sent=protocol.IDENTIFY,
            )
        if model == protocol.EMULATING_MODEL:
            # only a 2450 knows this question; the older ones would keep silent and note an error
            language = scpi.ask(exchange, protocol.LANGUAGE)
            if language != protocol.EMULATED_LANGUAGE:
                raise WrongInstrument(
                    f"the 2450 is set to the command set {language}, not "
                    f"{protocol.EMULATED_LANGUAGE}",
                    port=self.port,
                    sent=protocol.LANGUAGE,
                    advice="Name the driver keithley2450 in the site profile.",
                )
        self._model = protocol.MODELS[model]
        return Identity(maker, model, serial, firmware, self.port)

    def _begin(self, exchange: Exchange) -> None:
        self.errors_found = scpi.drain_errors(exchange)
        if scpi.ask(exchange, protocol.ELEMENTS + "?").replace(" ", "") != protocol.ALL_ELEMENTS:
            # how readings are written, not what the output does
            self._command(exchange, f"{protocol.ELEMENTS} {protocol.ALL_ELEMENTS}")

    def _read(self, exchange: Exchange) -> BiasReading:
        state = (protocol.OUTPUT + "?", protocol.VOLTAGE + "?")
        *twice, tripped = scpi.ask_all(exchange, *state, *state, protocol.COMPLIANCE_TRIPPED)
        query = exchange.sent
        if twice[:2] != twice[2:]:
            raise BrokenReply(f"the same came differently: {twice}", port=self.port, sent=query)
        output_on = protocol.parse_flag(twice[0], port=self.port, sent=query)
        set_v = protocol.parse_number(twice[1], port=self.port, sent=query)
        limited = protocol.parse_flag(tripped, port=self.port, sent=query)
        if not output_on:
            return BiasReading(0.0, 0.0, output_on=False, in_compliance=False, set_v=set_v)
        measured = self._measure(exchange)
        if not measured.measures_both:
            self._measure_both(exchange)
            measured = self._measure(exchange)
        return BiasReading(
            voltage_v=measured.voltage_v,
            current_a=measured.current_a,
            output_on=True,
            in_compliance=limited or measured.in_compliance,
            set_v=set_v,
        )

    def _measure(self, exchange: Exchange) -> protocol.Measurement:
        reply = scpi.ask_twice(exchange, protocol.MEASURE, protocol.FETCH)
        readings = protocol.parse_measurements(reply, port=self.port, sent=protocol.MEASURE)
        if len(readings) != 1:
            raise BrokenReply(
                f"{len(readings)} readings instead of one", port=self.port, sent=protocol.MEASURE
            )
        return readings[0]

    def _measure_both(self, exchange: Exchange) -> None:
        self._command(exchange, f"{protocol.CONCURRENT} ON")
        self._command(exchange, f"{protocol.SENSE_FUNCTION} {protocol.VOLTAGE_AND_CURRENT}")

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
            self._model.overvoltage_step(limits.max_voltage_v)
        except ValueError as error:
            self._refuse_setpoint(str(error))
        highest_a = self._model.max_current_a(limits.max_voltage_v)
        if not protocol.MIN_COMPLIANCE_A <= limits.compliance_a <= highest_a:
            self._refuse_setpoint(
                f"a current limit of {limits.compliance_a} A is outside "
                f"{protocol.MIN_COMPLIANCE_A:g} to {highest_a:g} A at {limits.max_voltage_v:g} V"
            )

    def _write_limits(self, exchange: Exchange, limits: Limits) -> None:
        for command in (
            f"{protocol.VOLTAGE} 0",
            f"{protocol.SOURCE_FUNCTION} {protocol.VOLTAGE_SOURCE}",
            f"{protocol.SOURCE_MODE} FIX",
            f"{protocol.TERMINALS} {self._terminals}",
            f"{protocol.OFF_MODE} {protocol.HOLDS_ZERO}",
            f"{protocol.AUTO_OFF} OFF",
            f"{protocol.TRIGGER_COUNT} 1",
            f"{protocol.VOLTAGE_RANGE} {self._model.source_range(limits.max_voltage_v):g}",
            f"{protocol.CONCURRENT} ON",
            f"{protocol.SENSE_FUNCTION} {protocol.VOLTAGE_AND_CURRENT}",
            f"{protocol.COMPLIANCE} {limits.compliance_a:.6E}",
            f"{protocol.CURRENT_AUTORANGE} ON",
            f"{protocol.INTEGRATION} 1",
            f"{protocol.OVERVOLTAGE} {self._model.overvoltage_step(limits.max_voltage_v)}",
        ):
            self._command(exchange, command)

    def _check_limits_programmed(self, exchange: Exchange, limits: Limits) -> None:
        compliance, protection, off_mode = scpi.ask_all(
            exchange, protocol.COMPLIANCE + "?", protocol.OVERVOLTAGE + "?", protocol.OFF_MODE + "?"
        )
        query = exchange.sent
        limit_a = protocol.parse_number(compliance, port=self.port, sent=query)
        step_v = protocol.parse_number(protection, port=self.port, sent=query)
        due_v = self._model.overvoltage_step(limits.max_voltage_v)
        for wrong, what in (
            (
                not math.isclose(limit_a, limits.compliance_a, rel_tol=1e-3),
                f"current limit reads back {limit_a:g} A instead of {limits.compliance_a:g} A",
            ),
            (
                step_v != due_v,
                f"over-voltage protection reads back {step_v:g} V instead of {due_v} V",
            ),
            (
                off_mode != protocol.HOLDS_ZERO,
                f"off mode reads back {off_mode} instead of {protocol.HOLDS_ZERO}",
            ),
        ):
            if wrong:
                raise LimitsNotProgrammed(
                    f"{self.NAME}: the {what}", port=self.port, sent=exchange.sent
                )

    def _check_output_allowed(self, exchange: Exchange, voltage_v: float) -> None:
        if self._model.name == "2450" and abs(voltage_v) <= protocol.INTERLOCK_FREE_MAX_V:
            return
        if self._line_counts(exchange) and not scpi.ask_flag(exchange, protocol.OUTPUT_MAY_GO_ON):
            raise InterlockOpen(
                f"{self.NAME}: the interlock or output-enable line at the rear keeps the output "
                "off",
                port=self.port,
                sent=protocol.OUTPUT_MAY_GO_ON,
            )

    def _line_counts(self, exchange: Exchange) -> bool:
        """The older models heed their output-enable line only once it is switched on."""
        return self._model.name == "2450" or scpi.ask_flag(exchange, protocol.OUTPUT_ENABLE + "?")

    def _abort(self, exchange: Exchange) -> None:
        # without limits this driver is new here, and what it finds may be in the middle of a sweep
        if self._sweeping or self._limits is None:
            if scpi.ask(exchange, protocol.SOURCE_MODE + "?") != "FIX":
                exchange.send(protocol.ABORT)
                self._command(exchange, f"{protocol.SOURCE_MODE} FIX")
                self._command(exchange, f"{protocol.TRIGGER_COUNT} 1")
            self._sweeping = False

    def _trace(self, trace: Trace) -> Generator[BiasReading]:
        """The instrument runs short stretches of the sweep by itself.

        None goes further than one step of a ramp may go, and none lasts longer than ``CHUNK_S``,
        so that a sweep without its station stops soon. The port is free while a stretch runs.
        """
        at_v = trace.points_v[0]
        self._clock.sleep(trace.delay_s)
        yield self._at_point(at_v, trace.stop_v)
        for chunk in _chunks(trace):
            launch = functools.partial(self._launch, at_v, chunk, trace)
            if abs(chunk[-1]) > abs(at_v):
                with trace.checkpoint():
                    launch(trace.limits)
            else:
                launch(None)
            self._clock.sleep(len(chunk) * (trace.delay_s + MEASURING_S))
            readings = self._collect(chunk, trace)
            yield from readings
            at_v = readings[-1].set_v

    def _launch(
        self, at_v: float, chunk: Sequence[float], trace: Trace, limits: Limits | None
    ) -> None:
        with self._transaction() as exchange:
            self._check_before_step(exchange, at_v, trace.turn, trace.stop_v, limits)
            for command in protocol.sweep_commands(chunk, trace.delay_s):
                self._command(exchange, command)
            self._sweeping = True
            exchange.send(protocol.INITIATE)

    def _collect(self, chunk: Sequence[float], trace: Trace) -> list[BiasReading]:
        with self._transaction() as exchange:
            self._check_turn(trace.turn, f"through a sweep to {trace.stop_v:g} V")
            scpi.ask_flag(exchange, protocol.COMPLETE)
            if not self._output_on(exchange):
                raise self._went_off(exchange, chunk[-1], trace.stop_v)
            reply = scpi.ask_twice(exchange, protocol.FETCH)
            measured = protocol.parse_measurements(reply, port=self.port, sent=protocol.FETCH)
            readings = [
                BiasReading(m.voltage_v, m.current_a, True, m.in_compliance, set_v=point_v)
                for m, point_v in zip(measured, chunk, strict=False)
            ]
            aborted = readings[-1].in_compliance
            if len(measured) > len(chunk) or (len(measured) < len(chunk) and not aborted):
                raise BrokenReply(
                    f"{len(measured)} readings at {len(chunk)} points",
                    port=self.port,
                    sent=protocol.FETCH,
                )
            self._write_voltage(exchange, readings[-1].set_v)
            self._command(exchange, f"{protocol.SOURCE_MODE} FIX")
            self._command(exchange, f"{protocol.TRIGGER_COUNT} 1")
            self._sweeping = False
        for reading in readings:
            lags = self._lags(reading, reading.set_v, reading.set_v)
            if lags and not reading.in_compliance:
                raise lags
        return readings

    def _command(self, exchange: Exchange, command: str) -> None:
        scpi.command(exchange, command, name=self.NAME)


def _chunks(trace: Trace) -> list[Sequence[float]]:
    """The points after the first in stretches that are short in voltage and time."""
    points = trace.points_v
    longest = max(1, int(CHUNK_S / (trace.delay_s + MEASURING_S)))
    chunks: list[Sequence[float]] = []
    first = 1
    while first < len(points):
        end = first + 1
        while (
            end < min(len(points), first + longest)
            and abs(points[end] - points[first - 1]) <= Keithley2400.MAX_STEP_V + 1e-9
        ):
            end += 1
        chunks.append(points[first:end])
        first = end
    return chunks
