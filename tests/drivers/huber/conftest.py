from collections.abc import Generator

import pytest

from drivers.huber import HuberChiller, HuberSimulator
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
def chiller(simulator: HuberSimulator) -> Generator[HuberChiller]:
    chiller = HuberChiller.open(simulator.path, min_c=-30.0, max_c=30.0, deadline_s=1.0)
    yield chiller
    chiller.close()
