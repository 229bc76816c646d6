"""Keithley 6517 electrometers (6517, 6517A, 6517B): the facts of their voltage source.

Source: Model 6517B Reference Manual, 6517B-901-01, section 14 (SCPI commands), and public drivers.

Unverified, because seen in one place only or nowhere in print:

* that ``:FETC?`` right after ``:READ?`` in one line sends the same reading again (it does while
  continuous initiation is off, which :data:`CONTINUOUS` sees to);
* the letters behind a reading (``NADC`` and such), which are taken when they come;
* the codes of the error queue beyond the standard ones;
* whether the voltage limit may be queried by the words that set it;
* that a pause of :data:`PAUSE_S` is enough between commands over RS-232.
"""

import re

from drivers.errors import BrokenReply
from drivers.keithley.protocol import parse_number

MAKER = "KEITHLEY INSTRUMENTS"
MODELS = ("MODEL 6517", "MODEL 6517A", "MODEL 6517B")
BAUD = 9600
PAUSE_S = 0.02

IDENTIFY = "*IDN?"
ELEMENTS = ":FORM:ELEM"
READING_ONLY = "READ"
CONTINUOUS = ":INIT:CONT"
SENSE_FUNCTION = ":SENS:FUNC"
CURRENT = "'CURR'"
CURRENT_RANGE = ":SENS:CURR:RANG"
CURRENT_AUTORANGE = ":SENS:CURR:RANG:AUTO"
INTEGRATION = ":SENS:CURR:NPLC"
ZERO_CHECK = ":SYST:ZCH"
ZERO_CORRECT = ":SYST:ZCOR"
VOLTAGE = ":SOUR:VOLT"
VOLTAGE_RANGE = ":SOUR:VOLT:RANG"
VOLTAGE_LIMIT = ":SOUR:VOLT:LIM"
VOLTAGE_LIMIT_ON = ":SOUR:VOLT:LIM:STAT"
METER_CONNECT = ":SOUR:VOLT:MCON"
"""Connects the low side of the source with that of the ammeter."""
RESISTOR = ":SOUR:CURR:RLIM:STAT"
"""Puts 1 Mohm in series with the source."""
IN_COMPLIANCE = ":SOUR:CURR:LIM:STAT?"
OUTPUT = ":OUTP"
MEASURE = ":READ?"
FETCH = ":FETC?"

RESISTOR_OHM = 1e6
RANGES = ((100.0, 10e-3), (1000.0, 1e-3))
"""Source ranges: highest voltage (V), and the current (A) that the source gives there at most."""
MAX_V = 1000.0
MAX_CURRENT_A = 21e-3
"""What the ammeter measures at most."""
ZERO_RANGE_A = 2e-9
POWER_LINE_HZ = 50.0
OVERFLOW = 9.9e37

ERRORS = {
    0: "No error",
    -104: "Data type error",
    -109: "Missing parameter",
    -113: "Undefined header",
    -221: "Settings conflict",
    -222: "Parameter data out of range",
    -224: "Illegal parameter value",
    -350: "Queue overflow",
}
ERROR_QUEUE_LENGTH = 10

NORMAL = "N"
STATES = {
    "N": "normal",
    "Z": "zero check on",
    "O": "overflow",
    "U": "underflow",
    "R": "reference",
    "L": "out of limit",
}


def source_range(max_voltage_v: float) -> tuple[float, float]:
    """The lower source range that reaches ``max_voltage_v``: its voltage and its current limit."""
    return next(found for found in RANGES if max_voltage_v <= found[0])


_READING = re.compile(r"([+-]?\d+(?:\.\d+)?(?:E[+-]?\d+)?)([A-Z]?)(?:[A-Z]{3})?")


def parse_current(reply: str, *, port: str, sent: str) -> float:
    """A current in A, with or without the letters of state and unit behind it.

    Raises:
        BrokenReply: no number, an overflow, or a reading that is not a normal one.
    """
    match = _READING.fullmatch(reply)
    if match is None:
        raise BrokenReply(f"{reply[:80]!r} is no reading", port=port, sent=sent)
    state = match[2] or NORMAL
    if state != NORMAL:
        raise BrokenReply(
            f"the reading is not valid: {STATES.get(state, state)}", port=port, sent=sent
        )
    return parse_number(match[1], port=port, sent=sent)


def format_number(value: float) -> str:
    return f"{value + 0.0:+.6E}"


def format_error(code: int) -> str:
    return f'{code:+d},"{ERRORS[code]}"' if code else '0,"No error"'
