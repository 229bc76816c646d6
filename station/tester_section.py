"""The tester section of a profile: where its servers are, and the constants of its board."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, field_validator

Text = Annotated[str, Field(min_length=1)]
Dac = Annotated[int, Field(ge=0, le=255)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class OvervoltageSection(_Section):
    """The setting of the board's regulators for one overvoltage, as its maker measured it."""

    overvoltage_v: float = Field(gt=0, le=10)
    dac_a: Dac
    """Coarse."""
    dac_b: Dac
    """Fine."""


class ThermometerSection(_Section):
    """A PT1000 of the board; `name` is its quantity, `readout.temperature_c.<name>`."""

    name: str = Field(pattern=r"^[A-Za-z0-9_ -]+$")
    channel: int = Field(ge=0, le=7)


class TesterSection(_Section):
    """The tester. Constants of the board that are left out are those of the driver."""

    driver: Literal["tileboard_tester"]
    host: Text
    fast_port: PositiveInt = Field(default=6000, le=65535)
    slow_port: PositiveInt = Field(default=5555, le=65535)
    data_port: PositiveInt = Field(default=6001, le=65535)
    push_port: PositiveInt = Field(default=8888, le=65535)
    """Where the tester pushes its events to the data client."""
    data_host: Text | None = None
    """The data client's machine, when it is not the tester."""
    data_folder: Text
    n_rocs: int = Field(default=1, ge=1, le=2)
    overvoltages: tuple[OvervoltageSection, ...] = ()
    """Only these can be set."""
    thermometers: tuple[ThermometerSection, ...] = ()
    """Those that are fitted; all eight inputs when left out."""
    bias_divider: PositiveFloat | None = None
    """Voltage of the bias over that at the converter."""
    supply_divider: PositiveFloat | None = None
    current_sense_ohm: PositiveFloat | None = None
    current_gain: PositiveFloat | None = None
    expected_serial: Text | None = None

    @field_validator("overvoltages")
    @classmethod
    def _each_once(cls, table: tuple[OvervoltageSection, ...]) -> tuple[OvervoltageSection, ...]:
        volts = [entry.overvoltage_v for entry in table]
        for volt in volts:
            if volts.count(volt) > 1:
                raise ValueError(f"each overvoltage once; {volt:g} V is there twice")
        return table

    @field_validator("thermometers")
    @classmethod
    def _each_its_own(
        cls, fitted: tuple[ThermometerSection, ...]
    ) -> tuple[ThermometerSection, ...]:
        names, channels = [one.name for one in fitted], [one.channel for one in fitted]
        for one in fitted:
            if names.count(one.name) > 1:
                raise ValueError(f"a name of its own for each; {one.name!r} is there twice")
            if channels.count(one.channel) > 1:
                raise ValueError(f"a channel of its own for each; {one.channel} is there twice")
        return fitted
