"""The command line: what scripts and people get from it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sqlmodel import select
from typer.testing import CliRunner

import db
from analysis.sipm.simulate import SiPMTruth, simulate_charges
from db import open_store
from station.cli import app
from station.session import DATABASE, Session
from station.twin.server import Twin, to_toml

runner = CliRunner()


@pytest.fixture
def spectrum(tmp_path: Path) -> Path:
    """A simulated charge spectrum as a two-column file."""
    rng = np.random.default_rng(4)
    charges = np.round(
        simulate_charges(
            rng,
            SiPMTruth(),
            bias_v=40.8,
            temperature_c=25.0,
            mean_photons=9.0,
            n_events=20_000,
            pedestal_adc=100.0,
            noise_adc=2.5,
        )
    ).astype(int)
    values, counts = np.unique(charges, return_counts=True)
    path = tmp_path / "channel_07.csv"
    path.write_text(
        "ADC,Count\n" + "\n".join(f"{v},{c}" for v, c in zip(values, counts, strict=True))
    )
    return path


@pytest.mark.parametrize("command", ["run", "twin", "gain", "report", "doctor"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    result = runner.invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert "Example: tessera " + command in re.sub(r"\s+", " ", result.output)


def test_a_report_of_an_unknown_module_names_it(tmp_path: Path, spectrum: Path) -> None:
    data = tmp_path / "data"
    missing = runner.invoke(app, ["report", "320TMD8FC000001", "--data", str(data)])
    assert missing.exit_code == 2
    assert "no records" in missing.output
    runner.invoke(app, ["gain", str(spectrum), "--store", "--data", str(data)])
    unknown = runner.invoke(app, ["report", "320TMD8FC000001", "--data", str(data)])
    assert unknown.exit_code == 2
    assert "320TMD8FC000001" in unknown.output
    no_label = runner.invoke(app, ["report", "module 7", "--data", str(data)])
    assert no_label.exit_code == 2


def test_the_doctor_names_every_instrument_that_answers(tmp_path: Path, twin: Twin) -> None:
    line = tmp_path / "twin" / "line.toml"
    result = runner.invoke(app, ["doctor", "--line", str(line), "--json"])
    assert result.exit_code == 0, result.output
    found = {
        entry["role"]: entry for entry in json.loads(result.stdout) if entry["kind"] == "instrument"
    }
    assert set(found) == {"bias", "readout", "gantry", "camera", "contact lid"}
    assert "2450" in found["bias"]["identity"]
    assert all(entry["healthy"] for entry in found.values())


def test_the_doctor_tells_silent_from_healthy_and_exits_with_1(tmp_path: Path, twin: Twin) -> None:
    twin.camera.stop()
    result = runner.invoke(
        app, ["doctor", "--line", str(tmp_path / "twin" / "line.toml"), "--json"]
    )
    assert result.exit_code == 1
    found = {entry["role"]: entry for entry in json.loads(result.stdout)}
    assert not found["camera"]["healthy"]
    assert found["bias"]["healthy"]


def test_the_doctor_leaves_a_bias_that_is_on_as_it_is(tmp_path: Path, twin: Twin) -> None:
    from tests.station.test_recovery import leave_bias_on

    leave_bias_on(twin)
    result = runner.invoke(
        app, ["doctor", "--line", str(tmp_path / "twin" / "line.toml"), "--json"]
    )
    assert result.exit_code == 1
    found = {entry["role"]: entry for entry in json.loads(result.stdout)}
    assert found["bias"]["state"].startswith("output ON")
    assert "not examined" in found["readout"]["state"]
    assert twin.bias.output_is_on()


def test_a_malformed_profile_is_refused_naming_line_and_field(tmp_path: Path, twin: Twin) -> None:
    line = tmp_path / "twin" / "line.toml"
    text = line.read_text().replace("max_voltage_v = 45.0", "max_voltage_v = 450.0")
    line.write_text(text)
    result = runner.invoke(app, ["doctor", "--line", str(line)])
    assert result.exit_code == 2
    number = text.splitlines().index("max_voltage_v = 450.0") + 1
    assert f"line.toml:{number}" in result.output.replace("\n", "")
    assert "max_voltage_v" in result.output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_station_that_is_told_to_go_ends_its_run_and_leaves_the_line_safe(
    tmp_path: Path, twin: Twin, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "station.cli", "run", "--headless"]
    command += ["--line", str(tmp_path / "twin" / "line.toml"), "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as station:
        assert station.stdout is not None
        for line in station.stdout:
            if " inspect " in line:
                station.send_signal(number)
                break
        said, _ = station.communicate(timeout=60)
    assert station.returncode == 1, said
    with (
        open_store(tmp_path / "data" / DATABASE, tmp_path / "data" / "attachments") as store,
        store.session() as session,
    ):
        runs = session.exec(select(db.Run)).all()
        ends = session.exec(select(db.RunEnd)).all()
    assert len(runs) == len(ends)
    assert {end.ending for end in ends} <= {"done", "aborted"}
    assert not twin.bias.output_is_on()


def test_a_shift_whose_safe_state_was_not_verified_is_no_success(
    tmp_path: Path, twin: Twin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Session, "run_shift", lambda session, **given: [])
    close = Session.close
    monkeypatch.setattr(Session, "close", lambda session: (*close(session), "bias: no answer"))
    result = runner.invoke(
        app,
        [
            *("run", "--headless", "--line", str(tmp_path / "twin" / "line.toml")),
            *("--data", str(tmp_path / "data")),
        ],
    )
    assert result.exit_code == 1
    assert "NOT VERIFIED SAFE" in result.output


def test_gains_that_cannot_be_stored_are_printed_and_the_reason_is_told(
    spectrum: Path, tmp_path: Path
) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("no folder")
    arguments = ["gain", str(spectrum), "--store", "--json", "--data", str(in_the_way / "data")]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 1
    assert json.loads(result.stdout)[0]["value"] is not None
    assert "not stored" in result.stderr
    shift = runner.invoke(app, ["run", "--headless", "--data", str(in_the_way / "data")])
    assert shift.exit_code == 1
    assert "can't be made" in shift.stderr


def test_on_a_real_line_the_person_at_the_terminal_is_asked(tmp_path: Path, twin: Twin) -> None:
    real = tmp_path / "real.toml"
    in_real_time = twin.profile.station.model_copy(update={"time_scale": 1.0})
    real.write_text(
        to_toml(twin.profile.model_copy(update={"twin": None, "station": in_real_time}))
    )
    arguments = ["run", "--headless", "--line", str(real), "--data", str(tmp_path / "data")]
    result = runner.invoke(app, arguments, input="320TBG3L0000001\n\n320TMD8FC000001\n\n")
    assert result.exit_code == 1
    assert "Scan the tileboard" in result.output
    assert "is a G3L" in result.output
    silent = runner.invoke(app, arguments, input="")
    assert silent.exit_code == 1
    assert "stopped at the question: Scan the tileboard" in silent.output


def test_a_label_that_cannot_be_is_refused_before_anything_is_opened(tmp_path: Path) -> None:
    data = tmp_path / "data"
    result = runner.invoke(app, ["run", "--headless", "--label", "banana", "--data", str(data)])
    assert result.exit_code == 2
    assert "banana" in result.output
    assert not data.exists()
