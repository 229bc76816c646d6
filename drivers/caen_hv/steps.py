"""What a channel can be set to: everything goes in decimal steps."""

import math
from dataclasses import dataclass

from drivers.caen_hv import protocol
from drivers.supply import Limits


@dataclass(frozen=True)
class Steps:
    """Decimals of the set-point (V), the current limit (uA) and the voltage limit (V)."""

    setpoint: int
    current_limit: int
    voltage_limit: int

    def programme(self, limits: Limits, trip_s: float) -> dict[str, str]:
        """What the channel must hold before its output goes on, and every time it rises.

        The current limit is the step at or below, the voltage limit the step at or above.
        """
        limit_ua = at_or_below(limits.compliance_a * 1e6, self.current_limit)
        limit_v = -at_or_below(-limits.max_voltage_v, self.voltage_limit)
        return {
            protocol.CURRENT_LIMIT: f"{limit_ua:.{self.current_limit}f}",
            protocol.VOLTAGE_LIMIT: f"{limit_v:.{self.voltage_limit}f}",
            protocol.TRIP_TIME: f"{trip_s:.1f}",
            protocol.POWER_DOWN: protocol.KILL,
        }


def at_or_below(value: float, decimals: int) -> float:
    """The step at or below ``value``, allowing for binary fractions."""
    scale: int = 10**decimals
    return math.floor(round(value * scale, 6)) / scale
