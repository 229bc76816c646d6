"""The configuration of a line that goes with every run: who answers, with which limits, which
calibration, and the whole profile by reference."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from drivers.roles import Identity
from station.profile import Profile
from station.toml_text import toml_text

if TYPE_CHECKING:
    from db import Store
    from station.line import Line

PROFILE_MEDIA_TYPE = "application/toml"
CALIBRATED = {
    "camera": {
        "mm_per_px",
        "mm_per_px_sigma_rel",
        "rotation_rad",
        "k1_per_mm2",
        "offset_x_mm",
        "offset_y_mm",
        "working_distance_mm",
    },
    "gantry": {"approach_mm", "backlash_mm", "safe_z_mm"},
}
"""Fields of the profile that say how the line is calibrated, by section."""
BIAS_LIMITS = ("max_voltage_v", "compliance_a", "ramp_v_per_s", "emergency_ramp_v_per_s")


def instruments_of(line: "Line") -> dict[str, dict[str, Any]]:
    """Identity (maker, model, serial, firmware, port) of every instrument by its role; the bias
    supply with the limits that are programmed into it."""
    found = {role: asdict(identity) for role, identity in _identities(line)}
    bias = line.profile.bias
    found["bias"] |= {name: getattr(bias, name) for name in BIAS_LIMITS}
    return found


def _identities(line: "Line") -> list[tuple[str, Identity]]:
    identities = [
        ("bias", line.bias.identity),
        ("readout", line.readout.identity),
        ("gantry", line.gantry.identity),
        ("camera", line.camera.identity),
        *((f"climate {name}", sensor.identity) for name, sensor in line.humidity.items()),
    ]
    if line.chiller is not None:
        identities.append(("chiller", line.chiller.identity))
    if line.scanner is not None:
        identities.append(("scanner", line.scanner.identity))
    return identities


def calibration_of(profile: Profile) -> dict[str, Any]:
    """The constants that a run uses, by section."""
    return {
        **{
            section: getattr(profile, section).model_dump(mode="json", include=names)
            for section, names in CALIBRATED.items()
        },
        "tray": profile.tray.model_dump(),
        "board": profile.board.model_dump(),
    }


def keep_profile(store: "Store", profile: Profile) -> Mapping[str, str]:
    """Store the whole profile, once, and return the reference that a run keeps.

    The text is the profile's content in the order of its model, so that equal profiles have equal
    hashes whatever their comments. Raises `db.StoreError`.
    """
    text = toml_text(profile, comment="The site profile, as a station used it.")
    return {"sha256": store.attach(text.encode("utf-8"), PROFILE_MEDIA_TYPE)}
