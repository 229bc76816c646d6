import os
import select
from collections.abc import Generator

import pytest

from drivers.clock import ScaledClock
from drivers.grbl import GrblController, GrblGantry, GrblSimulator, GrblVacuumGripper
from drivers.transport import SerialTransport


class World:
    """The tile under the nozzle and what the outputs did."""

    def __init__(self) -> None:
        self.tile_under_nozzle = False
        self.switched: list[tuple[str, bool]] = []
        self.vacuum = False

    def switch(self, name: str, level: bool) -> None:
        self.switched.append((name, level))
        if name == "flood":
            self.vacuum = level

    def probe(self) -> bool:
        return self.vacuum and self.tile_under_nozzle


class ManualClock:
    """Time that only a test lets pass."""

    def __init__(self) -> None:
        self.time_s = 0.0

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, duration_s: float) -> None:
        self.time_s += max(0.0, duration_s)


class RawPort:
    """A client that writes and reads bytes."""

    def __init__(self, path: str) -> None:
        self._port = SerialTransport(path)
        self._fd = self._port._link.fileno()
        self._unread = b""

    def send(self, data: bytes) -> None:
        os.write(self._fd, data)

    def read_until(self, end: bytes) -> bytes:
        while end not in self._unread:
            readable, _, _ = select.select([self._fd], [], [], 5)
            assert readable, f"only {self._unread!r} came, not {end!r}"
            self._unread += os.read(self._fd, 4096)
        upto = self._unread.index(end) + len(end)
        text, self._unread = self._unread[:upto], self._unread[upto:]
        return text

    def settle(self) -> None:
        """Read all that came before now."""
        self.ask(b"$G\n", b"]\r\nok\r\n")

    def ask(self, data: bytes, end: bytes = b"ok\r\n") -> bytes:
        self.send(data)
        return self.read_until(end)

    def close(self) -> None:
        self._port.close()


@pytest.fixture
def clock() -> ScaledClock:
    return ScaledClock(500)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def simulator(world: World, clock: ScaledClock) -> Generator[GrblSimulator]:
    simulator = GrblSimulator(clock, world.probe, world.switch)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def controller(simulator: GrblSimulator, clock: ScaledClock) -> Generator[GrblController]:
    controller = GrblController.open(simulator.path, clock=clock)
    yield controller
    controller.close()


@pytest.fixture
def gantry(controller: GrblController) -> GrblGantry:
    """A homed gantry."""
    gantry = GrblGantry(controller)
    gantry.home()
    return gantry


@pytest.fixture
def gripper(gantry: GrblGantry) -> GrblVacuumGripper:
    return GrblVacuumGripper(gantry.controller)


@pytest.fixture
def manual_clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def slow_simulator(world: World, manual_clock: ManualClock) -> Generator[GrblSimulator]:
    """A machine whose time stands still until a test lets it pass."""
    simulator = GrblSimulator(manual_clock, world.probe, world.switch)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def raw(slow_simulator: GrblSimulator) -> Generator[RawPort]:
    """Raw bytes to the slow machine, unlocked, its banner read."""
    port = RawPort(slow_simulator.path)
    port.ask(b"$X\n")
    yield port
    port.close()
