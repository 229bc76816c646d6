"""What the supervisor saw, and which rule it breaks."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from station.events import InstrumentState
from station.profile import SafetySection


@dataclass(frozen=True)
class Snapshot:
    """What the supervisor saw in one round; a missing value means the instrument was silent."""

    at: datetime
    monotonic_s: float
    bias_voltage_v: float | None = None
    bias_current_a: float | None = None
    bias_in_compliance: bool | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    gantry_state: str | None = None
    states: tuple[InstrumentState, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)

    def as_data(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "bias_voltage_v": _recordable(self.bias_voltage_v),
            "bias_current_a": _recordable(self.bias_current_a),
            "bias_in_compliance": self.bias_in_compliance,
            "temperatures_c": {k: _recordable(t) for k, t in self.temperatures_c.items()},
            "gantry_state": self.gantry_state,
            "silent": dict(self.silent),
        }


def _recordable(value: float | None) -> float | str | None:
    """The value, or its name when it is no number: records hold finite numbers only."""
    return value if value is None or math.isfinite(value) else str(value)


def broken_rule(seen: Snapshot, limits: SafetySection) -> tuple[str, str] | None:
    """The first rule that `seen` breaks, as (rule, cause in one sentence), or None."""
    current = seen.bias_current_a
    if current is not None and not abs(current) <= limits.max_current_a:
        return "over-current", (
            f"bias current {current * 1e6:.1f} µA is above {limits.max_current_a * 1e6:.1f} µA"
        )
    if seen.bias_in_compliance:
        return "over-current", "the bias supply is limiting its current (compliance)"
    for name, temperature in seen.temperatures_c.items():
        if not temperature <= limits.max_temperature_c:
            return "over-temperature", (
                f"{name} is at {temperature:.1f} °C, above {limits.max_temperature_c:.1f} °C"
            )
    if seen.gantry_state is not None and seen.gantry_state.startswith("Alarm"):
        return "gantry-alarm", f"the gantry is in {seen.gantry_state}"
    return None
