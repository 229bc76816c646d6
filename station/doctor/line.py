"""Every instrument of a profile, opened and read: does it answer, and is it the right one."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from drivers.errors import InstrumentError, InstrumentRefused, WrongInstrument
from drivers.roles import Identity
from station import instruments
from station.doctor.finding import Finding
from station.doctor.surroundings import examine_surroundings
from station.doctor.verified import remark
from station.profile import Profile
from station.profile_file import load_profile
from station.session import sole_owner

BIAS_OFF = "output off"
NOT_EXAMINED = "not examined"
TRAVEL_TOLERANCE_MM = 0.5


def examine(line_file: Path, *, data: Path | None = None) -> list[Finding]:
    """Open every instrument of the profile, one after the other, read its state, close it; then
    look at the station's own surroundings (disk, clock, permissions, watchdog).

    A bias that is on is left on, and then the readout, whose servers opening initialises, is not
    touched.
    data: folder of the records; without it the disk of the profile is looked at.
    Raises `station.settings.SettingsError` for a profile that can't be used and
    `station.session.SessionError` when a station works on the line.
    """
    profile = load_profile(line_file)
    with sole_owner(line_file):
        found = list(_examine_all(profile))
    return [*found, *examine_surroundings(profile, data or line_file.parent)]


def _examine_all(profile: Profile) -> list[Finding]:
    found = [_examine("bias", profile.bias.address, profile.bias.driver, lambda: _bias(profile))]
    if found[0].healthy and found[0].state.startswith(BIAS_OFF):
        found.append(
            _examine(
                "readout", profile.tester.host, profile.tester.driver, lambda: _tester(profile)
            )
        )
    else:
        found.append(
            Finding(
                "readout",
                profile.tester.host,
                "—",
                f"{NOT_EXAMINED}: the bias is not known to be off",
                healthy=False,
                remedy="Bring the bias down first; opening the readout would disturb a run.",
            )
        )
    gantry, camera = profile.gantry, profile.camera
    found += [
        _examine("gantry", gantry.port, gantry.driver, lambda: _gantry(profile)),
        _examine("camera", camera.url, camera.driver, lambda: _camera(profile)),
    ]
    for section in profile.climate:
        alone = profile.model_copy(update={"climate": (section,)})
        found.append(
            _examine(
                f"climate {section.name}",
                f"{section.bus} {section.address:#04x}",
                section.driver,
                lambda alone=alone: _climate(alone),  # type: ignore[misc]
            )
        )
    if profile.chiller is not None:
        chiller = profile.chiller
        found.append(_examine("chiller", chiller.port, chiller.driver, lambda: _chiller(profile)))
    if profile.scanner is not None:
        scanner = profile.scanner
        if scanner.port is None:
            found.append(
                Finding(
                    "scanner",
                    "keyboard",
                    "—",
                    "types as a keyboard: scan a label into the desktop to try it",
                    healthy=True,
                )
            )
        else:
            found.append(
                _examine("scanner", scanner.port, scanner.driver, lambda: _scanner(profile))
            )
    found += _contacts(profile)
    return found


def _examine(
    role: str, address: str, driver: str, look: Callable[[], tuple[Identity, str]]
) -> Finding:
    try:
        identity, state = look()
    except WrongInstrument as error:
        return Finding(role, address, "another instrument", error.what, False, error.advice)
    except InstrumentError as error:
        return Finding(role, address, "—", _without_advice(error), False, error.advice)
    name = " ".join(
        part
        for part in (identity.maker, identity.model, identity.serial, identity.firmware)
        if part
    )
    untried = remark(driver, identity.firmware)
    if untried:
        return Finding(
            role,
            address,
            name,
            f"{state}; {untried}",
            True,
            "Work on; tell the makers of the station whether it behaves.",
        )
    return Finding(role, address, name, state, True)


def _without_advice(error: InstrumentError) -> str:
    sent = f" after sending {error.sent!r}" if error.sent else ""
    return f"{error.what}{sent}"


def _bias(profile: Profile) -> tuple[Identity, str]:
    supply = instruments.open_bias(profile)
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
    tester = instruments.open_readout(profile)
    try:
        hottest = max(tester.temperatures_c().values())
        return tester.identity, f"{tester.n_channels} channels, board {hottest:.1f} °C"
    finally:
        tester.close()


def _gantry(profile: Profile) -> tuple[Identity, str]:
    motion = instruments.open_gantry(profile)
    try:
        gantry = motion.gantry
        for axis, told, known in zip(
            "xyz", profile.gantry.travel_mm, gantry.travel_mm, strict=True
        ):
            if told > known + TRAVEL_TOLERANCE_MM:
                raise InstrumentRefused(
                    f"the controller's {axis} travels {known:g} mm, less than the profile says",
                    port=profile.gantry.port,
                    advice="Correct gantry.travel_mm in the site profile, or the controller.",
                )
        homed = "homed" if gantry.is_homed() else "not homed yet"
        return gantry.identity, f"{gantry.state()}, {homed}"
    finally:
        motion.close()


def _camera(profile: Profile) -> tuple[Identity, str]:
    camera = instruments.open_camera(profile)
    try:
        image = camera.grab(deadline_s=profile.camera.grab_deadline_s).image
        return (
            camera.identity,
            f"picture {image.shape[1]}x{image.shape[0]}, mean {image.mean():.0f}",
        )
    finally:
        camera.close()


def _climate(profile: Profile) -> tuple[Identity, str]:
    (sensor,) = instruments.open_climate(profile).values()
    try:
        seen = sensor.read()
        return sensor.identity, f"{seen.temperature_c:.1f} °C, {seen.humidity_percent:.0f} % RH"
    finally:
        sensor.close()


def _chiller(profile: Profile) -> tuple[Identity, str]:
    chiller = instruments.open_chiller(profile)
    assert chiller is not None
    try:
        running = "running" if chiller.running() else "stopped"
        return chiller.identity, (
            f"{running}, bath {chiller.bath_c():.2f} °C, set to {chiller.setpoint_c():.2f} °C"
        )
    finally:
        chiller.close()


def _scanner(profile: Profile) -> tuple[Identity, str]:
    scanner = instruments.open_scanner(profile)
    assert scanner is not None
    try:
        return scanner.identity, "port opened; scan a label to try it"
    finally:
        scanner.close()


def _contacts(profile: Profile) -> list[Finding]:
    """Each contact through the instrument that reads it; the readout is not opened for it."""
    found = []
    for section in profile.contacts:
        alone = profile.model_copy(update={"contacts": (section,)})
        name, address = f"contact {section.name}", section.driver
        if section.driver == "tester_gpio":
            found.append(
                Finding(
                    name, address, "—", f"{NOT_EXAMINED}: it is read while the station runs", True
                )
            )
            continue
        try:
            with ExitStack() as stack:
                closed = _read_contact(alone, section.driver, stack)
        except InstrumentError as error:
            found.append(Finding(name, address, "—", _without_advice(error), False, error.advice))
        else:
            found.append(
                Finding(
                    name,
                    address,
                    "contact",
                    "closed" if closed else "open",
                    closed,
                    "" if closed else f"Close the {section.name}, or check its switch and cable.",
                )
            )
    return found


def _read_contact(profile: Profile, driver: str, stack: ExitStack) -> bool:
    if driver == "bias_interlock":
        bias = instruments.open_bias(profile)
        stack.callback(bias.leave)
        (contact,) = instruments.open_contacts(profile, bias=bias).values()
    else:
        motion = instruments.open_gantry(profile)
        stack.callback(motion.close)
        (contact,) = instruments.open_contacts(profile, gantry=motion.gantry).values()
    return contact.closed()
