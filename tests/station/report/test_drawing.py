import math
from dataclasses import replace
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest

from station.catalogue import Catalogue
from station.catalogue.polygon import moved
from station.report import ModuleReport, collect
from station.report.axes import nice_step, ticks
from station.report.board_maps import board_drawing, colour_range, placement_map
from station.report.drawing import Figure, Shape, Words, svg, verdict_mark, viridis
from tests.station.report.recorded import Bench, Module


@pytest.mark.parametrize("fraction", np.linspace(0, 1, 41))
def test_viridis_agrees_with_the_published_map(fraction: float) -> None:
    exact = matplotlib.colormaps["viridis"](float(fraction))[:3]
    shown = viridis(float(fraction))
    found = [int(shown[k : k + 2], 16) for k in (1, 3, 5)]
    assert np.abs(np.array(found) - 255 * np.array(exact)).max() < 4


def test_viridis_outside_its_range_is_its_end() -> None:
    assert (viridis(-3.0), viridis(7.0)) == (viridis(0.0), viridis(1.0))


@pytest.mark.parametrize("shape_name", ["D8F", "K12F", "A5L", "G8R"])
def test_tiles_are_drawn_with_their_true_outlines_and_places(
    catalogue: Catalogue, shape_name: str
) -> None:
    shape = catalogue.board_shapes[shape_name]
    board = board_drawing(shape, catalogue.tile_formats, width=300, height=250)
    first = shape.positions[0]
    x0, y0 = board.centres[first.index]
    for position in shape.positions:
        corners = moved(
            catalogue.tile_formats[position.format_code].wrapped_corners_mm(),
            position.x_mm, position.y_mm, position.rotation_rad,
        )  # fmt: skip
        drawn = np.array(board.outlines[position.index])
        expected = np.column_stack(
            [
                x0 + board.points_per_mm * (corners[:, 0] - first.x_mm),
                y0 - board.points_per_mm * (corners[:, 1] - first.y_mm),
            ]
        )
        assert np.allclose(drawn, expected, atol=1e-6)
        assert drawn.min() >= -1e-6
        assert drawn[:, 0].max() <= 300 + 1e-6
        assert drawn[:, 1].max() <= board.height + 1e-6


def test_the_wide_edge_of_a_board_is_above(catalogue: Catalogue) -> None:
    shape = catalogue.board_shapes["D8F"]
    board = board_drawing(shape, catalogue.tile_formats, width=300, height=300)
    rows = {p.row: board.centres[p.index][1] for p in shape.positions}
    assert rows[8] < rows[1]


def _drawn_words(report: ModuleReport) -> str:
    figure = placement_map(report, width=300, height=300)
    return " ".join(item.text for item in figure.items if isinstance(item, Words))


def test_arrows_are_drawn_in_the_frame_of_the_limits_when_they_can_be_seen_there(
    shown: tuple[Bench, Module],
) -> None:
    bench, module = shown
    report = collect(bench.store, bench.catalogue, module.label)
    assert "64 of 64 tiles" in _drawn_words(report)
    assert "frame: limits" in _drawn_words(report)
    small = [
        replace(
            tile,
            placement={
                quantity: replace(reading, value=0.02 * (reading.value or 0.0))
                for quantity, reading in tile.placement.items()
            },
        )
        for tile in report.tiles
    ]
    words = _drawn_words(replace(report, tiles=tuple(small)))
    assert "limits are wider than the tiles as drawn" in words
    assert "frame" not in words


def test_one_dead_channel_does_not_take_the_colours_of_the_others() -> None:
    low, high = colour_range([28.0 + 0.01 * k for k in range(63)] + [0.0])
    assert low > 27
    assert high == pytest.approx(28.62)


@pytest.mark.parametrize("values", [[], [3.0], [5.0] * 9, [0.0, 0.0]])
def test_colour_range_is_never_empty(values: list[float]) -> None:
    low, high = colour_range(values)
    assert low < high
    assert all(low <= value <= high for value in values)


def test_ticks_are_round_numbers_inside_with_the_same_decimals() -> None:
    assert ticks(1.83, 2.27, 5) == [(1.9, "1.9"), (2.0, "2.0"), (2.1, "2.1"), (2.2, "2.2")]
    assert ticks(-12.0, 12.0, 4) == [(-10.0, "−10"), (0.0, "0"), (10.0, "10")]


@pytest.mark.parametrize("span", [1e-9, 0.3, 1.0, 7.7, 1234.0])
def test_steps_are_one_two_or_five_times_a_power_of_ten(span: float) -> None:
    step = nice_step(span, 5)
    mantissa = step / 10 ** math.floor(math.log10(step) + 1e-9)
    assert round(mantissa, 9) in (1, 2, 5)
    assert span / step <= 5 + 1e-9


def test_marks_of_verdicts_differ_in_shape_and_not_only_in_colour() -> None:
    outlines = {
        verdict: tuple(
            item.points if isinstance(item, Shape) else item.text
            for item in verdict_mark(verdict, 10, 10, 8)
        )
        for verdict in ("pass", "flag", "fail", "unknown")
    }
    assert len(set(outlines.values())) == 4


def test_svg_is_well_formed_and_escapes_what_it_is_given() -> None:
    nasty = '<script>alert("x")</script>&'
    figure = Figure(
        20, 10, (Words(1, 1, nasty, 6), Shape(((0, 0), (1, 1)), note=nasty)), nasty
    )  # fmt: skip
    root = ElementTree.fromstring(svg(figure))
    assert "".join(root.itertext()).count(nasty) == 2
    assert root.attrib["aria-label"] == nasty
