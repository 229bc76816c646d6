"""Touching the limit switches again: what a controller that counts steps can't know by itself."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from drivers.errors import MotionStopped

COARSE_MM = 0.5
WINDOW_MM = 3.0
RESOLUTION_MM = 0.05

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class HomeDeviation:
    """Where the limit switches were found, less where they were expected, gantry frame, mm.

    An axis truly is at the place that the controller counts, less its deviation.

    Attributes:
        mm: per axis; found up to ``resolution_mm`` late.
        resolution_mm: length of the steps in which the switches were approached.
    """

    mm: Triple
    resolution_mm: float

    @property
    def largest_mm(self) -> float:
        return max(abs(value) for value in self.mm)


def compare_switches(
    pressed: Callable[[int], bool],
    go: Callable[[int, float], None],
    switches: Sequence[tuple[float, int]],
    *,
    window_mm: float,
    resolution_mm: float,
    port: str,
) -> HomeDeviation:
    """Find the switches of all axes, z first; each axis is left ``window_mm`` before its own.

    Args:
        pressed: whether the switch of an axis (0 to 2) is closed.
        go: moves an axis to a place, mm, and returns on arrival.
        switches: place, mm, and direction of homing, +1 or -1, of the switch of each axis.

    Raises:
        MotionStopped: a switch is not within the window.
    """
    found: dict[int, float] = {}
    for axis in (2, 0, 1):
        expected_mm, towards = switches[axis]
        place_mm = find_switch(
            functools.partial(pressed, axis),
            functools.partial(go, axis),
            expected_mm=expected_mm,
            towards=towards,
            window_mm=window_mm,
            resolution_mm=resolution_mm,
            port=port,
        )
        found[axis] = place_mm - expected_mm
        go(axis, expected_mm - towards * window_mm)
    return HomeDeviation((found[0], found[1], found[2]), resolution_mm)


def find_switch(
    pressed: Callable[[], bool],
    go: Callable[[float], None],
    *,
    expected_mm: float,
    towards: int,
    window_mm: float,
    resolution_mm: float,
    port: str,
) -> float:
    """The place where a limit switch closes, approached in the direction of the homing.

    Args:
        pressed: whether the switch is closed.
        go: moves the axis to a place, mm, and returns on arrival.
        expected_mm: where it should close.
        towards: +1 for a switch at the high end, -1 for one at the low end.
        window_mm: how far around the expected place is searched.

    Raises:
        MotionStopped: it does not close within the window, or is closed before it.
    """
    place_mm = expected_mm - towards * window_mm
    end_mm = expected_mm + towards * window_mm
    go(place_mm)
    if pressed():
        raise _not_there("is closed", place_mm, port)
    step_mm = max(COARSE_MM, resolution_mm)
    place_mm = _approach(pressed, go, place_mm, end_mm, towards * step_mm, port)
    place_mm -= towards * 2 * step_mm
    go(place_mm)
    if pressed():
        raise _not_there("does not open", place_mm, port)
    return _approach(pressed, go, place_mm, end_mm, towards * resolution_mm, port)


def _approach(
    pressed: Callable[[], bool],
    go: Callable[[float], None],
    from_mm: float,
    end_mm: float,
    step_mm: float,
    port: str,
) -> float:
    steps = int(abs((end_mm - from_mm) / step_mm) + 1e-9)
    for step in range(1, steps + 1):
        place_mm = from_mm + step * step_mm
        go(place_mm)
        if pressed():
            return place_mm
    raise _not_there("does not close", end_mm, port)


def _not_there(what: str, place_mm: float, port: str) -> MotionStopped:
    return MotionStopped(
        f"the limit switch {what} at {place_mm:.2f} mm",
        port=port,
        advice="Many steps were lost, or the switch is broken: look at the axis, then home.",
    )
