"""What the simulated tester measures, what it has set, and what may go wrong with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from drivers.tileboard_tester import protocol

PortName = Literal["slow", "fast", "data"]
FileFault = Literal["truncated", "missing event", "missing word", "repeated word", "corrupt word"]


@dataclass(frozen=True)
class TesterSettings:
    """What the tester has set when a run starts, for the world to obey.

    ``run`` has the sampling phase of the first chip, ``phase_ck`` that of each chip;
    ``channels_off`` are rows of the charges.
    """

    bias_connected: tuple[bool, bool]
    led_groups_on: tuple[bool, ...]
    dacs: Mapping[str, int]
    run: protocol.LedRun
    phase_ck: tuple[int, ...]
    channels_off: frozenset[int]

    @property
    def any_bias_connected(self) -> bool:
        return any(self.bias_connected)


class TesterWorld(Protocol):
    """What the tester measures; called from the simulator's threads."""

    def charges(
        self, n_events: int, led_on: bool, settings: TesterSettings
    ) -> NDArray[np.number[Any]]:
        """ADC with pedestal, not yet rounded or clipped, shape (n_channels, n_events)."""
        ...

    def input_voltage_v(self) -> float:
        """Voltage at the bias input."""
        ...

    def input_current_a(self) -> float:
        """Current that the connected SiPMs draw."""
        ...

    def temperatures_c(self) -> Sequence[float]:
        """Temperatures at the PT1000 sensors 0, 1, ...; those left out are open."""
        ...


@runtime_checkable
class TimedWorld(Protocol):
    """A world that knows when its pulses come and how long they last as well."""

    def times(
        self, n_events: int, led_on: bool, settings: TesterSettings
    ) -> tuple[NDArray[np.int_], NDArray[np.int_]]:
        """Time over threshold and time of arrival, both of shape (n_channels, n_events)."""
        ...


@dataclass
class TesterFaults:
    """What goes wrong, until it is set back.

    Counts go down with each request they spoil: ``silent`` requests are carried out but not
    answered, ``garbled`` ones are answered with noise.
    """

    silent: dict[PortName, int] = field(default_factory=dict)
    garbled: dict[PortName, int] = field(default_factory=dict)
    never_runs: bool = False
    never_ends: bool = False
    stuck_pins: int = 0
    file: FileFault | None = None


class RefusedError(Exception):
    """A request that is answered with an error."""
