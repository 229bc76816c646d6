"""A Julabo circulator with a bath, on a pseudo-terminal."""

import time
from collections.abc import Callable

from drivers.bath import BathConstants
from drivers.clock import Clock
from drivers.julabo import protocol
from drivers.julabo.protocol import Status
from drivers.loopback import LineFaults
from drivers.simulated_circulator import SimulatedCirculator

RANGE_C = (-20.0, 40.0)
EXCESS_C = 45.0


class JulaboSimulator(SimulatedCirculator):
    """A circulator on the pseudo-terminal ``path``, in remote mode.

    Args:
        clock: the time in which the bath warms and cools.
        constants: how the bath behaves.
        version: what it calls itself.
        panel_setpoint_c: the set-point that it has after power-up.
        pause_s: commands that come sooner (real seconds) after the one before are not heard.
        faults: what goes wrong on the line.
    """

    PORT = "julabo"
    COMMAND_END = protocol.WRITE_TERMINATOR
    REPLY_END = b"\r\n"

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
        super().__init__(
            clock, constants=constants, panel_setpoint_c=panel_setpoint_c, faults=faults
        )
        self._version = version
        self._pause_s = pause_s
        self._started = False
        self._remote = True
        self._complaint: int | None = None
        self._heard_at_s = float("-inf")

    @property
    def circulating(self) -> bool:
        return self._powered and self._started and not self._low_level

    def take_to_panel(self, is_remote: bool = False) -> None:
        """Switch between remote control and the panel."""
        with self._lock:
            self._remote = is_remote

    def _regulating(self) -> bool:
        return self.circulating

    def _switch_off(self) -> None:
        self._started = False

    def _answer(self, line: str) -> str | None:
        now_s = time.monotonic()
        too_soon = now_s - self._heard_at_s < self._pause_s
        self._heard_at_s = now_s
        if too_soon:
            return None
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
