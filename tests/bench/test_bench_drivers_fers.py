"""Reading the list file of a run of 64 channels, beside what a table reader needs for its rows."""

from pathlib import Path

import pandas as pd
import pytest

from drivers.fers import read_list
from drivers.fers.protocol import N_CHANNELS
from drivers.fers.simulator import simulate_run, write_list

N_EVENTS = 5000
HEAD_LINES = 9


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "Run1_list.txt"
    write_list(path, [simulate_run(N_EVENTS, seed=1)])
    return path


def test_bench_read_a_list_file(benchmark, path):
    run = benchmark(read_list, path)
    benchmark.extra_info["megabytes"] = path.stat().st_size / 1e6
    assert run.adc.shape == (N_CHANNELS, N_EVENTS)


def test_bench_read_the_rows_of_a_list_file_unchecked_with_pandas(benchmark, path):
    rows = benchmark(
        pd.read_csv,
        path,
        sep=r"\s+",
        skiprows=HEAD_LINES,
        header=None,
        names=["board", "channel", "lg", "hg", "time_us", "trigger", "n_rows"],
    )
    assert len(rows) == N_CHANNELS * N_EVENTS
