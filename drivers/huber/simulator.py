"""A Huber circulator with a bath, on a pseudo-terminal."""

import threading

from drivers.bath import Bath, BathConstants
from drivers.clock import Clock
from drivers.huber import protocol
from drivers.huber.protocol import ProtocolError, State
from drivers.loopback import LineFaults, PtyEnd

RANGE_C = (-40.0, 80.0)
EXCESS_C = 100.0


class HuberSimulator:
    """A circulator on the pseudo-terminal ``path``.

    Args:
        clock: the time in which the bath warms and cools.
        constants: how the bath behaves.
        name: what it calls itself.
        panel_setpoint_c: the set-point that it has after power-up.
        faults: what goes wrong on the line.

    Attributes:
        external_c: temperature at the external sensor; None without one.
    """

    def __init__(
        self,
        clock: Clock,
        *,
        constants: BathConstants | None = None,
        name: str = "UNISTAT405W",
        panel_setpoint_c: float = 20.0,
        faults: LineFaults | None = None,
    ) -> None:
        self.bath = Bath(clock, constants)
        self.external_c: float | None = None
        self._name = name
        self._panel_setpoint_c = panel_setpoint_c
        self._setpoint_c = panel_setpoint_c
        self._mode = protocol.OFF
        self._low_level = False
        self._powered = True
        self._lock = threading.Lock()
        self._unread = bytearray()
        self._end = PtyEnd(self, name="huber", faults=faults)
        self.faults = self._end.faults

    @property
    def path(self) -> str:
        """The device path of the port; known once started."""
        return self._end.path

    @property
    def circulating(self) -> bool:
        return self._powered and self._mode != protocol.OFF

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
            self._mode = protocol.OFF
            self._setpoint_c = self._panel_setpoint_c
            self._unread.clear()
            self._aim()

    def drain(self, is_low: bool = True) -> None:
        """Let the level fall below its alarm, or fill the bath again."""
        with self._lock:
            self._low_level = is_low
            if is_low:
                self._mode = protocol.OFF
            self._aim()

    def receive(self, data: bytes) -> None:
        replies = []
        with self._lock:
            if not self._powered:
                return
            self._unread += data
            while (end := self._unread.find(protocol.TERMINATOR)) >= 0:
                line = bytes(self._unread[:end]).decode("ascii", "replace")
                del self._unread[: end + 1]
                reply = self._answer(line)
                if reply is not None:
                    replies.append(reply)
        for reply in replies:
            self._end.send(reply.encode("ascii") + protocol.TERMINATOR)

    def advance(self) -> float | None:
        return None

    def _answer(self, line: str) -> str | None:
        if line == protocol.verify_question():
            name = self.faults.identity(self._name)
            return protocol.frame("S", protocol.VERIFY, name)
        try:
            data = protocol.parse_frame(line, "M", protocol.GENERAL)
        except ProtocolError:
            # a frame that is not understood is not answered
            return None
        if len(data) != 6:
            return None
        self._obey(data[0], data[2:])
        return protocol.format_state(
            State(
                mode=self._mode,
                has_alarm=self._low_level or self.bath.temperature_c > EXCESS_C,
                setpoint_c=self._setpoint_c,
                bath_c=self.bath.settle(),
                external_c=self.external_c,
            )
        )

    def _obey(self, mode: str, setpoint: str) -> None:
        if mode in protocol.MODES and not (self._low_level and mode != protocol.OFF):
            self._mode = mode
        if setpoint != protocol.LEAVE_NUMBER:
            try:
                value_c = protocol.parse_temperature(setpoint)
            except ProtocolError:
                return
            if RANGE_C[0] <= value_c <= RANGE_C[1]:
                self._setpoint_c = value_c
        self._aim()

    def _aim(self) -> None:
        regulating = self._powered and self._mode in (protocol.INTERNAL, protocol.EXTERNAL)
        self.bath.aim(self._setpoint_c if regulating else None)
