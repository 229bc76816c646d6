"""Ports: how bytes reach an instrument and its answers come back to the one who asked.

One transaction is lock, write, read and error check under one deadline; the time spent waiting for
the lock counts. After a timeout, a broken reply or a lost connection a port is *out of step*: an
answer may still be on its way. The next transaction then first reopens the connection or drains
the line, and lets the driver check who answers, so that a late answer is never taken for the next
one.
"""

import contextlib
import functools
import math
import socket
import termios
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from typing import Any, Protocol

import pyvisa
import serial
import zmq
from pyvisa import constants as visa_constants
from pyvisa.resources import MessageBasedResource

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


@functools.cache
def _visa_library(backend: str) -> pyvisa.ResourceManager:
    return pyvisa.ResourceManager(backend)


class VisaTransport(LineTransport):
    """A VISA resource, such as ``TCPIP::192.168.0.5::5025::SOCKET``.

    Raises:
        InstrumentLost: nobody answers at the address.
    """

    reopens = True

    def __init__(
        self,
        address: str,
        *,
        backend: str = "@py",
        read_terminator: bytes = b"\n",
        write_terminator: bytes = b"\n",
        connect_deadline_s: float = 3.0,
    ) -> None:
        super().__init__(address)
        self._backend = backend
        self._read_terminator = read_terminator
        self.write_terminator = write_terminator
        self._connect_deadline_s = connect_deadline_s
        self._resource: MessageBasedResource | None = None
        self._socket: socket.socket | None = None
        self._connect(connect_deadline_s)

    def _connect(self, within_s: float) -> None:
        try:
            resource = _visa_library(self._backend).open_resource(
                self.port, open_timeout=max(1, round(within_s * 1000))
            )
        # pyvisa-py raises bare Exception when it can't connect
        except Exception as error:
            raise InstrumentLost(f"can't connect: {error}", port=self.port) from error
        if not isinstance(resource, MessageBasedResource):
            resource.close()
            raise InstrumentLost(
                "the address is no message-based instrument",
                port=self.port,
                advice="Correct the address in the site profile.",
            )
        self._resource = resource
        resource.read_termination = None
        resource.set_visa_attribute(
            visa_constants.ResourceAttribute.termchar, self._read_terminator[-1]
        )
        resource.set_visa_attribute(visa_constants.ResourceAttribute.termchar_enabled, True)
        self._socket = _socket_behind(resource)
        if self._socket is not None:
            try:
                self._socket.getpeername()
                self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                self._shut()
                raise InstrumentLost("nobody answers at the address", port=self.port) from error

    def _opened(self, exchange: Exchange) -> MessageBasedResource:
        if self._resource is None:
            raise InstrumentLost("the connection is lost", port=self.port, sent=exchange.sent)
        return self._resource

    def _send(self, data: bytes, exchange: Exchange) -> None:
        resource = self._opened(exchange)
        exchange.remaining_s()
        try:
            resource.write_raw(data)
        except (OSError, pyvisa.errors.VisaIOError) as error:
            self._shut()
            raise InstrumentLost(
                f"the connection broke: {error}", port=self.port, sent=exchange.sent
            ) from error

    def _receive_line(self, exchange: Exchange) -> bytes:
        resource = self._opened(exchange)
        if not _bytes_in_hand(resource):
            heard = self._wait_for_input(exchange.remaining_s())
            if heard == "gone":
                self._shut()
                raise InstrumentLost(
                    "the instrument closed the connection", port=self.port, sent=exchange.sent
                )
            if heard == "silent":
                raise InstrumentTimeout("no answer in time", port=self.port, sent=exchange.sent)
        resource.timeout = max(1.0, exchange.remaining_s() * 1000)
        try:
            line = bytes(resource.read_raw())
        except pyvisa.errors.VisaIOError as error:
            if error.error_code != visa_constants.StatusCode.error_timeout:
                self._shut()
                raise InstrumentLost(
                    f"the connection broke: {error}", port=self.port, sent=exchange.sent
                ) from error
            if self._wait_for_input(0) == "gone":
                self._shut()
                raise InstrumentLost(
                    "the instrument closed the connection", port=self.port, sent=exchange.sent
                ) from error
            raise InstrumentTimeout(
                "no complete answer in time", port=self.port, sent=exchange.sent
            ) from error
        except OSError as error:
            self._shut()
            raise InstrumentLost(
                f"the connection broke: {error}", port=self.port, sent=exchange.sent
            ) from error
        if not line.endswith(self._read_terminator):
            raise BrokenReply(
                f"the answer has no end: {line[:80]!r}", port=self.port, sent=exchange.sent
            )
        return line

    def _wait_for_input(self, within_s: float) -> str:
        if self._socket is None:
            return "unknown"
        flags = socket.MSG_PEEK
        before_s = self._socket.gettimeout()
        try:
            if within_s > 0:
                self._socket.settimeout(within_s)
            else:
                flags |= socket.MSG_DONTWAIT
            return "here" if self._socket.recv(1, flags) else "gone"
        except (TimeoutError, BlockingIOError):
            return "silent"
        except OSError:
            return "gone"
        finally:
            self._socket.settimeout(before_s)

    def _input_is_waiting(self) -> bool:
        if self._resource is None:
            return True
        return bool(_bytes_in_hand(self._resource)) or self._wait_for_input(0) in ("here", "gone")

    def _line_is_waiting(self) -> bool:
        return self._resource is not None and (
            bool(_bytes_in_hand(self._resource)) or self._wait_for_input(0) == "here"
        )

    def _drain(self, exchange: Exchange, quiet_s: float) -> list[bytes]:
        dropped = []
        while self._wait_for_input(min(quiet_s, exchange.remaining_s())) == "here":
            dropped.append(self._receive_line(exchange))
        return dropped

    def _resynchronise(self, exchange: Exchange) -> None:
        self._shut()
        self._connect(min(exchange.remaining_s(), self._connect_deadline_s))

    def _shut(self) -> None:
        resource, self._resource, self._socket = self._resource, None, None
        if resource is not None:
            with contextlib.suppress(pyvisa.errors.Error, OSError):
                resource.close()


