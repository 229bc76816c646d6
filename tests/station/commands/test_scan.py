"""The command `tessera scan`, from files to answers."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from typer.testing import CliRunner

from analysis.sipm.simulate import SiPMTruth, simulate_charges
from station.cli import app

TRUTH = SiPMTruth()


def scan(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["scan", *map(str, arguments)])


def answers(result: Result) -> list[dict]:
    return json.loads(result.stdout)


def spectrum(file: Path, bias_v: float, temperature_c: float = 25.0, photons: float = 9.0) -> Path:
    charges = np.rint(
        simulate_charges(
            np.random.default_rng(round(10 * bias_v + temperature_c)),
            TRUTH,
            bias_v=bias_v,
            temperature_c=temperature_c,
            mean_photons=photons,
            n_events=8000,
            pedestal_adc=100.0,
            noise_adc=2.5,
        )
    ).astype(int)
    values, counts = np.unique(charges, return_counts=True)
    rows = "\n".join(f"{v},{c}" for v, c in zip(values, counts, strict=True))
    file.write_text(f"ADC,Count\n{rows}\n")
    return file


@pytest.fixture(scope="module")
def spectra(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("spectra")
    return [spectrum(folder / f"sipm_{v:.1f}V.csv", v) for v in (40.0, 40.7, 41.4, 42.1)]


def gains(file: Path, header: str, rows: list[tuple]) -> Path:
    file.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return file


def line(bias_v: float, temperature_c: float = 25.0, curvature: float = 0.0) -> float:
    over = bias_v - 51.0 - 0.05 * (temperature_c - 25.0)
    return round(9.3 * over * (1 + curvature * over), 5)


def test_spectra_named_by_their_bias_give_the_breakdown_voltage(spectra: list[Path]) -> None:
    result = scan(*spectra, "--json")
    assert result.exit_code == 0, result.output
    head, *points = answers(result)
    assert head["unit"] == "V"
    assert "vbd_gain" in head["method"]
    assert abs(head["value"] - TRUTH.vbd_v) < 2 * head["sigma"] < 0.2
    assert set(head["quantities"]) == {"gain_per_v", "curvature", "vbd_curved"}
    assert [p["source"] for p in points] == [str(file) for file in spectra]
    assert [p["goodness"]["bias_v"] for p in points] == [40.0, 40.7, 41.4, 42.1]


def test_a_table_names_spectra_beside_it(spectra: list[Path]) -> None:
    table = gains(
        spectra[0].parent / "scan.csv",
        "file,bias [V],Temperature (C)",
        [(file.name, v, 25) for file, v in zip(spectra, (40.0, 40.7, 41.4, 42.1), strict=True)],
    )
    head, *points = answers(scan(table, "--json"))
    assert head["source"] == str(table)
    assert abs(head["value"] - TRUTH.vbd_v) < 2 * head["sigma"]
    assert points[1]["goodness"]["temperature_c"] == 25.0


def test_ready_gains_that_bend_are_flagged(tmp_path: Path) -> None:
    rows = [(v, line(v, curvature=0.006), 0.03) for v in range(53, 61)]
    result = scan(gains(tmp_path / "bent.csv", "bias_v,gain,sigma", rows), "--json")
    assert result.exit_code == 3
    head = answers(result)[0]
    assert head["verdict"] == "flag"
    assert "near breakdown" in head["method"]
    assert any("not linear" in reason for reason in head["reasons"])
    assert abs(head["value"] - 51.0) < 1.2 * head["sigma"]


def test_a_named_outlier_flags_its_point(tmp_path: Path) -> None:
    rows = [(v, line(v) * (1.05 if v == 55 else 1), 0.03) for v in range(53, 60)]
    head, *points = answers(scan(gains(tmp_path / "o.csv", "bias_v,gain,sigma", rows), "--json"))
    assert [p["verdict"] for p in points] == ["pass", "pass", "flag", *["pass"] * 4]
    assert any("55 V lies" in reason for reason in head["reasons"])


def test_voltage_and_temperature_are_fitted_jointly_and_corrected(tmp_path: Path) -> None:
    rows = [(v, line(v, t), 0.03, t) for v in range(53, 57) for t in (-20, 0, 25)]
    table = gains(tmp_path / "vt.csv", "bias_v,gain,sigma,temperature_c", rows)
    result = scan(table, "--json", "--plot", tmp_path / "vt.svg")
    assert result.exit_code == 0, result.output
    head, *points = answers(result)
    assert head["value"] == pytest.approx(51.0, abs=0.01)
    assert head["quantities"]["vbd_slope"]["value"] == pytest.approx(0.05, abs=1e-3)
    for row, point in zip(rows, points, strict=True):
        assert point["value"] == row[1]
        at = point["quantities"]["gain_at_reference"]
        assert at["value"] == pytest.approx(line(row[0]), abs=0.05)
    assert (tmp_path / "vt.svg").read_text().startswith("<?xml")


def test_temperature_and_light_are_recognised(tmp_path: Path) -> None:
    warm = gains(
        tmp_path / "t.csv",
        "bias_v,gain,sigma,temperature_c",
        [(54, line(54, t), 0.03, t) for t in (-20, 0, 20, 40)],
    )
    lit = gains(
        tmp_path / "l.csv", "bias_v,gain,sigma,light", [(54, 30, 0.1, m) for m in (1, 3, 9)]
    )
    found = answers(scan(warm, lit, "--json"))
    heads = [a for a in found if a["source"] in {str(warm), str(lit)}]
    assert [head["unit"] for head in heads] == ["ADC/pe/K", "ADC/pe"]
    assert heads[0]["value"] == pytest.approx(-9.3 * 0.05, rel=0.01)
    assert set(heads[1]["quantities"]) == {"slope", "change_over_range"}


def test_overvoltages_need_or_get_a_nominal_breakdown(tmp_path: Path) -> None:
    table = gains(
        tmp_path / "ov.csv", "overvoltage_v,gain,sigma", [(o, 9.3 * o, 0.03) for o in (2, 3, 4, 5)]
    )
    plain = answers(scan(table, "--json"))[0]
    assert plain["value"] == pytest.approx(0.0, abs=0.01)
    assert any("overvoltages" in reason for reason in plain["reasons"])
    assert answers(scan(table, "--vbd", 51, "--json"))[0]["value"] == pytest.approx(51.0, abs=0.01)


def test_a_pattern_tells_the_bias(spectra: list[Path], tmp_path: Path) -> None:
    files = []
    for number, file in enumerate(spectra):
        files.append(tmp_path / f"b{4000 + 70 * number}.csv")
        files[-1].write_text(file.read_text())
    result = scan(*files, "--bias-pattern", r"b(?P<bias>\d\d)", "--json")
    assert [a["goodness"]["bias_v"] for a in answers(result)[1:]] == [40.0, 40.0, 41.0, 42.0]
    assert scan(*files).exit_code == 2


def test_a_missing_spectrum_is_named_and_the_rest_goes_on(spectra: list[Path]) -> None:
    result = scan(*spectra, spectra[0].parent / "gone_43V.csv", "--json")
    assert result.exit_code == 2
    head, *points = answers(result)
    assert head["value"] is not None
    assert "gone_43V.csv: cannot be read" in points[-1]["reasons"][0]


@pytest.mark.parametrize(
    ("header", "row", "why"),
    [
        ("bias_v,gain,sigma", "53,1x,3", "line 2, gain: '1x' is not a number"),
        ("bias_v,gain", "53,18", "line 2: gains need their errors in a column sigma"),
        ("bias_v,gain,sigma", "53,18,0.1,9", "line 2: 4 fields where the header has 3"),
        ("bias_v,gain,sigma,V", "53,18,0.1,9", "two columns bias_v"),
        ("file,bias_v", ",53", "line 2, file: no file is named"),
        ("bias_v,gain,sigma,shared_sigma", "53,18,0.1,-1", "line 2: shared_sigma"),
        ("bias_v,gain,sigma", "", "the table has no rows"),
    ],
)
def test_errors_of_a_table_name_file_line_and_field(
    tmp_path: Path, header: str, row: str, why: str
) -> None:
    table = tmp_path / "table.csv"
    table.write_text(f"{header}\n{row}\n")
    result = scan(table)
    assert result.exit_code == 2
    assert "table.csv" in result.output
    assert why in result.output


def test_wrong_use_is_refused(spectra: list[Path], tmp_path: Path) -> None:
    table = gains(
        tmp_path / "a.csv", "bias_v,gain,sigma", [(v, line(v), 0.1) for v in (53, 54, 55)]
    )
    assert scan(table, "--vbd-slope", 0.05).exit_code == 2
    assert scan(table, "--curvature", -1).exit_code == 2
    assert scan(table, "--bias-pattern", "(").exit_code == 2
    assert scan(table, table, "--plot", tmp_path / "x.png").exit_code == 2
    assert scan(table, "--plot", tmp_path / "x.unheard").exit_code == 2
    assert scan(spectra[0], "--off", tmp_path / "none.csv").exit_code == 2
    assert "No such file" in scan(tmp_path / "nothing.csv").output


def test_a_table_of_gains_with_gaps_is_fitted_without_them(tmp_path: Path) -> None:
    rows = [
        (53, line(53), 0.03),
        (54, "", ""),
        (55, line(55), ""),
        *((v, line(v), 0.03) for v in (56, 57, 58)),
    ]
    result = scan(gains(tmp_path / "g.csv", "bias_v;gain;sigma".replace(";", ","), rows), "--json")
    assert result.exit_code == 3
    head, *points = answers(result)
    assert head["verdict"] == "pass"
    assert [p["verdict"] for p in points] == ["pass", "unknown", "unknown", "pass", "pass", "pass"]


def test_real_spectra_show_the_gain_falling_with_light(shared_data: Path) -> None:
    files = sorted((shared_data / "spectra" / "ketek3350_led_scan").glob("*.csv"))
    result = scan(*files, "--json")
    assert result.exit_code == 3
    head = answers(result)[0]
    assert "falls with the light" in head["reasons"][0]
    assert abs(head["value"] - 28.65) < 3 * head["sigma"] < 0.6
