"""CAEN high-voltage supplies with the ASCII protocol: N14xx, DT14xx, DT54xx, DT55xx."""

from drivers.caen_hv.driver import CaenHv
from drivers.caen_hv.simulator import BoardSetup, CaenHvSimulator

__all__ = ["BoardSetup", "CaenHv", "CaenHvSimulator"]
