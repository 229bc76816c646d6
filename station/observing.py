"""Looking at the line: what every role shows, each role on its own.

A look reads one role back and names what it read: `bias.current_a`, `climate.box.dew_point_c`,
`contact.lid.closed`. An instrument that fails is silent, one whose driver has a bug is at fault;
neither keeps the looks at the others waiting.
"""

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from drivers.dew_point import dew_point_c, highest_dew_point_c
from drivers.errors import MachineAlarm, NotHomed
from drivers.roles import Humidity
from drivers.transport import PortStatistics
from station.events import InstrumentState
from station.safety.looking import Eye, Seen, look_at_all
from station.safety.rules import Snapshot, Value
from station.safety.section import is_number

if TYPE_CHECKING:
    from station.line import Line


TEMPERATURE_ERROR_C = 0.3
HUMIDITY_ERROR_PERCENT = 3.0
"""The largest errors of a humidity sensor in use; the dew margin allows for them."""


def eyes(line: "Line") -> tuple[Eye, ...]:
    """One eye for every role of a line that can be looked at without disturbing its work."""
    poll_s = line.profile.safety.poll_s
    found = [
        Eye("bias", line.bias.identity.model, lambda: _bias(line), line.profile.safety.bias_poll_s),
        Eye("readout", line.readout.identity.model, lambda: _readout(line), poll_s),
        Eye("gantry", line.gantry.identity.model, lambda: _gantry(line), poll_s),
        Eye("gripper", "vacuum", lambda: _gripper(line), poll_s),
        Eye("camera", line.camera.identity.model, lambda: _camera(line), poll_s),
    ]
    for name in line.humidity:
        found.append(
            Eye(
                f"climate.{name}",
                line.humidity[name].identity.model,
                lambda name=name: _climate(line, name),  # type: ignore[misc]
                max(poll_s, 1.0),
            )
        )
    for name in line.contacts:
        found.append(
            Eye(
                f"contact.{name}",
                "contact",
                lambda name=name: _contact(line, name),  # type: ignore[misc]
                poll_s,
            )
        )
    if line.chiller is not None:
        found.append(
            Eye("chiller", line.chiller.identity.model, lambda: _chiller(line), max(poll_s, 1.0))
        )
    if line.glue_valve is not None:
        found.append(Eye("glue_valve", "valve", lambda: _glue_valve(line), poll_s))
    return tuple(found)


def observe(line: "Line") -> Snapshot:
    """Look at every role at once and wait for all of them."""
    return look_at_all(eyes(line), lambda values: derive(values, line))


def traffic(line: "Line") -> dict[str, Value]:
    """How the transactions of the line's ports went, for the metrics: `bias.port.slowest_s`."""
    values: dict[str, Value] = {}
    ports = {
        "bias": line.bias,
        "readout": line.readout,
        "gantry": line.gantry,
        "chiller": line.chiller,
    }
    for role, instrument in ports.items():
        found = getattr(instrument, "statistics", None)
        if isinstance(found, PortStatistics):
            values[f"{role}.port.transactions"] = float(found.count)
            values[f"{role}.port.failures"] = float(found.failures)
            values[f"{role}.port.last_s"] = found.last_s
            values[f"{role}.port.slowest_s"] = found.slowest_s
    return values


def _bias(line: "Line") -> Seen:
    reading = line.bias.read()
    limiting = reading.output_on and reading.in_compliance
    values: dict[str, Value] = {
        "bias.voltage_v": reading.voltage_v,
        "bias.current_a": reading.current_a,
        "bias.set_v": reading.set_v,
        "bias.output_on": reading.output_on,
        "bias.in_compliance": limiting,
    }
    return values, InstrumentState(
        "bias",
        line.bias.identity.model,
        "on" if reading.output_on else "off",
        f"{_shown(reading.voltage_v, 3)} V   {_shown(reading.current_a * 1e6, 2)} µA",
        healthy=not limiting,
        trend=reading.voltage_v,
    )


def _readout(line: "Line") -> Seen:
    temperatures = line.climate.temperatures_c()
    lit = line.light.pulsing()
    hottest = max(temperatures.values(), default=math.nan)
    values: dict[str, Value] = {
        f"readout.temperature_c.{name}": value for name, value in temperatures.items()
    }
    values["readout.light_on"] = lit
    return values, InstrumentState(
        "readout",
        line.readout.identity.model,
        "LED on" if lit else "idle",
        f"board {hottest:.1f} °C",
        healthy=True,
        trend=hottest,
    )


def _gantry(line: "Line") -> Seen:
    name = line.gantry.identity.model
    try:
        state = line.gantry.state()
    except MachineAlarm as alarm:
        state = f"Alarm: {alarm.what}"
    values: dict[str, Value] = {"gantry.state": state}
    if state.startswith("Alarm"):
        return values, InstrumentState("gantry", name, "alarm", state, healthy=False)
    try:
        at = line.gantry.position()
    except NotHomed:
        return values, InstrumentState("gantry", name, "not homed", state, healthy=True)
    values |= {"gantry.x_mm": at.x_mm, "gantry.y_mm": at.y_mm, "gantry.z_mm": at.z_mm}
    return values, InstrumentState(
        "gantry",
        name,
        state.lower(),
        f"X {at.x_mm:.1f}  Y {at.y_mm:.1f}  Z {at.z_mm:.1f}",
        healthy=True,
        trend=at.x_mm,
    )


