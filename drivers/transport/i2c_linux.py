"""The I2C buses of the computer itself."""

import errno
import fcntl
from collections.abc import Callable
from typing import Any

import smbus2

from drivers.errors import InstrumentError, InstrumentLost, InstrumentRefused, InstrumentTimeout
from drivers.transport.i2c_checks import check_transfer, nobody_acknowledges
from drivers.transport.owned_port import OwnedPort
from drivers.transport.turn import Turn

_SET_TIMEOUT = 0x0702
_TIMEOUT_UNIT_S = 0.01
_UNACKNOWLEDGED = (errno.ENXIO, errno.EREMOTEIO, errno.EIO)


class LinuxI2cTransport(OwnedPort):
    """A bus such as ``/dev/i2c-1``; the kernel makes each transfer one piece.

    Without a wait, writing and reading are one transfer with a repeated start. A transfer that has
    begun can't be broken off, but the kernel ends it after the deadline; a wait can.

    Raises:
        InstrumentLost: the bus does not exist or may not be opened.
    """

    def __init__(
        self,
        port: str,
        *,
        pause_s: float = 0.0,
        open_bus: Callable[[str], Any] = smbus2.SMBus,
    ) -> None:
        super().__init__(port, pause_s=pause_s)
        self._open_bus = open_bus
        self._bus: Any = None
        try:
            self._connect()
        except InstrumentError:
            self._turnstile.close()
            raise

    def exchange(
        self,
        address: int,
        write: bytes,
        read_count: int = 0,
        *,
        wait_s: float = 0.0,
        deadline_s: float,
    ) -> bytes:
        """As :meth:`drivers.transport.i2c.I2cTransport.exchange`."""
        check_transfer(address, write, read_count, wait_s)
        turn = self._turn(deadline_s)
        turn.sent = f"0x{address:02x}: {write.hex(' ')}"
        with self._owned(turn):
            if self._bus is None:
                self._connect()
            reading = smbus2.i2c_msg.read(address, read_count)
            writing = smbus2.i2c_msg.write(address, list(write))
            if write and read_count and not wait_s:
                self._transfer(turn, address, writing, reading)
            else:
                if write:
                    self._transfer(turn, address, writing)
                turn.sleep(wait_s)
                if read_count:
                    self._transfer(turn, address, reading)
            return bytes(reading) if read_count else b""

    def _transfer(self, turn: Turn, address: int, *messages: Any) -> None:
        within_s = turn.remaining_s()
        try:
            if isinstance(self._bus, smbus2.SMBus) and self._bus.fd is not None:
                units = max(1, round(within_s / _TIMEOUT_UNIT_S))
                fcntl.ioctl(self._bus.fd, _SET_TIMEOUT, units)
            self._bus.i2c_rdwr(*messages)
        except OSError as error:
            raise self._failure(error, turn, address) from error
        finally:
            self._note_traffic()

    def _failure(self, error: OSError, turn: Turn, address: int) -> InstrumentError:
        if error.errno in _UNACKNOWLEDGED:
            return InstrumentRefused(
                nobody_acknowledges(address),
                port=self.port,
                sent=turn.sent,
                advice="Check that the sensor is plugged in and that its address is set so.",
            )
        if error.errno == errno.ETIMEDOUT:
            return InstrumentTimeout("the bus is stuck", port=self.port, sent=turn.sent)
        self._shut()
        return InstrumentLost(f"the bus failed: {error}", port=self.port, sent=turn.sent)

    def _prepare(self, turn: Turn) -> None:
        super()._prepare(turn)
        self._out_of_step = False

    def _connect(self) -> None:
        try:
            self._bus = self._open_bus(self.port)
        except OSError as error:
            raise InstrumentLost(
                f"can't open the bus: {error}",
                port=self.port,
                advice="Check that the bus is enabled and that this user may open it.",
            ) from error

    def _shut(self) -> None:
        bus, self._bus = self._bus, None
        if bus is not None:
            bus.close()
