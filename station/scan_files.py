"""Scans from files: tables of gains or of spectra, and spectra whose names tell the conditions."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import isfinite
from pathlib import Path
from typing import Literal

from analysis.estimate import Estimate, unknown
from analysis.sipm.gain import extract_gain
from analysis.sipm.readers import SpectrumFileError, read_spectrum
from analysis.sipm.scans import ScanPoint
from analysis.sipm.spectrum import Spectrum
from station.scan_names import Conditions, conditions_by, conditions_of

Against = Literal["bias", "temperature", "light", "both"]
ALIASES = {
    "file": ("file", "spectrum", "path", "filename", "on"),
    "off": ("off", "off_file", "light_off"),
    "bias_v": ("bias_v", "bias", "voltage_v", "voltage", "vbias", "v"),
    "overvoltage_v": ("overvoltage_v", "overvoltage", "ov_v", "ov"),
    "temperature_c": ("temperature_c", "temperature", "temp_c", "temp", "t"),
    "light": ("light", "light_pe", "light_yield", "led", "led_a"),
    "gain": ("gain", "gain_adc"),
    "sigma": ("sigma", "gain_sigma", "gain_error", "error", "err"),
    "shared_sigma": ("shared_sigma",),
    "bias_sigma_v": ("bias_sigma_v", "bias_sigma"),
}
SAME_BIAS_V = 0.02
SAME_TEMPERATURE_K = 1.0


class ScanError(Exception):
    """The request can't be done as it stands."""


@dataclass(frozen=True)
class MeasuredPoint:
    """One point of a scan and where it comes from.

    source: file, or table and line. overvoltage: whether bias_v counts from a nominal breakdown.
    readable: False when its file could not be read; the gain then says why.
    """

    source: str
    point: ScanPoint
    overvoltage: bool = False
    readable: bool = True


