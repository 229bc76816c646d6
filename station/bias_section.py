"""The bias section of a profile: which supply, its limits, and what each kind of supply can do."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationInfo, field_validator

if TYPE_CHECKING:
    from drivers.caen_a7585.protocol import TemperatureCompensation

BiasDriver = Literal[
    "keithley2450", "keithley2400", "keithley6517", "caen_a7585", "caen_hv", "iseg"
]
Text = Annotated[str, Field(min_length=1)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Rated(_Section):
    """What a bias supply can do at most (magnitudes), whatever its range or channel."""

    lowest_v: float
    highest_v: float
    highest_a: float


BIAS_RATINGS: Mapping[str, Rated] = {
    "keithley2450": Rated(lowest_v=0, highest_v=200, highest_a=1.05),
    "keithley2400": Rated(lowest_v=0, highest_v=1100, highest_a=1.05),
    "keithley6517": Rated(lowest_v=0, highest_v=1000, highest_a=10e-3),
    "caen_a7585": Rated(lowest_v=20, highest_v=85, highest_a=10e-3),
    "caen_hv": Rated(lowest_v=0, highest_v=8000, highest_a=3e-3),
    "iseg": Rated(lowest_v=0, highest_v=6000, highest_a=20e-3),
}
EMERGENCY_WITHIN_S = 4.0
_OWNERS: Mapping[str, tuple[str, ...]] = {
    "board": ("caen_hv",),
    "terminator": ("keithley2400", "keithley6517"),
    "terminals": ("keithley2400",),
    "pause_s": ("keithley6517",),
    "trip_s": ("caen_hv",),
    "trip_step_a": ("iseg",),
    "compensation": ("caen_a7585",),
    "max_temperature_c": ("caen_a7585",),
}
"""Fields that some supplies have, by their drivers."""
HIGHEST_SIPM_BIAS_V = 90.0
"""No SiPM of any maker is biased higher: a larger limit in a profile is a slip of the pen."""
CHANNELS: Mapping[str, range] = {"caen_hv": range(8), "iseg": range(1, 3)}
"""Numbers of the outputs of supplies that have several: the profile must say which."""
BIAS_WITH_INTERLOCK = frozenset({"keithley2450", "keithley2400", "caen_hv", "iseg"})
"""Supplies that tell whether their interlock is closed. What a 6517 tells of it is not known."""
BIAS_ON_SERIAL_PORTS = frozenset({"keithley2400", "keithley6517", "caen_a7585", "caen_hv", "iseg"})


class CompensationSection(_Section):
    """How the output of a CAEN A7585 follows its thermometer."""

    coefficient_mv_per_c: float = Field(ge=-1000, le=1000)
    """The output rises by its opposite for each degree above 25 C: negative for SiPMs."""
    sensor: tuple[float, float, float] | None = None
    """m2, m and q of the thermometer, T = m2 U^2 + m U + q; left out: as the module has them."""


class BiasSection(_Section):
    driver: BiasDriver
    address: Text
    """VISA address, or the serial port of a supply that is on one."""
    channel: int | None = Field(default=None, ge=0, le=31, validate_default=True)
    board: int | None = Field(default=None, ge=0, le=31)
    """Of a CAEN supply in a chain (N1470): its number there."""
    polarity: Literal[1, -1] = 1
    """Sign of every voltage that may be set."""
    baud: PositiveInt | None = None
    terminator: Literal["LF", "CR", "CR+LF"] | None = None
    """Of a Keithley 2400, 2410 or 6517 on a serial port, as set at its front panel."""
    terminals: Literal["FRON", "REAR"] | None = None
    """Of a Keithley 2400 or 2410: where the cable is."""
    pause_s: float | None = Field(default=None, ge=0, le=1)
    """Of a Keithley 6517 on a serial port: least time between two commands."""
    trip_s: float | None = Field(default=None, gt=0, le=1000)
    """Of a CAEN supply: how long its current limit may hold the output; 1000 is for ever."""
    trip_step_a: float | None = Field(default=None, gt=0, le=1e-3)
    """Of an iseg unit that does not tell: one count of its current trip."""
    compensation: CompensationSection | None = None
    max_temperature_c: float | None = Field(default=None, gt=0, le=105)
    """Of a CAEN A7585: where the module switches itself off."""
    max_voltage_v: float = Field(gt=0, le=HIGHEST_SIPM_BIAS_V)
    compliance_a: float = Field(gt=0, le=0.1)
    ramp_v_per_s: float = Field(default=5.0, gt=0, le=100)
    emergency_ramp_v_per_s: float = Field(default=50.0, gt=0, le=500, validate_default=True)
    """How fast the safe state brings the bias down."""
    expected_serial: Text | None = None

    @field_validator("channel")
    @classmethod
    def _channel_where_there_are_some(cls, channel: int | None, info: ValidationInfo) -> int | None:
        driver = info.data.get("driver")
        numbers = None if driver is None else CHANNELS.get(driver)
        if numbers is not None and channel not in numbers:
            raise ValueError(
                f"the number of the output: {driver} has {numbers[0]} to {numbers[-1]}"
            )
        if driver is not None and numbers is None and channel is not None:
            raise ValueError(f"no such field: a supply of {driver} has one output")
        return channel

    @field_validator(*_OWNERS)
    @classmethod
    def _of_one_driver(cls, value: object, info: ValidationInfo) -> object:
        driver = info.data.get("driver")
        owners = _OWNERS[str(info.field_name)]
        if driver is not None and driver not in owners and value is not None:
            raise ValueError(f"no such field: it belongs to {' and '.join(owners)}")
        return value

    @field_validator("polarity")
    @classmethod
    def _polarity_that_there_is(cls, polarity: int, info: ValidationInfo) -> int:
        if info.data.get("driver") == "caen_a7585" and polarity != 1:
            raise ValueError("1: a caen_a7585 gives positive voltages only")
        return polarity

    @field_validator("baud")
    @classmethod
    def _baud_on_serial_ports(cls, baud: int | None, info: ValidationInfo) -> int | None:
        driver = info.data.get("driver")
        if driver is not None and driver not in BIAS_ON_SERIAL_PORTS and baud is not None:
            raise ValueError(f"no such field: {driver} is not on a serial port")
        return baud

    @field_validator("max_voltage_v")
    @classmethod
    def _voltage_within_the_supply(cls, voltage_v: float, info: ValidationInfo) -> float:
        rated = BIAS_RATINGS.get(info.data.get("driver", ""))
        if rated is not None and not rated.lowest_v < voltage_v <= rated.highest_v:
            raise ValueError(
                f"a voltage that a {info.data['driver']} can give: above {rated.lowest_v:g} V, "
                f"at most {rated.highest_v:g} V"
            )
        return voltage_v

    @field_validator("compliance_a")
    @classmethod
    def _current_within_the_supply(cls, current_a: float, info: ValidationInfo) -> float:
        rated = BIAS_RATINGS.get(info.data.get("driver", ""))
        if rated is not None and current_a > rated.highest_a:
            raise ValueError(
                f"a current that a {info.data['driver']} can limit: at most {rated.highest_a:g} A"
            )
        return current_a

    @field_validator("emergency_ramp_v_per_s")
    @classmethod
    def _emergency_not_slower(cls, ramp: float, info: ValidationInfo) -> float:
        if ramp < info.data.get("ramp_v_per_s", 0.0):
            raise ValueError(
                f"at least ramp_v_per_s, which is {info.data['ramp_v_per_s']:g}: "
                "an emergency may not be slower than work"
            )
        longest_s = info.data.get("max_voltage_v", 0.0) / ramp
        if longest_s > EMERGENCY_WITHIN_S:
            raise ValueError(
                f"fast enough that {info.data['max_voltage_v']:g} V come down within "
                f"{EMERGENCY_WITHIN_S:g} s: the watchdog has no more time"
            )
        return ramp

    @property
    def temperature_compensation(self) -> "TemperatureCompensation | None":
        """As the driver of the CAEN A7585 takes it."""
        if self.compensation is None:
            return None
        from drivers.caen_a7585.protocol import TemperatureCompensation

        return TemperatureCompensation(
            self.compensation.coefficient_mv_per_c, self.compensation.sensor
        )
