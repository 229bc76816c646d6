"""What the terminals of a simulated supply do: ramps, and a load that draws the current limit."""

import math
from collections.abc import Callable

from drivers.clock import Clock

Load = Callable[[float], float]
"""Current in A drawn at a voltage in V; rising with the voltage."""


class Slope:
    """A voltage that moves toward where it was sent, at its own rate, as time goes by."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._from_v = 0.0
        self._target_v = 0.0
        self._rate_v_per_s = math.inf
        self._since_s = clock.now_s()

    @property
    def target_v(self) -> float:
        return self._target_v

    def go_to(self, target_v: float, rate_v_per_s: float) -> None:
        """Move from where it is now."""
        self._from_v = self.now_v()
        self._since_s = self._clock.now_s()
        self._target_v = target_v
        self._rate_v_per_s = rate_v_per_s

    def jump_to(self, voltage_v: float) -> None:
        """Be there at once, and stay."""
        self._from_v = self._target_v = voltage_v
        self._since_s = self._clock.now_s()

    def now_v(self) -> float:
        way_v = self._target_v - self._from_v
        gone_v = self._rate_v_per_s * (self._clock.now_s() - self._since_s)
        if not way_v or gone_v >= abs(way_v):
            return self._target_v
        return self._from_v + math.copysign(gone_v, way_v)

    def direction(self) -> int:
        """1 while it moves away from 0 V, -1 while it moves towards it, 0 when it is there."""
        now_v = self.now_v()
        if now_v == self._target_v:
            return 0
        return 1 if abs(self._target_v) > abs(now_v) else -1


def held_by_limit(voltage_v: float, load: Load, limit_a: float) -> tuple[float, bool]:
    """The voltage that a load gets, and whether the current limit holds it down."""
    if abs(load(voltage_v)) <= limit_a:
        return voltage_v, False
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if abs(load(middle * voltage_v)) > limit_a:
            high = middle
        else:
            low = middle
    return low * voltage_v, True
