"""One look at the line: every instrument read back, the silent ones named."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from drivers.errors import InstrumentError, MachineAlarm
from station.events import InstrumentState
from station.safety import Snapshot

if TYPE_CHECKING:
    from station.line import Line


def observe(line: "Line") -> Snapshot:
    """Read back every instrument once; an instrument that fails is reported as silent."""
    seen: dict[str, Any] = {}
    silent: dict[str, str] = {}
    states: list[InstrumentState] = []

    def look(role: str, name: str, read: Callable[[], InstrumentState]) -> None:
        try:
            states.append(read())
        except InstrumentError as error:
            silent[role] = str(error)
            states.append(InstrumentState(role, name, "silent", error.what, healthy=False))

    def bias() -> InstrumentState:
        reading = line.bias.read()
        seen["bias_voltage_v"] = reading.voltage_v
        seen["bias_current_a"] = reading.current_a
        seen["bias_in_compliance"] = reading.output_on and reading.in_compliance
        return InstrumentState(
            "bias",
            line.bias.identity.model,
            "on" if reading.output_on else "off",
            f"{round(reading.voltage_v, 3) + 0.0:.3f} V   "
            f"{round(reading.current_a * 1e6, 2) + 0.0:.2f} µA",
            healthy=not seen["bias_in_compliance"],
            trend=reading.voltage_v,
        )

    def readout() -> InstrumentState:
        temperatures = line.climate.temperatures_c()
        seen["temperatures_c"] = temperatures
        lit = line.light.pulsing()
        hottest = max(temperatures.values(), default=float("nan"))
        return InstrumentState(
            "readout",
            line.readout.identity.model,
            "LED on" if lit else "idle",
            f"board {hottest:.1f} °C",
            healthy=True,
            trend=hottest,
        )

    def gantry() -> InstrumentState:
        try:
            state = line.gantry.state()
        except MachineAlarm as alarm:
            state = f"Alarm: {alarm.what}"
        seen["gantry_state"] = state
        if state.startswith("Alarm"):
            return InstrumentState(
                "gantry",
                line.gantry.identity.model,
                "alarm",
                state,
                healthy=False,
            )
        at = line.gantry.position()
        return InstrumentState(
            "gantry",
            line.gantry.identity.model,
            state.lower(),
            f"X {at.x_mm:.1f}  Y {at.y_mm:.1f}  Z {at.z_mm:.1f}",
            healthy=True,
            trend=at.x_mm,
        )

    look("bias", line.bias.identity.model, bias)
    look("readout", line.readout.identity.model, readout)
    look("gantry", line.gantry.identity.model, gantry)
    return Snapshot(
        at=datetime.now(UTC),
        monotonic_s=time.monotonic(),
        states=tuple(states),
        silent=MappingProxyType(silent),
        **seen,
    )
