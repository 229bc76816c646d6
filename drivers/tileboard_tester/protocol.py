"""The tileboard tester's words, pins, converter channels, settings and file layout.

Three request-reply sockets carry UTF-8 strings and YAML documents: slow control (chip registers and
the GBT-SCA's pins and converters), fast control (triggers) and the data client that writes the
events to disk. Every integer in a command is decimal: the server reads nothing else.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import yaml

SLOW_PORT = 5555
FAST_PORT = 6000
DATA_PORT = 6001
PUSH_PORT = 8888

READY = "ready"
CONFIGURED = "configured"
RUNNING = "running"
ERROR = "error"
DONE = "done"

CHANNELS_PER_HALF = 36
HALVES_PER_ROC = 2
CHANNELS_PER_ROC = CHANNELS_PER_HALF * HALVES_PER_ROC
COLUMNS_PER_HALF = 39
"""Words per half in the data: 36 channels, one calibration channel, two common-mode channels."""
MAX_ROCS = 2

ADC_MAX = 1023
TOT_MAX = 4095
TOA_MAX = 1023

ORBIT_HZ = 40_078_970 / 3564
"""Calibration sequences start once per orbit of 3564 bunch crossings of 24.95 ns."""
BUNCH_CROSSINGS_PER_ORBIT = 3564


class Pin(IntEnum):
    """GBT-SCA pins of tester version 3."""

    SOFT_RESET = 2
    I2C_RESET = 3
    HARD_RESET = 4
    LED_ON = 7
    LED_GROUP_1_OFF = 8
    LED_GROUP_8_OFF = 15
    BIAS_1 = 20
    BIAS_2 = 21
    LDO_ENABLE = 22
    LDO_SOFT_START = 23
    LDO_TRIM_1 = 24
    LDO_TRIM_4 = 27


GPIO_DIRECTION = 0x0FFFFF9C
"""1 = output. Bits 0, 1, 5 and 6 are the chips' lock and error lines."""
GPIO_WORD = 0xFFFFFFFF
LED_MASK = 1 << Pin.LED_ON
LED_GROUPS_MASK = 0xFF << Pin.LED_GROUP_1_OFF
N_LED_GROUPS = 8
BIAS_MASK = 0x3 << Pin.BIAS_1
LDO_MASK = 1 << Pin.LDO_ENABLE
SOFT_START_MASK = 1 << Pin.LDO_SOFT_START
SOFT_START_S = 1.0
LDO_TRIM_MASK = 0xF << Pin.LDO_TRIM_1
LDO_TRIM_MAX = 15
RESET_MASK = 1 << Pin.SOFT_RESET | 1 << Pin.I2C_RESET | 1 << Pin.HARD_RESET
"""Low resets the chips."""

CONVERTER_MAX = 4095
CONVERTER_FULL_SCALE_V = 1.0
DAC_NAMES = ("A", "B", "C", "D")
DAC_MAX = 255


class Converter(IntEnum):
    """GBT-SCA converter channels; 0 to 7 are the PT1000 sensors."""

    PT1000_FIRST = 0
    PT1000_LAST = 7
    BIAS_1 = 9
    BIAS_2 = 10
    SUPPLY = 11
    LED_BIAS = 12
    BIAS_INPUT = 18
    BIAS_1_CURRENT = 29
    BIAS_2_CURRENT = 30
    LAST = 31


BIAS_DIVIDER = 330500 / 6490
SUPPLY_DIVIDER = 60700 / 4700
CURRENT_SENSE_OHM = 27e3
CURRENT_GAIN = 800.0
PT1000_SERIES_OHM = 1800.0
PT1000_SUPPLY_V = 2.5
PT1000_RANGE_C = (-60.0, 51.8)
"""Below, no board is ever used; above, the converter is at its end."""


class ProtocolError(ValueError):
    """A reply or a setting that the tester's protocol does not know."""


def set_gpio_direction(word: int) -> str:
    return f"set_gbtsca_gpio_direction {word}"


def set_gpio(values: int, mask: int) -> str:
    return f"set_gbtsca_gpio_vals {values} {mask}"


READ_GPIO = "read_gbtsca_gpio"
RESET_TDC = "resettdc"
READ_POWER = "read_pwr"
"""The form of its answer is unverified: it is handed on as it comes."""


def set_dac(name: str, value: int) -> str:
    return f"set_gbtsca_dac {name} {value}"


def read_dac(name: str) -> str:
    return f"read_gbtsca_dac {name}"


def read_converter(channel: int) -> str:
    return f"read_gbtsca_adc {channel}"


def parse_integer(reply: str, low: int, high: int) -> int:
    """Whole number low..high of a reply, decimal or 0x; raises ProtocolError."""
    try:
        number = int(reply.strip(), 0)
    except ValueError:
        raise ProtocolError(f"expected a whole number, got {reply[:80]!r}") from None
    if not low <= number <= high:
        raise ProtocolError(f"expected a number in {low}..{high}, got {number}")
    return number


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def to_yaml(document: Mapping[str, Any]) -> str:
    return str(yaml.dump(document, Dumper=_Dumper, default_flow_style=False, sort_keys=True))


def from_yaml(text: str) -> dict[str, Any]:
    """Mapping of a YAML document; raises ProtocolError for anything else."""
    try:
        document = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        reason = str(error).splitlines()[0]
        raise ProtocolError(f"not YAML ({reason}): {text[:80]!r}") from None
    if not isinstance(document, dict):
        raise ProtocolError(f"expected a YAML mapping, got {text[:80]!r}")
    return document


