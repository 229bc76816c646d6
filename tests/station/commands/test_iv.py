import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from station.cli import app
from tests.analysis.sipm.iv_devices import GOOD, ForwardDevice

V = np.arange(32.0, 42.0, 0.1)


def tessera(*words: object) -> Result:
    return CliRunner().invoke(app, ["iv", *map(str, words)])


def table(file: Path, voltage: np.ndarray, current: np.ndarray) -> Path:
    np.savetxt(file, np.c_[voltage, current], header="V [V], I [A]", delimiter=",", fmt="%.6e")
    return file


@pytest.fixture
def reverse(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    current = GOOD.current_a(V) * (1 + 0.01 * rng.standard_normal(len(V)))
    return table(tmp_path / "reverse.csv", V, current)


@pytest.fixture
def forward(tmp_path: Path) -> Path:
    voltage = np.arange(0.02, 2.5, 0.03)
    return table(tmp_path / "forward.csv", voltage, ForwardDevice(30.0).current_a(voltage))


def test_a_reverse_curve_gives_breakdown_by_four_definitions(reverse: Path) -> None:
    result = tessera(reverse, "--json")
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)
    assert answer["source"] == str(reverse)
    assert answer["value"] == pytest.approx(GOOD.knee_v(1), abs=4 * answer["sigma"])
    assert (answer["unit"], answer["verdict"]) == ("V", "pass")
    assert answer["method"] == "vbd_iv: maximum of d ln I / dV"
    assert set(answer["quantities"]) == {
        "vbd_iv",
        "vbd_iv_relative_derivative",
        "vbd_iv_inverse_relative_derivative",
        "vbd_iv_second_derivative",
        "vbd_iv_model",
    }


def test_the_dark_current_is_taken_above_the_breakdown_asked_for(reverse: Path) -> None:
    (own,) = json.loads(tessera(reverse, "--overvoltage", 2, "--json").stdout)
    (given,) = json.loads(tessera(reverse, "--overvoltage", 2, "--vbd", 38, "--json").stdout)
    truth = float(GOOD.current_a(np.array([40.0]))[0])
    assert given["quantities"]["dark_current"]["value"] == pytest.approx(truth, rel=0.03)
    assert own["quantities"]["dark_current"]["unit"] == "A"
    assert own["quantities"]["dark_current"]["sigma"] > given["quantities"]["dark_current"]["sigma"]


def test_a_forward_curve_gives_the_quench_resistance(forward: Path) -> None:
    result = tessera(forward, "--forward", "--n-pixels", 7000, "--json")
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)
    assert answer["value"] == pytest.approx(210e3, rel=0.01)
    assert answer["unit"] == "ohm"
    assert "series resistance" in answer["reasons"][0]


def test_a_person_reads_value_error_and_reasons(reverse: Path) -> None:
    result = tessera(reverse)
    assert "reverse.csv" in result.stdout
    assert "±" in result.stdout
    assert "vbd_iv_model" in result.stdout


def test_unknown_is_an_answer_with_exit_code_3(tmp_path: Path) -> None:
    file = table(tmp_path / "resistor.csv", V, 1e-9 * V)
    result = tessera(file, "--json")
    assert result.exit_code == 3
    (answer,) = json.loads(result.stdout)
    assert answer["value"] is None
    assert answer["verdict"] == "unknown"
    assert "resistor" in answer["reasons"][0]


def test_a_bad_file_is_named_with_its_line_and_does_not_stop_the_others(
    reverse: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("V,I\n20,1e-9\n21,oops\n")
    result = tessera(bad, tmp_path / "gone.csv", reverse, "--json")
    assert result.exit_code == 2
    answers = json.loads(result.stdout)
    assert "bad.csv, line 3" in answers[0]["reasons"][0]
    assert "gone.csv: cannot be read" in answers[1]["reasons"][0]
    assert answers[2]["verdict"] == "pass"


def test_every_current_column_is_an_answer(tmp_path: Path) -> None:
    file = tmp_path / "board.csv"
    current = GOOD.current_a(V)
    np.savetxt(
        file, np.c_[V, current, 2 * current], header="V[V] i_0[A] i_1[A]", comments="", fmt="%.6e"
    )
    answers = json.loads(tessera(file, "--json").stdout)
    assert [a["source"] for a in answers] == [f"{file}:i_0[a]", f"{file}:i_1[a]"]


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_figure_is_written(reverse: Path, tmp_path: Path, ending: str) -> None:
    plot = tmp_path / f"iv.{ending}"
    assert tessera(reverse, "--overvoltage", 2, "--plot", plot).exit_code == 0
    assert plot.stat().st_size > 1000


def test_figures_of_many_and_of_forward_curves_are_written(
    reverse: Path, forward: Path, tmp_path: Path
) -> None:
    assert tessera(reverse, reverse, "--plot", tmp_path / "many.png").exit_code == 0
    plot = tmp_path / "forward.png"
    assert tessera(forward, "--forward", "--n-pixels", 100, "--plot", plot).exit_code == 0
    assert plot.exists()


@pytest.mark.parametrize(
    "words",
    [
        ("--forward",),
        ("--vbd", 38),
        ("--forward", "--n-pixels", 5, "--overvoltage", 2),
        ("--plot", "/no/such/folder/iv.png"),
        ("--plot", "iv.nothing"),
    ],
)
def test_wrong_use_is_told_with_exit_code_2(reverse: Path, words: tuple[object, ...]) -> None:
    assert tessera(reverse, *words).exit_code == 2
