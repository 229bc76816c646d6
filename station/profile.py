"""The site profile: which instruments the line has, where they are and how they are calibrated.

One TOML file per line. Lengths in mm in the gantry frame (x right, y away from the operator, z up,
z = 0 at the base plate); the head position is the position of the gripper's nozzle.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SiteSection(_Section):
    code: str = Field(min_length=2)
    name: str = Field(min_length=2)


class StationSection(_Section):
    name: str = Field(min_length=1)
    time_scale: PositiveFloat = 1.0
    """Station seconds per second: settling and ramps run this much faster. 1 on real hardware."""


class BiasSection(_Section):
    driver: Literal["keithley2450"]
    address: str
    max_voltage_v: float = Field(gt=0, le=50)
    compliance_a: float = Field(gt=0, le=0.1)
    ramp_v_per_s: PositiveFloat = 5.0
    expected_serial: str | None = None


class TesterSection(_Section):
    driver: Literal["tileboard_tester"]
    host: str
    fast_port: PositiveInt = 6000
    slow_port: PositiveInt = 5555
    data_port: PositiveInt = 6001
    data_folder: str
    n_rocs: PositiveInt = 1


class GantrySection(_Section):
    driver: Literal["grbl"]
    port: str
    travel_mm: tuple[PositiveFloat, PositiveFloat, PositiveFloat]
    feed_mm_per_min: PositiveFloat
    safe_z_mm: PositiveFloat
    approach_mm: float = Field(default=0.5, ge=0)
    """Every look and pick is approached from the same side over this distance: no backlash."""


class GripperSection(_Section):
    driver: Literal["grbl_vacuum"]
    settle_s: PositiveFloat = 0.2


class CameraSection(_Section):
    driver: Literal["opencv"]
    url: str
    width_px: PositiveInt
    height_px: PositiveInt
    mm_per_px: PositiveFloat
    mm_per_px_sigma_rel: PositiveFloat
    rotation_rad: float = 0.0
    k1_per_mm2: float = 0.0
    offset_x_mm: float
    """Optical axis minus nozzle."""
    offset_y_mm: float
    working_distance_mm: PositiveFloat
    """Nozzle height above the plane that is in focus and to which mm_per_px belongs."""
    settle_s: float = Field(default=0.1, ge=0)
    grab_deadline_s: PositiveFloat = 5.0


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


class SafetySection(_Section):
    max_current_a: PositiveFloat
    max_temperature_c: float
    silent_after_s: PositiveFloat
    poll_s: PositiveFloat = 0.5


class TwinSection(_Section):
    hands: str
    """Where the twin's pair of hands (loading, wrapping, scanning) listens."""


class FilesSection(_Section):
    """The site's own files, relative to the profile: recipes, and catalogue entries."""

    recipes: str | None = None
    catalogue: tuple[str, ...] = ()


class Profile(_Section):
    """A site profile file; every section is required but `files` and `twin`."""

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
    files: FilesSection = FilesSection()
    twin: TwinSection | None = None
