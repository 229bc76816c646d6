"""Changing values in a TOML file and nothing else: comments, order and spacing stay."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from station.toml_lines import KeyPath, key_lines
from station.toml_text import toml_value


class EditRefusedError(ValueError):
    """A value that can't be written without touching something else; the message says which."""


_VALUE = re.compile(
    r"""^(?P<before>\s*(?:"[^"]*"|'[^']*'|[A-Za-z0-9_-]+)\s*=[ \t]*)
        (?P<value>\[[^\]\n]*\]|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s#\[\]{}"']+)
        (?P<after>[ \t]*(?:\#.*)?)$""",
    re.VERBOSE,
)
_HEADER = re.compile(r"^\s*\[")


def with_values(text: str, values: Mapping[KeyPath, Any]) -> str:
    """The document with these keys set; a key that is not there yet goes to its table's end.

    values: (table, key) or deeper -> scalar or array of scalars. Only keys in tables with a
    header `[table]` are changed, each on a line of its own.

    Raises EditRefusedError for a table that is not there, a value over several lines or inside an
    inline table, and when anything else would change; the text is then not to be used.
    """
    before = tomllib.loads(text)
    newline = "\r\n" if "\r\n" in text else "\n"
    for path, value in values.items():
        text = _with_value(text, path, value, newline)
    _check(before, tomllib.loads(text), values)
    return text


def _with_value(text: str, path: KeyPath, value: Any, newline: str) -> str:
    lines = text.split(newline)
    where = key_lines(text.replace("\r\n", "\n"))
    name = ".".join(str(step) for step in path)
    if path in where:
        number = where[path] - 1
        found = _VALUE.match(lines[number])
        if found is None:
            raise EditRefusedError(
                f"line {number + 1}: the value of {name} is not alone on its line; write "
                f"{name} = {toml_value(value)} there by hand"
            )
        lines[number] = _aligned(found, toml_value(value))
        return newline.join(lines)
    table = path[:-1]
    if table not in where or not _HEADER.match(lines[where[table] - 1]):
        raise EditRefusedError(f"there is no table [{'.'.join(str(s) for s in table)}] for {name}")
    at = _end_of_table(lines, where[table])
    lines.insert(at, f"{path[-1]} = {toml_value(value)}")
    return newline.join(lines)


def _aligned(found: "re.Match[str]", written: str) -> str:
    """The line with another value; a comment behind it stays in its column where it can."""
    after = found["after"]
    if "#" in after:
        gap = len(after) - len(after.lstrip(" \t"))
        wanted = len(found["value"]) + gap - len(written)
        after = " " * max(wanted, 2) + after.lstrip(" \t")
    return found["before"] + written + after


def _end_of_table(lines: list[str], header: int) -> int:
    """Where a new key goes: behind the last key of the table whose header is on this line."""
    last = header
    for number in range(header, len(lines)):
        line = lines[number].strip()
        if _HEADER.match(lines[number]) and not line.endswith(","):
            break
        if line and not line.startswith("#"):
            last = number + 1
    return last


def _check(before: Any, after: Any, values: Mapping[KeyPath, Any]) -> None:
    expected = before
    for path, value in values.items():
        expected = _set(expected, path, list(value) if isinstance(value, tuple) else value)
    if expected != after:
        raise EditRefusedError("another value would change too; write the values by hand")


def _set(tree: Any, path: KeyPath, value: Any) -> Any:
    if not path:
        return value
    step, rest = path[0], path[1:]
    if isinstance(tree, list):
        assert isinstance(step, int)
        return [*tree[:step], _set(tree[step], rest, value), *tree[step + 1 :]]
    inner = tree.get(step, {}) if isinstance(tree, dict) else {}
    return {**tree, step: _set(inner, rest, value)}
