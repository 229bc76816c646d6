"""The small parts that every panel is made of; the style sheet gives them their looks by role."""

from PyQt6.QtCore import QRect, QRectF, Qt
from PyQt6.QtGui import QPainter, QPaintEvent, QResizeEvent
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QWidget

from gui.look import Look, draw_mark
from gui.words import VERDICT_WORDS


class Line(QLabel):
    """A label on one line: what does not fit ends in an ellipsis, its accessible name is whole."""

    def paintEvent(self, event: QPaintEvent | None) -> None:
        style = self.style()
        if self.wordWrap() or style is None:
            super().paintEvent(event)
            return
        painter = QPainter(self)
        room = self.contentsRect()
        words = self.fontMetrics().elidedText(
            self.text(), Qt.TextElideMode.ElideRight, room.width()
        )
        style.drawItemText(
            painter,
            room,
            self.alignment().value,
            self.palette(),
            self.isEnabled(),
            words,
            self.foregroundRole(),
        )


def text(role: str, words: str = "") -> QLabel:
    """A label on one line; it never asks for more width than its layout gives it."""
    label = Line(words)
    label.setProperty("role", role)
    label.setTextFormat(Qt.TextFormat.PlainText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def fitted(role: str, words: str = "") -> QLabel:
    """A label as wide as its words."""
    label = text(role, words)
    label.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Preferred)
    return label


def wrapped(role: str, words: str = "") -> QLabel:
    """A label that wraps inside the width it is given."""
    label = text(role, words)
    label.setWordWrap(True)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Expanding)
    return label


class FittedText(QLabel):
    """Text that wraps in the room it is given, in the first of `roles` in which it fits.

    What fits in none of them ends in an ellipsis; the accessible name is whole.
    """

    def __init__(self, roles: tuple[str, ...]) -> None:
        super().__init__()
        self._roles, self._words = roles, ""
        self.setProperty("role", roles[0])
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)

    @property
    def words(self) -> str:
        return self._words

    def show_words(self, words: str, roles: tuple[str, ...] | None = None) -> None:
        """Show `words`, in other `roles` from now on when they are given."""
        if words != self._words or roles not in (None, self._roles):
            self._words, self._roles = words, roles or self._roles
            self.setAccessibleName(words)
            self._fit()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        self._fit()

    def _fit(self) -> None:
        for role in self._roles:
            set_property(self, "role", role)
            if self._fits(self._words):
                self.setText(self._words)
                return
        words = self._words.split()
        while words and not self._fits(" ".join(words) + " …"):
            words.pop()
        self.setText(" ".join(words) + " …")

    def _fits(self, words: str) -> bool:
        room = self.contentsRect()
        if room.width() <= 0 or room.height() <= 0:
            return True
        unbounded = QRect(0, 0, room.width(), 10 * max(room.height(), 1))
        flags = Qt.TextFlag.TextWordWrap | Qt.AlignmentFlag.AlignLeft
        return self.fontMetrics().boundingRect(unbounded, flags, words).height() <= room.height()


def panel(role: str = "panel") -> QFrame:
    frame = QFrame()
    frame.setProperty("role", role)
    return frame


def button(role: str, words: str, accessible: str = "") -> QPushButton:
    """A push button; Return presses it as well as Space when it has the focus."""
    made = QPushButton(words)
    made.setProperty("role", role)
    made.setAutoDefault(True)
    made.setAccessibleName(accessible or words)
    return made


def set_property(widget: QWidget, name: str, value: str) -> None:
    """Change what the style sheet looks at; costs nothing when it is the same already."""
    if widget.property(name) == value:
        return
    widget.setProperty(name, value)
    style = widget.style()
    if style is not None:
        style.unpolish(widget)
        style.polish(widget)
    widget.update()


class Mark(QWidget):
    """The mark of a verdict; empty without one."""

    def __init__(self, look: Look, side_px: int) -> None:
        super().__init__()
        self._look = look
        self._verdict = ""
        self.setFixedSize(side_px, side_px)
        look.changed.connect(self.update)

    def show_verdict(self, verdict: str) -> None:
        if verdict != self._verdict:
            self._verdict = verdict
            self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        if self._verdict:
            painter = QPainter(self)
            draw_mark(
                painter, self._verdict, QRectF(self.rect()), self._look.palette, on_panel=False
            )


class VerdictBadge(QFrame):
    """A verdict as colour, shape and word, large (role "verdict") or small (role "chip")."""

    def __init__(self, look: Look, role: str, nothing: str) -> None:
        super().__init__()
        self._nothing = nothing
        self.setProperty("role", role)
        self.setProperty("tone", "")
        type_px, spacing = look.tokens.type, look.tokens.spacing
        large = role == "verdict"
        self._mark = Mark(look, type_px.verdict if large else type_px.body)
        self._word = fitted(role)
        layout = QHBoxLayout(self)
        gap = spacing.close if large else spacing.tight
        layout.setContentsMargins(gap, spacing.hair, gap, spacing.hair)
        layout.setSpacing(gap)
        layout.addStretch(1)
        layout.addWidget(self._mark)
        layout.addWidget(self._word)
        layout.addStretch(1)
        self.show_verdict(None)

    @property
    def words(self) -> str:
        return self._word.text()

    def show_none(self, why: str) -> None:
        """Show that there is no verdict and will be none, in the tone of the unknown."""
        self._show("unknown", why, "label")

    def show_verdict(self, verdict: str | None, suffix: str = "") -> None:
        words = f"{VERDICT_WORDS[verdict]}{suffix}" if verdict else self._nothing
        self._show(verdict or "", words, str(self.property("role")) if verdict else "quiet")

    def _show(self, tone: str, words: str, role: str) -> None:
        self._word.setText(words)
        self._mark.show_verdict(tone)
        self._mark.setVisible(bool(tone))
        set_property(self, "tone", tone)
        set_property(self._word, "tone", tone)
        set_property(self._word, "role", role)
        self.setAccessibleName(f"Verdict: {words}")
