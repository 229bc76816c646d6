"""Numbers in columns of a text file, with the line and the field of what is not a number."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COMMENT = ("#", "%", "//", "!", "'", '"#')
NUMBER = re.compile(
    r"[+-]?(\d+\.?\d*|\.\d+)([eEdD][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE
)
DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")


class SpectrumFileError(Exception):
    """A file that is not a spectrum: says which file, which line and which field.

    line counts from 1 and is None where files have no lines; field names a column, an array or a
    histogram, and is None where the whole file is meant.
    """

    def __init__(
        self, file: Path | str, problem: str, *, line: int | None = None, field: str | None = None
    ) -> None:
        self.file, self.line, self.field, self.problem = str(file), line, field, problem
        where = self.file if line is None else f"{self.file}, line {line}"
        super().__init__(f"{where}: {problem}" if field is None else f"{where}, {field}: {problem}")


@dataclass(frozen=True)
class Columns:
    """Table of a text file: values (rows, columns), names (may be empty), text above the table.

    line: (rows,) line numbers in the file, from 1.
    """

    values: NDArray[np.float64]
    names: tuple[str, ...]
    header: tuple[str, ...]
    line: NDArray[np.int64]

    def name(self, column: int) -> str:
        """Header name of a column, or its number from 1."""
        return self.names[column] if self.names else f"column {column + 1}"


def read_columns(file: Path, text: str) -> Columns:
    """Find the table of numbers in a text and read it.

    Comment lines, blank lines and text above the table are skipped; of the files of multichannel
    analysers (sections <<DATA>> or $DATA:) only the data section is read. Raises
    SpectrumFileError on text inside the table, on rows of different length and when there is no
    table.
    """
    lines = text.splitlines()
    marks, lines = _data_section(lines)
    rows = [
        (number, line.strip())
        for number, line in enumerate(lines, 1)
        if line.strip() and not line.strip().startswith(COMMENT)
    ]
    split = _splitter([line for _, line in rows])
    fields = [(number, split(line)) for number, line in rows]
    begin = next((i for i, (_, row) in enumerate(fields) if _is_numeric(row)), None)
    if begin is None:
        raise SpectrumFileError(file, "no numbers in this file", line=len(lines) or None)
    table = fields[begin:]
    if begin and fields[begin - 1][1] and len(fields[begin - 1][1]) == len(table[0][1]):
        names = tuple(name.strip().strip("\"'").lower() for name in fields[begin - 1][1])
    else:
        names = _commented_names(lines, table[0], split)
    width = len(table[0][1])
    for number, row in table:
        if len(row) != width:
            raise SpectrumFileError(
                file, f"{len(row)} fields where the lines above have {width}", line=number
            )
    try:
        values = np.array([row for _, row in table], dtype=np.float64)
    except ValueError:
        values = np.array([_numbers(file, number, row, names) for number, row in table])
    return Columns(
        values.reshape(len(table), width),
        names,
        (*marks, *(line for _, line in rows[:begin])),
        np.array([number for number, _ in table], dtype=np.int64),
    )


def _data_section(lines: list[str]) -> tuple[list[str], list[str]]:
    """The mark of a multichannel analyser's data section, and the lines with all others blanked."""
    for number, line in enumerate(lines):
        mark = line.strip().upper()
        if mark in {"<<DATA>>", "$DATA:"}:
            begin = number + (2 if mark == "$DATA:" else 1)
            rest = enumerate(lines[begin:], begin)
            end = next((i for i, text in rest if text.strip().startswith(("<<", "$"))), len(lines))
            return [mark], [""] * begin + lines[begin:end]
    return [], lines


def _splitter(lines: list[str]) -> Callable[[str], list[str]]:
    """How the fields of a line are told apart: semicolon, tab, comma or blanks, in this order."""
    body = lines[len(lines) // 4 :] or lines
    for mark in (";", "\t"):
        if sum(mark in line for line in body) > 0.5 * len(body):
            return lambda line: [_point(field) for field in _stripped(line.split(mark))]
    commas = sum("," in line for line in body)
    blanks = sum(len(line.split()) > 1 for line in body)
    if commas > 0.5 * len(body):
        if blanks > 0.5 * len(body) and not any(", " in line for line in body):
            return lambda line: [_point(field) for field in line.split()]
        return lambda line: _stripped(line.split(","))
    return lambda line: line.split()


def _stripped(fields: list[str]) -> list[str]:
    fields = [field.strip() for field in fields]
    while len(fields) > 1 and not fields[-1]:
        fields.pop()
    return fields


def _point(field: str) -> str:
    """A decimal comma as a point."""
    return field.replace(",", ".") if DECIMAL_COMMA.fullmatch(field) else field


def _is_numeric(row: list[str]) -> bool:
    return bool(row) and all(NUMBER.fullmatch(field) for field in row)


def _commented_names(
    lines: list[str], first: tuple[int, list[str]], split: Callable[[str], list[str]]
) -> tuple[str, ...]:
    """Column names from a comment line right above the table."""
    number, row = first
    above = lines[number - 2].strip() if number > 1 else ""
    for mark in COMMENT:
        if above.startswith(mark):
            for names in (split(above[len(mark) :].strip()), above[len(mark) :].split()):
                if len(names) == len(row) and not _is_numeric(names):
                    return tuple(name.strip("\"'").lower() for name in names)
    return ()


def _numbers(file: Path, number: int, row: list[str], names: tuple[str, ...]) -> list[float]:
    values = []
    for column, field in enumerate(row):
        if not NUMBER.fullmatch(field):
            name = names[column] if names else f"column {column + 1}"
            raise SpectrumFileError(file, f"{field!r} is not a number", line=number, field=name)
        values.append(float(re.sub("[dD]", "e", field)))
    return values
