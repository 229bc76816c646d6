"""The site profile: which instruments the line has, where they are and how they are calibrated.

One TOML file per line. Lengths in mm in the gantry frame (x right, y away from the operator, z up,
z = 0 at the base plate); the head position is the position of the gripper's nozzle.

`station.profile_file` reads it and checks what one field alone can't show.
"""

from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

from station.bias_section import BiasSection
from station.camera_section import CameraSection
from station.safety.section import SafetySection
from station.tester_section import TesterSection

Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SiteSection(_Section):
    code: str = Field(min_length=2)
    name: str = Field(min_length=2)


class StationSection(_Section):
    name: Text
    time_scale: PositiveFloat = 1.0
    """Station seconds per second: settling and ramps run this much faster. 1 on real hardware."""


class ZoneSection(_Section):
    """A block of the travel that the head may not enter: from the base plate to `top_z_mm`."""

    name: Text
    x_mm: tuple[float, float]
    y_mm: tuple[float, float]
    top_z_mm: float

    @field_validator("x_mm", "y_mm")
    @classmethod
    def _low_before_high(cls, span: tuple[float, float]) -> tuple[float, float]:
        if not span[0] < span[1]:
            raise ValueError("two places, the lower one first")
        return span


class GantrySection(_Section):
    driver: Literal["grbl", "marlin", "auto"]
    """`auto` asks the controller what it is when the line opens."""
    port: Text
    baud: PositiveInt | None = None
    travel_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    feed_mm_per_min: float = Field(gt=0, le=60000)
    safe_z_mm: PositiveFloat
    """Height at which the nozzle passes over everything."""
    approach_mm: float = Field(default=0.5, ge=0, le=20)
    """Every look and pick is approached from the same side over this distance: no backlash."""
    backlash_mm: tuple[float, float, float] | None = None
    """Play of x, y and z as the commissioning measured it."""
    zones: tuple[ZoneSection, ...] = ()
    expected_serial: Text | None = None


class GripperSection(_Section):
    driver: Literal["grbl_vacuum", "gantry_output"]
    """Both are the vacuum relay and the vacuum switch of the gantry's controller."""
    pin: int | None = Field(default=None, ge=0, le=255)
    """Of the relay, on a controller of the Marlin family; its first fan output when left out."""
    switch: Text = "z_probe"
    """Name of the vacuum switch's input there, as M119 lists it."""
    settle_s: float = Field(default=0.2, gt=0, le=10)


class GlueValveSection(_Section):
    driver: Literal["gantry_output"]
    pin: int | None = Field(default=None, ge=0, le=255)
    """As `gripper.pin`; the second fan output when left out."""
    longest_s: float = Field(default=5.0, gt=0, le=60)
    """The valve is never open for longer."""


SENSIRION_ADDRESSES = (0x44, 0x45)


class ClimateSection(_Section):
    """A humidity sensor; `name` says where it hangs."""

    name: Text
    driver: Literal["sensirion"]
    bus: Text
    """I2C bus such as /dev/i2c-1, or the serial port of a bridge to one (SC18IM700)."""
    address: int = Field(default=0x44, ge=0x08, le=0x77)
    expected_serial: Text | None = None

    @field_validator("address")
    @classmethod
    def _one_that_these_sensors_have(cls, address: int) -> int:
        if address not in SENSIRION_ADDRESSES:
            raise ValueError("the address that these sensors have: 0x44 or 0x45")
        return address


class ChillerSection(_Section):
    driver: Literal["julabo", "huber"]
    port: Text
    baud: PositiveInt | None = None
    lowest_c: float = Field(ge=-90, le=100)
    highest_c: float = Field(ge=-90, le=100)
    expected_serial: Text | None = None

    @field_validator("highest_c")
    @classmethod
    def _above_the_lowest(cls, highest_c: float, info: ValidationInfo) -> float:
        if highest_c <= info.data.get("lowest_c", float("-inf")):
            raise ValueError(f"above lowest_c, which is {info.data['lowest_c']:g}")
        return highest_c


