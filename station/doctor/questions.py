"""What an unknown device may be asked: identity questions that move, switch and set nothing.

Data: one row per family of instruments. The order is that of asking. Fast ports come first,
because what answers there is asked nothing more; a controller of 115200 baud reads a question of
9600 baud as noise of 0x00, 0x80, 0xC0, 0xE0, 0xF0, 0xF8, 0xFC, 0xFE and 0xFF, none of which is a
realtime command of GRBL. No question holds a byte that GRBL or Marlin act on at once (0x18, `!`,
`~`, M108, M112, M410), and none is a command of another family in the list.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

import serial

QUIET_S = 0.35
"""An answer begins within this time, and has ended when nothing comes for so long."""
ANSWER_S = 1.5
BANNER_S = 2.2
"""How long a board that resets when its port opens needs until it speaks."""


@dataclass(frozen=True)
class Framing:
    """How bytes travel on a serial line."""

    baud: int
    bytesize: int = serial.EIGHTBITS
    parity: str = serial.PARITY_NONE

    def __str__(self) -> str:
        return f"{self.baud} {self.bytesize}{self.parity}1"


@dataclass(frozen=True)
class Question:
    """One identity question.

    role, driver: what it is in a profile when the answer fits. answer: a regular expression that
    is searched in the text that came back; its group `name`, if any, is the identity.
    framings: those under which it is asked.
    """

    role: str
    driver: str
    send: str
    terminator: bytes
    answer: str
    framings: tuple[Framing, ...]

    def identity(self, text: str) -> str | None:
        """Who answered, or None when the text is no answer to this question."""
        found = re.search(self.answer, text, re.MULTILINE)
        if found is None:
            return None
        return (found.groupdict().get("name") or found.group()).strip()


USB_115200 = (Framing(115200),)
GANTRY = (Framing(115200), Framing(250000))
SLOW = (Framing(9600),)
SEVEN_BITS = (
    Framing(9600, serial.SEVENBITS, serial.PARITY_EVEN),
    Framing(4800, serial.SEVENBITS, serial.PARITY_EVEN),
)
# whether the module writes OK= before a name is unverified
A7585_MODEL = r"^OK=(?P<name>[^\r\n]+)|^(A7585|DT5485)\w*"
A7585_MAKER = r"^(?:OK=)?(?P<name>(CAEN|Nuclear Instruments)[^\r\n]*)"

SERIAL_QUESTIONS: tuple[Question, ...] = (
    Question(
        "gantry", "grbl", "$I", b"\n", r"\[VER:(?P<name>[^\]]+)\]|^(?P<banner>Grbl \S+)", USB_115200
    ),
    Question("gantry", "marlin", "M115", b"\n", r"FIRMWARE_NAME:\s*(?P<name>[^\r\n]+)", GANTRY),
    Question("bias", "caen_a7585", "AT+CGMM", b"\r\n", A7585_MODEL, USB_115200),
    Question("bias", "caen_a7585", "AT+CGMI", b"\r\n", A7585_MAKER, USB_115200),
    Question("bias", "keithley2400", "*IDN?", b"\n", r"KEITHLEY[^\r\n]*MODEL 24[^\r\n]*", SLOW),
    Question("bias", "keithley6517", "*IDN?", b"\n", r"KEITHLEY[^\r\n]*6517[^\r\n]*", SLOW),
    Question(
        "bias",
        "caen_hv",
        "$CMD:MON,PAR:BDNAME",
        b"\r\n",
        r"#(BD:\d+,)?CMD:OK,VAL:(?P<name>[^\r\n]+)",
        SLOW,
    ),
    Question(
        "bias",
        "caen_hv",
        "$BD:00,CMD:MON,PAR:BDNAME",
        b"\r\n",
        r"#(BD:\d+,)?CMD:OK,VAL:(?P<name>[^\r\n]+)",
        SLOW,
    ),
    Question(
        "bias", "iseg", "#", b"\r\n", r"(?P<name>\d{6};\s*\d+\.\d+;\s*\d+V;\s*\d+[mu]A)", SLOW
    ),
    # the carriage return before ends what it may have heard of the questions to the others
    Question("chiller", "huber", "\r[M01V07C6", b"\r", r"(?P<name>\[S01V[^\r\n]*)", SLOW),
    Question("chiller", "julabo", "version", b"\r", r"(?P<name>JULABO[^\r\n]*)", SEVEN_BITS),
)

NETWORK_QUESTIONS: tuple[tuple[int, Question], ...] = (
    (
        5025,
        Question("bias", "keithley2450", "*IDN?", b"\n", r"KEITHLEY[^\r\n]*2450[^\r\n]*", ()),
    ),
    (23, Question("gantry", "marlin", "M115", b"\n", r"FIRMWARE_NAME:\s*(?P<name>[^\r\n]+)", ())),
    (
        1470,
        Question(
            "bias",
            "caen_hv",
            "$CMD:MON,PAR:BDNAME",
            b"\r\n",
            r"#(BD:\d+,)?CMD:OK,VAL:(?P<name>[^\r\n]+)",
            (),
        ),
    ),
)
"""Ports of a host that are asked, and what."""

ZMQ_PORTS = (5555, 6000, 6001)
"""Ports of a tileboard tester. Opening a client would initialise it: only its greeting is read."""
ZMQ_GREETING = b"\xff"
VISA_DRIVERS: Mapping[str, str] = {
    r"KEITHLEY[^,]*,MODEL 2450": "keithley2450",
    r"KEITHLEY[^,]*,MODEL 24[01]0": "keithley2400",
    r"KEITHLEY[^,]*,MODEL 6517": "keithley6517",
}
"""Answer to `*IDN?` on a VISA resource -> driver."""
SCANNER_MAKERS: Mapping[int, str] = {
    0x05E0: "Zebra",
    0x0C2E: "Honeywell",
    0x05F9: "Datalogic",
    0x1EAB: "Newland",
    0x065A: "Opticon",
}
"""USB vendors of barcode scanners. They do not answer questions: their port is never opened."""
HUMIDITY_ADDRESSES = (0x44, 0x45)
