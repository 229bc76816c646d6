"""Questions and orders to one board, or one channel of it, inside a transaction."""

from dataclasses import dataclass

from drivers.caen_hv import protocol
from drivers.errors import BrokenReply
from drivers.transport import Exchange


@dataclass(frozen=True)
class Addressee:
    """Who is meant.

    Attributes:
        board: number of the board; None for supplies without board numbers.
        channel: number of the channel; None for the board itself, or its only channel.
    """

    board: int | None
    channel: int | None = None

    def ask(self, exchange: Exchange, parameter: str) -> str | None:
        """The value of a parameter, as it comes; errors as :func:`protocol.parse_reply`."""
        question = protocol.monitor(parameter, board=self.board, channel=self.channel)
        return self._answer(exchange, question)

    def ask_number(self, exchange: Exchange, parameter: str) -> float:
        words = self.ask(exchange, parameter)
        return protocol.parse_number(words, port=exchange.port, sent=exchange.sent)

    def ask_whole(self, exchange: Exchange, parameter: str, *, highest: int) -> int:
        words = self.ask(exchange, parameter)
        return protocol.parse_whole(words, highest=highest, port=exchange.port, sent=exchange.sent)

    def ask_word(self, exchange: Exchange, parameter: str, *known: str) -> str:
        words = self.ask(exchange, parameter)
        return protocol.parse_word(words, known, port=exchange.port, sent=exchange.sent)

    def ask_name(self, exchange: Exchange, parameter: str) -> str:
        words = self.ask(exchange, parameter)
        if not words or not words.isprintable() or not words.strip():
            raise BrokenReply(f"{words!r} is no name", port=exchange.port, sent=exchange.sent)
        return words.strip()

    def order(self, exchange: Exchange, parameter: str, value: str = "") -> None:
        """Set a parameter; errors as :func:`protocol.parse_reply`."""
        command = protocol.setting(parameter, value, board=self.board, channel=self.channel)
        if self._answer(exchange, command) is not None:
            raise BrokenReply("a value answers an order", port=exchange.port, sent=command)

    def _answer(self, exchange: Exchange, command: str) -> str | None:
        exchange.send(command)
        return protocol.parse_reply(
            exchange.receive(), board=self.board, port=exchange.port, sent=command
        )
