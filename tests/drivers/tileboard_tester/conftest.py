import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from drivers.clock import ScaledClock
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import BoardConstants
from drivers.tileboard_tester.simulator import TesterSettings, TileboardTesterSimulator


@dataclass
class World:
    """A board whose every channel has its own pedestal, and light that adds 100 ADC."""

    n_channels: int = 72
    voltage_v: float = 41.0
    current_a: float = 2e-3
    sensors_c: list[float] = field(default_factory=lambda: [20.0 + i for i in range(8)])
    runs: list[tuple[int, bool, TesterSettings]] = field(default_factory=list)
    run_seen: threading.Event = field(default_factory=threading.Event)

    def charges(
        self, n_events: int, led_on: bool, settings: TesterSettings
    ) -> NDArray[np.number[Any]]:
        self.runs.append((n_events, led_on, settings))
        self.run_seen.set()
        light = 100.0 if led_on and settings.any_bias_connected else 0.0
        pedestals = 50.0 + np.arange(self.n_channels)[:, np.newaxis]
        return pedestals + light + np.arange(n_events) % 7 + 0.25

    def input_voltage_v(self) -> float:
        return self.voltage_v

    def input_current_a(self) -> float:
        return self.current_a

    def temperatures_c(self) -> list[float]:
        return self.sensors_c


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def simulator(world: World) -> Generator[TileboardTesterSimulator]:
    simulator = TileboardTesterSimulator(world, ScaledClock(1000.0))
    simulator.start()
    yield simulator
    simulator.stop()


OpenTester = Callable[..., TileboardTester]


@pytest.fixture
def open_tester(simulator: TileboardTesterSimulator, tmp_path: Path) -> Generator[OpenTester]:
    opened: list[TileboardTester] = []

    def opener(**changes: Any) -> TileboardTester:
        arguments: dict[str, Any] = {
            "data_folder": tmp_path,
            "board_constants": BoardConstants(
                n_rocs=1, overvoltage_dacs={2.0: (100, 7), 4.0: (180, 0)}
            ),
            "slow_port": simulator.slow_port,
            "fast_port": simulator.fast_port,
            "data_port": simulator.data_port,
            "clock": ScaledClock(1000.0),
            "reply_deadline_s": 5.0,
        }
        tester = TileboardTester(simulator.host, **(arguments | changes))
        opened.append(tester)
        return tester

    yield opener
    simulator.faults.stuck_pins = 0
    for tester in opened:
        tester._close_ports()


@pytest.fixture
def tester(open_tester: OpenTester) -> TileboardTester:
    return open_tester()
