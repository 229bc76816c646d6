"""A site profile: what it may say, and how a slip of the pen is told."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from station.bias_section import BIAS_RATINGS
from station.profile import Profile
from station.profile_file import load_profile, read_profile
from station.settings import SettingsError
from station.toml_text import toml_text

Edit = Callable[..., Path]
EXAMPLE = Path(__file__).parents[2] / "docs" / "line-example.toml"


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """The example with one piece of text replaced, as a file."""

    def edit(*changes: tuple[str, str]) -> Path:
        text = EXAMPLE.read_text(encoding="utf-8")
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the example"
            text = text.replace(old, new)
        path = tmp_path / "line.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return edit


def refusal(path: Path) -> str:
    with pytest.raises(SettingsError) as refused:
        load_profile(path)
    return str(refused.value)


def line_with(path: Path, text: str) -> int:
    return next(n for n, row in enumerate(path.read_text().splitlines(), start=1) if text in row)


def test_the_example_of_the_documentation_is_a_profile() -> None:
    profile = load_profile(EXAMPLE)
    assert profile.bias.driver == "keithley2450"
    assert profile.climate[0].address == 0x44
    assert profile.target is not None


def test_every_section_that_a_profile_may_have_is_in_the_example() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    left_out = {"glue_valve", "twin"}
    for section in set(Profile.model_fields) - left_out:
        assert re.search(rf"^(# )?(\[\[?)?{section}(\]\]?| =)", text, re.MULTILINE), section


def test_what_is_written_is_what_was_read(tmp_path: Path) -> None:
    profile = load_profile(EXAMPLE)
    copy = tmp_path / "copy.toml"
    copy.write_text(toml_text(profile, comment="A copy.\nOf two lines."), encoding="utf-8")
    assert load_profile(copy) == profile


@pytest.mark.parametrize(
    ("old", "new", "field", "expected"),
    [
        ("version = 1", "version = 2", "version", "1"),
        ('driver = "keithley2450"', 'driver = "keithley2460"', "bias.driver", "keithley2450"),
        ("max_voltage_v = 48.0", "max_voltage_v = 480.0", "bias.max_voltage_v", "90"),
        ("max_voltage_v = 48.0", 'max_voltage_v = "48"', "bias.max_voltage_v", "number"),
        ("# channel = 0 ", "channel = 0 ", "bias.channel", "has one output"),
        ("# polarity = -1 ", "polarity = 2 ", "bias.polarity", "1 or -1"),
        ("compliance_a = 2.0e-3", "compliance_a = 2.0", "bias.compliance_a", "0.1"),
        (
            "emergency_ramp_v_per_s = 50.0",
            "emergency_ramp_v_per_s = 1.0",
            "bias.emergency_ramp_v_per_s",
            "at least ramp_v_per_s",
        ),
        (
            "travel_mm = [1300.0, 800.0, 220.0]",
            "travel_mm = [1300.0, 800.0]",
            "gantry.travel_mm[2]",
            "to be given",
        ),
        ("x_mm = [0.0, 40.0]", "x_mm = [40.0, 0.0]", "gantry.zones[0].x_mm", "the lower one first"),
        ("address = 0x44", "address = 0x99", "climate[0].address", "119"),
        ("highest_c = 40.0", "highest_c = -40.0", "chiller.highest_c", "above lowest_c"),
        (
            'driver = "bias_interlock" ',
            'driver = "tester_gpio" ',
            "contacts[0].bit",
            "the bit",
        ),
        (
            "[scanner]                           # serial, or keyboard (then without a port)\n"
            'driver = "serial"',
            '[scanner]\ndriver = "keyboard"',
            "scanner.port",
            "it has no port",
        ),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_field(
    edited: Edit, old: str, new: str, field: str, expected: str
) -> None:
    message = refusal(edited((old, new)))
    assert f" {field}: found " in message
    assert expected in message


@pytest.mark.parametrize("driver", sorted(BIAS_RATINGS))
def test_a_limit_above_what_the_supply_can_do_is_refused(edited: Edit, driver: str) -> None:
    changes = [('driver = "keithley2450"', f'driver = "{driver}"')]
    if driver in ("caen_hv", "iseg"):
        changes.append(("# channel = 0 ", "channel = 1 "))
    rated = BIAS_RATINGS[driver]
    over = ("compliance_a = 2.0e-3", f"compliance_a = {rated.highest_a * 1.01:.5g}")
    path = edited(*changes, over)
    message = refusal(path)
    assert f"line.toml:{line_with(path, 'compliance_a = ')}: bias.compliance_a: found" in message


@pytest.mark.parametrize(
    ("driver", "channel", "told"),
    [("iseg", "# ", "1 to 2"), ("iseg", "channel = 0 ", "1 to 2"), ("caen_hv", "# ", "0 to 7")],
)
def test_a_supply_with_several_outputs_needs_one_that_it_has(
    edited: Edit, driver: str, channel: str, told: str
) -> None:
    path = edited(('driver = "keithley2450"', f'driver = "{driver}"'), ("# channel = 0 ", channel))
    (problem,) = (row for row in refusal(path).splitlines() if " bias.channel: " in row)
    assert told in problem


@pytest.mark.parametrize(
    ("changes", "field", "expected"),
    [
        (
            [("usb-FTDI_FT232R_A10KJ3XY-if00-port0", "usb-1a86_USB_Serial-if00-port0")],
            "chiller.port",
            "gantry.port is on this one",
        ),
        ([("safe_z_mm = 60.0", "safe_z_mm = 50.0")], "gantry.safe_z_mm", "microscope post"),
        ([("safe_z_mm = 60.0", "safe_z_mm = 600.0")], "gantry.safe_z_mm", "the travel of z"),
        ([("x_mm = [0.0, 40.0]", "x_mm = [-5.0, 40.0]")], "gantry.zones[0].x_mm", "0 to 1300"),
        ([("columns = 10", "columns = 30")], "tray.columns", "the nozzle can reach"),
        ([("origin_x_mm = 130.0", "origin_x_mm = 30.0")], "tray.origin_x_mm", "the camera"),
        (
            [("working_distance_mm = 120.0", "working_distance_mm = 214.0")],
            "board.surface_z_mm",
            "the head would be at 222",
        ),
        ([("approach_mm = 0.5", "approach_mm = 0.03")], "gantry.approach_mm", "play of the axes"),
        (
            [("max_current_a = 1.5e-3", "max_current_a = 5e-3")],
            "safety.max_current_a",
            "could never trip",
        ),
        ([("poll_s = 0.5", "poll_s = 6.0")], "safety.poll_s", "less than silent_after_s"),
        (
            [("silent_after_s = 5.0", "silent_after_s = 3.0")],
            "safety.silent_after_s",
            "at least 4.5 with a chiller",
        ),
        ([('name = "line 1"', 'name = "line 1"\ntime_scale = 20.0')], "station.time_scale", "1:"),
        (
            [
                (
                    "poll_s = 0.5",
                    'poll_s = 0.5\n[[safety.rules]]\nname = "post"\nwatch = "gantry.position"\n'
                    'inside = "microscop post"',
                )
            ],
            "safety.rules[0].inside",
            "one of gantry.zones: microscope post",
        ),
        (
            [("# [files]", "[files]"), ("# recipes = ", "recipes = ")],
            "files.recipes",
            "a file in",
        ),
    ],
)
def test_what_only_the_whole_profile_shows_is_refused_with_the_field_to_change(
    edited: Edit, changes: list[tuple[str, str]], field: str, expected: str
) -> None:
    path = edited(*changes)
    (problem,) = (row for row in refusal(path).splitlines() if f" {field}: " in row)
    assert expected in problem
    assert re.match(rf"{re.escape(str(path))}:\d+: ", problem)


def test_a_serial_port_behind_a_link_is_the_same_port(edited: Edit, tmp_path: Path) -> None:
    path = edited(
        ("/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0", "/dev/null"),
        ("/dev/serial/by-id/usb-Zebra_Scanner_S23045-if00", "ASRL/dev/../dev/null::INSTR"),
    )
    assert "scanner.port" in refusal(path)


def test_a_missing_field_is_named_with_its_section(edited: Edit) -> None:
    path = edited(("safe_z_mm = 60.0 ", "# "))
    assert f":{line_with(path, '[gantry]')}: gantry.safe_z_mm: " in refusal(path)


def test_every_problem_is_told_at_once_in_the_order_of_the_file(edited: Edit) -> None:
    path = edited(("poll_s = 0.5", "poll_s = 9.0"), ("safe_z_mm = 60.0", "safe_z_mm = 1.0"))
    lines = [int(number) for number in re.findall(r"line\.toml:(\d+): ", refusal(path))]
    assert len(lines) > 2
    assert lines == sorted(lines)


def test_the_line_of_a_field_that_was_read_can_be_asked_for() -> None:
    file = read_profile(EXAMPLE)
    assert file.lines[("bias", "max_voltage_v")] == line_with(EXAMPLE, "max_voltage_v = 48.0")
