"""Request and reply over ZMQ."""

import contextlib
from collections.abc import Sequence

import zmq

from drivers.errors import InstrumentLost, InstrumentTimeout
from drivers.transport.owned_port import OwnedPort
from drivers.transport.turn import Turn


class ZmqTransport(OwnedPort):
    """A ZMQ REQ socket, such as ``tcp://tester:6000``.

    After a timeout the socket is thrown away and the next request uses a fresh one. Every request
    carries a number that the other side's REP socket returns with its answer, so that neither a
    late answer nor a second copy of one ever reaches the wrong question.
    """

    def __init__(self, endpoint: str, *, pause_s: float = 0.0) -> None:
        super().__init__(endpoint, pause_s=pause_s)
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None

    def request(self, parts: Sequence[str | bytes], *, deadline_s: float) -> list[bytes]:
        """Send one message of one or more parts and return the parts of its answer.

        Raises:
            ValueError: the deadline is not positive and finite.
            InstrumentTimeout: no answer within ``deadline_s``, waiting for the port included.
            InstrumentLost: the endpoint is malformed or the port is closed.
            InstrumentInterrupted: another thread broke the request off.
        """
        message = [part.encode() if isinstance(part, str) else part for part in parts]
        turn = self._turn(deadline_s)
        turn.sent = " | ".join(part.decode("utf-8", "replace") for part in message)[:200]
        with self._owned(turn):
            try:
                requester = self._connected()
                self._wait(requester, zmq.POLLOUT, turn)
                requester.send_multipart(message, zmq.NOBLOCK)
                reply = self._reply(requester, turn)
            except zmq.ZMQError as error:
                raise InstrumentLost(f"{error}", port=self.port, sent=turn.sent) from error
            finally:
                self._note_traffic()
        return reply

    def _reply(self, requester: "zmq.Socket[bytes]", turn: Turn) -> list[bytes]:
        while True:
            self._wait(requester, zmq.POLLIN, turn)
            # what came may have been an old answer, which the socket drops
            with contextlib.suppress(zmq.Again):
                return list(requester.recv_multipart(zmq.NOBLOCK))

    def _wait(self, requester: "zmq.Socket[bytes]", event: int, turn: Turn) -> None:
        wake_fd = self._turnstile.wake_fd
        while True:
            turn.check()
            if int(requester.getsockopt(zmq.EVENTS)) & event:
                return
            left_s = turn.left_s()
            if left_s <= 0:
                raise InstrumentTimeout(
                    f"no answer within {turn.deadline_s:g} s", port=self.port, sent=turn.sent
                )
            milliseconds = max(1, round(left_s * 1000))
            ready = zmq.zmq_poll([(requester, event), (wake_fd, zmq.POLLIN)], milliseconds)
            if any(which == wake_fd for which, _ in ready):
                self._turnstile.take_wake_ups()

    def _prepare(self, turn: Turn) -> None:
        self._keep_pause(turn)
        if self._out_of_step:
            self._drop_socket()
            self._out_of_step = False

    def _connected(self) -> "zmq.Socket[bytes]":
        if self._socket is None:
            opened = self._context.socket(zmq.REQ)
            opened.setsockopt(zmq.LINGER, 0)
            opened.setsockopt(zmq.REQ_CORRELATE, 1)
            self._socket = opened
            opened.connect(self.port)
        return self._socket

    def _drop_socket(self) -> None:
        if self._socket is not None:
            self._socket.close(linger=0)
            self._socket = None

    def _shut(self) -> None:
        self._drop_socket()
        self._context.destroy(linger=0)
