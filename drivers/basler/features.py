"""Features that are written within the camera's own limits and read back."""

import math

from drivers.basler import protocol
from drivers.basler.device import CameraDevice, Value
from drivers.errors import InstrumentError, InstrumentRefused, SetpointRefused


def feature(device: CameraDevice, names: tuple[str, ...], what: str) -> str:
    """The first of ``names`` that the camera has; raises InstrumentRefused."""
    name = device.name_of(names)
    if name is None:
        raise InstrumentRefused(
            f"the camera {device.identity.model} has no feature for its {what}",
            port=device.port,
            advice="Set it with the vendor's viewer and save it in the camera.",
        )
    return name


def write_exposure(device: CameraDevice, exposure_us: float) -> None:
    """Set the exposure within the camera's limits and read it back."""
    name = feature(device, protocol.EXPOSURE_US, "exposure")
    _write_within(device, name, exposure_us, "µs", protocol.EXPOSURE_STEP_US)


def write_gain(device: CameraDevice, gain_db: float) -> None:
    """Set the gain within the camera's limits and read it back."""
    name = feature(device, protocol.GAIN_DB, "gain in dB")
    _write_within(device, name, gain_db, "dB", protocol.GAIN_STEP_DB)


def _write_within(device: CameraDevice, name: str, value: float, unit: str, step: float) -> None:
    low, high = device.limits(name)
    if not low <= value <= high:
        raise SetpointRefused(
            f"{name} must be {low:g} to {high:g} {unit}, not {value:g}",
            port=device.port,
            advice="Choose a value that the camera has.",
        )
    device.write(name, float(value))
    got = float(device.read(name))
    if abs(got - value) > step:
        raise InstrumentError(
            f"{name} was set to {value:g} {unit} and reads back {got:g}", port=device.port
        )


def write_checked(device: CameraDevice, name: str, value: Value) -> None:
    """Write a feature unless it has the value already, and read it back."""
    if device.name_of((name,)) is not None and _same(device.read(name), value):
        return
    device.write(name, value)
    got = device.read(name)
    if not _same(got, value):
        raise InstrumentError(f"{name} was set to {value!r} and reads {got!r}", port=device.port)


def _same(got: Value, wanted: Value) -> bool:
    if isinstance(got, str) or isinstance(wanted, str):
        return got == wanted
    return math.isclose(float(got), float(wanted), rel_tol=1e-3, abs_tol=1e-9)
