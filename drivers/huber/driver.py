"""Huber circulators as chillers."""

import math

from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentRefused,
    MachineAlarm,
    OrdersLost,
    SetpointRefused,
    WrongInstrument,
    names_its_errors,
)
from drivers.huber import protocol
from drivers.huber.protocol import ProtocolError, State
from drivers.roles import Identity
from drivers.transport import Exchange, LineTransport, PortStatistics, SerialTransport


@names_its_errors("Huber chiller")
class Huber:
    """A Huber circulator; fulfils the role ``Chiller``.

    Opening reads and changes nothing. Every frame has a checksum, and every answer the whole state,
    so that each order is read back twice: in its own answer and in that of a question after it.
    After a power loss a circulator is off: ``running`` and ``setpoint_c`` then raise
    :class:`OrdersLost`, and ``resend`` gives the orders again.

    Args:
        transport: the port; the driver closes it.
        lowest_c, highest_c: the lowest and the highest set-point that the site allows.
        clock: taken like by every driver; nothing here waits in its time.
        deadline_s: real seconds for one order or question.

    Raises:
        WrongInstrument: something else answers.
        InstrumentLost, InstrumentTimeout, BrokenReply: nobody, or nobody sensible, answers.
    """

    def __init__(
        self,
        transport: LineTransport,
        *,
        lowest_c: float,
        highest_c: float,
        clock: Clock | None = None,
        deadline_s: float = 3.0,
    ) -> None:
        del clock
        if not (math.isfinite(lowest_c) and math.isfinite(highest_c) and lowest_c < highest_c):
            raise ValueError(f"limits must be finite and rising, got {lowest_c} to {highest_c}")
        self._transport = transport
        transport.instrument = "Huber chiller"
        self._limits_c = (lowest_c, highest_c)
        self._deadline_s = deadline_s
        self._ordered_c: float | None = None
        self._ordered_on: bool | None = None
        try:
            with transport.transaction(deadline_s=deadline_s) as exchange:
                self._name = self._ask_name(exchange)
            self._identity = Identity(protocol.MAKER, self._name, "", "", transport.port)
            transport.verify = self._check_identity
        except BaseException:
            transport.close()
            raise

    @classmethod
    def open(
        cls,
        address: str,
        *,
        lowest_c: float,
        highest_c: float,
        clock: Clock | None = None,
        baud: int = protocol.BAUD,
        pause_s: float = 0.0,
        deadline_s: float = 3.0,
    ) -> "Huber":
        """The circulator at a serial port."""
        transport = SerialTransport(
            address,
            baud=baud,
            read_terminator=protocol.TERMINATOR,
            write_terminator=protocol.TERMINATOR,
            pause_s=pause_s,
        )
        return cls(
            transport, lowest_c=lowest_c, highest_c=highest_c, clock=clock, deadline_s=deadline_s
        )

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
        """
        low_c, high_c = self._limits_c
        if not low_c <= temperature_c <= high_c:
            raise SetpointRefused(
                f"the site allows {low_c:g} to {high_c:g} C, not {temperature_c:g}",
                port=self._transport.port,
            )
        try:
            digits = protocol.format_temperature(temperature_c)
        except ProtocolError as error:
            raise SetpointRefused(str(error), port=self._transport.port) from error
        question = protocol.general_question(setpoint=digits)
        state = self._order(question)
        if abs(state.setpoint_c - temperature_c) > protocol.STEP_C:
            raise SetpointRefused(
                f"the circulator keeps its set-point of {state.setpoint_c:g} C",
                port=self._transport.port,
                sent=question,
                advice="Check the limits that are set at its panel.",
            )
        self._ordered_c = temperature_c

    def start(self) -> None:
        """Let it circulate and regulate its bath.

        Raises:
            MachineAlarm: it has an alarm.
            InstrumentRefused: it does not start.
        """
        state = self._order(protocol.general_question(mode=protocol.INTERNAL))
        self._refuse_alarm(state)
        if not state.is_regulating:
            raise InstrumentRefused(
                f"the circulator was told to start and is {state}",
                port=self._transport.port,
                advice="Look at its panel.",
            )
        self._ordered_on = True

    def stop(self) -> None:
        """Stop circulating and regulating.

        Raises:
            InstrumentError: it goes on.
        """
        state = self._order(protocol.general_question(mode=protocol.OFF))
        if state.mode != protocol.OFF:
            raise InstrumentError(
                f"the circulator was told to stop and is {state}",
                port=self._transport.port,
                advice="Stop it at its panel.",
            )
        self._ordered_on = False

    def resend(self) -> None:
        """Give the last orders again, as is needed after a power loss."""
        if self._ordered_c is not None:
            self.set_temperature(self._ordered_c)
        if self._ordered_on is not None:
            (self.start if self._ordered_on else self.stop)()

    def _order(self, question: str) -> State:
        with self._transport.transaction(deadline_s=self._deadline_s) as exchange:
            _ask(exchange, question)
            return self._state(exchange)

    # questions

    def state(self) -> State:
        """All that it tells, in one answer."""
        with self._transport.transaction(deadline_s=self._deadline_s) as exchange:
            return self._state(exchange)

    def setpoint_c(self) -> float:
        """The set-point that the circulator has.

        Raises:
            OrdersLost: it is not the one that was ordered.
        """
        found_c = self.state().setpoint_c
        if self._ordered_c is not None and abs(found_c - self._ordered_c) > protocol.STEP_C:
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
        state = self.state()
        self._refuse_alarm(state)
        if self._ordered_on is not None and state.is_regulating != self._ordered_on:
            raise OrdersLost(
                f"the circulator was {'started' if self._ordered_on else 'stopped'} and now is "
                f"{state}: it lost power, or was switched at its panel",
                port=self._transport.port,
            )
        return state.is_regulating

    def bath_c(self) -> float:
        """Temperature of the bath."""
        return self.state().bath_c

    def external_c(self) -> float:
        """Temperature of the external sensor.

        Raises:
            InstrumentRefused: no sensor is connected.
        """
        external_c = self.state().external_c
        if external_c is None:
            raise InstrumentRefused(
                "no external sensor is connected",
                port=self._transport.port,
                advice="Plug the sensor in.",
            )
        return external_c

    def close(self) -> None:
        """Give the port back; the circulator goes on as it is."""
        self._transport.close()

    # the wire

    def _state(self, exchange: Exchange) -> State:
        return _ask(exchange, protocol.general_question())

    def _refuse_alarm(self, state: State) -> None:
        if state.has_alarm:
            raise MachineAlarm(
                f"the circulator has an alarm; it is {state}",
                port=self._transport.port,
                advice="Read the alarm at its panel, look at level and temperature of the bath, "
                "clear it there, then send its settings again.",
            )

    def _ask_name(self, exchange: Exchange) -> str:
        exchange.send(protocol.verify_question())
        reply = exchange.receive()
        try:
            return protocol.parse_name(reply)
        except ProtocolError as error:
            if reply.startswith("[S"):
                raise BrokenReply(str(error), port=exchange.port, sent=exchange.sent) from error
            raise WrongInstrument(
                f"no Huber circulator answers: {error}", port=exchange.port, sent=exchange.sent
            ) from error

    def _check_identity(self, exchange: Exchange) -> None:
        found = self._ask_name(exchange)
        if found != self._name:
            raise WrongInstrument(
                f"expected {self._name!r}, now {found!r} answers",
                port=exchange.port,
                sent=protocol.verify_question(),
            )


def _ask(exchange: Exchange, question: str) -> State:
    exchange.send(question)
    reply = exchange.receive()
    try:
        return protocol.parse_state(reply)
    except ProtocolError as error:
        raise BrokenReply(str(error), port=exchange.port, sent=question) from error
