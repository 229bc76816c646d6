"""Sensirion SHT31 and SHT85: temperature and relative humidity over I2C."""

from drivers.sensirion.driver import ShtSensor
from drivers.sensirion.simulator import ShtSimulator

__all__ = ["ShtSensor", "ShtSimulator"]
