import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from station.cli import app
from tests.analysis.sipm.dark_toys import DarkTruth, avalanches, gated_charges, records
from tests.analysis.sipm.test_staircase import GAIN, counted, scan

TRUTH = DarkTruth(dcr_hz=3e6, crosstalk=0.1, afterpulse=0.05)


def tessera(*words: object) -> Result:
    return CliRunner().invoke(app, ["dark", *map(str, words)])


def only(result: Result) -> dict:  # type: ignore[type-arg]
    assert result.exit_code == 0, result.output
    (answer,) = json.loads(result.stdout)
    assert answer["unit"] == "Hz"
    assert answer["verdict"] == "pass"
    assert answer["quantities"]["dcr"]["value"] == answer["value"]
    return answer


@pytest.fixture
def gates(tmp_path: Path) -> Path:
    charges = gated_charges(
        np.random.default_rng(1),
        TRUTH,
        n_gates=20_000,
        gate_ns=60,
        tau_ns=8,
        gain_adc=28,
        pedestal_adc=100,
        noise_adc=3,
    )
    np.savetxt(tmp_path / "gates.csv", np.rint(charges), fmt="%d", header="charge", comments="")
    return tmp_path / "gates.csv"


@pytest.fixture
def stairs(tmp_path: Path) -> Path:
    rate = counted(np.random.default_rng(1), scan())
    sigma = np.sqrt(rate * 0.1 + 1) / 0.1
    table = np.c_[scan(), rate / 1e3, sigma / 1e3]
    names = "threshold [mV],rate [kHz],error [kHz]"
    np.savetxt(tmp_path / "stairs.csv", table, delimiter=",", header=names, comments="")
    return tmp_path / "stairs.csv"


@pytest.fixture
def waveforms(tmp_path: Path) -> Path:
    waves, *_ = records(np.random.default_rng(5), TRUTH, n_records=250, n_samples=800)
    np.savez(tmp_path / "waves.npz", waveforms=waves.astype(np.float32), dt_ns=1.0)
    return tmp_path / "waves.npz"


def test_gates_give_rate_and_crosstalk(gates: Path, tmp_path: Path) -> None:
    plot = tmp_path / "gates.png"
    answer = only(tessera(gates, "--gate-ns", 60, "--pulse-tau-ns", 8, "--json", "--plot", plot))
    assert answer["source"] == str(gates)
    assert abs(answer["value"] - 3e6) < 3 * answer["sigma"]
    assert abs(answer["quantities"]["gain"]["value"] - 28) < 1
    assert plot.stat().st_size > 5000


def test_a_staircase_is_recognised_with_its_units(stairs: Path, tmp_path: Path) -> None:
    plot = tmp_path / "stairs.svg"
    answer = only(tessera(stairs, "--dead-time-ns", 10, "--json", "--plot", plot))
    assert abs(answer["value"] - 1e5) < 3 * answer["sigma"]
    gain = answer["quantities"]["gain"]
    assert gain["unit"] == "mV/pe"
    assert abs(gain["value"] - GAIN) < 3 * gain["sigma"]
    assert "<svg" in plot.read_text()


def test_time_tags_and_delays_are_recognised_by_their_names(tmp_path: Path) -> None:
    time, *_ = avalanches(np.random.default_rng(3), DarkTruth(dcr_hz=1e5, crosstalk=0), 5e7)
    tags = tmp_path / "tags.csv"
    np.savetxt(tags, time / 1e3, header="time_us", comments="")
    answer = only(tessera(tags, "--dead-time-ns", 2, "--json"))
    assert abs(answer["value"] - 1e5) < 3 * answer["sigma"]
    assert abs(answer["quantities"]["afterpulse"]["value"] - 0.05) < 0.03
    delays = tmp_path / "delays.csv"
    np.savetxt(delays, np.diff(time), header="delay_ns", comments="")
    plot = tmp_path / "delays.pdf"
    answer = only(tessera(delays, "--json", "--plot", plot))
    assert answer["value"] == pytest.approx(1e5, rel=0.1)
    assert plot.stat().st_size > 5000


def test_waveforms_give_rate_crosstalk_and_afterpulses(waveforms: Path, tmp_path: Path) -> None:
    plot = tmp_path / "waves.png"
    answer = only(tessera(waveforms, "--json", "--plot", plot))
    quantities = answer["quantities"]
    for name, true in (("dcr", 3e6), ("crosstalk", 0.1), ("afterpulse", 0.05)):
        assert abs(quantities[name]["value"] - true) < 3 * quantities[name]["sigma"]
    assert plot.stat().st_size > 5000


def test_people_read_a_table(waveforms: Path) -> None:
    result = tessera(waveforms)
    assert result.exit_code == 0
    assert "waves.npz" in result.stdout
    assert "crosstalk" in result.stdout


def test_what_cannot_be_told_ends_with_code_3(tmp_path: Path) -> None:
    flat = tmp_path / "flat.npy"
    np.save(flat, np.zeros((10, 100)))
    result = tessera(flat, "--dt-ns", 1, "--json")
    assert result.exit_code == 3
    (answer,) = json.loads(result.stdout)
    assert answer["value"] is None
    assert answer["verdict"] == "unknown"
    assert answer["reasons"]


def test_one_bad_file_does_not_hide_the_others(gates: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.csv"
    bad.write_text("no numbers here\n")
    result = tessera(bad, tmp_path / "absent.csv", gates, "--gate-ns", 60, "--json")
    assert result.exit_code == 2
    answers = json.loads(result.stdout)
    assert [a["value"] is None for a in answers] == [True, True, False]
    assert "bad.csv" in answers[0]["reasons"][0]


@pytest.mark.parametrize(
    "words",
    [
        ["--kind", "nonsense"],
        ["--gain", "28"],
        ["--kind", "staircase"],
        ["--pulse-tau-ns", "2", "--pulse-rise-ns", "3"],
        [],
    ],
    ids=["kind", "gain without error", "not a staircase", "rise", "no gate"],
)
def test_wrong_use_ends_with_code_2(gates: Path, words: list[str]) -> None:
    assert tessera(gates, *words).exit_code == 2


def test_waveforms_need_their_time_step(tmp_path: Path) -> None:
    np.save(tmp_path / "waves.npy", np.zeros((10, 100)))
    result = tessera(tmp_path / "waves.npy")
    assert result.exit_code == 2
    assert "--dt-ns" in result.output
