"""CAEN A7585D and DT5485: SiPM bias modules of 20 to 85 V."""

from drivers.caen_a7585.driver import CaenA7585
from drivers.caen_a7585.protocol import TemperatureCompensation
from drivers.caen_a7585.simulator import CaenA7585Simulator

__all__ = ["CaenA7585", "CaenA7585Simulator", "TemperatureCompensation"]
