"""What a commissioning found, beside what the profile says, and how it gets into the file."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from station.commissioning.write import WriteRefusedError, write_with_backup
from station.events import Reading
from station.profile import Profile
from station.profile_file import load_profile
from station.settings import SettingsError
from station.toml_edit import EditRefusedError, with_values
from station.toml_lines import KeyPath

FIELDS: Mapping[str, KeyPath] = {
    "working_distance": ("camera", "working_distance_mm"),
    "mm_per_px": ("camera", "mm_per_px"),
    "camera_k1": ("camera", "k1_per_mm2"),
    "camera_rotation": ("camera", "rotation_rad"),
    "camera_offset_x": ("camera", "offset_x_mm"),
    "camera_offset_y": ("camera", "offset_y_mm"),
    "backlash_x": ("gantry", "backlash_mm", 0),
    "backlash_y": ("gantry", "backlash_mm", 1),
    "backlash_z": ("gantry", "backlash_mm", 2),
}
"""Quantity of a reading -> field of the profile. The other quantities only say how good it is."""
DIGITS = 2
"""Digits of the uncertainty that a written value keeps, and one more."""


@dataclass(frozen=True)
class Change:
    """One measured quantity. `old` is None where the profile has no value; `field` is None for
    what is measured but has no place in the profile."""

    quantity: str
    field: KeyPath | None
    old: float | None
    new: float
    sigma: float
    unit: str

    @property
    def moved(self) -> float | None:
        """How far the new value is from the old one, in standard deviations of the new one."""
        if self.old is None or self.sigma <= 0:
            return None
        return (self.new - self.old) / self.sigma


def changes(readings: Iterable[Reading], profile: Profile) -> tuple[Change, ...]:
    """The measured quantities in their order, the newest reading of each."""
    newest = {reading.quantity: reading for reading in readings if reading.value is not None}
    found = []
    for name, reading in newest.items():
        assert reading.value is not None
        assert reading.sigma is not None
        field = FIELDS.get(name)
        found.append(
            Change(
                name,
                field,
                _value_at(profile, field),
                reading.value,
                reading.sigma,
                reading.unit,
            )
        )
    return tuple(found)


def _value_at(profile: Profile, field: KeyPath | None) -> float | None:
    value: Any = profile
    for step in field or ():
        if value is None:
            return None
        value = value[step] if isinstance(step, int) else getattr(value, step)
    return None if field is None else value


def save(line_file: Path, found: Iterable[Change], profile: Profile) -> Path:
    """Write the measured values into the profile; returns the copy of the file as it was.

    Comments and order stay. The new text is read back as a profile before it takes the place of
    the old one.

    Raises WriteRefusedError: nothing was changed then, and the message says why.
    """
    values = profile_values(found, profile)
    if not values:
        raise WriteRefusedError("nothing was measured that belongs into the profile")
    try:
        text = line_file.read_bytes().decode("utf-8")
        edited = with_values(text, values)
    except (OSError, UnicodeDecodeError, EditRefusedError) as error:
        raise WriteRefusedError(f"{line_file}: {error}") from error
    _check(line_file, edited)
    kept = write_with_backup(line_file, edited)
    assert kept is not None
    return kept


def _check(line_file: Path, text: str) -> None:
    trial = line_file.with_name(f".{line_file.name}.trial")
    try:
        trial.write_bytes(text.encode("utf-8"))
        load_profile(trial)
    except SettingsError as error:
        told = "; ".join(f"{p.field}: {p.found}, expected {p.expected}" for p in error.problems)
        raise WriteRefusedError(
            f"{line_file} would not be a profile with the measured values: {told}"
        ) from error
    except OSError as error:
        raise WriteRefusedError(f"{trial} can't be written: {error.strerror}") from error
    finally:
        trial.unlink(missing_ok=True)


def profile_values(found: Iterable[Change], profile: Profile) -> dict[KeyPath, Any]:
    """Fields of the profile with the values to write, rounded to what their errors allow."""
    values: dict[KeyPath, Any] = {}
    backlash = list(profile.gantry.backlash_mm or (0.0, 0.0, 0.0))
    for change in found:
        if change.field is None:
            continue
        value = rounded(change.new, change.sigma)
        if change.field[:2] == ("gantry", "backlash_mm"):
            axis = change.field[2]
            assert isinstance(axis, int)
            backlash[axis] = max(value, 0.0)
            values[("gantry", "backlash_mm")] = tuple(backlash)
        else:
            values[change.field] = value
        if change.quantity == "mm_per_px":
            relative = change.sigma / change.new
            values[("camera", "mm_per_px_sigma_rel")] = rounded(relative, relative)
    return values


def rounded(value: float, sigma: float) -> float:
    """The value without the digits that its error makes meaningless."""
    if sigma <= 0:
        return value
    places = DIGITS - math.floor(math.log10(sigma))
    return round(value, places) + 0.0


def told(value: float, sigma: float) -> str:
    """`value ± sigma` with two digits of the error, in powers of ten where both are small."""
    if sigma <= 0:
        return f"{value:g}"
    power = math.floor(math.log10(max(abs(value), sigma)))
    factor, ending = 1.0, ""
    if power < -3:
        factor, ending = 10.0**-power, f"e{power}"
    places = max(1 - math.floor(math.log10(sigma * factor)), 0)
    text = f"{value * factor + 0.0:.{places}f} ± {sigma * factor:.{places}f}"
    return f"({text}){ending}" if ending else text
