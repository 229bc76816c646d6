"""What the supervisor knows of the watchdog: that it is there, and how to tell it "I am well"."""

from typing import Protocol


class Heart(Protocol):
    """The station's end of the watchdog."""

    def beat(self) -> None:
        """Tell that a healthy round is complete. Never blocks, never raises."""
        ...

    def alive(self) -> bool:
        """Whether the watchdog would take over if this process died now."""
        ...
