"""The far ends of simulated instruments: a TCP socket and a pseudo-terminal, with line faults.

Both run one thread, keep the order of what they send, outlive any number of clients, and stop
within a moment.
"""

import contextlib
import os
import pty
import select
import socket
import threading
import time
import tty
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

FaultKind = Literal["late", "lost", "garbled", "truncated", "disconnect"]
STOP_WITHIN_S = 5.0


@dataclass
class LineFaults:
    """Faults planned for coming replies; each hits one reply, in the order planned.

    ``late`` holds the reply (and everything behind it) back, ``lost`` drops it, ``garbled`` flips
    bits of its middle, ``truncated`` cuts it in half together with its terminator, ``disconnect``
    closes the connection instead (on a pseudo-terminal, which cannot hang up, the reply is lost).
    """

    _planned: deque[tuple[FaultKind, float, int]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def plan(self, kind: FaultKind, *, delay_s: float = 0.0, after_replies: int = 0) -> None:
        """Let a reply fail after ``after_replies`` good ones, counted from the fault before.

        ``delay_s`` are real seconds, for ``late``.
        """
        with self._lock:
            self._planned.append((kind, delay_s, after_replies))

    def clear(self) -> None:
        with self._lock:
            self._planned.clear()

    def next_fault(self) -> tuple[FaultKind, float] | None:
        """What happens to the reply about to be sent."""
        with self._lock:
            if not self._planned:
                return None
            kind, delay_s, good = self._planned[0]
            if good > 0:
                self._planned[0] = (kind, delay_s, good - 1)
                return None
            self._planned.popleft()
            return kind, delay_s


def garbled(reply: bytes) -> bytes:
    """The reply with two bytes of its middle hit; the terminator stays."""
    middle = max(0, (len(reply) - 1) // 2)
    hit = bytes((byte ^ 0x55) & 0x7F | 0x20 for byte in reply[middle : middle + 2].rstrip(b"\r\n"))
    return reply[:middle] + hit + reply[middle + len(hit) :]


class _Outbox:
    """Bytes on their way to one client, in order, each not before its time."""

    def __init__(self, faults: LineFaults) -> None:
        self._faults = faults
        self._queue: deque[tuple[float, bytes]] = deque()
        self._lock = threading.Lock()
        self.hang_up = False

    def put(self, reply: bytes) -> None:
        fault = self._faults.next_fault()
        with self._lock:
            due_s = self._queue[-1][0] if self._queue else 0.0
            match fault:
                case ("late", delay_s):
                    due_s = max(due_s, time.monotonic() + delay_s)
                case ("lost", _):
                    return
                case ("garbled", _):
                    reply = garbled(reply)
                case ("truncated", _):
                    reply = reply[: len(reply) // 2]
                case ("disconnect", _):
                    self.hang_up = True
                    return
                case _:
                    pass
            self._queue.append((due_s, reply))

    def due(self) -> bytes:
        now_s = time.monotonic()
        ready = b""
        with self._lock:
            while self._queue and self._queue[0][0] <= now_s:
                ready += self._queue.popleft()[1]
        return ready

    def put_back(self, unsent: bytes) -> None:
        if unsent:
            with self._lock:
                self._queue.appendleft((0.0, unsent))

    def wait_s(self) -> float | None:
        with self._lock:
            return max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None


class _Service(ABC):
    """A thread around a loop that a pipe can wake."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: threading.Thread | None = None
        self._wake_read, self._wake_write = -1, -1
        self._stopping = threading.Event()

    @property
    def running(self) -> bool:
        return self._thread is not None

    def wake(self) -> None:
        """Let the loop look around now; from any thread."""
        if self._thread is not None and threading.current_thread() is not self._thread:
            os.write(self._wake_write, b"w")

    def _launch(self) -> None:
        self._wake_read, self._wake_write = os.pipe()
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name=self._name, daemon=True)
        self._thread.start()

    def _halt(self) -> None:
        if self._thread is None:
            return
        self._stopping.set()
        os.write(self._wake_write, b"x")
        self._thread.join(STOP_WITHIN_S)
        if self._thread.is_alive():
            raise RuntimeError(f"{self._name} does not stop")
        self._thread = None
        os.close(self._wake_read)
        os.close(self._wake_write)

    @abstractmethod
    def _serve(self) -> None: ...


class _Connection:
    def __init__(self, client: socket.socket, faults: LineFaults) -> None:
        self.client = client
        self.unread = bytearray()
        self.outbox = _Outbox(faults)


class SocketEnd(_Service):
    """Serves lines on a TCP socket: ``answer`` gets each line and returns its reply or None.

    Any number of clients may connect one after another or at once; their lines are answered one at
    a time, all by the same instrument.
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

    @property
    def host(self) -> str:
        return self._host

    @property
    def port(self) -> int:
        """The port number; chosen at the first start when it was given as 0."""
        return self._port

    def start(self) -> None:
        if not self.running:
            self._listener = socket.create_server((self._host, self._port), backlog=16)
            self._listener.setblocking(False)
            self._port = self._listener.getsockname()[1]
            self._launch()

    def stop(self) -> None:
        self._halt()

    def _serve(self) -> None:
        assert self._listener is not None
        connections: dict[int, _Connection] = {}
        try:
            while not self._stopping.is_set():
                waits = [w for c in connections.values() if (w := c.outbox.wait_s()) is not None]
                watched = [self._listener.fileno(), self._wake_read, *connections]
                readable, _, _ = select.select(watched, [], [], min(waits, default=None))
                if self._listener.fileno() in readable:
                    self._accept(connections)
                for fd, connection in list(connections.items()):
                    alive = True
                    if fd in readable:
                        alive = self._receive(connection)
                    if not (alive and _deliver(connection)):
                        connections.pop(fd)
                        connection.client.close()
        finally:
            for connection in connections.values():
                connection.client.close()
            self._listener.close()

    def _accept(self, connections: dict[int, _Connection]) -> None:
        assert self._listener is not None
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client.settimeout(1.0)
            connections[client.fileno()] = _Connection(client, self.faults)

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
                connection.outbox.put(reply)
            if connection.outbox.hang_up:
                return False
        return bool(data)


def _deliver(connection: _Connection) -> bool:
    ready = connection.outbox.due()
    try:
        if ready:
            connection.client.sendall(ready)
    except OSError:
        return False
    return True


class SerialMachine(Protocol):
    """What sits behind a pseudo-terminal."""

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        ...

    def advance(self) -> float | None:
        """Let time pass; return the real seconds until this is needed again, None for never."""
        ...


class PtyEnd(_Service):
    """Serves a byte stream on a pseudo-terminal; ``path`` is what a serial port would be."""

    def __init__(
        self, machine: SerialMachine, *, name: str, faults: LineFaults | None = None
    ) -> None:
        super().__init__(name)
        self.faults = faults or LineFaults()
        self._machine = machine
        self._outbox = _Outbox(self.faults)
        self._master, self._slave = -1, -1
        self._path = ""

    @property
    def path(self) -> str:
        return self._path

    def start(self) -> None:
        if not self.running:
            self._master, self._slave = pty.openpty()
            tty.setraw(self._slave)
            os.set_blocking(self._master, False)
            self._path = os.ttyname(self._slave)
            self._launch()

    def stop(self) -> None:
        if self.running:
            self._halt()
            os.close(self._master)
            os.close(self._slave)

    def send(self, reply: bytes) -> None:
        """Send one reply or message."""
        self._outbox.put(reply)
        self.wake()

    def _serve(self) -> None:
        while not self._stopping.is_set():
            waits = [self._machine.advance(), self._outbox.wait_s()]
            wait_s = min((wait for wait in waits if wait is not None), default=None)
            self._flush()
            readable, _, _ = select.select([self._master, self._wake_read], [], [], wait_s)
            if self._wake_read in readable:
                os.read(self._wake_read, 4096)
            if self._master in readable:
                with contextlib.suppress(BlockingIOError):
                    self._machine.receive(os.read(self._master, 4096))
            self._flush()

    def _flush(self) -> None:
        ready = self._outbox.due()
        if ready:
            try:
                sent = os.write(self._master, ready)
            except BlockingIOError:
                # nobody reads: a real line would have lost it too
                return
            self._outbox.put_back(ready[sent:])
