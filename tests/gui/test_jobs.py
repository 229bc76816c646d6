"""Calls on other threads, and what the terminal is told when they fail."""

import logging
from importlib import import_module

import pytest

from tests.gui.conftest import NO_QT

pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)

from pytestqt.qtbot import QtBot

from drivers.errors import InstrumentTimeout
from gui.jobs import REFUSALS, Job, is_refusal
from station.shift import ShiftStoppedError

TIMEOUT_MS = 8000


def logged(qtbot: QtBot, caplog: pytest.LogCaptureFixture, error: Exception) -> logging.LogRecord:
    def call() -> None:
        raise error

    job = Job("shift", call)
    with caplog.at_level(logging.WARNING), qtbot.waitSignal(job.failed, timeout=TIMEOUT_MS) as said:
        job.start()
    assert said.args == [error]
    (record,) = caplog.records
    assert str(error) in record.getMessage()
    return record


def test_a_refusal_is_one_line_in_the_terminal(
    qtbot: QtBot, caplog: pytest.LogCaptureFixture
) -> None:
    assert not logged(qtbot, caplog, ShiftStoppedError("stopped by A. Weber")).exc_info


def test_a_mistake_in_the_code_comes_with_its_traceback(
    qtbot: QtBot, caplog: pytest.LogCaptureFixture
) -> None:
    assert logged(qtbot, caplog, KeyError("slot")).exc_info


@pytest.mark.parametrize("path", sorted(REFUSALS))
def test_every_refusal_named_is_an_error_of_the_station(path: str) -> None:
    module, _, name = path.rpartition(".")
    kind = getattr(import_module(module), name)
    assert issubclass(kind, Exception)
    assert f"{kind.__module__}.{kind.__qualname__}" == path


def test_a_kind_of_refusal_is_a_refusal_too() -> None:
    assert is_refusal(InstrumentTimeout.__new__(InstrumentTimeout))
