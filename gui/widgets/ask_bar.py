"""The bar at the bottom: one sentence saying what is asked now, and its buttons."""

from PyQt6.QtCore import Qt, pyqtSignal
from PyQt6.QtGui import QKeySequence, QShortcut
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout

from gui.look import Look
from gui.prompt import ENTER, RESET, START, Action, Prompt
from gui.widgets.parts import FittedText, Mark, button, set_property

SENTENCE_ROLES = ("instruction", "body", "caption")
TRIP_ROLES = ("title", "number", "strong", "body", "caption")


class AskBar(QFrame):
    """`acted` carries the name of the pressed action and the text of the field."""

    acted = pyqtSignal(str, str)

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._prompt: Prompt | None = None
        self.setProperty("role", "panel")
        self.setProperty("tone", "")
        size, spacing = look.tokens.size, look.tokens.spacing
        self.setFixedHeight(size.bottom_bar)
        self.setAccessibleName("What is asked now")
        self._mark = Mark(look, look.tokens.type.verdict)
        self.sentence = FittedText(SENTENCE_ROLES)
        self.note = FittedText(("body", "caption"))
        words = QVBoxLayout()
        words.setSpacing(spacing.hair)
        words.addWidget(self.sentence, 3)
        words.addWidget(self.note, 2)
        self.sentence.setAlignment(Qt.AlignmentFlag.AlignVCenter)
        self.note.setAlignment(Qt.AlignmentFlag.AlignVCenter)
        self.entry = QLineEdit()
        self.entry.setFixedWidth(size.entry_width)
        self.entry.setMaxLength(4096)
        self.entry.returnPressed.connect(self._entered)
        self.buttons: list[QPushButton] = []
        self._shortcuts: list[QShortcut] = []
        self._row = QHBoxLayout()
        self._row.setSpacing(spacing.close)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.tight, spacing.even, spacing.tight)
        layout.setSpacing(spacing.close)
        layout.addWidget(self._mark)
        layout.addLayout(words, 1)
        layout.addWidget(self.entry)
        layout.addLayout(self._row)

    def show_prompt(self, prompt: Prompt) -> None:
        """Show `prompt`; buttons and text stay as they are while it does not change."""
        before, self._prompt = self._prompt, prompt
        if prompt == before:
            return
        tripped = prompt.tone == "trip"
        self.sentence.show_words(prompt.sentence, TRIP_ROLES if tripped else SENTENCE_ROLES)
        self.note.show_words(prompt.note)
        self.note.setVisible(bool(prompt.note))
        set_property(self, "tone", "trip" if tripped else "")
        set_property(self.sentence, "tone", "fail" if tripped else "")
        set_property(self.note, "tone", "" if tripped else prompt.tone)
        self._mark.show_verdict("fail" if prompt.tone in ("trip", "fail") else "")
        self._mark.setVisible(prompt.tone in ("trip", "fail"))
        if before is None or before.entry != prompt.entry or before.sentence != prompt.sentence:
            self._show_entry(prompt)
        set_property(self.entry, "tone", "fail" if prompt.tone == "fail" else "")
        if before is None or before.actions != prompt.actions:
            self._show_actions(prompt.actions)
        self._focus(prompt)

    def press(self, name: str) -> bool:
        """Press the action called `name`; False when it is not offered now."""
        for made in self.buttons:
            if made.objectName() == name and made.isEnabled():
                made.click()
                return True
        return False

    def _show_entry(self, prompt: Prompt) -> None:
        self.entry.clear()
        self.entry.setVisible(bool(prompt.entry))
        self.entry.setPlaceholderText(prompt.entry)
        self.entry.setAccessibleName(prompt.entry)

    def _show_actions(self, actions: tuple[Action, ...]) -> None:
        for made in self.buttons:
            self._row.removeWidget(made)
            made.hide()
            made.deleteLater()
        for shortcut in self._shortcuts:
            shortcut.deleteLater()
        self.buttons, self._shortcuts = [], []
        for number, action in enumerate(actions, start=1):
            made = button("likely" if action.likely else "action", _plain(action.words))
            made.setObjectName(action.name)
            made.setEnabled(action.enabled)
            made.setDefault(action.likely and action.name != RESET)
            made.setAccessibleDescription(f"Ctrl+{number}")
            made.setToolTip(f"Ctrl+{number}")
            made.clicked.connect(lambda _=False, name=action.name: self._act(name))
            shortcut = QShortcut(QKeySequence(f"Ctrl+{number}"), self)
            shortcut.activated.connect(made.click)
            self._row.addWidget(made)
            made.show()
            self.buttons.append(made)
            self._shortcuts.append(shortcut)

    def _focus(self, prompt: Prompt) -> None:
        if prompt.entry:
            self.entry.setFocus()
            return
        for made, action in zip(self.buttons, prompt.actions, strict=True):
            if action.likely and prompt.tone != "trip":
                made.setFocus()
                return
        # The focus of a button that went must not slide to STOP, nor a Return reset a trip.
        self.setFocus()

    def _act(self, name: str) -> None:
        self.acted.emit(name, self.entry.text())

    def _entered(self) -> None:
        for name in (START, ENTER):
            if self.press(name):
                return


def _plain(words: str) -> str:
    """Words without a mnemonic: an ampersand in them is meant."""
    return words.replace("&", "&&")
