"""An SC18IM700 on a pseudo-terminal with devices on its I2C bus."""

import threading
import time
from collections.abc import Mapping
from typing import Protocol

from drivers.loopback import LineFaults, PtyEnd
from drivers.sc18im700 import protocol


class I2cDevice(Protocol):
    """A device on the bus; called from the simulator's thread."""

    def write(self, data: bytes) -> bool:
        """Take bytes; False when they are not acknowledged."""
        ...

    def read(self, count: int) -> bytes | None:
        """Give bytes; None when the address is not acknowledged (no measurement is ready)."""
        ...


class BridgeSimulator:
    """The bridge on the pseudo-terminal ``path``.

    Args:
        devices: what answers at the 7 bit addresses; may be changed while it runs.
        faults: what goes wrong on the serial line.

    Attributes:
        bus_is_stuck: nothing on the bus moves any more; the bridge says so.
        is_silent: the bridge itself hears and says nothing.
    """

    def __init__(
        self, devices: Mapping[int, I2cDevice], *, faults: LineFaults | None = None
    ) -> None:
        self.devices = dict(devices)
        self.bus_is_stuck = False
        self.is_silent = False
        self._end = PtyEnd(self, name="sc18im700", faults=faults)
        self.faults = self._end.faults
        self._lock = threading.Lock()
        self._registers = dict(protocol.DEFAULTS)
        self._unread = bytearray()
        self._heard_at_s = 0.0

    @property
    def path(self) -> str:
        """The device path of the port; known once started."""
        return self._end.path

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def power_cycle(self) -> None:
        with self._lock:
            self._registers = dict(protocol.DEFAULTS)
            self._unread.clear()
        self._end.send(protocol.READY)

    def receive(self, data: bytes) -> None:
        if self.is_silent:
            return
        replies = []
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._heard_at_s > protocol.MESSAGE_TIMEOUT_S:
                self._unread.clear()
            self._heard_at_s = now_s
            self._unread += data
            while (length := _message_length(self._unread)) is not None:
                message = bytes(self._unread[:length])
                del self._unread[:length]
                replies.append(self._answer(message))
        for reply in replies:
            if reply:
                self._end.send(reply)

    def advance(self) -> float | None:
        return None

    def _answer(self, message: bytes) -> bytes:
        body = message[1:-1]
        match message[0]:
            case protocol.START:
                return self._transfer(message)
            case protocol.READ_REGISTER:
                return bytes(self._registers.get(register, 0xFF) for register in body)
            case protocol.WRITE_REGISTER:
                for register, value in zip(body[::2], body[1::2], strict=True):
                    if register != protocol.STATUS:
                        self._registers[register] = value
            case protocol.READ_PINS:
                return bytes((self._registers[protocol.PIN_STATE],))
            case protocol.WRITE_PINS:
                self._registers[protocol.PIN_STATE] = body[0]
            case _:
                pass
        return b""

    def _transfer(self, message: bytes) -> bytes:
        replies = b""
        status, k = protocol.OK, 0
        while message[k] == protocol.START and status == protocol.OK:
            address, count = message[k + 1] >> 1, message[k + 2]
            device = self.devices.get(address)
            if message[k + 1] & 1:
                k += 3
                given = device.read(count) if device is not None else None
                if given is None:
                    status = protocol.NO_ADDRESS_ACKNOWLEDGE
                else:
                    replies += given.ljust(count, b"\xff")[:count]
            else:
                k += 3 + count
                if device is None:
                    status = protocol.NO_ADDRESS_ACKNOWLEDGE
                elif not device.write(message[k - count : k]):
                    status = protocol.NO_DATA_ACKNOWLEDGE
        self._registers[protocol.STATUS] = protocol.BUS_TIMED_OUT if self.bus_is_stuck else status
        return b"" if self.bus_is_stuck else replies


def _message_length(data: bytearray) -> int | None:
    """Bytes of the first complete message, 1 for a byte that begins none; None until complete."""
    if not data:
        return None
    step = {protocol.READ_REGISTER: 1, protocol.WRITE_REGISTER: 2}.get(data[0])
    if step is not None:
        ends = (k + 1 for k in range(1, len(data), step) if data[k] == protocol.STOP)
        return next(ends, None)
    if data[0] == protocol.START:
        return _transfer_length(data)
    length = {protocol.READ_PINS: 2, protocol.WRITE_PINS: 3, protocol.POWER_DOWN: 3}.get(data[0], 1)
    return length if len(data) >= length else None


def _transfer_length(data: bytearray) -> int | None:
    k = 0
    while k + 2 < len(data):
        k += 3 if data[k + 1] & 1 else 3 + data[k + 2]
        if k >= len(data):
            return None
        if data[k] != protocol.START:
            # a stop; anything else ends the message as well
            return k + 1
    return None
