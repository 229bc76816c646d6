"""What the operator waits for: start-up, a tile inspected, a board tested."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from drivers.clock import ScaledClock
from station.catalogue import load_catalogue
from station.instruments import connect_line
from station.line import Line
from station.procedures import BoardUnderTest, TileInSlot, inspect_tile
from station.procedures import test_board as board_test
from station.recipes import load_recipes
from station.twin.server import Twin, start_twin

SPEED = 1000.0
RECIPES = load_recipes()


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Twin, Line]]:
    twin = start_twin(tmp_path_factory.mktemp("bench"), seed=1, shape="D8F", speed=SPEED)
    with ExitStack() as stack:
        twin.world.load()
        yield twin, connect_line(twin.profile, ScaledClock(SPEED), stack)
    twin.close()


def test_start_of_the_command_line(benchmark: Any) -> None:
    benchmark.extra_info["what"] = "tessera --version, from the shell"
    benchmark.pedantic(
        subprocess.run,
        ([sys.executable, "-m", "station.cli", "--version"],),
        {"check": True, "stdout": subprocess.DEVNULL},
        rounds=5,
    )


def test_a_tile_inspected(benchmark: Any, bench: tuple[Twin, Line]) -> None:
    benchmark.extra_info["what"] = "one tile inspected, twin included, motion 1000 times faster"
    twin, line = bench
    position = twin.world.shape.positions[0]
    tile_format = load_catalogue().tile_formats[position.format_code]
    slot = TileInSlot(0, tile_format, position.rotation_rad)
    benchmark.pedantic(
        lambda: list(inspect_tile(line, slot, RECIPES.inspect_tile)), rounds=10, warmup_rounds=1
    )


def test_a_board_of_64_channels_tested(benchmark: Any, bench: tuple[Twin, Line]) -> None:
    benchmark.extra_info["what"] = (
        "64 channels tested and fitted, twin included, settling 1000 times faster"
    )
    twin, line = bench
    twin.world.put_all_in_place()
    board = BoardUnderTest(twin.world.shape)
    benchmark.pedantic(lambda: list(board_test(line, board, RECIPES.test_board)), rounds=3)
