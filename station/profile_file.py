"""The site profile as a file: read, with the checks that one field alone can't show."""

from collections.abc import Callable, Iterator
from pathlib import Path

from station.bias_section import BIAS_WITH_INTERLOCK
from station.profile import Profile
from station.safety.rule_checks import rules_fit_the_line
from station.settings import SettingsError, SettingsFile, read_settings
from station.toml_lines import KeyPath

Objection = tuple[KeyPath, str, str]
"""Field, what was found there, what is expected."""

CHILLER_SILENT_S = 4.5
"""Between two good looks at a slow chiller (Julabo) when one of its answers is lost: 4.2 s."""


def load_profile(path: Path) -> Profile:
    """Read a site profile and check it as a whole.

    Raises `station.settings.SettingsError` with every problem: file, line, field, what was found
    and what is expected.
    """
    return read_profile(path).content


def read_profile(path: Path) -> SettingsFile[Profile]:
    """As `load_profile`, and remembers the line of every field."""
    file = read_settings(path, Profile)
    problems = [
        file.problem(field, found, expected)
        for check in _CHECKS
        for field, found, expected in check(file.content)
    ]
    problems += [
        file.problem(field, found, expected)
        for field, found, expected in _files_exist(file.content, path.parent)
    ]
    if problems:
        raise SettingsError(*sorted(problems, key=lambda problem: problem.line or 0))
    return file


def _one_role_per_port(profile: Profile) -> Iterator[Objection]:
    used: list[tuple[KeyPath, str]] = [
        (("bias", "address"), profile.bias.address),
        (("gantry", "port"), profile.gantry.port),
        (("camera", "url"), profile.camera.url),
    ]
    if profile.chiller is not None:
        used.append((("chiller", "port"), profile.chiller.port))
    if profile.scanner is not None and profile.scanner.port is not None:
        used.append((("scanner", "port"), profile.scanner.port))
    used += [
        (("climate", index, "address"), f"{sensor.bus} address {sensor.address:#04x}")
        for index, sensor in enumerate(profile.climate)
    ]
    first: dict[str, KeyPath] = {}
    for field, port in used:
        place = _same_device(port)
        if place in first:
            yield field, repr(port), f"a port of its own: {_dotted(first[place])} is on this one"
        else:
            first[place] = field
    tester = profile.tester
    ports = {"fast_port": tester.fast_port, "slow_port": tester.slow_port}
    for name, port_number in ports.items():
        if port_number == tester.data_port:
            yield ("tester", "data_port"), str(port_number), f"another port than {name}"
    if tester.slow_port == tester.fast_port:
        yield ("tester", "slow_port"), str(tester.slow_port), "another port than fast_port"


def _same_device(port: str) -> str:
    """One word for one device: links below /dev are followed, VISA's ASRL is taken off."""
    name = port
    if name.upper().startswith("ASRL") and name.upper().endswith("::INSTR"):
        name = name[len("ASRL") : -len("::INSTR")]
    if name.startswith("/dev/") and " " not in name:
        return str(Path(name).resolve())
    return name.upper()


def _names_are_unique(profile: Profile) -> Iterator[Objection]:
    lists: dict[KeyPath, tuple[str, ...]] = {
        ("climate",): tuple(sensor.name for sensor in profile.climate),
        ("contacts",): tuple(contact.name for contact in profile.contacts),
        ("gantry", "zones"): tuple(zone.name for zone in profile.gantry.zones),
    }
    for path, names in lists.items():
        for index, name in enumerate(names):
            if name in names[:index]:
                yield (*path, index, "name"), repr(name), "a name that none before it has"


