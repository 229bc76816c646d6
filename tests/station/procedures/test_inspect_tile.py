"""Inspecting: what is seen is measured, what is not seen is not guessed."""

import numpy as np
import pytest

from drivers.roles import Frame
from station.catalogue import load_catalogue
from station.events import Picture, Reading
from station.line import Line
from station.procedures import TileInSlot, inspect_tile
from station.recipes import load_recipes
from station.twin.server import Twin

RECIPE = load_recipes().inspect_tile
CATALOGUE = load_catalogue()


def in_slot(twin: Twin, slot: int) -> TileInSlot:
    position = twin.world.shape.positions[slot]
    return TileInSlot(slot, CATALOGUE.tile_formats[position.format_code], position.rotation_rad)


def readings(line: Line, tile: TileInSlot) -> dict[str, Reading]:
    return {e.quantity: e for e in inspect_tile(line, tile, RECIPE) if isinstance(e, Reading)}


def test_a_tile_that_the_picture_cuts_is_centred_and_measured(line: Line, twin: Twin) -> None:
    twin.world.load()
    true = twin.world.truth()["tray"][0]
    twin.world.push(0, dx_mm=2.9, dy_mm=2.9)
    seen = readings(line, in_slot(twin, 0))
    assert seen["height"].value == pytest.approx(true["height_mm"], abs=0.02)
    assert seen["inner_width"].value == pytest.approx(true["inner_width_mm"], abs=0.02)


def test_an_empty_slot_gives_unknowns_with_reasons_and_a_picture(line: Line, twin: Twin) -> None:
    twin.world.load()
    twin.world.take_away(3)
    events = list(inspect_tile(line, in_slot(twin, 3), RECIPE))
    values = [e for e in events if isinstance(e, Reading)]
    assert {e.quantity for e in values} >= {"inner_width", "outer_width", "height"}
    assert all(e.value is None and e.reasons for e in values)
    assert any(isinstance(e, Picture) for e in events)


@pytest.mark.parametrize("lamp", [0.05, 4.0])
def test_a_dark_or_glaring_picture_is_not_measured(line: Line, twin: Twin, lamp: float) -> None:
    twin.world.load()
    twin.world.lamp = lamp
    seen = readings(line, in_slot(twin, 1))
    assert seen["height"].value is None
    assert seen["height"].reasons


def test_a_picture_of_noise_is_not_a_tile(
    line: Line, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    twin.world.load()
    grab = line.camera.grab

    def noise(*, deadline_s: float) -> Frame:
        frame = grab(deadline_s=deadline_s)
        rng = np.random.default_rng(1)
        return Frame(
            rng.integers(0, 256, frame.image.shape, dtype=np.uint8), frame.at, frame.sequence
        )

    monkeypatch.setattr(line.camera, "grab", noise)
    assert readings(line, in_slot(twin, 2))["height"].value is None
