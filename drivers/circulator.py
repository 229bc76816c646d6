"""What every circulator keeps as a chiller: the site's limits, its orders, and who it is."""

import math
from abc import ABC, abstractmethod
from typing import ClassVar

from drivers.clock import Clock
from drivers.errors import OrdersLost, SetpointRefused, WrongInstrument
from drivers.roles import Identity
from drivers.transport import Exchange, LineTransport, PortStatistics


class Circulator(ABC):
    """A circulator that remembers what it was ordered; fulfils the role ``Chiller``.

    Opening reads and changes nothing. After a power loss a circulator is off and has the set-point
    of its panel again: ``running`` and ``setpoint_c`` then raise :class:`OrdersLost`, and
    ``resend`` gives the orders again.

    Args:
        transport: the port; the driver closes it.
        lowest_c, highest_c: the lowest and the highest set-point that the site allows.
        clock: taken like by every driver; nothing here waits in its time.
        deadline_s: real seconds for one order or question.

    Raises:
        WrongInstrument: something else answers.
        InstrumentLost, InstrumentTimeout, BrokenReply: nobody, or nobody sensible, answers.
    """

    INSTRUMENT: ClassVar[str]
    """What people at the line call it."""
    WHO: ClassVar[str]
    """The question who is there."""
    SAME_K: ClassVar[float]
    """A set-point that reads back within this much is the one that was written."""
    DEADLINE_S: ClassVar[float]

    def __init__(
        self,
        transport: LineTransport,
        *,
        lowest_c: float,
        highest_c: float,
        clock: Clock | None = None,
        deadline_s: float | None = None,
    ) -> None:
        del clock
        if not (math.isfinite(lowest_c) and math.isfinite(highest_c) and lowest_c < highest_c):
            transport.close()
            raise ValueError(f"limits must be finite and rising, got {lowest_c} to {highest_c}")
        self._transport = transport
        transport.instrument = self.INSTRUMENT
        self._limits_c = (lowest_c, highest_c)
        self._deadline_s = self.DEADLINE_S if deadline_s is None else deadline_s
        self._ordered_c: float | None = None
        self._ordered_on: bool | None = None
        try:
            with transport.transaction(deadline_s=self._deadline_s) as exchange:
                self._name = self._ask_name(exchange)
            self._identity = self._identity_of(self._name)
            transport.verify = self._check_identity
        except BaseException:
            transport.close()
            raise

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def statistics(self) -> PortStatistics:
        """How the transactions went."""
        return self._transport.statistics

    # orders

    def set_temperature(self, temperature_c: float) -> None:
        """Write the set-point and read it back.

        Raises:
            SetpointRefused: outside the site's limits, with nothing sent, or not taken by the
                circulator.
            InstrumentRefused: the circulator takes no orders from here.
            MachineAlarm: it has an alarm, where that makes it refuse.
            InstrumentError: the set-point reads back as another one.
        """
        low_c, high_c = self._limits_c
        if not low_c <= temperature_c <= high_c:
            raise SetpointRefused(
                f"the site allows {low_c:g} to {high_c:g} C, not {temperature_c:g}",
                port=self._transport.port,
            )
        self._write_setpoint(temperature_c)
        self._ordered_c = temperature_c

    def start(self) -> None:
        """Let it circulate and regulate its bath.

        Raises:
            MachineAlarm: it has an alarm.
            InstrumentError: it does not start.
        """
        self._switch(is_on=True)

    def stop(self) -> None:
        """Stop circulating and regulating.

        Raises:
            InstrumentError: it goes on.
        """
        self._switch(is_on=False)

    def resend(self) -> None:
        """Give the last orders again, as is needed after a power loss."""
        if self._ordered_c is not None:
            self.set_temperature(self._ordered_c)
        if self._ordered_on is not None:
            self._switch(is_on=self._ordered_on)

    def _switch(self, *, is_on: bool) -> None:
        self._write_running(is_on=is_on)
        self._ordered_on = is_on

    # questions

    def setpoint_c(self) -> float:
        """The set-point that the circulator has.

        Raises:
            OrdersLost: it is not the one that was ordered.
        """
        found_c = self._read_setpoint_c()
        if self._ordered_c is not None and not self._same(found_c, self._ordered_c):
            raise OrdersLost(
                f"the set-point is {found_c:g} C, ordered were {self._ordered_c:g} C",
                port=self._transport.port,
            )
        return found_c

    def running(self) -> bool:
        """Whether it circulates and regulates.

        Raises:
            MachineAlarm: it has an alarm.
            OrdersLost: it is off although it was started, or the other way round.
        """
        is_on, told = self._read_running()
        if self._ordered_on is not None and is_on != self._ordered_on:
            raise OrdersLost(
                f"the circulator was {'started' if self._ordered_on else 'stopped'} and now "
                f"{told}: it lost power, or was switched at its panel",
                port=self._transport.port,
            )
        return is_on

    @abstractmethod
    def bath_c(self) -> float:
        """Temperature of the bath."""

    @abstractmethod
    def external_c(self) -> float:
        """Temperature of the external sensor; raises InstrumentError without one."""

    def close(self) -> None:
        """Give the port back; the circulator goes on as it is."""
        self._transport.close()

    # what each maker words in its own way

    @abstractmethod
    def _ask_name(self, exchange: Exchange) -> str:
        """What it calls itself; raises WrongInstrument for something else."""

    @abstractmethod
    def _identity_of(self, name: str) -> Identity: ...

    @abstractmethod
    def _write_setpoint(self, temperature_c: float) -> None:
        """Order a set-point and read it back; raises unless the circulator has it."""

    @abstractmethod
    def _write_running(self, *, is_on: bool) -> None:
        """Start or stop, and check that it did; raises unless it did."""

    @abstractmethod
    def _read_setpoint_c(self) -> float: ...

    @abstractmethod
    def _read_running(self) -> tuple[bool, str]:
        """Whether it runs, and how it tells that; raises MachineAlarm."""

    def _same(self, found_c: float, wanted_c: float) -> bool:
        return abs(found_c - wanted_c) <= self.SAME_K

    def _check_identity(self, exchange: Exchange) -> None:
        found = self._ask_name(exchange)
        if found != self._name:
            raise WrongInstrument(
                f"expected {self._name!r}, now {found!r} answers",
                port=exchange.port,
                sent=self.WHO,
            )
