"""A gantry of the Marlin family, from the lines of a profile to its axes and outputs."""

from pathlib import Path

import pytest

from drivers.clock import ScaledClock
from drivers.marlin import DIALECTS, Dialect, MarlinSimulator
from station.instruments import open_gantry
from station.profile_file import load_profile
from station.settings import SettingsError

EXAMPLE = Path(__file__).parents[2] / "docs" / "line-example.toml"
CLOCK = ScaledClock(400.0)


def line_with(folder: Path, driver: str, port: str, lid: str = "bias_interlock") -> Path:
    """The example with a gantry at `port`, and a glue valve on it."""
    text = EXAMPLE.read_text(encoding="utf-8")
    for old, new in (
        ('driver = "auto"', f'driver = "{driver}"'),
        ('"/dev/serial/by-id/usb-1a86_USB_Serial-if00-port0"', f'"{port}"'),
        ('driver = "bias_interlock"', f'driver = "{lid}"'),
        ("[camera]", '[glue_valve]\ndriver = "gantry_output"\nlongest_s = 2.0\n\n[camera]'),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path = folder / "line.toml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("driver", ["auto", "marlin"])
@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_a_gantry_of_each_dialect_opens_from_its_section_moves_and_holds(
    tmp_path: Path, dialect: Dialect, driver: str
) -> None:
    levels: dict[str, bool] = {}
    simulator = MarlinSimulator(
        dialect,
        CLOCK,
        probe=lambda: levels.get("fan0", False),
        on_output=levels.__setitem__,
        travel=(1300.0, 800.0, 220.0),
    )
    simulator.start()
    try:
        motion = open_gantry(load_profile(line_with(tmp_path, driver, simulator.path)), CLOCK)
        try:
            motion.gantry.home()
            motion.gantry.move_to(x_mm=30.0, y_mm=40.0, feed_mm_per_min=6000.0)
            assert simulator.true_commanded_position_mm()[:2] == pytest.approx((30.0, 40.0))
            motion.gripper.grip()
            assert levels["fan0"]
            assert motion.gripper.holding()
            motion.gripper.release()
            assert motion.glue_valve is not None
            assert not motion.glue_valve.is_open()
        finally:
            motion.close()
    finally:
        simulator.stop()


def test_a_door_that_a_marlin_does_not_tell_of_is_no_contact(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="only GRBL tells of a safety door"):
        load_profile(line_with(tmp_path, "marlin", "/dev/ttyACM0", lid="gantry_door"))
