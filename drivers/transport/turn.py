"""Who has a port: one thread at a time, in the order of asking, and any other may break it off."""

import contextlib
import math
import select
import socket
import threading
import time
from collections import deque

from drivers.errors import InstrumentInterrupted, InstrumentTimeout


class Turn:
    """One transaction on a port, from asking for it to giving it back, with its deadline.

    Raises:
        ValueError: the deadline is not positive and finite.
    """

    def __init__(self, port: str, turnstile: "Turnstile", deadline_s: float) -> None:
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {deadline_s}")
        self.port = port
        self._turnstile = turnstile
        self.deadline_s = deadline_s
        self.ends_at_s = time.monotonic() + deadline_s
        self.thread = threading.get_ident()
        self.interrupted = False
        self.over = False
        self.gate: threading.Lock | None = None
        self.sent = ""

    def check(self) -> None:
        """Raises :class:`InstrumentInterrupted` when another thread broke the transaction off."""
        if self.interrupted:
            raise self.interruption()

    def left_s(self) -> float:
        """Real seconds until the deadline, negative after it."""
        return self.ends_at_s - time.monotonic()

    def remaining_s(self) -> float:
        """Real seconds left.

        Raises:
            InstrumentTimeout: none are left.
            InstrumentInterrupted: another thread broke the transaction off.
        """
        self.check()
        remaining_s = self.left_s()
        if remaining_s <= 0:
            raise InstrumentTimeout("no answer in time", port=self.port, sent=self.sent)
        return remaining_s

    def interruption(self) -> InstrumentInterrupted:
        return InstrumentInterrupted(
            "another thread broke the transaction off", port=self.port, sent=self.sent
        )

    def sleep(self, duration_s: float) -> None:
        """Let real time pass; ends early only with an error.

        Raises:
            InstrumentTimeout: the deadline comes before the end of it.
            InstrumentInterrupted: another thread broke the transaction off.
        """
        until_s = time.monotonic() + duration_s
        while (left_s := until_s - time.monotonic()) > 0:
            self._turnstile.wait_until_woken(min(left_s, self.remaining_s()))


class Turnstile:
    """Gives one turn after the other, first come first served, and breaks turns off.

    A turn that was broken off always ends in :class:`InstrumentInterrupted`, and no other turn
    ever does: the mark is on the turn and not on the port, and is made and read under one lock.
    The wake-up that ends a wait is only a hint to look at the mark; one left over from a turn that
    ended by itself wakes the next for nothing.
    """

    def __init__(self) -> None:
        self._mutex = threading.Lock()
        self._holder: Turn | None = None
        self._waiting: deque[Turn] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._alarm = select.poll()
        self._alarm.register(self._wake_reader, select.POLLIN)

    @property
    def wake_fd(self) -> int:
        """Becomes readable when the turn under way was broken off; wait on it beside the port."""
        return self._wake_reader.fileno()

    def enter(self, turn: Turn) -> None:
        """Wait until it is this turn's turn; whatever comes of it, :meth:`leave` must follow.

        Raises:
            InstrumentTimeout: others kept the port until the deadline.
            InstrumentInterrupted: another thread broke the turn off while it waited.
        """
        with self._mutex:
            if self._holder is None:
                self._holder = turn
                return
            gate = turn.gate = threading.Lock()
            gate.acquire()
            self._waiting.append(turn)
        gate.acquire(timeout=max(0.0, turn.left_s()))
        if self.holds(turn):
            return
        turn.check()
        raise InstrumentTimeout(
            f"another transaction kept the port busy for {turn.deadline_s:g} s",
            port=turn.port,
            sent=turn.sent,
        )

    def holds(self, turn: Turn) -> bool:
        with self._mutex:
            return self._holder is turn

    def end(self, turn: Turn) -> bool:
        """Let nobody break the turn off from now on; returns whether somebody has."""
        with self._mutex:
            turn.over = True
            return turn.interrupted

    def leave(self, turn: Turn) -> None:
        """Hand the port to the next one that waits, or wait for it no more."""
        with self._mutex:
            if self._holder is not turn:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                return
            self._holder = None
            if self._waiting:
                self._holder = self._waiting.popleft()
                assert self._holder.gate is not None
                self._holder.gate.release()

    def interrupt(self) -> int:
        """Break off all turns of other threads, those that still wait too; returns how many."""
        me = threading.get_ident()
        with self._mutex:
            holder = self._holder
            hit = [turn for turn in self._waiting if turn.thread != me and not turn.over]
            for turn in hit:
                turn.interrupted = True
                self._waiting.remove(turn)
                assert turn.gate is not None
                turn.gate.release()
            if holder is None or holder.thread == me or holder.over or holder.interrupted:
                return len(hit)
            holder.interrupted = True
            # full: the wake-up is in there already; closed: nobody waits
            with contextlib.suppress(BlockingIOError, OSError):
                self._wake_writer.send(b"!")
            return len(hit) + 1

    def take_wake_ups(self) -> None:
        """Empty the wake-up, then look at the turn's mark: it is made before the wake-up."""
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_reader.recv(4096)

    def wait_until_woken(self, within_s: float) -> None:
        if self._alarm.poll(within_s * 1000):
            self.take_wake_ups()

    def is_held(self) -> bool:
        return self._holder is not None

    def is_held_by_this_thread(self) -> bool:
        holder = self._holder
        return holder is not None and holder.thread == threading.get_ident()

    def close(self) -> None:
        with self._mutex:
            self._alarm = select.poll()
            self._wake_reader.close()
            self._wake_writer.close()
