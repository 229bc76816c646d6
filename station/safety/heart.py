"""What the supervisor needs: a line to watch, and a watchdog that hears that it is well."""

from typing import Protocol

from station.safety.interlock import Interlock
from station.safety.looking import Eye
from station.safety.rules import Value
from station.safety.section import SafeStep


class Watched(Protocol):
    """What the supervisor needs of a line."""

    @property
    def interlock(self) -> Interlock: ...

    def eyes(self) -> tuple[Eye, ...]: ...

    def derive(self, values: dict[str, Value]) -> None: ...

    def make_safe(self) -> tuple[str, ...]: ...

    def take_safe_steps(self, steps: tuple[SafeStep, ...]) -> tuple[str, ...]: ...


class Heart(Protocol):
    """The station's end of the watchdog."""

    def beat(self) -> None:
        """Tell that a healthy round is complete. Never blocks, never raises."""
        ...

    def alive(self) -> bool:
        """Whether the watchdog would take over if this process died now."""
        ...
