"""What the camera saw last, and the measurements of the tile under it."""

import numpy as np
from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QImage, QPainter, QPaintEvent, QPen
from PyQt6.QtWidgets import QFrame, QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from gui.look import Look
from gui.state import InspectedTile, reason_text
from gui.widgets.parts import VerdictBadge, text, wrapped
from gui.widgets.values_grid import ValuesGrid
from station.events import Picture

SHOWN = ("inner_width", "outer_width", "height", "tile_rotation", "dimple_x", "dimple_y")
_BAR_MM = (0.5, 1, 2, 5, 10, 20, 50, 100)


class TilePanel(QFrame):
    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "panel")
        self.setAccessibleName("Camera")
        spacing = look.tokens.spacing
        self.title = text("title", "Camera")
        self.verdict = VerdictBadge(look, "chip", "not judged yet")
        head = QHBoxLayout()
        head.addWidget(self.title, 1)
        head.addWidget(self.verdict)
        self.caption = text("caption")
        self.picture = PictureView(look)
        self.values = ValuesGrid(look, SHOWN, columns=3)
        self.reason = wrapped("quiet")
        self.reason.setMaximumHeight(3 * self.reason.fontMetrics().lineSpacing())
        layout = QVBoxLayout(self)
        layout.setContentsMargins(spacing.even, spacing.close, spacing.even, spacing.tight)
        layout.setSpacing(spacing.tight)
        layout.addLayout(head)
        layout.addWidget(self.caption)
        layout.addWidget(self.picture, 1)
        layout.addWidget(self.values)
        layout.addWidget(self.reason)

    def show_tile(self, tile: InspectedTile) -> None:
        """An inspected tile: picture, values, what was found."""
        self._show_picture(tile.label, tile.picture)
        self.verdict.setVisible(bool(tile.label))
        self.verdict.show_verdict(tile.verdict)
        self.values.show_values(tile.measured.values)
        found = [f"{finding.text or finding.kind}." for finding in tile.findings]
        said = " ".join([*found, reason_text(tile.measured)]).strip()
        self.reason.setText(said[:1].upper() + said[1:])

    def show_look(self, label: str, picture: Picture) -> None:
        """A picture that belongs to no inspection."""
        self._show_picture(label, picture)
        self.verdict.setVisible(False)
        self.values.show_values({})
        self.reason.setText("")

    def _show_picture(self, label: str, picture: Picture | None) -> None:
        self.title.setText(label or "Camera")
        self.caption.setText("no picture yet" if picture is None else picture.purpose)
        self.picture.show_picture(picture)


class PictureView(QWidget):
    """A grey picture, fitted, with a scale bar of a round number of millimetres."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self._look = look
        self._picture: Picture | None = None
        self._image: QImage | None = None
        self.setMinimumHeight(96)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Camera picture")
        look.changed.connect(self.update)

    def show_picture(self, picture: Picture | None) -> None:
        if picture is self._picture:
            return
        self._picture, self._image = picture, None
        if picture is not None:
            grey = np.ascontiguousarray(picture.image)
            height, width = grey.shape
            self._image = QImage(
                grey.tobytes(), width, height, width, QImage.Format.Format_Grayscale8
            ).copy()
        self.update()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        palette, tokens = self._look.palette, self._look.tokens
        room = QRectF(self.rect())
        if self._image is None or self._picture is None:
            painter.setPen(QPen(QColor(palette.line), 1, Qt.PenStyle.DashLine))
            painter.setBrush(QColor(palette.bg))
            painter.drawRoundedRect(
                room.adjusted(0.5, 0.5, -0.5, -0.5), tokens.radius, tokens.radius
            )
            painter.setPen(QColor(palette.ink3))
            painter.drawText(
                room, Qt.AlignmentFlag.AlignCenter, "The camera's pictures appear here."
            )
            return
        scale = min(room.width() / self._image.width(), room.height() / self._image.height())
        width, height = self._image.width() * scale, self._image.height() * scale
        box = QRectF((room.width() - width) / 2, (room.height() - height) / 2, width, height)
        painter.drawImage(box, self._image)
        self._draw_bar(painter, box, self._picture.mm_per_px / scale)

    def _draw_bar(self, painter: QPainter, box: QRectF, mm_per_px: float) -> None:
        palette, tokens = self._look.palette, self._look.tokens
        fitting = [mm for mm in _BAR_MM if mm / mm_per_px <= 0.3 * box.width()]
        if not fitting:
            return
        length = fitting[-1] / mm_per_px
        words = f"{fitting[-1]:g} mm"
        line = painter.fontMetrics().height()
        gap = tokens.spacing.tight
        plate = QRectF(
            box.left() + gap,
            box.bottom() - gap - line - 2 * gap,
            max(length, painter.fontMetrics().horizontalAdvance(words)) + 2 * gap,
            line + 2 * gap,
        )
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor(palette.panel))
        painter.drawRoundedRect(plate, tokens.spacing.hair, tokens.spacing.hair)
        painter.setPen(QPen(QColor(palette.ink), tokens.size.curve))
        y = plate.bottom() - gap / 2
        painter.drawLine(QPointF(plate.left() + gap, y), QPointF(plate.left() + gap + length, y))
        painter.drawText(plate.adjusted(gap, 0, 0, -gap), Qt.AlignmentFlag.AlignVCenter, words)
