"""The steps of a ramp, and the patience of a way down."""

import math
import time
from collections.abc import Callable
from typing import TypeVar

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentInterrupted,
    InstrumentLost,
    InstrumentTimeout,
    WrongInstrument,
)

ATTEMPTS = 5
FIRST_PAUSE_S = 0.05

_Result = TypeVar("_Result")


def steps(start_v: float, target_v: float, step_v: float) -> list[float]:
    """Set-points from ``start_v`` (left out) to ``target_v``, equally spaced, ``step_v`` at most.

    A ramp that changes sign passes through 0 V.
    """
    if start_v * target_v < 0:
        return steps(start_v, 0.0, step_v) + steps(0.0, target_v, step_v)
    count = math.ceil(round(abs(target_v - start_v) / step_v, 9))
    between = [start_v + (target_v - start_v) * (k / count) for k in range(1, count)]
    return [*between, target_v]


def insist(action: Callable[[], _Result]) -> _Result:
    """The result of an action that leads to safety; lost and broken replies are tried again.

    A lost connection gets a little real time to come back: 0.75 s in all.
    """
    last: InstrumentError | None = None
    pause_s = FIRST_PAUSE_S
    for attempt in range(ATTEMPTS):
        try:
            return action()
        except (InstrumentTimeout, BrokenReply, InstrumentInterrupted, WrongInstrument) as error:
            last = error
        except InstrumentLost as error:
            last = error
            if attempt < ATTEMPTS - 1:
                time.sleep(pause_s)
                pause_s *= 2
    assert last is not None
    raise last
