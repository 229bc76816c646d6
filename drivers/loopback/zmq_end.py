"""The far end of a ZMQ socket."""

import math
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import zmq

from drivers.faults import LineFaults
from drivers.loopback.service import Outbox, Service

LONGEST_WAIT_S = 3600.0
TAKE_AGAIN_S = 0.002


class ZmqReplyEnd(Service):
    """Answers requests on a ZMQ socket: ``answer`` gets the parts and returns those of the reply.

    Requests of several clients are answered one at a time, in the order of coming; a client that
    dies between question and answer blocks nobody. Faults hit the last part of a reply. A
    disconnection closes the socket; while the instrument is away, requests wait at their clients.
    """

    def __init__(
        self,
        answer: Callable[[list[bytes]], Sequence[bytes] | None],
        *,
        name: str,
        host: str = "127.0.0.1",
        port: int = 0,
        faults: LineFaults | None = None,
    ) -> None:
        super().__init__(name)
        self.faults = faults or LineFaults()
        self._answer = answer
        self._host = host
        self._port = port
        self._bound = threading.Event()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        """The port number; chosen at the first start when it was given as 0."""
        return self._port

    @property
    def endpoint(self) -> str:
        """What a client connects to; known once started."""
        return f"tcp://{self._host}:{self._port}"

    def start(self) -> None:
        """Raises :class:`zmq.ZMQError` when the port is taken."""
        if not self.running:
            self._context = zmq.Context()
            try:
                self._bind(self._context)
            except zmq.ZMQError:
                self._context.destroy(linger=0)
                raise
            self._launch()

    def stop(self) -> None:
        if self.running:
            self._halt()
            assert self._context is not None
            self._context.destroy(linger=0)

    def _bind(self, context: "zmq.Context[zmq.Socket[bytes]]") -> None:
        server = context.socket(zmq.ROUTER)
        server.setsockopt(zmq.LINGER, 0)
        try:
            if self._port:
                server.bind(self.endpoint)
            else:
                self._port = server.bind_to_random_port(f"tcp://{self._host}")
        except zmq.ZMQError:
            server.close()
            raise
        self._socket = server

    def _serve(self) -> None:
        outbox: Outbox[list[bytes]] = Outbox(self.faults)
        back_at_s = math.inf
        try:
            while not self._stopping.is_set():
                if time.monotonic() >= back_at_s:
                    back_at_s = self._come_back()
                self._take_requests(
                    min(outbox.wait_s(), max(0.0, back_at_s - time.monotonic())), outbox
                )
                if outbox.away_s is not None:
                    back_at_s = time.monotonic() + outbox.away_s
                    self._close()
                    outbox.clear()
                for message in outbox.due():
                    if self._socket is not None:
                        self._socket.send_multipart(message)
        finally:
            self._close()

    def _come_back(self) -> float:
        """Take the port again; returns when to try again, infinite for never."""
        assert self._context is not None
        try:
            self._bind(self._context)
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE:
                raise
            # a closed socket gives its port back a moment later
            return time.monotonic() + TAKE_AGAIN_S
        return math.inf

    def _take_requests(self, wait_s: float, outbox: Outbox[list[bytes]]) -> None:
        waited: list[tuple[Any, int]] = [(self._wake_read, zmq.POLLIN)]
        if self._socket is not None:
            waited.append((self._socket, zmq.POLLIN))
        for which, _ in zmq.zmq_poll(waited, math.ceil(min(wait_s, LONGEST_WAIT_S) * 1000)):
            if which == self._wake_read:
                self._take_wake_ups()
            elif self._socket is not None:
                self._take_request(self._socket.recv_multipart(), outbox)

    def _take_request(self, message: list[bytes], outbox: Outbox[list[bytes]]) -> None:
        # a client's envelope (its route, its request number) ends with an empty part
        end = message.index(b"") + 1 if b"" in message else len(message)
        if len(message) <= end:
            return
        reply = self._answer(message[end:])
        if reply is not None:
            *before, last = reply
            outbox.put(last, lambda left: [*message[:end], *before, left])

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None
