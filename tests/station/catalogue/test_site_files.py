import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from station.catalogue import LabelError, format_label, load_catalogue, parse_label
from station.settings import SettingsError

SQUARE_BOARD = """
[[tile_format]]
code = "S2"
size = { inner_width_mm = 30.0, outer_width_mm = 30.0, height_mm = 30.0 }
dimple = { x_mm = 1.0, y_mm = 2.0, diameter_mm = 5.0 }

[[board_shape]]
name = "H3F"
sipm = "04"
outline_mm = [[-20, -60], [20, -60], [20, 60], [-20, 60]]
fiducial = [
  { x_mm = -15, y_mm = -55, diameter_mm = 2 },
  { x_mm = 15, y_mm = -55, diameter_mm = 2 },
  { x_mm = -5, y_mm = 55, diameter_mm = 2 },
]

[[board_shape.position]]
row = 1
column = 1
x_mm = 0
y_mm = -31
format = "S2"

[[board_shape.position]]
row = 2
column = 1
x_mm = 0
y_mm = 0
rotation_deg = 90
format = "S2"

[[board_shape.position]]
row = 3
column = 1
x_mm = 0
y_mm = 31
format = "S2"
""".replace("H3F", "E3F")


@pytest.fixture
def site(tmp_path):
    def write(text: str, name: str = "site.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


@pytest.fixture
def refusal(site):
    def load(text: str):
        with pytest.raises(SettingsError) as refused:
            load_catalogue(site(text))
        (problem,) = refused.value.problems
        assert problem.file.name == "site.toml"
        return problem

    return load


def test_a_board_and_a_format_given_in_full_are_added(site):
    catalogue = load_catalogue(site(SQUARE_BOARD))
    shape, tile = catalogue.board_shapes["E3F"], catalogue.tile_formats["S2"]
    assert (shape.n_channels, shape.n_rocs, shape.grid, shape.rows) == (3, 1, "free", 3)
    assert (tile.grid, tile.rings, tile.r_inner_mm, tile.phi_rad) == ("free", (), None, 0.0)
    turned = shape.positions[1]
    assert turned.rotation_rad == pytest.approx(math.pi / 2)
    assert (turned.sipm_x_mm, turned.sipm_y_mm) == pytest.approx((-2.0, 1.0))
    assert len(catalogue.tile_formats) == 30
    assert len(catalogue.board_shapes) == 67


def test_a_board_may_be_added_by_the_rule_of_its_letter(site):
    catalogue = load_catalogue(site('[[board_shape]]\nname = "D7L"\nsipm = "09"\n'))
    shape = catalogue.board_shapes["D7L"]
    assert (shape.n_channels, shape.sipm_area_mm2) == (42, 9.0)
    assert catalogue.board_shapes["D8L"].sipm_area_mm2 == 4.0


def test_a_letter_may_be_given_other_rings(site):
    entry = 'letter = "D"\ngrid = "coarse"\nfirst_ring = 14\nrows = [8, 9]\ncuts = ["F"]\n'
    catalogue = load_catalogue(site(f'[[board_family]]\n{entry}sipm = "09"\n'))
    assert catalogue.board_shapes["D8F"].positions[0].ring == 14
    assert "D9F" in catalogue.board_shapes
    assert "D8L" not in catalogue.board_shapes


def test_other_allowances_change_the_computed_tiles_only(site):
    plain = load_catalogue()
    catalogue = load_catalogue(site("[tile]\ngap_mm = 0.4\n"), site(SQUARE_BOARD, "more.toml"))
    for code, tile in plain.tile_formats.items():
        assert tile.height_mm - catalogue.tile_formats[code].height_mm == pytest.approx(0.2)
    assert catalogue.tile_formats["S2"].height_mm == 30.0
    assert catalogue.allowances.foil_mm == plain.allowances.foil_mm


def test_a_tile_format_may_be_replaced_with_a_smaller_one(site):
    text = """
[[tile_format]]
code = "12"
grid = "coarse"
rings = [13, 14]
size = { inner_width_mm = 28.9, outer_width_mm = 29.5, height_mm = 29.5 }
thickness_mm = 2.9
tolerances = { size_mm = 0.05, dimple_mm = 0.1, placement_mm = 0.3, rotation_deg = 0.2 }
"""
    tile = load_catalogue(site(text)).tile_formats["12"]
    assert tile.corners_mm()[2].tolist() == [14.75, 14.75]
    assert (tile.thickness_mm, tile.tolerances.placement_mm) == (2.9, 0.3)
    assert tile.tolerances.rotation_rad == pytest.approx(math.radians(0.2))
    assert tile.r_inner_mm == 1348.45


def test_the_last_of_several_files_wins(site):
    first = site("[tile]\ngap_mm = 0.3\nfoil_mm = 0.1\n", "first.toml")
    second = site("[tile]\ngap_mm = 0.5\n", "second.toml")
    allowances = load_catalogue(first, second).allowances
    assert (allowances.gap_mm, allowances.foil_mm) == (0.5, 0.1)


def test_rim_and_cuts_are_the_sites_to_choose(site):
    text = "[board]\nrim_mm = 8\nremoved_columns = { coarse = 3, fine = 4 }\n"
    catalogue = load_catalogue(site(text))
    assert catalogue.board_shapes["D8L"].n_channels == 40
    assert catalogue.board_shapes["K4R"].n_channels == 32
    outline = catalogue.board_shapes["D8F"].outline_mm
    plain = load_catalogue().board_shapes["D8F"].outline_mm
    assert np.ptp(outline[:, 1]) > np.ptp(plain[:, 1]) + 5.9


@pytest.mark.parametrize(
    ("text", "place", "found", "expected"),
    [
        ('[[tile_format]]\ncode = "41"\n'
         "size = { inner_width_mm = 29.0, outer_width_mm = 29.6, height_mm = 29.7 }\n",
         (2, "tile_format[0].code"), "'41'", "a size code that labels can carry"),
        ('[[tile_format]]\ncode = "42"\ngrid = "coarse"\nrings = [43]\n',
         (4, "tile_format[0].rings"), "ring 43", "rings 1 to 42 of the coarse grid"),
        ('[[tile_format]]\ncode = "42"\ngrid = "coarse"\nrings = [42]\n',
         (2, "tile_format[0].code"), "ring 42 of the coarse grid in formats '40' and '42'",
         "one tile format per ring"),
        ('[[tile_format]]\ncode = "42"\n', (1, "tile_format[0]"), "a table", "or a size"),
        ('[[tile_format]]\ncode = "42"\ngrid = "coarse"\n',
         (1, "tile_format[0]"), "a table", "grid and rings together"),
        ('[[tile_format]]\ncode = "40"\ngrid = "coarse"\nrings = [41]\n',
         (2, "tile_format[0].code"), "no tile format for ring 42", "a tile format for every ring"),
        ('[[tile_format]]\ncode = "12"\ngrid = "coarse"\nrings = [13, 14]\n'
         "size = { inner_width_mm = 29.0, outer_width_mm = 29.6, height_mm = 29.7 }\n",
         (2, "tile_format[0].code"), "too large for ring 13", "room for foil and gap"),
        ("[tile]\ngap_mm = 60.0\n", (2, "tile.gap_mm"), "leave nothing", "room for tile format"),
        ("[tile]\n\nfoil_mm = -0.1\n", (3, "tile.foil_mm"), "-0.1", "greater than or equal to 0"),
        ("[tile.dimple]\nx_mm = 9\ny_mm = 0\ndiameter_mm = 6\n", (1, "tile.dimple"),
         "a dimple across the edge of tile format", "a dimple inside the tile"),
        ("[board]\nrim_mm = 1.0\n", (2, "board.rim_mm"), "fiducial 1", "fiducials"),
        ("[board]\nremoved_columns = { coarse = 8, fine = 1 }\n",
         (2, "board.removed_columns"), "8 of 8 columns cut", "columns that are left"),
        ('[[board_shape]]\nname = "H3F"\n', (2, "board_shape[0].name"), "'H3F'", "board letter"),
        ('[[board_shape]]\nname = "A8F"\n', (2, "board_shape[0].name"),
         "board shape A8F up to ring 44", "rings 1 to 42"),
        ('[[board_shape]]\nname = "D7F"\n[[board_shape]]\nname = "D7F"\n',
         (4, "board_shape[1].name"), "a second time", "once in a file"),
        ('[[board_family]]\nletter = "D"\ngrid = "coarse"\nfirst_ring = 13\nrows = [8, 13]\n'
         'cuts = ["F"]\nsipm = "04"\n', (5, "board_family[0].rows[1]"), "13 rows", "3 to 12"),
        ('[[board_family]]\nletter = "DE"\ngrid = "coarse"\nfirst_ring = 13\nrows = [8]\n'
         'cuts = ["F"]\nsipm = "04"\n', (2, "board_family[0].letter"), "'DE'", "a letter that"),
        ('[grid.coarse]\nn_phi = 288\ncolumns = 8\nring_edges_mm = [1, 3, 2]\n',
         (4, "grid.coarse.ring_edges_mm"), "[1, 3, 2]", "ring edges that grow (2.0 follows 3.0)"),
        ("[grid.medium]\nn_phi = 288\ncolumns = 8\nring_edges_mm = [1, 2]\n",
         (1, "grid.medium"), "", "'coarse' or 'fine'"),
        ("[boards]\n", (1, "boards"), "an unknown field", "'board', perhaps"),
    ],
)  # fmt: skip
def test_a_site_file_that_does_not_fit_is_refused_by_line_and_field(
    refusal, text, place, found, expected
):
    problem = refusal(text)
    assert (problem.line, problem.field) == place
    assert found in problem.found
    assert expected in problem.expected


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("y_mm = -31", "y_mm = -30", "tiles R1C1 and R2C1 overlapping by 0.260 mm"),
        ("y_mm = 31", "y_mm = 45", "tile R3C1 0.130 mm outside the outline"),
        ("row = 3", "row = 2", "with 2 rows"),
        ("row = 3\ncolumn = 1", "row = 3\ncolumn = 1\nchannel = 5", "channel at 1 of 3 positions"),
        ("x_mm = -5, y_mm = 55", "x_mm = -5, y_mm = 59.5", "fiducial 3 0.500 mm outside"),
        ("x_mm = -5, y_mm = 55", "x_mm = -5, y_mm = 46.5", "fiducial 3 under tile R3C1"),
        ("x_mm = -5, y_mm = 55", "x_mm = 0, y_mm = 55", "look the same"),
        ("column = 1", "column = 1\nchannel = 4", "channel 4 at R1C1 and R2C1"),
        ("column = 1", "column = 1\nchannel = 144", "channel 144"),
    ],
)
def test_a_board_that_could_not_be_built_is_refused(refusal, old, new, found):
    assert old in SQUARE_BOARD
    problem = refusal(SQUARE_BOARD.replace(old, new))
    assert problem.field == "board_shape[0].name"
    assert problem.line == 8
    assert found in problem.found


