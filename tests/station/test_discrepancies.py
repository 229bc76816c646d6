"""What a machine is against what the journal has it be, and what is proposed about it."""

from dataclasses import replace
from typing import Any, get_args

import pytest

from drivers.roles import BiasReading
from station.discrepancies import Discrepancy, Found, Kind, compare
from station.last_known import Act, Carried, LastKnown, RunInJournal
from station.proposals import CONTINUE, RETRY, SET_ASIDE, STOP, TOLD_ONLY, propose

TILE = Carried("320TCG31000004", 4, 3.2)
RUN = RunInJournal("r", "test_board", "320TMG3LC000001", "p")
AT = (700.0, 300.0, 60.0)
LEFT = LastKnown(clean=False, at="2026-01-01", position_mm=AT, homed=True, serials={"bias": "1"})
AS_LEFT = Found(position_mm=AT, serials={"bias": "1"})


def bias(voltage_v: float, *, on: bool = True) -> BiasReading:
    return BiasReading(voltage_v, 1e-6, on, False, voltage_v)


def kinds(known: LastKnown, found: Found) -> list[str]:
    return [about.kind for about in compare(known, found)]


def under_way(name: str, **given: Any) -> tuple[Act, ...]:
    return (Act(7, name, given),)


def test_a_machine_as_it_was_left_shows_no_discrepancy() -> None:
    assert compare(LEFT, AS_LEFT) == ()


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [
        ({"bias_on": True, "bias_v": 40.0}, bias(40.02), ["bias_left_on"]),
        ({"bias_on": True, "bias_v": 40.0}, bias(12.0), ["bias_left_on"]),
        ({"bias_on": True, "bias_v": 40.0}, bias(44.0), ["bias_higher"]),
        (
            {"bias_on": True, "under_way": under_way("bias.ramp", voltage_v=44.0)},
            bias(43.0),
            ["bias_left_on"],
        ),
        ({"under_way": under_way("bias.on")}, bias(0.0), ["bias_left_on"]),
        ({}, bias(0.0), ["bias_on"]),
        ({}, bias(30.0, on=False), ["bias_on"]),
        ({"at": ""}, bias(40.0), ["bias_left_on"]),
        ({"bias_on": True, "bias_v": 40.0, "run": RUN}, bias(0.0, on=False), ["bias_off"]),
        ({"bias_on": True, "bias_v": 40.0}, bias(0.0, on=False), []),
    ],
)
def test_the_bias_is_compared_with_what_was_set_or_about_to_be(
    known: dict[str, Any], found: BiasReading, expected: list[str]
) -> None:
    assert kinds(replace(LEFT, **known), replace(AS_LEFT, bias=found)) == expected


def test_a_bias_that_the_watchdog_brought_down_is_no_riddle() -> None:
    known = replace(LEFT, bias_on=True, bias_v=40.0, run=RUN)
    found = replace(AS_LEFT, bias=bias(0.0, on=False), watchdog="the heartbeat stopped")
    (about,) = compare(known, found)
    assert about.kind == "watchdog"
    assert "the heartbeat stopped" in about.text


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [
        ({}, {"homed": False}, ["not_homed"]),
        ({}, {"alarm": "Alarm: hard limit", "homed": False}, ["alarm"]),
        ({}, {"position_mm": (700.0, 320.0, 60.0)}, ["elsewhere"]),
        ({}, {"position_mm": (700.0, 300.05, 60.0)}, []),
        ({"under_way": under_way("gantry.move", x_mm=9.0)}, {"position_mm": (9.0, 0.0, 0.0)}, []),
        ({"position_mm": (None, 1.0, 1.0)}, {"position_mm": (9.0, 0.0, 0.0)}, []),
    ],
)
def test_the_gantry_is_compared_with_where_it_was_left(
    known: dict[str, Any], found: dict[str, Any], expected: list[str]
) -> None:
    assert kinds(replace(LEFT, **known), replace(AS_LEFT, **found)) == expected


GRIP = under_way("gripper.grip", label=TILE.label, slot=TILE.slot, thickness_mm=TILE.thickness_mm)


@pytest.mark.parametrize(
    ("known", "found", "expected"),
    [
        ({"carried": TILE, "vacuum_on": True}, (True, True), ["tile_on_nozzle"]),
        ({"under_way": GRIP}, (True, True), ["tile_on_nozzle"]),
        ({"under_way": GRIP}, (True, False), ["vacuum_without_tile"]),
        ({"under_way": GRIP}, (False, False), []),
        ({"carried": TILE}, (True, False), ["tile_missing", "vacuum_without_tile"]),
        ({"carried": TILE}, (False, False), ["tile_missing"]),
        ({"carried": TILE, "under_way": under_way("gripper.release")}, (False, False), []),
        ({}, (True, True), ["tile_on_nozzle"]),
    ],
)
def test_what_hangs_on_the_nozzle_is_compared_with_what_was_picked(
    known: dict[str, Any], found: tuple[bool, bool], expected: list[str]
) -> None:
    vacuum_on, holding = found
    seen = compare(replace(LEFT, **known), replace(AS_LEFT, vacuum_on=vacuum_on, holding=holding))
    assert [about.kind for about in seen] == expected
    if known and seen and seen[0].kind != "vacuum_without_tile":
        assert seen[0].carried == TILE


def test_a_chiller_that_stands_and_an_exchanged_instrument_are_seen() -> None:
    known = replace(LEFT, chiller_on=True)
    found = replace(AS_LEFT, chiller_on=False, serials={"bias": "2", "camera": "new"})
    assert kinds(known, found) == ["chiller_stopped", "other_instrument"]
    assert kinds(known, replace(found, chiller_on=None)) == ["other_instrument"]


@pytest.mark.parametrize("kind", get_args(Kind))
def test_every_discrepancy_is_told_or_asked_with_a_choice_that_moves_nothing(kind: Kind) -> None:
    proposal = propose(Discrepancy(kind, "the bias was seen", TILE), LEFT, AS_LEFT)
    if proposal is None:
        assert kind in TOLD_ONLY or kind == "vacuum_without_tile"
        return
    assert STOP in proposal.choices
    assert proposal.default in proposal.choices
    assert proposal.default != RETRY
    assert set(proposal.choices) <= {CONTINUE, RETRY, SET_ASIDE, STOP}
    assert proposal.question.startswith("The bias was seen. ")


def test_where_nobody_sits_the_safest_choice_is_taken() -> None:
    def default(kind: Kind, known: LastKnown = LEFT, found: Found = AS_LEFT) -> str:
        carried = TILE if kind.startswith("tile") else None
        proposal = propose(Discrepancy(kind, "x", carried), known, found)
        assert proposal is not None
        return proposal.default

    assert default("bias_higher") == STOP
    assert default("bias_higher", replace(LEFT, run=RUN)) == SET_ASIDE
    assert default("alarm") == STOP
    assert default("not_homed") == CONTINUE
    assert default("not_homed", found=replace(AS_LEFT, holding=True)) == STOP
    assert default("tile_missing") == SET_ASIDE
    assert default("other_instrument") == STOP
    assert default("other_instrument", replace(LEFT, clean=True)) == CONTINUE


def test_a_tile_that_nobody_knows_is_not_put_anywhere() -> None:
    proposal = propose(Discrepancy("tile_on_nozzle", "a tile"), LEFT, AS_LEFT)
    assert proposal is not None
    assert CONTINUE not in proposal.choices
    assert proposal.default == STOP
