"""A valve that is open for a time and shut on every ending, whatever switches it."""

import math
import threading
from abc import ABC, abstractmethod
from typing import Final

from drivers.clock import Clock
from drivers.errors import InstrumentError, InstrumentRefused, SetpointRefused

SHUT_ATTEMPTS = 3
SLACK_S = 0.2
"""Real seconds behind the longest time after which the valve is shut by a thread of its own."""


class TimedValve(ABC):
    """Dispenses for a time, never for longer than ``longest_s``.

    The valve is shut when the time is over, when anything goes wrong, and by a thread of its own
    when the one that opened it does not come back in time.

    Args:
        clock: what the duration is measured with.
        port: where the controller of the valve is.
        longest_s: the longest duration, of ``clock``; at most so long in real time too.

    Raises:
        ValueError: ``longest_s`` is not positive and finite.
    """

    def __init__(self, clock: Clock, *, port: str, longest_s: float) -> None:
        if not (math.isfinite(longest_s) and longest_s > 0):
            raise ValueError(f"the longest time must be positive and finite, got {longest_s}")
        self._clock = clock
        self._port: Final = port
        self._longest_s = longest_s
        self._dispensing = threading.Lock()
        self._told_to_shut = threading.Event()

    @abstractmethod
    def _open(self) -> None:
        """Open the valve and see it open."""

    @abstractmethod
    def _shut(self) -> None:
        """Shut the valve and see it shut; also when it is shut, and in the middle of a move."""

    @abstractmethod
    def is_open(self) -> bool: ...

    def dispense(self, duration_s: float) -> None:
        """Open for ``duration_s`` and shut; shut on every ending.

        Raises:
            SetpointRefused: the duration is not positive or longer than the longest.
            InstrumentRefused: it dispenses already, or the valve does not open or shut.
        """
        if not (math.isfinite(duration_s) and 0 < duration_s <= self._longest_s):
            raise SetpointRefused(
                f"a duration of {duration_s} s is outside 0 to {self._longest_s:g} s",
                port=self._port,
            )
        if not self._dispensing.acquire(blocking=False):
            raise InstrumentRefused("the valve dispenses already", port=self._port)
        self._told_to_shut.clear()
        last_resort = threading.Timer(self._longest_s + SLACK_S, self._shut_late)
        last_resort.daemon = True
        last_resort.start()
        try:
            try:
                self._open()
                self._let_flow(duration_s)
            except InstrumentRefused:
                # shut by another thread while it was still being seen open
                if not self._told_to_shut.is_set():
                    raise
            finally:
                self._shut_for_sure()
        finally:
            last_resort.cancel()
            self._dispensing.release()

    def shut(self) -> None:
        """Shut now, from any thread; a :meth:`dispense` under way ends."""
        self._told_to_shut.set()
        self._shut_for_sure()

    def _let_flow(self, duration_s: float) -> None:
        ends_at_s = self._clock.now_s() + duration_s
        while (left_s := ends_at_s - self._clock.now_s()) > 0:
            if self._told_to_shut.is_set():
                return
            self._clock.sleep(min(left_s, 0.02))

    def _shut_for_sure(self) -> None:
        for attempt in range(SHUT_ATTEMPTS):
            try:
                self._shut()
            except InstrumentError:
                if attempt == SHUT_ATTEMPTS - 1:
                    raise
            else:
                return

    def _shut_late(self) -> None:
        self._told_to_shut.set()
        try:
            self._shut_for_sure()
        except InstrumentError:
            # the thread that opened it tells, when it comes back
            return
