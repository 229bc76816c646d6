import itertools
import math
from collections import Counter

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from station.catalogue import Allowances, RingGrid, load_catalogue
from station.catalogue.board_shape import BoardShape
from station.catalogue.layout import (
    RingBlock,
    columns_left,
    faults,
    ring_outline_mm,
    ring_positions,
    tile_outlines_mm,
)
from station.catalogue.polygon import gap_mm, moved, trapezoid
from station.catalogue.tile_format import (
    Dimple,
    TileFormat,
    Tolerances,
    nominal_size,
    offset_trapezoid,
)

CATALOGUE = load_catalogue()
SHAPES = CATALOGUE.board_shapes
PUBLIC = (
    *("A5", "A6", "B11", "B12", "C5", "D8", "E8", "G3", "G5", "G7", "G8", "J8", "J12"),
    *(f"K{rows}" for rows in range(4, 13)),
)
each_shape = pytest.mark.parametrize("shape", SHAPES.values(), ids=list(SHAPES))


each_full_shape = pytest.mark.parametrize("name", [f"{name}F" for name in PUBLIC])


def shared_area_mm2(a, b) -> float:
    """Area of a convex polygon clipped by the edges of another (Sutherland and Hodgman)."""
    left = [(float(x), float(y)) for x, y in a]
    for (x0, y0), (x1, y1) in itertools.pairwise([*b.tolist(), b[0].tolist()]):
        side = [(x1 - x0) * (y - y0) - (y1 - y0) * (x - x0) for x, y in left]
        clipped = []
        for k, (x, y) in enumerate(left):
            (xb, yb), sb = left[k - 1], side[k - 1]
            if (side[k] > 0) != (sb > 0):
                t = sb / (sb - side[k])
                clipped.append((xb + t * (x - xb), yb + t * (y - yb)))
            if side[k] > 0:
                clipped.append((x, y))
        left = clipped
    return (
        abs(sum(p[0] * q[1] - q[0] * p[1] for p, q in zip(left, left[1:] + left[:1], strict=True)))
        / 2
    )


def grown(shape, by_mm):
    """Outlines of the wrapped tiles with every edge moved out, computed tile by tile."""
    outlines = []
    for p in shape.positions:
        f = CATALOGUE.tile_formats[p.format_code]
        size = (f.inner_width_mm, f.outer_width_mm, f.height_mm)
        corners = trapezoid(*offset_trapezoid(*size, f.foil_mm + by_mm))
        outlines.append(moved(corners, p.x_mm, p.y_mm, p.rotation_rad))
    return outlines


def neighbours(shape):
    at = {(p.row, p.column): p.index for p in shape.positions}
    for (row, column), index in at.items():
        for step in ((0, 1), (1, -1), (1, 0), (1, 1)):
            other = at.get((row + step[0], column + step[1]))
            if other is not None:
                yield index, other, step


def test_the_shapes_of_public_talks_exist_full_and_cut_on_both_sides():
    assert set(SHAPES) == {f"{name}{cut}" for name in PUBLIC for cut in "FLR"}
    assert len(SHAPES) >= 30
    assert all(shape.name == name for name, shape in SHAPES.items())


@each_shape
def test_the_projects_own_shapes_have_no_faults(shape):
    assert list(faults(shape, CATALOGUE.tile_formats)) == []


def test_channel_counts():
    assert {name: SHAPES[name].n_channels for name in ("D8F", "D8L", "J12F", "B12F", "K4R")} == {
        "D8F": 64, "D8L": 48, "J12F": 96, "B12F": 144, "K4R": 36,
    }  # fmt: skip
    assert (SHAPES["D8F"].n_rocs, SHAPES["J12F"].n_rocs, SHAPES["B12F"].n_rocs) == (1, 2, 2)
    assert SHAPES["D8F"].sipm_area_mm2 == 4.0


@each_shape
def test_channels_follow_the_positions_and_fill_the_chips_in_order(shape):
    assert [p.index for p in shape.positions] == list(range(shape.n_channels))
    assert [p.channel for p in shape.positions] == list(range(shape.n_channels))
    assert [(p.row, p.column) for p in shape.positions] == sorted(
        (p.row, p.column) for p in shape.positions
    )
    per_roc = Counter(p.roc for p in shape.positions)
    assert max(per_roc.values()) <= 72
    assert len(per_roc) == shape.n_rocs <= 2
    assert all(p.roc * 72 + p.roc_channel == p.channel for p in shape.positions)
    assert shape.position_of_channel(shape.n_channels - 1) is shape.positions[-1]
    with pytest.raises(KeyError, match="has no channel"):
        shape.position_of_channel(shape.n_channels)


