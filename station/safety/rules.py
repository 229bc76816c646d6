"""What was seen of the line, and what the rules say of it.

A rule is broken by a value for which its comparison holds, and by one that is no number where a
number is due. A value that is missing is *unknown*: not broken yet, but never fine, so that no
reset passes it, and broken when it stays away.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, Literal

from station.events import InstrumentState
from station.safety.remedies import UNREADABLE, remedy_for
from station.safety.section import Condition, Rule, SafetySection, is_number

Value = float | bool | str
Finding = Literal["fine", "broken", "unknown"]

_TEMPERATURES = "readout.temperature_c."


@dataclass(frozen=True)
class Snapshot:
    """What the line showed, each role when it was looked at last; a missing value was not read.

    values: quantities by name (`station.observing` lists them). `<role>.silent_s` is there for
    every role that is watched.
    silent: why the roles whose last look failed did not answer.
    faults: roles that can't be watched because of a bug, and what it says.
    """

    at: datetime
    monotonic_s: float
    values: Mapping[str, Value] = field(default_factory=dict)
    states: tuple[InstrumentState, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    @property
    def bias_voltage_v(self) -> float | None:
        return self._number("bias.voltage_v")

    @property
    def bias_current_a(self) -> float | None:
        return self._number("bias.current_a")

    @property
    def bias_in_compliance(self) -> bool | None:
        value = self.values.get("bias.in_compliance")
        return None if value is None else bool(value)

    @property
    def temperatures_c(self) -> dict[str, float]:
        return {
            name.removeprefix(_TEMPERATURES): float(value)
            for name, value in self.values.items()
            if name.startswith(_TEMPERATURES)
        }

    @property
    def gantry_state(self) -> str | None:
        value = self.values.get("gantry.state")
        return None if value is None else str(value)

    def _number(self, name: str) -> float | None:
        value = self.values.get(name)
        return None if value is None else float(value)

    def as_data(self) -> dict[str, Any]:
        return {
            "at": self.at.isoformat(),
            "values": {name: recordable(value) for name, value in self.values.items()},
            "silent": dict(self.silent),
        }


def recordable(value: Value) -> Value:
    """The value, or its name when it is no number: records hold finite numbers only."""
    return value if isinstance(value, bool | str) or is_number(value) else str(value)


@dataclass(frozen=True)
class Breach:
    """A rule that is not fine: broken by a value, or unknown because there is none."""

    rule: Rule
    quantity: str
    finding: Finding
    cause: str

    @property
    def told(self) -> str:
        """The cause and what the operator can do about it, in sentences."""
        if self.cause.endswith((".", "!")):
            # an instrument has said it
            return self.cause
        remedy = self.rule.remedy or (
            UNREADABLE if self.finding == "unknown" else remedy_for(self.quantity)
        )
        return f"{self.cause}. {remedy}"


def breaches(
    rule: Rule,
    seen: Snapshot,
    *,
    expected: Iterable[str] = (),
    standing: frozenset[str] = frozenset(),
) -> Iterator[Breach]:
    """How `seen` breaks one rule, for each quantity that it watches.

    expected: quantities that were there before: one that is gone is unknown, not fine.
    standing: quantities that broke the rule before and count as fine behind its hysteresis only.
    """
    if any(_holds(condition, seen.values) == "fine" for condition in rule.when):
        return
    pattern = rule.quantity
    names = sorted(
        {name for source in (seen.values, expected) for name in source if _match(name, pattern)}
    )
    for name in names or [pattern]:
        value = seen.values.get(name)
        finding = compare(rule, value, rule.hysteresis if name in standing else 0.0)
        if finding != "fine":
            yield Breach(rule, name, finding, _cause(rule, name, value, seen))


def compare(condition: Condition, value: Value | None, hysteresis: float = 0.0) -> Finding:
    """Whether the comparison holds for one value ("broken"), does not ("fine"), or can't be told.

    A number that is not finite, and a value of another kind than is compared, are broken.
    """
    if value is None:
        return "unknown"
    if condition.inside is not None:
        return "broken" if value is not False else "fine"
    if isinstance(condition.equals, bool):
        return "fine" if isinstance(value, bool) and value != condition.equals else "broken"
    if condition.equals is not None:
        fine = isinstance(value, str) and not fnmatchcase(value, condition.equals)
        return "fine" if fine else "broken"
    if not is_number(value):
        return "broken"
    number = float(value)
    if condition.magnitude_above is not None:
        fine = abs(number) <= condition.magnitude_above - hysteresis
    elif condition.above is not None:
        fine = number <= condition.above - hysteresis
    else:
        assert condition.below is not None
        fine = number >= condition.below + hysteresis
    return "fine" if fine else "broken"


def broken_rule(seen: Snapshot, limits: SafetySection) -> tuple[str, str] | None:
    """The first rule that `seen` breaks at once, as (rule, cause in one sentence), or None."""
    for rule in limits.all_rules():
        for breach in breaches(rule, seen):
            if breach.finding == "broken":
                return rule.name, breach.cause
    return None


def _holds(condition: Condition, values: Mapping[str, Value]) -> Finding:
    """As `compare` for every quantity of a condition: "fine" only when none of them holds."""
    names = [name for name in values if _match(name, condition.quantity)]
    if not names:
        return "unknown"
    fine = all(compare(condition, values[name]) == "fine" for name in names)
    return "fine" if fine else "broken"


def _match(name: str, pattern: str) -> bool:
    return name == pattern or fnmatchcase(name, pattern)


def _cause(rule: Rule, name: str, value: Value | None, seen: Snapshot) -> str:
    said, owner = spoken(name), name.partition(".")[0]
    match value:
        case None:
            why = next((why for role, why in seen.silent.items() if name.startswith(role)), "")
            cause = f"{said} can't be read" + (f": {why}" if why else "")
        case True if name == "bias.in_compliance":
            cause = "the bias supply is limiting its current (compliance)"
        case True if rule.inside is not None:
            cause = f"the {owner} is inside the zone {rule.inside}"
        case bool():
            cause = f"{said} is {str(value).lower()}"
        case str():
            cause = f"the {owner} is in {value}"
        case _ if not is_number(value):
            cause = f"{said} reads {value}, which is no number"
        case _ if name.endswith(".silent_s"):
            role = name.removesuffix(".silent_s")
            cause = f"{role} does not answer: {seen.silent.get(role, 'no answer')}"
        case _:
            cause = f"{said} is {_in_units(name, value)}, {_limit(rule, name)}"
    return cause


def _limit(rule: Rule, name: str) -> str:
    if rule.below is not None:
        return f"below {_in_units(name, rule.below)}"
    above = rule.above if rule.above is not None else rule.magnitude_above
    return f"above {_in_units(name, above)}" if above is not None else "not what it must be"


def spoken(name: str) -> str:
    """A quantity as a person says it: `bias.current_a` is the "bias current"."""
    words = []
    for word in name.split("."):
        ending = next((e for e, _, _ in _UNITS if word.endswith(e)), "")
        words.append(word.removesuffix(ending).replace("_", " "))
    return " ".join(words)


def _in_units(name: str, value: float) -> str:
    """A number with the unit that its name tells."""
    for ending, factor, unit in _UNITS:
        if name.endswith(ending) or f"{ending}." in name:
            return f"{value * factor:.4g} {unit}"
    return f"{value:.4g}"


_UNITS = (
    ("_v", 1.0, "V"),
    ("_a", 1e6, "µA"),
    ("_mm", 1.0, "mm"),
    ("_percent", 1.0, "%"),
    ("_c", 1.0, "°C"),
    ("_k", 1.0, "K"),
    ("_s", 1.0, "s"),
)
