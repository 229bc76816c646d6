"""Huber circulators as chillers."""

from drivers.circulator import Circulator
from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentRefused,
    MachineAlarm,
    SetpointRefused,
    WrongInstrument,
    names_its_errors,
)
from drivers.huber import protocol
from drivers.huber.protocol import ProtocolError, State
from drivers.roles import Identity
from drivers.transport import Exchange, SerialTransport


@names_its_errors("Huber chiller")
class Huber(Circulator):
    """A Huber circulator; fulfils the role ``Chiller``.

    Opening reads and changes nothing. Every frame has a checksum, and every answer the whole state,
    so that each order is read back twice: in its own answer and in that of a question after it.
    Everything else is as in :class:`Circulator`.
    """

    INSTRUMENT = "Huber chiller"
    WHO = protocol.verify_question()
    SAME_K = protocol.STEP_C
    DEADLINE_S = 3.0

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
        deadline_s: float | None = None,
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

    # orders

    def _write_setpoint(self, temperature_c: float) -> None:
        try:
            digits = protocol.format_temperature(temperature_c)
        except ProtocolError as error:
            raise SetpointRefused(str(error), port=self._transport.port) from error
        question = protocol.general_question(setpoint=digits)
        state = self._order(question)
        if not self._same(state.setpoint_c, temperature_c):
            raise SetpointRefused(
                f"the circulator keeps its set-point of {state.setpoint_c:g} C",
                port=self._transport.port,
                sent=question,
                advice="Check the limits that are set at its panel.",
            )

    def _write_running(self, *, is_on: bool) -> None:
        mode = protocol.INTERNAL if is_on else protocol.OFF
        state = self._order(protocol.general_question(mode=mode))
        if is_on:
            self._refuse_alarm(state)
            if not state.is_regulating:
                raise InstrumentRefused(
                    f"the circulator was told to start and is {state}",
                    port=self._transport.port,
                    advice="Look at its panel.",
                )
        elif state.mode != protocol.OFF:
            raise InstrumentError(
                f"the circulator was told to stop and is {state}",
                port=self._transport.port,
                advice="Stop it at its panel.",
            )

    def _order(self, question: str) -> State:
        with self._transport.transaction(deadline_s=self._deadline_s) as exchange:
            _ask(exchange, question)
            return self._state(exchange)

    # questions

    def state(self) -> State:
        """All that it tells, in one answer."""
        with self._transport.transaction(deadline_s=self._deadline_s) as exchange:
            return self._state(exchange)

    def _read_setpoint_c(self) -> float:
        return self.state().setpoint_c

    def _read_running(self) -> tuple[bool, str]:
        state = self.state()
        self._refuse_alarm(state)
        return state.is_regulating, f"is {state}"

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

    def _identity_of(self, name: str) -> Identity:
        return Identity(protocol.MAKER, name, "", "", self._transport.port)


def _ask(exchange: Exchange, question: str) -> State:
    exchange.send(question)
    reply = exchange.receive()
    try:
        return protocol.parse_state(reply)
    except ProtocolError as error:
        raise BrokenReply(str(error), port=exchange.port, sent=question) from error
