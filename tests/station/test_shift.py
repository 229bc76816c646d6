"""One module from label to report on the twin: the truth is recovered, the bad is caught."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from db.queries import assembly_of, genealogy, module_readings, readings_of_part, runs_of_part
from station.catalogue import parse_label
from station.events import Ask, Message, ModuleDone, RunEnded, ShiftStep
from station.session import Session, open_session
from station.shift import RETEST, ShiftStoppedError
from station.terminal import choosing
from station.twin.server import Twin, start_twin
from tests.station.conftest import SPEED

SIZE_TOLERANCE_MM = 0.020
PLACEMENT_TOLERANCE_MM = 0.050


@dataclass
class Finished:
    """A finished shift of one module: what was told, what is in the records, what is true."""

    session: Session
    twin: Twin
    done: ModuleDone
    told: list[Message]
    asked: list[Ask]
    truth: dict[str, Any]

    def tiles(self) -> list[dict[str, Any]]:
        return [*self.truth["placed_tiles"], *self.truth["retired"]]


def default(ask: Ask) -> str:
    return ask.default


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    folder = tmp_path_factory.mktemp("shift")
    twin = start_twin(folder / "twin", seed=3, shape="G3L", speed=SPEED, tells_truth=True)
    told: list[Message] = []
    asked: list[Ask] = []

    def answer(ask: Ask) -> str:
        asked.append(ask)
        return ask.default

    session = open_session(
        folder / "data",
        line_file=folder / "twin" / "line.toml",
        operator="A. Weber",
        listener=told.append,
    )
    (done,) = session.run_shift(boards=1, answer=answer)
    yield Finished(session, twin, done, told, asked, twin.world.truth())
    assert session.close() == ()
    twin.close()


def measured(finished: Finished, label: str) -> pd.DataFrame:
    return readings_of_part(finished.session.store, label).set_index("quantity")


def test_every_tile_size_is_within_20_um_of_the_truth(finished: Finished) -> None:
    for tile in finished.tiles():
        seen = measured(finished, tile["bare_label"])
        for quantity in ("inner_width", "outer_width", "height"):
            value = seen.loc[quantity, "value"]
            assert abs(value - tile[f"{quantity}_mm"]) < SIZE_TOLERANCE_MM, (tile, quantity)


def test_every_planted_defect_is_caught_and_no_good_tile_is_refused(finished: Finished) -> None:
    assert finished.truth["retired"], "this seed plants bad tiles"
    for tile in finished.tiles():
        runs = runs_of_part(finished.session.store, tile["bare_label"])
        verdict = runs[runs["procedure"] == "inspect_tile"].iloc[-1]["verdict"]
        assert (verdict == "fail") == (tile["defect"] != "none"), tile


def test_no_bad_tile_is_on_the_board(finished: Finished) -> None:
    assert {tile["defect"] for tile in finished.truth["placed_tiles"]} == {"none"}


def test_placement_offsets_are_within_50_um_of_the_truth(finished: Finished) -> None:
    placed = assembly_of(finished.session.store, finished.done.module)
    placed = placed[placed["position"].str.startswith("R")].set_index("child_label")
    assert set(placed.index) == set(finished.truth["placed"])
    pulls = []
    for label, true in finished.truth["placed"].items():
        for axis in ("x_mm", "y_mm"):
            error = placed.loc[label, axis] - true[axis]
            assert abs(error) < PLACEMENT_TOLERANCE_MM
            pulls.append(error / placed.loc[label, "sigma_mm"])
    assert 0.4 < np.std(pulls) < 1.6


def test_gains_are_recovered_within_their_errors(finished: Finished) -> None:
    seen = module_readings(finished.session.store, finished.done.module)
    gains = seen[(seen["quantity"] == "gain") & seen["value"].notna()].set_index("channel")
    true = pd.Series(finished.truth["led_run"]["gain"])
    working = [c["channel"] for c in finished.truth["board"]["channels"] if c["defect"] != "dead"]
    assert len(set(gains.index) & set(working)) >= len(working) - 1
    pulls = (gains["value"] - true[gains.index]) / gains["sigma"]
    assert pulls.abs().max() < 5
    assert 0.5 < pulls.std() < 1.6


def test_the_breakdown_voltage_of_the_board_is_named_by_its_definition(
    finished: Finished,
) -> None:
    seen = module_readings(finished.session.store, finished.done.module).set_index("quantity")
    reading = seen.loc["vbd_iv"]
    assert 37.5 < reading["value"] < 39.0
    assert reading["unit"] == "V"
    assert reading["method"].startswith("vbd_iv: maximum of d ln I / dV")


def test_genealogy_leads_from_the_module_to_the_bare_tiles(finished: Finished) -> None:
    family = genealogy(finished.session.store, finished.done.module)
    kinds = [parse_label(label).kind for label in family["child_label"]]
    assert kinds.count("tileboard") == 1
    assert kinds.count("wrapped_tile") == 18
    assert kinds.count("tile") == 18


def test_the_shift_goes_through_its_steps_in_order(finished: Finished) -> None:
    steps = [m.step for m in finished.told if isinstance(m, ShiftStep)]
    assert steps == ["load", "inspect", "wrap", "place", "test", "report"]
    assert next(ask.task for ask in finished.asked) == "load"
    assert "wrap" in [ask.task for ask in finished.asked]


def test_the_report_is_written_and_names_verdict_and_label(finished: Finished) -> None:
    html = Path(finished.done.report_html).read_text()
    assert finished.done.module in html
    assert finished.done.verdict in html.lower()
    assert Path(finished.done.report_pdf).read_bytes().startswith(b"%PDF")


def test_every_run_ended_done_and_names_operator_recipe_and_instruments(
    finished: Finished,
) -> None:
    ends = [m for m in finished.told if isinstance(m, RunEnded)]
    assert {end.ending for end in ends} == {"done"}
    runs = runs_of_part(finished.session.store, finished.done.module)
    assert set(runs["operator"]) == {"A. Weber"}
    assert {"bias", "readout", "gantry", "camera"} <= set(runs.iloc[0]["instruments"])
    assert runs["recipe_version"].notna().all()


def test_a_finished_module_is_not_built_again_but_reported(finished: Finished) -> None:
    before = len(runs_of_part(finished.session.store, finished.done.module))
    (again,) = finished.session.run_shift(boards=1, answer=default)
    assert again.module == finished.done.module
    assert len(runs_of_part(finished.session.store, finished.done.module)) == before


def test_a_finished_module_is_tested_again_when_the_operator_says_so(finished: Finished) -> None:
    store, module = finished.session.store, finished.done.module
    before = runs_of_part(store, module)
    (again,) = finished.session.run_shift(boards=1, answer=choosing(RETEST, default))
    after = runs_of_part(store, module)
    assert list(after["procedure"])[len(before) :] == ["test_board"]
    assert again.module == module
    gains = module_readings(store, module).query("quantity == 'gain'")
    assert set(gains["run_id"]) == {after.iloc[-1]["run_id"]}


def test_a_stop_at_the_question_for_another_test_stops_the_shift(finished: Finished) -> None:
    with pytest.raises(ShiftStoppedError, match="no answer"):
        finished.session.run_shift(boards=1, answer=lambda ask: ask.default if ask.task else "")


def test_another_label_than_that_in_the_fixture_is_refused(finished: Finished) -> None:
    with pytest.raises(ShiftStoppedError, match="is in the fixture"):
        finished.session.run_shift(boards=1, answer=default, label="320TMG3LC000999")
