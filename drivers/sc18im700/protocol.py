"""Bytes of the SC18IM700 family: ASCII command letters, register numbers, status values.

A message is a letter, its bytes, and ``P``::

    S <address and R/W bit> <count> [data] P      write data, or read count bytes
    R <register> [<register> ...] P               answers one byte for each
    W <register> <value> [<register> <value>] P

Unverified: that a read which nobody acknowledges sends no bytes at all, and that the chip's own
address (a register that it does not need as a master) reads back as written.
"""

START = 0x53
STOP = 0x50
READ_REGISTER = 0x52
WRITE_REGISTER = 0x57
READ_PINS = 0x49
WRITE_PINS = 0x4F
POWER_DOWN = 0x5A

BAUD_LOW, BAUD_HIGH = 0x00, 0x01
PORT_1, PORT_2 = 0x02, 0x03
PIN_STATE = 0x04
OWN_ADDRESS = 0x06
CLOCK_LOW, CLOCK_HIGH = 0x07, 0x08
BUS_TIMEOUT = 0x09
STATUS = 0x0A

DEFAULTS = {
    BAUD_LOW: 0xF0,
    BAUD_HIGH: 0x02,
    PORT_1: 0x55,
    PORT_2: 0x55,
    PIN_STATE: 0x0F,
    OWN_ADDRESS: 0x26,
    CLOCK_LOW: 0x13,
    CLOCK_HIGH: 0x13,
    BUS_TIMEOUT: 0x66,
    STATUS: 0xF0,
}

OK = 0xF0
NO_ADDRESS_ACKNOWLEDGE = 0xF1
NO_DATA_ACKNOWLEDGE = 0xF2
BUS_TIMED_OUT = 0xF8
FAILURES = {
    NO_ADDRESS_ACKNOWLEDGE: "nobody acknowledges at this address",
    NO_DATA_ACKNOWLEDGE: "the device does not acknowledge what it was sent",
    BUS_TIMED_OUT: "the bus is stuck",
}

READY = b"OK"
"""Sent once after power-up."""

BAUD = 9600
MESSAGE_TIMEOUT_S = 0.655
"""A message that is not complete after this is dropped by the chip."""

MAX_BYTES = 255
LOWEST_ADDRESS, HIGHEST_ADDRESS = 0x08, 0x77

MARKS = (*range(0x02 << 1, 0x08 << 1, 2), *range(0x78 << 1, 0x80 << 1, 2))
"""Values of the own address that no device on a bus may have: they mark whose answer it is."""


def write_message(address: int, data: bytes) -> bytes:
    return bytes((START, address << 1, len(data))) + data + bytes((STOP,))


def read_message(address: int, count: int) -> bytes:
    return bytes((START, address << 1 | 1, count, STOP))


def set_register_message(register: int, value: int) -> bytes:
    return bytes((WRITE_REGISTER, register, value, STOP))


def read_registers_message(*registers: int) -> bytes:
    return bytes((READ_REGISTER, *registers, STOP))
