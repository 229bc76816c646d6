"""`tessera gain`: one answer per file, with the errors and reasons that belong to it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from analysis.sipm.simulate import gain as gain_of
from db import open_store
from db.queries import readings_of_part
from station.cli import app
from station.session import DATABASE
from tests.station.commands.spectra import BIAS_V, TEMPERATURE_C, TRUTH, charges, write

runner = CliRunner()
TRUE_GAIN = gain_of(TRUTH, BIAS_V, TEMPERATURE_C)
FIELDS = {"source", "value", "sigma", "unit", "method", "verdict", "reasons", "goodness"}
LABEL = "320SP0900000042"


@pytest.fixture(scope="session")
def peaks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the resolved spectrum of a device and its light-off spectrum."""
    folder = tmp_path_factory.mktemp("peaks")
    write(folder / "channel_07.csv", charges(3.0))
    write(folder / "channel_07_off.csv", charges(0.0))
    return folder


@pytest.fixture(scope="session")
def peakless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same device with so much noise that no peak is left."""
    folder = tmp_path_factory.mktemp("peakless")
    write(folder / "channel_07.csv", charges(3.0, 40_000, noise_adc=45.0))
    write(folder / "channel_07_off.csv", charges(0.0, 40_000, noise_adc=45.0))
    return folder


def gain(*arguments: object) -> tuple[int, list[dict[str, Any]]]:
    result = runner.invoke(app, ["gain", *(str(a) for a in arguments), "--json"])
    return result.exit_code, json.loads(result.stdout)


def test_it_answers_as_an_array_with_an_object_per_file(peaks: Path) -> None:
    code, (answer,) = gain(peaks / "channel_07.csv")
    assert code == 0
    assert set(answer) >= FIELDS
    assert answer["source"] == str(peaks / "channel_07.csv")
    assert answer["unit"] == "ADC/pe"
    assert abs(answer["value"] - TRUE_GAIN) < 5 * answer["sigma"]
    assert abs(answer["value"] / TRUE_GAIN - 1) < 0.005
    assert answer["goodness"]["ndf"] > 10
    noise = answer["quantities"]["noise"]
    assert abs(noise["value"] - 2.5) < 5 * noise["sigma"]
    assert noise["unit"] == "ADC"


def test_a_spectrum_without_peaks_is_unknown_with_a_reason_and_exit_code_3(
    tmp_path: Path,
) -> None:
    path = tmp_path / "flat.csv"
    path.write_text("ADC,Count\n" + "\n".join(f"{i},{100}" for i in range(200)))
    code, (answer,) = gain(path)
    assert code == 3
    assert answer["value"] is None
    assert answer["sigma"] is None
    assert answer["verdict"] == "unknown"
    assert answer["reasons"]


def test_an_unreadable_file_is_named_and_the_others_are_still_answered(
    peaks: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.csv"
    broken.write_text("ADC,Count\n1,2\n2,many\n")
    code, (bad, good) = gain(broken, peaks / "channel_07.csv")
    assert code == 2
    assert bad["value"] is None
    assert "broken.csv, line 3" in bad["reasons"][0]
    assert good["value"] is not None


def test_a_list_of_single_charges_gives_the_same_gain_as_its_histogram(
    peaks: Path, tmp_path: Path
) -> None:
    path = tmp_path / "charges.txt"
    np.savetxt(path, charges(3.0), fmt="%d")
    code, (one, other) = gain(path, peaks / "channel_07.csv")
    assert code == 0
    assert one["value"] == pytest.approx(other["value"], rel=1e-3)


def test_a_charge_that_is_no_number_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "charges.txt"
    values = [str(charge) for charge in charges(3.0, 500)]
    values[41] = "nan"
    path.write_text("\n".join(values))
    code, (answer,) = gain(path)
    assert code == 2
    assert answer["verdict"] == "unknown"
    assert "charges.txt, line 42" in answer["reasons"][0]


def test_an_earlier_answer_gives_the_divisor_where_the_peaks_are_gone(
    peaks: Path, peakless: Path, tmp_path: Path
) -> None:
    on, off = peakless / "channel_07.csv", peakless / "channel_07_off.csv"
    code, (alone,) = gain(on, "--off", off)
    assert (code, alone["verdict"]) == (3, "unknown")
    earlier = runner.invoke(app, ["gain", str(peaks / "channel_07.csv"), "--json"])
    (tmp_path / "earlier.json").write_text(earlier.stdout)
    _, (answer,) = gain(on, "--off", off, "--prior", tmp_path / "earlier.json")
    assert answer["value"] is not None, answer["reasons"]
    assert "dispersion" in answer["method"]
    assert abs(answer["value"] - TRUE_GAIN) < 4 * answer["sigma"]
    assert answer["sigma"] < 0.1 * TRUE_GAIN


def test_a_divisor_by_hand_does_the_same(peakless: Path) -> None:
    on, off = peakless / "channel_07.csv", peakless / "channel_07_off.csv"
    _, (answer,) = gain(
        on, "--off", off, "--enf-divisor", 1.13, "--enf-divisor-sigma", 0.03, "--n-pixels", 7284
    )
    assert answer["value"] is not None, answer["reasons"]
    assert abs(answer["value"] - TRUE_GAIN) < 4 * answer["sigma"]


def test_earlier_answers_of_several_devices_are_told_apart_by_file_name(
    peaks: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier.json"
    one = {"value": 20.0, "sigma": 0.1, "unit": "ADC/pe", "method": "m", "quantities": {}}
    right = {**one, "value": TRUE_GAIN, "source": "before/channel_07.csv"}
    earlier.write_text(json.dumps([{**one, "source": "before/channel_08.csv"}, right]))
    code, _ = gain(peaks / "channel_07.csv", "--prior", earlier)
    assert code == 0
    wrong = {**right, "value": 20.0}
    earlier.write_text(json.dumps([{**one, "source": "before/channel_08.csv"}, wrong]))
    code, (answer,) = gain(peaks / "channel_07.csv", "--prior", earlier)
    assert (code, answer["verdict"]) == (3, "flag")
    assert any("20" in reason for reason in answer["reasons"])
    earlier.write_text(json.dumps([{**one, "source": "a.csv"}, {**one, "source": "b.csv"}]))
    result = runner.invoke(
        app, ["gain", str(peaks / "channel_07.csv"), "--prior", str(earlier), "--json"]
    )
    assert result.exit_code == 2
    assert "no answer for" in result.stderr


def test_earlier_answers_of_two_files_of_the_same_name_are_refused(
    peaks: Path, tmp_path: Path
) -> None:
    earlier = tmp_path / "earlier.json"
    one = {"value": 20.0, "sigma": 0.1, "unit": "ADC/pe", "method": "m", "quantities": {}}
    sources = ("52V/channel_07.csv", "53V/channel_07.csv")
    earlier.write_text(json.dumps([{**one, "source": source} for source in sources]))
    result = runner.invoke(app, ["gain", str(peaks / "channel_07.csv"), "--prior", str(earlier)])
    assert result.exit_code == 2
    assert "several answers for files named channel_07.csv" in " ".join(result.stderr.split())


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"source": "a"}]', "not json"])
def test_a_prior_that_is_none_is_refused_by_name(peaks: Path, tmp_path: Path, text: str) -> None:
    earlier = tmp_path / "earlier.json"
    earlier.write_text(text)
    result = runner.invoke(app, ["gain", str(peaks / "channel_07.csv"), "--prior", str(earlier)])
    assert result.exit_code == 2
    assert "earlier.json" in result.stderr.replace("\n", "")


def test_a_value_without_its_error_is_refused(peaks: Path) -> None:
    for option in ("--enf-divisor", "--crosstalk", "--light-jitter-sigma"):
        result = runner.invoke(app, ["gain", str(peaks / "channel_07.csv"), option, "0.1"])
        assert result.exit_code == 2
        assert "belong together" in result.stderr


def test_as_many_light_off_spectra_as_files_or_one_for_all(peaks: Path) -> None:
    on, off = str(peaks / "channel_07.csv"), str(peaks / "channel_07_off.csv")
    result = runner.invoke(app, ["gain", on, on, on, "--off", off, "--off", off])
    assert result.exit_code == 2
    assert "2 light-off spectra for 3 files" in result.stderr


def test_a_light_off_file_that_cannot_be_read_is_named(peaks: Path) -> None:
    result = runner.invoke(app, ["gain", str(peaks / "channel_07.csv"), "--off", "missing.csv"])
    assert result.exit_code == 2
    assert "missing.csv" in result.stderr


@pytest.mark.parametrize("name", ["gain.png", "gain.pdf", "gain.svg"])
def test_the_figure_is_drawn_for_every_kind_of_file(peaks: Path, tmp_path: Path, name: str) -> None:
    flat = tmp_path / "flat.csv"
    flat.write_text("ADC,Count\n" + "\n".join(f"{i},{100}" for i in range(200)))
    code, _ = gain(peaks / "channel_07.csv", flat, "--plot", tmp_path / name)
    assert code == 3
    drawn = (tmp_path / name).read_bytes()
    assert len(drawn) > 5000
    if name.endswith("pdf"):
        assert b"/Count 2" in drawn


def test_a_figure_that_cannot_be_written_is_told(peaks: Path, tmp_path: Path) -> None:
    for name in ("no/folder.pdf", "no/folder.png", "gain.docx"):
        arguments = ["gain", str(peaks / "channel_07.csv"), "--plot", str(tmp_path / name)]
        result = runner.invoke(app, arguments)
        assert result.exit_code == 2
        assert "error:" in result.stderr


def test_people_read_the_gain_with_its_error_and_nothing_unknown(peaks: Path) -> None:
    result = runner.invoke(app, ["gain", str(peaks / "channel_07.csv")])
    assert result.exit_code == 0
    assert "±" in result.stdout
    assert "ADC/pe" in result.stdout
    assert "can't tell" not in result.stdout


def test_stored_gains_are_in_the_records_with_their_spectrum(peaks: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    code, (answer,) = gain(peaks / "channel_07.csv", "--store", "--part", LABEL, "--data", data)
    assert code == 0
    with open_store(data / DATABASE, data / "attachments") as store:
        readings = readings_of_part(store, LABEL).set_index("quantity")
        part = store.get_part(LABEL)
        assert part is not None
        assert store.open_runs(part.site_id) == []
    assert readings.loc["gain", "value"] == answer["value"]
    assert readings.loc["gain", "sigma"] == answer["sigma"]
    assert readings.loc["gain", "verdict"] == "pass"
    assert readings.loc["noise", "value"] == answer["quantities"]["noise"]["value"]
    assert len(list((data / "attachments").rglob("*"))) > 1


def test_a_wrong_part_label_stores_nothing(peaks: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ["gain", str(peaks / "channel_07.csv"), "--store", "--part", "320XX0"]
    result = runner.invoke(app, [*arguments, "--data", str(data)])
    assert result.exit_code == 2
    assert "320XX0" in result.output
    assert not (data / DATABASE).exists()
