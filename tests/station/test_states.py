"""States: one table says which may follow which, and nothing else can."""

from datetime import UTC, datetime
from functools import partial

import pytest

from station.events import InstrumentChanged, InstrumentState, LineState, Message, RunState
from station.states import (
    INSTRUMENT_FOLLOWS,
    RUN_FOLLOWS,
    IllegalTransitionError,
    InstrumentStates,
    Machine,
    status_of,
)


def seen(state: str, *, healthy: bool = True) -> LineState:
    return LineState(datetime.now(UTC), (InstrumentState("gantry", "x", state, "", healthy),), None)


def _note(told: list[tuple[RunState, RunState]], before: RunState, after: RunState) -> None:
    told.append((before, after))


@pytest.mark.parametrize("state", sorted(RUN_FOLLOWS))
def test_a_run_goes_only_where_the_table_lets_it(state: RunState) -> None:
    for other in RUN_FOLLOWS:
        told: list[tuple[RunState, RunState]] = []
        machine = Machine(state, RUN_FOLLOWS, partial(_note, told))
        if other in RUN_FOLLOWS[state]:
            machine.to(other)
            assert told == [(state, other)]
        else:
            with pytest.raises(IllegalTransitionError, match=f"{other} may not follow {state}"):
                machine.to(other)
            assert (machine.state, told) == (state, [])


def test_every_ending_of_a_run_passes_the_safe_state() -> None:
    assert [state for state, after in RUN_FOLLOWS.items() if "ended" in after] == ["stopping"]


def test_an_instrument_can_be_seen_in_any_status_from_any_other() -> None:
    for status in INSTRUMENT_FOLLOWS:
        for other in INSTRUMENT_FOLLOWS:
            if other != "unknown" or status in ("silent", "alarmed", "unknown"):
                machine = Machine(status, INSTRUMENT_FOLLOWS, lambda *change: None)
                machine.reach(other)
                assert machine.state == other


def test_an_alarm_is_left_only_through_rest() -> None:
    assert "busy" not in INSTRUMENT_FOLLOWS["alarmed"]
    assert "on" not in INSTRUMENT_FOLLOWS["alarmed"]


def test_listeners_hear_of_changes_and_of_nothing_else() -> None:
    told: list[Message] = []
    states = InstrumentStates(told.append)
    for state in ("idle", "idle", "jog", "silent", "idle"):
        states.see(seen(state, healthy=state != "silent"))
    assert told == [
        InstrumentChanged("gantry", "unknown", "ready"),
        InstrumentChanged("gantry", "ready", "busy"),
        InstrumentChanged("gantry", "busy", "silent"),
        InstrumentChanged("gantry", "silent", "unknown"),
        InstrumentChanged("gantry", "unknown", "ready"),
    ]
    assert states.status("gantry") == "ready"


@pytest.mark.parametrize(
    ("word", "healthy", "status"),
    [
        ("off", True, "safe"),
        ("on", True, "on"),
        ("on", False, "alarmed"),
        ("alarm", False, "alarmed"),
        ("silent", False, "silent"),
        ("something new", True, "ready"),
    ],
)
def test_what_is_read_back_has_a_status(word: str, healthy: bool, status: str) -> None:
    assert status_of(InstrumentState("bias", "x", word, "", healthy)) == status
