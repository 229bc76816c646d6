"""What a second of metrics costs, and how large a shift of them is."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from station.metrics import MetricsFile, Sample, read_metrics

START = datetime(2026, 3, 4, 8, 0, 0, tzinfo=UTC)
QUANTITIES = 60
SHIFT_S = 8 * 3600


def sample(second: int) -> Sample:
    values = {f"role{n % 8}.quantity{n}_v": 40.0 + n + second % 97 for n in range(QUANTITIES)}
    return Sample(START + timedelta(seconds=second), values)


def test_a_second_of_metrics(benchmark: BenchmarkFixture, tmp_path: Path) -> None:
    file = MetricsFile(tmp_path, keep_days=400)
    seconds = iter(range(SHIFT_S))

    def second() -> None:
        file.append([sample(next(seconds))])

    benchmark.pedantic(second, rounds=2000)
    file.close()


@pytest.mark.study
def test_a_shift_of_metrics(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path, keep_days=400)
    begun_s = time.process_time()
    for second in range(SHIFT_S):
        file.append([sample(second)])
    written_s = time.process_time() - begun_s
    file.close()
    size = sum(path.stat().st_size for path in (tmp_path / "metrics").iterdir())
    begun_s = time.perf_counter()
    frame = read_metrics(tmp_path, ["role1.*"])
    read_s = time.perf_counter() - begun_s
    print(
        f"{QUANTITIES} quantities: {written_s / SHIFT_S * 1e3:.3f} ms CPU per second, "
        f"{size / 1e6:.1f} MB per shift, {len(frame)} values read in {read_s:.2f} s"
    )
