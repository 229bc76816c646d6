from collections.abc import Generator
from dataclasses import dataclass

import pytest

from drivers.clock import RealClock
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.sensirion import Sensirion, SensirionSimulator


@dataclass
class Air:
    """The air at the sensor."""

    temperature_c: float = 21.5
    humidity_percent: float = 34.0

    def now(self) -> tuple[float, float]:
        return self.temperature_c, self.humidity_percent


@pytest.fixture
def air() -> Air:
    return Air()


@pytest.fixture
def device(air: Air) -> SensirionSimulator:
    return SensirionSimulator(air.now, RealClock())


@pytest.fixture
def bridge(device: SensirionSimulator) -> Generator[BridgeSimulator]:
    bridge = BridgeSimulator({0x44: device})
    bridge.start()
    yield bridge
    bridge.stop()


@pytest.fixture
def sensor(bridge: BridgeSimulator) -> Generator[Sensirion]:
    sensor = Sensirion.open(bridge.path, deadline_s=2.0)
    yield sensor
    sensor.close()
