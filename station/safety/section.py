"""The safety section of a profile: rules, the safe state and the watchdog as data.

A rule watches quantities by name, such as `bias.current_a` or `readout.temperature_c.*`; the names
are those of `station.observing`. What can't be read, or reads no number, never passes as fine.
"""

import math
import re
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    ValidationInfo,
    field_validator,
    model_validator,
)

SafeStep = Literal["light_off", "bias_down", "bias_switch_open", "glue_valve_shut", "gantry_stop"]
SAFE_STEPS: tuple[SafeStep, ...] = (
    "light_off",
    "bias_down",
    "bias_switch_open",
    "glue_valve_shut",
    "gantry_stop",
)
POSITIONS = ("gantry.position", "camera.position")
POSITIONED = ("gantry.", "camera.inside.")
"""How the quantities begin that only a homed gantry without an alarm shows as they are."""
LEAVES: Mapping[str, tuple[str, ...]] = {
    "bias": ("voltage_v", "current_a", "set_v", "output_on", "in_compliance"),
    "readout": ("temperature_c.*", "light_on"),
    "gantry": ("state", "x_mm", "y_mm", "z_mm", "position"),
    "gripper": ("vacuum_on", "holding", "carrying"),
    "camera": ("frozen", "level", "position"),
    "chiller": ("bath_c", "setpoint_c", "running"),
    "climate": (
        "*.temperature_c",
        "*.humidity_percent",
        "*.dew_point_c",
        "*.highest_dew_point_c",
        "*.dew_margin_k",
    ),
    "contact": ("*.closed",),
    "glue_valve": ("open",),
    "watchdog": ("alive",),
}
"""What can be watched, by the role that shows it."""
OF_EVERY_ROLE = ("silent_s", "look_s")
"""For how long a role has not answered, and how long the last look at it took."""
NAMED_ROLES = ("climate", "contact")
"""Roles of which a line may have several: `climate.<name>` is silent on its own."""
_PATTERN = re.compile(r"[a-z*][a-z0-9_*]*(\.[A-Za-z0-9_* -]+)+")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _watchable(watch: str) -> str:
    """The name itself. Raises ValueError for what no line ever shows."""
    if not _PATTERN.fullmatch(watch):
        raise ValueError("a quantity such as 'bias.current_a'; * stands for any part of a name")
    role, _, leaf = watch.partition(".")
    of_every_role, of_a_named_one = leaf in OF_EVERY_ROLE, leaf.rpartition(".")[2] in OF_EVERY_ROLE
    if (of_every_role and (role == "*" or role in LEAVES)) or (
        of_a_named_one and role in NAMED_ROLES
    ):
        return watch
    if role not in LEAVES:
        raise ValueError(f"a quantity of one of {', '.join(LEAVES)}")
    if not any(fnmatchcase(leaf, known) for known in LEAVES[role]):
        raise ValueError(f"one of {', '.join(f'{role}.{known}' for known in LEAVES[role])}")
    return watch


Watch = Annotated[str, Field(min_length=1)]


