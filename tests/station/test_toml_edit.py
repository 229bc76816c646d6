"""Changing values in a TOML file: what a person wrote around them stays."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.toml_edit import EditRefusedError, with_values
from station.toml_lines import KeyPath
from station.toml_text import toml_value

EXAMPLE = (Path(__file__).parents[2] / "docs" / "line-example.toml").read_text(encoding="utf-8")
TEXT = """\
# of our line
version = 1

[camera]            # above the tray
mm_per_px = 0.06    # measured
url = "a # b"
corners = [1, 2]    # two
empty = {}

# the gantry
[gantry]
port = '/dev/ttyUSB0'

[[gantry.zones]]
name = "post"
"""


def test_a_value_changes_and_its_comment_stays_in_its_column() -> None:
    edited = with_values(TEXT, {("camera", "mm_per_px"): 0.0612345})
    before, after = TEXT.splitlines(), edited.splitlines()
    changed = [n for n, (a, b) in enumerate(zip(before, after, strict=True)) if a != b]
    assert changed == [4]
    assert after[4] == "mm_per_px = 0.0612345  # measured"
    near = with_values(TEXT, {("camera", "mm_per_px"): 0.061}).splitlines()[4]
    assert near.index("#") == before[4].index("#")


def test_a_new_key_goes_to_the_end_of_its_table() -> None:
    edited = with_values(TEXT, {("gantry", "backlash_mm"): (0.04, 0.03, 0.01)})
    lines = edited.splitlines()
    assert lines[lines.index("port = '/dev/ttyUSB0'") + 1] == "backlash_mm = [0.04, 0.03, 0.01]"
    assert [line for line in lines if line not in TEXT.splitlines()] == [
        "backlash_mm = [0.04, 0.03, 0.01]"
    ]


def test_an_array_and_a_string_that_looks_like_a_comment_are_understood() -> None:
    edited = with_values(TEXT, {("camera", "corners"): (3.5, 4.5), ("camera", "url"): 'new "one"'})
    camera = tomllib.loads(edited)["camera"]
    assert camera["corners"] == [3.5, 4.5]
    assert camera["url"] == 'new "one"'
    assert "# two" in edited


@pytest.mark.parametrize(
    ("text", "path", "told"),
    [
        (TEXT, ("chiller", "port"), r"no table \[chiller\]"),
        (TEXT, ("camera", "empty", "inner"), "no table"),
        ("[a]\nb = [\n  1,\n  2,\n]\n", ("a", "b"), "not alone on its line"),
        ("a = {b = 1}\n", ("a", "b"), "not alone on its line"),
        ('[a]\nb = """long\ntext"""\n', ("a", "b"), "not alone on its line"),
    ],
)
def test_what_can_not_be_changed_alone_is_refused(
    text: str, path: tuple[str, ...], told: str
) -> None:
    with pytest.raises(EditRefusedError, match=told):
        with_values(text, {path: 5})


def test_windows_line_ends_stay() -> None:
    edited = with_values(TEXT.replace("\n", "\r\n"), {("camera", "mm_per_px"): 0.07})
    assert edited.count("\r\n") == TEXT.count("\n")
    assert "\n" not in edited.replace("\r\n", "")


SCALARS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(-(2**53), 2**53),
    st.booleans(),
    st.text(st.characters(blacklist_categories=("Cs", "Cc")), max_size=20),
)


@given(st.one_of(SCALARS, st.lists(st.floats(-1e6, 1e6), max_size=4)))
def test_any_value_is_read_back_as_it_was_given(value: Any) -> None:
    assert tomllib.loads(f"key = {toml_value(value)}")["key"] == value


@given(
    st.dictionaries(
        st.sampled_from(
            [
                ("camera", "mm_per_px"),
                ("camera", "rotation_rad"),
                ("gantry", "safe_z_mm"),
                ("board", "new_key"),
                ("target", "pitch_mm"),
            ]
        ),
        st.floats(-1e9, 1e9),
        min_size=1,
    )
)
def test_only_the_named_values_of_a_profile_change(values: dict[KeyPath, float]) -> None:
    edited = with_values(EXAMPLE, values)
    before, after = tomllib.loads(EXAMPLE), tomllib.loads(edited)
    for (table, key), value in values.items():
        assert after[str(table)][str(key)] == value
        before[str(table)][str(key)] = value
    assert before == after
    comments = [line.split("#", 1)[1] for line in EXAMPLE.splitlines() if "#" in line]
    assert [line.split("#", 1)[1] for line in edited.splitlines() if "#" in line] == comments
