"""A commissioning on the twin, with a camera whose calibration is far off."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.clock import ScaledClock
from station.commissioning.looking import Bench
from station.events import Ask, Event, Procedure, Reading
from station.instruments import connect_line
from station.line import Line
from station.profile import Profile
from station.twin.server import Twin, start_twin

SPEED = 400.0


@dataclass
class Yard:
    """A twin, and a line on it whose profile was made wrong on purpose."""

    twin: Twin
    line: Line

    @property
    def true(self) -> Any:
        """The camera section as it truly is."""
        return self.twin.world._profile.camera

    def run(self, procedure: Procedure) -> list[Event]:
        """Every event of a procedure; questions get their default, and hands that do the work."""
        events: list[Event] = []
        said: str | None = None
        try:
            while True:
                event = procedure.send(said)
                said = None
                events.append(event)
                if isinstance(event, Ask):
                    self.twin.world.clean_pad()
                    said = event.default
        except StopIteration:
            return events

    def readings(self, procedure: Procedure) -> dict[str, Reading]:
        return {e.quantity: e for e in self.run(procedure) if isinstance(e, Reading)}


def misjudged(profile: Profile, seed: int) -> Profile:
    """A profile as a technician with a ruler would write it."""
    rng = np.random.default_rng(seed)
    camera = profile.camera
    return profile.model_copy(
        update={
            "camera": camera.model_copy(
                update={
                    "mm_per_px": camera.mm_per_px * (1 + float(rng.normal(0, 0.01))),
                    "mm_per_px_sigma_rel": 0.01,
                    "rotation_rad": 0.0,
                    "k1_per_mm2": 0.0,
                    "offset_x_mm": camera.offset_x_mm + float(rng.normal(0, 1.0)),
                    "offset_y_mm": camera.offset_y_mm + float(rng.normal(0, 1.0)),
                    "working_distance_mm": camera.working_distance_mm + float(rng.uniform(-2, 2)),
                }
            )
        }
    )


@pytest.fixture(scope="module")
def open_yard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Yard]]:
    with ExitStack() as stack:

        def make(seed: int) -> Yard:
            folder: Path = tmp_path_factory.mktemp("twin")
            twin = start_twin(folder, seed=seed, shape="G3L", speed=SPEED)
            stack.callback(twin.close)
            profile = misjudged(twin.profile, seed)
            return Yard(twin, connect_line(profile, ScaledClock(SPEED), stack))

        yield make


@pytest.fixture(scope="module")
def yard(open_yard: Callable[[int], Yard]) -> Yard:
    return open_yard(5)


@pytest.fixture(scope="module")
def bench(yard: Yard) -> Bench:
    """One bench for the steps of a module: each uses what the ones before it found."""
    return Bench.of(yard.line)
