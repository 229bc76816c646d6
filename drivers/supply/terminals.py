"""The output stage of a simulated supply and the load at its terminals, in time."""

import math
from collections import deque
from collections.abc import Callable

from drivers.clock import Clock

SUBSTEPS = 64
TRACE_LENGTH = 200_000


class Terminals:
    """A voltage that goes where it is sent, as fast as stage and load let it.

    The stage settles exponentially, no faster than its slew rate, and gives no more than its
    current limit: a load that draws more folds the voltage back, a capacitor charges slowly.

    Args:
        load: current in A drawn at a voltage in V; rising with the voltage.
        capacitance_f: capacitor across the load.
        settling_s: time constant of the stage.
        slew_v_per_s: fastest change of the stage.

    Attributes:
        trace: (time, voltage) whenever the terminals were looked at or sent elsewhere.
    """

    def __init__(
        self,
        load: Callable[[float], float],
        clock: Clock,
        *,
        capacitance_f: float = 0.0,
        settling_s: float = 0.002,
        slew_v_per_s: float = math.inf,
    ) -> None:
        self._load = load
        self._clock = clock
        self._capacitance_f = capacitance_f
        self._settling_s = settling_s
        self._slew_v_per_s = slew_v_per_s
        self._target_v = 0.0
        self._limit_a = math.inf
        self._voltage_v = 0.0
        self._at_s = clock.now_s()
        self._limited = False
        self.trace: deque[tuple[float, float]] = deque(maxlen=TRACE_LENGTH)

    def drive(self, target_v: float, limit_a: float, *, at_s: float | None = None) -> None:
        """From ``at_s`` (now) on go to ``target_v`` with at most ``limit_a``."""
        self._advance(at_s)
        self._target_v = target_v
        self._limit_a = limit_a

    def voltage_v(self, *, at_s: float | None = None) -> float:
        """The voltage now, or at ``at_s`` where nobody has looked later yet."""
        self._advance(at_s)
        return self._voltage_v

    def current_a(self, *, at_s: float | None = None) -> float:
        """What flows into the load; the limit while that holds the voltage down."""
        self._advance(at_s)
        drawn_a = self._load(self._voltage_v)
        return math.copysign(min(abs(drawn_a), self._limit_a), drawn_a)

    def limited(self, *, at_s: float | None = None) -> bool:
        """Whether the current limit holds the voltage below its target."""
        self._advance(at_s)
        return self._limited

    def _advance(self, until_s: float | None = None) -> None:
        now_s = self._clock.now_s() if until_s is None else until_s
        passed_s = now_s - self._at_s
        if passed_s < 0:
            return
        self._at_s = now_s
        goal_v = self._held_v()
        step_s = passed_s / SUBSTEPS
        for _ in range(SUBSTEPS if passed_s else 0):
            self._move(goal_v, step_s)
            if self._voltage_v == goal_v:
                break
        self._limited = self._limited or goal_v != self._target_v
        self.trace.append((now_s, self._voltage_v))

    def _held_v(self) -> float:
        """Where the target ends up with the load that is there."""
        if abs(self._load(self._target_v)) <= self._limit_a:
            return self._target_v
        low, high = 0.0, 1.0
        for _ in range(50):
            middle = (low + high) / 2
            if abs(self._load(middle * self._target_v)) > self._limit_a:
                high = middle
            else:
                low = middle
        return low * self._target_v

    def _move(self, goal_v: float, step_s: float) -> None:
        away_v = goal_v - self._voltage_v
        change_v = -away_v * math.expm1(-step_s / self._settling_s)
        fastest_v = self._slew_v_per_s * step_s
        self._limited = False
        if self._capacitance_f:
            drawn_a = abs(self._load(self._voltage_v))
            rising = away_v * self._voltage_v >= 0
            spare_a = max(0.0, self._limit_a - drawn_a) if rising else self._limit_a + drawn_a
            charging_v = spare_a * step_s / self._capacitance_f
            self._limited = rising and charging_v < min(abs(change_v), fastest_v)
            fastest_v = min(fastest_v, charging_v)
        change_v = math.copysign(min(abs(change_v), fastest_v), change_v)
        near = abs(away_v - change_v) < 1e-9
        self._voltage_v = goal_v if near else self._voltage_v + change_v
