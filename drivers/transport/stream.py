"""An open connection as a stream of bytes: waits on its file descriptor and on the wake-up."""

import contextlib
import select
import threading
import time
from collections.abc import Callable

from drivers.errors import BrokenReply, InstrumentLost, InstrumentTimeout
from drivers.transport.turn import Turn, Turnstile

MAX_LINE_BYTES = 65536


class Stream:
    """Bytes both ways through a non-blocking file descriptor.

    Every wait ends with the deadline of its turn, with an interruption of it, or with the
    connection. A connection that is gone is closed at once.

    Args:
        fd: what to wait on.
        read: returns at most that many bytes, ``b""`` when the other side is gone.
        write: takes the first bytes and returns how many.
        close: called once.
    """

    def __init__(
        self,
        fd: int,
        *,
        read: Callable[[int], bytes],
        write: Callable[[bytes], int],
        close: Callable[[], None],
        turnstile: Turnstile,
    ) -> None:
        self._fd = fd
        self._read = read
        self._write = write
        self._close = close
        self._turnstile = turnstile
        self._buffer = bytearray()
        self._readable = select.poll()
        self._writable = select.poll()
        self._readable.register(fd, select.POLLIN)
        self._writable.register(fd, select.POLLOUT)
        for poll in (self._readable, self._writable):
            poll.register(turnstile.wake_fd, select.POLLIN)
        self.is_closed = False
        # a file descriptor that was closed may be another file's already
        self._closing = threading.Lock()

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        with self._closing:
            if not self.is_closed:
                self.is_closed = True
                self._buffer.clear()
                with contextlib.suppress(OSError):
                    self._close()

    def send(self, data: bytes, turn: Turn) -> None:
        """Write all of it.

        Raises:
            InstrumentTimeout: the instrument takes no more bytes.
            InstrumentLost: the connection is gone.
            InstrumentInterrupted: another thread broke the transaction off.
        """
        turn.remaining_s()
        while data:
            try:
                data = data[self._write(data) :]
            except BlockingIOError:
                if not self._wait(self._writable, turn.remaining_s(), turn):
                    raise InstrumentTimeout(
                        "the instrument takes no more bytes", port=turn.port, sent=turn.sent
                    ) from None
            except OSError as error:
                raise self._gone(f"the connection broke: {error}", turn) from error

    def write_at_once(self, data: bytes, within_s: float) -> bool:
        """Write past any turn, from any thread; whether all of it went in time.

        Raises:
            OSError: the connection is gone.
        """
        ends_at_s = time.monotonic() + within_s
        room = select.poll()
        room.register(self._fd, select.POLLOUT)
        while data:
            try:
                with self._closing:
                    if self.is_closed:
                        raise OSError("the connection is closed")
                    data = data[self._write(data) :]
            except BlockingIOError:
                left_s = ends_at_s - time.monotonic()
                if left_s <= 0 or not room.poll(left_s * 1000):
                    return False
        return True

    def receive_line(self, terminator: bytes, turn: Turn) -> bytes:
        """The bytes up to and with the terminator.

        Raises:
            InstrumentTimeout: no complete line came before the deadline.
            InstrumentLost: the connection is gone.
            InstrumentInterrupted: another thread broke the transaction off.
            BrokenReply: no line is that long.
        """
        turn.check()
        searched = 0
        while (start := self._buffer.find(terminator, searched)) < 0:
            if len(self._buffer) > MAX_LINE_BYTES:
                raise BrokenReply(
                    f"{len(self._buffer)} bytes without an end of line",
                    port=turn.port,
                    sent=turn.sent,
                )
            searched = max(0, len(self._buffer) - len(terminator) + 1)
            self._fill(turn)
        return self._take(start + len(terminator))

    def receive_bytes(self, count: int, turn: Turn) -> bytes:
        """Exactly ``count`` bytes; raises as :meth:`receive_line`."""
        turn.check()
        while len(self._buffer) < count:
            self._fill(turn)
        return self._take(count)

    def has_line(self, terminator: bytes) -> bool:
        """Whether a complete line has already come; a lost connection has none."""
        if terminator not in self._buffer and not self.is_closed and self._is_readable():
            with contextlib.suppress(OSError):
                self._buffer += self._read(MAX_LINE_BYTES)
        return terminator in self._buffer

    def has_input(self) -> bool:
        """Whether anything has already come, the end of the connection included."""
        return bool(self._buffer) or self.is_closed or self._is_readable()

    def receive_some(self, within_s: float, turn: Turn) -> bytes:
        """What has come or comes first, ``b""`` when nothing does before the time is over.

        Raises as :meth:`receive_line`, but for the timeout.
        """
        turn.check()
        if not self._buffer and self._wait(self._readable, within_s, turn):
            self._read_once(turn)
        return self._take(len(self._buffer))

    def drain(self, quiet_s: float, turn: Turn) -> bytes:
        """Take what comes until nothing has come for ``quiet_s``; returns the end of it."""
        dropped = self._take(len(self._buffer))
        while more := self.receive_some(min(quiet_s, turn.remaining_s()), turn):
            dropped = (dropped + more)[-MAX_LINE_BYTES:]
        return dropped

    def _take(self, count: int) -> bytes:
        data = bytes(self._buffer[:count])
        del self._buffer[:count]
        return data

    def _fill(self, turn: Turn) -> None:
        """Wait for more bytes."""
        try:
            within_s = turn.remaining_s()
        except InstrumentTimeout as error:
            if not self._buffer:
                raise
            raise InstrumentTimeout(
                f"only the beginning of an answer came in time: {bytes(self._buffer[:80])!r}",
                port=turn.port,
                sent=turn.sent,
            ) from error
        if self._wait(self._readable, within_s, turn):
            self._read_once(turn)

    def _wait(self, poll: select.poll, within_s: float, turn: Turn) -> bool:
        """Whether the connection got ready, or ended, before the time was over."""
        ends_at_s = time.monotonic() + within_s
        while events := poll.poll(max(0.0, within_s * 1000)):
            ready = False
            for fd, _ in events:
                if fd == self._fd:
                    ready = True
                else:
                    self._turnstile.take_wake_ups()
                    turn.check()
            if ready:
                return True
            within_s = ends_at_s - time.monotonic()
        return False

    def _is_readable(self) -> bool:
        return any(fd == self._fd for fd, _ in self._readable.poll(0))

    def _read_once(self, turn: Turn) -> None:
        try:
            data = self._read(MAX_LINE_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            raise self._gone(f"the connection broke: {error}", turn) from error
        if not data:
            raise self._gone("the instrument closed the connection", turn)
        self._buffer += data

    def _gone(self, what: str, turn: Turn) -> InstrumentLost:
        self.close()
        return InstrumentLost(what, port=turn.port, sent=turn.sent)
