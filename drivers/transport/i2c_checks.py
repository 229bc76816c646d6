"""What every I2C transfer must be."""

import math

from drivers.sc18im700 import protocol


def check_transfer(address: int, write: bytes, read_count: int, wait_s: float) -> None:
    """Raises :class:`ValueError` for what no bus can do."""
    if not protocol.LOWEST_ADDRESS <= address <= protocol.HIGHEST_ADDRESS:
        raise ValueError(f"an I2C address is 0x08 to 0x77, not {address:#x}")
    if not (0 <= read_count <= protocol.MAX_BYTES and len(write) <= protocol.MAX_BYTES):
        raise ValueError(
            f"at most {protocol.MAX_BYTES} bytes at once, not {len(write)} and {read_count}"
        )
    if not (write or read_count):
        raise ValueError("nothing to write and nothing to read")
    if not (math.isfinite(wait_s) and wait_s >= 0):
        raise ValueError(f"a wait must be finite and not negative, got {wait_s}")


def nobody_acknowledges(address: int) -> str:
    return f"nobody acknowledges at the address 0x{address:02x}"
