"""The far end of a TCP socket."""

import contextlib
import math
import select
import socket
import time
from collections.abc import Callable

from drivers.faults import LineFaults
from drivers.loopback.service import Outbox, Service, as_it_is


class _Connection:
    def __init__(self, client: socket.socket, faults: LineFaults) -> None:
        self.client = client
        self.unread = bytearray()
        self.outbox: Outbox[bytes] = Outbox(faults)


class SocketEnd(Service):
    """Serves lines on a TCP socket: ``answer`` gets each line and returns its reply or None.

    Any number of clients may connect one after another or at once; their lines are answered one at
    a time, all by the same instrument. A disconnection hits them all; while the instrument is away
    the port refuses connections.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes | None],
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
        self._listener: socket.socket | None = None
        self._connections: dict[int, _Connection] = {}

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        """The port number; chosen at the first start when it was given as 0."""
        return self._port

    def start(self) -> None:
        if not self.running:
            self._listener = self._listen()
            self._port = self._listener.getsockname()[1]
            self._launch()

    def stop(self) -> None:
        self._halt()

    def _listen(self) -> socket.socket:
        listener = socket.create_server((self._host, self._port), backlog=16)
        listener.setblocking(False)
        return listener

    def _serve(self) -> None:
        back_at_s = -math.inf
        try:
            while not self._stopping.is_set():
                if self._listener is None and time.monotonic() >= back_at_s:
                    self._listener = self._listen()
                self._wait(back_at_s)
                away_s = self._serve_all()
                if away_s is not None:
                    self._hang_up(away_s)
                    back_at_s = time.monotonic() + away_s
        finally:
            self._hang_up(1.0)

    def _wait(self, back_at_s: float) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        for fd in self._connections:
            poll.register(fd, select.POLLIN)
        wait_s = min((c.outbox.wait_s() for c in self._connections.values()), default=math.inf)
        if self._listener is not None:
            poll.register(self._listener, select.POLLIN)
        else:
            wait_s = min(wait_s, max(0.0, back_at_s - time.monotonic()))
        self._readable = {fd for fd, _ in poll.poll(None if wait_s == math.inf else wait_s * 1000)}
        if self._wake_read in self._readable:
            self._take_wake_ups()

    def _serve_all(self) -> float | None:
        """How long to be away, None when nothing broke the connections."""
        if self._listener is not None and self._listener.fileno() in self._readable:
            self._accept(self._listener)
        for fd, connection in list(self._connections.items()):
            alive = fd not in self._readable or self._receive(connection)
            if connection.outbox.away_s is not None:
                return connection.outbox.away_s
            if not (alive and _deliver(connection)):
                self._connections.pop(fd)
                connection.client.close()
        return None

    def _hang_up(self, away_s: float) -> None:
        for connection in self._connections.values():
            connection.client.close()
        self._connections.clear()
        if away_s > 0 and self._listener is not None:
            self._listener.close()
            self._listener = None

    def _accept(self, listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            client, _ = listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(1.0)
            self._connections[client.fileno()] = _Connection(client, self.faults)

    def _receive(self, connection: _Connection) -> bool:
        try:
            data = connection.client.recv(4096)
        except OSError:
            return False
        connection.unread += data
        while (end := connection.unread.find(b"\n")) >= 0:
            line = bytes(connection.unread[:end])
            del connection.unread[: end + 1]
            reply = self._answer(line)
            if reply is not None:
                connection.outbox.put(reply, as_it_is)
            if connection.outbox.away_s is not None:
                return False
        return bool(data)


def _deliver(connection: _Connection) -> bool:
    ready = b"".join(connection.outbox.due())
    try:
        if ready:
            connection.client.sendall(ready)
    except OSError:
        return False
    return True
