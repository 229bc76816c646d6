"""The Keithley 2450 as a bias supply."""

import contextlib
import math
from collections.abc import Callable
from typing import TypeVar

from drivers.clock import Clock, RealClock
from drivers.errors import (
    BrokenReply,
    ComplianceTripped,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    InterlockOpen,
    LimitsNotProgrammed,
    RampInterrupted,
    SetpointRefused,
    WrongInstrument,
)
from drivers.keithley import protocol
from drivers.roles import BiasReading, Checkpoint, Identity
from drivers.transport import Exchange, LineTransport, VisaTransport

STEP_S = 0.1
MAX_STEP_V = 2.0
FOLLOWS_WITHIN_V = 0.2
FOLLOWS_WITHIN_RELATIVE = 0.005
DISCHARGED_V = 0.5
DISCHARGE_S = 5.0
ATTEMPTS = 5
CLOSING_RATE_V_PER_S = 10.0

_Result = TypeVar("_Result")


class Keithley2450:
    """A Keithley 2450 in its native SCPI mode, sourcing voltage and measuring current.

    Opening reads and changes nothing: an output that is on stays as it is, so that a station that
    starts again can ramp it down. Closing ramps down.

    Args:
        transport: the port; the driver closes it.
        clock: time for ramps and settling.
        polarity: +1 or -1, the sign of every voltage that may be set.
        deadline_s: real seconds for one transaction.

    Raises:
        WrongInstrument: another instrument or another command set answers.
        InstrumentLost, InstrumentTimeout, BrokenReply: nobody, or nobody sensible, answers.
    """

    def __init__(
        self,
        transport: LineTransport,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
    ) -> None:
        if polarity not in (1, -1):
            raise ValueError(f"the polarity is +1 or -1, not {polarity}")
        self._transport = transport
        self._clock = clock or RealClock()
        self._polarity = polarity
        self._deadline_s = deadline_s
        self._limits: tuple[float, float] | None = None
        self._identity: Identity | None = None
        self._descents = 0
        self.errors_found: list[protocol.QueuedError] = []
        try:
            with self._transaction() as exchange:
                self._identity = self._identify(exchange)
                self.errors_found = _drain_errors(exchange)
        except BaseException:
            transport.close()
            raise
        transport.verify = self._verify

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

    @property
    def identity(self) -> Identity:
        assert self._identity is not None
        return self._identity

    @property
    def port(self) -> str:
        return self._transport.port

    def program_limits(self, *, max_voltage_v: float, compliance_a: float) -> None:
        """Write current limit and over-voltage protection, and read both back.

        The protection gets the lowest of the instrument's steps at or above ``max_voltage_v``;
        the driver itself refuses every set-point above ``max_voltage_v`` (both are magnitudes).

        Raises:
            SetpointRefused: a limit is outside what the instrument can do.
            InstrumentRefused: the output is on, or the instrument refuses a limit.
            LimitsNotProgrammed: a limit reads back wrong.
        """
        self._limits = None
        step = self._check_limits(max_voltage_v, compliance_a)
        with self._transaction() as exchange:
            if _ask_flag(exchange, protocol.OUTPUT + "?"):
                raise InstrumentRefused(
                    "the output is on while the limits should be programmed",
                    port=self.port,
                    advice="Ramp down first.",
                )
            for command in (
                f"{protocol.VOLTAGE} 0",
                f"{protocol.SOURCE_FUNCTION} {protocol.VOLTAGE_SOURCE}",
                f'{protocol.SENSE_FUNCTION} "CURR"',
                f"{protocol.VOLTAGE_RANGE} {protocol.voltage_range(max_voltage_v):g}",
                f"{protocol.READ_BACK} ON",
                f"{protocol.CURRENT_AUTORANGE} ON",
                f"{protocol.INTEGRATION} 1",
                f"{protocol.CURRENT_LIMIT} {compliance_a:.6E}",
                f"{protocol.OVERVOLTAGE} {step}",
            ):
                self._command(exchange, command)
            self._check_programmed(exchange, compliance_a, step)
        self._limits = (max_voltage_v, compliance_a)

    def switch_on(self) -> None:
        """Switch the output on at 0 V; does nothing when it is on already.

        Raises:
            LimitsNotProgrammed: no limits, or the instrument has lost them.
            InstrumentRefused: the output does not switch on.
        """
        max_voltage_v, compliance_a = self._programmed()
        with self._transaction() as exchange:
            self._check_programmed(exchange, compliance_a, protocol.overvoltage_step(max_voltage_v))
            if _ask_flag(exchange, protocol.OUTPUT + "?"):
                return
            self._command(exchange, f"{protocol.VOLTAGE} 0")
            self._command(exchange, f"{protocol.OUTPUT} ON")
            if not _ask_flag(exchange, protocol.OUTPUT + "?"):
                raise InstrumentRefused(
                    "the output does not switch on",
                    port=self.port,
                    sent=f"{protocol.OUTPUT} ON",
                    advice="Look at the front panel of the source for a message.",
                )

    def switch_off(self) -> None:
        """Switch the output off at once, without a ramp, and read that back.

        Raises:
            InstrumentError: it is not certain that the output is off.
        """

        self._descents += 1

        def off() -> None:
            with self._transaction() as exchange:
                self._command(exchange, f"{protocol.OUTPUT} OFF")
                if _ask_flag(exchange, protocol.OUTPUT + "?"):
                    raise InstrumentRefused(
                        "the output does not switch off",
                        port=self.port,
                        sent=f"{protocol.OUTPUT} OFF",
                        advice="Bias is still on: switch it off at the front panel.",
                    )

        _insist(off)

    def output_is_on(self) -> bool:
        with self._transaction() as exchange:
            return _ask_flag(exchange, protocol.OUTPUT + "?")

    def read(self) -> BiasReading:
        """Measure voltage and current, and read set-point, output and compliance."""
        with self._transaction() as exchange:
            return self._reading(exchange)

    def ramp_to(
        self,
        voltage_v: float,
        *,
        rate_v_per_s: float,
        checkpoint: Checkpoint = contextlib.nullcontext,
    ) -> None:
        """Go to a voltage in steps of 0.1 s, each checked by a measurement.

        Rising steps (away from 0 V) happen inside ``checkpoint()``. On any failure the voltage
        stays where it got to.

        Args:
            voltage_v: target, with the sign of the polarity.
            rate_v_per_s: slope, positive; never exceeded.

        Raises:
            SetpointRefused: the target is not finite, of the wrong sign, or above the limit.
            LimitsNotProgrammed: :meth:`program_limits` was not called.
            InterlockOpen: the target needs the interlock closed.
            InstrumentRefused: the output is off.
            ComplianceTripped: the current limit was reached.
            RampInterrupted: the output went off or does not follow, or another thread brought the
                supply down meanwhile.
        """
        self._check_rate(rate_v_per_s)
        max_voltage_v, _ = self._programmed()
        self._check_setpoint(voltage_v, max_voltage_v)
        descents = self._descents
        with self._transaction() as exchange:
            self._check_interlock(exchange, voltage_v)
            reading = self._reading(exchange)
        if not reading.output_on:
            raise InstrumentRefused(
                "a ramp was asked for while the output is off",
                port=self.port,
                advice="Switch the output on first.",
            )
        if reading.in_compliance and abs(voltage_v) > abs(reading.set_v):
            raise self._tripped(reading, voltage_v)
        for step_v in _steps(reading.set_v, voltage_v, rate_v_per_s):
            due_s = self._clock.now_s() + STEP_S
            if abs(step_v) > abs(reading.set_v):
                with checkpoint():
                    self._raise_to(step_v, descents)
            else:
                self._set(step_v)
            self._clock.sleep(due_s - self._clock.now_s())
            reading = self.read()
            self._check_follows(reading, step_v, voltage_v)

    def ramp_down(self, *, rate_v_per_s: float) -> BiasReading:
        """From any state to 0 V with the output off; returns the reading that proves it.

        Starts from what the instrument says, not from what was set through this driver. Lost and
        broken replies are tried again. When a step fails all the same, or the instrument sources a
        current, the output is switched off at once.

        Raises:
            InstrumentError: it is not certain that the output is off.
        """
        self._check_rate(rate_v_per_s)
        self._descents += 1
        with contextlib.suppress(InstrumentError):
            if _insist(self.output_is_on):
                self._walk_down(rate_v_per_s)
        self.switch_off()
        with contextlib.suppress(InstrumentRefused):
            _insist(lambda: self._set(0.0))
        ends_at_s = self._clock.now_s() + DISCHARGE_S
        late = False
        reading = _insist(self.read)
        while abs(reading.voltage_v) > DISCHARGED_V and not late:
            self._clock.sleep(STEP_S)
            late = self._clock.now_s() > ends_at_s
            reading = _insist(self.read)
        if reading.output_on or abs(reading.voltage_v) > DISCHARGED_V:
            raise RampInterrupted(
                f"still {reading.voltage_v:.3f} V after ramping down, output "
                f"{'on' if reading.output_on else 'off'}",
                port=self.port,
                advice="Switch the source off at its front panel and keep hands off the board.",
            )
        return reading

    def close(self) -> None:
        """Ramp down when the output is on, then give the port back; once closed, does nothing.

        Raises:
            InstrumentError: it is not certain that the output is off; the port is closed anyway.
        """
        if self._transport.is_closed:
            return
        try:
            if _insist(self.output_is_on):
                self.ramp_down(rate_v_per_s=CLOSING_RATE_V_PER_S)
        finally:
            self._transport.close()

    def leave(self) -> None:
        """Give the port back and leave the output as it is: for who only looked."""
        self._transport.close()

    def _walk_down(self, rate_v_per_s: float) -> None:
        def function() -> str:
            with self._transaction() as exchange:
                return _ask(exchange, protocol.SOURCE_FUNCTION + "?")

        if _insist(function) != protocol.VOLTAGE_SOURCE:
            return
        reading = _insist(self.read)
        for step_v in _steps(reading.set_v, 0.0, rate_v_per_s):
            due_s = self._clock.now_s() + STEP_S

            def step(step_v: float = step_v) -> None:
                self._set(step_v)

            _insist(step)
            self._clock.sleep(due_s - self._clock.now_s())

    def _transaction(self) -> contextlib.AbstractContextManager[Exchange]:
        return self._transport.transaction(deadline_s=self._deadline_s)

    def _set(self, voltage_v: float) -> None:
        with self._transaction() as exchange:
            self._command(exchange, f"{protocol.VOLTAGE} {voltage_v:.6E}")

    def _raise_to(self, voltage_v: float, descents: int) -> None:
        with self._transaction() as exchange:
            if descents != self._descents:
                raise RampInterrupted(
                    f"the supply was brought down on the way to {voltage_v:.3f} V", port=self.port
                )
            self._command(exchange, f"{protocol.VOLTAGE} {voltage_v:.6E}")

    def _command(self, exchange: Exchange, command: str) -> None:
        exchange.send(command)
        errors = _drain_errors(exchange)
        if errors:
            raise InstrumentRefused(
                "the source refuses: " + ", ".join(map(str, errors)),
                port=self.port,
                sent=command,
                advice="Check the request against the manual of the source; nothing was changed.",
            )

    def _identify(self, exchange: Exchange) -> Identity:
        language = _ask(exchange, protocol.LANGUAGE)
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
        reply = _ask(exchange, protocol.IDENTIFY)
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

    def _verify(self, exchange: Exchange) -> None:
        found = self._identify(exchange)
        if found != self._identity:
            raise WrongInstrument(
                f"another source answers: serial {found.serial}, not {self.identity.serial}",
                port=self.port,
                sent=protocol.IDENTIFY,
            )
        _drain_errors(exchange)

    def _reading(self, exchange: Exchange) -> BiasReading:
        exchange.send(protocol.MEASURE)
        measured = protocol.parse_measurement(
            exchange.receive(), port=self.port, sent=protocol.MEASURE
        )
        set_v = _ask_number(exchange, protocol.VOLTAGE + "?")
        limited = _ask_flag(exchange, protocol.CURRENT_LIMIT_TRIPPED)
        output_on = _ask_flag(exchange, protocol.OUTPUT + "?")
        return BiasReading(
            voltage_v=measured.voltage_v,
            current_a=measured.current_a,
            output_on=output_on,
            in_compliance=output_on
            and (limited or bool(measured.status & protocol.STATUS_LIMITED)),
            set_v=set_v,
        )

    def _programmed(self) -> tuple[float, float]:
        if self._limits is None:
            raise LimitsNotProgrammed("no limits were programmed", port=self.port)
        return self._limits

    def _check_limits(self, max_voltage_v: float, compliance_a: float) -> str:
        if not (math.isfinite(max_voltage_v) and max_voltage_v > 0):
            raise SetpointRefused(
                f"a maximum of {max_voltage_v} V is no positive voltage", port=self.port
            )
        try:
            step = protocol.overvoltage_step(max_voltage_v)
        except ValueError as error:
            raise SetpointRefused(str(error), port=self.port) from error
        highest_a = (
            protocol.MAX_CURRENT_A
            if max_voltage_v <= protocol.LOW_RANGE_MAX_V
            else protocol.MAX_CURRENT_HIGH_RANGE_A
        )
        if not protocol.MIN_CURRENT_LIMIT_A <= compliance_a <= highest_a:
            raise SetpointRefused(
                f"a current limit of {compliance_a} A is outside "
                f"{protocol.MIN_CURRENT_LIMIT_A:g} to {highest_a:g} A at {max_voltage_v:g} V",
                port=self.port,
            )
        return step

    def _check_programmed(self, exchange: Exchange, compliance_a: float, step: str) -> None:
        limit_a = _ask_number(exchange, protocol.CURRENT_LIMIT + "?")
        if not math.isclose(limit_a, compliance_a, rel_tol=1e-3):
            self._limits = None
            raise LimitsNotProgrammed(
                f"the current limit reads back {limit_a:g} A instead of {compliance_a:g} A",
                port=self.port,
                sent=protocol.CURRENT_LIMIT + "?",
            )
        protection = _ask(exchange, protocol.OVERVOLTAGE + "?")
        if protection != step:
            self._limits = None
            raise LimitsNotProgrammed(
                f"the over-voltage protection reads back {protection} instead of {step}",
                port=self.port,
                sent=protocol.OVERVOLTAGE + "?",
            )

    def _check_rate(self, rate_v_per_s: float) -> None:
        if not (math.isfinite(rate_v_per_s) and rate_v_per_s > 0):
            raise SetpointRefused(
                f"a ramp of {rate_v_per_s} V/s is no positive rate", port=self.port
            )

    def _check_setpoint(self, voltage_v: float, max_voltage_v: float) -> None:
        if not math.isfinite(voltage_v):
            raise SetpointRefused(f"{voltage_v} is no voltage", port=self.port)
        if voltage_v * self._polarity < 0:
            raise SetpointRefused(
                f"{voltage_v:g} V has the wrong sign for this supply", port=self.port
            )
        if abs(voltage_v) > max_voltage_v:
            raise SetpointRefused(
                f"{voltage_v:g} V is above the programmed maximum of {max_voltage_v:g} V",
                port=self.port,
            )

    def _check_interlock(self, exchange: Exchange, voltage_v: float) -> None:
        if abs(voltage_v) > protocol.INTERLOCK_FREE_MAX_V and not _ask_flag(
            exchange, protocol.INTERLOCK
        ):
            raise InterlockOpen(
                f"{voltage_v:g} V needs the interlock closed; open, the source stays within "
                f"{protocol.INTERLOCK_FREE_MAX_V:g} V",
                port=self.port,
                sent=protocol.INTERLOCK,
            )

    def _check_follows(self, reading: BiasReading, step_v: float, target_v: float) -> None:
        rising = abs(target_v) >= abs(step_v)
        if not reading.output_on:
            raise RampInterrupted(
                f"the output went off by itself at {step_v:.3f} V on the way to {target_v:g} V",
                port=self.port,
                advice="Check the interlock and the front panel of the source.",
            )
        if reading.in_compliance and rising:
            raise self._tripped(reading, target_v)
        allowed_v = FOLLOWS_WITHIN_V + FOLLOWS_WITHIN_RELATIVE * abs(step_v)
        if not reading.in_compliance and abs(reading.voltage_v - step_v) > allowed_v:
            raise RampInterrupted(
                f"the output measures {reading.voltage_v:.3f} V where {step_v:.3f} V was set",
                port=self.port,
                advice="Ramp down; check the cable and the over-voltage protection.",
            )

    def _tripped(self, reading: BiasReading, target_v: float) -> ComplianceTripped:
        return ComplianceTripped(
            f"the current limit was reached on the way to {target_v:g} V: "
            f"{reading.current_a:.4g} A at {reading.voltage_v:.3f} V (set {reading.set_v:.3f} V)",
            port=self.port,
        )


