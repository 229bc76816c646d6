"""Board maps: verdicts, quantities and tile placement on the board as it is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from station.catalogue import BoardShape, TileFormat, TilePosition
from station.catalogue.polygon import moved
from station.events import Verdict
from station.report.axes import LABEL_PT, SMALL_PT, TITLE_PT, nice_step, ticks
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
    viridis,
)
from station.report.model import OFFSETS, Measured, ModuleReport
from station.report.quantities import title_of
from station.report.rounding import Scale, common_scale, measured, plain

_COLOUR_STEPS = 48


@dataclass(frozen=True)
class BoardDrawing:
    """The tiles of a board fitted into a frame, in points: outlines and centres by position."""

    width: float
    height: float
    points_per_mm: float
    outlines: Mapping[int, tuple[Point, ...]]
    centres: Mapping[int, Point]
    board: tuple[Point, ...]


def board_drawing(
    shape: BoardShape, formats: Mapping[str, TileFormat], *, width: float, height: float
) -> BoardDrawing:
    """Fit the board with its wrapped tiles into a frame of `width` by at most `height` points.

    The board frame's y axis (radially outward) points up.
    """
    tiles = {p.index: _tile_corners(p, formats[p.format_code]) for p in shape.positions}
    edge = [(float(x), float(y)) for x, y in shape.outline_mm]
    x0, y0, x1, y1 = bounds([*edge, *(c for corners in tiles.values() for c in corners)])
    ppm = min(width / (x1 - x0), height / (y1 - y0))
    left = (width - ppm * (x1 - x0)) / 2

    def place(x_mm: float, y_mm: float) -> Point:
        return left + ppm * (x_mm - x0), ppm * (y1 - y_mm)

    return BoardDrawing(
        width=width,
        height=ppm * (y1 - y0),
        points_per_mm=ppm,
        outlines={
            index: tuple(place(*corner) for corner in corners) for index, corners in tiles.items()
        },
        centres={p.index: place(p.x_mm, p.y_mm) for p in shape.positions},
        board=tuple(place(*corner) for corner in edge),
    )


def verdict_map(report: ModuleReport, *, width: float, height: float) -> Figure:
    """Every channel with its number, coloured and marked by its verdict."""
    board = board_drawing(report.shape, report.formats, width=width, height=height)
    items = _board_edge(board)
    for position in report.shape.positions:
        verdict = report.channel_verdicts.get(position.channel)
        x, y = board.centres[position.index]
        outline = board.outlines[position.index]
        tall = outline[0][1] - outline[3][1]
        note = f"channel {position.channel}, {position.name}: {verdict or 'not measured'}"
        if verdict is None:
            items.append(_not_measured(outline, note))
        else:
            items.append(
                Shape(outline, fill=f"{verdict}_soft", stroke=verdict, width=0.5, note=note)
            )
            items += verdict_mark(verdict, x, y - 0.16 * tall, min(0.42 * tall, 12.0))
        number = str(position.channel)
        items.append(Words(x, y + 0.38 * tall, number, min(0.3 * tall, 8.0), "ink2", "middle"))
    return Figure(board.width, board.height, tuple(items), "Verdict of every channel")


def quantity_map(report: ModuleReport, quantity: str, *, width: float, height: float) -> Figure:
    """One quantity of every channel in viridis, with colour bar; what did not pass is marked.

    The colours span the bulk of the values (10th to 90th percentile, widened by its own width),
    so that one dead channel does not hide the others; the ends of the colour bar say when values
    lie beyond. An unknown value has no colour but its mark; a channel without reading is dashed.
    """
    readings = {
        position.index: reading
        for position in report.shape.positions
        if (reading := report.readings.get(position.channel, {}).get(quantity)) is not None
    }
    known = [reading for reading in readings.values() if reading.value is not None]
    unit = next((reading.unit for reading in readings.values()), "")
    scale = common_scale(quantity, unit, [_value(reading) for reading in known])
    bar = 40.0
    top = 16.0
    board = board_drawing(report.shape, report.formats, width=width - bar, height=height - top - 8)
    low, high = colour_range([_value(r) * scale.factor for r in known])
    items: list[Shape | Words] = _shifted(_board_edge(board), 0, top)
    size = _mark_size(board)
    for position in report.shape.positions:
        outline = _moved(board.outlines[position.index], 0, top)
        x, y = board.centres[position.index]
        reading = readings.get(position.index)
        where = f"channel {position.channel}, {position.name}: "
        if reading is None:
            items.append(_not_measured(outline, f"{where}not measured"))
            continue
        if reading.value is None or reading.sigma is None:
            items.append(
                Shape(outline, fill="panel", stroke="unknown", width=0.6, note=f"{where}unknown")
            )
        else:
            share = (reading.value * scale.factor - low) / (high - low)
            text = measured(reading.value, reading.sigma, scale)
            note = f"{where}{text} {scale.unit} ({reading.verdict})"
            items.append(Shape(outline, fill=viridis(share), note=note))
        if reading.verdict != "pass":
            items += verdict_mark(reading.verdict, x, y + top, size)
    items.append(Words(0, TITLE_PT, title_of(quantity), TITLE_PT, bold=True))
    items.append(
        Words(
            width - bar, TITLE_PT, f"{len(known)} of {len(report.shape.positions)} channels",
            SMALL_PT, "ink2", "end",
        )
    )  # fmt: skip
    if known:
        items += _colour_bar(
            x=width - bar + 10, y=top, height=board.height, low=low, high=high,
            values=[_value(r) * scale.factor for r in known],
        )  # fmt: skip
        items.append(Words(width - bar + 8, TITLE_PT, scale.unit, LABEL_PT, "ink2"))
    else:
        items.append(
            Words(width - bar, top + board.height / 2, "no values", LABEL_PT, "ink2", "end")
        )
    return Figure(width, top + board.height + 8, tuple(items), f"Map of {title_of(quantity)}")


def placement_map(report: ModuleReport, *, width: float, height: float) -> Figure:
    """Where each tile's dimple lies from its SiPM: arrows, enlarged; the limits as a frame.

    All arrows are enlarged alike; a scale below the board shows by how much.
    """
    foot = 26.0
    board = board_drawing(report.shape, report.formats, width=width, height=height - foot)
    items = _board_edge(board)
    offsets = {
        tile.position.index: (tile.placement["sipm_offset_x"], tile.placement["sipm_offset_y"])
        for tile in report.tiles
        if set(OFFSETS) <= set(tile.placement)
    }
    reach = _reach_mm(offsets.values())
    narrowest = min(
        math.dist(board.outlines[p.index][0], board.outlines[p.index][corner])
        for p in report.shape.positions
        for corner in (1, 3)
    )
    points_per_mm = 0.42 * narrowest / reach
    size = _mark_size(board)
    for tile in report.tiles:
        outline = board.outlines[tile.position.index]
        where = f"{tile.position.name}, tile {tile.wrapped_label or 'none'}"
        if not tile.wrapped_label:
            items.append(_not_measured(outline, where))
            continue
        items.append(Shape(outline, fill="bg", stroke="ink3", width=0.4, note=where))
        if tile.position.index in offsets:
            x, y = offsets[tile.position.index]
            centre = board.centres[tile.position.index]
            if _limits_fit(x, y, reach):
                items.append(_limit_frame(centre, x, y, points_per_mm))
            items += _offset_arrow(
                centre,
                x,
                y,
                points_per_mm=points_per_mm,
                where=where,
                size=size,
            )
    framed = any(_limits_fit(x, y, reach) for x, y in offsets.values())
    bar_mm = nice_step(reach, 2)
    foot_y = board.height + 14
    items += [
        line((0, foot_y), (bar_mm * points_per_mm, foot_y), colour="ink", width=1.2),
        Words(bar_mm * points_per_mm + 5, foot_y + 2.5, f"{plain(bar_mm)} mm", LABEL_PT),
        Words(
            width, foot_y + 2.5,
            f"{len(offsets)} of {len(report.tiles)} tiles; arrows "
            f"{points_per_mm / board.points_per_mm:.0f} times enlarged; "
            f"{'frame: limits' if framed else 'limits are wider than the tiles as drawn'}",
            LABEL_PT, "ink2", "end",
        ),
    ]  # fmt: skip
    return Figure(width, board.height + foot, tuple(items), "Offset of tiles from their SiPMs")


def colour_range(values: Sequence[float]) -> tuple[float, float]:
    """Range of the colours: the bulk of the values, widened but never empty."""
    if not values:
        return 0.0, 1.0
    lower, upper = (float(q) for q in np.percentile(values, [10, 90]))
    width = upper - lower
    low, high = max(min(values), lower - width), min(max(values), upper + width)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-300):
        margin = 0.01 * abs(low) or 1.0
        return low - margin, high + margin
    return low, high


def _value(reading: Measured) -> float:
    if reading.value is None:
        raise ValueError(f"{reading.quantity} of channel {reading.channel} has no value")
    return reading.value


def _tile_corners(position: TilePosition, tile_format: TileFormat) -> list[Point]:
    corners = moved(
        tile_format.wrapped_corners_mm(), position.x_mm, position.y_mm, position.rotation_rad
    )
    return [(float(x), float(y)) for x, y in corners]


def _board_edge(board: BoardDrawing) -> list[Shape | Words]:
    return [Shape(board.board, fill="panel", stroke="line", width=0.6)]


def _not_measured(outline: tuple[Point, ...], note: str) -> Shape:
    return Shape(outline, fill="bg", stroke="ink3", width=0.4, dash=(1.6, 1.6), note=note)


def _mark_size(board: BoardDrawing) -> float:
    heights = [bottom - top for _, top, _, bottom in map(bounds, board.outlines.values())]
    return min(0.5 * min(heights), 14.0)


def _moved(points: Iterable[Point], dx: float, dy: float) -> tuple[Point, ...]:
    return tuple((x + dx, y + dy) for x, y in points)


def _shifted(items: Iterable[Shape | Words], dx: float, dy: float) -> list[Shape | Words]:
    return [
        Shape(_moved(i.points, dx, dy), i.fill, i.stroke, i.width, i.dash, i.closed, i.note)
        if isinstance(i, Shape)
        else Words(i.x + dx, i.y + dy, i.text, i.size, i.colour, i.anchor, i.bold)
        for i in items
    ]


def _colour_bar(
    *, x: float, y: float, height: float, low: float, high: float, values: Sequence[float]
) -> list[Shape | Words]:
    wide, step = 6.0, height / _COLOUR_STEPS
    items: list[Shape | Words] = [
        Shape(
            rectangle(x, y + height - (k + 1) * step, wide, step + (0.3 if k else 0.0)),
            fill=viridis((k + 0.5) / _COLOUR_STEPS),
        )
        for k in range(_COLOUR_STEPS)
    ]
    if max(values) > high:
        items.append(Shape(((x, y - 1), (x + wide, y - 1), (x + wide / 2, y - 6)), fill=viridis(1)))
    if min(values) < low:
        foot = y + height + 1
        items.append(
            Shape(((x, foot), (x + wide, foot), (x + wide / 2, foot + 5)), fill=viridis(0))
        )
    for tick, text in ticks(low, high, 5):
        at = y + height * (1 - (tick - low) / (high - low))
        items.append(line((x + wide, at), (x + wide + 2, at), colour="ink2"))
        items.append(Words(x + wide + 3.5, at + 2.2, text, SMALL_PT, "ink2"))
    return items


def _reach_mm(offsets: Iterable[tuple[Measured, Measured]]) -> float:
    """What must be drawn inside a tile: the largest offset, and the limits unless all offsets are
    so small that their arrows could not be seen beside them."""
    readings = [reading for pair in offsets for reading in pair]
    largest = max((abs(r.value) for r in readings if r.value is not None), default=0.0)
    limit = max((abs(v) for r in readings for v in (r.low, r.high) if v is not None), default=0.0)
    return max(largest, limit if largest > 0.25 * limit else 1.5 * largest, 0.01)


def _limits_fit(x: Measured, y: Measured, reach_mm: float) -> bool:
    edges = [edge for edge in (x.low, x.high, y.low, y.high) if edge is not None]
    return len(edges) == 4 and all(abs(edge) <= reach_mm for edge in edges)


def _limit_frame(centre: Point, x: Measured, y: Measured, points_per_mm: float) -> Shape:
    left, right = (centre[0] + points_per_mm * (edge or 0.0) for edge in (x.low, x.high))
    bottom, top = (centre[1] - points_per_mm * (edge or 0.0) for edge in (y.low, y.high))
    return Shape(rectangle(left, top, right - left, bottom - top), fill="panel", stroke="line")


def _offset_arrow(
    centre: Point, x: Measured, y: Measured, *, points_per_mm: float, where: str, size: float
) -> list[Shape | Words]:
    items: list[Shape | Words] = []
    verdicts: tuple[Verdict, Verdict] = (x.verdict, y.verdict)
    bad = next((v for v in ("fail", "unknown", "flag") if v in verdicts), None)
    colour = bad or "ink"
    if x.value is None or y.value is None or x.sigma is None or y.sigma is None:
        return [*items, *verdict_mark("unknown", *centre, size)]
    tip = (centre[0] + points_per_mm * x.value, centre[1] - points_per_mm * y.value)
    scale = Scale(1.0, "mm")
    across, along = measured(x.value, x.sigma, scale), measured(y.value, y.sigma, scale)
    note = f"{where}: x {across} mm, y {along} mm"
    items.append(Shape((centre, tip), stroke=colour, width=0.9, closed=False, note=note))
    items.append(Shape(circle(centre, 0.9), fill=colour))
    length = math.dist(centre, tip)
    if length > 2:
        ux, uy = (tip[0] - centre[0]) / length, (tip[1] - centre[1]) / length
        head = min(4.0, 0.6 * length)
        back = (tip[0] - head * ux, tip[1] - head * uy)
        side = 0.38 * head
        items.append(
            Shape(
                (tip, (back[0] - side * uy, back[1] + side * ux),
                 (back[0] + side * uy, back[1] - side * ux)),
                fill=colour, note=note,
            )
        )  # fmt: skip
    if bad is not None:
        items += verdict_mark(
            "fail" if bad == "fail" else "unknown" if bad == "unknown" else "flag",
            centre[0] - 1.1 * size, centre[1] - 0.55 * size, 0.7 * size,
        )  # fmt: skip
    return items
