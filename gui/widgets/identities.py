"""The instruments of the set-up: who answers, on which port, and how each is."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from gui.look import Look
from gui.widgets.instruments import QUIET_STATES, Dot
from gui.widgets.parts import button, fitted, set_property, text
from gui.widgets.scrolled import ScrolledPanel, paragraph
from gui.words import ROLE_WORDS
from station.events import InstrumentState

if TYPE_CHECKING:
    from station.doctor import Found
    from station.setup_facts import InstrumentFacts


class IdentityRow(QWidget):
    """Shape and word of the state, name, serial number, firmware and port."""

    def __init__(self, look: Look, facts: "InstrumentFacts") -> None:
        super().__init__()
        self.setProperty("role", "clear")
        self._name = f"{ROLE_WORDS.get(facts.role, facts.role.capitalize())} · {facts.model}"
        self._dot = Dot(look)
        self._state = fitted("quiet")
        serial = f"serial {facts.serial}" if facts.serial else ""
        who = " · ".join(part for part in (facts.maker, serial, facts.firmware) if part)
        self._about = f"{who}, {facts.port}"
        words = QVBoxLayout()
        words.setSpacing(0)
        for label in (
            text("strong", self._name),
            text("caption", who),
            text("caption", facts.port),
        ):
            label.setToolTip(label.text())
            if label.text():
                words.addWidget(label)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(look.tokens.spacing.tight)
        layout.addWidget(self._dot)
        layout.addLayout(words, 1)
        layout.addWidget(self._state, 0, Qt.AlignmentFlag.AlignTop)

    def show_state(self, state: InstrumentState | None) -> None:
        word = "connected" if state is None else state.state
        healthy = state is None or state.healthy
        self._state.setText(word)
        set_property(self._state, "tone", "" if healthy else "fail")
        rest = "quiet" if word in QUIET_STATES or state is None else "pass"
        self._dot.show_health(rest if healthy else "fail")
        self.setAccessibleName(f"{self._name}: {word}. {self._about}")


class IdentitiesPanel(ScrolledPanel):
    """The line's instruments, and who else is connected once somebody looked."""

    look_asked = pyqtSignal()

    def __init__(self, look: Look) -> None:
        super().__init__(look, "Instruments")
        self._shown: object = None
        self._rows: dict[str, IdentityRow] = {}
        self.others = button("plain", "Look for others")
        self.others.setToolTip(
            "Asks every free port who is there. The ports of the line are left alone."
        )
        set_property(self.others, "role", "choose")
        self.others.clicked.connect(self.look_asked)
        self.column.addWidget(self.others)

    def show_instruments(
        self,
        facts: "Sequence[InstrumentFacts]",
        states: Sequence[InstrumentState],
        others: "Sequence[Found] | None",
        *,
        looking: bool,
    ) -> None:
        if self._shown != (tuple(facts), others):
            self._shown = (tuple(facts), others)
            self._fill(facts, others)
        by_role = {state.role: state for state in states}
        for role, row in self._rows.items():
            row.show_state(by_role.get(role))
        self.others.setText("Looking …" if looking else "Look for others")
        self.others.setEnabled(not looking and bool(self._rows))

    def _fill(self, facts: "Sequence[InstrumentFacts]", others: "Sequence[Found] | None") -> None:
        self.clear()
        self._rows = {}
        for one in facts:
            self._rows[one.role] = row = IdentityRow(self.look, one)
            self.put(row)
        if others is None:
            return
        self.put(text("caption", "Also connected" if others else "Nothing else is connected."))
        for found in others:
            who = found.identity or found.about
            self.put(paragraph("body", f"{who} · {found.address}"))
            if found.remedy:
                self.put(paragraph("caption", found.remedy))

    def words(self, role: str) -> str:
        return self._rows[role].accessibleName()
