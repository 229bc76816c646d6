"""Plots of single channels and parts: spectra, the IV curve, findings on a tile."""

import math

import numpy as np
from numpy.typing import NDArray

from station.catalogue import TileFormat
from station.report.axes import LABEL_PT, SMALL_PT, Frame, x_axis
from station.report.drawing import (
    Figure,
    Point,
    Shape,
    Words,
    bounds,
    circle,
    line,
    rectangle,
    verdict_mark,
)
from station.report.model import CurveData, FlaggedChannel, FoundDefect, Measured
from station.report.rounding import Scale, measured, plain, scale_of


def spectrum_plot(flagged: FlaggedChannel, name: str, *, width: float, height: float) -> Figure:
    """Charge spectrum of a channel with its fitted model and its verdict."""
    curve = flagged.spectrum
    items: list[Shape | Words] = [
        *verdict_mark(flagged.verdict, 6, 5.5, 9),
        Words(15, 9, f"Channel {flagged.channel}", 8, bold=True),
        Words(width - 2, 9, name, SMALL_PT, "ink2", "end"),
    ]
    title = f"Spectrum of channel {flagged.channel}"
    frame = Frame(4, 16, width - 8, height - 32)
    if curve is None:
        items.append(Shape(frame.outline, stroke="line", dash=(2, 2)))
        items.append(
            Words(width / 2, frame.y + frame.height / 2, "no spectrum", LABEL_PT, "ink2", "middle")
        )
        return Figure(width, height, tuple(items), title)
    edges, counts, model = _visible(curve)
    top = max(float(counts.max()), float(model.max()) if model is not None else 0.0, 1.0) * 1.05
    x = frame.across(float(edges[0]), float(edges[-1]))
    y = frame.up(0.0, top)
    items.append(Shape(tuple(_staircase(x(edges), y(counts), y(0.0))), fill="histogram"))
    if model is not None and np.isfinite(model).all() and model.any():
        centres = (edges[:-1] + edges[1:]) / 2
        items.append(_curve(x(centres), y(model), "accent", 0.8))
    items += x_axis(frame, float(edges[0]), float(edges[-1]), curve.x_unit)
    items.append(
        Words(frame.x + frame.width, frame.y + 7, f"{float(curve.y.sum()):.0f} events",
              SMALL_PT, "ink2", "end")
    )  # fmt: skip
    return Figure(width, height, tuple(items), title)


def iv_plot(curve: CurveData, vbd: Measured | None, *, width: float, height: float) -> Figure:
    """Current against voltage, logarithmic, with the breakdown voltage and its error.

    Currents that are not above zero cannot be drawn; how many is said below the plot.
    """
    frame = Frame(44, 8, width - 50, height - 32)
    good = curve.y > 0
    items: list[Shape | Words] = [Shape(frame.outline, stroke="line", fill="panel")]
    if np.count_nonzero(good) < 2 or len(curve.x) != len(curve.y):
        items.append(
            Words(width / 2, height / 2, "no current above zero", LABEL_PT, "ink2", "middle")
        )
        return Figure(width, height, tuple(items), "IV curve")
    volts, logs = curve.x[good], np.log10(curve.y[good])
    v0, v1 = float(volts.min()), float(volts.max())
    low, high = math.floor(logs.min()), math.ceil(logs.max())
    high = high if high > low else low + 1
    x, y = frame.across(v0, v1), frame.up(float(low), float(high))
    for decade in range(low, high + 1):
        yy = float(y(np.array(float(decade))))
        value = scale_of("current", "A", 10.0**decade)
        text = f"{plain(round(10.0**decade * value.factor, 6))} {value.unit}"
        items.append(line((frame.x, yy), (frame.x + frame.width, yy), colour="line"))
        items.append(Words(frame.x - 4, yy + 2.2, text, LABEL_PT, "ink2", "end"))
    if vbd is not None and vbd.value is not None and vbd.sigma is not None:
        at = float(x(np.array(vbd.value)))
        half = max(float(x(np.array(vbd.value + vbd.sigma))) - at, 0.3)
        items.append(
            Shape(rectangle(at - half, frame.y, 2 * half, frame.height), fill="accent_soft")
        )
        items.append(line((at, frame.y), (at, frame.y + frame.height), colour="accent", width=0.8))
        text = f"vbd_iv {measured(vbd.value, vbd.sigma, Scale(1.0, 'V'))} V"
        right = at < frame.x + frame.width / 2
        items.append(
            Words(at + (5 if right else -5), frame.y + 10, text, LABEL_PT, "accent",
                  "start" if right else "end", bold=True)
        )  # fmt: skip
    items.append(_curve(x(volts), y(logs), "ink", 0.9))
    items += x_axis(frame, v0, v1, f"bias / {curve.x_unit}")
    if not good.all():
        text = f"not drawn: {int((~good).sum())} of {len(good)} currents that are not above zero"
        items.append(Words(frame.x, height - 2, text, SMALL_PT, "ink2"))
    return Figure(width, height, tuple(items), "Current against bias voltage")


