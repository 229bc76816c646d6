"""Metrics: second by second on disk, cheap, never broken, never in the way."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from station.metrics import MetricsFile, MetricsRecorder, Sample, read_metrics, read_words

START = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def write(records: Path, *samples: Sample, keep_days: int = 400) -> None:
    file = MetricsFile(records, keep_days=keep_days)
    file.append(samples)
    file.close()


def test_what_was_seen_is_read_back_by_quantity_and_time(tmp_path: Path) -> None:
    write(
        tmp_path,
        *(
            Sample(
                START + timedelta(seconds=s),
                {"bias.voltage_v": 40.0 + s, "bias.output_on": True, "gantry.state": "Idle"},
            )
            for s in range(5)
        ),
    )
    frame = read_metrics(tmp_path, ["bias.voltage_v"], since=START + timedelta(seconds=2))
    assert list(frame["value"]) == [42.0, 43.0, 44.0]
    assert frame["at"].iloc[0] == START + timedelta(seconds=2)
    both = read_metrics(tmp_path, ["bias.*"])
    assert set(both["quantity"]) == {"bias.voltage_v", "bias.output_on"}
    assert set(both[both["quantity"] == "bias.output_on"]["value"]) == {1.0}


def test_a_second_in_which_nothing_was_read_has_no_value(tmp_path: Path) -> None:
    write(
        tmp_path,
        Sample(START, {"a.x": 1.0, "b.x": 1.0}),
        Sample(START + timedelta(seconds=1), {"a.x": 2.0}),
        Sample(START + timedelta(seconds=2), {"a.x": 3.0, "b.x": float("nan"), "c.x": 4.0}),
    )
    frame = read_metrics(tmp_path)
    assert frame.groupby("quantity")["value"].apply(list).to_dict() == {
        "a.x": [1.0, 2.0, 3.0],
        "b.x": [1.0],
        "c.x": [4.0],
    }


def test_a_state_in_words_is_kept_when_it_changes(tmp_path: Path) -> None:
    states = ["Idle", "Idle", "Run", "Run", "Idle"]
    write(
        tmp_path,
        *(
            Sample(START + timedelta(seconds=s), {"gantry.state": state})
            for s, state in enumerate(states)
        ),
    )
    assert list(read_words(tmp_path)["text"]) == ["Idle", "Run", "Idle"]


def test_every_day_has_its_file_and_old_ones_go(tmp_path: Path) -> None:
    for day in (0, 1, 5):
        write(tmp_path, Sample(START + timedelta(days=day), {"a.x": float(day)}), keep_days=4)
    names = sorted(path.name for path in (tmp_path / "metrics").iterdir())
    assert names == ["2026-03-05.sqlite", "2026-03-09.sqlite"]
    assert list(read_metrics(tmp_path)["value"]) == [1.0, 5.0]


def test_nothing_written_yet_is_an_empty_frame(tmp_path: Path) -> None:
    assert list(read_metrics(tmp_path).columns) == ["quantity", "at", "value"]
    assert read_metrics(tmp_path).empty
    assert read_words(tmp_path).empty


def test_a_broken_file_is_put_aside_and_the_day_goes_on(tmp_path: Path) -> None:
    (tmp_path / "metrics").mkdir()
    (tmp_path / "metrics" / "2026-03-04.sqlite").write_bytes(b"no database" * 500)
    assert read_metrics(tmp_path).empty
    write(tmp_path, Sample(START, {"a.x": 1.0}))
    assert list(read_metrics(tmp_path)["value"]) == [1.0]
    assert len(list((tmp_path / "metrics").glob("*.broken-*"))) == 1


def test_a_disk_that_refuses_is_told_once_and_gets_what_was_kept_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    troubles: list[str] = []
    numbers = iter(range(100))
    recorder = MetricsRecorder(
        tmp_path, lambda: {"a.x": float(next(numbers))}, on_trouble=troubles.append
    )
    append = MetricsFile.append

    def full(self: MetricsFile, samples: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr("station.metrics.AGAIN_S", 0.0)
    monkeypatch.setattr(MetricsFile, "append", full)
    for _ in range(3):
        recorder.take()
        time.sleep(0.002)
    monkeypatch.setattr(MetricsFile, "append", append)
    recorder.take()
    assert troubles == [
        "the metrics of the line can't be written: database or disk is full",
    ]
    assert list(read_metrics(tmp_path)["value"]) == [0.0, 1.0, 2.0, 3.0]


def test_a_full_disk_is_no_error_of_the_line(tmp_path: Path) -> None:
    (tmp_path / "metrics").write_text("a file where the folder should be")
    troubles: list[str] = []
    recorder = MetricsRecorder(tmp_path, lambda: {"a.x": 1.0}, on_trouble=troubles.append)
    recorder.take()
    assert len(troubles) == 1


WRITER = """
import itertools, sys
from pathlib import Path
from station.metrics import MetricsRecorder
numbers = itertools.count()
recorder = MetricsRecorder(Path(sys.argv[1]), lambda: {"a.x": float(next(numbers))}, every_s=0.001)
recorder.start()
print("ready", flush=True)
recorder.join()
"""


def test_a_station_that_is_killed_loses_nothing_that_was_written(tmp_path: Path) -> None:
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        before = len(read_metrics(tmp_path))
        deadline_s = time.monotonic() + 20.0
        while len(read_metrics(tmp_path)) < before + 20:
            assert time.monotonic() < deadline_s
        seen = len(read_metrics(tmp_path))
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        assert len(read_metrics(tmp_path)) >= seen
        file = next((tmp_path / "metrics").glob("*.sqlite"))
        with sqlite3.connect(file) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
