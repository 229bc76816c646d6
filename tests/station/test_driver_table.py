"""Every driver that a profile may name: it is there, it can be opened, and the doctor knows it."""

import importlib
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from drivers.grbl import GrblGantry
from drivers.marlin import MarlinGantry
from drivers.tileboard_tester.driver import TileboardTester
from station import driver_table
from station.bias_section import BIAS_RATINGS
from station.doctor import questions
from station.doctor.verified import VERIFIED
from station.profile import GantrySection
from station.tester_section import TesterSection as BoardTester

TABLES = (
    driver_table.BIAS_DRIVERS,
    driver_table.CAMERA_DRIVERS,
    driver_table.CLIMATE_DRIVERS,
    driver_table.CHILLER_DRIVERS,
    driver_table.SCANNER_DRIVERS,
)
CLASSES = [
    *(
        pytest.param(getattr(importlib.import_module(row.module), row.name), id=name)
        for table in TABLES
        for name, row in table.items()
    ),
    pytest.param(GrblGantry, id="grbl"),
    pytest.param(MarlinGantry, id="marlin"),
    pytest.param(TileboardTester, id="tileboard_tester"),
]
IN_TABLES = {name for table in TABLES for name in table}
NOT_A_DRIVER = {"keyboard", "auto"}
FOUND_WITHOUT_A_QUESTION = {"opencv", "basler", "sensirion", "serial", "tileboard_tester"}
"""Listed by the system or their library, or known by the ports they serve."""


def keys(section: type[BaseModel]) -> set[str]:
    return set(get_args(section.model_fields["driver"].annotation)) - NOT_A_DRIVER


@pytest.mark.parametrize("driver", CLASSES)
def test_a_driver_opens_says_who_it_is_and_closes(driver: Any) -> None:
    assert callable(driver.close)
    assert isinstance(driver.identity, property)
    assert callable(getattr(driver, "open", driver))


def test_every_supply_has_its_rating() -> None:
    assert set(BIAS_RATINGS) == set(driver_table.BIAS_DRIVERS)


def test_the_doctor_finds_every_driver_and_drafts_no_other() -> None:
    asked = {question.driver for question in questions.SERIAL_QUESTIONS}
    asked |= {question.driver for _, question in questions.NETWORK_QUESTIONS}
    asked |= set(questions.VISA_DRIVERS.values())
    every = IN_TABLES | keys(GantrySection) | keys(BoardTester)
    assert asked | FOUND_WITHOUT_A_QUESTION == every
    assert set(VERIFIED) <= every
