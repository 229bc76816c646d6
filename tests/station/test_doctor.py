"""The doctor: finds what is connected without touching it, and says what to do."""

import contextlib
import json
import os
import pty
import re
import select
import socket
import termios
import threading
import tty
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drivers.clock import ScaledClock
from drivers.grbl.protocol import REALTIME
from drivers.grbl.simulator import GrblSimulator
from drivers.keithley.simulator import Keithley2450Simulator
from station.cli import app
from station.doctor import Found, Places, draft, questions, scan
from station.doctor.questions import NETWORK_QUESTIONS, SERIAL_QUESTIONS
from station.doctor.surroundings import clock, disk, permission
from station.profile_file import load_profile
from station.settings import SettingsError
from station.twin.server import Twin

runner = CliRunner()
Serial = Callable[[Mapping[bytes, bytes], int], str]


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on a pseudo-terminal needs a third of a second to begin its answer."""
    monkeypatch.setattr(questions, "QUIET_S", 0.03)
    monkeypatch.setattr(questions, "BANNER_S", 0.03)


@pytest.fixture
def device() -> Iterator[Serial]:
    """`device(answers, baud)`: a serial port whose owner answers at that baud rate only."""
    with contextlib.ExitStack() as stack:

        def make(answers: Mapping[bytes, bytes], baud: int) -> str:
            return stack.enter_context(_device(answers, baud))

        yield make


@contextlib.contextmanager
def _device(answers: Mapping[bytes, bytes], baud: int) -> Iterator[str]:
    master, slave = pty.openpty()
    tty.setraw(slave)
    wake_read, wake_write = os.pipe()
    speed = getattr(termios, f"B{baud}")

    def serve() -> None:
        while True:
            readable, _, _ = select.select([master, wake_read], [], [])
            if wake_read in readable:
                return
            received = os.read(master, 4096)
            if termios.tcgetattr(master)[5] != speed:
                continue
            for question, answer in answers.items():
                # on a busy machine two questions may be read at once
                if question in received:
                    os.write(master, answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield os.ttyname(slave)
    finally:
        os.write(wake_write, b"x")
        thread.join(5)
        for number in (master, slave, wake_read, wake_write):
            os.close(number)


@pytest.mark.parametrize(
    ("driver", "baud", "question", "answer", "identity"),
    [
        ("marlin", 115200, b"M115\n", b"FIRMWARE_NAME:Marlin 2.1.2\nok\n", "Marlin 2.1.2"),
        ("caen_a7585", 115200, b"AT+CGMM\r\n", b"OK=DT5485\r\n", "DT5485"),
        ("caen_a7585", 115200, b"AT+CGMM\r\n", b"A7585DU\r\n", "A7585DU"),
        ("caen_a7585", 115200, b"AT+CGMI\r\n", b"OK=CAEN SpA\r\n", "CAEN SpA"),
        ("caen_a7585", 115200, b"AT+CGMI\r\n", b"Nuclear Instruments\r\n", "Nuclear Instruments"),
        (
            "keithley2400",
            9600,
            b"*IDN?\n",
            b"KEITHLEY INSTRUMENTS INC.,MODEL 2410,0851234,C33\r\n",
            "KEITHLEY INSTRUMENTS INC.,MODEL 2410,0851234,C33",
        ),
        ("caen_hv", 9600, b"$CMD:MON,PAR:BDNAME\r\n", b"#CMD:OK,VAL:DT5521\r\n", "DT5521"),
        (
            "caen_hv",
            9600,
            b"$BD:00,CMD:MON,PAR:BDNAME\r\n",
            b"#BD:00,CMD:OK,VAL:N1470\r\n",
            "N1470",
        ),
        ("iseg", 9600, b"#\r\n", b"#\r\n484230;3.09;3000V;3mA\r\n", "484230;3.09;3000V;3mA"),
        ("huber", 9600, b"\r[M01V07C6\r", b"[S01V0FUNISTAT    \r", "[S01V0FUNISTAT"),
    ],
)
def test_an_instrument_on_a_serial_port_is_known_by_its_own_question_and_baud_rate(
    device: Serial, driver: str, baud: int, question: bytes, answer: bytes, identity: str
) -> None:
    port = device({question: answer}, baud)
    (found,) = scan(Places(ports=(port,)))
    assert (found.driver, found.identity) == (driver, identity)
    assert found.framing is not None
    assert found.framing.baud == baud


def test_a_gantry_is_found_and_stays_as_it_is() -> None:
    gantry = GrblSimulator(clock=ScaledClock(200.0), probe=lambda: False)
    gantry.start()
    try:
        before = gantry.true_commanded_position_mm()
        (found,) = scan(Places(ports=(gantry.path,)))
        assert (found.role, found.driver) == ("gantry", "grbl")
        assert "1.1h" in found.identity
        assert gantry.true_commanded_position_mm() == before
    finally:
        gantry.stop()


def test_an_unknown_device_is_quoted_and_a_dumb_one_is_told(device: Serial) -> None:
    strange = device({b"$I\n": b"what is it?\r\n"}, 115200)
    silent = device({}, 9600)
    first, second = scan(Places(ports=(strange, silent)))
    assert (first.driver, second.driver) == ("", "")
    assert "what is it?" in first.about
    assert "nobody known answers" in second.about


def test_a_port_that_is_to_be_left_alone_is_not_opened(device: Serial) -> None:
    port = device({b"M115\n": b"FIRMWARE_NAME:Marlin 2.1.2\n"}, 115200)
    assert scan(Places(ports=(port,), leave_alone=frozenset({port}))) == []


def test_a_port_that_is_not_there_is_told_with_its_remedy() -> None:
    (found,) = scan(Places(ports=("/dev/no-such-port",)))
    assert "no such device" in found.about
    assert "power and cable" in found.remedy


def test_a_supply_on_the_network_is_found_and_its_output_stays_as_it_is() -> None:
    supply = Keithley2450Simulator(lambda v: 0.0, lambda: True, ScaledClock(200.0))
    supply.start()
    try:
        port = re.search(r"::(\d+)::", supply.address)
        assert port is not None
        (found,) = scan(Places(ports=(), hosts=(f"127.0.0.1:{port[1]}",)))
        assert (found.role, found.driver) == ("bias", "keithley2450")
        assert found.address == supply.address
        assert not supply.output_is_on()
    finally:
        supply.stop()


def test_a_host_where_nobody_listens_is_told() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (found,) = scan(Places(ports=(), hosts=(f"127.0.0.1:{port}",)))
    assert "nobody answers" in found.about
    assert "cable" in found.remedy


def test_no_question_moves_or_switches_any_instrument_that_is_asked() -> None:
    asked = [*SERIAL_QUESTIONS, *(question for _, question in NETWORK_QUESTIONS)]
    acting = re.compile(
        r"(^|[,:])(SET|ON|OFF|OUTP?\w* ?(ON|1)|out_\w+|[GD]\d|V\d=|M(?!115)\d+|\$[HXJCS])",
        re.IGNORECASE,
    )
    for question in asked:
        data = question.send.encode() + question.terminator
        assert not (set(data) & REALTIME) - set(b"?"), question
        assert not acting.search(question.send.replace("$CMD", "").replace("[M01V", "")), question


def test_every_question_knows_its_own_answer_only() -> None:
    answers = {
        "grbl": "[VER:1.1h.20190830:]\n[OPT:VMZ,35,254]\nok\n",
        "marlin": "FIRMWARE_NAME:Marlin 2.1.2 (Jan 2026)\nok\n",
        "caen_a7585": "AT+CGMM\nDT5485\n",
        "keithley2400": "KEITHLEY INSTRUMENTS INC.,MODEL 2400,1234567,C30\n",
        "keithley6517": "KEITHLEY INSTRUMENTS INC.,MODEL 6517B,1234567,A12\n",
        "caen_hv": "#BD:00,CMD:OK,VAL:N1470\n",
        "iseg": "#\n484230;3.09;3000V;3mA\n",
        "huber": "[S01V0FUNISTAT\n",
        "julabo": "JULABO FP50-HE\n",
    }
    assert set(answers) == {question.driver for question in SERIAL_QUESTIONS}
    for driver, text in answers.items():
        known = {q.driver for q in SERIAL_QUESTIONS if q.identity(text) is not None}
        assert known == {driver}


# -- the draft -------------------------------------------------------------------------------------

FOUND = [
    Found("TCPIP::10.0.0.5::5025::SOCKET", "network", "bias", "keithley2450", "KEITHLEY,2450,1,1"),
    Found("/dev/ttyACM0", "serial port", "gantry", "grbl", "1.1h"),
    Found("/dev/ttyACM1", "serial port", "gantry", "marlin", "Marlin 2.1"),
    Found("10.0.0.6", "ZMQ servers", "tester", "tileboard_tester", "tileboard tester"),
    Found("/dev/i2c-1 0x44", "I2C bus", "climate", "sensirion", "Sensirion SHT85"),
]


def test_a_draft_is_refused_until_every_line_marked_is_complete(tmp_path: Path) -> None:
    text = draft(FOUND)
    path = tmp_path / "line.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load_profile(path)
    missing = {problem.field for problem in refused.value.problems}
    assert {"bias.max_voltage_v", "gantry.travel_mm", "site.code", "camera.url"} <= missing
    marked = {line.split("=")[0].strip("# ") for line in text.splitlines() if "FILL IN" in line}
    assert {field.rsplit(".", 1)[-1] for field in missing} <= marked
    assert '# or: driver = "marlin", port = "/dev/ttyACM1"' in text


def test_a_completed_draft_is_a_profile_with_what_was_found(tmp_path: Path) -> None:
    values = {
        "code": '"DESY"', "name": '"DESY"', "max_voltage_v": "45.0", "compliance_a": "1e-3",
        "data_folder": '"/data"', "travel_mm": "[1300.0, 800.0, 220.0]", "safe_z_mm": "60.0",
        "driver": '"opencv"', "url": '"/dev/video0"', "width_px": "1280", "height_px": "1024",
        "mm_per_px": "0.06", "offset_x_mm": "0.0", "offset_y_mm": "0.0",
        "working_distance_mm": "120.0", "origin_x_mm": "130.0", "origin_y_mm": "60.0",
        "pitch_mm": "64.0", "columns": "10", "surface_z_mm": "5.0",
        "max_current_a": "1e-3", "max_temperature_c": "40.0",
    }  # fmt: skip
    text = re.sub(
        r"^# (\w+) =   # FILL IN$", lambda m: f"{m[1]} = {values[m[1]]}", draft(FOUND), flags=re.M
    )
    path = tmp_path / "line.toml"
    path.write_text(text)
    profile = load_profile(path)
    assert profile.bias.address == "TCPIP::10.0.0.5::5025::SOCKET"
    assert profile.gantry.driver == "grbl"
    assert profile.climate[0].address == 0x44


# -- the command -----------------------------------------------------------------------------------


def test_a_scan_writes_a_draft_and_never_over_a_file_that_is_there(
    device: Serial, tmp_path: Path
) -> None:
    port = device({b"M115\n": b"FIRMWARE_NAME:Marlin 2.1.2\n"}, 115200)
    file = tmp_path / "line.toml"
    arguments = ["doctor", "--scan", "--port", port, "--json", "--write-profile", str(file)]
    result = runner.invoke(app, arguments)
    assert result.exit_code == 0, result.output
    (found,) = json.loads(result.stdout)
    assert (found["role"], found["driver"], found["address"]) == ("gantry", "marlin", port)
    assert "may reset" in result.stderr
    mine = file.read_text() + "# mine\n"
    file.write_text(mine)
    refused = runner.invoke(app, arguments)
    assert refused.exit_code == 2
    assert "is there already" in refused.stderr
    assert file.read_text() == mine
    forced = runner.invoke(app, [*arguments, "--yes"])
    assert forced.exit_code == 0
    (kept,) = tmp_path.glob("line.toml.*.bak")
    assert kept.read_text() == mine


def test_a_scan_that_finds_nobody_ends_with_1(device: Serial) -> None:
    result = runner.invoke(app, ["doctor", "--scan", "--port", device({}, 9600)])
    assert result.exit_code == 1
    assert "nobody known" in re.sub(r"\s+", " ", result.stdout)


def test_an_option_of_the_scan_without_it_is_wrong_use(tmp_path: Path) -> None:
    result = runner.invoke(app, ["doctor", "--write-profile", str(tmp_path / "x.toml")])
    assert result.exit_code == 2
    assert "--scan" in result.stderr


def test_the_doctor_looks_at_the_station_beside_its_instruments(tmp_path: Path, twin: Twin) -> None:
    result = runner.invoke(
        app, ["doctor", "--line", str(tmp_path / "twin" / "line.toml"), "--json"]
    )
    found = json.loads(result.stdout)
    assert [e["role"] for e in found if e["kind"] == "instrument"] == [
        "bias",
        "readout",
        "gantry",
        "camera",
        "contact lid",
    ]
    assert {e["role"] for e in found if e["kind"] == "station"} >= {"disk", "clock", "watchdog"}
    assert all(set(e) >= {"address", "state", "remedy", "healthy"} for e in found)


def test_a_serial_number_that_differs_from_the_profile_is_told_with_a_remedy(
    tmp_path: Path, twin: Twin
) -> None:
    line = tmp_path / "twin" / "line.toml"
    line.write_text(line.read_text().replace("[bias]\n", '[bias]\nexpected_serial = "04999999"\n'))
    result = runner.invoke(app, ["doctor", "--line", str(line), "--json"])
    assert result.exit_code == 1
    bias = next(e for e in json.loads(result.stdout) if e["role"] == "bias")
    assert "04999999" in bias["state"]
    assert bias["remedy"]


# -- surroundings ----------------------------------------------------------------------------------


def test_a_clock_before_the_software_or_before_the_records_is_told(tmp_path: Path) -> None:
    assert not clock(datetime(1970, 1, 1, tzinfo=UTC), tmp_path).healthy
    now = datetime.now(UTC)
    assert clock(now, tmp_path).healthy
    import db

    with db.open_store(tmp_path / "station.sqlite", tmp_path / "attachments") as store:
        site = store.ensure_site(db.Site(name="Here", code="HERE"))
        station = store.ensure_station(db.Station(site_id=site.id, name="line 1"))
        store.record(
            db.Event(station_id=station.id, at=now + timedelta(days=2), kind="note", text="later")
        )
    told = clock(now, tmp_path)
    assert not told.healthy
    assert "newest record" in told.state
    assert "clock" in told.remedy


def test_a_full_disk_is_told_before_the_shift(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1e9})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    told = disk(tmp_path / "not made yet")
    assert not told.healthy
    assert "1 GB free" in told.state


def test_a_device_that_may_not_be_used_names_its_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = tmp_path / "ttyUSB0"
    port.touch(mode=0o660)
    monkeypatch.setattr("os.access", lambda *_: False)
    told = permission("gantry", port)
    assert told is not None
    assert "may not use" in told.state
    assert "usermod -aG" in told.remedy
