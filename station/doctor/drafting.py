"""The beginning of a site profile, from what a scan found. What is not known is marked."""

from collections.abc import Iterator, Sequence

from station.doctor.ports import Found
from station.toml_text import toml_value

FILL_IN = "FILL IN"
"""Stands in every line that somebody has to complete; such a draft is refused when it is read."""


def draft(found: Sequence[Found]) -> str:
    """A profile as TOML text, with the instruments that answered.

    A line marked FILL IN is a comment until somebody writes the value: reading the draft before
    names every field that is still missing. Of two instruments for one role the first stands in
    the file and the others beside it as comments.
    """
    lines = [
        "# Draft of a site profile, from a scan. Complete every line marked FILL IN, then",
        "# 'tessera doctor --line FILE'. Lengths in mm in the gantry frame: x to the right,",
        "# y away from the operator, z up, z = 0 at the base plate.",
        "",
        "version = 1",
        *_table("site", code=None, name=None),
        *_table("station", name="line 1"),
    ]
    for section, rest in _SECTIONS.items():
        there = [one for one in found if one.role == section and one.driver]
        lines += _section(section, there, rest)
    return "\n".join(lines) + "\n"


def _section(section: str, there: list[Found], rest: dict[str, object]) -> Iterator[str]:
    if not there and section in _OPTIONAL:
        return
    if section in _LISTED:
        for number, one in enumerate(there, start=1):
            bus, _, address = one.address.partition(" ")
            yield from ("", f"# {one.identity}", f"[[{section}]]")
            yield f"name = {toml_value(f'{section} {number}')}"
            yield from (f"driver = {toml_value(one.driver)}", f"bus = {toml_value(bus)}")
            yield f"address = {address}"
        return
    yield ""
    for one in there:
        yield f"# {one.identity} ({one.about})"
    yield f"[{section}]"
    where = _ADDRESS.get(section)
    if where is not None:
        first, *others = there or [Found("", "")]
        yield _line("driver", first.driver or None)
        yield _line(where, first.address or None)
        if first.framing is not None and section in _WITH_BAUD:
            yield _line("baud", first.framing.baud)
        for one in others:
            yield f"# or: driver = {toml_value(one.driver)}, {where} = {toml_value(one.address)}"
    yield from (_line(key, value) for key, value in rest.items())


def _table(section: str, **fields: object) -> Iterator[str]:
    yield from ("", f"[{section}]")
    yield from (_line(key, value) for key, value in fields.items())


def _line(key: str, value: object) -> str:
    return f"# {key} =   # {FILL_IN}" if value is None else f"{key} = {toml_value(value)}"


_ADDRESS = {
    "bias": "address",
    "tester": "host",
    "gantry": "port",
    "camera": "url",
    "chiller": "port",
    "scanner": "port",
}
_OPTIONAL = frozenset({"chiller", "scanner", "climate"})
_LISTED = frozenset({"climate"})
_WITH_BAUD = frozenset({"gantry", "chiller"})
_SECTIONS: dict[str, dict[str, object]] = {
    "bias": {
        "max_voltage_v": None,
        "compliance_a": None,
        "ramp_v_per_s": 5.0,
        "emergency_ramp_v_per_s": 50.0,
    },
    "tester": {"data_folder": None, "n_rocs": 1},
    "gantry": {
        "travel_mm": None,
        "feed_mm_per_min": 3000.0,
        "safe_z_mm": None,
        "approach_mm": 0.5,
    },
    "gripper": {"driver": "gantry_output", "settle_s": 0.2},
    "camera": {
        "width_px": None,
        "height_px": None,
        "mm_per_px": None,
        "mm_per_px_sigma_rel": 0.01,
        "offset_x_mm": None,
        "offset_y_mm": None,
        "working_distance_mm": None,
    },
    "tray": {
        "origin_x_mm": None,
        "origin_y_mm": None,
        "pitch_mm": None,
        "columns": None,
        "surface_z_mm": None,
    },
    "board": {"origin_x_mm": None, "origin_y_mm": None, "surface_z_mm": None},
    "climate": {},
    "chiller": {"lowest_c": None, "highest_c": None},
    "scanner": {},
    "safety": {
        "max_current_a": None,
        "max_temperature_c": None,
        "silent_after_s": 5.0,
        "poll_s": 0.5,
    },
}
