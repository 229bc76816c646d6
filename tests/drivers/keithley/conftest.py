from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, nullcontext

import pytest

from drivers.clock import ScaledClock
from drivers.keithley import Keithley2450, Keithley2450Simulator


class World:
    """A load and an interlock that a test can change under the instrument's hands."""

    def __init__(self) -> None:
        self.interlock_closed = True
        self.load: Callable[[float], float] = lambda v: 1e-8 * v + 2e-6 * max(0.0, v - 38) ** 2

    def current_a(self, voltage_v: float) -> float:
        return self.load(voltage_v)


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock(500)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def simulator(world: World, clock: ScaledClock) -> Generator[Keithley2450Simulator]:
    simulator = Keithley2450Simulator(
        world.current_a, lambda: world.interlock_closed, clock, seed=1
    )
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def source(simulator: Keithley2450Simulator, clock: ScaledClock) -> Generator[Keithley2450]:
    source = Keithley2450.open(simulator.address, clock=clock)
    yield source
    simulator.faults.clear()
    source.close()


@pytest.fixture
def live(source: Keithley2450) -> Keithley2450:
    """A source with limits, switched on at 0 V."""
    source.program_limits(max_voltage_v=50, compliance_a=1e-4)
    source.switch_on()
    return source


@pytest.fixture
def free() -> Callable[[], AbstractContextManager[None]]:
    """A checkpoint that lets everything pass."""
    return nullcontext
