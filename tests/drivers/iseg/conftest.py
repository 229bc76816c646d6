from collections.abc import Callable, Generator

import pytest

from drivers.clock import ScaledClock
from drivers.iseg import Iseg, IsegSimulator


class World:
    """What a test can change under the supply's hands."""

    def __init__(self) -> None:
        self.load: Callable[[float], float] = lambda v: 1e-8 * v + 2e-6 * max(0.0, v - 38) ** 2

    def current_a(self, voltage_v: float) -> float:
        return self.load(voltage_v)


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock(200)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def simulator(world: World, clock: ScaledClock) -> Generator[IsegSimulator]:
    """A unit of 100 V whose switches stand at 50 V."""
    simulator = IsegSimulator((world.current_a, lambda v: 1e-8 * v), clock)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def supply(simulator: IsegSimulator, clock: ScaledClock) -> Generator[Iseg]:
    supply = Iseg.open(simulator.address, clock=clock)
    yield supply
    simulator.faults.clear()
    simulator.channel().take_control(None)
    supply.close()


@pytest.fixture
def live(supply: Iseg) -> Iseg:
    """A channel with limits, ready at 0 V."""
    supply.program_limits(max_voltage_v=50, compliance_a=1e-3)
    supply.switch_on()
    return supply
