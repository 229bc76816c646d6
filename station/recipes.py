"""Recipes: the parameters and limits of each procedure, as data that a site keeps in a file."""

import hashlib
from importlib import resources
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from station.limits import Limit
from station.settings import load_toml


class Recipe(BaseModel):
    """What every recipe has; its SHA-256 is its identity."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    version: str

    def content_sha256(self) -> str:
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()


class InspectTile(Recipe):
    """Limits in mm against the format's nominal size come from the catalogue's tolerances."""

    attempts: PositiveInt = 2
    guard_sigmas: float = Field(default=2.0, ge=0)


class WrapTiles(Recipe):
    """Wrapping is done by hand; the record says who wrapped which tile."""


class PlaceTiles(Recipe):
    fiducial_diameter_mm: PositiveFloat
    max_fiducial_residual_mm: PositiveFloat
    look_attempts: PositiveInt = 2
    pick_attempts: PositiveInt = 2
    limits: dict[str, Limit]


class ModuleRule(BaseModel):
    """How channel verdicts make the verdict of the module."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    max_failed_channels: int = Field(ge=0)
    max_unknown_channels: int = Field(ge=0)
    max_flagged_channels: int = Field(ge=0)


class LedTest(Recipe):
    """Bias points, IV scan, LED run and limits of a module test. Voltages in V at the SiPM."""

    vbd_nominal_v: PositiveFloat
    vbd_reference_c: float
    vbd_slope_v_per_k: PositiveFloat
    overvoltage_v: float = Field(gt=0, le=6)
    ceiling_v: PositiveFloat | None = None
    """The highest bias of a board whose breakdown voltage the records do not know yet. Left out:
    6 V above the nominal one."""
    iv_start_v: PositiveFloat
    iv_stop_overvoltage_v: float = Field(gt=0, le=6)
    iv_step_v: PositiveFloat
    iv_settle_s: float = Field(ge=0)
    bias_settle_s: float = Field(ge=0)
    n_events: PositiveInt
    readout: dict[str, int] = {}
    """Settings of the readout, by its own names."""
    limits: dict[str, Limit]
    module: ModuleRule

    @model_validator(mode="after")
    def _scan_is_a_scan(self) -> Self:
        points = (
            self.vbd_nominal_v + self.iv_stop_overvoltage_v - self.iv_start_v
        ) / self.iv_step_v
        if points < 10:
            raise ValueError(f"the IV scan has {points:.0f} points; at least 10 are needed")
        return self


class Recipes(BaseModel):
    """All recipes of a line, one table each."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    inspect_tile: InspectTile
    wrap_tiles: WrapTiles
    place_tiles: PlaceTiles
    test_board: LedTest


def load_recipes(path: Path | None = None) -> Recipes:
    """Recipes from a site's file, or the ones delivered with the station.

    Raises `station.settings.SettingsError` naming file, line and field.
    """
    if path is not None:
        return load_toml(path, Recipes)
    with resources.as_file(resources.files("station") / "recipes.toml") as default:
        return load_toml(default, Recipes)
