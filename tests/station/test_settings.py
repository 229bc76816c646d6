from datetime import datetime
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field, field_validator

from station.settings import Settings, SettingsError, load_toml, read_settings


class Colour(Enum):
    RED = "red"


class Square(Settings):
    side_mm: float


class Disc(Settings):
    diameter_mm: float


class Board(Settings):
    name: str
    rows: Annotated[int, Field(ge=3, le=12)]
    marks: tuple[Square | Disc, ...] = ()

    @field_validator("name")
    @classmethod
    def short(cls, value: str) -> str:
        if len(value) > 5:
            raise ValueError("at most 5 characters")
        return value


class Limits(Settings):
    low: float | None = None
    high: float | None = None


class File(Settings):
    title: str
    size_mm: tuple[float, float] = (1.0, 2.0)
    colour: Colour = Colour.RED
    kind: Literal["x", "y"] = "x"
    folder: Path = Path()
    since: datetime | None = None
    board: tuple[Board, ...] = ()
    limits: dict[str, Limits] = Field(default_factory=dict)


@pytest.fixture
def load(tmp_path):
    def write_and_load(text: str) -> File:
        path = tmp_path / "site.toml"
        path.write_text(text, encoding="utf-8")
        return load_toml(path, File)

    return write_and_load


def refusal(load, text: str):
    with pytest.raises(SettingsError) as refused:
        load(text)
    (problem,) = refused.value.problems
    assert problem.file.name == "site.toml"
    return problem


def test_a_good_file_becomes_the_model(load):
    read = load(
        'title = "a"\nsize_mm = [3, 4.5]\ncolour = "red"\nfolder = "/x"\n'
        "since = 2026-01-02T03:04:05Z\n[[board]]\nname = 'D8F'\nrows = 8\n"
        "marks = [{ side_mm = 1 }, { diameter_mm = 2 }]\n[limits.gain]\nlow = 1\n"
    )
    assert read.size_mm == (3.0, 4.5)
    assert read.colour is Colour.RED
    assert read.folder == Path("/x")
    assert read.since is not None
    assert read.since.utcoffset() is not None
    assert read.board[0].marks == (Square(side_mm=1.0), Disc(diameter_mm=2.0))
    assert read.limits == {"gain": Limits(low=1.0)}


def test_an_error_says_file_line_field_what_was_found_and_what_was_expected(load):
    problem = refusal(load, '# x\ntitle = 7\n[[board]]\nname = "A"\nrows = 3\n')
    assert str(problem).endswith("site.toml:2: title: found 7, expected a valid string")


@pytest.mark.parametrize(
    ("text", "place", "found", "expected"),
    [
        ('title = "a"\nrows = "\n', (2, ""), "rows", "valid TOML: Illegal character"),
        ('title = "a"\ntitle = "b"\n', (2, ""), "title", "valid TOML: Cannot overwrite a value"),
        ('title = "a"\n[[board]\n', (2, ""), "[[board]", "valid TOML: Expected ']]'"),
        ('title = "a"\nsize_mm = [1,\n\n', (2, ""), "size_mm", "valid TOML: Invalid value"),
        ('title = "a"\nkind = "z"\n', (2, "kind"), "'z'", "'x' or 'y'"),
        ('title = "a"\ncolour = "blue"\n', (2, "colour"), "'blue'", "'red'"),
        ('title = "a"\n\nsize_mm = ["3", 4.0]\n', (3, "size_mm[0]"), "'3'", "a valid number"),
        ('title = "a"\nsize_mm = [\n3,\n]\n', (2, "size_mm[1]"), "no such field", "to be given"),
        ('title = "a"\n[limits]\ngain.low = nan\n', (3, "limits.gain.low"), "nan", "finite"),
        ('title = "a"\n[limits.gain]\nlow = inf\n', (3, "limits.gain.low"), "inf", "finite"),
        ('title = "a"\n[limits.gain]\nlaw = 1\n', (3, "limits.gain.law"), "unknown", "'low'"),
        ('title = "a"\n[limits.gain]\nx = 1\n', (3, "limits.gain.x"), "unknown", "high, low"),
        ('title = "a"\ntile = "b"\n', (2, "tile"), "unknown", "'title'"),
        ('title = "a"\n[extra.deep]\nx = 1\n', (2, "extra"), "unknown", "one of board, colour"),
        ('size_mm = [1, 2]\n', (1, "title"), "no such field", "to be given"),
        ('title = "a"\nboard = 3\n', (2, "board"), "3", "a valid array"),
        ('title = "a"\n\n[board]\nx = 1\n', (3, "board"), "a table", "a valid array"),
    ],
)  # fmt: skip
def test_each_mistake_is_found_on_its_line(load, text, place, found, expected):
    problem = refusal(load, text)
    assert (problem.line, problem.field) == place
    assert found in problem.found
    assert expected in problem.expected


