"""A port with text lines both ways, and the transaction on it."""

import contextlib
from abc import abstractmethod
from collections.abc import Callable
from typing import Protocol

from drivers.errors import BrokenReply, InstrumentError, InstrumentLost
from drivers.transport.owned_port import OwnedPort, once_it_is_back
from drivers.transport.turn import Turn

QUIET_S = 0.05


class Transport(Protocol):
    """A port on which text is written and lines are read, one transaction at a time."""

    @property
    def port(self) -> str: ...

    def query(self, text: str, *, deadline_s: float) -> str: ...

    def write(self, text: str, *, deadline_s: float) -> None: ...

    def close(self) -> None: ...


class Link(Protocol):
    """An open connection; the errors are those of :class:`drivers.transport.stream.Stream`."""

    @property
    def is_closed(self) -> bool: ...

    def close(self) -> None: ...

    def send(self, data: bytes, turn: Turn) -> None: ...

    def receive_line(self, terminator: bytes, turn: Turn) -> bytes: ...

    def has_line(self, terminator: bytes) -> bool: ...

    def has_input(self) -> bool: ...

    def drain(self, quiet_s: float, turn: Turn) -> bytes: ...


class Exchange(Turn):
    """The part of a transaction in which the port belongs to one thread."""

    def __init__(self, transport: "LineTransport", deadline_s: float) -> None:
        super().__init__(transport.port, transport._turnstile, deadline_s)
        self._transport = transport
        self._expects_silence = False

    def send(self, text: str) -> None:
        """Write one line; the terminator is added, the port's pause is kept.

        Raises:
            ValueError: the text is not ASCII.
            BrokenReply: something has come after the last answer, so that nobody can tell which
                answer was that of the last question; not asked while a driver verifies who
                answers, nor where the instrument sends messages on its own.
            InstrumentTimeout: the instrument takes no more bytes.
            InstrumentLost: the connection broke.
            InstrumentInterrupted: another thread broke the transaction off.
        """
        try:
            data = text.encode("ascii")
        except UnicodeEncodeError as error:
            raise ValueError(f"an instrument is sent ASCII only, not {text!r}") from error
        transport = self._transport
        transport._keep_pause(self)
        if self._expects_silence:
            self._expects_silence = False
            transport._refuse_stray_input(self)
        self.sent = text
        transport._opened(self).send(data + transport.write_terminator, self)
        transport._note_traffic()

    def receive(self) -> str:
        """Wait for one line and return it without its terminator.

        Raises:
            InstrumentTimeout: no complete line came before the deadline.
            InstrumentLost: the connection broke.
            InstrumentInterrupted: another thread broke the transaction off.
            BrokenReply: bytes came that are no text.
        """
        transport = self._transport
        data = transport._opened(self).receive_line(transport.read_terminator, self)
        transport._note_traffic()
        self._expects_silence = True
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
        self._expects_silence = False
        return self._transport._drain(self, quiet_s)


class LineTransport(OwnedPort):
    """A port with text lines both ways.

    Input that nobody asked for, found before a question, means that the port is out of step. What
    this cannot find is a second copy of an answer that comes later than the next question, where
    the protocol does not repeat the question in its answer: a driver of such an instrument checks
    the form of its answers, and a pause gives copies time to be found.

    Attributes:
        verify: called with the exchange after the port was reopened or drained; the driver sets it
            to check that its instrument answers, skipping late answers where the connection can't
            be made anew. It raises when something else answers.
        reopens: whether a new connection cuts late answers off.
        keep_stray_lines: leave input that nobody asked for to the driver (controllers that push
            messages); otherwise such input means that the port is out of step.
        on_dropped: called with each line that was drained to put the port back in step.
    """

    read_terminator = b"\n"
    write_terminator = b"\n"
    verify: Callable[[Exchange], None] | None = None
    keep_stray_lines = False
    reopens = False
    on_dropped: Callable[[bytes], None] | None = None
    _link: Link | None = None
    _verifying = False

    def transaction(self, *, deadline_s: float) -> contextlib.AbstractContextManager[Exchange]:
        """The port for oneself until the context ends or ``deadline_s`` real seconds are over.

        Raises:
            ValueError: the deadline is not positive and finite.
            InstrumentTimeout: the port stayed busy, or no answer came in time.
            InstrumentLost: the connection broke or the port is closed.
            InstrumentInterrupted: another thread broke the transaction off.
        """
        return self._owned(Exchange(self, deadline_s))

    def query(self, text: str, *, deadline_s: float) -> str:
        """Write one line and return the line that comes back."""
        with self.transaction(deadline_s=deadline_s) as exchange:
            exchange.send(text)
            return exchange.receive()

    def write(self, text: str, *, deadline_s: float) -> None:
        """Write one line that has no answer."""
        with self.transaction(deadline_s=deadline_s) as exchange:
            exchange.send(text)

    @abstractmethod
    def _connect(self, turn: Turn) -> Link:
        """Open the connection.

        Raises:
            InstrumentLost: it can't be opened.
            InstrumentTimeout: not before the deadline.
            InstrumentInterrupted: another thread broke the transaction off.
        """

    def _connect_first(self, within_s: float) -> None:
        try:
            self._link = self._connect(self._turn(within_s))
        except InstrumentError:
            self._turnstile.close()
            raise

    def _prepare(self, turn: Turn) -> None:
        self._keep_pause(turn)
        if not self._out_of_step and not self.keep_stray_lines and self._input_is_waiting():
            self._out_of_step = True
        if self._out_of_step:
            assert isinstance(turn, Exchange)
            self._put_in_step(turn)

    def _put_in_step(self, exchange: Exchange) -> None:
        if self.verify is None and not self.reopens:
            raise InstrumentLost(
                "an answer is missing, and nothing tells late answers from new ones here",
                port=self.port,
                advice="Let the instrument's driver open the port; it checks who answers.",
            )
        if self.reopens or self._link is None or self._link.is_closed:
            self._shut()
            self._link = once_it_is_back(lambda: self._connect(exchange), exchange)
        if not self.reopens:
            for line in self._drain(exchange, QUIET_S):
                if self.on_dropped is not None:
                    self.on_dropped(line)
        if self.verify is not None:
            self._verifying = True
            try:
                self.verify(exchange)
            finally:
                self._verifying = False
        self._out_of_step = False
        exchange.sent = ""

    def _refuse_stray_input(self, exchange: Exchange) -> None:
        if not (self.keep_stray_lines or self._verifying) and self._input_is_waiting():
            raise BrokenReply(
                "more came than one answer, so that none can be trusted",
                port=self.port,
                sent=exchange.sent,
            )

    def _opened(self, turn: Turn) -> Link:
        if self._link is None or self._link.is_closed:
            raise InstrumentLost("the connection is lost", port=self.port, sent=turn.sent)
        return self._link

    def _input_is_waiting(self) -> bool:
        return self._link is None or self._link.has_input()

    def _line_is_waiting(self) -> bool:
        return self._link is not None and self._link.has_line(self.read_terminator)

    def _drain(self, exchange: Exchange, quiet_s: float) -> list[bytes]:
        dropped = self._opened(exchange).drain(quiet_s, exchange)
        self._note_traffic()
        return [line for line in dropped.splitlines() if line]

    def _shut(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()
