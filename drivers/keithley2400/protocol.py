"""Keithley 2400 and 2410 SourceMeters, and the 2450 set to their language: the facts.

Source: 2400 Series SourceMeter User's Manual, 2400S-900-01 Rev. K, sections 3 (protection), 10
(sweeps), 13 (output enable), 15 (status), 18 (SCPI) and appendix B (errors).

Unverified, because seen in one place only or nowhere in print:

* whether ``:ABOR`` is heard over RS-232 while a sweep runs (over GPIB it is);
* how the 2450 answers ``:OUTP:ENAB?`` in this language; it is asked only where it is needed;
* the form of the numbers in answers to queries (any SCPI number is taken).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.errors import BrokenReply
from drivers.keithley.protocol import (
    QueuedError,
    header_pattern,
    parse_error,
    parse_flag,
    parse_identity,
    parse_number,
)

__all__ = [
    "QueuedError",
    "header_pattern",
    "parse_error",
    "parse_flag",
    "parse_identity",
    "parse_number",
]

MAKER = "KEITHLEY INSTRUMENTS"
BAUD = 9600

IDENTIFY = "*IDN?"
LANGUAGE = "*LANG?"
NEXT_ERROR = ":SYST:ERR?"
REMOTE = ":SYST:REM"

ELEMENTS = ":FORM:ELEM"
ALL_ELEMENTS = "VOLT,CURR,RES,TIME,STAT"
SOURCE_FUNCTION = ":SOUR:FUNC"
SOURCE_MODE = ":SOUR:VOLT:MODE"
VOLTAGE = ":SOUR:VOLT"
VOLTAGE_RANGE = ":SOUR:VOLT:RANG"
OVERVOLTAGE = ":SOUR:VOLT:PROT"
DELAY = ":SOUR:DEL"
AUTO_OFF = ":SOUR:CLE:AUTO"
CONCURRENT = ":SENS:FUNC:CONC"
SENSE_FUNCTION = ":SENS:FUNC"
VOLTAGE_AND_CURRENT = '"VOLT","CURR"'
COMPLIANCE = ":SENS:CURR:PROT"
COMPLIANCE_TRIPPED = ":SENS:CURR:PROT:TRIP?"
CURRENT_AUTORANGE = ":SENS:CURR:RANG:AUTO"
INTEGRATION = ":SENS:CURR:NPLC"
TERMINALS = ":ROUT:TERM"
OUTPUT = ":OUTP"
OFF_MODE = ":OUTP:SMOD"
HOLDS_ZERO = "ZERO"
"""Off mode that keeps 0 V and the compliance; ``NORM`` leaves 0.5 % of the current range."""
OUTPUT_ENABLE = ":OUTP:ENAB"
OUTPUT_MAY_GO_ON = ":OUTP:ENAB:TRIP?"
"""Answers 1 when the output may be switched on, 0 when the enabled line keeps it off."""
MEASURE = ":READ?"

SWEEP_START = ":SOUR:VOLT:START"
SWEEP_STOP = ":SOUR:VOLT:STOP"
SWEEP_STEP = ":SOUR:VOLT:STEP"
SWEEP_SPACING = ":SOUR:SWE:SPAC"
SWEEP_RANGING = ":SOUR:SWE:RANG"
SWEEP_ABORTS = ":SOUR:SWE:CAB"
TRIGGER_COUNT = ":TRIG:COUN"
INITIATE = ":INIT"
ABORT = ":ABOR"
COMPLETE = "*OPC?"
FETCH = ":FETC?"

VOLTAGE_SOURCE = "VOLT"
POWER_LINE_HZ = 50.0
MIN_COMPLIANCE_A = 1e-9
INTERLOCK_FREE_MAX_V = 37.0
"""What a 2450 gives with its interlock open; the older models switch off altogether."""
MAX_SWEEP_POINTS = 2500
NOT_MEASURED = 9.91e37
OVERFLOW = 9.9e37

STATUS_OVERFLOW = 1 << 0
STATUS_COMPLIANCE = 1 << 3
STATUS_OVERVOLTAGE = 1 << 4
STATUS_VOLTAGE_MEASURED = 1 << 11
STATUS_CURRENT_MEASURED = 1 << 12
STATUS_VOLTAGE_SOURCED = 1 << 14
STATUS_RANGE_COMPLIANCE = 1 << 16
STATUS_BITS = 24

ERRORS = {
    0: "No error",
    -104: "Data type error",
    -109: "Missing parameter",
    -113: "Undefined header",
    -221: "Settings conflict",
    -222: "Parameter data out of range",
    -224: "Illegal parameter value",
    -350: "Queue overflow",
    -420: "Query UNTERMINATED",
    802: "OUTPUT blocked by output enable",
    803: "Not permitted with OUTPUT off",
}
ERROR_QUEUE_LENGTH = 10


@dataclass(frozen=True)
class Model:
    """What one model can source.

    Attributes:
        ranges_v: source ranges; each overreaches by 5 % (10 % in the highest of the 2410).
        overvoltage_steps_v: settings of the voltage protection; a value between two of them
            selects the lower one.
        max_low_v: up to here the output gives ``max_low_a``, above it ``max_high_a``.
    """

    name: str
    max_v: float
    ranges_v: tuple[float, ...]
    overvoltage_steps_v: tuple[int, ...]
    max_low_v: float
    max_low_a: float
    max_high_a: float

    def overvoltage_step(self, max_voltage_v: float) -> int:
        """The lowest protection at or above ``max_voltage_v``, V.

        Raises:
            ValueError: no protection is that high.
        """
        for step_v in self.overvoltage_steps_v:
            if step_v >= max_voltage_v:
                return step_v
        raise ValueError(
            f"the highest over-voltage protection of a {self.name} is "
            f"{self.overvoltage_steps_v[-1]} V, not enough for {max_voltage_v:g} V"
        )

    def source_range(self, max_voltage_v: float) -> float:
        """The lowest source range of 20 V or more that reaches ``max_voltage_v``."""
        return next(r for r in self.ranges_v if r >= 20 and max_voltage_v <= 1.05 * r)

    def max_current_a(self, max_voltage_v: float) -> float:
        return self.max_low_a if max_voltage_v <= self.max_low_v else self.max_high_a


_STEPS_2400 = (20, 40, 60, 80, 100, 120, 160)
MODELS = {
    "MODEL 2400": Model("2400", 210.0, (0.2, 2.0, 20.0, 200.0), _STEPS_2400, 21.0, 1.05, 0.105),
    "MODEL 2410": Model(
        "2410",
        1100.0,
        (0.2, 2.0, 20.0, 1000.0),
        (20, 40, 100, 200, 300, 400, 500),
        21.0,
        1.05,
        0.021,
    ),
    "MODEL 2450": Model("2450", 210.0, (0.2, 2.0, 20.0, 200.0), _STEPS_2400, 21.0, 1.05, 0.105),
}
EMULATING_MODEL = "MODEL 2450"
EMULATED_LANGUAGE = "SCPI2400"


@dataclass(frozen=True)
class Measurement:
    """One reading: measured voltage and current, and the 24-bit status word."""

    voltage_v: float
    current_a: float
    status: int

    @property
    def in_compliance(self) -> bool:
        return bool(self.status & (STATUS_COMPLIANCE | STATUS_RANGE_COMPLIANCE))

    @property
    def measures_both(self) -> bool:
        """Whether the voltage was measured; otherwise it is only what was set."""
        both = STATUS_VOLTAGE_MEASURED | STATUS_CURRENT_MEASURED
        return self.status & both == both


def sweep_commands(points_v: Sequence[float], delay_s: float) -> tuple[str, ...]:
    """What lets the instrument walk through points at equal distances by itself."""
    first_v, last_v = points_v[0], points_v[-1]
    step_v = (last_v - first_v) / max(1, len(points_v) - 1)
    return (
        f"{SWEEP_START} {first_v:.6E}",
        f"{SWEEP_STOP} {last_v:.6E}",
        f"{SWEEP_STEP} {step_v:.6E}",
        f"{SWEEP_SPACING} LIN",
        f"{SWEEP_RANGING} FIX",
        f"{SWEEP_ABORTS} LATE",
        f"{DELAY} {delay_s:.6E}",
        f"{TRIGGER_COUNT} {len(points_v)}",
        f"{SOURCE_MODE} SWE",
    )


def parse_measurements(reply: str, *, port: str, sent: str) -> list[Measurement]:
    """The readings in a reply to ``:READ?`` or ``:FETC?``, five numbers each.

    Raises:
        BrokenReply: not whole readings, a number that is none, an overflow.
    """
    fields = reply.split(",")
    if len(fields) % 5:
        raise BrokenReply(f"{reply[:80]!r} is not made of 5 fields", port=port, sent=sent)
    return [
        _measurement(fields[first : first + 5], port=port, sent=sent)
        for first in range(0, len(fields), 5)
    ]


def _measurement(fields: list[str], *, port: str, sent: str) -> Measurement:
    voltage, current, _, time, word = fields
    status = parse_number(word, port=port, sent=sent)
    if not (status.is_integer() and 0 <= status < 1 << STATUS_BITS):
        raise BrokenReply(f"{word!r} is no status word", port=port, sent=sent)
    if int(status) & STATUS_OVERFLOW:
        raise BrokenReply("the measurement went over its range", port=port, sent=sent)
    parse_number(time, port=port, sent=sent)
    return Measurement(
        parse_number(voltage, port=port, sent=sent),
        parse_number(current, port=port, sent=sent),
        int(status),
    )


def format_number(value: float) -> str:
    """A number as the instrument writes it, such as ``+1.000000E-04``."""
    return f"{value + 0.0:+.6E}"


def format_measurement(measurement: Measurement, at_s: float) -> str:
    status = format_number(measurement.status)
    return ",".join(
        [
            format_number(measurement.voltage_v),
            format_number(measurement.current_a),
            format_number(NOT_MEASURED),
            format_number(math.fmod(at_s, 1e6)),
            status,
        ]
    )


def format_error(code: int) -> str:
    return f'{code},"{ERRORS[code]}"'