class ScannerSection(_Section):
    driver: Literal["serial", "keyboard"]
    port: Text | None = Field(default=None, validate_default=True)
    baud: PositiveInt | None = None
    prefix: str = ""
    suffix: Text = "\r"
    expected_serial: Text | None = None

    @field_validator("port")
    @classmethod
    def _port_of_a_serial_one(cls, port: str | None, info: ValidationInfo) -> str | None:
        driver = info.data.get("driver")
        if driver == "serial" and port is None:
            raise ValueError("the serial port of the scanner")
        if driver == "keyboard" and port is not None:
            raise ValueError("no such field: a keyboard scanner types, it has no port")
        return port


class ContactSection(_Section):
    """A switch that must be closed: `name` says what it watches (lid, door, panel)."""

    name: Text
    driver: Literal["bias_interlock", "gantry_door", "tester_gpio"]
    bit: int | None = Field(default=None, ge=0, le=31, validate_default=True)
    """Of the tester's GPIO word."""

    @field_validator("bit")
    @classmethod
    def _bit_of_a_word(cls, bit: int | None, info: ValidationInfo) -> int | None:
        driver = info.data.get("driver")
        if driver == "tester_gpio" and bit is None:
            raise ValueError("the bit of the tester's GPIO word")
        if driver is not None and driver != "tester_gpio" and bit is not None:
            raise ValueError(f"no such field: {driver} is one contact")
        return bit


class TraySection(_Section):
    origin_x_mm: float
    origin_y_mm: float
    pitch_mm: PositiveFloat
    columns: PositiveInt
    surface_z_mm: float


class BoardSection(_Section):
    origin_x_mm: float
    origin_y_mm: float
    surface_z_mm: float
    search_mm: PositiveFloat = 2.0
    """How far from its nominal place a fiducial is looked for."""


class TargetSection(_Section):
    """The calibration target on the base plate: a grid of round dots, one of them larger."""

    origin_x_mm: float
    """Middle of the grid, as well as it is known by hand (within `search_mm`)."""
    origin_y_mm: float
    surface_z_mm: float
    pitch_mm: PositiveFloat
    pitch_sigma_rel: float = Field(gt=0, le=0.01)
    """How well the maker of the target knows its pitch: the scale can't be known better."""
    dot_sigma_mm: float = Field(default=0.002, ge=0, le=0.5)
    """How well each dot is at its place."""
    columns: int = Field(ge=5, le=101)
    rows: int = Field(ge=5, le=101)
    pad_mm: tuple[float, float] | None = None
    """Middle of the pad beside it, as high as the dots, on which the nozzle leaves a print."""
    pad_half_mm: PositiveFloat = 8.0
    print_diameter_mm: PositiveFloat = 3.0
    """The nozzle's print: a round mark, brighter than the pad."""


class MetricsSection(_Section):
    """What the line shows is kept beside the records, for trends."""

    every_s: float = Field(default=1.0, ge=0.1, le=3600)
    keep_days: int = Field(default=400, ge=1)
    """Older files of it are deleted; records never are."""


class TwinSection(_Section):
    hands: str
    """Where the twin's pair of hands (loading, wrapping, scanning) listens."""


class FilesSection(_Section):
    """The site's own files, relative to the profile: recipes, and catalogue entries."""

    recipes: str | None = None
    catalogue: tuple[str, ...] = ()


class Profile(_Section):
    """A site profile file, of version 1."""

    version: Literal[1]
    site: SiteSection
    station: StationSection
    bias: BiasSection
    tester: TesterSection
    gantry: GantrySection
    gripper: GripperSection
    camera: CameraSection
    tray: TraySection
    board: BoardSection
    safety: SafetySection
    glue_valve: GlueValveSection | None = None
    climate: tuple[ClimateSection, ...] = ()
    chiller: ChillerSection | None = None
    scanner: ScannerSection | None = None
    contacts: tuple[ContactSection, ...] = ()
    target: TargetSection | None = None
    files: FilesSection = FilesSection()
    metrics: MetricsSection = MetricsSection()
    twin: TwinSection | None = None
