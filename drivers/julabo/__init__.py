"""Julabo circulators."""

from drivers.julabo.driver import Julabo
from drivers.julabo.simulator import JulaboSimulator

__all__ = ["Julabo", "JulaboSimulator"]
