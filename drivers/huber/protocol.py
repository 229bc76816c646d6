"""Huber circulators: the LAI command set of their serial ports.

A frame is ``[``, the sender (``M`` master, ``S`` slave), the address in two hexadecimal digits, the
command letter, the length in two digits, the data, the checksum in two digits, and CR. The length
counts everything before the checksum; the checksum is the low byte of the sum of all bytes before
it. Temperatures are signed 16-bit numbers of 0.01 K in four digits. ``*`` in a question means
"leave this as it is".

Sources: Huber, "Data communication" (LAI); frame, checksum and number format are in several public
programs as well. All in capitals. **Unverified**, as no machine was at hand: the letters of the
operating modes beyond O and I, the alarm digit, the layout of the general answer, what a sensor
that is not there reads, and that an order beyond the limits is answered with the set-point that
stays.
"""

import re
from dataclasses import dataclass

MAKER = "Huber"
BAUD = 9600
TERMINATOR = b"\r"
ADDRESS = 1

VERIFY = "V"
GENERAL = "G"

OFF, INTERNAL, EXTERNAL, CIRCULATING = "O", "I", "E", "C"
MODES = {
    OFF: "off",
    INTERNAL: "regulating the bath",
    EXTERNAL: "regulating the external sensor",
    CIRCULATING: "circulating only",
}
NO_ALARM, ALARM = "0", "1"
LEAVE_CHARACTER = "*"
LEAVE_NUMBER = "****"

NO_SENSOR_C = -151.0
LOWEST_C, HIGHEST_C = -150.0, 327.67
STEP_C = 0.01


class ProtocolError(ValueError):
    """A frame that can't be: garbled, cut short, or of another question."""


@dataclass(frozen=True)
class State:
    """The answer to the general command.

    Attributes:
        mode: one of :data:`MODES`.
        has_alarm: whether an alarm stands.
        setpoint_c, bath_c: set-point and temperature of the bath.
        external_c: temperature of the external sensor; None without one.
    """

    mode: str
    has_alarm: bool
    setpoint_c: float
    bath_c: float
    external_c: float | None

    @property
    def is_regulating(self) -> bool:
        return self.mode in (INTERNAL, EXTERNAL)

    def __str__(self) -> str:
        alarm = " with an alarm" if self.has_alarm else ""
        return f"{MODES[self.mode]}{alarm}, set-point {self.setpoint_c:g} C, bath {self.bath_c:g} C"


def checksum(text: str) -> str:
    """Low byte of the sum of all bytes, two hexadecimal digits."""
    return f"{sum(text.encode('ascii')) & 0xFF:02X}"


def frame(sender: str, command: str, data: str = "", address: int = ADDRESS) -> str:
    """A frame without its CR."""
    text = f"[{sender}{address:02X}{command}{7 + len(data):02X}{data}"
    return text + checksum(text)


_FRAME = re.compile(r"\[([MS])([0-9A-F]{2})([A-Z])([0-9A-F]{2})([ -~]*)([0-9A-F]{2})")


def parse_frame(text: str, sender: str, command: str, address: int = ADDRESS) -> str:
    """The data of a frame; raises ProtocolError for anything else than the frame expected."""
    match = _FRAME.fullmatch(text)
    if match is None:
        raise ProtocolError(f"{text[:80]!r} is no frame")
    if checksum(text[:-2]) != match[6]:
        raise ProtocolError(f"{text[:80]!r} has a wrong checksum")
    if int(match[4], 16) != len(text) - 2:
        raise ProtocolError(f"{text[:80]!r} has another length than it says")
    if (match[1], int(match[2], 16), match[3]) != (sender, address, command):
        raise ProtocolError(f"{text[:80]!r} answers another question")
    return match[5]


def format_temperature(temperature_c: float) -> str:
    """Four hexadecimal digits of 0.01 K, two's complement.

    Raises ProtocolError for what has no room in them.
    """
    if not LOWEST_C <= temperature_c <= HIGHEST_C:
        raise ProtocolError(f"{temperature_c} C is outside {LOWEST_C:g} to {HIGHEST_C:g} C")
    return f"{round(temperature_c / STEP_C) & 0xFFFF:04X}"


def parse_temperature(digits: str) -> float:
    """Degrees Celsius of four hexadecimal digits; raises ProtocolError."""
    if re.fullmatch(r"[0-9A-F]{4}", digits) is None:
        raise ProtocolError(f"{digits!r} is no temperature")
    number = int(digits, 16)
    return round((number - 0x10000 if number > 0x7FFF else number) * STEP_C, 2)


def verify_question() -> str:
    """``[M01V07C6``: who is there."""
    return frame("M", VERIFY)


def general_question(
    *, mode: str = LEAVE_CHARACTER, alarm: str = LEAVE_CHARACTER, setpoint: str = LEAVE_NUMBER
) -> str:
    """Order or leave operating mode, alarm and set-point; the answer is the state afterwards."""
    return frame("M", GENERAL, mode + alarm + setpoint)


_STATE = re.compile(r"([A-Z])([0-9])([0-9A-F]{4})([0-9A-F]{4})([0-9A-F]{4})")


def parse_state(text: str) -> State:
    """The state in the answer to the general command; raises ProtocolError."""
    data = parse_frame(text, "S", GENERAL)
    match = _STATE.fullmatch(data)
    if match is None or match[1] not in MODES or match[2] not in (NO_ALARM, ALARM):
        raise ProtocolError(f"{text[:80]!r} holds no state")
    setpoint_c, bath_c, external_c = (parse_temperature(match[k]) for k in (3, 4, 5))
    if bath_c < LOWEST_C:
        raise ProtocolError(f"{text[:80]!r}: the bath has no sensor")
    return State(
        mode=match[1],
        has_alarm=match[2] == ALARM,
        setpoint_c=setpoint_c,
        bath_c=bath_c,
        external_c=None if external_c < LOWEST_C else external_c,
    )


def format_state(state: State) -> str:
    """The frame of an answer to the general command."""
    external_c = NO_SENSOR_C if state.external_c is None else state.external_c
    numbers = (state.setpoint_c, state.bath_c, external_c)
    data = state.mode + (ALARM if state.has_alarm else NO_ALARM)
    data += "".join(f"{round(number / STEP_C) & 0xFFFF:04X}" for number in numbers)
    return frame("S", GENERAL, data)


def parse_name(text: str) -> str:
    """The name in the answer to the verify command; raises ProtocolError."""
    name = parse_frame(text, "S", VERIFY).strip()
    if not name:
        raise ProtocolError(f"{text[:80]!r} holds no name")
    return name
