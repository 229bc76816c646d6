"""Lines for the supervisor that have no instruments, or nothing but a bias supply."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

from drivers.roles import BiasReading, BiasSupply
from station.profile import Profile
from station.safe_state import make_safe, step_locks
from station.safety import Interlock
from station.safety.looking import Eye, Seen
from station.safety.rules import Value
from station.safety.section import SafeStep


class _Still:
    """Light, bias switch and gantry of a line that has none: safe already."""

    def pulse_off(self) -> None:
        pass

    def pulsing(self) -> bool:
        return False

    def disconnect(self) -> None:
        pass

    def connected(self) -> bool:
        return False

    def stop(self) -> None:
        pass

    def state(self) -> str:
        return "Idle"


class BiasLine:
    """A line with a bias supply only; its safe state is the real one."""

    def __init__(self, profile: Profile, bias: BiasSupply) -> None:
        self.profile = profile
        self.bias = bias
        self.interlock = Interlock()
        self.light = self.switch = self.gantry = _Still()
        self.glue_valve = None
        self.safe_locks = step_locks()

    def eyes(self) -> tuple[Eye, ...]:
        poll_s = self.profile.safety.poll_s
        return (
            Eye("bias", "supply", self._look, self.profile.safety.bias_poll_s),
            Eye("gantry", "none", lambda: ({"gantry.state": "Idle"}, None), poll_s),
            Eye("readout", "none", lambda: ({"readout.temperature_c.a": 20.0}, None), poll_s),
        )

    def derive(self, values: dict[str, Value]) -> None:
        pass

    def bias_down(self) -> BiasReading:
        return self.bias.ramp_down(rate_v_per_s=self.profile.bias.emergency_ramp_v_per_s)

    def make_safe(self) -> tuple[str, ...]:
        return make_safe(cast(Any, self))

    def take_safe_steps(self, steps: tuple[SafeStep, ...]) -> tuple[str, ...]:
        return make_safe(cast(Any, self), steps)

    def _look(self) -> Seen:
        reading = self.bias.read()
        return {
            "bias.voltage_v": reading.voltage_v,
            "bias.current_a": reading.current_a,
            "bias.output_on": reading.output_on,
            "bias.in_compliance": reading.in_compliance,
        }, None


@dataclass
class ScriptedLine:
    """A line that shows what a test says: `looks` has what every role shows now."""

    looks: dict[str, Callable[[], Seen]]
    interlock: Interlock = field(default_factory=Interlock)
    safe: Callable[[], tuple[str, ...]] = tuple
    polls_s: dict[str, float] = field(default_factory=dict)
    steps_taken: list[tuple[str, ...]] = field(default_factory=list)

    def eyes(self) -> tuple[Eye, ...]:
        return tuple(
            Eye(role, role, lambda role=role: self.looks[role](), self.polls_s.get(role, 0.02))  # type: ignore[misc]
            for role in self.looks
        )

    def derive(self, values: dict[str, Value]) -> None:
        pass

    def make_safe(self) -> tuple[str, ...]:
        self.steps_taken.append(("all",))
        return self.safe()

    def take_safe_steps(self, steps: tuple[str, ...]) -> tuple[str, ...]:
        self.steps_taken.append(tuple(steps))
        return self.safe()
