"""The short list of what happened, newest at the top."""

from collections.abc import Iterable

from PyQt6.QtCore import QModelIndex, QRectF, QSize, Qt
from PyQt6.QtGui import QIcon, QPainter, QPixmap
from PyQt6.QtWidgets import (
    QFrame,
    QListWidget,
    QListWidgetItem,
    QStyledItemDelegate,
    QStyleOptionViewItem,
    QVBoxLayout,
)

from gui.look import Look, draw_mark
from gui.state import EVENTS_KEPT, EventLine
from gui.widgets.parts import text


class EventsPanel(QFrame):
    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._newest = 0
        self._icons: dict[str, QIcon] = {}
        self.setProperty("role", "panel")
        self.setAccessibleName("Events")
        spacing = look.tokens.spacing
        self.list = QListWidget()
        self.list.setAccessibleName("Events, newest first")
        self.list.setWordWrap(True)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.list.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        side = look.tokens.type.instruction
        self.list.setIconSize(QSize(side, side))
        self._delegate = _MarkAtTop(self.list)
        self.list.setItemDelegate(self._delegate)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.close, spacing.tight, spacing.tight)
        layout.setSpacing(spacing.hair)
        layout.addWidget(text("title", "Events"))
        layout.addWidget(self.list, 1)
        look.changed.connect(self._recolour)

    def show_events(self, events: Iterable[EventLine]) -> None:
        new = [line for line in events if line.number > self._newest]
        if not new:
            return
        self._newest = new[-1].number
        for line in new:
            item = QListWidgetItem(self._icon(line.tone), f"{line.at:%H:%M:%S}   {line.text}")
            item.setData(Qt.ItemDataRole.UserRole, line.tone)
            item.setTextAlignment(Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignLeft)
            self.list.insertItem(0, item)
        while self.list.count() > EVENTS_KEPT:
            self.list.takeItem(self.list.count() - 1)

    def words(self) -> list[str]:
        items = (self.list.item(row) for row in range(self.list.count()))
        return [item.text() for item in items if item is not None]

    def _icon(self, tone: str) -> QIcon:
        if tone not in self._icons:
            side = self._look.tokens.type.instruction
            scale = 2
            pixmap = QPixmap(scale * side, scale * side)
            pixmap.setDevicePixelRatio(scale)
            pixmap.fill(Qt.GlobalColor.transparent)
            if tone:
                painter = QPainter(pixmap)
                box = QRectF(0, 0, side, side)
                draw_mark(painter, tone, box, self._look.palette, on_panel=False)
                painter.end()
            self._icons[tone] = QIcon(pixmap)
        return self._icons[tone]

    def _recolour(self) -> None:
        self._icons.clear()
        for row in range(self.list.count()):
            item = self.list.item(row)
            if item is not None:
                item.setIcon(self._icon(item.data(Qt.ItemDataRole.UserRole)))


class _MarkAtTop(QStyledItemDelegate):
    """The mark stands beside the first line of a text that wraps."""

    def initStyleOption(self, option: QStyleOptionViewItem | None, index: QModelIndex) -> None:
        super().initStyleOption(option, index)
        if option is not None:
            option.decorationAlignment = Qt.AlignmentFlag.AlignTop | Qt.AlignmentFlag.AlignHCenter
