"""Scanners that type."""

from collections.abc import Iterator

import pytest

from tests.gui.conftest import NO_QT

pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)

from PyQt6.QtCore import Qt
from PyQt6.QtTest import QTest
from PyQt6.QtWidgets import QApplication, QLineEdit, QPushButton, QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from gui.scanner import WedgeFilter

LABEL = "320TMD8FC000471"


class Desk(QWidget):
    """A field and a button, with the scanner's filter over both."""

    def __init__(self) -> None:
        super().__init__()
        self.clock_s = 0.0
        self.key_s = 0.005
        self.field, self.button = QLineEdit(), QPushButton("Go")
        self.button.setAutoDefault(True)
        self.pressed: list[str] = []
        self.button.clicked.connect(lambda: self.pressed.append("Go"))
        layout = QVBoxLayout(self)
        layout.addWidget(self.field)
        layout.addWidget(self.button)
        self.scans: list[str] = []
        self.cut: list[str] = []
        self.filter = WedgeFilter(self, now_s=self.tick)
        self.filter.scanned.connect(self.scans.append)
        self.filter.broken.connect(self.cut.append)

    def tick(self) -> float:
        self.clock_s += self.key_s
        return self.clock_s


@pytest.fixture
def desk(qtbot: QtBot, qapp: QApplication) -> Iterator[Desk]:
    made = Desk()
    qtbot.addWidget(made)
    qapp.installEventFilter(made.filter)
    made.show()
    made.activateWindow()
    qtbot.waitUntil(made.isActiveWindow)
    yield made
    qapp.removeEventFilter(made.filter)


def stx(widget: QWidget) -> None:
    QTest.keyClick(widget, Qt.Key.Key_B, Qt.KeyboardModifier.ControlModifier)


def etx(widget: QWidget) -> None:
    QTest.keyClick(widget, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)


def test_a_framed_scan_reaches_neither_field_nor_button(desk: Desk) -> None:
    for widget in (desk.field, desk.button):
        widget.setFocus()
        stx(widget)
        QTest.keyClicks(widget, f"{LABEL} ")
        etx(widget)
    assert desk.scans == [f"{LABEL} ", f"{LABEL} "]
    assert desk.field.text() == ""
    assert desk.pressed == []


def test_a_carriage_return_ends_a_framed_scan(qtbot: QtBot, desk: Desk) -> None:
    desk.button.setFocus()
    stx(desk.button)
    QTest.keyClicks(desk.button, LABEL)
    QTest.keyClick(desk.button, Qt.Key.Key_Return)
    qtbot.waitUntil(lambda: desk.scans == [LABEL])
    assert desk.pressed == []


def test_lines_inside_a_scan_stay_lines(desk: Desk) -> None:
    desk.button.setFocus()
    stx(desk.button)
    for line in ("0 320BC2400000042", "1 320BC2400000107"):
        QTest.keyClicks(desk.button, line)
        QTest.keyClick(desk.button, Qt.Key.Key_Return)
    etx(desk.button)
    assert desk.scans == ["0 320BC2400000042\n1 320BC2400000107"]


def test_a_scan_that_is_cut_off_is_told_and_keys_work_again(qtbot: QtBot, desk: Desk) -> None:
    desk.field.setFocus()
    stx(desk.field)
    QTest.keyClicks(desk.field, "320TM")
    qtbot.waitUntil(lambda: desk.cut == ["320TM"])
    QTest.keyClicks(desk.field, "abc")
    assert desk.field.text() == "abc"
    assert desk.scans == []


def test_an_unframed_burst_is_a_scan_and_its_return_presses_nothing(desk: Desk) -> None:
    desk.button.setFocus()
    QTest.keyClicks(desk.button, LABEL)
    QTest.keyClick(desk.button, Qt.Key.Key_Return)
    assert desk.scans == [LABEL]
    assert desk.pressed == []


def test_a_person_s_keys_are_no_scan(desk: Desk) -> None:
    desk.key_s = 0.2
    desk.button.setFocus()
    QTest.keyClicks(desk.button, "abcdefgh")
    QTest.keyClick(desk.button, Qt.Key.Key_Return)
    assert desk.scans == []
    assert desk.pressed == ["Go"]


def test_typing_into_a_field_stays_in_the_field(desk: Desk) -> None:
    desk.field.setFocus()
    QTest.keyClicks(desk.field, LABEL)
    QTest.keyClick(desk.field, Qt.Key.Key_Return)
    assert desk.field.text() == LABEL
    assert desk.scans == []
