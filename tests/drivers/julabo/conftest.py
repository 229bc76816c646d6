from collections.abc import Generator

import pytest

from drivers.julabo import Julabo, JulaboSimulator
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
def chiller(simulator: JulaboSimulator) -> Generator[Julabo]:
    chiller = Julabo.open(
        simulator.path, lowest_c=-10.0, highest_c=30.0, pause_s=0.0, deadline_s=1.0
    )
    yield chiller
    chiller.close()
