"""Julabo circulators."""

from drivers.julabo.driver import JulaboChiller
from drivers.julabo.simulator import JulaboSimulator

__all__ = ["JulaboChiller", "JulaboSimulator"]
