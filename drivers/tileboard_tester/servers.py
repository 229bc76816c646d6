"""The tester's three servers, and what every request to them has in common."""

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from drivers.errors import BrokenReply, InstrumentError, InstrumentRefused, SetpointRefused
from drivers.tileboard_tester import protocol
from drivers.tileboard_tester.protocol import ProtocolError
from drivers.transport import PortStatistics, ZmqTransport

READINGS = 3
"""How often a number that was measured is asked for until two answers agree."""


class TesterServers:
    """Slow control, fast control and data client.

    The answers carry no checksum. What was set is read back and compared; what is measured is asked
    twice, and a third time when the answers differ.
    """

    def __init__(self, slow: str, fast: str, data: str, *, reply_deadline_s: float) -> None:
        self._reply_deadline_s = reply_deadline_s
        self._slow = ZmqTransport(slow)
        self._fast = ZmqTransport(fast)
        self._data = ZmqTransport(data)
        for transport in (self._slow, self._fast, self._data):
            transport.instrument = "tileboard tester"

    @property
    def statistics(self) -> PortStatistics:
        """How the transactions with the slow control went."""
        return self._slow.statistics

    def interrupt(self) -> None:
        """Break off the requests of other threads at once; they raise InstrumentInterrupted."""
        for transport in (self._slow, self._fast, self._data):
            transport.interrupt()

    def _close_ports(self) -> None:
        for transport in (self._slow, self._fast, self._data):
            transport.close()

    def _number(self, command: str, largest: int) -> int:
        reply = self._request(self._slow, [command])
        try:
            return protocol.parse_integer(reply, 0, largest)
        except ProtocolError as error:
            raise BrokenReply(str(error), port=self._slow.port, sent=command) from error

    def _measured(self, command: str, largest: int, agree_within: int) -> int:
        """A number that two answers agree about; the later one of them."""
        numbers: list[int] = []
        for _ in range(READINGS):
            number = self._number(command, largest)
            if any(abs(number - earlier) <= agree_within for earlier in numbers):
                return number
            numbers.append(number)
        raise BrokenReply(
            f"no two answers agree: {', '.join(str(number) for number in numbers)}",
            port=self._slow.port,
            sent=command,
        )

    def _done(self, command: str) -> None:
        self._expect(self._slow, command, protocol.DONE)

    def _expect(self, transport: ZmqTransport, command: str, wanted: str) -> None:
        reply = self._ask(transport, command)
        if wanted not in reply:
            raise BrokenReply(
                f"expected {wanted!r}, got {reply[:80]!r}", port=transport.port, sent=command
            )

    def _send_tree(self, transport: ZmqTransport, word: str, tree: dict[str, Any]) -> None:
        wanted = protocol.READY if word == "initialize" else protocol.CONFIGURED
        reply = self._request(transport, [word, protocol.to_yaml(tree)]).lower()
        if wanted not in reply:
            raise BrokenReply(
                f"expected {wanted!r}, got {reply[:80]!r}", port=transport.port, sent=word
            )

    def _read_tree(self, question: dict[str, Any]) -> dict[str, Any]:
        """What the slow control reads from the chips; an empty question asks for everything."""
        text = protocol.to_yaml(question) if question else ""
        reply = self._request(self._slow, ["read", text])
        try:
            return protocol.from_yaml(reply)
        except ProtocolError as error:
            raise BrokenReply(str(error), port=self._slow.port, sent="read") from error

    def _ask(self, transport: ZmqTransport, command: str) -> str:
        return self._request(transport, [command]).lower()

    def _request(self, transport: ZmqTransport, parts: Sequence[str]) -> str:
        reply = transport.request(parts, deadline_s=self._reply_deadline_s)
        try:
            text = b"".join(reply).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BrokenReply(
                "the answer is no text", port=transport.port, sent=parts[0]
            ) from error
        if text.lower().startswith(protocol.ERROR):
            raise InstrumentRefused(
                f"the tester refused: {text[:200]}",
                port=transport.port,
                sent=parts[0],
                advice="Reconnect the tester; restart its servers if this repeats.",
            )
        return text

    def _refuse_setting(self, what: str) -> NoReturn:
        raise SetpointRefused(what, port=self._slow.port)

    def _first_failure(self, steps: Sequence[Callable[[], None]]) -> None:
        """Take all steps; raises the first InstrumentError met when all were tried."""
        failed: list[InstrumentError] = []
        for step in steps:
            try:
                step()
            except InstrumentError as error:
                failed.append(error)
        if failed:
            raise failed[0]
