"""Keithley 6517 electrometers: bias supplies that measure very small currents."""

from drivers.keithley6517.driver import Keithley6517
from drivers.keithley6517.simulator import Keithley6517Simulator

__all__ = ["Keithley6517", "Keithley6517Simulator"]
