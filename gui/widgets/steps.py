"""The steps of the commissioning, one after the other."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PyQt6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from gui.look import Look
from gui.widgets.parts import Mark, fitted, set_property, text
from gui.widgets.scrolled import ScrolledPanel, paragraph
from station.events import Progress

if TYPE_CHECKING:
    from gui.setup_desk import SetupState
    from station.setup_facts import StepFacts


class StepRow(QWidget):
    """Mark, title and state of a step; what it does stands below it while it is the next one."""

    def __init__(self, look: Look, facts: "StepFacts", number: int) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        spacing = look.tokens.spacing
        self._facts = facts
        self._mark = Mark(look, look.tokens.type.title)
        self._number = fitted("quiet", str(number))
        self._number.setFixedWidth(look.tokens.type.title)
        self._title = text("body", facts.title)
        self._state = fitted("caption")
        self._about = paragraph("caption", facts.about)
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        line = QHBoxLayout()
        line.setSpacing(spacing.tight)
        line.addWidget(self._mark)
        line.addWidget(self._number)
        line.addWidget(self._title, 1)
        line.addWidget(self._state)
        below = QVBoxLayout()
        below.setContentsMargins(look.tokens.type.title + spacing.tight, 0, 0, 0)
        below.setSpacing(spacing.hair)
        below.addWidget(self._about)
        below.addWidget(self._progress)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, spacing.hair)
        layout.setSpacing(spacing.hair)
        layout.addLayout(line)
        layout.addLayout(below)

    def show_step(self, kind: str, progress: Progress | None) -> None:
        """`kind` is "done", "next", "working", "refused" or "later"."""
        self._mark.show_verdict({"done": "pass", "refused": "fail"}.get(kind, ""))
        self._mark.setVisible(kind in ("done", "refused"))
        self._number.setVisible(kind not in ("done", "refused"))
        current = kind in ("next", "working", "refused")
        set_property(self._title, "role", "strong" if current else "body")
        words = {"done": "done", "next": "next", "refused": "not done", "later": ""}
        working = kind == "working"
        state = words.get(kind, "")
        if working and progress is not None:
            state = f"{progress.done} of {progress.total}"
        self._state.setText(state)
        set_property(self._state, "tone", "fail" if kind == "refused" else "")
        self._about.setVisible(current)
        self._progress.setVisible(working)
        if working:
            self._progress.setMaximum(max(progress.total if progress else 0, 1))
            self._progress.setValue(progress.done if progress else 0)
        self.setAccessibleName(f"{self._facts.title}: {state or 'later'}")


class StepsPanel(ScrolledPanel):
    def __init__(self, look: Look) -> None:
        super().__init__(look, "Steps")
        self._rows: dict[str, StepRow] = {}

    def show_steps(
        self, steps: "Sequence[StepFacts]", setup: "SetupState", progress: Progress | None
    ) -> None:
        if list(self._rows) != [step.step for step in steps]:
            self.clear()
            self._rows = {}
            for number, step in enumerate(steps, start=1):
                self._rows[step.step] = row = StepRow(self.look, step, number)
                self.put(row)
        waiting = True
        for step in steps:
            if step.step == setup.step:
                kind = "working"
            elif step.done:
                kind = "done"
            elif waiting and not setup.step:
                kind = "refused" if setup.refused else "next"
            else:
                kind = "later"
            waiting = waiting and step.done
            self._rows[step.step].show_step(kind, progress)
        done = sum(step.done for step in steps)
        self.aside.setText(f"{done} of {len(steps)}" if steps else "")

    def words(self, step: str) -> str:
        return self._rows[step].accessibleName()
