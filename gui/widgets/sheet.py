"""A sheet over the work: a question or a state that must be settled first. STOP stays in reach."""

from dataclasses import dataclass

from PyQt6.QtCore import QEvent, QObject, Qt, pyqtSignal
from PyQt6.QtGui import QColor, QKeyEvent, QPainter, QPaintEvent
from PyQt6.QtWidgets import (
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from gui.look import Look
from gui.prompt import Action
from gui.widgets.parts import Mark, button, panel, set_property, text


@dataclass(frozen=True)
class SheetContent:
    """`escape` is the action that Esc stands for, empty when there is none."""

    title: str
    text: str
    actions: tuple[Action, ...] = ()
    tone: str = ""
    escape: str = ""


class Sheet(QWidget):
    """Covers `under` while it is shown. `acted` carries the name of the pressed action."""

    acted = pyqtSignal(str)

    def __init__(self, look: Look, under: QWidget) -> None:
        super().__init__(under)
        self._look, self._under = look, under
        self._content: SheetContent | None = None
        spacing, size = look.tokens.spacing, look.tokens.size
        frame = panel("sheet")
        frame.setFixedWidth(size.sheet_width)
        self._mark = Mark(look, look.tokens.type.label)
        self.title = text("label")
        self.text = QLabel()
        self.text.setProperty("role", "instruction")
        self.text.setTextFormat(Qt.TextFormat.PlainText)
        self.text.setWordWrap(True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignTop)
        scroll = QScrollArea()
        scroll.setWidgetResizable(True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        scroll.setWidget(self.text)
        self._scroll = scroll
        self._row = QHBoxLayout()
        self._row.setSpacing(spacing.close)
        self._row.addStretch(1)
        self.buttons: list[QPushButton] = []
        head = QHBoxLayout()
        head.setSpacing(spacing.close)
        head.addWidget(self._mark)
        head.addWidget(self.title, 1)
        inner = QVBoxLayout(frame)
        inner.setContentsMargins(spacing.broad, spacing.broad, spacing.broad, spacing.broad)
        inner.setSpacing(spacing.even)
        inner.addLayout(head)
        inner.addWidget(scroll)
        inner.addLayout(self._row)
        layout = QVBoxLayout(self)
        layout.addStretch(1)
        layout.addWidget(frame, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(1)
        self._frame: QFrame = frame
        under.installEventFilter(self)
        self.hide()

    @property
    def content(self) -> SheetContent | None:
        return self._content

    def show_content(self, content: SheetContent | None) -> None:
        """Show `content` over the work, or nothing."""
        before, self._content = self._content, content
        if content is None:
            self.hide()
            return
        if content == before:
            return
        self.title.setText(content.title)
        self.text.setText(content.text)
        self._mark.show_verdict(content.tone)
        self._mark.setVisible(bool(content.tone))
        set_property(self.title, "tone", content.tone)
        self.setAccessibleName(content.title)
        if before is None or before.actions != content.actions:
            self._show_actions(content.actions)
        self.setGeometry(self._under.rect())
        self._fit()
        self.show()
        self.raise_()
        for made, action in zip(self.buttons, content.actions, strict=True):
            if action.likely:
                made.setFocus()

    def press(self, name: str) -> bool:
        for made in self.buttons:
            if made.objectName() == name:
                made.click()
                return True
        return False

    def _show_actions(self, actions: tuple[Action, ...]) -> None:
        for made in self.buttons:
            self._row.removeWidget(made)
            made.hide()
            made.deleteLater()
        self.buttons = []
        for action in actions:
            made = button("likely" if action.likely else "action", action.words)
            made.setObjectName(action.name)
            made.setDefault(action.likely)
            made.clicked.connect(lambda _=False, name=action.name: self.acted.emit(name))
            self._row.addWidget(made)
            made.show()
            self.buttons.append(made)

    def keyPressEvent(self, event: QKeyEvent | None) -> None:
        escape = self._content.escape if self._content is not None else ""
        if event is not None and event.key() == Qt.Key.Key_Escape and escape:
            self.acted.emit(escape)
            return
        super().keyPressEvent(event)

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        if event is not None and event.type() == QEvent.Type.Resize and self.isVisible():
            self.setGeometry(self._under.rect())
            self._fit()
        return False

    def _fit(self) -> None:
        """As high as its text, or as the room allows; then the text is scrolled."""
        tokens = self._look.tokens
        wanted = self.text.heightForWidth(tokens.size.sheet_width - 2 * tokens.spacing.broad - 2)
        room = self._under.height() - tokens.target.operator_min - 8 * tokens.spacing.broad
        self._scroll.setFixedHeight(max(tokens.type.label, min(wanted, room)))

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        scrim = QColor(self._look.palette.bg)
        scrim.setAlphaF(self._look.tokens.scrim_opacity)
        painter.fillRect(self.rect(), scrim)
