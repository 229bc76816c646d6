"""The set-up of the line: instruments, the commissioning with what it found, and the safety."""

from PyQt6.QtCore import pyqtSignal
from PyQt6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gui.look import Look
from gui.setup_desk import SetupState
from gui.state import ShiftState
from gui.widgets.changes import ChangesPanel
from gui.widgets.identities import IdentitiesPanel
from gui.widgets.rules import RulesPanel
from gui.widgets.steps import StepsPanel


class SetupPlace(QWidget):
    """Instruments and safety beside the steps of the commissioning and their numbers."""

    look_asked = pyqtSignal()

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        spacing = look.tokens.spacing
        self.steps = StepsPanel(look)
        self.changes = ChangesPanel(look)
        self.identities = IdentitiesPanel(look)
        self.rules = RulesPanel(look)
        self.identities.look_asked.connect(self.look_asked)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(spacing.close)
        right = QVBoxLayout()
        right.setSpacing(spacing.close)
        right.addWidget(self.identities, 6)
        right.addWidget(self.rules, 5)
        layout.addWidget(self.steps, 5)
        layout.addWidget(self.changes, 13)
        layout.addLayout(right, 7)

    def show_state(self, state: ShiftState, setup: SetupState, operator: str) -> None:
        facts = setup.facts
        self.steps.show_steps(() if facts is None else facts.steps, setup, state.progress)
        self.changes.show_changes(() if facts is None else facts.changes)
        self.identities.show_instruments(
            () if facts is None else facts.instruments,
            state.instruments,
            setup.others,
            looking=setup.looking,
        )
        self.rules.show_safety(
            () if facts is None else facts.rules,
            () if facts is None else facts.trips,
            state.trip,
            operator,
        )
