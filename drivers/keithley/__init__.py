"""Keithley 2450 SourceMeter: bias supply."""

from drivers.keithley.driver import Keithley2450
from drivers.keithley.simulator import Keithley2450Simulator

__all__ = ["Keithley2450", "Keithley2450Simulator"]
