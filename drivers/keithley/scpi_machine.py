"""A simulated instrument that understands SCPI on a TCP socket or a pseudo-terminal."""

import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ClassVar, Literal

from drivers.faults import LineFaults
from drivers.keithley.protocol import header_pattern
from drivers.loopback import PtyEnd, SocketEnd

Link = Literal["tcp", "pty"]
Action = Callable[[str], str | None]

QUEUE_OVERFLOW = -350


class ScpiError(Exception):
    """A message that the instrument puts into its error queue."""

    def __init__(self, code: int) -> None:
        super().__init__(str(code))
        self.code = code


class ScpiMachine(ABC):
    """Lines in, replies out, an error queue; subclasses have a vocabulary and a state.

    Args:
        link: ``tcp`` for a socket (``TCPIP::...::SOCKET``), ``pty`` for a serial port.
        terminator: ends lines both ways.
        faults: what happens to coming replies.
    """

    NAME: ClassVar[str]
    ERROR_QUEUE_LENGTH: ClassVar[int]

    def __init__(
        self,
        *,
        link: Link = "tcp",
        terminator: bytes = b"\n",
        host: str = "127.0.0.1",
        port: int = 0,
        faults: LineFaults | None = None,
    ) -> None:
        self.faults = faults or LineFaults()
        self._terminator = terminator
        self._unread = bytearray()
        self._lock = threading.RLock()
        self._errors: deque[str] = deque()
        self._end: SocketEnd | PtyEnd
        if link == "tcp":
            self._end = SocketEnd(
                self.answer, name=self.NAME, host=host, port=port, faults=self.faults
            )
        else:
            self._end = PtyEnd(self, name=self.NAME, faults=self.faults)
        self._commands = [
            (header_pattern(header), action) for header, action in self._vocabulary().items()
        ]

    @property
    def address(self) -> str:
        """VISA address or device path; known once started."""
        if isinstance(self._end, PtyEnd):
            return self._end.path
        return f"TCPIP::{self._end.host}::{self._end.port}::SOCKET"

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def receive(self, data: bytes) -> None:
        """Take bytes from the serial line."""
        assert isinstance(self._end, PtyEnd)
        self._unread += data
        while (end := self._unread.find(self._terminator)) >= 0:
            line = bytes(self._unread[:end])
            del self._unread[: end + len(self._terminator)]
            reply = self.answer(line)
            if reply is not None:
                self._end.send(reply)

    def advance(self) -> float | None:
        """Nothing happens on the serial line by itself."""
        return None

    def answer(self, line: bytes) -> bytes | None:
        """Execute one line of messages and return what the instrument sends back."""
        replies = []
        with self._lock:
            for message in line.decode("latin-1").strip("\r\n ").split(";"):
                if not message.strip():
                    continue
                try:
                    reply = self._execute(message.strip())
                except ScpiError as error:
                    self._queue_error(error.code)
                    break
                if reply is not None:
                    replies.append(reply)
        return ";".join(replies).encode() + self._terminator if replies else None

    def _execute(self, message: str) -> str | None:
        header, _, argument = message.partition(" ")
        for pattern, action in self._commands:
            if pattern.fullmatch(header):
                self._before(header)
                return action(argument.strip())
        raise ScpiError(-113)

    def _before(self, header: str) -> None:  # noqa: B027 - many have nothing to do
        """Let pass what happened since the last message."""

    @abstractmethod
    def _vocabulary(self) -> dict[str, Action]: ...

    @abstractmethod
    def _format_error(self, code: int) -> str: ...

    def _queue_error(self, code: int) -> None:
        if len(self._errors) >= self.ERROR_QUEUE_LENGTH:
            self._errors[-1] = self._format_error(QUEUE_OVERFLOW)
        else:
            self._errors.append(self._format_error(code))

    def _next_error(self, _: str) -> str:
        return self._errors.popleft() if self._errors else self._format_error(0)

    def _clear(self, _: str) -> None:
        self._errors.clear()


def number(argument: str, lowest: float, highest: float) -> float:
    """A number within a range.

    Raises:
        ScpiError: none, none that is one, or out of range.
    """
    if not argument:
        raise ScpiError(-109)
    try:
        value = float(argument)
    except ValueError:
        raise ScpiError(-104) from None
    if not lowest <= value <= highest:
        raise ScpiError(-222)
    return value


def switch(argument: str) -> bool:
    """ON, OFF, 1 or 0."""
    match argument.upper():
        case "ON" | "1":
            return True
        case "OFF" | "0":
            return False
        case "":
            raise ScpiError(-109)
        case _:
            raise ScpiError(-224)


def choice(argument: str, names: tuple[str, ...]) -> str:
    """The short form of one of ``names``, which start with their short forms in capitals."""
    given = argument.strip("\"'").upper()
    for name in names:
        short = "".join(c for c in name if c.isupper())
        if given in (short, name.upper()):
            return short
    raise ScpiError(-224 if argument else -109)
