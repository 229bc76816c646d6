"""Sensirion SHT31 and SHT85: temperature and relative humidity over I2C."""

from drivers.sensirion.driver import Sensirion
from drivers.sensirion.shared_bus import open_all
from drivers.sensirion.simulator import SensirionSimulator

__all__ = ["Sensirion", "SensirionSimulator", "open_all"]
