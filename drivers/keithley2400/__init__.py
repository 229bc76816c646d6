"""Keithley 2400 and 2410 SourceMeters, and the 2450 in their language: bias supplies."""

from drivers.keithley2400.driver import Keithley2400
from drivers.keithley2400.simulator import Keithley2400Simulator

__all__ = ["Keithley2400", "Keithley2400Simulator"]