class Condition(_Section):
    """One comparison of a watched quantity: exactly one of the comparisons is given."""

    watch: Watch
    above: float | None = None
    below: float | None = None
    magnitude_above: float | None = Field(default=None, gt=0)
    """As `above`, whatever the sign."""
    equals: bool | str | None = None
    """A flag; or a state, in which * stands for anything ("Alarm*")."""
    inside: str | None = Field(default=None, min_length=1)
    """Name of a zone of the gantry; for `gantry.position` and `camera.position`."""

    @field_validator("watch")
    @classmethod
    def _of_the_line(cls, watch: str) -> str:
        return _watchable(watch)

    @model_validator(mode="after")
    def _one_comparison(self) -> "Condition":
        given = [name for name in COMPARISONS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"not {' and '.join(given)}" if given else "none is given"
            raise ValueError(f"exactly one of {', '.join(COMPARISONS)}; {found}")
        if (self.inside is not None) != (self.watch in POSITIONS):
            raise ValueError("'inside' together with 'gantry.position' or 'camera.position'")
        return self

    @property
    def quantity(self) -> str:
        """The name, or pattern, of the values that are compared."""
        if self.inside is None:
            return self.watch
        return f"{self.watch.partition('.')[0]}.inside.{self.inside}"


COMPARISONS = ("above", "below", "magnitude_above", "equals", "inside")


class Rule(Condition):
    """A comparison that must not hold, and what is done when it does."""

    name: str = Field(min_length=1, max_length=60)
    for_s: float = Field(default=0.0, ge=0, le=3600)
    """How long it must hold; a single look is enough for 0."""
    hysteresis: float = Field(default=0.0, ge=0)
    """How far back behind its limit a number must be until it counts as fine again."""
    when: tuple[Condition, ...] = ()
    """The rule counts only while all of these hold; what can't be read holds."""
    severity: Literal["trip", "warn"] = "trip"
    action: tuple[SafeStep, ...] = ()
    """Steps of the safe state that a trip takes; none named means all of them."""
    remedy: str = Field(default="", max_length=200)
    """What the operator can do, in a sentence; left out, it follows from what is watched."""

    @field_validator("action")
    @classmethod
    def _bias_down_for_the_bias(
        cls, action: tuple[SafeStep, ...], info: ValidationInfo
    ) -> tuple[SafeStep, ...]:
        watch = str(info.data.get("watch", ""))
        if action and watch.startswith("bias.") and "bias_down" not in action:
            raise ValueError("'bias_down' among the steps of a rule about the bias")
        return action

    @model_validator(mode="after")
    def _hysteresis_of_numbers(self) -> "Rule":
        if self.hysteresis and (self.equals is not None or self.inside is not None):
            raise ValueError("no 'hysteresis': a flag, a state or a zone has none")
        return self


class SafetySection(_Section):
    """Limits that every line has, in a short form, and any number of rules beside them."""

    max_current_a: PositiveFloat
    max_temperature_c: float
    silent_after_s: PositiveFloat
    """An instrument, or a quantity, that can't be read for so long trips."""
    poll_s: PositiveFloat = 0.5
    """Real seconds between two looks at an instrument."""
    bias_poll_s: float = Field(default=0.1, gt=0, le=5)
    """As `poll_s`, for the bias supply."""
    rules: tuple[Rule, ...] = ()
    dew_surfaces: tuple[str, ...] = ("readout.temperature_c.*", "chiller.bath_c")
    """Quantities that say how cold the surfaces are on which water may condense; the coldest
    counts."""
    safe_state: tuple[SafeStep, ...] = SAFE_STEPS
    """The steps of the safe state in their order. A trip about the bias takes `bias_down` first."""
    watchdog_after_s: float = Field(default=2.0, ge=0.5, le=60)
    """The watchdog takes over when the station's supervisor is silent for so long."""

    @field_validator("dew_surfaces")
    @classmethod
    def _surfaces_of_the_line(cls, surfaces: tuple[str, ...]) -> tuple[str, ...]:
        if not surfaces:
            raise ValueError("at least one quantity, such as 'chiller.bath_c'")
        return tuple(_watchable(surface) for surface in surfaces)

    @field_validator("safe_state")
    @classmethod
    def _bias_is_never_left(cls, steps: tuple[SafeStep, ...]) -> tuple[SafeStep, ...]:
        if len(set(steps)) != len(steps):
            raise ValueError("each step once")
        if "bias_down" not in steps:
            raise ValueError("'bias_down' among the steps: no safe state leaves the bias on")
        if "bias_switch_open" in steps and steps.index("bias_switch_open") < steps.index(
            "bias_down"
        ):
            raise ValueError("'bias_switch_open' after 'bias_down': it can't break a current")
        return steps

    @field_validator("rules")
    @classmethod
    def _names_differ(cls, rules: tuple[Rule, ...]) -> tuple[Rule, ...]:
        names = [rule.name for rule in rules]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"every rule to have a name of its own; {name!r} is there twice")
        return rules

    def all_rules(self) -> tuple[Rule, ...]:
        """The short forms as rules, then the rules of the file."""
        return (
            Rule(name="silent-instrument", watch="*.silent_s", above=self.silent_after_s),
            Rule(name="over-current", watch="bias.current_a", magnitude_above=self.max_current_a),
            Rule(name="over-current", watch="bias.in_compliance", equals=True),
            Rule(
                name="over-temperature",
                watch="readout.temperature_c.*",
                above=self.max_temperature_c,
            ),
            Rule(name="gantry-alarm", watch="gantry.state", equals="Alarm*"),
            *self.rules,
        )


WATCHDOG_RULE = Rule(name="watchdog", watch="watchdog.alive", equals=False)
"""No watchdog, no bias: for a line that has one."""


def is_number(value: object) -> bool:
    """Whether `value` is a finite number, and no flag."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
