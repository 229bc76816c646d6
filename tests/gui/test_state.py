"""The state that is folded from the messages, without a window."""

from datetime import UTC, datetime
from uuid import UUID, uuid4

import numpy as np
import pytest

from gui.state import ShiftState, because, time_left
from station.catalogue import BoardShape
from station.events import (
    Ask,
    Happened,
    Message,
    Progress,
    Reading,
    RunEnded,
    RunStarted,
    ShiftStep,
)
from tests.gui.fake import FAILING, MODULE, TILE, inspection, line_state, whole_shift

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)


def folded(*messages: Message, state: ShiftState | None = None, now_s: float = 0.0) -> ShiftState:
    state = state or ShiftState()
    for message in messages:
        state.apply(message, at=AT, now_s=now_s)
    return state


def begun(procedure: str, label: str = MODULE) -> tuple[UUID, RunStarted]:
    run = uuid4()
    return run, RunStarted(run, procedure, uuid4(), label, AT)


def step(name: str, module: str = MODULE, number: int = 1) -> ShiftStep:
    return ShiftStep(module, name, "", "D8F", number, 2)


def reading(run: UUID, quantity: str, value: float, *, stored: bool = True) -> Happened:
    event = Reading(quantity, value, 0.01, "mm", "test", channel=5)
    return Happened(run, MODULE, event, uuid4() if stored else None, "pass")


def test_a_whole_shift_ends_with_the_module_s_verdict(board_shape: BoardShape) -> None:
    messages = [m for m in whole_shift(board_shape) if not isinstance(m, Ask)]
    state = folded(*messages)
    assert state.verdict == "fail"
    assert state.run is None
    assert len(state.channels) == board_shape.n_channels
    assert state.channels[FAILING].spectrum is not None
    assert "sipm_offset" in state.channels[FAILING].values
    assert state.module_values["vbd_iv"].value == pytest.approx(38.34)


def test_a_chip_fails_the_tile_although_its_size_is_right(board_shape: BoardShape) -> None:
    state = ShiftState()
    for message in whole_shift(board_shape):
        if not isinstance(message, Ask):
            folded(message, state=state)
        if isinstance(message, RunEnded):
            break
    assert state.tile.label == TILE
    assert state.tile.measured.verdict == "pass"
    assert state.tile.verdict == "fail"


def test_only_stored_results_are_counted() -> None:
    run, started = begun("place_tiles")
    state = folded(
        started,
        reading(run, "sipm_offset_x", 0.1),
        reading(run, "sipm_offset_y", 0.1, stored=False),
    )
    assert state.results_stored == 1


def test_a_new_test_forgets_the_old_one_and_keeps_the_placing() -> None:
    placing, placed = begun("place_tiles")
    first, tested = begun("test_board")
    _, again = begun("test_board")
    state = folded(
        placed, reading(placing, "sipm_offset_x", 0.1), tested, reading(first, "gain", 28.0)
    )
    assert set(state.channels[5].values) == {"sipm_offset_x", "gain"}
    folded(again, state=state)
    assert set(state.channels[5].values) == {"sipm_offset_x"}


def test_the_next_module_begins_without_values_and_verdict(board_shape: BoardShape) -> None:
    messages = [m for m in whole_shift(board_shape) if not isinstance(m, Ask)]
    state = folded(*messages, step("load", "320TMD8FC000472", 2))
    assert state.verdict is None
    assert state.channels == {}
    assert len(state.done) == 1


def test_a_trip_is_told_once_and_its_reset_too() -> None:
    state = folded(line_state(trip="too hot"), line_state(trip="too hot"), line_state())
    assert [line.text for line in state.events] == ["TRIP: too hot", "The trip was reset"]
    assert state.trip is None


def test_a_trend_keeps_a_gap_where_an_instrument_was_silent() -> None:
    state = folded(line_state(1.0), line_state(2.0, healthy=False))
    assert list(state.trends["gantry"]) == [120.0, None]
    assert list(state.trends["bias"]) == [1.0, 2.0]


def test_a_run_that_did_not_end_well_says_how_it_ended() -> None:
    run, started = begun("test_board")
    lost = RunEnded(run, "test_board", MODULE, "lost_instrument", "unknown", ("no reply",))
    state = folded(started, lost)
    assert state.run is None
    last = state.events[-1]
    assert last.tone == "fail"
    assert last.text == (
        f"{MODULE}: testing the board ended because an instrument was lost: no reply"
    )


def test_time_left_follows_the_pace_so_far() -> None:
    run, started = begun("test_board")
    state = folded(started, now_s=100.0)
    folded(Happened(run, MODULE, Progress(4, 16, "")), state=state, now_s=110.0)
    assert state.seconds_left == pytest.approx(30.0)


@pytest.mark.parametrize(
    ("elapsed_s", "done", "total"), [(1.0, 5, 10), (9.0, 0, 10), (9.0, 11, 10)]
)
def test_no_time_left_is_guessed_without_ground(elapsed_s: float, done: int, total: int) -> None:
    assert time_left(elapsed_s, done, total) is None


def test_inspected_tiles_count_only_when_they_may_be_used() -> None:
    state = folded(step("inspect"), now_s=0.0)
    for verdict in ("pass", "fail", "flag"):
        run, started = begun("inspect_tile", TILE)
        folded(started, RunEnded(run, "inspect_tile", TILE, "done", verdict, ()), state=state)  # type: ignore[arg-type]
    assert state.tiles_good == 2
    assert state.inspecting_left(4, now_s=10.0) == pytest.approx(10.0)


def test_the_step_after_the_last_is_nothing() -> None:
    assert folded(step("test")).next_step == "Write the report"
    assert folded(step("report")).next_step == ""


def test_many_reasons_are_cut_short() -> None:
    assert because(()) == ""
    assert because(("a", "b")) == ": a; b"
    assert because(tuple("abcde")) == ": a; b; c; and 2 more"


def test_a_tile_replaces_the_one_before_only_when_it_is_measured() -> None:
    """Its values are on the screen long enough to be read."""
    first = list(inspection(np.random.default_rng(1), label=TILE, chipped=False))
    second = list(inspection(np.random.default_rng(2), label="320BC2400000107", chipped=False))
    state = folded(*first, *second[:-1])
    assert state.tile.label == TILE
    assert state.tile.picture is not None
    assert "height" in state.tile.measured.values
    folded(second[-1], state=state)
    assert state.tile.label == "320BC2400000107"


def test_counting_wrapped_tiles_gives_the_module_no_verdict() -> None:
    run, started = begun("wrap_tiles")
    counted = Reading("wrapped_tiles", 18.0, 0.0, "1", "counted")
    state = folded(step("wrap"), started, Happened(run, MODULE, counted, uuid4(), "pass"))
    assert state.verdict is None
    placing, placed = begun("place_tiles")
    folded(placed, reading(placing, "sipm_offset_x", 0.1), state=state)
    assert state.verdict == "pass"


def test_a_shift_that_ends_in_a_module_stopped_it_and_its_next_step_goes_on() -> None:
    state = folded(step("test"))
    state.end_shift()
    assert state.stopped
    state.begin_shift()
    assert not state.stopped
    state.end_shift()
    assert not state.stopped


def test_a_finished_module_is_not_stopped_by_the_end_of_its_shift(board_shape: BoardShape) -> None:
    state = folded(*(m for m in whole_shift(board_shape) if not isinstance(m, Ask)))
    state.end_shift()
    assert not state.stopped
    assert state.verdict == "fail"
