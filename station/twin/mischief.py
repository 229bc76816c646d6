"""What goes wrong in the world of the twin, drawn from a seed and played on its clock."""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from station.twin.server import Twin

WorldFaultKind = Literal[
    "dropped_tile",
    "heat",
    "load",
    "open_lid",
    "fading_lamp",
    "dark_camera",
    "frozen_camera",
    "power_cut_of_supply",
    "hand_on_output_button",
]
WORLD_FAULT_KINDS: tuple[WorldFaultKind, ...] = get_args(WorldFaultKind)

AMOUNTS: Mapping[WorldFaultKind, tuple[float, float]] = {
    "heat": (5.0, 40.0),  # K
    "load": (0.2e-3, 5e-3),  # A
    "fading_lamp": (0.2, 0.8),  # of its light
}
LASTS_S = (5.0, 1000.0)
TICK_S = 0.005


@dataclass(frozen=True)
class WorldFault:
    """One fault: what, when and how long on the twin's clock (s), and how strong (K, A, or 1)."""

    kind: WorldFaultKind
    at_s: float
    lasts_s: float
    amount: float = 1.0


def drawn(
    seed: int,
    *,
    within_s: float,
    most: int = 3,
    kinds: tuple[WorldFaultKind, ...] = WORLD_FAULT_KINDS,
) -> tuple[WorldFault, ...]:
    """Between none and `most` faults in the first `within_s` seconds, in the order of time."""
    draw = random.Random(f"{seed}/world")
    faults = [
        WorldFault(
            kind := draw.choice(kinds),
            draw.uniform(0, within_s),
            draw.uniform(*LASTS_S),
            draw.uniform(*AMOUNTS.get(kind, (1.0, 1.0))),
        )
        for _ in range(draw.randint(0, most))
    ]
    return tuple(sorted(faults, key=lambda fault: fault.at_s))


class Mischief(threading.Thread):
    """Plays faults on a twin; `done` has those that began. `finish` ends it and mends all."""

    def __init__(self, twin: Twin, faults: tuple[WorldFault, ...]) -> None:
        super().__init__(name="twin-mischief", daemon=True)
        self._twin = twin
        self._coming = list(faults)
        self._lasting: list[tuple[float, Callable[[], object]]] = []
        self._finish = threading.Event()
        self.done: list[WorldFault] = []

    def run(self) -> None:
        clock = self._twin.clock
        start_s = clock.now_s()
        while not self._finish.wait(TICK_S) and (self._coming or self._lasting):
            now_s = clock.now_s() - start_s
            for ends_s, mend in [entry for entry in self._lasting if entry[0] <= now_s]:
                self._lasting.remove((ends_s, mend))
                mend()
            while self._coming and self._coming[0].at_s <= now_s:
                fault = self._coming.pop(0)
                self._lasting.append((now_s + fault.lasts_s, self._begin(fault)))
                self.done.append(fault)
        for _, mend in self._lasting:
            mend()

    def finish(self) -> None:
        self._finish.set()
        if self.is_alive():
            self.join()

    def _begin(self, fault: WorldFault) -> Callable[[], object]:
        """Let a fault begin; returns what mends it."""
        if fault.kind in _STATES:
            name, broken, healthy = _STATES[fault.kind]
            setattr(self._twin.world, name, fault.amount if broken is None else broken)
            return lambda: setattr(self._twin.world, name, healthy)
        begin, mend = _ACTS[fault.kind]
        begin(self._twin)
        return lambda: mend(self._twin)


def _nothing(_: Twin) -> None:
    pass


_STATES: Mapping[WorldFaultKind, tuple[str, object, object]] = {
    "heat": ("extra_heat_k", None, 0.0),
    "load": ("extra_load_a", None, 0.0),
    "fading_lamp": ("lamp", None, 1.0),
    "dark_camera": ("lamp", 0.0, 1.0),
    "open_lid": ("lid_closed", False, True),
}
"""Fault -> attribute of the world, its broken value (None: the amount), its healthy value."""
_ACTS: Mapping[WorldFaultKind, tuple[Callable[[Twin], object], Callable[[Twin], object]]] = {
    "dropped_tile": (lambda twin: twin.world.drop(), _nothing),
    "frozen_camera": (lambda twin: twin.camera.freeze(), lambda twin: twin.camera.thaw()),
    "power_cut_of_supply": (lambda twin: twin.bias.power_cycle(), _nothing),
    "hand_on_output_button": (lambda twin: twin.bias.press_output_button(), _nothing),
}
"""Fault -> what begins it, and what mends it."""