def test_mistakes_inside_an_explicit_board_are_found_on_their_line(refusal):
    text = SQUARE_BOARD.replace('rotation_deg = 90\nformat = "S2"', 'format = "S9"')
    text = text.replace('format = "S9"', 'rotation_deg = 90\nformat = "S9"')
    problem = refusal(text)
    assert text.splitlines()[problem.line - 1] == 'format = "S9"'
    assert problem.field == "board_shape[0].position[1].format"
    clockwise = "[[-20, -60], [-20, 60], [20, 60], [20, -60]]"
    text = SQUARE_BOARD.replace("[[-20, -60], [20, -60], [20, 60], [-20, 60]]", clockwise)
    assert refusal(text).field == "board_shape[0].outline_mm"
    problem = refusal(SQUARE_BOARD.replace('sipm = "04"', ""))
    assert problem.expected == "sipm, fiducial and outline_mm together with explicit positions"


def test_a_new_format_that_spoils_an_older_board_is_blamed_itself(site):
    first = site(SQUARE_BOARD, "first.toml")
    bigger = "size = { inner_width_mm = 32, outer_width_mm = 32, height_mm = 32 }"
    second = site(f'[[tile_format]]\ncode = "S2"\n{bigger}\n', "second.toml")
    with pytest.raises(SettingsError, match=r"second.toml:2: tile_format\[0\].code: .*overlapping"):
        load_catalogue(first, second)


