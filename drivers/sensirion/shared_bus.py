"""Several sensors on one bus: the bus has one owner, and closes with its last sensor."""

import threading
from collections.abc import Sequence

from drivers.clock import Clock
from drivers.sensirion.driver import Sensirion
from drivers.transport import I2cTransport, open_i2c


def open_all(
    address: str, i2c_addresses: Sequence[int], *, clock: Clock | None = None
) -> list[Sensirion]:
    """The sensors at these addresses of one bus, in this order; all of them or none.

    Raises as :meth:`Sensirion.open`.
    """
    bus = _CountedBus(open_i2c(address), len(i2c_addresses))
    opened: list[Sensirion] = []
    try:
        for i2c_address in i2c_addresses:
            opened.append(Sensirion(bus, i2c_address=i2c_address, clock=clock, close_bus=True))
    except BaseException:
        bus.close_now()
        raise
    return opened


class _CountedBus:
    """A bus that closes when everybody has closed it."""

    def __init__(self, bus: I2cTransport, users: int) -> None:
        self._bus = bus
        self._users = users
        self._lock = threading.Lock()

    @property
    def instrument(self) -> str:
        return self._bus.instrument

    @instrument.setter
    def instrument(self, name: str) -> None:
        self._bus.instrument = name

    @property
    def port(self) -> str:
        return self._bus.port

    @property
    def is_closed(self) -> bool:
        return self._bus.is_closed

    def exchange(
        self,
        address: int,
        write: bytes,
        read_count: int = 0,
        *,
        wait_s: float = 0.0,
        deadline_s: float,
    ) -> bytes:
        return self._bus.exchange(address, write, read_count, wait_s=wait_s, deadline_s=deadline_s)

    def interrupt(self) -> int:
        return self._bus.interrupt()

    def close(self) -> None:
        with self._lock:
            self._users -= 1
            is_last = self._users == 0
        if is_last:
            self._bus.close()

    def close_now(self) -> None:
        self._bus.close()
