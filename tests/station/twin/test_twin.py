"""The twin: repeatable by its seed, silent about its truth, and a line like any other."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from drivers.clock import RealClock
from station.catalogue import load_catalogue, parse_label
from station.events import RefusedError
from station.profile import Profile
from station.settings import load_toml
from station.tray import TrayMapError, format_tray_map, parse_tray_map
from station.twin.__main__ import serve
from station.twin.hands import HandsServer, TwinHands
from station.twin.process import TWIN_FILE, TwinError
from station.twin.server import Twin, to_toml
from station.twin.truth import make_board, make_tray
from station.twin.world import BACKLASH_MM, World

CATALOGUE = load_catalogue()


def world(twin: Twin, seed: int) -> World:
    return World(twin.profile, CATALOGUE, RealClock(), seed=seed, shape_name="G3L")


def test_the_same_seed_makes_the_same_board_and_tiles(twin: Twin) -> None:
    first, second, other = world(twin, 5), world(twin, 5), world(twin, 6)
    for one in (first, second, other):
        one.load()
    assert first.truth() == second.truth()
    assert first.truth()["board"] != other.truth()["board"]
    assert first.scan_tray() == second.scan_tray()


def test_the_next_board_is_another_one(twin: Twin) -> None:
    here = world(twin, 5)
    here.load()
    label, truth = here.scan_module(), here.truth()["board"]
    with pytest.raises(RefusedError, match="in the fixture already"):
        here.load()
    here.unload()
    here.load()
    assert here.scan_module() != label
    assert here.truth()["board"]["channels"] != truth["channels"]


def test_good_tiles_are_inside_their_tolerance_and_bad_ones_outside() -> None:
    shape = CATALOGUE.board_shapes["D8F"]
    found = {"none": 0, "oversize": 0, "undersize": 0, "dimple": 0, "chip": 0}
    for seed in range(40):
        for tile in make_tray(np.random.default_rng(seed), CATALOGUE, shape, 1).values():
            nominal = CATALOGUE.tile_formats[tile.format_code]
            off = np.array(
                [
                    tile.inner_width_mm - nominal.inner_width_mm,
                    tile.outer_width_mm - nominal.outer_width_mm,
                    tile.height_mm - nominal.height_mm,
                ]
            )
            found[tile.defect] += 1
            in_size = np.abs(off).max() <= nominal.tolerances.size_mm
            assert in_size == (tile.defect not in ("oversize", "undersize"))
            shift = np.abs(np.array(tile.dimple_mm)).max()
            assert (shift <= nominal.tolerances.dimple_mm) == (tile.defect != "dimple")
            assert bool(tile.chips) == (tile.defect == "chip")
    assert min(found.values()) > 5


def test_board_labels_and_serials_agree() -> None:
    board = make_board(np.random.default_rng(1), CATALOGUE.board_shapes["J12F"], 77)
    assert parse_label(board.module_label).shape_name == "J12F"
    assert parse_label(board.board_label).shape_name == "J12F"
    assert len(board.channels) == 96


def test_the_head_follows_the_drives_with_their_play(twin: Twin) -> None:
    here = world(twin, 1)
    here.move_head((100.0, 50.0, 60.0))
    here.move_head((110.0, 60.0, 60.0))
    from_below = here.head_mm()
    here.move_head((120.0, 70.0, 60.0))
    here.move_head((110.0, 60.0, 60.0))
    from_above = here.head_mm()
    assert from_above[0] - from_below[0] == pytest.approx(BACKLASH_MM[0])
    assert from_above[1] - from_below[1] == pytest.approx(BACKLASH_MM[1])


def test_the_profile_that_the_twin_writes_reads_back_the_same(twin: Twin, tmp_path: Path) -> None:
    assert load_toml(tmp_path / "twin" / "line.toml", Profile) == twin.profile
    assert "serial" not in to_toml(twin.profile)


def test_the_truth_is_told_only_when_the_twin_was_started_for_tests(twin: Twin) -> None:
    server = HandsServer(twin.world, tells_truth=False)
    server.start()
    hands = TwinHands(server.endpoint)
    try:
        with pytest.raises(RefusedError, match="keeps its truth"):
            hands.do("truth")
        assert hands.alive()
        with pytest.raises(RefusedError, match="unknown task"):
            hands.do("juggle")
        with pytest.raises(RefusedError, match="no tile in slot"):
            hands.do("replace:3")
        hands.do("load")
        assert parse_label(hands.do("scan_board")).kind == "tileboard"
        assert len(parse_tray_map(hands.do("scan_tray"))) == 18
    finally:
        hands.close()
        server.finish()


def test_a_tray_map_reads_back_and_a_malformed_one_names_its_line() -> None:
    tray = {3: "320BC1400000218", 0: "320BC1400000200"}
    assert parse_tray_map(format_tray_map(tray)) == tray
    for text, complaint in (
        ("0 A\n1", "line 2"),
        ("0 A\n0 B", "slot 0 appears twice"),
        ("0 A\n1 A", "A appears twice"),
        ("x A", "line 1"),
    ):
        with pytest.raises(TrayMapError, match=complaint):
            parse_tray_map(text)


def test_more_light_reaches_a_sipm_below_a_tile(twin: Twin) -> None:
    here = twin.world
    here.load()
    board = here.truth()["board"]
    working = next(c for c in board["channels"] if c["defect"] == "none")["channel"]

    def mean() -> float:
        adc = here.charges(2000, bias_v=40.8, lit=True, n_channels=72)
        return float(adc[working].mean() - board["channels"][working]["pedestal_adc"])

    bare = mean()
    here.put_all_in_place()
    assert mean() > 2 * bare


def test_a_folder_has_one_twin_at_a_time(tmp_path: Path, twin: Twin) -> None:
    (tmp_path / TWIN_FILE).write_text(json.dumps({"pid": 1, "hands": twin.hands.endpoint}))
    with pytest.raises(TwinError, match="runs in"):
        serve(tmp_path, seed=1, shape="G3L", speed=1.0, first_serial=1, parent=None)


def test_a_new_twin_in_a_folder_goes_on_with_the_serial_numbers(tmp_path: Path) -> None:
    labels = []
    for _ in range(2):
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "station.twin", str(tmp_path)),
                *("--seed", "5", "--shape", "G3L", "--speed", "100"),
            ],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        hands = TwinHands(json.loads(process.stdout.readline())["hands"])
        hands.do("load")
        labels.append(hands.do("scan_module"))
        hands.close()
        process.terminate()
        assert process.wait(30) == 0
        assert not (tmp_path / "line.toml").exists()
    assert [parse_label(label).serial for label in labels] == ["000001", "000002"]
