"""Peers that hold one exact dialogue, byte by byte, over a real socket or pseudo-terminal."""

import contextlib
import os
import pty
import select
import socket
import threading
import tty
from collections.abc import Generator, Sequence

Dialogue = Sequence[tuple[bytes, bytes]]


class Peer:
    """Expects each first half of the dialogue and answers with the second."""

    def __init__(self, dialogue: Dialogue) -> None:
        self._left = list(dialogue)
        self._received = b""
        self.mismatch = ""
        self._over = threading.Event()

    def wait_until_done(self) -> None:
        """Until the last byte was taken or the first wrong one, five seconds at most."""
        self._over.wait(5)

    def take(self, data: bytes) -> bytes:
        self._received += data
        replies = b""
        while self._left and not self.mismatch:
            expected, reply = self._left[0]
            if len(self._received) < len(expected):
                if not expected.startswith(self._received):
                    self.mismatch = f"expected {expected!r}, got {self._received!r}"
                break
            if not self._received.startswith(expected):
                self.mismatch = f"expected {expected!r}, got {self._received!r}"
                break
            self._received = self._received[len(expected) :]
            self._left.pop(0)
            replies += reply
        if self.mismatch or not self._left:
            self._over.set()
        return replies

    def check(self) -> None:
        assert not self.mismatch, self.mismatch
        assert not self._left, f"never sent: {self._left}"
        assert not self._received, f"sent too much: {self._received!r}"


@contextlib.contextmanager
def scripted_socket(dialogue: Dialogue) -> Generator[tuple[str, Peer]]:
    """A VISA address whose peer holds ``dialogue`` with the first client."""
    peer = Peer(dialogue)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        client, _ = listener.accept()
        with client:
            while data := client.recv(4096):
                client.sendall(peer.take(data))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"TCPIP::127.0.0.1::{listener.getsockname()[1]}::SOCKET", peer
    thread.join(5)
    listener.close()
    assert not thread.is_alive(), "the client left its connection open"


@contextlib.contextmanager
def scripted_pty(dialogue: Dialogue) -> Generator[tuple[str, Peer]]:
    """A device path whose peer holds ``dialogue``."""
    peer = Peer(dialogue)
    master, slave = pty.openpty()
    tty.setraw(slave)
    wake_read, wake_write = os.pipe()

    def serve() -> None:
        while True:
            readable, _, _ = select.select([master, wake_read], [], [])
            if wake_read in readable:
                return
            os.write(master, peer.take(os.read(master, 4096)))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave), peer
    finally:
        os.write(wake_write, b"x")
        thread.join(5)
        for fd in (master, slave, wake_read, wake_write):
            os.close(fd)
