"""A simulated source of the SCPI family: its front panel, its truth, and its plain settings."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from drivers.clock import Clock
from drivers.keithley.scpi_machine import Action, ScpiMachine
from drivers.supply.terminals import Terminals


class SourceSettings(Protocol):
    """What every source has; the mains switch restores it."""

    set_v: float
    output_on: bool


_Settings = TypeVar("_Settings", bound=SourceSettings)


class SourceMachine(ScpiMachine, Generic[_Settings]):
    """An instrument with an output; its state outlives its clients.

    Subclasses set the clock, the settings and the terminals before this is initialised.
    """

    _clock: Clock
    _state: _Settings
    terminals: Terminals

    def power_cycle(self) -> None:
        """Lose everything that does not survive the mains switch."""
        with self._lock:
            self._state = self._restarted()
            self._errors.clear()
            self._drive()

    def press_output_button(self) -> None:
        """Toggle the output at the front panel, as a person could."""
        with self._lock:
            self._switch_output("OFF" if self._state.output_on else "ON")

    def turn_knob(self, voltage_v: float) -> None:
        """Change the set-point at the front panel."""
        with self._lock:
            self._state.set_v = voltage_v
            self._drive()

    def output_is_on(self) -> bool:
        """The true state, for tests and the twin."""
        with self._lock:
            self._let_pass()
            return self._state.output_on

    def true_voltage_v(self) -> float:
        """The voltage at the terminals now, for tests and the twin."""
        with self._lock:
            return self.terminals.voltage_v(at_s=self._let_pass())

    @abstractmethod
    def _restarted(self) -> _Settings:
        """The settings after the mains switch."""

    @abstractmethod
    def _let_pass(self) -> float:
        """Let what needs no message, such as the interlock, act up to now, which is returned."""

    @abstractmethod
    def _drive(self) -> None:
        """Send the output stage to where the settings want it."""

    @abstractmethod
    def _switch_output(self, argument: str) -> None: ...

    @abstractmethod
    def _format_number(self, value: float) -> str: ...

    def _before(self, header: str) -> None:
        self._let_pass()

    def _set(self, name: str, convert: Callable[[str], object]) -> Action:
        def action(argument: str) -> None:
            setattr(self._state, name, convert(argument))
            self._drive()

        return action

    def _say(self, name: str) -> Action:
        def action(_: str) -> str:
            value = getattr(self._state, name)
            if isinstance(value, bool):
                return str(int(value))
            return value if isinstance(value, str) else self._format_number(value)

        return action
