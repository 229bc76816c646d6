from collections.abc import Callable, Generator

import pytest

from drivers.clock import ScaledClock
from drivers.marlin import (
    DIALECTS,
    Dialect,
    MarlinController,
    MarlinGantry,
    MarlinSimulator,
)

TRAVEL = (600.0, 400.0, 120.0)


class World:
    """The tile under the nozzle and what the outputs did."""

    def __init__(self) -> None:
        self.tile_under_nozzle = False
        self.switched: list[tuple[str, bool]] = []
        self.places: list[tuple[float, float, float]] = []

    def switch(self, name: str, level: bool) -> None:
        self.switched.append((name, level))

    def probe(self) -> bool:
        return self.tile_under_nozzle


@pytest.fixture(params=DIALECTS, ids=lambda dialect: dialect.name)
def dialect(request) -> Dialect:
    return request.param


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock(500)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def simulator(dialect: Dialect, world: World, clock: ScaledClock) -> Generator[MarlinSimulator]:
    simulator = MarlinSimulator(
        dialect, clock, world.probe, world.switch, on_move=world.places.append
    )
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def unhurried(
    dialect: Dialect, world: World
) -> Generator[Callable[[float], tuple[MarlinSimulator, ScaledClock]]]:
    """Starts a simulator whose time passes slowly enough to come in between."""
    started: list[MarlinSimulator] = []

    def start(speed: float) -> tuple[MarlinSimulator, ScaledClock]:
        clock = ScaledClock(speed)
        started.append(MarlinSimulator(dialect, clock, world.probe, world.switch))
        started[-1].start()
        return started[-1], clock

    yield start
    for simulator in started:
        simulator.stop()


@pytest.fixture
def gantry(simulator: MarlinSimulator, clock: ScaledClock) -> Generator[MarlinGantry]:
    """A homed gantry."""
    gantry = MarlinGantry.open(simulator.path, clock=clock, travel_mm=TRAVEL)
    gantry.home()
    yield gantry
    gantry.close()


@pytest.fixture
def controller(gantry: MarlinGantry) -> MarlinController:
    return gantry.controller
