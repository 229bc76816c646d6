"""The verdict marks, drawn as paths so that no font has to have them."""

from PyQt6.QtCore import QPointF, QRectF, Qt
from PyQt6.QtGui import QColor, QPainter, QPainterPath, QPen, QPolygonF

from gui.look.tokens import Palette

MARKED = ("flag", "fail", "unknown")
"""Verdicts that are marked on a map; a pass stays quiet there."""


def draw_mark(
    painter: QPainter, verdict: str, box: QRectF, palette: Palette, *, on_panel: bool
) -> None:
    """Draw the mark of a verdict inside `box`.

    pass: check; flag: triangle with "!"; fail: square with "x"; unknown: circle with "?". With
    `on_panel` the shape is filled with the panel colour, so that it stands out of a map; without,
    it is filled with the verdict's colour.
    """
    colour = QColor(palette.of(verdict))
    sign = colour if on_panel else QColor(palette.soft(verdict))
    width = max(1.5, box.width() * 0.09)
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(_pen(colour, width))
    painter.setBrush(QColor(palette.panel) if on_panel else colour)
    inner = box.adjusted(width / 2, width / 2, -width / 2, -width / 2)
    match verdict:
        case "pass":
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(_pen(colour, width * 1.8))
            painter.drawPath(_check(inner))
        case "flag":
            painter.drawPolygon(_triangle(inner))
            painter.setPen(_pen(sign, width * 1.1))
            _exclamation(painter, inner)
        case "fail":
            painter.drawRoundedRect(inner, width, width)
            painter.setPen(_pen(sign, width * 1.2))
            painter.drawPath(_cross(inner))
        case _:
            painter.drawEllipse(inner)
            painter.setPen(_pen(sign, width * 1.1))
            _question(painter, inner)
    painter.restore()


def _pen(colour: QColor, width: float) -> QPen:
    return QPen(
        colour, width, Qt.PenStyle.SolidLine, Qt.PenCapStyle.RoundCap, Qt.PenJoinStyle.RoundJoin
    )


def _at(box: QRectF, x: float, y: float) -> QPointF:
    return QPointF(box.left() + x * box.width(), box.top() + y * box.height())


def _check(box: QRectF) -> QPainterPath:
    path = QPainterPath(_at(box, 0.08, 0.55))
    path.lineTo(_at(box, 0.38, 0.85))
    path.lineTo(_at(box, 0.92, 0.18))
    return path


def _triangle(box: QRectF) -> QPolygonF:
    return QPolygonF([_at(box, 0.5, 0.04), _at(box, 1.0, 0.94), _at(box, 0.0, 0.94)])


def _cross(box: QRectF) -> QPainterPath:
    path = QPainterPath(_at(box, 0.3, 0.3))
    path.lineTo(_at(box, 0.7, 0.7))
    path.moveTo(_at(box, 0.7, 0.3))
    path.lineTo(_at(box, 0.3, 0.7))
    return path


def _exclamation(painter: QPainter, box: QRectF) -> None:
    painter.drawLine(_at(box, 0.5, 0.38), _at(box, 0.5, 0.62))
    painter.drawPoint(_at(box, 0.5, 0.8))


def _question(painter: QPainter, box: QRectF) -> None:
    path = QPainterPath(_at(box, 0.36, 0.38))
    path.cubicTo(_at(box, 0.36, 0.16), _at(box, 0.68, 0.18), _at(box, 0.64, 0.40))
    path.cubicTo(_at(box, 0.62, 0.48), _at(box, 0.5, 0.48), _at(box, 0.5, 0.6))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawPath(path)
    painter.drawPoint(_at(box, 0.5, 0.77))
