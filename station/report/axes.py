"""Axes of plots: frames, the way from a value to a place, round tick marks."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from station.report.drawing import Point, Shape, Words, line, rectangle
from station.report.rounding import plain

TITLE_PT, LABEL_PT, SMALL_PT = 9.0, 7.0, 6.0


@dataclass(frozen=True)
class Axis:
    """From a value to a place in points."""

    low: float
    start: float
    factor: float

    def __call__(self, value: NDArray[np.float64] | float) -> NDArray[np.float64]:
        return np.asarray(self.start + (np.asarray(value) - self.low) * self.factor)


@dataclass(frozen=True)
class Frame:
    """The rectangle of a plot, in points."""

    x: float
    y: float
    width: float
    height: float

    @property
    def outline(self) -> tuple[Point, ...]:
        return rectangle(self.x, self.y, self.width, self.height)

    def across(self, low: float, high: float) -> Axis:
        return Axis(low, self.x, self.width / (high - low))

    def up(self, low: float, high: float) -> Axis:
        return Axis(low, self.y + self.height, -self.height / (high - low))


def ticks(low: float, high: float, about: int) -> list[tuple[float, str]]:
    """Round numbers within [low, high], a step of 1, 2 or 5 times a power of ten apart.

    Each comes with its text; all texts have the same number of decimals.
    """
    step = nice_step(high - low, about)
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    numbers = [round(k * step, 12) for k in range(first, last + 1)]
    if decimals > 6:
        return [(number, plain(number)) for number in numbers]
    return [(number, f"{number:.{decimals}f}".replace("-", "\u2212")) for number in numbers]


def nice_step(span: float, about: int) -> float:
    """The least 1, 2 or 5 times a power of ten of which about `about` or fewer fill the span."""
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0):
        if rough <= factor * power:
            return factor * power
    return 10.0 * power


def x_axis(frame: Frame, low: float, high: float, unit: str) -> list[Shape | Words]:
    """The line below a frame with its ticks, and the unit at its end."""
    floor = frame.y + frame.height
    x = frame.across(low, high)
    items: list[Shape | Words] = [
        line((frame.x, floor), (frame.x + frame.width, floor), colour="ink3")
    ]
    for tick, text in ticks(low, high, 5):
        at = float(x(tick))
        items.append(line((at, floor), (at, floor + 2), colour="ink3"))
        items.append(Words(at, floor + 8.5, text, SMALL_PT, "ink2", "middle"))
    items.append(Words(frame.x + frame.width, floor + 15, unit, SMALL_PT, "ink2", "end"))
    return items
