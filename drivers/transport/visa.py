"""Ports of VISA: TCP sockets, GPIB, USB."""

import contextlib
import functools
import socket
from typing import Any

import pyvisa
from pyvisa import constants as visa_constants
from pyvisa.resources import MessageBasedResource

from drivers.errors import BrokenReply, InstrumentLost, InstrumentTimeout
from drivers.transport.line import Exchange, LineTransport


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
