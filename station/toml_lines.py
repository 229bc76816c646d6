"""Where the keys of a TOML document stand: tomllib gives the values but not their lines."""

import re
import tomllib
from bisect import bisect_left
from collections.abc import Mapping

KeyPath = tuple[str | int, ...]

_BLANK = re.compile(r"[ \t]*")
_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^"\\]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> Mapping[KeyPath, int]:
    """Line (from 1) of every key, table and array element of a valid TOML document.

    A path holds keys and, for elements of arrays and arrays of tables, indices from 0. The line of
    a table or of an array of tables is that of its first mention, the line of one of its elements
    is that of its `[[header]]`.

    Args:
        text: a document that `tomllib.loads` accepts.
    """
    return _Scan(text).document()


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text.replace("\r\n", "\n")
        self.at = 0
        self.line_ends = [end.start() for end in re.finditer("\n", self.text)]
        self.lines: dict[KeyPath, int] = {}
        self.array_tables: dict[KeyPath, int] = {}

    def document(self) -> Mapping[KeyPath, int]:
        table: KeyPath = ()
        self.skip(_GAP)
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self.header(2)
            elif self.text[self.at] == "[":
                table = self.header(1)
            else:
                self.key_value(table)
            self.skip(_GAP)
        return self.lines

    def header(self, brackets: int) -> KeyPath:
        self.at += brackets
        keys = self.dotted_key()
        self.at += brackets
        path: KeyPath = ()
        for depth, (key, line) in enumerate(keys, start=1):
            path = (*path, key)
            self.note(path, line)
            if brackets == 2 and depth == len(keys):
                self.array_tables[path] = self.array_tables.get(path, 0) + 1
            if path in self.array_tables:
                path = (*path, self.array_tables[path] - 1)
                self.note(path, line)
        return path

    def key_value(self, table: KeyPath) -> None:
        path = table
        for key, line in self.dotted_key():
            path = (*path, key)
            self.note(path, line)
        self.at += 1
        self.skip(_BLANK)
        self.value(path)

    def dotted_key(self) -> list[tuple[str, int]]:
        """The parts of a dotted key with their lines; leaves `at` on what follows (`=` or `]`)."""
        keys = []
        while True:
            self.skip(_BLANK)
            line = self.line()
            keys.append((self.simple_key(), line))
            self.skip(_BLANK)
            if self.text[self.at] != ".":
                return keys
            self.at += 1

    def simple_key(self) -> str:
        match self.text[self.at]:
            case '"':
                decoded: str = tomllib.loads(f"key = {self.take(_BASIC)}")["key"]
                return decoded
            case "'":
                return self.take(_LITERAL)[1:-1]
            case _:
                return self.take(_BARE_KEY)

    def value(self, path: KeyPath) -> None:
        text, at = self.text, self.at
        if text.startswith('"""', at):
            self.skip(_LONG_BASIC)
        elif text.startswith("'''", at):
            self.skip(_LONG_LITERAL)
        elif text[at] == '"':
            self.skip(_BASIC)
        elif text[at] == "'":
            self.skip(_LITERAL)
        elif text[at] == "[":
            self.array(path)
        elif text[at] == "{":
            self.inline_table(path)
        else:
            self.skip(_SCALAR)

    def array(self, path: KeyPath) -> None:
        self.at += 1
        index = 0
        self.skip(_GAP)
        while self.text[self.at] != "]":
            self.note((*path, index), self.line())
            self.value((*path, index))
            index += 1
            self.skip(_GAP)
            self.comma()
        self.at += 1

    def inline_table(self, path: KeyPath) -> None:
        self.at += 1
        self.skip(_GAP)
        while self.text[self.at] != "}":
            self.key_value(path)
            self.skip(_GAP)
            self.comma()
        self.at += 1

    def comma(self) -> None:
        if self.text[self.at] == ",":
            self.at += 1
            self.skip(_GAP)

    def skip(self, pattern: re.Pattern[str]) -> None:
        self.take(pattern)

    def take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"line {self.line()}: not a valid TOML document")
        self.at = found.end()
        return found.group()

    def line(self) -> int:
        return bisect_left(self.line_ends, self.at) + 1

    def note(self, path: KeyPath, line: int) -> None:
        self.lines.setdefault(path, line)
