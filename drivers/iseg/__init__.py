"""iseg NHQ and SHQ high-voltage supplies with the RS-232 protocol that echoes."""

from drivers.iseg.driver import Iseg
from drivers.iseg.protocol import HardwareLimits
from drivers.iseg.simulator import IsegSimulator

__all__ = ["HardwareLimits", "Iseg", "IsegSimulator"]