def _safe_height(profile: Profile) -> Iterator[Objection]:
    gantry = profile.gantry
    field: KeyPath = ("gantry", "safe_z_mm")
    found = f"{gantry.safe_z_mm:g}"
    if gantry.safe_z_mm > gantry.travel_mm[2]:
        yield field, found, f"at most the travel of z, {gantry.travel_mm[2]:g}"
    tops = {
        "tray.surface_z_mm": profile.tray.surface_z_mm,
        "board.surface_z_mm": profile.board.surface_z_mm,
    }
    if profile.target is not None:
        tops["target.surface_z_mm"] = profile.target.surface_z_mm
    tops |= {f"the top of the zone {zone.name!r}": zone.top_z_mm for zone in gantry.zones}
    for name, top in tops.items():
        if gantry.safe_z_mm <= top:
            yield field, found, f"above {name}, which is {top:g}"


def _zones_inside_the_travel(profile: Profile) -> Iterator[Objection]:
    travel = profile.gantry.travel_mm
    for index, zone in enumerate(profile.gantry.zones):
        path: KeyPath = ("gantry", "zones", index)
        for axis, span, length in (("x_mm", zone.x_mm, travel[0]), ("y_mm", zone.y_mm, travel[1])):
            if span[0] < 0 or span[1] > length:
                yield (*path, axis), f"{span[0]:g} to {span[1]:g}", f"inside 0 to {length:g}"
        if not 0 <= zone.top_z_mm <= travel[2]:
            yield (*path, "top_z_mm"), f"{zone.top_z_mm:g}", f"inside 0 to {travel[2]:g}"


def _places_inside_the_travel(profile: Profile) -> Iterator[Objection]:
    """Nozzle and camera must both get over the tray's first row, the board and the target."""
    travel, camera, tray = profile.gantry.travel_mm, profile.camera, profile.tray
    last_x_mm = tray.origin_x_mm + (tray.columns - 1) * tray.pitch_mm
    places: list[tuple[KeyPath, float, float]] = [
        (("tray", "origin_x_mm"), tray.origin_x_mm, tray.origin_y_mm),
        (("tray", "columns"), last_x_mm, tray.origin_y_mm),
        (("board", "origin_x_mm"), profile.board.origin_x_mm, profile.board.origin_y_mm),
    ]
    heights: list[tuple[KeyPath, float]] = [
        (("tray", "surface_z_mm"), tray.surface_z_mm),
        (("board", "surface_z_mm"), profile.board.surface_z_mm),
    ]
    if profile.target is not None:
        target = profile.target
        places.append((("target", "origin_x_mm"), target.origin_x_mm, target.origin_y_mm))
        if target.pad_mm is not None:
            places.append((("target", "pad_mm"), *target.pad_mm))
        heights.append((("target", "surface_z_mm"), target.surface_z_mm))
    for field, x_mm, y_mm in places:
        for who, dx, dy in (
            ("nozzle", 0.0, 0.0),
            ("camera", camera.offset_x_mm, camera.offset_y_mm),
        ):
            if not (0 <= x_mm - dx <= travel[0] and 0 <= y_mm - dy <= travel[1]):
                yield (
                    field,
                    f"the place {x_mm:g}, {y_mm:g}",
                    f"a place that the {who} can reach: the head would be at "
                    f"{x_mm - dx:g}, {y_mm - dy:g} of a travel of {travel[0]:g} x {travel[1]:g}",
                )
                break
    for field, z_mm in heights:
        head_z_mm = z_mm + camera.working_distance_mm
        if not 0 <= z_mm <= travel[2]:
            yield field, f"{z_mm:g}", f"inside the travel of z, 0 to {travel[2]:g}"
        elif head_z_mm > travel[2]:
            yield (
                field,
                f"{z_mm:g}",
                f"low enough to be seen: with camera.working_distance_mm the head would be at "
                f"{head_z_mm:g} of {travel[2]:g}",
            )


def _play_is_taken_up(profile: Profile) -> Iterator[Objection]:
    gantry = profile.gantry
    if gantry.backlash_mm is None:
        return
    for axis, play in zip("xyz", gantry.backlash_mm, strict=True):
        if play < 0:
            yield ("gantry", "backlash_mm"), f"{play:g} in {axis}", "0 or more"
    play = max(gantry.backlash_mm[:2])
    if gantry.approach_mm <= play:
        yield (
            ("gantry", "approach_mm"),
            f"{gantry.approach_mm:g}",
            f"more than the play of the axes, {play:g}: else it is not taken up",
        )


