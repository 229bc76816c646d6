# ruff: noqa: B027 - what is empty here belongs to instruments that have it
"""What a bias supply has to be able to do for the discipline of :mod:`drivers.supply.stepped`."""

import contextlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NoReturn

from drivers.clock import Clock, RealClock
from drivers.errors import LimitsNotProgrammed, SetpointRefused, WrongInstrument
from drivers.roles import BiasReading, Identity
from drivers.transport import Exchange, LineTransport, PortStatistics


@dataclass(frozen=True)
class Limits:
    """What the hardware is told never to exceed; magnitudes."""

    max_voltage_v: float
    compliance_a: float


class Supply(ABC):
    """A port with a bias supply behind it, and what its driver says about that instrument.

    Each primitive gets the exchange of a transaction, checks the instrument's errors, and raises
    :class:`drivers.errors.InstrumentError`.
    """

    NAME: ClassVar[str]
    STEP_S: ClassVar[float] = 0.1
    MAX_STEP_V: ClassVar[float] = 2.0
    LOWEST_V: ClassVar[float] = 0.0
    """Magnitude of the lowest set-point; below it there is only the output off."""
    FOLLOWS_WITHIN_V: ClassVar[float] = 0.2
    FOLLOWS_WITHIN_RELATIVE: ClassVar[float] = 0.005
    FOLLOWS_WITHIN_S: ClassVar[float] = 0.0
    """Time that the terminals may take to follow a set-point, beside ``STEP_S``."""
    SETPOINT_WITHIN_V: ClassVar[float] = 0.01
    """How well a set-point reads back."""
    DISCHARGED_V: ClassVar[float] = 0.5
    DISCHARGE_S: ClassVar[float] = 5.0
    CLOSING_RATE_V_PER_S: ClassVar[float] = 10.0

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
        transport.instrument = self.NAME
        self._clock = clock or RealClock()
        self._polarity = polarity
        self._deadline_s = deadline_s
        self._limits: Limits | None = None
        self._identity: Identity | None = None
        try:
            with self._transaction() as exchange:
                self._identity = self._identify(exchange)
                self._begin(exchange)
        except BaseException:
            transport.close()
            raise
        transport.verify = self._verify

    @property
    def identity(self) -> Identity:
        assert self._identity is not None
        return self._identity

    @property
    def port(self) -> str:
        return self._transport.port

    def output_is_on(self) -> bool:
        """Whether the instrument says that its output is on."""
        with self._transaction() as exchange:
            return self._output_on(exchange)

    def read(self) -> BiasReading:
        """Measure voltage and current, and read set-point, output and compliance."""
        with self._transaction() as exchange:
            return self._read(exchange)

    @property
    def statistics(self) -> PortStatistics:
        """How the transactions with the supply went."""
        return self._transport.statistics

    def interrupt(self) -> None:
        """Break off the transaction that another thread has under way."""
        self._transport.interrupt()

    @abstractmethod
    def _identify(self, exchange: Exchange) -> Identity:
        """Ask who answers, changing nothing; raise :class:`WrongInstrument` for anybody else."""

    def _begin(self, exchange: Exchange) -> None:
        """Bring a fresh or resynchronised line into step, such as by emptying an error queue."""

    @abstractmethod
    def _read(self, exchange: Exchange) -> BiasReading: ...

    @abstractmethod
    def _setpoint_v(self, exchange: Exchange) -> float:
        """The set-point as the instrument says, with sign."""

    @abstractmethod
    def _output_on(self, exchange: Exchange) -> bool: ...

    @abstractmethod
    def _write_voltage(self, exchange: Exchange, voltage_v: float) -> None: ...

    @abstractmethod
    def _write_output(self, exchange: Exchange, *, on: bool) -> None: ...

    def _check_limits(self, limits: Limits) -> None:
        """Raise :class:`SetpointRefused` for limits that the instrument can't hold."""

    @abstractmethod
    def _write_limits(self, exchange: Exchange, limits: Limits) -> None:
        """Write the limits and all settings they need, the set-point at the lowest voltage."""

    @abstractmethod
    def _check_limits_programmed(self, exchange: Exchange, limits: Limits) -> None:
        """Read the limits back; raise :class:`LimitsNotProgrammed` when they differ."""

    def _check_output_allowed(self, exchange: Exchange, voltage_v: float) -> None:
        """Raise :class:`InterlockOpen` when the instrument can't give ``voltage_v`` as it is."""

    def _write_ramp(self, exchange: Exchange, rate_v_per_s: float) -> None:
        """Programme the instrument's own ramp, where it has one, as a further limit."""

    def _settable(self, voltage_v: float) -> float:
        """The set-point nearest to ``voltage_v``, but not above it, that the instrument can hold.

        The steps of a ramp are such set-points; a target that is none is refused by
        :meth:`_check_setpoint`.
        """
        return voltage_v

    def _expected_v(self, exchange: Exchange, set_v: float) -> float:
        """What the terminals should measure at a set-point, where that is not the set-point."""
        return set_v

    def _sources_voltage(self, exchange: Exchange) -> bool:
        """False when the instrument is set to source something else."""
        return True

    def _abort(self, exchange: Exchange) -> None:
        """End what the instrument does by itself, such as a sweep, before it is brought down."""

    def _alarm(self, exchange: Exchange) -> str:
        """Trips and alarms that the instrument reports, in words; empty for none."""
        return ""

    def _limits_of(self, max_voltage_v: float, compliance_a: float) -> Limits:
        if not (math.isfinite(max_voltage_v) and max_voltage_v > 0):
            self._refuse_setpoint(f"a maximum of {max_voltage_v} V is no positive voltage")
        if not (math.isfinite(compliance_a) and compliance_a > 0):
            self._refuse_setpoint(f"a current limit of {compliance_a} A is no positive current")
        if max_voltage_v < self.LOWEST_V:
            self._refuse_setpoint(f"its lowest voltage is {self.LOWEST_V:g} V")
        limits = Limits(max_voltage_v, compliance_a)
        self._check_limits(limits)
        return limits

    def _check_rate(self, rate_v_per_s: float) -> None:
        if not (math.isfinite(rate_v_per_s) and rate_v_per_s > 0):
            self._refuse_setpoint(f"a ramp of {rate_v_per_s} V/s is no positive rate")

    def _check_setpoint(self, voltage_v: float, limits: Limits) -> None:
        """Refuse what this supply must not be set to; extend with what the instrument can't."""
        if not math.isfinite(voltage_v):
            self._refuse_setpoint(f"{voltage_v} is no voltage")
        if voltage_v * self._polarity < 0:
            self._refuse_setpoint(f"{voltage_v:g} V has the wrong sign for this supply")
        if abs(voltage_v) < self.LOWEST_V:
            self._refuse_setpoint(
                f"{voltage_v:g} V is below its lowest {self.LOWEST_V:g} V; "
                "ramping down switches it off"
            )
        if abs(voltage_v) > limits.max_voltage_v:
            self._refuse_setpoint(
                f"{voltage_v:g} V is above the programmed maximum of {limits.max_voltage_v:g} V"
            )

    def _programmed(self) -> Limits:
        if self._limits is None:
            raise LimitsNotProgrammed(f"{self.NAME}: no limits were programmed", port=self.port)
        return self._limits

    def _recheck_limits(self, exchange: Exchange, limits: Limits) -> None:
        """Read the limits back again; one wrong digit is read again before it is believed."""
        try:
            self._check_limits_programmed(exchange, limits)
        except LimitsNotProgrammed:
            try:
                self._check_limits_programmed(exchange, limits)
            except LimitsNotProgrammed:
                self._limits = None
                raise

    def _refuse_setpoint(self, what: str) -> NoReturn:
        raise SetpointRefused(f"{self.NAME}: {what}", port=self.port)

    def _transaction(self) -> contextlib.AbstractContextManager[Exchange]:
        return self._transport.transaction(deadline_s=self._deadline_s)

    def _verify(self, exchange: Exchange) -> None:
        found = self._identify(exchange)
        if found != self._identity:
            raise WrongInstrument(
                f"another {self.NAME} answers: serial {found.serial}, not {self.identity.serial}",
                port=self.port,
                sent=exchange.sent,
            )
        self._begin(exchange)
