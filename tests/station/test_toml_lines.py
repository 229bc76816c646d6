import json
import tomllib

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from station.toml_lines import KeyPath, key_lines

NASTY = st.sampled_from(
    ["a = 1", "[x]", "[[x]]", "# no", "'", '"', '"""', "'''", *"\\}],=\né\t\x7f\x01", "x y"]
)
STRINGS = st.lists(NASTY, max_size=5).map("".join)
KEYS = st.sampled_from(["a", "b", "c-1", "_d", "7", "e.f", "g h", "", "ключ", 'q"q', "it's", "[z]"])
SCALARS = st.integers(-(2**40), 2**40) | st.booleans() | st.floats(-1e6, 1e6) | STRINGS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=12,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=5)


class Writer:
    """Writes a document in one of the many ways TOML allows and notes where each key went."""

    def __init__(self, draw) -> None:
        self.draw = draw
        self.text = ""
        self.where: dict[KeyPath, int] = {}

    def choose(self, *choices):
        return self.draw(st.sampled_from(choices))

    def note(self, path: KeyPath) -> None:
        self.where.setdefault(path, self.text.count("\n") + 1)

    def key(self, key: str) -> str:
        forms = [quoted(key)]
        if key.isascii() and key and key.replace("-", "").replace("_", "").isalnum():
            forms.append(key)
        if "'" not in key:
            forms.append(f"'{key}'")
        return self.choose(*forms)

    def filler(self) -> None:
        self.text += self.choose("", "", "\n", "  # a = [1]\n", "\n\t# '''\n")

    def table(self, table: dict, path: KeyPath, header: tuple[str, ...]) -> None:
        later = []
        for key, value in table.items():
            is_table = isinstance(value, dict) or is_list_of_tables(value)
            if is_table and self.choose("header", "here") == "header":
                later.append((key, value))
            else:
                self.entry((key,), value, path)
                self.text += self.choose("\n", " # x = 1\n", "\n\n")
        for key, value in later:
            if isinstance(value, dict):
                self.header("[", (*header, key), "]", (*path, key))
                self.table(value, (*path, key), (*header, key))
            else:
                for index, element in enumerate(value):
                    self.header("[[", (*header, key), "]]", (*path, key, index))
                    self.table(element, (*path, key, index), (*header, key))

    def header(self, opening: str, keys: tuple[str, ...], closing: str, path: KeyPath) -> None:
        self.filler()
        self.text += "" if self.text.endswith("\n") or not self.text else "\n"
        self.note(path)
        if path[-1] == 0:
            self.note(path[:-1])
        self.text += opening + self.choose(".", " . ").join(map(self.key, keys)) + closing + "\n"

    def entry(self, keys: tuple[str, ...], value, path: KeyPath) -> None:
        """`keys = value`, or with a non-empty table its entries by dotted keys."""
        full = (*path, *keys)
        if isinstance(value, dict) and value and self.choose("dotted", "inline") == "dotted":
            for index, (key, inner) in enumerate(value.items()):
                self.text += "\n" if index else ""
                self.entry((*keys, key), inner, path)
            return
        for depth in range(len(path) + 1, len(full) + 1):
            self.note(full[:depth])
        self.text += self.choose(".", " .\t").join(map(self.key, keys)) + self.choose("=", " = ")
        self.value(value, full)

    def value(self, value, path: KeyPath) -> None:
        if isinstance(value, dict):
            self.text += "{"
            for index, (key, inner) in enumerate(value.items()):
                self.text += ", " if index else " "
                self.note((*path, key))
                self.text += self.key(key) + " = "
                self.value(inner, (*path, key))
            self.text += " }"
        elif isinstance(value, list):
            self.text += "["
            for index, inner in enumerate(value):
                self.text += "," if index else ""
                self.text += self.choose("", " ", "\n  ", " # [\n\n")
                self.note((*path, index))
                self.value(inner, (*path, index))
            self.text += self.choose("", ",", " ,\n") if value else self.choose("", "\n")
            self.text += "]"
        elif isinstance(value, str):
            self.text += self.string(value)
        else:
            self.text += json.dumps(value)

    def string(self, value: str) -> str:
        forms = [quoted(value)]
        plain = all(c.isprintable() or c == "\t" for c in value)
        if plain and "'" not in value:
            forms.append(f"'{value}'")
        if all(c.isprintable() or c in "\t\n" for c in value):
            forms.append('"""\n' + value.replace("\\", "\\\\").replace('"', '\\"') + '"""')
            if "'''" not in value and not value.endswith("'"):
                forms.append(f"'''\n{value}'''")
                forms.append(f"'''\n{value}'''")
        return self.choose(*forms)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def is_list_of_tables(value) -> bool:
    return bool(value) and isinstance(value, list) and all(isinstance(v, dict) for v in value)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.data(), DOCUMENTS)
def test_every_key_is_found_on_the_line_where_it_was_written(data, document):
    writer = Writer(data.draw)
    writer.table(document, (), ())
    text = writer.text
    assert tomllib.loads(text) == document
    assert key_lines(text) == writer.where


def test_sub_tables_of_arrays_of_tables_belong_to_the_last_element():
    lines = key_lines("[[b]]\nx = 1\n[[b]]\n[b.c]\ny = 1\n[[b.d]]\n[[b.d]]\nz.w = 1\n")
    assert lines[("b",)] == 1
    assert lines[("b", 0, "x")] == 2
    assert lines[("b", 1)] == 3
    assert lines[("b", 1, "c", "y")] == 5
    assert lines[("b", 1, "d", 1, "z", "w")] == 8
    assert ("b", 0, "c") not in lines


def test_strings_with_quotes_at_their_end_do_not_swallow_what_follows():
    text = 'a = """x"""""\nb = \'\'\'y\'\'\'\'\'\nc = """\nz\\"""" # "\nd = 1\n'
    assert tomllib.loads(text)["c"] == 'z"'
    assert {key[0]: line for key, line in key_lines(text).items()} == {
        "a": 1, "b": 2, "c": 3, "d": 5,
    }  # fmt: skip


def test_lines_count_the_same_in_files_from_windows():
    assert key_lines('a = """\r\nx\r\n"""\r\nb = 1\r\n')[("b",)] == 4


def test_dates_and_special_numbers_are_stepped_over():
    text = "a = 1979-05-27 07:32:00Z # t\nb = [inf, -nan, 0xFF, 07:32:00]\nc = 1_000\n"
    lines = key_lines(text)
    assert lines[("b", 3)] == 2
    assert lines[("c",)] == 3
