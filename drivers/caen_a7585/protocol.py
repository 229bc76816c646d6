"""CAEN / Nuclear Instruments A7585D, A7585DU and DT5485 over USB or UART: the facts.

115200 baud, 8N1, lines end with CR LF. ``AT+MACHINE`` turns the echo off. A register is written by
``AT+SET,<register>,<value>`` -> ``OK`` and read by ``AT+GET,<register>`` -> ``OK=<value>``. Answers
do not repeat the question.

Two public drivers disagree about register 6: it is the highest temperature, and register 5 the
highest current, in the vendor's own library; a driver that writes its current limit to 6 never
limits the current.

Unverified, and kept as data here:

* what an error answers: anything but ``OK`` is one and is quoted;
* whether switches read as ``1`` or ``true``: both are taken;
* the unit of register 232: mA, as that of register 5;
* the unit of register 28: mV per degree, from the vendor's example of -35 for SiPMs that need
  35 mV more per degree;
* what the module does at its limits: see the simulator;
* what follows an emergency stop.
"""

import math
import re
from dataclasses import dataclass
from enum import IntEnum

from drivers.errors import BrokenReply, InstrumentRefused

BAUD = 115200
TERMINATOR = b"\r\n"
MACHINE_MODE = "AT+MACHINE"
MAKER_QUERY = "AT+CGMI"
MODEL_QUERY = "AT+CGMM"
OK = "OK"

LOWEST_V = 20.0
HIGHEST_V = 85.0
HIGHEST_MA = 10.0
PRODUCT_CODES = frozenset({1, 50, 51, 52, 53, 54, 55, 56})
REFERENCE_TEMPERATURE_C = 25.0


class Register(IntEnum):
    """Registers that can be written."""

    HV_ON = 0
    MODE = 1
    TARGET_V = 2
    RAMP_V_PER_S = 3
    MAX_V = 4
    MAX_MA = 5
    MAX_C = 6
    SENSOR_M2 = 7
    SENSOR_M = 8
    SENSOR_Q = 9
    FILTER_VOUT = 10
    FILTER_IOUT = 11
    FILTER_VREF = 12
    FILTER_TREF = 13
    TEMPERATURE_COEFFICIENT = 28
    TABLE_ON = 29
    PI_ON = 30
    EMERGENCY_STOP = 31
    ZERO_CURRENT = 33
    TABLE_ADDRESS = 36
    TABLE_C = 37
    TABLE_V = 38
    TABLE_LENGTH = 39
    I2C_ADDRESS = 40
    CURRENT_RANGE = 81
    SAVE = 255


class Monitor(IntEnum):
    """Registers that can only be read."""

    UNDERVOLTAGE = 227
    NTC_C = 228
    DIGITAL_IO = 229
    VIN = 230
    VOUT = 231
    IOUT_MA = 232
    VREF = 233
    TREF_C = 234
    TARGET_V = 235
    RAMP_AT_V = 236
    CORRECTION_V = 237
    PI_OUTPUT = 238
    COMPLIANCE_V = 249
    COMPLIANCE_I = 250
    PRODUCT_CODE = 251
    FIRMWARE = 252
    HARDWARE = 253
    SERIAL = 254


SWITCHES = frozenset(
    {
        Register.HV_ON,
        Register.TABLE_ON,
        Register.PI_ON,
        Register.EMERGENCY_STOP,
        Register.ZERO_CURRENT,
        Register.SAVE,
        Monitor.UNDERVOLTAGE,
        Monitor.COMPLIANCE_V,
        Monitor.COMPLIANCE_I,
    }
)
WHOLE = frozenset(
    {
        Register.MODE,
        Register.TABLE_ADDRESS,
        Register.TABLE_LENGTH,
        Register.I2C_ADDRESS,
        Register.CURRENT_RANGE,
    }
)


class Mode(IntEnum):
    """What the output follows."""

    DIGITAL = 0
    ANALOG = 1
    TEMPERATURE = 2


@dataclass(frozen=True)
class TemperatureCompensation:
    """The output follows the temperature: ``target - coefficient * (T - 25 C)``.

    Attributes:
        coefficient_mv_per_c: negative for SiPMs, whose breakdown rises with the temperature.
        sensor: ``(m2, m, q)`` of the thermometer, ``T = m2 U^2 + m U + q`` with U in V; None
            leaves what the module has.
    """

    coefficient_mv_per_c: float
    sensor: tuple[float, float, float] | None = None

    def output_v(self, target_v: float, temperature_c: float) -> float:
        """The voltage that a target means at a temperature."""
        return target_v - self.coefficient_mv_per_c * 1e-3 * (
            temperature_c - REFERENCE_TEMPERATURE_C
        )


SENSOR_TMP100 = (0.0, 50.0, 0.0)
SENSOR_LM94021 = (0.0, -73.53, 193.9)


def write_command(register: Register, value: float) -> str:
    if register in SWITCHES or register in WHOLE:
        return f"AT+SET,{int(register)},{int(value)}"
    return f"AT+SET,{int(register)},{value:.6f}"


def read_command(register: Register | Monitor) -> str:
    return f"AT+GET,{int(register)}"


_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_FLAGS = {"true": 1.0, "false": 0.0}


def parse_value(reply: str, *, port: str, sent: str) -> float:
    """The number in ``OK=<value>``; ``true`` is 1 and ``false`` 0.

    Raises:
        InstrumentRefused: the module answers something with the word error.
        BrokenReply: anything else.
    """
    name, _, words = reply.partition("=")
    value = math.nan
    if name == OK:
        value = _FLAGS.get(words.lower(), math.nan)
        if _NUMBER.fullmatch(words):
            value = float(words)
    if not math.isfinite(value):
        raise refusal(reply, port=port, sent=sent)
    return value


def parse_flag(reply: str, *, port: str, sent: str) -> bool:
    """A switch.

    Raises:
        InstrumentRefused, BrokenReply: as :func:`parse_value`, also for other numbers than 0, 1.
    """
    value = parse_value(reply, port=port, sent=sent)
    if value not in (0.0, 1.0):
        raise BrokenReply(f"{reply!r} is no switch", port=port, sent=sent)
    return value == 1.0


def parse_whole(reply: str, *, port: str, sent: str) -> int:
    """A whole number that is not negative, such as a serial number.

    Raises:
        InstrumentRefused, BrokenReply: as :func:`parse_value`, also for fractions.
    """
    value = parse_value(reply, port=port, sent=sent)
    if not value.is_integer() or value < 0:
        raise BrokenReply(f"{reply!r} is no whole number", port=port, sent=sent)
    return int(value)


def check_accepted(reply: str, *, port: str, sent: str) -> None:
    """Raise unless the reply is ``OK``, as :func:`parse_value` does."""
    if reply != OK:
        raise refusal(reply, port=port, sent=sent)


def refusal(reply: str, *, port: str, sent: str) -> BrokenReply | InstrumentRefused:
    """What an unexpected answer means."""
    if reply.upper().startswith("ERR"):
        return InstrumentRefused(
            f"the module refuses: {reply!r}",
            port=port,
            sent=sent,
            advice="Check the value against the manual of the module; nothing was changed.",
        )
    return BrokenReply(f"{reply!r} is not the answer", port=port, sent=sent)