def finding_plot(
    defect: FoundDefect, tile_format: TileFormat, *, width: float, height: float
) -> Figure | None:
    """The outline of a bare tile with the place of a finding; None when it has no place."""
    if defect.x_mm is None or defect.y_mm is None:
        return None
    corners = [(float(x), float(y)) for x, y in tile_format.corners_mm()]
    x0, y0, x1, y1 = bounds(corners)
    ppm = min((width - 16) / (x1 - x0), (height - 16) / (y1 - y0))

    def place(x_mm: float, y_mm: float) -> Point:
        return width / 2 + ppm * (x_mm - (x0 + x1) / 2), height / 2 - ppm * (y_mm - (y0 + y1) / 2)

    x, y = place(defect.x_mm, defect.y_mm)
    dimple = tile_format.dimple
    centre = place(dimple.x_mm, dimple.y_mm)
    items: list[Shape | Words] = [
        Shape(tuple(place(*corner) for corner in corners), fill="bg", stroke="ink3", width=0.8),
        Shape(circle(centre, ppm * dimple.diameter_mm / 2), stroke="ink3", width=0.6),
        *verdict_mark(defect.verdict, x, y, 11),
    ]
    return Figure(width, height, tuple(items), f"{defect.kind} on the tile")


def _visible(
    curve: CurveData,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
    """Edges, counts and model of the filled part of a spectrum, with a margin."""
    edges = curve.x
    if len(edges) == len(curve.y):
        width = float(edges[1] - edges[0]) if len(edges) > 1 else 1.0
        edges = np.append(edges - width / 2, edges[-1] + width / 2)
    filled = np.flatnonzero(curve.y)
    if not len(filled):
        return edges, curve.y, curve.model
    margin = max(1, round(0.03 * (filled[-1] - filled[0] + 1)))
    cut = slice(max(0, filled[0] - margin), filled[-1] + 1 + margin)
    model = curve.model[cut] if curve.model is not None else None
    return edges[cut.start : cut.start + len(curve.y[cut]) + 1], curve.y[cut], model


def _staircase(
    edges: NDArray[np.float64], heights: NDArray[np.float64], floor: NDArray[np.float64]
) -> list[Point]:
    base = float(floor)
    points = [(float(edges[0]), base)]
    for k, height in enumerate(heights):
        points.append((float(edges[k]), float(height)))
        points.append((float(edges[k + 1]), float(height)))
    points.append((float(edges[-1]), base))
    return points


def _curve(xs: NDArray[np.float64], ys: NDArray[np.float64], colour: str, width: float) -> Shape:
    points = tuple((float(x), float(y)) for x, y in zip(xs, ys, strict=True))
    return Shape(points, stroke=colour, width=width, closed=False)
