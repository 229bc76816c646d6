"""Marlin, Smoothie and RepRapFirmware (Duet): gantry, vacuum gripper and glue valve."""

from drivers.marlin.asking import ask_family, open_gantry
from drivers.marlin.controller import MarlinController
from drivers.marlin.driver import MarlinGantry
from drivers.marlin.outputs import (
    MarlinGlueValve,
    MarlinVacuumGripper,
    Output,
    fan_output,
    pin_output,
)
from drivers.marlin.protocol import DIALECTS, DUET, MARLIN, SMOOTHIE, Dialect
from drivers.marlin.simulator import MarlinSimulator

__all__ = [
    "DIALECTS",
    "DUET",
    "MARLIN",
    "SMOOTHIE",
    "Dialect",
    "MarlinController",
    "MarlinGantry",
    "MarlinGlueValve",
    "MarlinSimulator",
    "MarlinVacuumGripper",
    "Output",
    "ask_family",
    "fan_output",
    "open_gantry",
    "pin_output",
]