def _gripper(line: "Line") -> Seen:
    return {
        "gripper.vacuum_on": line.gripper.vacuum_on(),
        "gripper.holding": line.gripper.holding(),
        "gripper.carrying": line.carried is not None,
    }, None


def _camera(line: "Line") -> Seen:
    values: dict[str, Value] = {"camera.frozen": line.frames.frozen}
    if line.frames.level is not None:
        values["camera.level"] = line.frames.level
    return values, None


def _climate(line: "Line", name: str) -> Seen:
    sensor = line.humidity[name]
    read = sensor.read()
    role = f"climate.{name}"
    values: dict[str, Value] = {
        f"{role}.temperature_c": read.temperature_c,
        f"{role}.humidity_percent": read.humidity_percent,
        f"{role}.dew_point_c": _dew_point_c(read),
        f"{role}.highest_dew_point_c": _highest_dew_point_c(read),
    }
    return values, InstrumentState(
        role,
        sensor.identity.model,
        "reads",
        f"{read.temperature_c:.1f} °C   {read.humidity_percent:.0f} %",
        healthy=True,
        trend=read.humidity_percent,
    )


def _contact(line: "Line", name: str) -> Seen:
    closed = line.contacts[name].closed()
    state = "closed" if closed else "open"
    return {f"contact.{name}.closed": closed}, InstrumentState(
        f"contact.{name}", name, state, state, healthy=closed
    )


def _chiller(line: "Line") -> Seen:
    chiller = line.chiller
    assert chiller is not None
    bath_c, setpoint_c, running = chiller.bath_c(), chiller.setpoint_c(), chiller.running()
    values: dict[str, Value] = {
        "chiller.bath_c": bath_c,
        "chiller.setpoint_c": setpoint_c,
        "chiller.running": running,
    }
    return values, InstrumentState(
        "chiller",
        chiller.identity.model,
        "runs" if running else "stands",
        f"{bath_c:.1f} °C (set {setpoint_c:.1f})",
        healthy=True,
        trend=bath_c,
    )


def _glue_valve(line: "Line") -> Seen:
    valve = line.glue_valve
    assert valve is not None
    return {"glue_valve.open": valve.is_open()}, None


def derive(values: dict[str, Value], line: "Line") -> None:
    """Add what follows from several roles; what lacks one of them stays missing."""
    _derive_zones(values, line)
    surface_c = _coldest(values, _surfaces(line))
    if surface_c is None:
        return
    for name in [name for name in values if name.endswith(".highest_dew_point_c")]:
        dew_c = values[name]
        margin = surface_c - dew_c if is_number(dew_c) else math.nan  # type: ignore[operator]
        values[name.removesuffix("highest_dew_point_c") + "dew_margin_k"] = margin


def _dew_point_c(read: Humidity) -> float:
    try:
        return dew_point_c(read.temperature_c, read.humidity_percent)
    except ValueError:
        return math.nan


def _highest_dew_point_c(read: Humidity) -> float:
    """The dew point if both readings are as wrong as they may be."""
    if not 0.0 <= read.humidity_percent <= 100.0:
        return math.nan
    try:
        return highest_dew_point_c(
            read.temperature_c,
            read.humidity_percent,
            temperature_error_c=TEMPERATURE_ERROR_C,
            humidity_error_percent=HUMIDITY_ERROR_PERCENT,
        )
    except ValueError:
        return math.nan


def _surfaces(line: "Line") -> list[str]:
    """The surfaces that the line has: one without a chiller has no bath."""
    surfaces = line.profile.safety.dew_surfaces
    return [one for one in surfaces if line.chiller is not None or not one.startswith("chiller.")]


def _coldest(values: Mapping[str, Value], patterns: Iterable[str]) -> float | None:
    """The coldest of the named surfaces; NaN when one reads no number, None when one is not read:
    that one may be the coldest."""
    found: list[Value] = []
    for pattern in patterns:
        named = [value for name, value in values.items() if fnmatchcase(name, pattern)]
        if not named:
            return None
        found += named
    if not found:
        return None
    if not all(is_number(value) for value in found):
        return math.nan
    return min(float(value) for value in found)


def _derive_zones(values: dict[str, Value], line: "Line") -> None:
    here = [values.get(f"gantry.{axis}_mm") for axis in "xyz"]
    if any(value is None for value in here):
        return
    x, y, z = (float(value) for value in here)  # type: ignore[arg-type]
    camera = line.profile.camera
    for zone in line.profile.gantry.zones:
        for tool, dx, dy in (
            ("gantry", 0.0, 0.0),
            ("camera", camera.offset_x_mm, camera.offset_y_mm),
        ):
            # written so that a position that is no number counts as inside
            values[f"{tool}.inside.{zone.name}"] = not (
                x + dx < zone.x_mm[0]
                or x + dx > zone.x_mm[1]
                or y + dy < zone.y_mm[0]
                or y + dy > zone.y_mm[1]
                or z >= zone.top_z_mm
            )


def _shown(number: float, digits: int) -> str:
    return f"{round(number, digits) + 0.0:.{digits}f}"
