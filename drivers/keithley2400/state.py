"""What a simulated 2400 remembers."""

import math
from dataclasses import dataclass, field

from drivers.keithley2400 import protocol


@dataclass
class State:
    """What the mains switch restores."""

    set_v: float = 0.0
    range_v: float = 20.0
    mode: str = "FIX"
    source_function: str = "VOLT"
    sense_functions: tuple[str, ...] = ("CURR",)
    concurrent: bool = True
    compliance_a: float = 1.05e-4
    overvoltage_v: float = math.inf
    autorange: bool = True
    nplc: float = 1.0
    delay_s: float = 0.0
    elements: str = protocol.ALL_ELEMENTS
    output_on: bool = False
    off_mode: str = "NORM"
    auto_off: bool = False
    terminals: str = "FRON"
    output_enable: bool = False
    trigger_count: int = 1
    start_v: float = 0.0
    stop_v: float = 0.0
    step_v: float = 0.0
    aborts: str = "NEV"
    readings: list[str] = field(default_factory=list)


@dataclass
class Sweep:
    """A sweep under way: its points, when it began, and how many are done."""

    points_v: list[float]
    since_s: float
    per_point_s: float
    done: int = 0
