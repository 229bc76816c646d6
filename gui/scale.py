"""The range of a colour scale: steady while values come in, not stretched by a single outlier."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Scale:
    """Colours run from `low` to `high`; values beyond take the colour of the end."""

    low: float
    high: float
    decimals: int

    def fraction(self, value: float) -> float:
        return min(1.0, max(0.0, (value - self.low) / (self.high - self.low)))

    def label(self, value: float) -> str:
        return f"{value:z.{self.decimals}f}".replace("-", "−")


def scale_of(values: Sequence[float]) -> Scale | None:
    """Round range around the median, at most four times the middle half wide; None without values.

    The ends are multiples of a 1-2-5 step, an even number of steps apart, so that the scale moves
    seldom and its middle is round too.
    """
    if not values:
        return None
    array = np.asarray(values, dtype=float)
    lower, median, upper = np.percentile(array, (25, 50, 75))
    reach = 2 * max(upper - lower, abs(median) * 0.02, 1e-9)
    low, high = max(array.min(), median - reach), min(array.max(), median + reach)
    step = _step(max(high - low, reach / 2))
    first, last = math.floor(low / step), math.ceil(high / step)
    last += (last - first) % 2 or 2 * (last == first)
    low, high = first * step, last * step
    shown = (low, (low + high) / 2, high)
    exact = (d for d in range(7) if all(abs(round(v, d) - v) < step / 100 for v in shown))
    return Scale(low, high, next(exact, 6))


def _step(span: float) -> float:
    power = 10.0 ** math.floor(math.log10(span / 2))
    for factor in (1, 2, 5, 10):
        if span / (factor * power) <= 4:
            return factor * power
    return 10 * power
