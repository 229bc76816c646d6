from collections.abc import Callable, Generator

import pytest

from drivers.caen_a7585 import CaenA7585, CaenA7585Simulator
from drivers.clock import ScaledClock


class World:
    """What a test can change under the module's hands."""

    def __init__(self) -> None:
        self.temperature_c = 25.0
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
def simulator(world: World, clock: ScaledClock) -> Generator[CaenA7585Simulator]:
    simulator = CaenA7585Simulator(world.current_a, lambda: world.temperature_c, clock, seed=1)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def module(simulator: CaenA7585Simulator, clock: ScaledClock) -> Generator[CaenA7585]:
    module = CaenA7585.open(simulator.address, clock=clock)
    yield module
    simulator.faults.clear()
    module.close()


@pytest.fixture
def live(module: CaenA7585) -> CaenA7585:
    """A module with limits, switched on at 20 V."""
    module.program_limits(max_voltage_v=50, compliance_a=1e-3)
    module.switch_on()
    return module
