"""What every simulated circulator does: power, level, bath, and lines on a pseudo-terminal."""

import threading
from abc import ABC, abstractmethod
from typing import ClassVar

from drivers.bath import Bath, BathConstants
from drivers.clock import Clock
from drivers.loopback import LineFaults, PtyEnd


class SimulatedCirculator(ABC):
    """A circulator with a bath on the pseudo-terminal ``path``.

    Args:
        clock: the time in which the bath warms and cools.
        constants: how the bath behaves.
        panel_setpoint_c: the set-point that it has after power-up.
        faults: what goes wrong on the line.
    """

    PORT: ClassVar[str]
    """Name of the port."""
    COMMAND_END: ClassVar[bytes]
    REPLY_END: ClassVar[bytes]

    def __init__(
        self,
        clock: Clock,
        *,
        constants: BathConstants | None,
        panel_setpoint_c: float,
        faults: LineFaults | None,
    ) -> None:
        self.bath = Bath(clock, constants)
        self._panel_setpoint_c = panel_setpoint_c
        self._setpoint_c = panel_setpoint_c
        self._low_level = False
        self._powered = True
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._end = PtyEnd(self, name=self.PORT, faults=faults)
        self.faults = self._end.faults

    @property
    def path(self) -> str:
        """The device path of the port; known once started."""
        return self._end.path

    @property
    @abstractmethod
    def circulating(self) -> bool: ...

    @property
    def bath_c(self) -> float:
        """True temperature of the bath."""
        with self._lock:
            return self.bath.settle()

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def lose_power(self) -> None:
        """Dead until :meth:`return_power`."""
        with self._lock:
            self._powered = False
            self._aim()

    def return_power(self) -> None:
        """Powered again: off, with the panel's set-point."""
        with self._lock:
            self._powered = True
            self._switch_off()
            self._setpoint_c = self._panel_setpoint_c
            self._unread.clear()
            self._aim()

    def drain(self, is_low: bool = True) -> None:
        """Let the level fall below its alarm, or fill the bath again."""
        with self._lock:
            self._low_level = is_low
            if is_low:
                self._switch_off()
            self._aim()

    def receive(self, data: bytes) -> None:
        replies = []
        with self._lock:
            if not self._powered:
                return
            self._unread += data
            while (end := self._unread.find(self.COMMAND_END)) >= 0:
                line = bytes(self._unread[:end]).decode("ascii", "replace")
                del self._unread[: end + len(self.COMMAND_END)]
                reply = self._answer(line)
                if reply is not None:
                    replies.append(reply)
        for reply in replies:
            self._end.send(reply.encode("ascii") + self.REPLY_END)

    def advance(self) -> float | None:
        return None

    def _aim(self) -> None:
        self.bath.aim(self._setpoint_c if self._regulating() else None)

    @abstractmethod
    def _regulating(self) -> bool: ...

    @abstractmethod
    def _switch_off(self) -> None: ...

    @abstractmethod
    def _answer(self, line: str) -> str | None:
        """Carry a command out; its answer, or None where there is none."""
