"""A charge spectrum as bars with the fitted model over it."""

import numpy as np
import pyqtgraph as pg
from PyQt6.QtGui import QColor, QFont
from PyQt6.QtWidgets import QVBoxLayout, QWidget

from gui.look import Look
from gui.widgets.parts import text
from gui.words import Value, plural
from station.events import Curve

TAIL = 0.001


class SpectrumPlot(QWidget):
    """`show_curve` draws in photoelectrons once gain and pedestal are known, in ADC before."""

    def __init__(self, look: Look) -> None:
        super().__init__()
        self.setProperty("role", "clear")
        self._look = look
        self._shown: tuple[Curve | None, float, float] = (None, 0.0, 0.0)
        self.caption = text("caption")
        self.plot = pg.PlotWidget()
        self.plot.setAccessibleName("Charge spectrum")
        self.plot.setMouseEnabled(x=False, y=False)
        self.plot.setMenuEnabled(False)
        self.plot.hideButtons()
        self.plot.hideAxis("left")
        self.plot.setFocusPolicy(self.caption.focusPolicy())
        self._bars = pg.PlotCurveItem([0.0, 1.0], [0.0], stepMode="center", fillLevel=0)
        self._model = pg.PlotCurveItem(antialias=True)
        self.plot.addItem(self._bars)
        self.plot.addItem(self._model)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self.caption)
        layout.addWidget(self.plot, 1)
        look.changed.connect(self._dress)
        self._dress()
        self._empty()

    def show_curve(
        self, curve: Curve | None, gain: Value | None = None, pedestal: Value | None = None
    ) -> None:
        origin, per_pe = 0.0, 0.0
        if gain is not None and pedestal is not None and gain.value and pedestal.value is not None:
            origin, per_pe = pedestal.value, gain.value
        shown, *scale = self._shown
        if curve is shown and scale == [origin, per_pe]:
            return
        self._shown = (curve, origin, per_pe)
        if curve is None:
            self._empty()
            return
        self.plot.showAxis("bottom")
        edges, counts = _edges(curve), np.asarray(curve.y, dtype=float)
        first, last = _filled(counts)
        if per_pe > 0:
            edges = (edges - origin) / per_pe
        self._bars.setData(edges, counts)
        if curve.model is None or not np.any(curve.model):
            self._model.setData([], [])
        else:
            self._model.setData((edges[:-1] + edges[1:]) / 2, np.asarray(curve.model, dtype=float))
        self.plot.setXRange(edges[first], edges[last + 1], padding=0.01)
        self.plot.setYRange(0, max(float(counts.max()), 1.0) * 1.05, padding=0)
        unit = "photoelectrons" if per_pe > 0 else curve.x_unit
        self.caption.setText(f"{plural(round(counts.sum()), 'event')} · charge in {unit}")

    def _empty(self) -> None:
        self._bars.setData([0.0, 1.0], [0.0])
        self._model.setData([], [])
        self.caption.setText("The spectrum of a channel appears here.")
        self.plot.hideAxis("bottom")

    def _dress(self) -> None:
        tokens, palette = self._look.tokens, self._look.palette
        self.plot.setBackground(palette.panel)
        bars = QColor(palette.ink3)
        bars.setAlphaF(tokens.bar_opacity)
        self._bars.setBrush(bars)
        self._bars.setPen(None)
        self._model.setPen(pg.mkPen(palette.accent, width=tokens.size.curve))
        axis = self.plot.getAxis("bottom")
        axis.setPen(pg.mkPen(palette.line))
        axis.setTextPen(pg.mkPen(palette.ink2))
        font = QFont(self.font())
        font.setFamilies(list(tokens.families))
        font.setPixelSize(tokens.type.caption)
        axis.setTickFont(font)
        axis.setStyle(tickLength=0)


def _edges(curve: Curve) -> np.ndarray:
    x = np.asarray(curve.x, dtype=float)
    if len(x) == len(curve.y) + 1:
        return x
    half = np.diff(x) / 2
    return np.concatenate([[x[0] - half[0]], x[:-1] + half, [x[-1] + half[-1]]])


def _filled(counts: np.ndarray) -> tuple[int, int]:
    """First bin that holds anything, and the last one of all but `TAIL` of the events."""
    total = np.cumsum(counts)
    if not len(total) or total[-1] <= 0:
        return 0, len(counts) - 1
    return int(np.flatnonzero(counts)[0]), int(np.searchsorted(total, (1 - TAIL) * total[-1]))
