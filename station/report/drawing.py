"""Flat vector drawings that come out alike as SVG and as PDF paths.

A `Figure` is a list of shapes and texts in points (1/72 inch), origin at the top left, y down.
Colours are names of `LIGHT` (so that the HTML page can replace them in the dark) or `#rrggbb`.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Literal

from station.events import Verdict

Point = tuple[float, float]
Anchor = Literal["start", "middle", "end"]

LIGHT = {
    "bg": "#F3F4F5", "panel": "#FFFFFF", "line": "#D9DDE1",
    "ink": "#1B232B", "ink2": "#5A6670", "ink3": "#8B959E",
    "accent": "#1F5FA8", "accent_soft": "#E3EDF8",
    "pass": "#2E7D4F", "pass_soft": "#E4F1E8", "flag": "#B06A00", "flag_soft": "#FBEFD9",
    "fail": "#B3261E", "fail_soft": "#FBE4E2", "unknown": "#6B4FA0", "unknown_soft": "#ECE6F6",
    "histogram": "#B9C0C6",
}  # fmt: skip
DARK = {
    "bg": "#14181C", "panel": "#1C2227", "line": "#2E363D",
    "ink": "#E6EAED", "ink2": "#A3AEB8", "ink3": "#74808A",
    "accent": "#6FA8E8", "accent_soft": "#22344A",
    "pass": "#6CC08B", "pass_soft": "#1E3327", "flag": "#E3A13A", "flag_soft": "#3A2D16",
    "fail": "#F0766E", "fail_soft": "#40211F", "unknown": "#B59BE6", "unknown_soft": "#2E2742",
    "histogram": "#56616B",
}  # fmt: skip

_VIRIDIS = (
    "440154470d6048186a482374472d7b4537814240863e49893b528b375b8d33638d"
    "2f6b8e2c728e297a8e26828e23898e21918c1f988b1fa08822a78528ae8032b67a"
    "3fbc734ec36b5ec96270cf5784d44b98d83eaddc30c2df23d8e219ece51bfde725"
)
_VIRIDIS_STEPS = len(_VIRIDIS) // 6 - 1


@dataclass(frozen=True)
class Shape:
    """A polygon or an open line through `points`; `note` is what hovering over it says."""

    points: tuple[Point, ...]
    fill: str | None = None
    stroke: str | None = None
    width: float = 0.5
    dash: tuple[float, float] | None = None
    closed: bool = True
    note: str | None = None


@dataclass(frozen=True)
class Words:
    """One line of text; `y` is its base line."""

    x: float
    y: float
    text: str
    size: float
    colour: str = "ink"
    anchor: Anchor = "start"
    bold: bool = False


@dataclass(frozen=True)
class Figure:
    width: float
    height: float
    items: tuple[Shape | Words, ...]
    title: str


def viridis(fraction: float) -> str:
    """Colour of the viridis map (S. van der Walt, N. Smith, 2015) at a fraction of its range.

    Fractions outside 0 to 1 get the colour of the end.
    """
    place = min(max(fraction, 0.0), 1.0) * _VIRIDIS_STEPS
    index = min(int(place), _VIRIDIS_STEPS - 1)
    part = place - index
    channels = []
    for byte in range(3):
        start = 6 * index + 2 * byte
        low = int(_VIRIDIS[start : start + 2], 16)
        high = int(_VIRIDIS[start + 6 : start + 8], 16)
        channels.append(round(low + part * (high - low)))
    return "#{:02x}{:02x}{:02x}".format(*channels)


def rectangle(x: float, y: float, width: float, height: float) -> tuple[Point, ...]:
    return ((x, y), (x + width, y), (x + width, y + height), (x, y + height))


def circle(centre: Point, radius: float) -> tuple[Point, ...]:
    """A circle as a polygon, round enough for marks and dimples."""
    turns = [2 * math.pi * k / 24 for k in range(24)]
    return tuple(
        (centre[0] + radius * math.cos(t), centre[1] + radius * math.sin(t)) for t in turns
    )


def line(*points: Point, colour: str, width: float = 0.5) -> Shape:
    return Shape(points, stroke=colour, width=width, closed=False)


def verdict_mark(verdict: Verdict, x: float, y: float, size: float) -> list[Shape | Words]:
    """The mark of a verdict around (x, y): a check, triangle, square or circle, with its sign."""
    half = size / 2
    thick = max(size / 9, 0.5)
    match verdict:
        case "pass":
            check = ((x - half * 0.7, y), (x - half * 0.15, y + half * 0.55),
                     (x + half * 0.8, y - half * 0.6))  # fmt: skip
            return [line(*check, colour="pass", width=1.5 * thick)]
        case "flag":
            triangle = ((x, y - half), (x + 1.1 * half, y + half * 0.9),
                        (x - 1.1 * half, y + half * 0.9))  # fmt: skip
            return [
                Shape(triangle, fill="panel", stroke="flag", width=thick),
                line((x, y - half * 0.3), (x, y + half * 0.25), colour="flag", width=thick * 1.3),
                line((x, y + half * 0.48), (x, y + half * 0.68), colour="flag", width=thick * 1.3),
            ]
        case "fail":
            arm = half * 0.45
            return [
                Shape(
                    rectangle(x - half * 0.9, y - half * 0.9, size * 0.9, size * 0.9),
                    fill="panel", stroke="fail", width=thick,
                ),
                line((x - arm, y - arm), (x + arm, y + arm), colour="fail", width=thick * 1.3),
                line((x - arm, y + arm), (x + arm, y - arm), colour="fail", width=thick * 1.3),
            ]  # fmt: skip
        case "unknown":
            return [
                Shape(circle((x, y), half), fill="panel", stroke="unknown", width=thick),
                Words(x, y + size * 0.27, "?", size * 0.75, "unknown", "middle", bold=True),
            ]


def svg(figure: Figure, classes: str = "") -> str:
    """The figure as an inline SVG element whose colours are CSS variables of their names."""
    parts = [
        f'<svg class="{classes}" viewBox="0 0 {_number(figure.width)} {_number(figure.height)}" '
        f'width="{_number(figure.width)}pt" role="img" aria-label="{escape(figure.title)}">'
    ]
    for item in figure.items:
        parts.append(_svg_words(item) if isinstance(item, Words) else _svg_shape(item))
    parts.append("</svg>")
    return "".join(parts)


def draw(
    figure: Figure, canvas: Any, x: float, y: float, *, regular_font: str, bold_font: str
) -> None:
    """Draw the figure on a ReportLab canvas with its lower left corner at (x, y), in `LIGHT`."""
    canvas.saveState()
    canvas.translate(x, y + figure.height)
    canvas.setLineJoin(1)
    for item in figure.items:
        if isinstance(item, Words):
            canvas.setFillColor(_paint(item.colour))
            canvas.setFont(bold_font if item.bold else regular_font, item.size)
            place = {
                "start": canvas.drawString,
                "middle": canvas.drawCentredString,
                "end": canvas.drawRightString,
            }[item.anchor]
            place(item.x, -item.y, item.text)
        else:
            _draw_shape(item, canvas)
    canvas.restoreState()


def bounds(points: Iterable[Point]) -> tuple[float, float, float, float]:
    """Least x, least y, greatest x, greatest y."""
    xs, ys = zip(*points, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _draw_shape(shape: Shape, canvas: Any) -> None:
    path = canvas.beginPath()
    (x0, y0), *rest = shape.points
    path.moveTo(x0, -y0)
    for px, py in rest:
        path.lineTo(px, -py)
    if shape.closed:
        path.close()
    if shape.fill:
        canvas.setFillColor(_paint(shape.fill))
    if shape.stroke:
        canvas.setStrokeColor(_paint(shape.stroke))
        canvas.setLineWidth(shape.width)
        canvas.setDash(*(shape.dash or ()))
    canvas.drawPath(path, fill=int(bool(shape.fill)), stroke=int(bool(shape.stroke)))


def _paint(colour: str) -> Any:
    from reportlab.lib.colors import HexColor

    return HexColor(LIGHT.get(colour, colour))


def _svg_paint(colour: str | None) -> str:
    if colour is None:
        return "none"
    return f"var(--{colour})" if colour in LIGHT else colour


def _svg_shape(shape: Shape) -> str:
    path = _svg_path(shape.points) + ("z" if shape.closed else "")
    style = f"fill:{_svg_paint(shape.fill)}"
    if shape.stroke:
        style += f";stroke:{_svg_paint(shape.stroke)};stroke-width:{_number(shape.width)}"
        if shape.dash:
            style += ";stroke-dasharray:" + " ".join(_number(d) for d in shape.dash)
    note = f"<title>{escape(shape.note)}</title>" if shape.note else ""
    return f'<path d="{path}" style="{style}">{note}</path>'


def _svg_path(points: Sequence[Point]) -> str:
    return "M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points)


def _svg_words(words: Words) -> str:
    weight = ";font-weight:600" if words.bold else ""
    anchor = "" if words.anchor == "start" else f' text-anchor="{words.anchor}"'
    return (
        f'<text x="{_number(words.x)}" y="{_number(words.y)}"{anchor} '
        f'style="font-size:{_number(words.size)}px;fill:{_svg_paint(words.colour)}{weight}">'
        f"{escape(words.text)}</text>"
    )


def _number(value: float) -> str:
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
