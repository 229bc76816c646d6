"""What every gantry driver does around a move: one at a time, checked before and after."""

import math
import threading
from collections.abc import Callable

from drivers.errors import BrokenReply, InstrumentRefused, MotionStopped, SetpointRefused
from drivers.touching import Triple

AXES = ("x", "y", "z")
READINGS = 4


class OneMove:
    """A context in which a gantry moves; entering it while another one lasts is refused.

    Raises:
        InstrumentRefused: the gantry is moving already.
    """

    def __init__(self, lock: threading.Lock, port: str) -> None:
        self._lock = lock
        self._port = port

    def __enter__(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise InstrumentRefused(
                "the gantry is moving already",
                port=self._port,
                advice="Wait for the end of the move, or stop it.",
            )

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def named_axes(x_mm: float | None, y_mm: float | None, z_mm: float | None) -> dict[str, float]:
    """The axes that a move names, and where to, mm."""
    return {
        axis: value
        for axis, value in zip(AXES, (x_mm, y_mm, z_mm), strict=True)
        if value is not None
    }


def whole_target(target: dict[str, float], start: Triple) -> Triple:
    """Where a move ends, mm: axes that it does not name stay where they are."""
    x, y, z = (target.get(axis, here) for axis, here in zip(AXES, start, strict=True))
    return x, y, z


def check_target(
    target: dict[str, float],
    feed_mm_per_min: float,
    *,
    travel_mm: Triple,
    rates_mm_per_min: tuple[float, ...] | None,
    port: str,
) -> None:
    """Refuse what the gantry can't do.

    Args:
        rates_mm_per_min: highest rates of the axes; None where nobody tells them.

    Raises:
        SetpointRefused: a target outside the travel, or a feed that no axis named can do.
    """
    for axis, value in target.items():
        travel = travel_mm[AXES.index(axis)]
        if not (math.isfinite(value) and 0 <= value <= travel):
            raise SetpointRefused(
                f"{axis} = {value} mm is outside the travel of 0 to {travel:g} mm", port=port
            )
    highest = math.inf
    if rates_mm_per_min is not None:
        highest = max(rates_mm_per_min[AXES.index(axis)] for axis in target or AXES)
    if not (math.isfinite(feed_mm_per_min) and 0 < feed_mm_per_min <= highest):
        raise SetpointRefused(
            f"a feed of {feed_mm_per_min} mm/min is outside 0 to {highest:g} mm/min", port=port
        )


def check_arrival(
    here: Triple,
    goal: Triple,
    *,
    tolerance_mm: float,
    read_again: Callable[[], Triple],
    port: str,
) -> None:
    """Compare the place where a move ended with its goal, mm.

    Args:
        read_again: a more certain reading, asked for when ``here`` is not the goal.

    Raises:
        MotionStopped: the gantry is elsewhere.
    """
    if not _is_at(here, goal, tolerance_mm):
        here = read_again()
    if not _is_at(here, goal, tolerance_mm):
        raise MotionStopped(f"a move ended at {shown(here)} instead of {shown(goal)} mm", port=port)


def agreed_position(read: Callable[[], tuple[Triple, bool]], *, port: str, sent: str) -> Triple:
    """Two readings that agree, since nothing tells a digit that was misread on the line.

    Args:
        read: a reading, and whether something moves: no two agree then, and one has to do.

    Raises:
        BrokenReply: no two agree.
    """
    last: Triple | None = None
    for _ in range(READINGS):
        here, moving = read()
        if moving or here == last:
            return here
        last = here
    raise BrokenReply("the position is another one at each reading", port=port, sent=sent)


def shown(position: Triple) -> str:
    """A position in a message, mm."""
    return "({:.3f}, {:.3f}, {:.3f})".format(*position)


def _is_at(here: Triple, goal: Triple, tolerance_mm: float) -> bool:
    return all(abs(a - b) <= tolerance_mm for a, b in zip(here, goal, strict=True))
