"""GRBL 1.1: gantry and vacuum gripper on one controller."""

from drivers.grbl.controller import GrblController
from drivers.grbl.driver import GrblGantry, GrblVacuumGripper
from drivers.grbl.simulator import GrblSimulator

__all__ = ["GrblController", "GrblGantry", "GrblSimulator", "GrblVacuumGripper"]
