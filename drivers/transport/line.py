"""A port with text lines both ways, and the transaction on it."""

import contextlib
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from typing import Protocol

from drivers.errors import BrokenReply, InstrumentError, InstrumentLost, InstrumentTimeout

MAX_LINE_BYTES = 65536
QUIET_S = 0.05


class Transport(Protocol):
    """A port on which text is written and lines are read, one transaction at a time."""

    @property
    def port(self) -> str: ...

    def query(self, text: str, *, deadline_s: float) -> str: ...

    def write(self, text: str, *, deadline_s: float) -> None: ...

    def close(self) -> None: ...


class Exchange:
    """The part of a transaction in which the port belongs to one thread."""

    def __init__(self, transport: "LineTransport", ends_at_s: float) -> None:
        self._transport = transport
        self._ends_at_s = ends_at_s
        self.sent = ""

    @property
    def port(self) -> str:
        return self._transport.port

    def remaining_s(self) -> float:
        """Real seconds left; raises :class:`InstrumentTimeout` when none are."""
        remaining_s = self._ends_at_s - time.monotonic()
        if remaining_s <= 0:
            raise InstrumentTimeout("no answer in time", port=self.port, sent=self.sent)
        return remaining_s

    def send(self, text: str) -> None:
        """Write one line; the terminator is added."""
        try:
            data = text.encode("ascii")
        except UnicodeEncodeError as error:
            raise ValueError(f"an instrument is sent ASCII only, not {text!r}") from error
        self.sent = text
        self._transport._send(data + self._transport.write_terminator, self)

    def receive(self) -> str:
        """Wait for one line and return it without its terminator.

        Raises:
            InstrumentTimeout: no complete line came before the deadline.
            InstrumentLost: the connection broke.
            BrokenReply: bytes came that are no text.
        """
        data = self._transport._receive_line(self)
        try:
            return data.rstrip(b"\r\n").decode("ascii")
        except UnicodeDecodeError as error:
            raise BrokenReply(
                f"the answer is no text: {data!r}", port=self.port, sent=self.sent
            ) from error

    def waiting_lines(self) -> list[str]:
        """The complete lines that have already come, without waiting for more."""
        lines = []
        while self._transport._line_is_waiting():
            lines.append(self.receive())
        return lines

    def mark_out_of_step(self) -> None:
        """Let the next transaction put the port back in step before anything else."""
        self._transport._out_of_step = True

    def drain(self, quiet_s: float) -> list[bytes]:
        """Throw away what comes until nothing has come for ``quiet_s``; return what it was."""
        return self._transport._drain(self, quiet_s)


class LineTransport(ABC):
    """A port with text lines both ways.

    Attributes:
        verify: called with the exchange after the port was reopened or drained; the driver sets it
            to check that its instrument answers, skipping late answers where the connection can't
            be made anew. It raises when something else answers.
        reopens: whether a new connection cuts late answers off.
        keep_stray_lines: leave input that nobody asked for to the driver (controllers that push
            messages); otherwise such input means that the port is out of step.
        on_dropped: called with each line that was drained to put the port back in step.
    """

    write_terminator = b"\n"
    verify: Callable[[Exchange], None] | None = None
    keep_stray_lines = False
    reopens = False
    on_dropped: Callable[[bytes], None] | None = None

    def __init__(self, port: str) -> None:
        self._port = port
        self._lock = threading.Lock()
        self._out_of_step = False
        self._closed = False

    @property
    def port(self) -> str:
        return self._port

    @contextlib.contextmanager
    def transaction(self, *, deadline_s: float) -> Generator[Exchange]:
        """The port for oneself until the context ends or ``deadline_s`` real seconds are over.

        Raises:
            InstrumentTimeout: the port stayed busy, or no answer came in time.
            InstrumentLost: the connection broke or the port is closed.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {deadline_s}")
        ends_at_s = time.monotonic() + deadline_s
        if not self._lock.acquire(timeout=deadline_s):
            raise InstrumentTimeout(
                f"another transaction kept the port busy for {deadline_s:g} s", port=self.port
            )
        try:
            if self._closed:
                raise InstrumentLost(
                    "the port is closed", port=self.port, advice="Reconnect the instrument."
                )
            exchange = Exchange(self, ends_at_s)
            if not self._out_of_step and not self.keep_stray_lines and self._input_is_waiting():
                self._out_of_step = True
            if self._out_of_step:
                if self.verify is None and not self.reopens:
                    raise InstrumentLost(
                        "an answer is missing, and nothing tells late answers from new ones here",
                        port=self.port,
                        advice="Let the instrument's driver open the port; it checks who answers.",
                    )
                self._resynchronise(exchange)
                if self.verify is not None:
                    self.verify(exchange)
                self._out_of_step = False
                exchange.sent = ""
            try:
                yield exchange
            except BaseException as error:
                if not isinstance(error, InstrumentError) or isinstance(
                    error, InstrumentTimeout | InstrumentLost | BrokenReply
                ):
                    self._out_of_step = True
                raise
        finally:
            self._lock.release()

    def query(self, text: str, *, deadline_s: float) -> str:
        """Write one line and return the line that comes back."""
        with self.transaction(deadline_s=deadline_s) as exchange:
            exchange.send(text)
            return exchange.receive()

    def write(self, text: str, *, deadline_s: float) -> None:
        """Write one line that has no answer."""
        with self.transaction(deadline_s=deadline_s) as exchange:
            exchange.send(text)

    @property
    def is_closed(self) -> bool:
        return self._closed

    def is_busy(self) -> bool:
        """Whether some thread is inside a transaction."""
        return self._lock.locked()

    def close(self) -> None:
        """Give the port back; a transaction under way gets one second to end."""
        locked = self._lock.acquire(timeout=1.0)
        try:
            self._closed = True
            self._shut()
        finally:
            if locked:
                self._lock.release()

    @abstractmethod
    def _send(self, data: bytes, exchange: Exchange) -> None: ...

    @abstractmethod
    def _receive_line(self, exchange: Exchange) -> bytes: ...

    @abstractmethod
    def _input_is_waiting(self) -> bool: ...

    @abstractmethod
    def _line_is_waiting(self) -> bool: ...

    @abstractmethod
    def _drain(self, exchange: Exchange, quiet_s: float) -> list[bytes]: ...

    @abstractmethod
    def _resynchronise(self, exchange: Exchange) -> None: ...

    @abstractmethod
    def _shut(self) -> None: ...
