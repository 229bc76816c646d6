from collections.abc import Generator

import pytest

from drivers.huber import Huber, HuberSimulator
from tests.drivers.hand_clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def simulator(clock: HandClock) -> Generator[HuberSimulator]:
    simulator = HuberSimulator(clock)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def chiller(simulator: HuberSimulator) -> Generator[Huber]:
    chiller = Huber.open(simulator.path, lowest_c=-30.0, highest_c=30.0, deadline_s=1.0)
    yield chiller
    chiller.close()
