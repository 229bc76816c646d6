"""Request and reply over ZMQ."""

import math
import threading
import time
from collections.abc import Sequence

import zmq

from drivers.errors import InstrumentLost, InstrumentTimeout


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
