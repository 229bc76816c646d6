"""Rules against the line that they are for: a name that the profile does not have is a mistake."""

from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from station.safety.section import NAMED_ROLES, OF_EVERY_ROLE, Condition

if TYPE_CHECKING:
    from station.profile import Profile


_SECTIONS = {"climate": "climate", "contact": "contacts"}


def rules_fit_the_line(
    profile: "Profile",
) -> Iterator[tuple[tuple[str | int, ...], str, str]]:
    """Field, what was found and what is expected, for every rule about what the line lacks."""
    for number, rule in enumerate(profile.safety.rules):
        conditions = [((), rule), *((("when", at), one) for at, one in enumerate(rule.when))]
        for inner, condition in conditions:
            place = ("safety", "rules", number, *inner)
            expected = _lacking(profile, condition)
            if expected is not None:
                yield (*place, "watch"), repr(condition.watch), expected


def _lacking(profile: "Profile", condition: Condition) -> str | None:
    """What the profile has instead of what a condition names; None when it has it."""
    role, _, leaf = condition.watch.partition(".")
    if role in NAMED_ROLES:
        sections = profile.climate if role == "climate" else profile.contacts
        names = [section.name for section in sections]
        wanted = leaf.rpartition(".")[0]
        if leaf in OF_EVERY_ROLE or any(fnmatchcase(name, wanted) for name in names):
            return None
        return (
            f"a {role} of the profile: {', '.join(names)}" if names else f"a [[{_SECTIONS[role]}]]"
        )
    for section in ("chiller", "glue_valve"):
        if role == section and getattr(profile, section) is None:
            return f"a section [{section}] in the profile"
    return None
