"""What the station proposes about each discrepancy, and what the operator can say to it."""

from collections.abc import Mapping
from dataclasses import dataclass

from station.discrepancies import Discrepancy, Found, Kind
from station.last_known import LastKnown

CONTINUE, RETRY, SET_ASIDE, STOP, DONE = "Continue", "Retry", "Set aside", "Stop", "Done"
TOLD_ONLY: frozenset[Kind] = frozenset({"bias_left_on", "bias_off", "watchdog"})
"""What was put right already: it is told and nothing is asked."""


@dataclass(frozen=True)
class Proposal:
    """What the station would do about a discrepancy, and what the operator can say to it.

    `default` is the safest choice, taken where nobody can be asked.
    """

    about: Discrepancy
    question: str
    choices: tuple[str, ...]
    default: str


def propose(about: Discrepancy, known: LastKnown, found: Found) -> Proposal | None:
    """The proposal for a discrepancy; None for one that is only told."""
    if about.kind in TOLD_ONLY or about.kind == "vacuum_without_tile":
        return None
    what, choices, default = _PROPOSALS[about.kind]
    if about.kind == "tile_on_nozzle" and about.carried is None:
        what, choices = "Hold it with a hand and set it aside, or stop.", (SET_ASIDE, STOP)
        default = STOP
    if about.kind in ("bias_on", "bias_higher") and known.run is not None:
        choices, default = (CONTINUE, SET_ASIDE, STOP), SET_ASIDE
    if about.kind in ("not_homed", "elsewhere") and found.holding:
        default = STOP
    if about.kind == "other_instrument" and known.clean:
        default = CONTINUE
    text = about.text[:1].upper() + about.text[1:]
    return Proposal(about, f"{text}. {what}", choices, default)


_PROPOSALS: Mapping[Kind, tuple[str, tuple[str, ...], str]] = {
    "bias_on": (
        "It was brought down. Somebody else used the supply: continue, or stop and find out who?",
        (CONTINUE, STOP),
        STOP,
    ),
    "bias_higher": (
        "It was brought down. The part on the line may have seen that voltage: continue with it?",
        (CONTINUE, STOP),
        STOP,
    ),
    "alarm": (
        "Clear the machine by eye, hands out. Continue: acknowledge and home. Retry: look again.",
        (CONTINUE, RETRY, STOP),
        STOP,
    ),
    "not_homed": (
        "Continue: home it, z first. Retry: look again.",
        (CONTINUE, RETRY, STOP),
        CONTINUE,
    ),
    "elsewhere": (
        "Somebody moved it. Continue: home it, z first. Retry: look again.",
        (CONTINUE, RETRY, STOP),
        CONTINUE,
    ),
    "tile_on_nozzle": (
        "Continue: put it back there. Set aside: a person takes it off. Retry: look again.",
        (CONTINUE, RETRY, SET_ASIDE, STOP),
        CONTINUE,
    ),
    "tile_missing": (
        "Look for it. Continue: it lies in its slot again and is whole. Set aside: do not use it.",
        (CONTINUE, SET_ASIDE, STOP),
        SET_ASIDE,
    ),
    "chiller_stopped": (
        "Continue: start it again. Retry: look again.",
        (CONTINUE, RETRY, STOP),
        STOP,
    ),
    "other_instrument": (
        "Was it exchanged on purpose, and is its calibration in the profile?",
        (CONTINUE, STOP),
        STOP,
    ),
}
