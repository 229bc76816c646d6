"""GRBL 1.1: the facts shared by driver and simulator.

Source: the GRBL 1.1 interface and commands documentation (github.com/gnea/grbl, doc/markdown) and
the behaviour of its firmware 1.1h. The texts are ours.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.errors import BrokenReply

TERMINATOR = b"\r\n"
BAUD = 115200
RECEIVE_BUFFER_BYTES = 128
MAX_LINE_CHARS = 79
PLANNER_BLOCKS = 15
STATUS_POLL_S = 0.1
MAX_TOOL = 255

BANNER = "Grbl 1.1h ['$' for help]"
VERSION = "1.1h.20190830"

STATUS_REQUEST = b"?"
FEED_HOLD = b"!"
RESUME = b"~"
SOFT_RESET = b"\x18"
DOOR = b"\x84"
DOOR_PIN = "D"
JOG_CANCEL = b"\x85"
FEED_OVERRIDES = {0x90: 0, 0x91: 10, 0x92: -10, 0x93: 1, 0x94: -1}
FLOOD_TOGGLE = b"\xa0"
MIST_TOGGLE = b"\xa1"
REALTIME = frozenset(b"?!~\x18") | frozenset(range(0x80, 0x100))

HOME = "$H"
UNLOCK = "$X"
INFO = "$I"
SETTINGS = "$$"
OFFSETS = "$#"
MODES = "$G"
SPOILER = "%"
"""As a line of its own it is only refused; after half a line that somebody left it makes the
controller refuse the whole."""

STATUS_MASK = 10
REPORT_INCHES = 13
SOFT_LIMITS = 20
HARD_LIMITS = 21
HOMING = 22
HOMING_DIRECTION = 23
HOMING_FEED = 24
HOMING_SEEK = 25
HOMING_PULL_OFF = 27
STEPS_PER_MM = (100, 101, 102)
MAX_RATE = (110, 111, 112)
TRAVEL = (130, 131, 132)

FLOAT_SETTINGS = frozenset({11, 12, 24, 25, 27, *range(100, 133)})

OUTPUT_LETTERS = {"flood": "F", "mist": "M"}

ERRORS = {
    1: "a G-code word has no letter",
    2: "a value is missing or is no number",
    3: "this $ command is not known",
    4: "a negative value where only positive ones make sense",
    5: "homing is not enabled in the settings ($22)",
    6: "the step pulse must be longer than 3 us",
    7: "the stored settings were damaged and are back to defaults",
    8: "only possible while the machine is idle",
    9: "G-code is locked out by an alarm or a jog",
    10: "soft limits need homing to be enabled",
    11: "the line is too long",
    12: "the setting asks for more steps per second than possible",
    13: "the safety door is open",
    14: "the startup line is too long to be stored",
    15: "the jog target is beyond the travel",
    16: "the jog command has no '=' or forbidden G-code in it",
    17: "laser mode needs a PWM output",
    20: "this G-code is not supported",
    21: "two commands of one modal group in a line",
    22: "no feed rate was set",
    23: "this G-code needs a whole number",
    24: "two commands in a line want the axis words",
    25: "a word is repeated in a line",
    26: "the command needs axis words and has none",
    27: "the line number is out of range",
    28: "the command lacks its P or L word",
    29: "this work coordinate system does not exist",
    30: "G53 goes only with G0 and G1",
    31: "axis words without a command that uses them",
    32: "the arc has no axis word in its plane",
    33: "the motion target is invalid",
    34: "the arc radius does not fit",
    35: "the arc lacks an offset in its plane",
    36: "words that no command uses",
    37: "the tool length offset can only be on Z",
    38: "the tool number is too high",
}

ALARMS = {
    1: "a limit switch was hit; the position is probably lost",
    2: "a motion target was beyond the travel; the position is kept",
    3: "reset while moving; the position is lost",
    4: "the probe was not in its expected state before the probing",
    5: "the probe did not touch within the programmed travel",
    6: "homing failed: reset during the cycle",
    7: "homing failed: the safety door was opened",
    8: "homing failed: the limit switch did not clear when pulling off",
    9: "homing failed: the limit switch was not found",
}
LOCKING_ALARMS = frozenset({1, 2})
"""After these the controller is deaf to everything but a soft reset."""
RESTARTING_ALARMS = frozenset({3, 6, 7, 8, 9})
"""After these the controller restarts by itself and sends its banner."""

MSG_RESET = "[MSG:Reset to continue]"
MSG_LOCKED = "[MSG:'$H'|'$X' to unlock]"
MSG_UNLOCKED = "[MSG:Caution: Unlocked]"
MSG_ENABLED = "[MSG:Enabled]"
MSG_DISABLED = "[MSG:Disabled]"
MSG_DOOR = "[MSG:Check Door]"
MSG_PROGRAM_END = "[MSG:Pgm End]"
HELP = "[HLP:$$ $# $G $I $N $x=val $Nx=line $J=line $SLP $C $X $H ~ ! ? ctrl-x]"

DEFAULT_SETTINGS: Mapping[int, float] = {
    0: 10, 1: 255, 2: 0, 3: 0, 4: 0, 5: 0, 6: 0, 10: 1, 11: 0.01, 12: 0.002, 13: 0,
    20: 1, 21: 1, 22: 1, 23: 0, 24: 300, 25: 3000, 26: 25, 27: 2, 30: 1000, 31: 0, 32: 0,
    100: 80, 101: 80, 102: 400, 110: 12000, 111: 12000, 112: 3000,
    120: 500, 121: 500, 122: 200, 130: 600, 131: 400, 132: 120,
}  # fmt: skip

Triple = tuple[float, float, float]


@dataclass(frozen=True)
class Status:
    """One status report.

    ``accessories`` is None when the report does not tell: outputs are only listed together with
    the overrides, every now and then. ``wco`` (work coordinate offset) likewise.
    """

    state: str
    mpos: Triple | None = None
    wpos: Triple | None = None
    wco: Triple | None = None
    feed: float = 0.0
    spindle: float = 0.0
    pins: frozenset[str] = frozenset()
    buffers: tuple[int, int] | None = None
    overrides: tuple[int, int, int] | None = None
    accessories: frozenset[str] | None = None

    @property
    def mode(self) -> str:
        """The state without its sub-state: ``Hold`` for ``Hold:0``."""
        return self.state.partition(":")[0]


_STATUS = re.compile(
    r"<(?P<state>Idle|Run|Hold:[01]|Jog|Alarm|Door:[0-3]|Check|Home|Sleep)(?P<fields>(\|[^|<>]+)*)>"
)


def parse_status(line: str, *, port: str) -> Status:
    """A status report such as ``<Idle|MPos:0.000,0.000,0.000|FS:0,0|Pn:P>``.

    Raises:
        BrokenReply: the line is no complete report with a position.
    """
    broken = BrokenReply(f"{line!r} is no status report", port=port, sent="?")
    match = _STATUS.fullmatch(line)
    if match is None:
        raise broken
    found: dict[str, str] = {}
    for text in match["fields"].split("|")[1:]:
        name, separator, value = text.partition(":")
        if not separator or name in found:
            raise broken
        found[name] = value
    if ("MPos" in found) == ("WPos" in found):
        raise broken
    try:
        feed, spindle = (float(text) for text in found.get("FS", "0,0").split(","))
        overrides = _integers(found["Ov"], 3) if "Ov" in found else None
        buffers = _integers(found["Bf"], 2) if "Bf" in found else None
        return Status(
            state=match["state"],
            mpos=parse_triple(found["MPos"]) if "MPos" in found else None,
            wpos=parse_triple(found["WPos"]) if "WPos" in found else None,
            wco=parse_triple(found["WCO"]) if "WCO" in found else None,
            feed=feed,
            spindle=spindle,
            pins=frozenset(found.get("Pn", "")),
            buffers=(buffers[0], buffers[1]) if buffers else None,
            overrides=(overrides[0], overrides[1], overrides[2]) if overrides else None,
            accessories=frozenset(found.get("A", "")) if "Ov" in found else None,
        )
    except ValueError as error:
        raise broken from error


_DECIMAL = re.compile(r"-?\d+\.\d{3}")


def parse_triple(text: str) -> Triple:
    """Three millimetre values with three decimals each.

    Raises:
        ValueError: anything else; a number that lost a digit on the line must not pass.
    """
    parts = text.split(",")
    if len(parts) != 3 or not all(_DECIMAL.fullmatch(part) for part in parts):
        raise ValueError(f"{text!r} is no position")
    x, y, z = (float(part) for part in parts)
    return x, y, z


def format_triple(values: Triple) -> str:
    return ",".join(f"{value + 0.0:.3f}" for value in values)


def _integers(text: str, count: int) -> tuple[int, ...]:
    values = tuple(int(part) for part in text.split(","))
    if len(values) != count:
        raise ValueError(text)
    return values


_SETTING = re.compile(r"\$(\d+)=(-?\d+(?:\.\d+)?)")


def parse_settings(lines: list[str], *, port: str) -> dict[int, float]:
    """Numbers and values of the lines that ``$$`` lists.

    Raises:
        BrokenReply: a line is no setting.
    """
    settings = {}
    for line in lines:
        match = _SETTING.fullmatch(line)
        if match is None:
            raise BrokenReply(f"{line!r} is no setting", port=port, sent=SETTINGS)
        settings[int(match[1])] = float(match[2])
    return settings


def parse_offsets(lines: list[str], *, port: str) -> dict[str, Triple]:
    """Offsets by name (G54 to G59, G28, G30, G92; TLO on z) of the lines that ``$#`` lists.

    Raises:
        BrokenReply: a line is no offset, or G54, G92 or TLO is missing.
    """
    offsets: dict[str, Triple] = {}
    for line in lines:
        name, _, value = line.removeprefix("[").removesuffix("]").partition(":")
        try:
            if name == "TLO":
                offsets[name] = (0.0, 0.0, float(value))
            else:
                offsets[name] = parse_triple(value.rpartition(":")[0] if name == "PRB" else value)
        except ValueError as error:
            raise BrokenReply(f"{line!r} is no offset", port=port, sent=OFFSETS) from error
    if not {"G54", "G92", "TLO"} <= offsets.keys():
        raise BrokenReply("the list of offsets is incomplete", port=port, sent=OFFSETS)
    return offsets


_MODE = re.compile(r"[GMTFS]\d+(\.\d+)?")


def parse_modes(lines: list[str], *, port: str) -> frozenset[str]:
    """Words of the modal state that ``$G`` lists, such as G54, M8 and T0.

    Raises:
        BrokenReply: there is not exactly one such line, or a word in it is none.
    """
    states = [line for line in lines if line.startswith("[GC:") and line.endswith("]")]
    if len(states) != 1:
        raise BrokenReply(f"{lines!r} is no modal state", port=port, sent=MODES)
    words = states[0][4:-1].split(" ")
    if not all(_MODE.fullmatch(word) for word in words):
        raise BrokenReply(f"{states[0]!r} is no modal state", port=port, sent=MODES)
    return frozenset(words)


_OPTIONS = re.compile(r"\[OPT:([^,\]]*),\d+,\d+\]")


def tells_mist(line: str) -> bool:
    """Whether the options of the build, as ``$I`` tells them, have the second output."""
    match = _OPTIONS.fullmatch(line)
    return match is not None and "M" in match[1]


def is_banner(line: str) -> bool:
    return line.startswith("Grbl ")


_ACKNOWLEDGEMENT = re.compile(r"error:(\d{1,2})")
_ALARM = re.compile(r"ALARM:(\d{1,2})")


def error_number(line: str) -> int | None:
    match = _ACKNOWLEDGEMENT.fullmatch(line)
    return int(match[1]) if match else None


def alarm_number(line: str) -> int | None:
    match = _ALARM.fullmatch(line)
    return int(match[1]) if match else None


def error_text(number: int) -> str:
    return f"error {number}: {ERRORS.get(number, 'not in the list of GRBL 1.1')}"


def alarm_text(number: int) -> str:
    return f"alarm {number}: {ALARMS.get(number, 'not in the list of GRBL 1.1')}"
