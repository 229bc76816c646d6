"""Testing a board: what was measured at another bias than the one said is no measurement."""

from collections.abc import Callable
from typing import Any

import pytest

from drivers.roles import ChargeRun
from station import procedures
from station.bias_ceiling import BiasNotAllowedError, KnownBreakdown
from station.events import Curve, Note, RawData, Reading, RefusedError
from station.line import Line
from station.procedures import BoardUnderTest
from station.recipes import LedTest, load_recipes
from station.twin.server import Twin

RECIPE = load_recipes().test_board


@pytest.mark.parametrize("fate", ["falls", "goes off"])
def test_an_led_run_whose_bias_did_not_stand_is_refused(
    line: Line, twin: Twin, fate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin.world.load()
    take: Callable[..., ChargeRun] = line.readout.take

    def take_and_lose_bias(n_events: int, **given: Any) -> ChargeRun:
        run = take(n_events, **given)
        if fate == "falls":
            line.ramp_bias(39.0)
        else:
            line.bias.switch_off()
        return run

    monkeypatch.setattr(line.readout, "take", take_and_lose_bias)
    events = []
    with pytest.raises(RefusedError, match="after the LED run"):
        for event in procedures.test_board(line, BoardUnderTest(twin.world.shape), RECIPE):
            events.append(event)
    assert not [e for e in events if isinstance(e, Reading) and e.channel is not None]


@pytest.mark.parametrize(
    ("recipe", "breakdown", "source"),
    [
        (RECIPE, KnownBreakdown(34.0, None, "vbd_gain of the records"), "vbd_gain of the records"),
        (RECIPE.model_copy(update={"ceiling_v": 40.0}), None, "ceiling_v of the recipe, version 1"),
        (
            RECIPE.model_copy(update={"ceiling_v": None, "overvoltage_v": 6.5}),
            None,
            "nominal, by the recipe, version 1",
        ),
    ],
)
def test_a_set_point_above_the_ceiling_of_the_board_is_refused_before_anything_is_sent(
    line: Line, twin: Twin, recipe: LedTest, breakdown: KnownBreakdown | None, source: str
) -> None:
    twin.world.load()
    board = BoardUnderTest(twin.world.shape, "320TMG3LC000001", breakdown)
    with pytest.raises(BiasNotAllowedError, match="320TMG3LC000001: at most") as refused:
        list(procedures.test_board(line, board, recipe))
    assert source in str(refused.value)
    assert twin.tester.bias_connected == (False, False)
    assert not twin.bias.output_is_on()


def test_channels_in_doubt_get_a_second_run_and_all_its_events(line: Line, twin: Twin) -> None:
    twin.world.load()
    twin.world.put_all_in_place()
    twin.world.kill_channel(5)
    events = list(procedures.test_board(line, BoardUnderTest(twin.world.shape), RECIPE))
    (note,) = [e for e in events if isinstance(e, Note) and "second LED run" in e.text]
    assert 5 in note.data["channels"]
    counts = {
        e.channel: e.y.sum()
        for e in events
        if isinstance(e, Curve) and e.quantity == "charge_spectrum"
    }
    for channel, count in counts.items():
        runs = 2 if channel in note.data["channels"] else 1
        assert count == runs * RECIPE.n_events
    assert sum(isinstance(e, RawData) for e in events) == 2
    assert not twin.bias.output_is_on()
