"""Two thousand channels at seven biases: truth, time and memory of a whole batch."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytestmark = pytest.mark.study

CHANNELS = 2000
EVENTS = 4000
BIASES = 39.5 + 0.5 * np.arange(7)
JOBS = 2
MOST_MEMORY_MB = 1000


def write_scan(file: Path) -> pd.DataFrame:
    """Charges of every channel and bias, an event per row; returns the truth by channel."""
    rng = np.random.default_rng(1)
    truth = pd.DataFrame(
        {
            "vbd_v": rng.normal(38.0, 0.03, CHANNELS),
            "gain_per_v": rng.normal(9.0, 0.15, CHANNELS),
            "pedestal": rng.uniform(50, 90, CHANNELS),
        }
    )
    schema = pa.schema([("channel", pa.int16()), ("bias_v", pa.float32()), ("charge", pa.int16())])
    with pq.ParquetWriter(file, schema) as writer:
        for channel, of in enumerate(truth.itertuples()):
            charges = []
            for bias in BIASES:
                gain = of.gain_per_v * (bias - of.vbd_v)
                primary = rng.poisson(2.0, EVENTS)
                k = primary + rng.poisson(0.02 * (bias - of.vbd_v) * primary)
                width = np.hypot(2.5, 0.03 * gain * np.sqrt(k))
                noisy = of.pedestal + gain * k + width * rng.standard_normal(EVENTS)
                charges.append(np.rint(noisy).astype(np.int16))
            columns = [
                np.full(EVENTS * len(BIASES), channel, np.int16),
                np.repeat(BIASES, EVENTS).astype(np.float32),
                np.concatenate(charges),
            ]
            writer.write_table(pa.table(columns, schema=schema))
    return truth


def memory_mb(pid: int) -> float:
    """Resident memory of a process and all below it; shared pages count in each of them."""
    total, waiting = 0.0, [pid]
    while waiting:
        pid = waiting.pop()
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            for task in Path(f"/proc/{pid}/task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmRSS"):
                total += float(line.split()[1]) / 1024
    return total


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_two_thousand_channels_at_seven_biases_fit_in_a_gigabyte(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth = write_scan(tmp_path / "scan.parquet")
    command = [sys.executable, "-m", "station.cli", "batch", str(tmp_path / "scan.parquet")]
    command += ["--out", str(tmp_path / "out"), "--jobs", str(JOBS)]
    begin, most = time.monotonic(), 0.0
    environment = {**os.environ, "COLUMNS": "100"}
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment) as batch:
        while batch.poll() is None:
            most = max(most, memory_mb(batch.pid))
            time.sleep(0.2)
    assert batch.returncode in {0, 3}
    took_s = time.monotonic() - begin
    spectra = pd.read_parquet(tmp_path / "out" / "summary.parquet")
    channels = pd.read_parquet(tmp_path / "out" / "channels.parquet").set_index("channel")
    assert len(spectra) == CHANNELS * len(BIASES)
    of = truth.loc[spectra["channel"]].reset_index(drop=True)
    true_gain = of["gain_per_v"] * (spectra["bias_v"] - of["vbd_v"])
    gain_pull = ((spectra["value"] - true_gain) / spectra["sigma"]).dropna()
    vbd_pull = ((channels["vbd_gain"] - truth["vbd_v"]) / channels["vbd_gain_sigma"]).dropna()
    with capsys.disabled():
        print(
            f"\n{len(spectra)} spectra in {took_s:.0f} s with {JOBS} processes, "
            f"{most:.0f} MB; known {spectra['value'].notna().mean():.2%}, gain pull "
            f"{gain_pull.mean():+.2f} +- {gain_pull.std():.2f}, vbd pull {vbd_pull.mean():+.2f} "
            f"+- {vbd_pull.std():.2f}; channels {channels['verdict'].value_counts().to_dict()}"
        )
    assert most < MOST_MEMORY_MB
    assert spectra["value"].notna().mean() > 0.99
    assert abs(gain_pull.median()) < 0.1
    assert 0.8 < gain_pull.quantile(0.84) - gain_pull.median() < 1.2
    assert vbd_pull.abs().quantile(0.95) < 3
    assert (channels["verdict"] == "pass").mean() > 0.9
