"""GRBL 1.1: gantry, vacuum gripper and glue valve on one controller."""

from drivers.grbl.controller import GrblController
from drivers.grbl.driver import GrblGantry
from drivers.grbl.outputs import GrblGlueValve, GrblVacuumGripper
from drivers.grbl.simulator import GrblSimulator

__all__ = [
    "GrblController",
    "GrblGantry",
    "GrblGlueValve",
    "GrblSimulator",
    "GrblVacuumGripper",
]