@dataclass(frozen=True)
class Scan:
    """Points that belong together: of one table, or of all spectra named one by one."""

    source: str
    points: tuple[MeasuredPoint, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Row:
    line: int
    cells: Mapping[str, str]


def read_scans(
    inputs: Sequence[str],
    *,
    pattern: re.Pattern[str] | None = None,
    off: str | None = None,
    nominal_vbd_v: float | None = None,
) -> list[Scan]:
    """Every table is a scan of its own; all other inputs are the spectra of one scan.

    pattern: for the names of spectra, see scan_names. off: light-off spectrum of all points that
    name none. nominal_vbd_v: added to overvoltages to give the bias.

    Raises ScanError, naming file, line and field, when a table or the light-off file can't be
    used or a name does not tell the voltage; a spectrum that can't be read is an unreadable point.
    """
    scans, spectra = [], []
    for name in inputs:
        rows = _table(name)
        if rows is None:
            spectra.append(name)
        else:
            scans.append(_scan_of_table(name, rows, off, nominal_vbd_v))
    if spectra:
        scans.append(_scan_of_spectra(spectra, pattern, off, nominal_vbd_v))
    return scans


def recognised(points: Sequence[ScanPoint]) -> Against:
    """What a scan is against, from what varies among its points."""
    known = [point for point in points if point.gain.known] or list(points)
    biases = _groups([p.bias_v for p in known], SAME_BIAS_V)
    temperatures = _groups([p.temperature_c for p in known], SAME_TEMPERATURE_K)
    lights = len({p.light for p in known if p.light is not None})
    if biases >= 2 and temperatures >= 2:
        return "both"
    if biases >= 2:
        return "bias"
    if temperatures >= 2:
        return "temperature"
    return "light" if lights >= 2 else "bias"


def _groups(values: Sequence[float | None], gap: float) -> int:
    ordered = sorted(value for value in values if value is not None and isfinite(value))
    steps = sum(b - a > gap for a, b in pairwise(ordered))
    return steps + 1 if ordered else 0


def _table(name: str) -> list[_Row] | None:
    """Rows of a table of a scan; None when the file is none and may be a spectrum."""
    file = Path(name)
    if not file.is_file() or file.stat().st_size > 20_000_000:
        return None
    raw = file.read_bytes()
    if b"\0" in raw[:4096] or raw.startswith(b"\x1f\x8b"):
        return None
    text = raw.decode("utf-8-sig", errors="replace")
    lines = [
        (number, line)
        for number, line in enumerate(text.splitlines(), 1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    if not lines:
        return None
    mark = next((mark for mark in ";\t," if mark in lines[0][1]), None)
    header = [_column(cell) for cell in _cells(lines[0][1], mark)]
    axes = {"bias_v", "overvoltage_v", "temperature_c", "light"}
    if not axes & set(header) or not {"file", "gain"} & set(header):
        return None
    twice = {column for column in header if column and header.count(column) > 1}
    if twice:
        raise ScanError(f"{name}, line {lines[0][0]}: two columns {', '.join(sorted(twice))}")
    rows = []
    for number, line in lines[1:]:
        cells = _cells(line, mark)
        if len(cells) > len(header):
            raise ScanError(
                f"{name}, line {number}: {len(cells)} fields where the header has {len(header)}"
            )
        cells += [""] * (len(header) - len(cells))
        rows.append(_Row(number, {c: cell for c, cell in zip(header, cells, strict=True) if c}))
    if not rows:
        raise ScanError(f"{name}: the table has no rows")
    return rows


def _cells(line: str, mark: str | None) -> list[str]:
    if mark is None:
        return line.split()
    return [cell.strip() for cell in next(csv.reader(io.StringIO(line), delimiter=mark))]


def _column(name: str) -> str:
    """A column's own name; empty for one that is not known."""
    plain = re.sub(r"[\[(].*", "", name).strip().lower().replace(" ", "_")
    return next((own for own, aliases in ALIASES.items() if plain in aliases), "")


def _scan_of_table(
    name: str, rows: Sequence[_Row], off: str | None, nominal_vbd_v: float | None
) -> Scan:
    points = []
    for row in rows:
        number = _Numbers(name, row)
        bias, overvoltage = number("bias_v"), number("overvoltage_v")
        is_over = bias is None and overvoltage is not None and nominal_vbd_v is None
        if bias is None and overvoltage is not None:
            bias = overvoltage + (nominal_vbd_v or 0.0)
        gain, source, readable = _gain_of_row(name, row, number, off)
        try:
            point = ScanPoint(
                float("nan") if bias is None else bias,
                number("temperature_c"),
                gain,
                number("shared_sigma") or 0.0,
                number("bias_sigma_v") or 0.0,
                number("light"),
            )
        except ValueError as error:
            raise ScanError(f"{name}, line {row.line}: {error}") from error
        points.append(MeasuredPoint(source, point, is_over, readable))
    return _one_scale(Scan(name, tuple(points)))


@dataclass(frozen=True)
class _Numbers:
    """The numbers of a row; ScanError names table, line and column of what is none."""

    name: str
    row: _Row

    def __call__(self, column: str) -> float | None:
        text = self.row.cells.get(column, "")
        if not text:
            return None
        try:
            return float(text.replace(",", "."))
        except ValueError as error:
            raise ScanError(
                f"{self.name}, line {self.row.line}, {column}: {text!r} is not a number"
            ) from error


def _gain_of_row(
    name: str, row: _Row, number: _Numbers, off: str | None
) -> tuple[Estimate, str, bool]:
    where = f"{name}:{row.line}"
    if "gain" in row.cells:
        value, sigma = number("gain"), number("sigma")
        if "sigma" not in row.cells:
            raise ScanError(f"{name}, line {row.line}: gains need their errors in a column sigma")
        if value is None or not isfinite(value):
            return unknown("ADC/pe", "table", "the table has no gain here"), where, True
        if sigma is None or not isfinite(sigma) or sigma < 0:
            shown = row.cells["sigma"] or "nothing"
            return unknown("ADC/pe", "table", f"{shown} is no error of a gain"), where, True
        return Estimate(value, sigma, "ADC/pe", "table"), where, True
    file = row.cells["file"]
    if not file:
        raise ScanError(f"{name}, line {row.line}, file: no file is named")
    source = _beside(name, file)
    dark = row.cells.get("off", "")
    gain, readable = _gain_of_spectrum(source, _beside(name, dark) if dark else off)
    return gain, source, readable


def _beside(table: str, file: str) -> str:
    return file if Path(file).is_absolute() else str(Path(table).parent / file)


def _scan_of_spectra(
    files: Sequence[str],
    pattern: re.Pattern[str] | None,
    off: str | None,
    nominal_vbd_v: float | None,
) -> Scan:
    told = [_conditions(file, pattern) for file in files]
    notes = tuple(dict.fromkeys(note for one in told for note in one.notes))
    varied = {c.light for c in told} - {None}
    points = []
    for file, one in zip(files, told, strict=True):
        bias, is_over = one.bias_v, False
        if bias is None and one.overvoltage_v is not None:
            bias, is_over = one.overvoltage_v + (nominal_vbd_v or 0.0), nominal_vbd_v is None
        if bias is None and one.temperature_c is None and len(varied) < 2:
            _read(file)
            raise ScanError(
                f"{file}: its name tells no bias, temperature or light; give a table with columns "
                "file,bias_v,temperature_c or --bias-pattern"
                + "".join(f" ({note})" for note in one.notes)
            )
        gain, readable = _gain_of_spectrum(file, off)
        point = ScanPoint(
            float("nan") if bias is None else bias, one.temperature_c, gain, light=one.light
        )
        points.append(MeasuredPoint(file, point, is_over, readable))
    source = files[0] if len(files) == 1 else f"{len(files)} spectra, {files[0]} ..."
    return _one_scale(Scan(source, tuple(points), notes))


def _conditions(file: str, pattern: re.Pattern[str] | None) -> Conditions:
    if pattern is None:
        return conditions_of(file)
    try:
        return conditions_by(pattern, file)
    except ValueError as error:
        raise ScanError(f"{file}: {error}") from error


def _one_scale(scan: Scan) -> Scan:
    """The scan, if its voltages count from one zero."""
    scales = {one.overvoltage for one in scan.points if isfinite(one.point.bias_v)}
    if len(scales) > 1:
        raise ScanError(
            f"{scan.source}: some points tell the bias and some the overvoltage; --vbd gives the "
            "nominal breakdown voltage that the overvoltages count from"
        )
    if scales == {True}:
        note = "voltages are overvoltages: vbd_gain counts from their nominal breakdown voltage"
        return replace(scan, notes=(*scan.notes, note))
    return scan


def _gain_of_spectrum(file: str, off: str | None) -> tuple[Estimate, bool]:
    try:
        on = read_spectrum(file)
    except SpectrumFileError as error:
        return unknown("ADC/pe", "none", str(error)), False
    return extract_gain(on, None if off is None else _read(off)).gain, True


def _read(file: str) -> Spectrum:
    try:
        return read_spectrum(file)
    except SpectrumFileError as error:
        raise ScanError(str(error)) from error