BOARDS = """title = "boards"

[[board]]
name = "A5F"
rows = 5

[[board]]
name = "A6F"
rows = 6

[[board]]  # the third
name = "D8F"
{third}

[limits.gain]
low = 1.0
"""


@pytest.mark.parametrize(
    ("third", "line", "field"),
    [
        ("# rows is missing", 11, "board[2].rows"),
        ("rows = 8.0", 13, "board[2].rows"),
        ("rows = true", 13, "board[2].rows"),
        ("rows = 13", 13, "board[2].rows"),
        ("rows = 8\nrow = 9", 14, "board[2].row"),
        ("rows = 8\n[[board.marks]]\nside_mm = 1\n[[board.marks]]\nside = 1", 17, None),
        ("rows = 8\nmarks = [\n  { side_mm = 1 },\n  { side_mm = 'x' },\n]", 16, None),
    ],
)
def test_mistakes_in_the_third_board_are_found_there(load, third, line, field):
    with pytest.raises(SettingsError) as refused:
        load(BOARDS.format(third=third))
    assert line in {problem.line for problem in refused.value.problems}
    if field:
        assert [problem.field for problem in refused.value.problems] == [field]
    else:
        assert all(p.field.startswith("board[2].marks[1]") for p in refused.value.problems)


def test_the_models_own_refusal_is_passed_on(load):
    problem = refusal(load, 'title = "a"\n[[board]]\nname = "D8F-X9"\nrows = 8\n')
    assert (problem.line, problem.found) == (3, "'D8F-X9'")
    assert problem.expected == "at most 5 characters"


def test_all_mistakes_are_reported_in_the_order_of_their_lines(load):
    with pytest.raises(SettingsError) as refused:
        load('title = 1\nkind = "q"\n[[board]]\nrows = "x"\n[limits.gain]\nmid = 1\n')
    assert [(p.line, p.field) for p in refused.value.problems] == [
        (1, "title"),
        (2, "kind"),
        (3, "board[0].name"),
        (4, "board[0].rows"),
        (6, "limits.gain.mid"),
    ]
    assert len(str(refused.value).splitlines()) == 5


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path):
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(SettingsError, match=r"expected a readable settings file") as refused:
            load_toml(path, File)
        assert refused.value.problems[0].file == path
        assert refused.value.problems[0].line is None


def test_bytes_that_are_not_utf8_are_refused_on_their_line(tmp_path):
    path = tmp_path / "latin.toml"
    path.write_bytes(b'title = "a"\n# K\xf6ln\n')
    with pytest.raises(SettingsError, match=r"latin.toml:2: found the byte 0xf6, expected UTF-8"):
        load_toml(path, File)


def test_values_nested_without_end_are_refused(load):
    problem = refusal(load, "title = " + "[" * 100_000)
    assert problem.found == "values nested too deep"


def test_a_byte_order_mark_is_no_mistake(tmp_path):
    path = tmp_path / "bom.toml"
    path.write_bytes(b'\xef\xbb\xbftitle = "a"\r\n')
    assert load_toml(path, File).title == "a"


def test_a_model_that_would_ignore_unknown_fields_is_not_used(tmp_path):
    class Loose(BaseModel):
        x: int = 0

    class Outer(Settings):
        inner: dict[str, list[Loose]]

    with pytest.raises(TypeError, match="Loose does not forbid unknown fields"):
        load_toml(tmp_path / "x.toml", Outer)


def test_a_file_that_was_read_can_name_the_place_of_a_field_later(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('title = "a"\n[[board]]\nname = "A5F"\nrows = 5\n')
    problem = read_settings(path, File).problem(("board", 0, "rows"), "5", "6")
    assert str(problem) == f"{path}:4: board[0].rows: found 5, expected 6"


GOOD = BOARDS.format(third="rows = 8\nmarks = [{ side_mm = 1 }]")


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200
)
@given(
    st.integers(0, len(GOOD) - 1),
    st.integers(0, 12),
    st.text("[]{}=\"\n'#.,ax1-\\ ", max_size=6),
)
def test_a_damaged_file_is_read_or_refused_with_a_line_that_exists(tmp_path, at, cut, insert):
    path = tmp_path / "site.toml"
    text = GOOD[:at] + insert + GOOD[at + cut :]
    path.write_text(text)
    try:
        load_toml(path, File)
    except SettingsError as error:
        for problem in error.problems:
            assert problem.line is not None
            assert 1 <= problem.line <= text.count("\n") + 1
            assert problem.found
            assert problem.expected
