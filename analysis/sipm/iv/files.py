"""Reading current-voltage curves from the tables that instruments and laboratories write.

Columns separated by commas, semicolons, tabs or blanks, with or without header, units and comment
lines, decimal commas where the separator is none; times of day and units behind numbers are
understood. One voltage column and one or more current columns. The five columns that a SourceMeter
sends without a header (voltage, current, resistance, time, status) are known by their shape; of
other tables without a header only those of two columns.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.readers import decoded_text
from analysis.sipm.text_columns import Columns, SpectrumFileError, read_columns

Array = NDArray[np.float64]

UNIT = r"([fpnuµμmk]?)\s*(v(?:olts?)?|a(?:mps?|mperes?)?)"
BRACKET = re.compile(r"[\(\[]\s*([^\)\]]*?)\s*[\)\]]\s*$")
VOLTAGE_NAMES = re.compile(r"volt|bias|^(v|u|hv)(?![a-z])|^(v|u)_?(set|meas|bias|r|rev|smu|src)")
CURRENT_NAMES = re.compile(
    r"curr|leak|ampere|^i(?![a-z])|^i_?(meas|dark|smu|elm|d|r)$|idark|reading"
)
OTHER_NAMES = re.compile(
    r"time|stamp|index|^no\.?$|^#$|temp|humid|resist|status|sigma|std|err|unc|rms|rel|compl|limit"
)
SIGMA_NAMES = re.compile(r"(sigma|std|err|unc|rms)")
PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3, "k": 1e3}
CLOCK = re.compile(r"(\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4})[T ]+\d\d?:\d\d(:\d\d(\.\d+)?)?Z?")
TIME = re.compile(r"\b\d\d?:\d\d(:\d\d(\.\d+)?)?\b")
DATE = re.compile(r"\b\d{4}-\d\d-\d\d\b|\b\d\d?[./]\d\d?[./]\d{4}\b")
UNIT_BEHIND = re.compile(r"(?<=[\d.])\s?(VDC|ADC|NVDC|NADC|V|A)(?=$|[\s,;])")
OVERFLOW = 9e37
SMU_COLUMNS = 5
LARGEST_CURRENT = 3.0


@dataclass(frozen=True)
class IVTable:
    """One curve of a file: voltage_v, current_a, sigma_a (n,) or None; name of its current."""

    voltage_v: Array
    current_a: Array
    sigma_a: Array | None
    name: str


def read_iv(
    path: Path | str, *, voltage_column: int | None = None, current_column: int | None = None
) -> tuple[IVTable, ...]:
    """Read the curves of one file, one for every current column.

    voltage_column, current_column: counted from 1, where the file does not name its columns.

    Raises SpectrumFileError naming file, line and field; also where the columns' roles can't be
    told, and on a unit that is neither volt nor ampere.
    """
    file = Path(path)
    text = decoded_text(file)
    if not text.strip():
        raise SpectrumFileError(file, "the file is empty")
    columns = read_columns(file, _plain(text))
    width = columns.values.shape[1]
    if width < 2:
        raise SpectrumFileError(file, "one column is no curve", line=int(columns.line[0]))
    names = _names(columns)
    for column in (voltage_column, current_column):
        if column is not None and not 1 <= column <= width:
            raise SpectrumFileError(file, f"there is no column {column} of {width}")
    if voltage_column is not None and current_column is not None:
        voltage, currents = voltage_column - 1, [current_column - 1]
    elif names:
        voltage, currents = _named(file, columns, names)
    else:
        voltage, currents = _nameless(file, columns)
    if voltage_column is not None:
        voltage = voltage_column - 1
    if current_column is not None:
        currents = [current_column - 1]
    currents = [c for c in currents if c != voltage]
    if not currents:
        raise SpectrumFileError(file, "voltage and current are the same column")
    units = {c: _unit(file, columns, names, c) for c in (voltage, *currents)}
    volts = columns.values[:, voltage] * units[voltage]
    return tuple(
        IVTable(
            volts,
            columns.values[:, c] * units[c],
            _sigma(columns, names, c, units[c], len(currents)),
            names[c] if names else f"column {c + 1}",
        )
        for c in currents
    )


def _plain(text: str) -> str:
    """Dates and times of day as zeros, no units behind numbers."""
    lines = []
    for line in text.splitlines():
        if not re.match(r"\s*[\d.+\-\"]", line):
            lines.append(line)
            continue
        plain = DATE.sub("0", TIME.sub("0", CLOCK.sub("0", line)))
        lines.append(UNIT_BEHIND.sub("", plain.replace('"', "")))
    return "\n".join(lines)


def _names(columns: Columns) -> tuple[str, ...]:
    """Names of the columns in lower case, with their units; empty where there are none."""
    width = columns.values.shape[1]
    if columns.names and any(_role(name) for name in columns.names):
        return columns.names
    if columns.names and len(columns.header) > 1:
        units = columns.names
        above = re.split(r"[;,\t]|\s{2,}|\s(?![\(\[])", columns.header[-2].strip())
        above = [name.strip("\"' ").lower() for name in above if name.strip("\"' ")]
        if len(above) == width:
            return tuple(f"{name} [{unit}]" for name, unit in zip(above, units, strict=True))
    for line in reversed(columns.header):
        for split in (r"[;,\t]", r"\s{2,}", r"\s+(?![\(\[])"):
            names = [n.strip("\"' #%").lower() for n in re.split(split, line.strip())]
            names = [n for n in names if n]
            if len(names) == width and any(_role(name) for name in names):
                return tuple(names)
    return columns.names


def _role(name: str) -> str:
    """What a column holds by its name: voltage, current, or nothing known."""
    name = name.strip().lower()
    if OTHER_NAMES.search(name):
        return ""
    if VOLTAGE_NAMES.search(name):
        return "voltage"
    if CURRENT_NAMES.search(name):
        return "current"
    unit = _written_unit(name)
    if unit is None:
        return ""
    return "voltage" if unit[1] == "v" else "current"


def _written_unit(name: str) -> tuple[str, str] | None:
    """Prefix and v or a of the unit in a name."""
    inside = BRACKET.search(name)
    text = inside[1] if inside else re.split(r"[\s_/]", name)[-1]
    found = re.fullmatch(UNIT, text.strip(), re.IGNORECASE)
    return (found[1].lower(), found[2][0].lower()) if found else None


def _named(file: Path, columns: Columns, names: tuple[str, ...]) -> tuple[int, list[int]]:
    roles = [_role(name) for name in names]
    voltages = [i for i, role in enumerate(roles) if role == "voltage"]
    currents = [i for i, role in enumerate(roles) if role == "current"]
    if len(names) == 2 and not any(OTHER_NAMES.search(name) for name in names):
        if not voltages and not currents:
            return _nameless(file, columns)
        if not voltages and len(currents) == 1:
            voltages = [1 - currents[0]]
        if not currents and len(voltages) == 1:
            currents = [1 - voltages[0]]
    if not voltages or not currents:
        missing = "voltage" if not voltages else "current"
        raise SpectrumFileError(
            file,
            f"no column is named like a {missing} among {', '.join(names)}: say which it is",
            line=int(columns.line[0]),
        )
    measured = [i for i in voltages if re.search(r"meas|read|smu|real", names[i])]
    return (measured or voltages)[0], currents


def _nameless(file: Path, columns: Columns) -> tuple[int, list[int]]:
    values = columns.values
    width = values.shape[1]
    if width == SMU_COLUMNS and np.all(np.abs(values[:, 2]) > OVERFLOW):
        return 0, [1]
    if width == 2:
        largest = np.nanmax(np.abs(values), axis=0)
        if np.all(largest < LARGEST_CURRENT):
            return 0, [1]
        return (0, [1]) if largest[0] >= largest[1] else (1, [0])
    raise SpectrumFileError(
        file,
        f"{width} columns without names: say which holds the voltage and which the current",
        line=int(columns.line[0]),
    )


def _unit(file: Path, columns: Columns, names: tuple[str, ...], column: int) -> float:
    if not names:
        return 1.0
    name = names[column]
    unit = _written_unit(name)
    if unit is not None:
        return PREFIX.get(unit[0], 1.0)
    inside = BRACKET.search(name)
    if inside and inside[1] and not re.fullmatch(r"[\d.,;:\s]*", inside[1]):
        raise SpectrumFileError(
            file,
            f"the unit {inside[1]!r} is neither volt nor ampere",
            line=int(columns.line[0]) - 1 or None,
            field=name,
        )
    return 1.0


def _sigma(
    columns: Columns, names: tuple[str, ...], current: int, unit: float, n_currents: int
) -> Array | None:
    """The column of standard deviations behind the only current column, if it has such a name."""
    if not names or n_currents != 1 or current + 1 >= len(names):
        return None
    name = names[current + 1]
    if not SIGMA_NAMES.search(name) or "rel" in name or "%" in name:
        return None
    written = _written_unit(name)
    factor = unit if written is None else PREFIX.get(written[0], 1.0)
    sigma = columns.values[:, current + 1] * factor
    return sigma if np.all(sigma > 0) else None
