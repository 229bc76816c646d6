"""An SHT31 or SHT85 as a device on the bus of ``drivers.sc18im700.BridgeSimulator``."""

import threading
from collections.abc import Callable

from drivers.clock import Clock
from drivers.sensirion import protocol


class SensirionSimulator:
    """A sensor that measures what a function says, in the time of ``clock``.

    Args:
        climate: temperature (C) and relative humidity (%) at the sensor.
        clock: the time in which conversions take 15.5 ms.
        serial: its serial number.

    Attributes:
        wrong_checksums: so many of the next answers have a wrong checksum.
        unplugged: nothing acknowledges.
    """

    def __init__(
        self,
        climate: Callable[[], tuple[float, float]],
        clock: Clock,
        *,
        serial: int = 0x0123ABCD,
    ) -> None:
        self.wrong_checksums = 0
        self.unplugged = False
        self._climate = climate
        self._clock = clock
        self._serial = serial
        self._status = protocol.STATUS_RESET
        self._answer: bytes | None = None
        self._ready_at_s = 0.0
        self._lock = threading.Lock()

    @property
    def heater_on(self) -> bool:
        return bool(self._status & protocol.STATUS_HEATER)

    def replace(self, serial: int) -> None:
        """Put another sensor in its place."""
        with self._lock:
            self._serial = serial
            self._status = protocol.STATUS_RESET
            self._answer = None

    def write(self, data: bytes) -> bool:
        with self._lock:
            if self.unplugged or len(data) != 2:
                return False
            self._answer = None
            code = int.from_bytes(data, "big")
            match code:
                case protocol.MEASURE:
                    temperature_c, humidity_percent = self._climate()
                    # the heater warms the sensor by a few kelvin and dries it
                    warmer_c = 3.0 if self.heater_on else 0.0
                    self._answer = protocol.with_crc(
                        protocol.temperature_word(temperature_c + warmer_c),
                        protocol.humidity_word(humidity_percent * (1 - 0.05 * warmer_c)),
                    )
                    self._ready_at_s = self._clock.now_s() + protocol.MEASURE_S * 0.9
                case protocol.READ_STATUS:
                    self._give(self._status)
                case protocol.READ_SERIAL | protocol.READ_SERIAL_STRETCHING:
                    self._give(self._serial >> 16, self._serial & 0xFFFF)
                case protocol.HEATER_ON:
                    self._status |= protocol.STATUS_HEATER
                case protocol.HEATER_OFF:
                    self._status &= ~protocol.STATUS_HEATER
                case protocol.CLEAR_STATUS:
                    self._status &= protocol.STATUS_HEATER
                case protocol.SOFT_RESET:
                    self._status = protocol.STATUS_RESET
                case _:
                    return False
            return True

    def read(self, count: int) -> bytes | None:
        with self._lock:
            answer, self._answer = self._answer, None
            if self.unplugged or answer is None:
                return None
            if self._clock.now_s() < self._ready_at_s:
                self._answer = answer
                return None
            if self.wrong_checksums > 0:
                self.wrong_checksums -= 1
                answer = answer[:-1] + bytes((answer[-1] ^ 0x10,))
            return answer[:count]

    def _give(self, *words: int) -> None:
        self._answer = protocol.with_crc(*words)
        self._ready_at_s = 0.0
