from collections.abc import Generator

import pytest

from drivers.julabo import JulaboChiller, JulaboSimulator
from tests.drivers.hand_clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def simulator(clock: HandClock) -> Generator[JulaboSimulator]:
    simulator = JulaboSimulator(clock)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def chiller(simulator: JulaboSimulator) -> Generator[JulaboChiller]:
    chiller = JulaboChiller.open(
        simulator.path, min_c=-10.0, max_c=30.0, pause_s=0.0, deadline_s=1.0
    )
    yield chiller
    chiller.close()
