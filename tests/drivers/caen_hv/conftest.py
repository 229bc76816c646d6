from collections.abc import Callable, Generator

import pytest

from drivers.caen_hv import BoardSetup, CaenHv, CaenHvSimulator
from drivers.clock import ScaledClock


class World:
    """What a test can change under the supply's hands."""

    def __init__(self) -> None:
        self.temperature_c = 35.0
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
def simulator(world: World, clock: ScaledClock) -> Generator[CaenHvSimulator]:
    """Two chained boards; the second has two channels."""
    boards = (
        BoardSetup(loads=(world.current_a,)),
        BoardSetup("N1471", 3, (lambda v: 1e-8 * v,) * 2, serial="00417", polarity="-"),
    )
    simulator = CaenHvSimulator(boards, clock, temperature_c=lambda: world.temperature_c)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def supply(simulator: CaenHvSimulator, clock: ScaledClock) -> Generator[CaenHv]:
    supply = CaenHv.open(simulator.address, board=0, clock=clock)
    yield supply
    simulator.faults.clear()
    simulator.set_local(False)
    supply.close()


@pytest.fixture
def live(supply: CaenHv) -> CaenHv:
    """A channel with limits, switched on at 0 V."""
    supply.program_limits(max_voltage_v=50, compliance_a=1e-4)
    supply.switch_on()
    return supply
