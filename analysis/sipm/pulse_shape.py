"""The pulse that one avalanche leaves in a waveform."""

from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PulseShape:
    """A pulse that rises and falls exponentially, with its maximum at 1.

    rise_ns: time constant of the rise; 0 for a pulse that starts at its maximum.
    fall_ns: time constant of the fall, larger than rise_ns.

    Raises ValueError otherwise.
    """

    rise_ns: float
    fall_ns: float

    def __post_init__(self) -> None:
        if not 0 <= self.rise_ns < self.fall_ns:
            raise ValueError(f"0 <= rise ({self.rise_ns} ns) < fall ({self.fall_ns} ns) needed")

    @property
    def top_ns(self) -> float:
        """Time from the start to the maximum, ns."""
        if self.rise_ns == 0:
            return 0.0
        rate = 1 / self.rise_ns - 1 / self.fall_ns
        return log(self.fall_ns / self.rise_ns) / rate

    @property
    def area_ns(self) -> float:
        """Integral of the pulse per unit of its maximum, ns."""
        return (self.fall_ns - self.rise_ns) / self._scale

    @property
    def _scale(self) -> float:
        if self.rise_ns == 0:
            return 1.0
        return exp(-self.top_ns / self.fall_ns) - exp(-self.top_ns / self.rise_ns)

    def at(self, time_ns: ArrayLike) -> Array:
        """Height at times after the start of the pulse, ns; same shape as the times."""
        time = np.asarray(time_ns, dtype=np.float64)
        started = np.maximum(time, 0.0)
        value = np.exp(-started / self.fall_ns)
        if self.rise_ns > 0:
            value -= np.exp(-started / self.rise_ns)
        return np.asarray(np.where(time >= 0, value / self._scale, 0.0), dtype=np.float64)