def _session_behind(resource: MessageBasedResource) -> Any:
    sessions = getattr(resource.visalib, "sessions", {})
    return sessions.get(resource.session)


def _socket_behind(resource: MessageBasedResource) -> socket.socket | None:
    """The socket of a pyvisa-py session: it alone tells a closed connection from silence."""
    interface = getattr(_session_behind(resource), "interface", None)
    return interface if isinstance(interface, socket.socket) else None


def _bytes_in_hand(resource: MessageBasedResource) -> int:
    return len(getattr(_session_behind(resource), "_pending_buffer", b""))


class SerialTransport(LineTransport):
    """A serial port or pseudo-terminal.

    The modem line DTR is left standing when the port closes: boards that reset on its edge keep
    their state when a program ends and another one opens the port.

    Raises:
        InstrumentLost: the port does not exist or another program has it.
    """

    def __init__(
        self,
        port: str,
        *,
        baud: int = 115200,
        bytesize: int = serial.EIGHTBITS,
        parity: str = serial.PARITY_NONE,
        stopbits: float = serial.STOPBITS_ONE,
        read_terminator: bytes = b"\n",
        write_terminator: bytes = b"\n",
    ) -> None:
        super().__init__(port)
        self._baud = baud
        self._bytesize = bytesize
        self._parity = parity
        self._stopbits = stopbits
        self._read_terminator = read_terminator
        self.write_terminator = write_terminator
        self._write_lock = threading.Lock()
        self._buffer = bytearray()
        self._serial: serial.Serial | None = None
        self._connect()

    def _connect(self) -> None:
        try:
            opened = serial.Serial(
                self.port,
                baudrate=self._baud,
                bytesize=self._bytesize,
                parity=self._parity,
                stopbits=self._stopbits,
                timeout=0.1,
                write_timeout=1.0,
                exclusive=True,
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise InstrumentLost(
                f"can't open the port: {error}",
                port=self.port,
                advice="Check that the cable is in and that no other program uses the port.",
            ) from error
        _keep_dtr_on_close(opened.fileno())
        self._buffer.clear()
        self._serial = opened

    def _opened(self, sent: str) -> serial.Serial:
        if self._serial is None:
            raise InstrumentLost("the connection is lost", port=self.port, sent=sent)
        return self._serial

    def send_realtime(self, data: bytes) -> None:
        """Write bytes at once, past any transaction under way (emergency stop, status byte).

        Raises:
            InstrumentLost: the port is gone.
        """
        self._write(data, repr(data))

    def _write(self, data: bytes, sent: str) -> None:
        opened = self._opened(sent)
        try:
            with self._write_lock:
                opened.write(data)
        except serial.SerialTimeoutException as error:
            raise InstrumentTimeout(
                "the instrument takes no more bytes", port=self.port, sent=sent
            ) from error
        except (serial.SerialException, OSError, TypeError) as error:
            self._shut()
            raise InstrumentLost(
                f"the connection broke: {error}", port=self.port, sent=sent
            ) from error

    def _send(self, data: bytes, exchange: Exchange) -> None:
        exchange.remaining_s()
        self._write(data, exchange.sent)

    def _fill_buffer(self, within_s: float, sent: str) -> bool:
        opened = self._opened(sent)
        try:
            opened.timeout = within_s
            data = opened.read(max(1, opened.in_waiting))
        except (serial.SerialException, OSError, TypeError) as error:
            self._shut()
            raise InstrumentLost(
                f"the connection broke: {error}", port=self.port, sent=sent
            ) from error
        self._buffer += data
        return bool(data)

    def _receive_line(self, exchange: Exchange) -> bytes:
        while True:
            end = self._buffer.find(self._read_terminator)
            if end >= 0:
                end += len(self._read_terminator)
                line = bytes(self._buffer[:end])
                del self._buffer[:end]
                return line
            if len(self._buffer) > MAX_LINE_BYTES:
                raise BrokenReply(
                    f"{len(self._buffer)} bytes without an end of line",
                    port=self.port,
                    sent=exchange.sent,
                )
            try:
                within_s = exchange.remaining_s()
            except InstrumentTimeout as error:
                if not self._buffer:
                    raise
                raise InstrumentTimeout(
                    f"only the beginning of an answer came in time: {bytes(self._buffer[:80])!r}",
                    port=self.port,
                    sent=exchange.sent,
                ) from error
            self._fill_buffer(within_s, exchange.sent)

    def _input_is_waiting(self) -> bool:
        if self._buffer:
            return True
        return self._serial is None or self._bytes_waiting() != 0

    def _bytes_waiting(self) -> int | None:
        """None when the port is gone."""
        if self._serial is None:
            return None
        try:
            return int(self._serial.in_waiting)
        except (OSError, TypeError):
            self._shut()
            return None

    def _line_is_waiting(self) -> bool:
        while self._bytes_waiting():
            self._fill_buffer(0, "")
        return self._read_terminator in self._buffer

    def _drain(self, exchange: Exchange, quiet_s: float) -> list[bytes]:
        while self._fill_buffer(min(quiet_s, exchange.remaining_s()), exchange.sent):
            pass
        dropped = [bytes(part) for part in self._buffer.splitlines() if part]
        self._buffer.clear()
        return dropped

    def _resynchronise(self, exchange: Exchange) -> None:
        if self._serial is None:
            self._connect()
        for line in self._drain(exchange, QUIET_S):
            if self.on_dropped is not None:
                self.on_dropped(line)

    def _shut(self) -> None:
        opened, self._serial = self._serial, None
        self._buffer.clear()
        if opened is not None:
            with contextlib.suppress(serial.SerialException, OSError):
                opened.close()


def _keep_dtr_on_close(fd: int) -> None:
    with contextlib.suppress(termios.error):
        attributes = termios.tcgetattr(fd)
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(fd, termios.TCSANOW, attributes)


class ZmqTransport:
    """A ZMQ REQ socket, such as ``tcp://tester:6000``.

    After a timeout the socket is thrown away and the next request uses a fresh one, so that a
    stale answer never reaches the wrong question.
    """

    def __init__(self, endpoint: str) -> None:
        self._port = endpoint
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def port(self) -> str:
        return self._port

    def request(self, parts: Sequence[str | bytes], *, deadline_s: float) -> list[bytes]:
        """Send one message of one or more parts and return the parts of its answer.

        Raises:
            InstrumentTimeout: no answer within ``deadline_s``, waiting for the port included.
            InstrumentLost: the endpoint is malformed or the port is closed.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {deadline_s}")
        message = [part.encode() if isinstance(part, str) else part for part in parts]
        sent = " | ".join(part.decode("utf-8", "replace") for part in message)[:200]
        ends_at_s = time.monotonic() + deadline_s
        if not self._lock.acquire(timeout=deadline_s):
            raise InstrumentTimeout(
                f"another transaction kept the port busy for {deadline_s:g} s",
                port=self.port,
                sent=sent,
            )
        try:
            answered = False
            try:
                requester = self._connected()
                requester.setsockopt(zmq.SNDTIMEO, _milliseconds_until(ends_at_s))
                requester.send_multipart(message)
                requester.setsockopt(zmq.RCVTIMEO, _milliseconds_until(ends_at_s))
                reply = requester.recv_multipart()
                answered = True
            except zmq.Again as error:
                raise InstrumentTimeout(
                    f"no answer within {deadline_s:g} s", port=self.port, sent=sent
                ) from error
            except zmq.ZMQError as error:
                raise InstrumentLost(f"{error}", port=self.port, sent=sent) from error
            finally:
                if not answered:
                    self._drop_socket()
        finally:
            self._lock.release()
        return reply

    def close(self) -> None:
        """Give the port back; a request under way gets one second to end."""
        locked = self._lock.acquire(timeout=1.0)
        try:
            self._drop_socket()
            self._context.destroy(linger=0)
        finally:
            if locked:
                self._lock.release()

    def _connected(self) -> "zmq.Socket[bytes]":
        if self._socket is None:
            if self._context.closed:
                raise InstrumentLost(
                    "the port is closed", port=self.port, advice="Reconnect the instrument."
                )
            self._socket = self._context.socket(zmq.REQ)
            self._socket.setsockopt(zmq.LINGER, 0)
            self._socket.connect(self.port)
        return self._socket

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None


def _milliseconds_until(ends_at_s: float) -> int:
    return max(1, round((ends_at_s - time.monotonic()) * 1000))