@each_full_shape
def test_every_tile_is_of_the_format_of_its_ring(name):
    shape = SHAPES[name]
    assert len({p.row for p in shape.positions}) == shape.rows
    for p in shape.positions:
        assert p.ring in CATALOGUE.tile_formats[p.format_code].rings
        assert CATALOGUE.tile_formats[p.format_code].grid == shape.grid
        assert p.name == f"R{p.row}C{p.column}"


@each_full_shape
def test_tiles_never_overlap_and_keep_the_stated_gap(name):
    shape = SHAPES[name]
    nearly = CATALOGUE.allowances.gap_mm / 2 - 1e-6
    tiles = grown(shape, nearly)
    for i, j, _ in neighbours(shape):
        assert shared_area_mm2(tiles[i], tiles[j]) == 0


@each_full_shape
def test_the_gap_is_no_wider_than_stated_where_the_cell_is_the_formats_own(name):
    shape = SHAPES[name]
    more = grown(shape, CATALOGUE.allowances.gap_mm / 2 + 1e-3)
    touching = Counter()
    for i, j, step in neighbours(shape):
        p = shape.positions[i]
        first_ring = min(CATALOGUE.tile_formats[p.format_code].rings)
        if step == (0, 1) and p.ring == first_ring:
            assert shared_area_mm2(more[i], more[j]) > 0
            touching["beside"] += 1
    assert touching["beside"] > 0


@each_full_shape
def test_sipms_sit_under_the_dimples(name):
    shape = SHAPES[name]
    for p in shape.positions:
        dimple = CATALOGUE.tile_formats[p.format_code].dimple
        (expected,) = moved(np.array([(dimple.x_mm, dimple.y_mm)]), p.x_mm, p.y_mm, p.rotation_rad)
        assert (p.sipm_x_mm, p.sipm_y_mm) == pytest.approx(tuple(expected), abs=1e-12)


@each_shape
def test_everything_lies_on_the_board(shape):
    outline = shape.outline_mm.astype(np.float32).reshape(-1, 1, 2)
    corners = np.concatenate(tile_outlines_mm(shape, CATALOGUE.tile_formats))
    discs = np.array(
        [
            (f.x_mm + f.diameter_mm / 2 * math.cos(a), f.y_mm + f.diameter_mm / 2 * math.sin(a))
            for f in shape.fiducials
            for a in np.linspace(0, 2 * math.pi, 16)
        ]
    )
    for x, y in np.concatenate((corners, discs)):
        assert cv2.pointPolygonTest(outline, (float(x), float(y)), True) > 0
    assert cv2.contourArea(outline, oriented=True) != 0
    size = shape.outline_mm.max(axis=0) - shape.outline_mm.min(axis=0)
    assert max(size) < 500


@each_shape
def test_fiducials_are_beside_the_tiles_and_show_how_the_board_lies(shape):
    assert len(shape.fiducials) in (3, 4)
    tiles = tile_outlines_mm(shape, CATALOGUE.tile_formats)
    for disc, tile in itertools.product(shape.fiducials, tiles):
        outline = tile.astype(np.float32).reshape(-1, 1, 2)
        distance = cv2.pointPolygonTest(outline, (disc.x_mm, disc.y_mm), True)
        assert -distance > disc.diameter_mm / 2
    points = np.array([(f.x_mm, f.y_mm) for f in shape.fiducials])
    points -= points.mean(axis=0)
    for mirror in (1, -1):
        for angle in np.radians(np.arange(0, 360, 4)):
            if mirror == 1 and min(angle, 2 * math.pi - angle) < np.radians(10):
                continue
            turned = moved(points * (mirror, 1), 0, 0, angle)
            apart = np.linalg.norm(turned[:, None] - points[None], axis=2).min(axis=1)
            assert apart.max() > 3.0


