"""A port with one owner at a time: transactions, interruption, pauses, statistics, closing."""

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TypeVar

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentInterrupted,
    InstrumentLost,
    InstrumentTimeout,
)
from drivers.transport.turn import Turn, Turnstile

CLOSE_WITHIN_S = 1.0
BACK_WITHIN_S = 0.5
LOOK_AGAIN_S = 0.02

_Turn = TypeVar("_Turn", bound=Turn)
_Connection = TypeVar("_Connection")


@dataclass(frozen=True)
class PortStatistics:
    """How the transactions of a port went.

    Attributes:
        count: transactions that had the port.
        failures: those that ended in a timeout, a broken reply or a lost connection.
        last_s: how long the last one had the port.
        slowest_s: how long the slowest one had the port.
    """

    count: int = 0
    failures: int = 0
    last_s: float = 0.0
    slowest_s: float = 0.0


class OwnedPort(ABC):
    """A port of which one transaction at a time has all, and which can get *out of step*.

    Attributes:
        pause_s: least real seconds between what was last sent or received and what is sent next,
            for instruments that miss commands that come too soon. Counts in the deadline.
        instrument: what the driver calls the instrument behind the port; goes into every error.
    """

    instrument = ""

    def __init__(self, port: str, *, pause_s: float = 0.0) -> None:
        if not (math.isfinite(pause_s) and pause_s >= 0):
            raise ValueError(f"a pause must be finite and not negative, got {pause_s}")
        self._port = port
        self.pause_s = pause_s
        self._turnstile = Turnstile()
        self._out_of_step = False
        self._closed = False
        self._quiet_since_s = -math.inf
        self._count = self._failures = 0
        self._last_s = self._slowest_s = 0.0

    @property
    def port(self) -> str:
        return self._port

    @property
    def is_closed(self) -> bool:
        return self._closed

    @property
    def statistics(self) -> PortStatistics:
        return PortStatistics(self._count, self._failures, self._last_s, self._slowest_s)

    def is_busy(self) -> bool:
        """Whether some thread is inside a transaction."""
        return self._turnstile.is_held()

    def interrupt(self) -> int:
        """Break off the transactions of all other threads at once, from any thread.

        The one under way and those that wait for the port raise :class:`InstrumentInterrupted`,
        also one that has just got its answer; a transaction of this thread and whatever starts
        later are left alone. The next transaction puts the port back in step first.

        Returns:
            how many transactions end by this; 0 when nothing was under way.
        """
        return self._turnstile.interrupt()

    def close(self) -> None:
        """Give the port back; a transaction under way gets one second to end.

        What waits for the port then raises :class:`InstrumentLost`. Closing twice does nothing.
        """
        turn = self._turn(CLOSE_WITHIN_S)
        turn.over = True
        try:
            self._wait_to_close(turn)
            if not self._closed:
                self._closed = True
                self._shut()
                self._turnstile.close()
        finally:
            self._turnstile.leave(turn)

    def _wait_to_close(self, turn: Turn) -> None:
        """Take the port; from a transaction that does not end, it is taken without its leave."""
        if self._turnstile.is_held_by_this_thread():
            return
        with contextlib.suppress(InstrumentTimeout):
            self._turnstile.enter(turn)
            return
        self._turnstile.leave(turn)
        self._turnstile.interrupt()
        turn.ends_at_s += CLOSE_WITHIN_S
        with contextlib.suppress(InstrumentTimeout):
            self._turnstile.enter(turn)

    def _turn(self, deadline_s: float) -> Turn:
        return Turn(self._port, self._turnstile, deadline_s)

    @contextlib.contextmanager
    def _owned(self, turn: _Turn) -> Generator[_Turn]:
        """The port for this turn alone, in step."""
        began_s = None
        try:
            self._turnstile.enter(turn)
            began_s = time.monotonic()
            if self._closed:
                raise InstrumentLost(
                    "the port is closed", port=self.port, advice="Reconnect the instrument."
                )
            self._prepare(turn)
            yield turn
            if self._turnstile.end(turn):
                raise turn.interruption()
        except BaseException as error:
            if isinstance(error, InstrumentError):
                error.instrument = error.instrument or self.instrument
            if began_s is not None:
                self._note_failure(error)
            if self._turnstile.end(turn) and not isinstance(error, InstrumentInterrupted):
                self._out_of_step = True
                if isinstance(error, InstrumentError):
                    broken_off = turn.interruption()
                    broken_off.instrument = self.instrument
                    raise broken_off from error
            raise
        finally:
            if began_s is not None:
                self._count += 1
                self._last_s = time.monotonic() - began_s
                self._slowest_s = max(self._slowest_s, self._last_s)
            self._turnstile.leave(turn)

    def _note_failure(self, error: BaseException) -> None:
        if not isinstance(error, InstrumentError) or isinstance(error, _SPOILING):
            self._out_of_step = True
        self._failures += isinstance(error, _FAILURES)

    def _prepare(self, turn: Turn) -> None:
        """Before the transaction: keep the pause, put the port in step."""
        self._keep_pause(turn)

    def _keep_pause(self, turn: Turn) -> None:
        if self.pause_s:
            turn.sleep(self._quiet_since_s + self.pause_s - time.monotonic())

    def _note_traffic(self) -> None:
        if self.pause_s:
            self._quiet_since_s = time.monotonic()

    @abstractmethod
    def _shut(self) -> None: ...


def once_it_is_back(connect: Callable[[], _Connection], turn: Turn) -> _Connection:
    """Open a connection that was lost; one that is away for a moment is waited for.

    Raises:
        InstrumentLost: it does not come back within half a second.
        InstrumentTimeout: nor before the deadline.
        InstrumentInterrupted: another thread broke the transaction off.
    """
    ends_at_s = time.monotonic() + BACK_WITHIN_S
    while True:
        try:
            return connect()
        except InstrumentLost:
            if time.monotonic() + LOOK_AGAIN_S >= min(ends_at_s, turn.ends_at_s):
                raise
        turn.sleep(LOOK_AGAIN_S)


_FAILURES = (InstrumentTimeout, InstrumentLost, BrokenReply)
_SPOILING = (*_FAILURES, InstrumentInterrupted)
