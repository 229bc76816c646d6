"""The doctor: which instruments of a line answer, and which are what they should be."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from drivers.errors import InstrumentError, WrongInstrument
from drivers.grbl.driver import GrblGantry
from drivers.keithley.driver import Keithley2450
from drivers.opencv_camera.driver import OpenCvCamera
from drivers.roles import Identity
from drivers.tileboard_tester.driver import TileboardTester
from drivers.tileboard_tester.protocol import BoardConstants
from station.profile import Profile
from station.profile_file import load_profile
from station.session import sole_owner

BIAS_OFF = "output off"


@dataclass(frozen=True)
class Finding:
    """What the doctor found at one address."""

    role: str
    address: str
    identity: str
    state: str
    healthy: bool

    def as_data(self) -> dict[str, Any]:
        return asdict(self)


def examine(line_file: Path) -> list[Finding]:
    """Open every instrument of the profile, one after the other, read its state, close it.

    A bias that is on is left on, and then the readout, whose servers opening initialises, is not
    touched.
    Raises `station.settings.SettingsError` for a profile that can't be used and
    `station.session.SessionError` when a station works on the line.
    """
    profile = load_profile(line_file)
    with sole_owner(line_file):
        return _examine_all(profile)


def _examine_all(profile: Profile) -> list[Finding]:
    expected = profile.bias.expected_serial
    bias = _examine("bias", profile.bias.address, lambda: _bias(profile), expected)
    if bias.healthy and bias.state.startswith(BIAS_OFF):
        readout = _examine("readout", profile.tester.host, lambda: _tester(profile))
    else:
        readout = Finding(
            "readout",
            profile.tester.host,
            "—",
            "not examined: the bias is not known to be off",
            healthy=False,
        )
    return [
        bias,
        readout,
        _examine("gantry", profile.gantry.port, lambda: _gantry(profile)),
        _examine("camera", profile.camera.url, lambda: _camera(profile)),
    ]


def _examine(
    role: str,
    address: str,
    look: Callable[[], tuple[Identity, str]],
    expected_serial: str | None = None,
) -> Finding:
    try:
        identity, state = look()
    except WrongInstrument as error:
        return Finding(role, address, "another instrument", str(error), healthy=False)
    except InstrumentError as error:
        return Finding(role, address, "—", str(error), healthy=False)
    name = f"{identity.maker} {identity.model} {identity.serial} {identity.firmware}"
    if expected_serial is not None and identity.serial != expected_serial:
        return Finding(role, address, name, f"serial is not {expected_serial}", healthy=False)
    return Finding(role, address, name, state, healthy=True)


def _bias(profile: Profile) -> tuple[Identity, str]:
    supply = Keithley2450.open(profile.bias.address)
    try:
        reading = supply.read()
        return supply.identity, (
            f"{'output ON' if reading.output_on else BIAS_OFF}, "
            f"{round(reading.voltage_v, 2) + 0.0:.2f} V, "
            f"{round(reading.current_a * 1e6, 2) + 0.0:.2f} µA"
        )
    finally:
        supply.leave()


def _tester(profile: Profile) -> tuple[Identity, str]:
    tester = TileboardTester(
        profile.tester.host,
        fast_port=profile.tester.fast_port,
        slow_port=profile.tester.slow_port,
        data_port=profile.tester.data_port,
        data_folder=Path(profile.tester.data_folder),
        board_constants=BoardConstants(n_rocs=profile.tester.n_rocs),
    )
    try:
        hottest = max(tester.temperatures_c().values())
        return tester.identity, f"{tester.n_channels} channels, board {hottest:.1f} °C"
    finally:
        tester.close()


def _gantry(profile: Profile) -> tuple[Identity, str]:
    gantry = GrblGantry.open(profile.gantry.port)
    try:
        homed = "homed" if gantry.is_homed() else "not homed yet"
        return gantry.identity, f"{gantry.state()}, {homed}"
    finally:
        gantry.close()


def _camera(profile: Profile) -> tuple[Identity, str]:
    camera = OpenCvCamera(
        profile.camera.url,
        width_px=profile.camera.width_px,
        height_px=profile.camera.height_px,
    )
    try:
        image = camera.grab(deadline_s=profile.camera.grab_deadline_s).image
        return (
            camera.identity,
            f"picture {image.shape[1]}x{image.shape[0]}, mean {image.mean():.0f}",
        )
    finally:
        camera.close()
