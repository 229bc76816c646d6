"""An I2C bus: bytes to and from one address in one transaction."""

from typing import Protocol

from drivers.transport.i2c_bridge import BridgeI2cTransport
from drivers.transport.i2c_linux import LinuxI2cTransport


class I2cTransport(Protocol):
    """A bus on which one transaction at a time writes bytes, waits, and reads bytes.

    Implementations: ``LinuxI2cTransport`` (``/dev/i2c-1``) and ``BridgeI2cTransport`` (a serial
    port with an SC18IM700 behind it). All devices of a bus share one transport.

    Attributes:
        instrument: what the driver calls the instrument behind the bus; goes into every error.
    """

    instrument: str

    @property
    def port(self) -> str: ...

    @property
    def is_closed(self) -> bool: ...

    def exchange(
        self,
        address: int,
        write: bytes,
        read_count: int = 0,
        *,
        wait_s: float = 0.0,
        deadline_s: float,
    ) -> bytes:
        """Write bytes to an address, wait, and read bytes from it, while nobody else can.

        Args:
            address: 7 bits, 0x08 to 0x77.
            write: what is written first; empty to read only.
            read_count: number of bytes to read, 0 to write only.
            wait_s: real seconds between writing and reading (a conversion time).
            deadline_s: real seconds for everything, waiting for the bus included.

        Returns:
            ``read_count`` bytes, unchecked: their checksum is the caller's to look at.

        Raises:
            ValueError: an address, count or time out of range; nothing was sent.
            InstrumentRefused: nobody acknowledges at the address (unplugged, or still busy).
            InstrumentTimeout: no answer within ``deadline_s``.
            InstrumentLost: the bus or its bridge is gone.
            InstrumentInterrupted: another thread called :meth:`interrupt`.
            BrokenReply: the bridge answers something else.
        """
        ...

    def interrupt(self) -> int:
        """Break off the transactions of other threads at once; returns how many there were."""
        ...

    def close(self) -> None: ...


def open_i2c(address: str, *, pause_s: float = 0.0) -> I2cTransport:
    """The bus at ``/dev/i2c-N``, or behind the bridge at any other serial port.

    Raises:
        InstrumentLost: it does not exist or can't be opened.
        WrongInstrument: no bridge answers at the serial port.
    """
    if address.startswith("/dev/i2c-"):
        return LinuxI2cTransport(address, pause_s=pause_s)
    return BridgeI2cTransport(address, pause_s=pause_s)
