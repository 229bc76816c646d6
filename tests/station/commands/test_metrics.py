"""`tessera metrics`: trends of the line in a terminal, as JSON and as a table file."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from station.cli import app
from station.metrics import MetricsFile, Sample

START = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Three hours of a bias current that rises by 1 µA per hour, over midnight."""
    file = MetricsFile(tmp_path, keep_days=30)
    file.append(
        [
            Sample(START + timedelta(minutes=k), {"bias.current_a": k / 60 * 1e-6, "x.y": 1.0})
            for k in range(181)
        ]
    )
    file.close()
    return tmp_path


def told(records: Path, *arguments: str) -> list[dict[str, float]]:
    done = CliRunner().invoke(
        app, ["metrics", *arguments, "--data", str(records), "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0
    return list(json.loads(done.stdout))


def test_a_trend_tells_lowest_highest_and_last_of_a_quantity(records: Path) -> None:
    (row,) = told(records, "bias.*")
    assert row["quantity"] == "bias.current_a"
    assert row["n"] == 181
    assert row["last"] == pytest.approx(3e-6, rel=1e-6)
    assert row["median"] == pytest.approx(1.5e-6, rel=1e-6)


def test_only_the_last_hours_are_told(records: Path) -> None:
    (row,) = told(records, "bias.*", "--hours", "1")
    assert row["n"] == 61
    assert row["min"] == pytest.approx(2e-6, rel=1e-6)


def test_every_value_goes_into_a_file(records: Path, tmp_path: Path) -> None:
    told(records, "--csv", str(tmp_path / "trend.csv"))
    assert len(pd.read_csv(tmp_path / "trend.csv")) == 2 * 181


def test_a_folder_without_metrics_is_wrong_input(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["metrics", "--data", str(tmp_path)])
    assert done.exit_code == 2
    assert "no metrics" in done.output
