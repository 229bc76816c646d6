"""Questions and orders to one channel of an NHQ or SHQ, inside a transaction."""

from dataclasses import dataclass

from drivers.errors import BrokenReply
from drivers.iseg import protocol
from drivers.iseg.protocol import HardwareLimits, Reading, Unit
from drivers.transport import Exchange

PROBE_COUNT = 100


@dataclass(frozen=True)
class ChannelDialogue:
    """Channel 1 or 2; errors are those of :mod:`drivers.iseg.protocol`."""

    channel: int

    def unit(self, exchange: Exchange) -> Unit:
        reply = self._answer(exchange, protocol.IDENTIFY)
        return protocol.parse_unit(reply, port=exchange.port, sent=exchange.sent)

    def voltage(self, exchange: Exchange) -> Reading:
        return self._voltage(exchange, protocol.VOLTAGE)

    def setpoint(self, exchange: Exchange) -> Reading:
        return self._voltage(exchange, protocol.SETPOINT)

    def current(self, exchange: Exchange) -> Reading:
        reply = self._ask(exchange, protocol.CURRENT)
        return protocol.parse_current(reply, port=exchange.port, sent=exchange.sent)

    def status(self, exchange: Exchange) -> str:
        """The status word; reading it ends a shut-off."""
        return self._word(exchange, protocol.STATUS)

    def go(self, exchange: Exchange) -> str:
        """Start towards the set-point; the status word."""
        return self._word(exchange, protocol.GO)

    def flags(self, exchange: Exchange) -> frozenset[str]:
        return protocol.module_flags(self._whole(exchange, protocol.MODULE, 255))

    def switches(self, exchange: Exchange, unit: Unit) -> HardwareLimits:
        """Where the rotary switches stand."""
        volts = self._whole(exchange, protocol.VOLTAGE_SWITCH, 100)
        amperes = self._whole(exchange, protocol.CURRENT_SWITCH, 100)
        return HardwareLimits(unit.max_v * volts / 100, unit.max_a * amperes / 100)

    def autostart(self, exchange: Exchange) -> int:
        return self._whole(exchange, protocol.AUTOSTART, 15)

    def trip_step_a(self, exchange: Exchange) -> float | None:
        """What a count of the current trip means, tried with some; None from a unit that does not
        tell."""
        self.order(exchange, protocol.TRIP, str(PROBE_COUNT))
        reply = self._ask(exchange, protocol.TRIP)
        if reply.isascii() and reply.isdigit():
            return None
        reading = protocol.parse_current(reply, port=exchange.port, sent=exchange.sent)
        return reading.value / PROBE_COUNT or None

    def trip(self, exchange: Exchange, step_a: float) -> float:
        """The current trip in A, whatever the unit tells it in."""
        reply = self._ask(exchange, protocol.TRIP)
        if reply.isascii() and reply.isdigit():
            return int(reply) * step_a
        return protocol.parse_current(reply, port=exchange.port, sent=exchange.sent).value

    def order(self, exchange: Exchange, letter: str, value: str) -> None:
        """Set something; the unit answers with an empty line."""
        exchange.send(protocol.order(letter, self.channel, value))
        reply = exchange.receive()
        protocol.check_error(reply, port=exchange.port, sent=exchange.sent)
        if reply:
            raise BrokenReply(f"{reply!r} answers an order", port=exchange.port, sent=exchange.sent)

    def _voltage(self, exchange: Exchange, letter: str) -> Reading:
        reply = self._ask(exchange, letter)
        return protocol.parse_voltage(reply, port=exchange.port, sent=exchange.sent)

    def _whole(self, exchange: Exchange, letter: str, highest: int) -> int:
        reply = self._ask(exchange, letter)
        return protocol.parse_whole(reply, highest=highest, port=exchange.port, sent=exchange.sent)

    def _word(self, exchange: Exchange, letter: str) -> str:
        reply = self._ask(exchange, letter)
        return protocol.parse_status(reply, self.channel, port=exchange.port, sent=exchange.sent)

    def _ask(self, exchange: Exchange, letter: str) -> str:
        return self._answer(exchange, protocol.question(letter, self.channel))

    def _answer(self, exchange: Exchange, question: str) -> str:
        """The line after the echo; some units put an empty one before it."""
        exchange.send(question)
        reply = exchange.receive() or exchange.receive()
        protocol.check_error(reply, port=exchange.port, sent=exchange.sent)
        return reply
