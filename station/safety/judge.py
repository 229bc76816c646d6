"""The rules over time: how long each has been broken, and which of them are due."""

from collections.abc import Iterable
from dataclasses import dataclass

from station.safety.rules import Breach, Snapshot, breaches
from station.safety.section import Rule, SafetySection

INTERLOCK_FAULT = "interlock-fault"
FAULT_REMEDY = "This is a fault of the program: close the station, start it again and report it."
_FAULT = Rule(name=INTERLOCK_FAULT, watch="*.silent_s", above=0.0, remedy=FAULT_REMEDY)


@dataclass(frozen=True)
class Verdict:
    """What the rules say of one look at the line.

    due: broken for as long as their rules allow, in the order of the rules.
    standing: everything that is not fine, due or not; no reset passes it.
    """

    due: tuple[Breach, ...]
    standing: tuple[Breach, ...]

    @property
    def trip(self) -> Breach | None:
        """The first rule that trips: one that is broken before one that can't be told."""
        due = [breach for breach in self.due if breach.rule.severity == "trip"]
        return min(due, key=lambda breach: breach.finding != "broken", default=None)

    @property
    def warnings(self) -> tuple[Breach, ...]:
        return tuple(breach for breach in self.due if breach.rule.severity == "warn")


class Judge:
    """Applies the rules to one snapshot after the other. For one thread at a time.

    A quantity that was once there must stay: one that is gone is unknown. What stays unknown for
    `silent_after_s` counts as broken.
    """

    def __init__(self, safety: SafetySection, extra: Iterable[Rule] = ()) -> None:
        self.rules = (*extra, *safety.all_rules())
        self._silent_after_s = safety.silent_after_s
        self._since_s: dict[tuple[int, str], float] = {}
        self._broken: set[tuple[int, str]] = set()
        self._expected: set[str] = set()

    def judge(self, seen: Snapshot) -> Verdict:
        """The verdict on a snapshot that is not older than the one before."""
        standing = [
            Breach(_FAULT, f"{role}.fault", "broken", f"the {role} can't be watched: {what}")
            for role, what in seen.faults.items()
        ]
        due = list(standing)
        found: set[tuple[int, str]] = set()
        for number, rule in enumerate(self.rules):
            before = frozenset(name for at, name in self._broken if at == number)
            for breach in breaches(rule, seen, expected=self._expected, standing=before):
                key = (number, breach.quantity)
                found.add(key)
                standing.append(breach)
                lasted_s = seen.monotonic_s - self._since_s.setdefault(key, seen.monotonic_s)
                if breach.finding == "broken":
                    self._broken.add(key)
                    allowed_s = rule.for_s
                else:
                    allowed_s = max(rule.for_s, self._silent_after_s)
                if lasted_s >= allowed_s:
                    due.append(breach)
        for key in self._since_s.keys() - found:
            del self._since_s[key]
            self._broken.discard(key)
        self._expected |= seen.values.keys()
        return Verdict(tuple(due), tuple(standing))
