"""Huber circulators."""

from drivers.huber.driver import HuberChiller
from drivers.huber.simulator import HuberSimulator

__all__ = ["HuberChiller", "HuberSimulator"]
