"""A batch from end to end: every spectrum once, whatever happens to the workers."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis.sipm.batch.run as run_module
from analysis.estimate import Estimate, unknown
from analysis.sipm.batch import (
    BatchError,
    Conditions,
    Item,
    Naming,
    Progress,
    Settings,
    batch_steps,
    find_items,
    priors_of,
    run_batch,
)
from analysis.sipm.batch import page as page_module
from analysis.sipm.batch import work as work_module
from analysis.sipm.batch.journal import FILE, read_records
from analysis.sipm.batch.tasks import Task
from analysis.sipm.batch.work import analyse
from analysis.sipm.gain import DevicePrior, GainAnswer
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.batch.toys import VBD_V, Toy, write_csv, write_scan

BIASES = (40.5, 41.0, 41.5)


class Deadly:
    """Data that kills whoever unpacks it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (7,)


def quick(on: Spectrum, off: Spectrum | None = None, **_: object) -> GainAnswer:
    """Stands in for the analysis where only the way there and back is tested."""
    gain = Estimate(float(on.mean), 0.1, "ADC/pe", "mean")
    return GainAnswer(gain, "pass", {"mean": gain}, {"other": 1.5}, {"noise": gain})


@pytest.fixture(autouse=True)
def without_page(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "page" not in request.node.name:
        monkeypatch.setattr(page_module, "draw_population", lambda *_: None)
        monkeypatch.setattr(page_module, "save_page", lambda *_: [])


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(work_module, "extract_gain", quick)


def test_a_folder_becomes_tables_and_a_page(tmp_path: Path) -> None:
    toys = write_scan(tmp_path / "scan", 3, BIASES)
    (tmp_path / "scan" / "ch90_41.0V.csv").write_text("ADC,Count\n1,2\n2,many\n")
    steps: list[Progress] = []
    found = run_batch([tmp_path / "scan"], tmp_path / "out", workers=0, progress=steps.append)
    table = found.spectra.set_index(["channel", "bias_v"])
    for toy in toys:
        row = table.loc[(toy.channel, toy.bias_v)]
        assert abs(row["value"] - toy.gain) < 5 * row["sigma"]
        assert row["unit"] == "ADC/pe"
        assert row["noise_sigma"] > 0
    bad = table.loc[(90, 41.0)]
    assert bad["verdict"] == "unknown"
    assert bad["failure"] == "unreadable"
    assert "ch90_41.0V.csv, line 3" in bad["reasons"]
    channels = found.channels.set_index("device")
    good = channels.loc["ch0"]
    assert abs(good["vbd_gain"] - VBD_V) < 5 * good["vbd_gain_sigma"]
    assert channels.loc["ch90", "verdict"] == "unknown"
    assert steps[-1].done == steps[-1].expected == 10
    for file in found.files:
        assert file.stat().st_size > 500
    read = pd.read_parquet(tmp_path / "out" / "summary.parquet")
    pd.testing.assert_frame_equal(read, found.spectra)
    assert len(pd.read_csv(tmp_path / "out" / "summary.csv")) == 10


def test_processes_give_what_one_process_gives(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan", 2, BIASES)
    alone = run_batch([tmp_path / "scan"], tmp_path / "a", workers=0)
    many = run_batch([tmp_path / "scan"], tmp_path / "b", workers=2)
    pd.testing.assert_frame_equal(
        alone.spectra.drop(columns="seconds"), many.spectra.drop(columns="seconds")
    )


@pytest.mark.usefixtures("quickly")
def test_a_cluster_is_used_by_the_same_call(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    write_scan(tmp_path / "scan", 4, BIASES)
    alone = run_batch([tmp_path / "scan"], tmp_path / "a", workers=0)
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        many = run_batch([tmp_path / "scan"], tmp_path / "b", workers=client)
        assert client.status == "running"
    pd.testing.assert_frame_equal(
        alone.spectra.drop(columns="seconds"), many.spectra.drop(columns="seconds")
    )


@pytest.mark.usefixtures("quickly")
def test_an_executor_is_used_and_left_open(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan", 3, BIASES)
    with ThreadPoolExecutor(2) as executor:
        found = run_batch([tmp_path / "scan"], tmp_path / "out", workers=executor)
        assert executor.submit(len, "abc").result() == 3
    assert (found.spectra["verdict"] == "pass").sum() == 9


@pytest.mark.usefixtures("quickly")
def test_a_stopped_run_goes_on_and_never_doubles(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan", 6, BIASES)
    out = tmp_path / "out"
    steps = batch_steps([tmp_path / "scan"], out, workers=0)
    for _ in range(4):
        next(steps)
    steps.close()
    before = list(read_records(out / FILE))
    assert 0 < len(before) < 18
    with (out / FILE).open("ab") as stream:
        stream.write(b'{"key": "half a li')
    *_, last = batch_steps([tmp_path / "scan"], out, workers=0)
    assert (last.done, last.kept) == (18, len(before))
    keys = [record["key"] for record in read_records(out / FILE)]
    assert len(keys) == len(set(keys)) == 18
    found = run_batch([tmp_path / "scan"], out, workers=0)
    assert len(found.spectra) == 18
    assert len(list(read_records(out / FILE))) == 18


@pytest.mark.usefixtures("quickly")
def test_only_what_changed_is_done_again(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan", 2, BIASES)
    out = tmp_path / "out"
    run_batch([tmp_path / "scan"], out, workers=0)
    write_csv(tmp_path / "scan" / "ch00_40.5V_on.csv", Toy(77, 41.0).charges())
    again = run_batch([tmp_path / "scan"], out, workers=0)
    assert len(list(read_records(out / FILE))) == 7
    assert len(again.spectra) == 6
    (tmp_path / "scan" / "ch01_41.5V_on.csv").unlink()
    assert len(run_batch([tmp_path / "scan"], out, workers=0).spectra) == 5


@pytest.mark.usefixtures("quickly")
def test_other_settings_or_software_are_another_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(tmp_path / "ch1_41.0V.csv", Toy(1, 41.0).charges())
    source, out = [tmp_path / "ch1_41.0V.csv"], tmp_path / "out"
    f = Estimate(1.1, 0.01, "1", "earlier")
    for settings in (
        Settings(),
        Settings(naming=Naming(bin_width=2.0)),
        Settings(priors={(1, 41.0): DevicePrior(enf_divisor=f)}),
        Settings(conditions=Conditions(gate_ns=100.0, pulse_tau_ns=8.0)),
        Settings(conditions=Conditions(limit_s=1.0)),
    ):
        run_batch(source, out, workers=0, settings=settings)
    assert len(list(read_records(out / FILE))) == 4
    monkeypatch.setattr(run_module, "software", lambda: "another version")
    run_batch(source, out, workers=0)
    assert len(list(read_records(out / FILE))) == 5


def test_a_worker_that_dies_costs_its_item_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "scan", 4, (41.0,))

    def with_a_deadly_one(*arguments: Any, **named: Any) -> Iterator[Item]:
        for item in find_items(*arguments, **named):
            deadly = item.channel == 2
            yield replace(item, on=Deadly()) if deadly else item  # type: ignore[arg-type]

    monkeypatch.setattr(run_module, "find_items", with_a_deadly_one)
    found = run_batch([tmp_path / "scan"], tmp_path / "out", workers=2)
    table = found.spectra.set_index("channel")
    assert table["verdict"].tolist() == ["pass", "pass", "unknown", "pass"]
    assert table.loc[2, "failure"] == "crashed"
    assert "died" in table.loc[2, "reasons"]
    monkeypatch.setattr(run_module, "find_items", find_items)
    again = run_batch([tmp_path / "scan"], tmp_path / "out", workers=0)
    assert again.spectra["verdict"].tolist() == ["pass"] * 4
    assert len(list(read_records(tmp_path / "out" / FILE))) == 5


def test_an_executor_that_broke_keeps_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_scan(tmp_path / "scan", 1, (41.0,))
    items = list(find_items([tmp_path / "scan"], Naming()))
    deadly = [replace(items[0], on=Deadly(), identity="deadly")]  # type: ignore[arg-type]
    monkeypatch.setattr(run_module, "find_items", lambda *_, **__: iter([*items, *deadly]))
    with (
        ProcessPoolExecutor(1, mp_context=get_context("spawn")) as executor,
        pytest.raises(BatchError, match="executor is broken"),
    ):
        run_batch([tmp_path / "scan"], tmp_path / "out", workers=executor)
    monkeypatch.setattr(run_module, "find_items", find_items)
    found = run_batch([tmp_path / "scan"], tmp_path / "out", workers=0)
    assert found.spectra["verdict"].tolist() == ["pass"]


def test_an_analysis_that_fails_is_told_with_the_channel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(on: Spectrum, *_: object, **__: object) -> GainAnswer:
        if on.n_entries == 13:
            raise ZeroDivisionError("float division by zero")
        return quick(on)

    monkeypatch.setattr(work_module, "extract_gain", fails)
    write_csv(tmp_path / "scan" / "ch1_41V.csv", Toy(1, 41.0).charges(n_events=13))
    write_csv(tmp_path / "scan" / "ch2_41V.csv", Toy(2, 41.0).charges())
    table = run_batch([tmp_path / "scan"], tmp_path / "out", workers=0).spectra.set_index("channel")
    assert table.loc[1, "reasons"] == (
        "the analysis failed: ZeroDivisionError: float division by zero"
    )
    assert table.loc[2, "verdict"] == "pass"


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="this system has no timers")
def test_a_spectrum_that_takes_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hangs(*_: object, **__: object) -> GainAnswer:
        signal.pause()
        raise AssertionError

    monkeypatch.setattr(work_module, "extract_gain", hangs)
    write_csv(tmp_path / "ch1_41V.csv", Toy(1, 41.0).charges())
    (item,) = find_items([tmp_path / "ch1_41V.csv"], Naming())
    record = analyse(Task(item, None, "key"), Conditions(limit_s=0.05))
    assert record["gain"]["reasons"] == [
        "the analysis failed: TimeoutError: no answer within 0.05 s"
    ]
    assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


def test_values_that_json_does_not_know_do_not_stop_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def odd(on: Spectrum, *_: object, **__: object) -> GainAnswer:
        return replace(quick(on), agreement={"other": float("inf")})

    monkeypatch.setattr(work_module, "extract_gain", odd)
    write_csv(tmp_path / "ch1_41V.csv", Toy(1, 41.0).charges())
    found = run_batch([tmp_path / "ch1_41V.csv"], tmp_path / "out", workers=0)
    assert found.spectra["verdict"].tolist() == ["pass"]
    assert all(json.loads(line) for line in (tmp_path / "out" / FILE).read_text().splitlines())


def test_a_bad_light_off_file_leaves_the_light_on_spectrum(tmp_path: Path) -> None:
    write_csv(tmp_path / "s" / "ch1_41V_on.csv", Toy(1, 41.0).charges())
    (tmp_path / "s" / "ch1_41V_off.csv").write_text("nothing\n")
    found = run_batch([tmp_path / "s"], tmp_path / "out", workers=0)
    assert found.spectra["value"].notna().all()
    assert "ch1_41V_off.csv" in found.spectra.loc[0, "reasons"]


def test_no_spectra_at_all_are_an_empty_table_with_a_page(tmp_path: Path) -> None:
    found = run_batch([], tmp_path / "out", workers=0)
    assert len(found.spectra) == len(found.channels) == 0
    assert (tmp_path / "out" / "population.png").stat().st_size > 1000


def test_an_earlier_batch_is_what_is_known_of_the_devices(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan", 2, (41.0,))
    earlier = run_batch([tmp_path / "scan"], tmp_path / "out", workers=0)
    priors = priors_of(pd.read_csv(tmp_path / "out" / "summary.csv"))
    assert set(priors) == {(0, 41.0), (1, 41.0)}
    divisor = priors[1, 41.0].enf_divisor
    assert divisor is not None
    row = earlier.spectra.set_index("channel").loc[1]
    assert divisor.value == pytest.approx(row["enf_divisor"])
    assert divisor.sigma == pytest.approx(row["enf_divisor_sigma"])
    twice = pd.concat([earlier.spectra, earlier.spectra])
    with pytest.raises(BatchError, match="twice"):
        priors_of(twice)
    with pytest.raises(BatchError, match="no column"):
        priors_of(pd.DataFrame({"a": [1]}))


def test_unknowns_and_outliers_are_no_prior() -> None:
    columns = {
        "channel": [1, 2],
        "bias_v": [41.0, 41.0],
        "value": [None, 27.0],
        "sigma": [None, 0.1],
        "outlier": ["", "gain"],
    }
    assert priors_of(pd.DataFrame(columns)) == {}
    assert not unknown("1", "m", "r").known


def test_a_killed_run_is_continued(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan", 12, BIASES)
    out = tmp_path / "out"
    code = """if True:
        import sys
        from pathlib import Path
        from analysis.sipm.batch import batch_steps
        for step in batch_steps([sys.argv[1]], Path(sys.argv[2]), workers=1):
            print(step.done, flush=True)
    """
    command = [sys.executable, "-c", code, str(tmp_path / "scan"), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        while int(first.stdout.readline()) < 1:
            pass
        first.kill()
    done = len(list(read_records(out / FILE)))
    assert done > 0
    *_, last = batch_steps([tmp_path / "scan"], out, workers=0)
    assert last.done == 36
    assert last.kept == done
    keys = [record["key"] for record in read_records(out / FILE)]
    assert len(keys) == len(set(keys)) == 36
