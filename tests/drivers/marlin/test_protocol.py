import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.errors import BrokenReply
from drivers.marlin import protocol
from drivers.marlin.protocol import DIALECTS, DUET, MARLIN, SMOOTHIE

ANSWERS = {
    "marlin": "X:10.00 Y:-0.25 Z:5.50 E:0.00 Count X:800 Y:-20 Z:2200",
    "smoothie": "C: X:10.0000 Y:-0.2500 Z:5.5000",
    "duet": "X:10.000 Y:-0.250 Z:5.500 E:0.000 E0:0.0 Count 800 -20 2200 "
    "Machine 10.000 -0.250 5.500 Bed comp 0.000",
}


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_position_is_read_and_a_damaged_one_is_refused(dialect):
    answer = ANSWERS[dialect.name]
    assert protocol.parse_position(answer, dialect, port="") == (10, -0.25, 5.5)
    for end in range(len(answer)):
        with contextlib.suppress(BrokenReply):
            assert protocol.parse_position(answer[:end], dialect, port="") == (10, -0.25, 5.5)
    with pytest.raises(BrokenReply):
        protocol.parse_position(answer.replace("5.5", "5."), dialect, port="")


@given(st.text(), st.sampled_from(DIALECTS))
def test_any_line_is_a_position_or_a_clear_error(line, dialect):
    with contextlib.suppress(BrokenReply):
        protocol.parse_position(line, dialect, port="")
    with contextlib.suppress(BrokenReply):
        protocol.parse_endstops([line], dialect, port="")
    with contextlib.suppress(BrokenReply):
        protocol.parse_limits(line, port="")
    with contextlib.suppress(BrokenReply):
        protocol.parse_firmware([line], port="")
    with contextlib.suppress(BrokenReply):
        protocol.parse_model(line, port="", sent=protocol.DUET_HOMED)
    protocol.acknowledgement(line)
    protocol.resend_number(line)
    protocol.parse_rates([line])


@given(st.integers(0, 39), st.integers(0x20, 0x7E), st.sampled_from(DIALECTS))
def test_one_garbled_byte_never_changes_a_position_unless_it_is_a_digit(k, byte, dialect):
    answer = ANSWERS[dialect.name]
    k %= answer.index("Z:") + 8 if dialect is not SMOOTHIE else len(answer)
    if answer[k].isdigit() or answer[k] in "-":
        return
    damaged = answer[:k] + chr(byte) + answer[k + 1 :]
    with contextlib.suppress(BrokenReply):
        assert protocol.parse_position(damaged, dialect, port="") == (10, -0.25, 5.5)


def test_the_checksum_is_that_of_the_reprap_family():
    assert protocol.numbered(3, "T0") == "N3 T0*57"
    assert protocol.numbered(4, "G92 E0") == "N4 G92 E0*67"


@given(st.integers(-1, 10**7), st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_one_changed_byte_changes_the_checksum(number, text):
    line = protocol.numbered(number, text.replace("*", ""))
    body, _, checksum = line.rpartition("*")
    damaged = body[:-1] + chr(ord(body[-1]) ^ 0x01)
    assert protocol.checksum(damaged) != int(checksum)


@pytest.mark.parametrize(
    ("line", "number", "text"),
    [
        ("ok", None, ""),
        ("ok P15 B3", None, ""),
        ("ok N12 P15 B3", 12, ""),
        ("ok C: X:1.0000 Y:2.0000 Z:3.0000", None, "C: X:1.0000 Y:2.0000 Z:3.0000"),
    ],
)
def test_acknowledgements_are_understood(line, number, text):
    assert protocol.acknowledgement(line) == protocol.Acknowledged(number, text)


@pytest.mark.parametrize("line", ["okay", "o", "OK", "echo:ok", "k", ""])
def test_what_is_no_acknowledgement_is_none(line):
    assert protocol.acknowledgement(line) is None


@pytest.mark.parametrize(
    ("line", "number"),
    [("Resend: 13", 13), ("Resend:13", 13), ("rs N13", 13), ("rs 13", 13), ("Resend: x", None)],
)
def test_requests_to_send_again_are_understood(line, number):
    assert protocol.resend_number(line) == number


@pytest.mark.parametrize(
    ("lines", "dialect", "found"),
    [
        (
            ["Reporting endstop status", "x_min: TRIGGERED", "z_max: open", "filament: open"],
            MARLIN,
            {"x_min": True, "z_max": False, "filament": False},
        ),
        (
            ["X_min:1 Y_min:0 Z_max:0 Probe:1 pins- (X)P1.24:0"],
            SMOOTHIE,
            {"x_min": True, "y_min": False, "z_max": False, "z_probe": True},
        ),
        (["min_x:1 max_z:0"], SMOOTHIE, {"x_min": True, "z_max": False}),
        (
            ["Endstops - X: at min stop, Y: not stopped, Z: at max stop, Z probe: not stopped"],
            DUET,
            {"x": True, "y": False, "z": True, "z_probe": False},
        ),
    ],
)
def test_endstops_are_read_by_name(lines, dialect, found):
    assert protocol.parse_endstops(lines, dialect, port="") == found


@pytest.mark.parametrize(
    ("line", "dialect", "version"),
    [
        (
            "FIRMWARE_NAME:Marlin 1.1.9 (Github) SOURCE_CODE_URL:https://github.com/x "
            "PROTOCOL_VERSION:1.0 MACHINE_TYPE:3D Printer EXTRUDER_COUNT:1 UUID:cede2a2f",
            MARLIN,
            "Marlin 1.1.9 (Github)",
        ),
        (
            "FIRMWARE_NAME:Smoothieware, FIRMWARE_URL:http%3A//smoothieware.org, "
            "FIRMWARE_VERSION:edge-1, X-GRBL_MODE:1",
            SMOOTHIE,
            "edge-1",
        ),
        (
            "FIRMWARE_NAME: RepRapFirmware for Duet 3 MB6HC FIRMWARE_VERSION: 3.4.5 "
            "ELECTRONICS: Duet 3 MB6HC v1.01 FIRMWARE_DATE: 2022-11-30",
            DUET,
            "3.4.5",
        ),
    ],
)
def test_the_dialect_is_found_in_the_firmware_name(line, dialect, version):
    firmware = protocol.parse_firmware([line, "Cap:EMERGENCY_PARSER:1"], port="")
    assert firmware is not None
    assert firmware.dialect is dialect
    assert firmware.version == version
    assert firmware.stops_at_once
    assert firmware.home == ("G28.2" if dialect is SMOOTHIE else "G28")


def test_another_firmware_has_no_dialect():
    assert protocol.parse_firmware(["FIRMWARE_NAME:Repetier_1.0.4"], port="") is None


@pytest.mark.parametrize(
    "line",
    [
        "echo:Soft endstops: On  Min:  X-5.00 Y0.00 Z0.00   Max:  X200.00 Y210.00 Z180.00",
        "  Min:  X-5.00 Y0.00 Z0.00   Max:  X200.00 Y210.00 Z180.00",
        "Axis limits X: -5.0 min, 200.0 max, Y: 0.0 min, 210.0 max, Z: 0.0 min, 180.0 max",
        "Axis limits (mm) X-5.0:200.0, Y0.0:210.0, Z0.0:180.0",
    ],
)
def test_axis_limits_are_read(line):
    assert protocol.is_limits(line)
    assert protocol.parse_limits(line, port="") == ((-5, 0, 0), (200, 210, 180))
