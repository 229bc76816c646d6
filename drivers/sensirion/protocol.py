"""Sensirion SHT3x and SHT85: commands, words with their checksums, and what they mean.

Sources: Sensirion, "Datasheet SHT3x-DIS" and "Datasheet SHT85" (commands, CRC, conversion);
"Electronic identification code SHT3x" (serial number). The serial number is read by 0x3682, or by
0x3780 where the sensor stretches the clock; the SHT85 has only the first (as several public
drivers have it; unverified on a sensor here).
"""

from dataclasses import dataclass

MAKER = "Sensirion"
ADDRESSES = (0x44, 0x45)
"""0x44 with the pin ADDR low, and the only one of the SHT85."""

MEASURE = 0x2400
"""Single shot, high repeatability, no clock stretching."""
MEASURE_S = 0.0155
READ_STATUS = 0xF32D
CLEAR_STATUS = 0x3041
SOFT_RESET = 0x30A2
RESET_S = 0.0015
HEATER_ON = 0x306D
HEATER_OFF = 0x3066
READ_SERIAL = 0x3682
READ_SERIAL_STRETCHING = 0x3780
COMMAND_S = 0.001
"""Least time between a command and the next one."""

STATUS_HEATER = 1 << 13
STATUS_RESET = 1 << 4
STATUS_COMMAND_FAILED = 1 << 1
STATUS_WRITE_CRC_FAILED = 1 << 0

CRC_POLYNOMIAL = 0x31
CRC_START = 0xFF

TEMPERATURE_ERROR_C = 0.3
HUMIDITY_ERROR_PERCENT = 3.0
"""Largest errors in the middle of the ranges; an SHT85 does better."""


class ProtocolError(ValueError):
    """Bytes whose checksum is wrong, or too few of them."""


@dataclass(frozen=True)
class Status:
    """The status register."""

    bits: int

    @property
    def heater_on(self) -> bool:
        return bool(self.bits & STATUS_HEATER)

    @property
    def was_reset(self) -> bool:
        """Whether the sensor lost its power or was reset since this was last cleared."""
        return bool(self.bits & STATUS_RESET)


def crc(data: bytes) -> int:
    """CRC-8 with polynomial 0x31 and start 0xFF; of BE EF it is 0x92."""
    value = CRC_START
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ CRC_POLYNOMIAL if value & 0x80 else value << 1) & 0xFF
    return value


def command(code: int) -> bytes:
    return code.to_bytes(2, "big")


def with_crc(*words: int) -> bytes:
    """Words as the sensor sends them, each with its checksum."""
    return b"".join((data := word.to_bytes(2, "big")) + bytes((crc(data),)) for word in words)


def parse_words(data: bytes, count: int) -> tuple[int, ...]:
    """``count`` words; raises ProtocolError when one of their checksums is wrong."""
    if len(data) != 3 * count:
        raise ProtocolError(f"expected {3 * count} bytes, got {len(data)}")
    for k in range(0, len(data), 3):
        if crc(data[k : k + 2]) != data[k + 2]:
            raise ProtocolError(f"the checksum of {data[k : k + 3].hex(' ')} is wrong")
    return tuple(int.from_bytes(data[k : k + 2], "big") for k in range(0, len(data), 3))


def temperature_c(word: int) -> float:
    """T = -45 + 175 S / 65535."""
    return -45.0 + 175.0 * word / 0xFFFF


def humidity_percent(word: int) -> float:
    """RH = 100 S / 65535."""
    return 100.0 * word / 0xFFFF


def temperature_word(value_c: float) -> int:
    return min(max(round((value_c + 45.0) / 175.0 * 0xFFFF), 0), 0xFFFF)


def humidity_word(value_percent: float) -> int:
    return min(max(round(value_percent / 100.0 * 0xFFFF), 0), 0xFFFF)
