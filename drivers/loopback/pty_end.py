"""The far end of a pseudo-terminal."""

import contextlib
import math
import os
import pty
import select
import shutil
import tempfile
import time
import tty
from pathlib import Path
from typing import Protocol

from drivers.faults import LineFaults
from drivers.loopback.service import Outbox, Service, as_it_is


class SerialMachine(Protocol):
    """What sits behind a pseudo-terminal."""

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        ...

    def advance(self) -> float | None:
        """Let time pass; return the real seconds until this is needed again, None for never."""
        ...


class PtyEnd(Service):
    """Serves a byte stream on a pseudo-terminal; ``path`` is what a serial port would be.

    The path is a link that stays the same: when the machine is unplugged its pseudo-terminal hangs
    up and the path is gone, and when it comes back the path leads to a new pseudo-terminal.
    """

    def __init__(
        self, machine: SerialMachine, *, name: str, faults: LineFaults | None = None
    ) -> None:
        super().__init__(name)
        self.faults = faults or LineFaults()
        self._machine = machine
        self._outbox: Outbox[bytes] = Outbox(self.faults)
        self._master, self._slave = -1, -1
        self._folder: Path | None = None
        self._path = ""

    @property
    def path(self) -> str:
        """The device path; known from the first start on."""
        return self._path

    def start(self) -> None:
        if not self.running:
            self._folder = Path(tempfile.mkdtemp(prefix="tessera-port-"))
            self._path = str(self._folder / self._name)
            self._plug_in()
            self._launch()

    def stop(self) -> None:
        if self.running:
            self._halt()
            self._unplug()
            assert self._folder is not None
            shutil.rmtree(self._folder)

    def send(self, reply: bytes) -> None:
        """Send one reply or message."""
        self._outbox.put(reply, as_it_is)
        self.wake()

    def _plug_in(self) -> None:
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        os.symlink(os.ttyname(self._slave), self._path)

    def _unplug(self) -> None:
        if self._master >= 0:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)
            os.close(self._master)
            os.close(self._slave)
            self._master, self._slave = -1, -1
        self._outbox.clear()

    def _serve(self) -> None:
        back_at_s = math.inf
        while not self._stopping.is_set():
            if time.monotonic() >= back_at_s:
                self._plug_in()
                back_at_s = math.inf
            wait_s = self._machine.advance()
            self._flush()
            self._take_input(
                min(
                    math.inf if wait_s is None else wait_s,
                    self._outbox.wait_s(),
                    max(0.0, back_at_s - time.monotonic()),
                )
            )
            self._flush()
            if self._outbox.away_s is not None:
                back_at_s = time.monotonic() + self._outbox.away_s
                self._unplug()

    def _take_input(self, wait_s: float) -> None:
        poll = select.poll()
        poll.register(self._wake_read, select.POLLIN)
        if self._master >= 0:
            poll.register(self._master, select.POLLIN)
        for fd, _ in poll.poll(None if wait_s == math.inf else wait_s * 1000):
            if fd == self._wake_read:
                self._take_wake_ups()
            else:
                with contextlib.suppress(BlockingIOError):
                    self._machine.receive(os.read(self._master, 4096))

    def _flush(self) -> None:
        if self._master < 0:
            # nobody hears what an unplugged machine says
            self._outbox.due()
            return
        ready = b"".join(self._outbox.due())
        if ready:
            try:
                sent = os.write(self._master, ready)
            except BlockingIOError:
                # nobody reads: a real line would have lost it too
                return
            if sent < len(ready):
                self._outbox.put_back(ready[sent:])