def test_mistakes_of_several_files_are_reported_together(site):
    bad = [site("[tile]\ngap = 1\n", "a.toml"), site("x\n", "b.toml")]
    with pytest.raises(SettingsError) as refused:
        load_catalogue(*bad)
    assert [p.file.name for p in refused.value.problems] == ["a.toml", "b.toml"]


def test_a_label_is_looked_up_in_the_catalogue(site):
    catalogue = load_catalogue(site(SQUARE_BOARD))
    tile = parse_label(format_label("TI", "S2", 1))
    module = parse_label(format_label("TM", "D8FC", 1))
    sipm = parse_label(format_label("SP", "04", 1))
    assert catalogue.of_label(tile) is catalogue.format_of(tile) is catalogue.tile_formats["S2"]
    assert catalogue.of_label(module) is catalogue.shape_of(module)
    assert catalogue.shape_of(module).name == "D8F"
    assert catalogue.of_label(sipm) is None


@pytest.mark.parametrize(
    ("major", "subtype", "lookup", "reason"),
    [
        ("BC", "98", "of_label", "the catalogue has no tile format '98'"),
        ("TB", "D12F", "of_label", "the catalogue has no board shape 'D12F'"),
        ("SP", "04", "format_of", "names a SiPM, not a tile"),
        ("BC", "00", "shape_of", "names a tile, not a tileboard or tile module"),
        ("TM", "D8FC", "format_of", "names a tile module, not a tile"),
    ],
)
def test_what_the_catalogue_does_not_have_is_refused(major, subtype, lookup, reason):
    label = parse_label(format_label(major, subtype, 1))
    with pytest.raises(LabelError) as refused:
        getattr(load_catalogue(), lookup)(label)
    assert refused.value.reason == reason


@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, len(SQUARE_BOARD) - 1), st.integers(0, 8), st.text('[]{}="19.-\n ', max_size=3)
)
def test_a_damaged_site_file_is_used_whole_or_refused_by_name(site, at, cut, insert):
    path = site(SQUARE_BOARD[:at] + insert + SQUARE_BOARD[at + cut :])
    try:
        catalogue = load_catalogue(path)
    except SettingsError as error:
        refusal = error
    else:
        assert len(catalogue.board_shapes) >= 66
        return
    assert {problem.file for problem in refusal.problems} == {path}
    assert all(problem.line for problem in refusal.problems)


def test_the_example_of_the_guide_is_accepted(site):
    guide = Path(__file__).parents[3] / "docs" / "catalogue.md"
    example = guide.read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    catalogue = load_catalogue(site(example))
    assert {"S2"} < set(catalogue.tile_formats)
    assert {"D7L", "E6F"} < set(catalogue.board_shapes)
