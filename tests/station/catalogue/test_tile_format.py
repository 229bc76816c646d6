import json
import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from station.catalogue import Allowances, RingGrid, load_catalogue
from station.catalogue.polygon import trapezoid
from station.catalogue.tile_format import cell, nominal_size, offset_trapezoid


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue()


def sides_mm(corners):
    return np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1)


def test_there_are_21_coarse_and_8_fine_formats_and_every_ring_has_one(catalogue):
    grids = [f.grid for f in catalogue.tile_formats.values()]
    assert (grids.count("coarse"), grids.count("fine"), len(grids)) == (21, 8, 29)
    for name, grid in catalogue.grids.items():
        rings = [r for f in catalogue.tile_formats.values() if f.grid == name for r in f.rings]
        assert sorted(rings) == list(range(1, grid.n_rings + 1))


def test_size_codes_follow_the_label_scheme(catalogue):
    assert list(catalogue.tile_formats) == (
        [f"{n:02d}" for n in range(0, 41, 2)] + [f"F{n}" for n in range(1, 8)] + ["S1"]
    )


def test_ring_radii_and_binning_are_those_of_the_detector_description(catalogue, shared_data):
    rings = json.loads((shared_data / "geometry" / "hgcal_tile_rings.json").read_text())
    for name in ("coarse", "fine"):
        grid = catalogue.grids[name]
        assert list(grid.ring_edges_mm) == rings[name]["ring_edges"]
        assert grid.n_phi == rings[name]["n_phi"]
        assert grid.columns == rings[name]["columns_per_board"]
        per_size = rings[name]["rings_per_size"]
        formats = [f for f in catalogue.tile_formats.values() if f.grid == name]
        assert all(len(f.rings) == per_size for f in formats)
    assert {f.thickness_mm for f in catalogue.tile_formats.values()} == {
        rings["scintillator_thickness"]
    }


def test_the_first_format_has_the_size_that_a_hand_calculation_gives(catalogue):
    tile = catalogue.tile_formats["00"]
    half = math.pi / 288
    r0, height = 1037.83, 23.14 * math.cos(half)
    inset = 0.1 + 0.13
    y0 = r0 * math.cos(half) + inset
    y1 = r0 * math.cos(half) + height - inset
    assert tile.height_mm == pytest.approx(y1 - y0, abs=1e-9)
    for width, y in ((tile.inner_width_mm, y0), (tile.outer_width_mm, y1)):
        assert width == pytest.approx(2 * (y * math.tan(half) - inset / math.cos(half)), abs=1e-9)
    assert (tile.r_inner_mm, tile.r_outer_mm) == (1037.83, 1060.98)


def test_corners_go_counter_clockwise_from_the_inner_left_around_the_middle(catalogue):
    for tile in catalogue.tile_formats.values():
        corners = tile.corners_mm()
        wi, wo, h = tile.inner_width_mm / 2, tile.outer_width_mm / 2, tile.height_mm / 2
        assert corners.tolist() == [[-wi, -h], [wi, -h], [wo, h], [-wo, h]]
        assert corners.mean(axis=0) == pytest.approx([0, 0], abs=1e-12)
        assert 21 < tile.inner_width_mm < tile.outer_width_mm < 56


def test_the_foil_lies_at_its_thickness_from_every_edge(catalogue):
    for tile in catalogue.tile_formats.values():
        bare, wrapped = tile.corners_mm(), tile.wrapped_corners_mm()
        edges = np.roll(bare, -1, axis=0) - bare
        outward = np.column_stack((edges[:, 1], -edges[:, 0])) / sides_mm(bare)[:, None]
        for corner in (wrapped, np.roll(wrapped, -1, axis=0)):
            assert np.sum((corner - bare) * outward, axis=1) == pytest.approx(
                [tile.foil_mm] * 4, abs=1e-9
            )


def test_a_wrapped_tile_with_half_the_gap_fits_in_all_its_rings_and_no_bigger_one_does(catalogue):
    half_gap = catalogue.allowances.gap_mm / 2
    for tile in catalogue.tile_formats.values():
        size = (tile.inner_width_mm, tile.outer_width_mm, tile.height_mm)
        space = trapezoid(*offset_trapezoid(*size, tile.foil_mm + half_gap))
        bigger = trapezoid(*offset_trapezoid(*size, tile.foil_mm + half_gap + 0.01))
        room = [
            trapezoid(*cell(catalogue.grids[tile.grid], ring)) * (1 + 1e-9) for ring in tile.rings
        ]
        assert all(inside(corners, space) for corners in room)
        assert not all(inside(corners, bigger) for corners in room)


def inside(polygon, points):
    outline = polygon.astype(np.float32).reshape(-1, 1, 2)
    return all(cv2.pointPolygonTest(outline, (float(x), float(y)), True) > -2e-5 for x, y in points)


grids = st.builds(
    lambda n_phi, r0, steps: RingGrid("x", n_phi, 8, tuple(np.cumsum([r0, *steps]).tolist())),
    st.integers(60, 500),
    st.floats(500, 3000),
    st.lists(st.floats(20, 60), min_size=3, max_size=6),
)


@settings(deadline=None)
@given(grids, st.floats(0, 1), st.floats(0, 0.5))
def test_nominal_tiles_keep_the_angle_of_their_cells(grid, gap_mm, foil_mm):
    rings = tuple(range(1, grid.n_rings + 1))
    inner, outer, height = nominal_size(grid, rings, Allowances(gap_mm, foil_mm))
    assert (outer - inner) / (2 * height) == pytest.approx(math.tan(grid.phi_rad / 2), rel=1e-6)
    lowest = min(cell(grid, ring)[2] for ring in rings)
    assert height == pytest.approx(lowest - gap_mm - 2 * foil_mm, abs=1e-9)


@settings(deadline=None)
@given(st.floats(10, 60), st.floats(10, 60), st.floats(10, 60), st.floats(0, 3))
def test_moving_the_edges_out_and_in_again_changes_nothing(inner, outer, height, offset):
    size = (inner, outer, height)
    assert offset_trapezoid(*offset_trapezoid(*size, offset), -offset) == pytest.approx(size)


def test_allowances_that_leave_no_tile_are_refused():
    grid = RingGrid("x", 288, 8, (1000.0, 1020.0))
    with pytest.raises(ValueError, match="leave nothing of the cell of ring 1"):
        nominal_size(grid, (1,), Allowances(20.0, 0.1))


def test_a_ring_outside_the_grid_has_no_edges(catalogue):
    for ring in (0, 43):
        with pytest.raises(ValueError, match=rf"ring {ring} of the coarse grid, which has 42"):
            catalogue.grids["coarse"].edges_mm(ring)


def test_the_dimple_lies_inside_every_tile(catalogue):
    for tile in catalogue.tile_formats.values():
        room = min(tile.inner_width_mm, tile.height_mm) / 2
        assert math.hypot(tile.dimple.x_mm, tile.dimple.y_mm) + tile.dimple.diameter_mm / 2 < room
        assert tile.tolerances.placement_mm <= 0.5
