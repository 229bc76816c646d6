"""A Huber circulator with a bath, on a pseudo-terminal."""

from drivers.bath import BathConstants
from drivers.clock import Clock
from drivers.huber import protocol
from drivers.huber.protocol import ProtocolError, State
from drivers.loopback import LineFaults
from drivers.simulated_circulator import SimulatedCirculator

RANGE_C = (-40.0, 80.0)
EXCESS_C = 100.0


class HuberSimulator(SimulatedCirculator):
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

    PORT = "huber"
    COMMAND_END = protocol.TERMINATOR
    REPLY_END = protocol.TERMINATOR

    def __init__(
        self,
        clock: Clock,
        *,
        constants: BathConstants | None = None,
        name: str = "UNISTAT405W",
        panel_setpoint_c: float = 20.0,
        faults: LineFaults | None = None,
    ) -> None:
        super().__init__(
            clock, constants=constants, panel_setpoint_c=panel_setpoint_c, faults=faults
        )
        self.external_c: float | None = None
        self._name = name
        self._mode = protocol.OFF

    @property
    def circulating(self) -> bool:
        return self._powered and self._mode != protocol.OFF

    def _regulating(self) -> bool:
        return self._powered and self._mode in (protocol.INTERNAL, protocol.EXTERNAL)

    def _switch_off(self) -> None:
        self._mode = protocol.OFF

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
