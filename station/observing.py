"""Looking at the line: what every role shows, each role on its own.

A look reads one role back and names what it read: `bias.current_a`, `climate.box.dew_point_c`,
`contact.lid.closed`. An instrument that fails is silent, one whose driver has a bug is at fault;
neither keeps the looks at the others waiting.
"""

import math
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from drivers.errors import MachineAlarm, NotHomed
from station.events import InstrumentState
from station.safety.looking import Eye, Seen, look_at_all
from station.safety.rules import Snapshot, Value
from station.safety.section import is_number

if TYPE_CHECKING:
    from station.line import Line


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


def dew_point_c(temperature_c: float, humidity_percent: float) -> float:
    """Dew point of moist air over water (Magnus formula, WMO coefficients, -45 to 60 °C).

    ln(e/e_s) = ln(RH/100); T_d = 243.12 L / (17.62 - L) with
    L = ln(RH/100) + 17.62 T / (243.12 + T). NaN for a humidity that is not above 0 %, or for what
    no sensor reads.
    """
    if not (0.0 < humidity_percent <= 110.0 and -100.0 < temperature_c < 150.0):
        return math.nan
    level = math.log(humidity_percent / 100.0) + 17.62 * temperature_c / (243.12 + temperature_c)
    return 243.12 * level / (17.62 - level)


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
    dew_c = dew_point_c(read.temperature_c, read.humidity_percent)
    role = f"climate.{name}"
    values: dict[str, Value] = {
        f"{role}.temperature_c": read.temperature_c,
        f"{role}.humidity_percent": read.humidity_percent,
        f"{role}.dew_point_c": dew_c,
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
    humidity = [name for name in values if name.endswith(".dew_point_c")]
    if not humidity:
        return
    surface_c = _coldest(values, line.profile.safety.dew_surfaces)
    if surface_c is None:
        return
    for name in humidity:
        dew_c = values[name]
        margin = surface_c - dew_c if is_number(dew_c) else math.nan  # type: ignore[operator]
        values[name.removesuffix("dew_point_c") + "dew_margin_k"] = margin


def _coldest(values: Mapping[str, Value], patterns: Iterable[str]) -> float | None:
    """The coldest of the named surfaces; NaN when one reads no number, None when none is read."""
    found = [
        value
        for name, value in values.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
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