@dataclass(frozen=True)
class LedRun:
    """Settings of a run on the calibration strobe, as used for LED spectra.

    ``bx_l1a`` and ``phase_ck`` (1/16 of a bunch crossing) place the sample on the pulse; the light
    itself is switched by a pin, so that the dark run of a pair differs in nothing else.
    Raises ProtocolError for a value that the chip or the trigger unit has no room for.
    """

    bx_l1a: int = 40
    phase_ck: int = 0
    bx_calib: int = 16
    length_calib: int = 4
    length_l1a: int = 1
    prescale: int = 15
    repeat_offset: int = 0
    calib_type: str = "CALPULEXT"

    def __post_init__(self) -> None:
        limits = {
            "bx_l1a": (0, BUNCH_CROSSINGS_PER_ORBIT - 1),
            "phase_ck": (0, 15),
            "bx_calib": (0, BUNCH_CROSSINGS_PER_ORBIT - 1),
            "length_calib": (1, BUNCH_CROSSINGS_PER_ORBIT),
            "length_l1a": (1, 1),
            "prescale": (0, 65535),
            "repeat_offset": (0, BUNCH_CROSSINGS_PER_ORBIT - 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise ProtocolError(f"{name} must be a whole number {low}..{high}: {value!r}")
        if self.calib_type not in ("CALPULINT", "CALPULEXT"):
            raise ProtocolError(f"calib_type is CALPULINT or CALPULEXT: {self.calib_type!r}")

    @property
    def trigger_rate_hz(self) -> float:
        return trigger_rate_hz(self.prescale)


def trigger_rate_hz(prescale: int) -> float:
    """Triggers per second of the calibration menu: one per orbit, divided by prescale + 1."""
    return ORBIT_HZ / (prescale + 1)


PHASES = tuple(range(16))
"""Values of ``phase_ck``."""
CALIBRATION_MENU = "calibAndL1A"
MENUS = ("randomL1A", CALIBRATION_MENU, "externalL1A")


MENU_SETTINGS: Mapping[str, str] = {
    "bxCalib": "bx_calib",
    "bxL1A": "bx_l1a",
    "calibType": "calib_type",
    "lengthCalib": "length_calib",
    "lengthL1A": "length_l1a",
    "prescale": "prescale",
    "repeatOffset": "repeat_offset",
}
"""Name of each setting in the calibration menu, and its field of ``LedRun``."""
MAX_EVENTS = 10_000_000


def daq_document(run: LedRun, n_events: int) -> dict[str, Any]:
    """Configuration tree of the fast control for ``n_events`` of a run."""
    if not 1 <= n_events <= MAX_EVENTS:
        raise ProtocolError(f"n_events must be 1..{MAX_EVENTS}: {n_events}")
    menu = {word: getattr(run, name) for word, name in MENU_SETTINGS.items()}
    menu["NEvents"] = n_events
    return {"daq": {"active_menu": CALIBRATION_MENU, "menus": {CALIBRATION_MENU: menu}}}


def roc_name(index: int) -> str:
    return f"roc_s{index}"


def client_document(server: str, push_port: int, folder: str, run_name: str) -> dict[str, Any]:
    """Configuration tree of the data client: whom to listen to and where to write."""
    return {
        "client": {
            "outputDirectory": folder,
            "run_type": run_name,
            "serverIP": server,
            "zmqPushPull_port": push_port,
        }
    }


def run_file_name(run_name: str, file_index: int = 0) -> str:
    return f"{run_name}{file_index}.root"


@dataclass(frozen=True)
class BoardConstants:
    """What differs from board to board and site to site: data of the site's profile.

    ``overvoltage_dacs`` maps an overvoltage (V) to its coarse and fine setting (DAC A, DAC B); only
    the overvoltages of the table can be set. ``pt1000_channels`` names the fitted sensors.
    Raises ProtocolError for a constant out of range.
    """

    n_rocs: int = 1
    overvoltage_dacs: Mapping[float, tuple[int, int]] = field(default_factory=dict)
    pt1000_channels: Mapping[str, int] = field(
        default_factory=lambda: {f"pt1000_{channel}": channel for channel in range(8)}
    )
    bias_divider: float = BIAS_DIVIDER
    supply_divider: float = SUPPLY_DIVIDER
    current_sense_ohm: float = CURRENT_SENSE_OHM
    current_gain: float = CURRENT_GAIN

    def __post_init__(self) -> None:
        if not 1 <= self.n_rocs <= MAX_ROCS:
            raise ProtocolError(f"n_rocs must be 1..{MAX_ROCS}: {self.n_rocs}")
        for overvoltage_v, dacs in self.overvoltage_dacs.items():
            if not math.isfinite(overvoltage_v) or any(not 0 <= d <= DAC_MAX for d in dacs):
                raise ProtocolError(
                    f"overvoltage table: {overvoltage_v} V -> {dacs}, settings are 0..{DAC_MAX}"
                )
        for name, channel in self.pt1000_channels.items():
            if not Converter.PT1000_FIRST <= channel <= Converter.PT1000_LAST:
                raise ProtocolError(f"sensor {name}: channel {channel} is no PT1000 input")
        for name in ("bias_divider", "supply_divider", "current_sense_ohm", "current_gain"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ProtocolError(f"{name} must be positive: {getattr(self, name)}")

    @property
    def n_channels(self) -> int:
        return self.n_rocs * CHANNELS_PER_ROC


def led_groups_off_word(groups_on: Sequence[bool]) -> int:
    """Pin word of the eight LED group switches, of which a set bit switches the group off."""
    if len(groups_on) != N_LED_GROUPS:
        raise ProtocolError(f"there are {N_LED_GROUPS} LED groups, not {len(groups_on)}")
    return sum(
        1 << (Pin.LED_GROUP_1_OFF + group) for group, is_on in enumerate(groups_on) if not is_on
    )
