"""The strip of the part at hand: its label, what runs, what comes next, and the verdict."""

from PyQt6.QtWidgets import QFrame, QHBoxLayout, QProgressBar, QVBoxLayout

from gui.look import Look
from gui.widgets.parts import VerdictBadge, text


class PartStrip(QFrame):
    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        size, spacing = look.tokens.size, look.tokens.spacing
        self.setFixedHeight(size.strip)
        self.setAccessibleName("Part at hand")
        layout = QHBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.tight, spacing.even, spacing.tight)
        layout.setSpacing(spacing.even)
        self.label = text("label")
        self.about = text("caption")
        part = QVBoxLayout()
        part.setSpacing(spacing.hair)
        part.addStretch(1)
        part.addWidget(self.label)
        part.addWidget(self.about)
        part.addStretch(1)
        self.doing = text("instruction")
        self.progress = QProgressBar()
        self.progress.setTextVisible(False)
        self.progress.setAccessibleName("Progress")
        self.next = text("caption")
        run = QVBoxLayout()
        run.setSpacing(spacing.hair)
        run.addStretch(1)
        run.addWidget(self.doing)
        run.addWidget(self.progress)
        run.addWidget(self.next)
        run.addStretch(1)
        self.verdict = VerdictBadge(look, "verdict", "no verdict yet")
        layout.addLayout(part, 3)
        layout.addLayout(run, 4)
        layout.addWidget(self.verdict, 0)
        self._verdict_width = size.verdict_width
        self.verdict.setFixedWidth(self._verdict_width)

    def show_part(self, label: str, about: str) -> None:
        self.label.setText(label)
        self.about.setText(about)

    def show_run(self, doing: str, done: int, total: int, following: str) -> None:
        self.doing.setText(doing)
        self.progress.setRange(0, max(total, 1))
        self.progress.setValue(min(done, max(total, 1)))
        self.next.setText(following)
