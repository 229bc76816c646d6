"""The doctor knows every instrument that a profile can name, by its simulator on a real port."""

import re
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import pytest

from drivers.caen_a7585.simulator import CaenA7585Simulator
from drivers.caen_hv.simulator import BoardSetup, CaenHvSimulator
from drivers.clock import ScaledClock
from drivers.grbl.simulator import GrblSimulator
from drivers.huber.simulator import HuberSimulator
from drivers.iseg.simulator import IsegSimulator
from drivers.julabo.simulator import JulaboSimulator
from drivers.keithley.simulator import Keithley2450Simulator
from drivers.keithley2400.simulator import Keithley2400Simulator
from drivers.keithley6517.simulator import Keithley6517Simulator
from drivers.marlin import DIALECTS, MarlinSimulator
from drivers.sc18im700.simulator import BridgeSimulator
from drivers.sensirion.simulator import SensirionSimulator
from station.doctor import Places, questions, scan
from station.driver_table import (
    BIAS_DRIVERS,
    CHILLER_DRIVERS,
    CLIMATE_DRIVERS,
)
from station.twin.server import Twin

CLOCK = ScaledClock(400.0)


def load(voltage_v: float) -> float:
    return 1e-9 * voltage_v


def caen_without_boards() -> CaenHvSimulator:
    return CaenHvSimulator([BoardSetup("DT5521", None)], CLOCK)


ON_SERIAL_PORTS: list[tuple[str, Callable[[], Any]]] = [
    ("keithley2400", lambda: Keithley2400Simulator(load, clock=CLOCK, link="pty")),
    ("keithley6517", lambda: Keithley6517Simulator(load, clock=CLOCK, link="pty")),
    ("caen_a7585", lambda: CaenA7585Simulator(load, clock=CLOCK)),
    ("caen_hv", lambda: CaenHvSimulator(clock=CLOCK)),
    ("caen_hv", caen_without_boards),
    ("iseg", lambda: IsegSimulator((load, load), CLOCK)),
    ("grbl", lambda: GrblSimulator(clock=CLOCK, probe=lambda: False)),
    *(("marlin", lambda d=d: MarlinSimulator(d, CLOCK)) for d in DIALECTS),
    ("huber", lambda: HuberSimulator(CLOCK)),
    ("julabo", lambda: JulaboSimulator(CLOCK)),
]
ON_THE_NETWORK: list[tuple[str, Callable[[], Any], str]] = [
    ("keithley2450", lambda: Keithley2450Simulator(load, clock=CLOCK), "address"),
    ("caen_hv", caen_without_boards, "tcp_address"),
]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on a pseudo-terminal needs a third of a second to begin its answer."""
    monkeypatch.setattr(questions, "QUIET_S", 0.05)
    monkeypatch.setattr(questions, "BANNER_S", 0.05)


def test_every_driver_that_answers_questions_is_tried() -> None:
    tried = {name for name, _ in ON_SERIAL_PORTS} | {name for name, *_ in ON_THE_NETWORK}
    assert tried == {*BIAS_DRIVERS, *CHILLER_DRIVERS, "grbl", "marlin"}
    assert set(CLIMATE_DRIVERS) == {"sensirion"}


@pytest.mark.parametrize(("driver", "make"), ON_SERIAL_PORTS)
def test_an_instrument_on_a_serial_port_is_known(driver: str, make: Callable[[], Any]) -> None:
    simulator = make()
    simulator.start()
    try:
        port = simulator.path if hasattr(simulator, "path") else simulator.address
        (found,) = scan(Places(ports=(port,)))
    finally:
        simulator.stop()
    assert found.driver == driver
    assert found.identity


@pytest.mark.parametrize(("driver", "make", "where"), ON_THE_NETWORK)
def test_an_instrument_on_the_network_is_known(
    driver: str, make: Callable[[], Any], where: str
) -> None:
    simulator = make()
    simulator.start()
    try:
        address = getattr(simulator, where)
        port = re.search(r"::(\d+)::", address)
        assert port is not None
        (found,) = scan(Places(ports=(), hosts=(f"127.0.0.1:{port[1]}",)))
    finally:
        simulator.stop()
    assert (found.driver, found.address) == (driver, address)


def test_a_tester_on_the_network_is_known(twin: Twin, monkeypatch: pytest.MonkeyPatch) -> None:
    tester = twin.profile.tester
    ports = (tester.fast_port, tester.slow_port, tester.data_port)
    monkeypatch.setattr(questions, "ZMQ_PORTS", ports)
    (found,) = scan(Places(ports=(), hosts=("127.0.0.1",)))
    assert (found.driver, found.address) == ("tileboard_tester", "127.0.0.1")


def test_a_humidity_sensor_on_a_bridge_is_known() -> None:
    with ExitStack() as stack:
        bridge = BridgeSimulator({0x44: SensirionSimulator(lambda: (21.0, 35.0), CLOCK)})
        bridge.start()
        stack.callback(bridge.stop)
        (found,) = scan(Places(ports=(), i2c=(bridge.path,)))
    assert found.driver == "sensirion"