@pytest.mark.parametrize("name", PUBLIC)
def test_cut_boards_are_the_full_board_without_columns_on_one_side(name):
    full, left, right = (SHAPES[f"{name}{cut}"] for cut in "FLR")
    columns = {p.column for p in full.positions}
    removed = 2 if full.grid == "coarse" else 3
    assert {p.column for p in left.positions} == columns - set(range(1, removed + 1))
    assert {p.column for p in right.positions} == columns - set(
        range(len(columns) - removed + 1, len(columns) + 1)
    )
    places = {p.name: (p.x_mm, p.y_mm, p.rotation_rad, p.format_code) for p in full.positions}
    for cut in (left, right):
        for p in cut.positions:
            assert places[p.name] == (p.x_mm, p.y_mm, p.rotation_rad, p.format_code)
    for one, other in zip(
        sorted(left.positions, key=lambda p: (p.row, p.column)),
        sorted(right.positions, key=lambda p: (p.row, -p.column)),
        strict=True,
    ):
        assert (one.x_mm, one.y_mm) == pytest.approx((-other.x_mm, other.y_mm), abs=1e-9)
        assert one.rotation_rad == pytest.approx(-other.rotation_rad, abs=1e-12)


@pytest.mark.parametrize("name", PUBLIC)
def test_the_origin_is_the_middle_of_the_full_outline_on_the_central_line(name):
    outline = SHAPES[f"{name}F"].outline_mm
    assert outline.max(axis=0) + outline.min(axis=0) == pytest.approx([0, 0], abs=1e-9)


def test_tiles_on_the_right_are_turned_clockwise_so_that_their_axes_meet_at_the_beam():
    shape = SHAPES["D8F"]
    origins = set()
    for p in shape.positions:
        assert math.copysign(1, p.x_mm) == -math.copysign(1, p.rotation_rad)
        to_beam = p.x_mm / math.tan(p.rotation_rad)
        origins.add(round(p.y_mm + to_beam, 6))
    assert len(origins) == 1
    assert origins.pop() < -1000


def test_rows_count_outward_and_columns_rightward():
    at = {p.name: p for p in SHAPES["D8F"].positions}
    assert at["R2C4"].y_mm > at["R1C4"].y_mm
    assert at["R1C5"].x_mm > at["R1C4"].x_mm
    assert at["R1C1"].ring == 13


def test_an_outline_cannot_be_changed_by_who_reads_it():
    with pytest.raises(ValueError, match="read-only"):
        SHAPES["D8F"].outline_mm[0, 0] = 0.0


@settings(deadline=None, max_examples=60)
@given(
    grid=st.builds(
        lambda n_phi, columns, *edges: RingGrid("x", n_phi, columns, np.cumsum(edges).tolist()),
        st.integers(100, 500),
        st.sampled_from([2, 4, 8, 12]),
        st.floats(600, 3000),
        *[st.floats(20, 60)] * 4,
    ),
    gap=st.floats(0.05, 1),
    cut=st.sampled_from("FLR"),
)
def test_boards_of_any_rings_have_tiles_that_keep_the_gap(grid, gap, cut):
    formats = {}
    for ring in range(1, grid.n_rings + 1):
        inner, outer, height = nominal_size(grid, (ring,), Allowances(gap, 0.1))
        formats[ring] = TileFormat(
            f"{ring}", "free", (ring,), None, None, grid.phi_rad, inner, outer, height, 0.1, 3.0,
            Dimple(0.0, 0.0, 5.0), Tolerances(0.1, 0.1, 0.5, 0.01),
        )  # fmt: skip
    block = RingBlock(grid, 1, grid.n_rings, columns_left(grid.columns, cut, 1), 3.0)
    shape = BoardShape(
        "x", "x", grid.n_rings, cut, "free", 4.0, ring_positions(block, formats), (),
        ring_outline_mm(block),
    )  # fmt: skip
    tiles = tile_outlines_mm(shape, {f.code: f for f in formats.values()})
    first, second = np.triu_indices(len(tiles), k=1)
    gaps = gap_mm(tiles[first], tiles[second])
    assert gaps.min() == pytest.approx(gap, abs=1e-6)


quads = st.builds(
    lambda w, h, x, y, turn: moved(trapezoid(w, w, h), x, y, turn),
    st.floats(1, 9), st.floats(1, 9), st.floats(-9, 9), st.floats(-9, 9), st.floats(-3, 3),
)  # fmt: skip


@settings(deadline=None)
@given(quads, quads)
def test_polygons_have_a_gap_exactly_when_they_share_no_area(a, b):
    gap = float(gap_mm(a, b))
    assert gap == pytest.approx(float(gap_mm(b, a)), abs=1e-9)
    if gap > 1e-6:
        assert shared_area_mm2(a, b) == 0
    if gap < -1e-3:
        assert shared_area_mm2(a, b) > 1e-7
