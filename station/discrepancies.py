"""What a machine is, compared with what the journal has it be. Nothing here touches anything."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from drivers.roles import BiasReading
from station.last_known import NOWHERE, Axes, Carried, LastKnown
from station.safe_state import SAFE_VOLTAGE_V

BIAS_TOLERANCE_V = 0.5
POSITION_TOLERANCE_MM = 0.1
MEASURING = frozenset({"test_board"})
"""Procedures that need the bias."""

Kind = Literal[
    "bias_left_on",
    "bias_on",
    "bias_higher",
    "bias_off",
    "watchdog",
    "alarm",
    "not_homed",
    "elsewhere",
    "tile_on_nozzle",
    "vacuum_without_tile",
    "tile_missing",
    "chiller_stopped",
    "other_instrument",
]
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Found:
    """The machine as it was read, before anything was changed on it.

    `bias` is the reading before it was brought down; None when it was looked at before already.
    `alarm` is what the gantry's controller complains of, `watchdog` what the watchdog says it did.
    """

    bias: BiasReading | None = None
    homed: bool = True
    alarm: str = ""
    position_mm: Axes = NOWHERE
    vacuum_on: bool = False
    holding: bool = False
    chiller_on: bool | None = None
    serials: Mapping[str, str] = field(default_factory=lambda: _NOTHING)
    watchdog: str = ""


@dataclass(frozen=True)
class Discrepancy:
    """One thing that is not as the journal has it, in a sentence.

    `carried` is the tile that it is about, where it is about one that is known.
    """

    kind: Kind
    text: str
    carried: Carried | None = None


def compare(known: LastKnown, found: Found) -> tuple[Discrepancy, ...]:
    """Everything about `found` that is not as `known` has it, the bias first."""
    return (
        *_bias(known, found),
        *_gantry(known, found),
        *_nozzle(known, found),
        *_chiller(known, found),
        *_instruments(known, found),
    )


def _bias(known: LastKnown, found: Found) -> tuple[Discrepancy, ...]:
    reading = found.bias
    seen: list[Discrepancy] = []
    if found.watchdog:
        seen.append(Discrepancy("watchdog", found.watchdog))
    if reading is None:
        return tuple(seen)
    output = "on" if reading.output_on else "off"
    text = f"the bias was found at {reading.voltage_v:.2f} V, output {output}"
    if reading.output_on or abs(reading.voltage_v) > SAFE_VOLTAGE_V:
        highest_v = known.highest_bias_v
        if known.nothing:
            seen.append(Discrepancy("bias_left_on", f"{text}; nothing is known of the time before"))
        elif not known.bias_may_be_on:
            seen.append(Discrepancy("bias_on", f"{text}, though the journal has it off"))
        elif abs(reading.voltage_v) > highest_v + BIAS_TOLERANCE_V:
            seen.append(
                Discrepancy("bias_higher", f"{text}, though at most {highest_v:.2f} V was set")
            )
        else:
            seen.append(Discrepancy("bias_left_on", f"{text}; {highest_v:.2f} V was set"))
    elif known.bias_on and known.run is not None and not found.watchdog:
        seen.append(
            Discrepancy(
                "bias_off",
                f"{text}; {known.run.procedure} of {known.run.label} had set "
                f"{known.bias_v:.2f} V before the station stopped",
            )
        )
    return tuple(seen)


def _gantry(known: LastKnown, found: Found) -> tuple[Discrepancy, ...]:
    if found.alarm:
        return (Discrepancy("alarm", f"the gantry is in alarm: {found.alarm}"),)
    if not found.homed:
        return (Discrepancy("not_homed", "the gantry does not know where it is"),)
    if known.moving or None in known.position_mm or None in found.position_mm:
        return ()
    off_mm = math.dist(
        [v for v in known.position_mm if v is not None],
        [v for v in found.position_mm if v is not None],
    )
    if off_mm <= POSITION_TOLERANCE_MM:
        return ()
    return (
        Discrepancy(
            "elsewhere",
            f"the gantry stands at {_place(found.position_mm)}; the station left it at "
            f"{_place(known.position_mm)}",
        ),
    )


def _nozzle(known: LastKnown, found: Found) -> tuple[Discrepancy, ...]:
    carried = known.may_carry
    if found.holding:
        if carried is None:
            text = "a tile hangs on the nozzle and nothing says where it came from"
        else:
            text = f"{carried.label} hangs on the nozzle; it was taken from slot {carried.slot}"
        return (Discrepancy("tile_on_nozzle", text, carried),)
    seen: list[Discrepancy] = []
    held = known.carried
    if held is not None and known.doing("gripper.release") is None:
        seen.append(
            Discrepancy(
                "tile_missing",
                f"{held.label} from slot {held.slot} hung on the nozzle when the station stopped "
                f"and is gone",
                held,
            )
        )
    if found.vacuum_on:
        seen.append(Discrepancy("vacuum_without_tile", "the vacuum is on and holds nothing"))
    return tuple(seen)


def _chiller(known: LastKnown, found: Found) -> tuple[Discrepancy, ...]:
    if known.chiller_on and found.chiller_on is False:
        return (Discrepancy("chiller_stopped", "the chiller stands; the station had started it"),)
    return ()


def _instruments(known: LastKnown, found: Found) -> tuple[Discrepancy, ...]:
    return tuple(
        Discrepancy(
            "other_instrument",
            f"the {role} has serial {serial}; it was {known.serials[role]} before",
        )
        for role, serial in sorted(found.serials.items())
        if known.serials.get(role, serial) != serial
    )


def _place(position_mm: Axes) -> str:
    return " ".join(
        f"{axis} {value:.1f}"
        for axis, value in zip("XYZ", position_mm, strict=True)
        if value is not None
    )
