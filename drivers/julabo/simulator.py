"""A Julabo circulator with a bath, on a pseudo-terminal."""

import threading
import time
from collections.abc import Callable

from drivers.bath import Bath, BathConstants
from drivers.clock import Clock
from drivers.julabo import protocol
from drivers.julabo.protocol import Status
from drivers.loopback import LineFaults, PtyEnd

RANGE_C = (-20.0, 40.0)
EXCESS_C = 45.0


class JulaboSimulator:
    """A circulator on the pseudo-terminal ``path``, in remote mode.

    Args:
        clock: the time in which the bath warms and cools.
        constants: how the bath behaves.
        version: what it calls itself.
        pause_s: commands that come sooner (real seconds) after the one before are not heard.
        faults: what goes wrong on the line.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        constants: BathConstants | None = None,
        version: str = "JULABO HIGHTECH FL1703 VERSION 4.0",
        panel_setpoint_c: float = 20.0,
        pause_s: float = 0.0,
        faults: LineFaults | None = None,
    ) -> None:
        self.bath = Bath(clock, constants)
        self._version = version
        self._panel_setpoint_c = panel_setpoint_c
        self._setpoint_c = panel_setpoint_c
        self._pause_s = pause_s
        self._started = False
        self._remote = True
        self._powered = True
        self._low_level = False
        self._complaint: int | None = None
        self._heard_at_s = float("-inf")
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._end = PtyEnd(self, name="julabo", faults=faults)
        self.faults = self._end.faults

    @property
    def path(self) -> str:
        """The device path of the port; known once started."""
        return self._end.path

    @property
    def circulating(self) -> bool:
        return self._powered and self._started and not self._low_level

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
        """Powered again: stopped, with the panel's set-point."""
        with self._lock:
            self._powered = True
            self._started = False
            self._setpoint_c = self._panel_setpoint_c
            self._unread.clear()
            self._aim()

    def drain(self, is_low: bool = True) -> None:
        """Let the level fall below its alarm, or fill the bath again."""
        with self._lock:
            self._low_level = is_low
            if is_low:
                self._started = False
            self._aim()

    def take_to_panel(self, is_remote: bool = False) -> None:
        """Switch between remote control and the panel."""
        with self._lock:
            self._remote = is_remote

    def receive(self, data: bytes) -> None:
        replies = []
        with self._lock:
            if not self._powered:
                return
            self._unread += data
            while (end := self._unread.find(protocol.WRITE_TERMINATOR)) >= 0:
                line = bytes(self._unread[:end]).decode("ascii", "replace")
                del self._unread[: end + 1]
                now_s = time.monotonic()
                too_soon = now_s - self._heard_at_s < self._pause_s
                self._heard_at_s = now_s
                reply = None if too_soon else self._answer(line)
                if reply is not None:
                    replies.append(reply)
        for reply in replies:
            self._end.send(reply.encode("ascii") + b"\r\n")

    def advance(self) -> float | None:
        return None

    def _aim(self) -> None:
        self.bath.aim(self._setpoint_c if self.circulating else None)

    def _answer(self, line: str) -> str | None:
        word, _, argument = line.strip().lower().partition(" ")
        questions: dict[str, Callable[[], str]] = {
            protocol.VERSION: lambda: self.faults.identity(self._version),
            protocol.STATUS: self._status,
            protocol.BATH: lambda: protocol.format_temperature(self.bath.settle()),
            protocol.EXTERNAL: lambda: protocol.NO_SENSOR,
            protocol.SETPOINT: lambda: protocol.format_temperature(self._setpoint_c),
            protocol.MODE: lambda: protocol.STARTED if self._started else protocol.STOPPED,
        }
        if word in questions and not argument:
            return questions[word]()
        self._complaint = self._obey(word, argument)
        return None

    def _obey(self, word: str, argument: str) -> int | None:
        """Carry an order out; the code of a complaint, or None."""
        if word not in (protocol.SET_SETPOINT, protocol.SET_MODE):
            return -8
        if not self._remote:
            return -9
        complaint = (
            self._switch(argument) if word == protocol.SET_MODE else self._set_setpoint(argument)
        )
        self._aim()
        return complaint

    def _switch(self, argument: str) -> int | None:
        if argument not in (protocol.STARTED, protocol.STOPPED):
            return -8
        self._started = argument == protocol.STARTED and not self._low_level
        return None

    def _set_setpoint(self, argument: str) -> int | None:
        try:
            value_c = float(argument)
        except ValueError:
            return -8
        if not RANGE_C[0] <= value_c <= RANGE_C[1]:
            return -11 if value_c > RANGE_C[1] else -10
        self._setpoint_c = value_c
        return None

    def _status(self) -> str:
        code, self._complaint = self._complaint, None
        if self._low_level:
            code = -1
        elif self.bath.settle() > EXCESS_C:
            code = -3
        elif code is None:
            code = 2 * self._remote + self._started
        texts = protocol.STATES | protocol.ALARMS | protocol.REFUSALS
        return str(Status(code, texts[code]))
