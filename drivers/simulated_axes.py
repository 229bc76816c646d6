"""How the axes of a simulated gantry move: straight lines at constant feed, no acceleration."""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Triple = tuple[float, float, float]
BlockKind = Literal["jog", "line", "homing"]
LIMIT_MARGIN_MM = 0.01
OVERTRAVEL_MM = 2.0
"""Way behind the switches until the axis stands at its end and the motor loses steps."""


@dataclass(frozen=True)
class Block:
    """A line to a target in machine coordinates (mm) at a speed (mm/s)."""

    target: Triple
    speed_mm_per_s: float
    kind: BlockKind


class Motion:
    """Three axes and the queue of their moves.

    The controller counts in machine coordinates; ``true_mm`` is where the axes really are, from 0
    to the travel. The two differ by a shift that homing removes and lost steps bring back, and by
    half the play of an axis, towards where it came from.

    Attributes:
        watched: whether the motion ends at a limit switch.
    """

    def __init__(
        self,
        travel_mm: Triple,
        start_mm: Triple,
        now_s: float,
        on_move: Callable[[Triple], None] = lambda true_mm: None,
        backlash_mm: Triple = (0.0, 0.0, 0.0),
    ) -> None:
        self._on_move = on_move
        self._backlash_mm = backlash_mm
        self._driven_mm = list(start_mm)
        self.travel_mm = travel_mm
        self.machine: Triple = (0.0, 0.0, 0.0)
        self.true_mm = start_mm
        self.stuck: set[int] = set()
        self.paused = False
        self.limit_hit: int | None = None
        self.watched = True
        self.feed_override = 1.0
        self._queue: deque[Block] = deque()
        self._now_s = now_s

    @property
    def busy(self) -> bool:
        return bool(self._queue)

    @property
    def blocks(self) -> int:
        return len(self._queue)

    @property
    def kind(self) -> BlockKind | None:
        return self._queue[0].kind if self._queue else None

    @property
    def speed_mm_per_s(self) -> float:
        if not self._queue or self.paused:
            return 0.0
        return self._speed_of(self._queue[0])

    @property
    def end(self) -> Triple:
        """Where the axes will be, machine coordinates, when the queue is done."""
        return self._queue[-1].target if self._queue else self.machine

    def add(self, block: Block) -> None:
        """Append a move; call after :meth:`advance` so that it starts now and not earlier."""
        if block.target != self.end:
            self._queue.append(block)

    def clear(self) -> None:
        self._queue.clear()
        self.paused = False

    def declare(self, machine: Triple) -> None:
        """Let the present place have these machine coordinates."""
        self.machine = machine

    def distance_to(self, axis: int, place_mm: float, towards: int) -> float:
        """How far an axis must be driven until it truly is at a place, in that direction."""
        play = self._backlash_mm[axis] / 2
        return place_mm + towards * play - self._driven_mm[axis]

    def lose_steps(self, axis: int, lost_mm: float) -> None:
        """Shift the true position of an axis without the controller knowing."""
        true = list(self.true_mm)
        true[axis] += lost_mm
        self._driven_mm[axis] += lost_mm
        self.true_mm = (true[0], true[1], true[2])

    def advance(self, now_s: float) -> None:
        """Let the axes move until ``now_s``; stops for good at a limit switch."""
        left_s = now_s - self._now_s
        self._now_s = max(now_s, self._now_s)
        while left_s > 0 and self._queue and not self.paused and self.limit_hit is None:
            block = self._queue[0]
            speed = self._speed_of(block)
            distance = math.dist(self.machine, block.target)
            needed_s = distance / speed
            if needed_s <= left_s:
                left_s -= needed_s
                self._go_to(block.target, block.kind)
                if self._queue and self.limit_hit is None:
                    self._queue.popleft()
            else:
                part = left_s / needed_s
                left_s = 0.0
                x, y, z = (
                    here + (there - here) * part
                    for here, there in zip(self.machine, block.target, strict=True)
                )
                self._go_to((x, y, z), block.kind)

    def _speed_of(self, block: Block) -> float:
        """Overrides change the pace of programmed lines only, not of jogs and homing."""
        return block.speed_mm_per_s * (self.feed_override if block.kind == "line" else 1.0)

    def _go_to(self, machine: Triple, kind: BlockKind) -> None:
        true = list(self.true_mm)
        for axis, (here, there) in enumerate(zip(self.machine, machine, strict=True)):
            if axis in self.stuck or here == there:
                continue
            self._driven_mm[axis] += there - here
            play = self._backlash_mm[axis] / 2
            driven = self._driven_mm[axis]
            true[axis] = min(max(true[axis], driven - play), driven + play)
            low, high = -LIMIT_MARGIN_MM, self.travel_mm[axis] + LIMIT_MARGIN_MM
            if kind == "homing" or low <= true[axis] <= high:
                continue
            if self.watched:
                self.limit_hit = axis
            else:
                low, high = -OVERTRAVEL_MM, self.travel_mm[axis] + OVERTRAVEL_MM
            true[axis] = min(max(true[axis], low), high)
            self._driven_mm[axis] = min(max(driven, low - play), high + play)
        self.true_mm = (true[0], true[1], true[2])
        self.machine = machine
        self._on_move(self.true_mm)
