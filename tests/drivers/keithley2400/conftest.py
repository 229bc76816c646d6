from collections.abc import Callable, Generator

import pytest

from drivers.clock import ScaledClock
from drivers.keithley2400 import Keithley2400, Keithley2400Simulator


class World:
    """A load and an output-enable line that a test can change under the instrument's hands."""

    def __init__(self) -> None:
        self.output_enabled = True
        self.load: Callable[[float], float] = lambda v: 1e-8 * v + 2e-6 * max(0.0, v - 38) ** 2

    def current_a(self, voltage_v: float) -> float:
        return self.load(voltage_v)


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock(200)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture(params=["tcp", "pty"])
def simulator(request, world: World, clock: ScaledClock) -> Generator[Keithley2400Simulator]:
    simulator = Keithley2400Simulator(
        world.current_a, lambda: world.output_enabled, clock, link=request.param, seed=1
    )
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def source(simulator: Keithley2400Simulator, clock: ScaledClock) -> Generator[Keithley2400]:
    source = Keithley2400.open(simulator.address, clock=clock)
    yield source
    simulator.faults.clear()
    source.close()


@pytest.fixture
def live(source: Keithley2400) -> Keithley2400:
    """A source with limits, switched on at 0 V."""
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.switch_on()
    return source
