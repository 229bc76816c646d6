"""The shift: its steps, where it stands, and the modules that are finished."""

from collections.abc import Sequence
from pathlib import Path

from PyQt6.QtCore import QPointF, QRectF, Qt, QUrl
from PyQt6.QtGui import QColor, QDesktopServices, QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from gui.look import Look
from gui.widgets.parts import Mark, button, panel, set_property, text
from gui.words import STEP_WORDS, VERDICT_WORDS
from station.events import SHIFT_STEPS, ModuleDone


class ShiftPanel(QFrame):
    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self.setProperty("role", "panel")
        self.setAccessibleName("Shift")
        spacing = look.tokens.spacing
        self.title = text("title", "Shift")
        self._steps = {step: StepRow(look, STEP_WORDS[step]) for step in SHIFT_STEPS}
        self._none = text("quiet", "No module yet.")
        inner = panel("clear")
        self._modules = QVBoxLayout(inner)
        self._modules.setContentsMargins(0, 0, 0, 0)
        self._modules.setSpacing(spacing.hair)
        self._modules.addWidget(self._none)
        self._modules.addStretch(1)
        self._listed = 0
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.close, spacing.even, spacing.tight)
        layout.setSpacing(0)
        layout.addWidget(self.title)
        layout.addSpacing(spacing.hair)
        for row in self._steps.values():
            layout.addWidget(row)
        layout.addSpacing(spacing.close)
        layout.addWidget(text("title", "Finished modules"))
        layout.addSpacing(spacing.hair)
        layout.addWidget(scroll, 1)

    def show_shift(
        self, step: str, board_number: int, boards: int, finished: bool, done: Sequence[ModuleDone]
    ) -> None:
        self.title.setText(f"Shift · module {board_number} of {boards}" if boards else "Shift")
        here = SHIFT_STEPS.index(step) if step in SHIFT_STEPS else -1
        for place, row in enumerate(self._steps.values()):
            if finished or place < here:
                row.show_state("done")
            else:
                row.show_state("now" if place == here else "to come")
        self._none.setVisible(not done)
        for module in done[self._listed :]:
            self._modules.insertWidget(1, ModuleRow(self._look, module))
        self._listed = len(done)


class StepRow(QWidget):
    def __init__(self, look: Look, words: str) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        self._sign = _StepSign(look)
        self._words = text("body", words)
        self.setMinimumHeight(look.tokens.spacing.broad)
        self.setMaximumHeight(look.tokens.size.row)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(look.tokens.spacing.tight)
        layout.addWidget(self._sign)
        layout.addWidget(self._words, 1)

    def show_state(self, state: str) -> None:
        self._sign.show_state(state)
        role = {"now": "strong", "done": "body"}.get(state, "quiet")
        set_property(self._words, "role", role)
        self.setAccessibleName(f"{self._words.text()}: {state}")


class _StepSign(QWidget):
    """Filled circle for what is done, ring with a dot for now, thin ring for what is to come."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._state = "to come"
        self.setFixedWidth(look.tokens.type.title)
        look.changed.connect(self.update)

    def show_state(self, state: str) -> None:
        if state != self._state:
            self._state = state
            self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        palette, size = self._look.palette, self._look.tokens.size
        middle = QRectF(self.rect()).center()
        radius = size.dot / 2
        colour = palette.accent if self._state == "now" else palette.ink3
        painter.setPen(QPen(QColor(colour), size.curve))
        painter.setBrush(QColor(colour if self._state == "done" else palette.panel))
        painter.drawEllipse(middle, radius, radius)
        if self._state == "now":
            painter.setBrush(QColor(colour))
            painter.drawEllipse(QPointF(middle), radius / 3, radius / 3)


class ModuleRow(QWidget):
    """A finished module with its verdict; the button opens its report."""

    def __init__(self, look: Look, module: ModuleDone) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        mark = Mark(look, look.tokens.type.title)
        mark.show_verdict(module.verdict)
        self.setAccessibleName(f"{module.module}: {VERDICT_WORDS[module.verdict]}")
        self.report = button("choose", "Report", f"Open the report of {module.module}")
        self.report.clicked.connect(lambda: open_report(module))
        below = QHBoxLayout()
        below.setSpacing(look.tokens.spacing.tight)
        below.addWidget(mark)
        below.addWidget(text("quiet", VERDICT_WORDS[module.verdict]), 1)
        below.addWidget(self.report)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, look.tokens.spacing.close, 0)
        layout.setSpacing(look.tokens.spacing.hair)
        layout.addWidget(text("strong", module.module))
        layout.addLayout(below)


def open_report(module: ModuleDone) -> None:
    """Show the report in the system's viewer: the HTML page, or the PDF when there is no page."""
    path = module.report_html or module.report_pdf
    if path:
        QDesktopServices.openUrl(QUrl.fromLocalFile(str(Path(path).resolve())))
