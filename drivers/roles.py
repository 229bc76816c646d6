"""What procedures may ask of an instrument, whatever its brand.

Positions are in the gantry frame, mm: x to the right, y away from the operator, z up.
Every method may raise :class:`drivers.errors.InstrumentError`.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Checkpoint = Callable[[], AbstractContextManager[None]]
"""Makes a context that a driver enters around every step that makes things less safe (a rising
voltage) and while it waits; entering or leaving it raises to abort."""


@dataclass(frozen=True)
class Identity:
    """Who answers on a port."""

    maker: str
    model: str
    serial: str
    firmware: str
    port: str


@dataclass(frozen=True)
class BiasReading:
    """One reading of a bias supply: measured voltage and current, and the state they belong to."""

    voltage_v: float
    current_a: float
    output_on: bool
    in_compliance: bool
    set_v: float


@dataclass(frozen=True)
class Position:
    """A place in the gantry frame, mm."""

    x_mm: float
    y_mm: float
    z_mm: float


@dataclass(frozen=True)
class Frame:
    """One picture: ``image`` uint8 of shape (h, w), exposed at ``at`` (UTC).

    A camera that was opened for colour gives (h, w, 3) in the order blue, green, red.
    """

    image: NDArray[np.uint8]
    at: datetime
    sequence: int


@dataclass(frozen=True)
class ChargeRun:
    """Charges of one run: ``adc`` integers of shape (n_channels, n_events)."""

    adc: NDArray[np.int_]
    settings: Mapping[str, Any] = field(default_factory=dict)


class BiasSupply(Protocol):
    """A voltage source with a current limit for the bias of SiPMs."""

    @property
    def identity(self) -> Identity: ...

    def program_limits(self, *, max_voltage_v: float, compliance_a: float) -> None:
        """Write the limits into the hardware and read them back; needed before switching on."""
        ...

    def switch_on(self) -> None:
        """Switch the output on at 0 V."""
        ...

    def switch_off(self) -> None:
        """Switch the output off at once, without a ramp, and read that back."""
        ...

    def output_is_on(self) -> bool: ...

    def read(self) -> BiasReading: ...

    def ramp_to(
        self,
        voltage_v: float,
        *,
        rate_v_per_s: float,
        checkpoint: Checkpoint = nullcontext,
    ) -> None:
        """Go to a voltage in steps; each rising step happens inside ``checkpoint()``."""
        ...

    def ramp_down(self, *, rate_v_per_s: float) -> BiasReading:
        """From any state to 0 V with the output off, read back."""
        ...

    def interrupt(self) -> None:
        """Break off the transaction that another thread has under way; it raises
        :class:`drivers.errors.InstrumentInterrupted`. Returns at once, from any thread."""
        ...

    def close(self) -> None: ...

    def leave(self) -> None:
        """Give the port back and leave the output as it is: for who only looked."""
        ...


class BiasSwitch(Protocol):
    """What connects the bias supply to a board."""

    def connect(self) -> None: ...

    def disconnect(self) -> None: ...

    def connected(self) -> bool: ...

    def input_voltage_v(self) -> float: ...


class Gantry(Protocol):
    """Three axes that carry the camera and the gripper."""

    @property
    def identity(self) -> Identity: ...

    @property
    def travel_mm(self) -> tuple[float, float, float]:
        """Length of x, y and z; positions run from 0 to it."""
        ...

    def is_homed(self) -> bool:
        """Whether the machine knows where it is."""
        ...

    def home(self) -> None: ...

    def move_to(
        self,
        x_mm: float | None = None,
        y_mm: float | None = None,
        z_mm: float | None = None,
        *,
        feed_mm_per_min: float,
    ) -> None:
        """Go in a straight line and return on arrival; axes left out stay where they are."""
        ...

    def position(self) -> Position: ...

    def state(self) -> str: ...

    def stop(self) -> None:
        """Stop the motion as soon as possible; may be called from any thread."""
        ...

    def recover(self) -> None:
        """Leave an alarm, a hold or a deaf controller on a person's word; home afterwards.

        Nothing moves by this. The outputs may switch off: a held tile falls."""
        ...

    def interrupt(self) -> None:
        """Break off the transaction that another thread has under way; it raises
        :class:`drivers.errors.InstrumentInterrupted`. Returns at once, from any thread."""
        ...

    def close(self) -> None: ...


class Gripper(Protocol):
    """A vacuum that holds a tile."""

    def grip(self) -> None: ...

    def release(self) -> None: ...

    def holding(self) -> bool:
        """True when the vacuum switch says that something closes the nozzle."""
        ...

    def vacuum_on(self) -> bool: ...


class Camera(Protocol):
    """A source of pictures."""

    @property
    def identity(self) -> Identity: ...

    def grab(self, *, deadline_s: float) -> Frame:
        """A picture whose exposure began after this call."""
        ...

    def close(self) -> None: ...


class ChargeReadout(Protocol):
    """Electronics that measure the charge of every channel for every trigger."""

    @property
    def identity(self) -> Identity: ...

    @property
    def n_channels(self) -> int: ...

    def configure(self, **settings: Any) -> None: ...

    def take(self, n_events: int, *, checkpoint: Checkpoint, deadline_s: float) -> ChargeRun: ...

    def close(self) -> None: ...


class LightPulser(Protocol):
    """An LED that flashes with the trigger."""

    def pulse_on(self) -> None: ...

    def pulse_off(self) -> None: ...

    def pulsing(self) -> bool: ...


class ClimateSensor(Protocol):
    """Thermometers by name."""

    def temperatures_c(self) -> dict[str, float]: ...


@dataclass(frozen=True)
class Humidity:
    """Temperature and relative humidity (0 to 100 %) of one place at one instant."""

    temperature_c: float
    humidity_percent: float


class HumiditySensor(Protocol):
    """A sensor of temperature and relative humidity."""

    @property
    def identity(self) -> Identity: ...

    def read(self) -> Humidity: ...

    def close(self) -> None: ...


class Chiller(Protocol):
    """A circulator that holds a bath at a temperature."""

    @property
    def identity(self) -> Identity: ...

    def set_temperature(self, temperature_c: float) -> None:
        """Write the set-point and read it back."""
        ...

    def setpoint_c(self) -> float: ...

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def running(self) -> bool: ...

    def bath_c(self) -> float: ...

    def close(self) -> None:
        """Give the port back; a chiller keeps its state, warm water condenses on nothing."""
        ...


class Contact(Protocol):
    """A switch that watches a lid, a door or a panel."""

    def closed(self) -> bool: ...


class GlueValve(Protocol):
    """A valve that lets glue flow while it is open."""

    def dispense(self, duration_s: float) -> None:
        """Open for ``duration_s`` and shut; shut on every ending."""
        ...

    def shut(self) -> None: ...

    def is_open(self) -> bool: ...


class Scanner(Protocol):
    """A reader of printed codes."""

    @property
    def identity(self) -> Identity: ...

    def read(self, *, deadline_s: float) -> str:
        """The next label that is scanned after this call, without prefix and suffix."""
        ...

    def close(self) -> None: ...
