"""A serial line whose far end echoes every character, and takes the next one only after that."""

import contextlib
import time
from collections.abc import Generator

from drivers.errors import BrokenReply, InstrumentTimeout
from drivers.transport import LineTransport
from drivers.transport.serial_port import REALTIME_WITHIN_S, SerialLine, open_serial
from drivers.transport.stream import Stream
from drivers.transport.turn import Turn

ECHO_WITHIN_S = 0.4
ANSWER_WITHIN_S = 2.5
"""Enough for the longest break between the characters of an answer."""


class EchoLink:
    """A stream on which each byte that is sent is waited for.

    Draining begins with a line end that is sent without waiting: the far end then is at the
    beginning of a line, whatever it got before.

    Args:
        stream: the bytes.
        line_end: what ends a line.
        echo_within_s: real seconds for one echo.
    """

    def __init__(
        self, stream: Stream, *, line_end: bytes, echo_within_s: float = ECHO_WITHIN_S
    ) -> None:
        self._stream = stream
        self._line_end = line_end
        self._echo_within_s = echo_within_s

    @property
    def is_closed(self) -> bool:
        return self._stream.is_closed

    def close(self) -> None:
        self._stream.close()

    def send(self, data: bytes, turn: Turn) -> None:
        """Send byte by byte.

        Raises:
            BrokenReply: a byte is not echoed in time, or another one is.
            InstrumentTimeout, InstrumentLost, InstrumentInterrupted: as those of a stream.
        """
        for place in range(len(data)):
            byte = data[place : place + 1]
            self._stream.send(byte, turn)
            echo = self._receive_echo(turn)
            if echo != byte:
                raise BrokenReply(
                    f"the instrument echoes {echo!r} after character {place + 1}, {byte!r}",
                    port=turn.port,
                    sent=turn.sent,
                )

    def _receive_echo(self, turn: Turn) -> bytes:
        """One byte; none when it does not come in time, long before the turn ends."""
        ends_at_s = turn.ends_at_s
        try:
            with _no_longer_than(turn, self._echo_within_s):
                return self._stream.receive_bytes(1, turn)
        except InstrumentTimeout:
            if time.monotonic() >= ends_at_s:
                raise
            return b""

    def receive_line(self, terminator: bytes, turn: Turn) -> bytes:
        """A line; a lost one is not waited for until the turn ends."""
        with _no_longer_than(turn, ANSWER_WITHIN_S):
            return self._stream.receive_line(terminator, turn)

    def has_line(self, terminator: bytes) -> bool:
        return self._stream.has_line(terminator)

    def has_input(self) -> bool:
        return self._stream.has_input()

    def drain(self, quiet_s: float, turn: Turn) -> bytes:
        """Send a line end, then take what comes until nothing has come for ``quiet_s``."""
        self._stream.send(self._line_end, turn)
        return self._stream.drain(quiet_s, turn)


@contextlib.contextmanager
def _no_longer_than(turn: Turn, within_s: float) -> Generator[None]:
    """Let a turn end sooner for a while."""
    ends_at_s = turn.ends_at_s
    turn.ends_at_s = min(ends_at_s, time.monotonic() + within_s)
    try:
        yield
    finally:
        turn.ends_at_s = ends_at_s


class EchoTransport(LineTransport):
    """A serial port whose instrument echoes.

    Raises:
        InstrumentLost: the port does not exist or another program has it.
    """

    def __init__(self, port: str, *, baud: int = 9600, line_end: bytes = b"\r\n") -> None:
        super().__init__(port)
        self._settings = SerialLine(baud)
        self.write_terminator = line_end
        self._connect_first(REALTIME_WITHIN_S)

    def _connect(self, turn: Turn) -> EchoLink:
        stream = open_serial(self.port, self._settings, self._turnstile)
        return EchoLink(stream, line_end=self.write_terminator)
