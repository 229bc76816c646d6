"""Huber circulators."""

from drivers.huber.driver import Huber
from drivers.huber.simulator import HuberSimulator

__all__ = ["Huber", "HuberSimulator"]
