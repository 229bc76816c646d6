"""From a profile to open drivers: the table holds, and another instrument is let go as it is."""

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from drivers.errors import WrongInstrument
from station import driver_table, instruments
from station.bias_section import BiasDriver, BiasSection
from station.camera_section import CameraSection
from station.driver_table import DriverClass, DriverMissing
from station.profile import (
    ChillerSection,
    ClimateSection,
    ContactSection,
    Profile,
    ScannerSection,
)
from station.profile_file import load_profile
from station.twin.server import Twin

EXAMPLE = Path(__file__).parents[2] / "docs" / "line-example.toml"
TABLES: list[tuple[Mapping[str, DriverClass], type[BaseModel]]] = [
    (driver_table.BIAS_DRIVERS, BiasSection),
    (driver_table.CAMERA_DRIVERS, CameraSection),
    (driver_table.CLIMATE_DRIVERS, ClimateSection),
    (driver_table.CHILLER_DRIVERS, ChillerSection),
    (driver_table.SCANNER_DRIVERS, ScannerSection),
]
ROWS = [
    pytest.param(row, section, id=name) for table, section in TABLES for name, row in table.items()
]


def test_every_driver_that_a_profile_may_name_is_in_the_table() -> None:
    assert set(driver_table.BIAS_DRIVERS) == set(get_args(BiasDriver))
    for table, section in TABLES:
        allowed = set(get_args(section.model_fields["driver"].annotation)) - {"keyboard"}
        assert set(table) == allowed


@pytest.mark.parametrize(("row", "section"), ROWS)
def test_every_row_is_a_class_that_takes_the_settings_of_its_section(
    row: DriverClass, section: Any
) -> None:
    opener = getattr(importlib.import_module(row.module), row.name).open
    taken = set(inspect.signature(opener).parameters)
    assert "clock" in taken
    for setting in row.settings:
        field, _, keyword = setting.partition(":")
        assert hasattr(section, field) or field in section.model_fields
        assert (keyword or field) in taken


@pytest.mark.parametrize(("row", "section"), ROWS)
def test_what_a_driver_must_be_told_the_profile_tells(row: DriverClass, section: Any) -> None:
    opener = getattr(importlib.import_module(row.module), row.name).open
    required = {
        name
        for name, parameter in list(inspect.signature(opener).parameters.items())[1:]
        if parameter.default is inspect.Parameter.empty
    }
    assert required <= {setting.partition(":")[2] or setting for setting in row.settings}


def test_a_driver_that_is_not_installed_is_told_with_its_remedy() -> None:
    table = {
        "ours": DriverClass("drivers.no_such_folder", "Nothing"),
        "theirs": DriverClass("no_such_package", "Nothing"),
    }
    with pytest.raises(DriverMissing, match="no driver 'ours'"):
        driver_table.open_driver(table, "ours", "/dev/null")
    with pytest.raises(DriverMissing, match="no_such_package"):
        driver_table.open_driver(table, "theirs", "/dev/null")
    with pytest.raises(DriverMissing, match="there are ours, theirs"):
        driver_table.open_driver(table, "third", "/dev/null")


def with_serial(profile: Profile, section: str, serial: str) -> Profile:
    changed = getattr(profile, section).model_copy(update={"expected_serial": serial})
    return profile.model_copy(update={section: changed})


@pytest.mark.parametrize("section", ["bias", "gantry", "camera", "tester"])
def test_another_instrument_than_expected_is_refused_and_its_port_given_back(
    twin: Twin, section: str
) -> None:
    profile = twin.profile
    opener: Any = {
        "bias": instruments.open_bias,
        "gantry": instruments.open_gantry,
        "camera": instruments.open_camera,
        "tester": instruments.open_readout,
    }[section]
    with pytest.raises(WrongInstrument, match="not X0815"):
        opener(with_serial(profile, section, "X0815"))
    again = opener(profile)
    serial = (again.gantry if section == "gantry" else again).identity.serial
    again.close()
    opener(with_serial(profile, section, serial)).close()


def test_a_gantry_is_asked_for_its_dialect(twin: Twin) -> None:
    section = twin.profile.gantry.model_copy(update={"driver": "auto"})
    motion = instruments.open_gantry(twin.profile.model_copy(update={"gantry": section}))
    try:
        assert "rbl" in motion.gantry.identity.model
        assert not motion.gripper.vacuum_on()
    finally:
        motion.close()


def test_a_contact_is_read_through_the_instrument_that_has_it() -> None:
    profile = load_profile(EXAMPLE).model_copy(
        update={
            "contacts": (
                ContactSection(name="lid", driver="bias_interlock"),
                ContactSection(name="door", driver="gantry_door"),
                ContactSection(name="panel", driver="tester_gpio", bit=3),
            )
        }
    )
    door, word = [False], [0b0000]
    contacts = instruments.open_contacts(
        profile,
        bias=SimpleNamespace(interlock_closed=lambda: True),
        gantry=SimpleNamespace(door_closed=lambda: door[0]),
        tester=SimpleNamespace(gpio_bit=lambda bit: bool(word[0] >> bit & 1)),
    )
    assert {name: contact.closed() for name, contact in contacts.items()} == {
        "lid": True,
        "door": False,
        "panel": True,
    }
    door[0] = True
    word[0] = 0b1000
    assert contacts["door"].closed()
    assert not contacts["panel"].closed()
    with pytest.raises(DriverMissing, match="'lid'"):
        instruments.open_contacts(profile, bias=SimpleNamespace())