def _interlock_can_trip(profile: Profile) -> Iterator[Objection]:
    safety, bias = profile.safety, profile.bias
    if safety.max_current_a > bias.compliance_a:
        yield (
            ("safety", "max_current_a"),
            f"{safety.max_current_a:g}",
            f"at most bias.compliance_a, {bias.compliance_a:g}: "
            "the supply lets no more flow, and the rule could never trip",
        )
    if safety.poll_s >= safety.silent_after_s:
        yield (
            ("safety", "poll_s"),
            f"{safety.poll_s:g}",
            f"less than silent_after_s, {safety.silent_after_s:g}",
        )


def _contacts_can_be_read(profile: Profile) -> Iterator[Objection]:
    """A contact that its instrument tells nothing of could never open for a rule."""
    for index, contact in enumerate(profile.contacts):
        field: KeyPath = ("contacts", index, "driver")
        if contact.driver == "bias_interlock" and profile.bias.driver not in BIAS_WITH_INTERLOCK:
            yield (
                field,
                repr(contact.driver),
                f"another one: a {profile.bias.driver} does not tell of an interlock",
            )
        if contact.driver == "gantry_door" and profile.gantry.driver == "marlin":
            yield field, repr(contact.driver), "another one: only GRBL tells of a safety door"


def _chiller_has_time(profile: Profile) -> Iterator[Objection]:
    silent_after_s = profile.safety.silent_after_s
    if profile.chiller is not None and silent_after_s < CHILLER_SILENT_S:
        yield (
            ("safety", "silent_after_s"),
            f"{silent_after_s:g}",
            f"at least {CHILLER_SILENT_S:g} with a chiller: one lost answer of it takes so long, "
            "and is no silence; a rule for bias.silent_s may be quicker",
        )


def _zones_of_rules(profile: Profile) -> Iterator[Objection]:
    """A rule that names a zone names one that there is."""
    zones = [zone.name for zone in profile.gantry.zones]
    there = f"one of gantry.zones: {', '.join(zones)}" if zones else "a zone of gantry.zones"
    for index, rule in enumerate(profile.safety.rules):
        if rule.inside is not None and rule.inside not in zones:
            yield ("safety", "rules", index, "inside"), repr(rule.inside), there
        for number, condition in enumerate(rule.when):
            if condition.inside is not None and condition.inside not in zones:
                field: KeyPath = ("safety", "rules", index, "when", number, "inside")
                yield field, repr(condition.inside), there


def _real_time_on_real_hardware(profile: Profile) -> Iterator[Objection]:
    scale = profile.station.time_scale
    if scale != 1 and profile.twin is None:
        yield (
            ("station", "time_scale"),
            f"{scale:g}",
            "1: real instruments do not ramp and settle faster",
        )


def _files_exist(profile: Profile, folder: Path) -> Iterator[Objection]:
    files = profile.files
    if files.recipes is not None and not (folder / files.recipes).is_file():
        yield ("files", "recipes"), repr(files.recipes), f"a file in {folder}"
    for index, name in enumerate(files.catalogue):
        if not (folder / name).exists():
            yield ("files", "catalogue", index), repr(name), f"a file or folder in {folder}"


def _dotted(field: KeyPath) -> str:
    return ".".join(str(step) for step in field)


_CHECKS: tuple[Callable[[Profile], Iterator[Objection]], ...] = (
    _one_role_per_port,
    _names_are_unique,
    _safe_height,
    _zones_inside_the_travel,
    _places_inside_the_travel,
    _play_is_taken_up,
    _interlock_can_trip,
    _chiller_has_time,
    _contacts_can_be_read,
    _zones_of_rules,
    rules_fit_the_line,
    _real_time_on_real_hardware,
)
