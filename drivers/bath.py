"""The bath of a simulated chiller: a volume that warms and cools at limited rates."""

import math
from dataclasses import dataclass

from drivers.clock import Clock

_MOST_STEPS = 2000


@dataclass(frozen=True)
class BathConstants:
    """How a bath behaves; the defaults are those of a small laboratory chiller with 12 l.

    Attributes:
        heating_k_per_s, cooling_k_per_s: fastest change that the machine can make.
        control_s: time constant with which the controller approaches the set-point.
        leak_s: time constant with which the bath follows the room.
        room_c: temperature of the room.
    """

    heating_k_per_s: float = 0.03
    cooling_k_per_s: float = 0.02
    control_s: float = 60.0
    leak_s: float = 7200.0
    room_c: float = 22.0


class Bath:
    """Temperature of a bath, followed in the time of ``clock``."""

    def __init__(self, clock: Clock, constants: BathConstants | None = None) -> None:
        self._clock = clock
        self.constants = constants or BathConstants()
        self._at_s = clock.now_s()
        self.temperature_c = self.constants.room_c
        self.target_c: float | None = None

    def aim(self, target_c: float | None) -> None:
        """Regulate to a temperature from now on; None leaves the bath to the room."""
        self.settle()
        self.target_c = target_c

    def settle(self) -> float:
        """Let the time since the last call act; returns the temperature now."""
        now_s = self._clock.now_s()
        left_s = now_s - self._at_s
        self._at_s = now_s
        step_s = max(1.0, left_s / _MOST_STEPS)
        while left_s > 0:
            self._step(min(step_s, left_s))
            left_s -= step_s
        return self.temperature_c

    def _step(self, duration_s: float) -> None:
        constants = self.constants
        if self.target_c is None:
            gap_k = constants.room_c - self.temperature_c
            self.temperature_c += gap_k * -math.expm1(-duration_s / constants.leak_s)
            return
        gap_k = self.target_c - self.temperature_c
        change_k = gap_k * -math.expm1(-duration_s / constants.control_s)
        fastest_up_k = constants.heating_k_per_s * duration_s
        fastest_down_k = constants.cooling_k_per_s * duration_s
        self.temperature_c += min(max(change_k, -fastest_down_k), fastest_up_k)
