"""`tessera batch`: a folder in, tables and a page out."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.sipm.simulate import gain as gain_of
from station.cli import app
from tests.station.commands.spectra import TEMPERATURE_C, TRUTH, charges, write

runner = CliRunner()
BIASES = (40.3, 40.8, 41.3)


@pytest.fixture(scope="session")
def scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scan")
    for bias in BIASES:
        write(folder / f"ch07_{bias}V_25C_on.csv", charges(2.0, 3000, bias_v=bias))
    return folder


def test_the_help_has_an_example() -> None:
    result = runner.invoke(app, ["batch", "--help"])
    assert result.exit_code == 0
    assert "Example: tessera batch" in re.sub(r"\s+", " ", result.output)


def test_json_has_an_object_per_spectrum(scan: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = ["batch", str(scan), "--out", str(out), "--jobs", "0", "--json"]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    answers = json.loads(result.stdout)
    assert [answer["bias_v"] for answer in answers] == list(BIASES)
    for answer in answers:
        assert answer["channel"] == 7
        assert answer["channel_verdict"] == "pass"
        true = gain_of(TRUTH, answer["bias_v"], TEMPERATURE_C)
        assert abs(answer["value"] - true) < 5 * answer["sigma"]
        assert answer["quantities"]["noise"]["unit"] == "ADC"
    table = pd.read_parquet(out / "channels.parquet").loc[0]
    assert abs(table["vbd_gain"] - TRUTH.vbd_v) < 5 * table["vbd_gain_sigma"]
    assert (out / "population.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "population.pdf").read_bytes().startswith(b"%PDF")
    again = runner.invoke(app, arguments)
    assert json.loads(again.stdout) == answers


def test_bad_files_are_named_and_the_exit_code_says_so(tmp_path: Path) -> None:
    (tmp_path / "ch3_41V.csv").write_text("ADC,Count\n1,2\n2,many\n")
    result = runner.invoke(
        app, ["batch", str(tmp_path), "--out", str(tmp_path / "out"), "--jobs", "0"]
    )
    assert result.exit_code == 2
    assert "ch3_41V.csv, line 3" in result.stdout.replace("\n", "")
    assert "1 channels: 1 unknown" in result.stdout


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--pattern", "nonsense"], "no name in braces"),
        (["--bin-width", "0"], "must be positive"),
        (["--prior", "missing.parquet"], "missing.parquet"),
        (["--jobs", "1", "--scheduler", "tcp://x:1"], "give one"),
    ],
)
def test_wrong_use_is_told_before_anything_is_done(
    tmp_path: Path, options: list[str], told: str
) -> None:
    arguments = ["batch", str(tmp_path), "--out", str(tmp_path / "out"), *options]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 2
    assert told in re.sub(r"\s+", " ", result.stderr)
    assert not (tmp_path / "out" / "summary.csv").exists()


def test_a_prior_that_is_no_summary_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n1,2\n")
    arguments = ["batch", str(tmp_path), "--out", str(tmp_path / "out")]
    result = runner.invoke(app, [*arguments, "--prior", str(tmp_path / "x.csv")])
    assert result.exit_code == 2
    assert "no summary of a batch" in result.stderr


def test_a_summary_is_the_prior_of_the_next_batch(scan: Path, tmp_path: Path) -> None:
    first = ["batch", str(scan), "--out", str(tmp_path / "a"), "--jobs", "0"]
    assert runner.invoke(app, first).exit_code == 0
    second = ["batch", str(scan), "--out", str(tmp_path / "b"), "--jobs", "0"]
    result = runner.invoke(app, [*second, "--prior", str(tmp_path / "a" / "summary.parquet")])
    assert result.exit_code == 0, result.output