def _steps(start_v: float, target_v: float, rate_v_per_s: float) -> list[float]:
    """Set-points from ``start_v`` (left out) to ``target_v`` at ``rate_v_per_s``.

    A ramp that changes sign passes through 0 V.
    """
    if start_v * target_v < 0:
        return _steps(start_v, 0.0, rate_v_per_s) + _steps(0.0, target_v, rate_v_per_s)
    step_v = min(rate_v_per_s * STEP_S, MAX_STEP_V)
    count = math.ceil(round(abs(target_v - start_v) / step_v, 9))
    steps = [start_v + (target_v - start_v) * (k / count) for k in range(1, count)]
    return [*steps, target_v]


def _ask(exchange: Exchange, query: str) -> str:
    exchange.send(query)
    return exchange.receive()


def _ask_number(exchange: Exchange, query: str) -> float:
    return protocol.parse_number(_ask(exchange, query), port=exchange.port, sent=query)


def _ask_flag(exchange: Exchange, query: str) -> bool:
    return protocol.parse_flag(_ask(exchange, query), port=exchange.port, sent=query)


def _drain_errors(exchange: Exchange) -> list[protocol.QueuedError]:
    errors: list[protocol.QueuedError] = []
    while len(errors) <= protocol.ERROR_QUEUE_LENGTH:
        error = protocol.parse_error(
            _ask(exchange, protocol.NEXT_ERROR), port=exchange.port, sent=exchange.sent
        )
        if error.code == 0:
            return errors
        errors.append(error)
    raise BrokenReply("the error queue does not end", port=exchange.port, sent=protocol.NEXT_ERROR)


def _insist(action: Callable[[], _Result]) -> _Result:
    """The result of an action that leads to safety; lost and broken replies are tried again."""
    last: InstrumentError | None = None
    for _ in range(ATTEMPTS):
        try:
            return action()
        except (InstrumentTimeout, InstrumentLost, BrokenReply) as error:
            last = error
    assert last is not None
    raise last
