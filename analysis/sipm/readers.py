"""Reading spectra from the files that laboratories write.

Text: one column of single charges, or two columns of position and counts, separated by commas,
semicolons, tabs or blanks, with or without header and comment lines; decimal commas are understood
where the separator is not a comma. A file of one column is taken as counts per channel when its
header says so, or when neighbouring numbers follow each other the way a histogram does and single
events cannot. Compressed with gzip or not.
NPZ and NPY: arrays `counts` with `edges` or `centers`, or `charges`.
ROOT: a one-dimensional histogram, or a branch of single charges in a tree.

Positions in text files are bin centres: ADC channels 0, 1, 2 ... stand for all charges that round
to them. They are low edges when the header says so (a name with "low", "left" or "edge").
"""

import gzip
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.spectrum import MAX_BINS, Spectrum
from analysis.sipm.text_columns import Columns, SpectrumFileError, read_columns

__all__ = ["SpectrumFileError", "read_spectrum"]

ROOT_NAME = re.compile(r"(?P<file>.+\.root):(?P<inside>.+)", re.IGNORECASE)
COUNT_NAMES = re.compile(r"count|entr|content|freq|hits|events$|occur|number|^n$|^y$")
POSITION_NAMES = re.compile(
    r"energy|adc|charge|ampl|channel|^ch$|bin|center|centre|edge|low|left|^x$|pulse|height|qdc|mv"
)
EVENT_NAMES = re.compile(r"^(event|evt|trigger|trig|index|entry|id|time|timestamp).*|^#$")
EDGE_NAMES = re.compile(r"low|left|edge")
ARRAYS_OF_COUNTS = ("counts", "hist", "values", "y", "n")
ARRAYS_OF_EDGES = ("edges", "bin_edges", "bins")
ARRAYS_OF_CENTERS = ("centers", "centres", "x", "adc", "bin_centers")
ARRAYS_OF_CHARGES = ("charges", "charge", "adc", "data", "arr_0")

Array = NDArray[np.float64]


def read_spectrum(path: Path | str, *, bin_width: float = 1.0) -> Spectrum:
    """Read one spectrum.

    path: a file; for ROOT optionally "file.root:histogram" or "file.root:tree/branch".
    bin_width: ADC per bin, used for lists of single charges only.

    Raises SpectrumFileError naming the file and, where there is one, line and field.
    """
    named = ROOT_NAME.fullmatch(str(path))
    file = Path(named["file"]) if named else Path(path)
    try:
        head = _head(file)
    except OSError as error:
        raise SpectrumFileError(file, f"cannot be read: {error.strerror or error}") from error
    if not head:
        raise SpectrumFileError(file, "the file is empty")
    if head.startswith(b"root"):
        return _read_root(file, named["inside"] if named else None, bin_width)
    if head.startswith((b"PK\x03\x04", b"\x93NUMPY")):
        return _read_numpy(file, bin_width)
    return _read_text(file, bin_width)


def _head(file: Path) -> bytes:
    with file.open("rb") as stream:
        return stream.read(8)


def decoded_text(file: Path) -> str:
    """Content of a text file in any usual encoding, gzip or plain; SpectrumFileError if binary."""
    try:
        raw = file.read_bytes()
        if raw.startswith(b"\x1f\x8b"):
            raw = gzip.decompress(raw)
    except (OSError, EOFError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SpectrumFileError(file, f"cannot be read: {reason}") from error
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")):
        return raw.decode("utf-16", errors="replace")
    if b"\0" in raw[:4096]:
        raise SpectrumFileError(file, "not a text file")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _read_text(file: Path, bin_width: float) -> Spectrum:
    columns = read_columns(file, decoded_text(file))
    meta = {"file": str(file), "header": columns.header, "columns": columns.names}
    width = columns.values.shape[1]
    if width == 1:
        if _is_count_list(columns):
            counts = _counts(file, columns, 0)
            edges = np.arange(len(counts) + 1, dtype=np.float64) - 0.5
            return Spectrum(counts, edges, {**meta, "format": "counts per channel"})
        return _from_charges(file, columns, 0, bin_width, meta)
    position, content = _roles(file, columns)
    if EVENT_NAMES.match(columns.name(position)) and not COUNT_NAMES.search(columns.name(content)):
        return _from_charges(file, columns, content, bin_width, meta)
    return _from_columns(file, columns, position, content, meta)


def _roles(file: Path, columns: Columns) -> tuple[int, int]:
    """Which column holds positions and which counts."""
    width = columns.values.shape[1]
    if width == 2:
        first, second = columns.name(0), columns.name(1)
        swapped = COUNT_NAMES.search(first) and POSITION_NAMES.search(second)
        return (1, 0) if swapped and not COUNT_NAMES.search(second) else (0, 1)
    counts = [i for i in range(width) if columns.names and COUNT_NAMES.search(columns.names[i])]
    positions = [
        i
        for i in range(width)
        if columns.names and POSITION_NAMES.search(columns.names[i]) and i not in counts
    ]
    if len(counts) != 1 or not positions:
        named = f" ({', '.join(columns.names)})" if columns.names else ""
        raise SpectrumFileError(
            file,
            f"{width} columns{named}: cannot tell which hold position and counts",
            line=int(columns.line[0]),
        )
    return positions[0], counts[0]


def _is_count_list(columns: Columns) -> bool:
    """Whether a single column holds counts per channel rather than single charges."""
    words = " ".join((*columns.names, *columns.header)).lower()
    if "<<data>>" in words or "$data" in words or COUNT_NAMES.search(words):
        return True
    values = columns.values[:, 0]
    whole = (
        np.all(np.isfinite(values)) and np.all(values >= 0) and np.all(values == np.rint(values))
    )
    if not whole or len(values) < 64:
        return False
    smooth = np.sqrt(values)
    if np.ptp(smooth) == 0:
        return False
    return bool(np.corrcoef(smooth[:-1], smooth[1:])[0, 1] > 0.9)


def _counts(file: Path, columns: Columns, column: int) -> Array:
    counts = columns.values[:, column]
    bad = ~np.isfinite(counts) | (counts < 0)
    if np.any(bad):
        row = int(np.argmax(bad))
        raise SpectrumFileError(
            file,
            f"{counts[row]:g} is not a number of counts",
            line=int(columns.line[row]),
            field=columns.name(column),
        )
    return counts


def _from_charges(
    file: Path, columns: Columns, column: int, bin_width: float, meta: dict[str, Any]
) -> Spectrum:
    charges = columns.values[:, column]
    bad = ~np.isfinite(charges)
    if np.any(bad):
        row = int(np.argmax(bad))
        raise SpectrumFileError(
            file,
            f"{charges[row]:g} is not a charge",
            line=int(columns.line[row]),
            field=columns.name(column),
        )
    return _histogram(file, charges, bin_width, {**meta, "format": "charges"}, columns.name(column))


def _histogram(
    file: Path, charges: Array, bin_width: float, meta: dict[str, Any], field: str
) -> Spectrum:
    try:
        return Spectrum.from_charges(charges, bin_width=bin_width, meta=meta)
    except ValueError as error:
        raise SpectrumFileError(file, str(error), field=field) from error


def _from_columns(
    file: Path, columns: Columns, position: int, content: int, meta: dict[str, Any]
) -> Spectrum:
    x, counts, line = columns.values[:, position], _counts(file, columns, content), columns.line
    name = columns.name(position)
    if not np.all(np.isfinite(x)):
        row = int(np.argmax(~np.isfinite(x)))
        raise SpectrumFileError(
            file, f"{x[row]:g} is not a position", line=int(line[row]), field=name
        )
    if len(x) < 2:
        raise SpectrumFileError(file, "one bin is no spectrum", line=int(line[0]))
    if x[0] > x[-1]:
        x, counts, line = x[::-1], counts[::-1], line[::-1]
    stuck = np.diff(x) <= 0
    if np.any(stuck):
        row = int(np.argmax(stuck)) + 1
        raise SpectrumFileError(
            file,
            f"{x[row]:g} after {x[row - 1]:g}: positions must follow each other in order",
            line=int(line[row]),
            field=name,
        )
    low_edges = bool(columns.names and EDGE_NAMES.search(name))
    edges, counts = _edges(file, x, counts, name, low_edges=low_edges)
    return Spectrum(
        counts, edges, {**meta, "format": "two columns", "positions": name, "low_edges": low_edges}
    )


def _edges(
    file: Path, x: Array, counts: Array, name: str, *, low_edges: bool
) -> tuple[Array, Array]:
    """Bin edges from positions; bins that a file leaves out because they are empty are put back."""
    step = float(np.diff(x).min())
    number = np.rint((x - x[0]) / step)
    if len(x) > 2:
        step = float(np.polyfit(number, x, 1)[0])
        number = np.rint((x - x[0]) / step)
    regular = bool(np.all(np.abs(x - x[0] - number * step) < 0.1 * step))
    if regular and np.all(np.diff(number) >= 1):
        n = int(number[-1]) + 1
        if n > MAX_BINS:
            raise SpectrumFileError(file, f"{n} bins of {step:g} are too many", field=name)
        filled = np.zeros(n)
        filled[number.astype(np.int64)] = counts
        shift = 0.0 if low_edges else 0.5
        return x[0] + step * (np.arange(n + 1) - shift), filled
    if low_edges:
        return np.append(x, 2 * x[-1] - x[-2]), counts
    middle = 0.5 * (x[1:] + x[:-1])
    return np.concatenate([[1.5 * x[0] - 0.5 * x[1]], middle, [1.5 * x[-1] - 0.5 * x[-2]]]), counts


def _read_numpy(file: Path, bin_width: float) -> Spectrum:
    try:
        loaded = np.load(file, allow_pickle=False)
        arrays = {"arr_0": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise SpectrumFileError(file, f"cannot be read as NPZ: {error}") from error
    meta = {"file": str(file), "format": "npz", "arrays": tuple(arrays)}
    counts_name = _first(arrays, ARRAYS_OF_COUNTS)
    edges_name = _first(arrays, ARRAYS_OF_EDGES)
    centers_name = _first(arrays, ARRAYS_OF_CENTERS)
    charges_name = _first(arrays, ARRAYS_OF_CHARGES)
    if counts_name and edges_name:
        counts = _numeric(file, arrays, counts_name)
        return _spectrum(file, counts, _numeric(file, arrays, edges_name), meta, counts_name)
    if counts_name and centers_name:
        counts = _numeric(file, arrays, counts_name)
        return _npz_columns(file, _numeric(file, arrays, centers_name), counts, meta, centers_name)
    if charges_name:
        charges = _numeric(file, arrays, charges_name)
        if charges.ndim == 2 and charges.shape[1] == 2:
            return _npz_columns(file, charges[:, 0], charges[:, 1], meta, charges_name)
        if charges.ndim != 1:
            raise SpectrumFileError(
                file, f"shape {charges.shape} is not one channel", field=charges_name
            )
        return _histogram(file, charges, bin_width, meta, charges_name)
    raise SpectrumFileError(
        file,
        f"needs counts with edges or centers, or charges; has {', '.join(arrays) or 'nothing'}",
    )


def _npz_columns(file: Path, x: Array, counts: Array, meta: dict[str, Any], field: str) -> Spectrum:
    if x.ndim != 1 or x.shape != counts.shape or len(x) < 2 or np.any(np.diff(x) <= 0):
        raise SpectrumFileError(file, "positions must rise, one for every count", field=field)
    edges, filled = _edges(file, x, counts, field, low_edges=False)
    return _spectrum(file, filled, edges, meta, field)


def _spectrum(
    file: Path, counts: Array, edges: Array, meta: dict[str, Any], field: str
) -> Spectrum:
    try:
        return Spectrum(counts, edges, meta)
    except ValueError as error:
        raise SpectrumFileError(file, str(error), field=field) from error


def _first(arrays: dict[str, Any], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in arrays), None)


def _numeric(file: Path, arrays: dict[str, Any], name: str) -> Array:
    try:
        return np.asarray(arrays[name], dtype=np.float64)
    except (ValueError, TypeError) as error:
        raise SpectrumFileError(file, "not numbers", field=name) from error


def _read_root(file: Path, inside: str | None, bin_width: float) -> Spectrum:
    import uproot

    try:
        with uproot.open(file) as root:
            name = inside or _only_histogram(file, root)
            found = root[name]
            if hasattr(found, "axes"):
                if len(found.axes) != 1:
                    raise SpectrumFileError(file, f"has {len(found.axes)} dimensions", field=name)
                counts, edges = found.to_numpy(flow=False)
                charges = None
            else:
                charges = np.asarray(found.array(library="np"), dtype=np.float64)
    except SpectrumFileError:
        raise
    except KeyError as error:
        raise SpectrumFileError(file, "is not in this file", field=str(inside)) from error
    # what uproot raises on damaged bytes depends on where the damage is
    except Exception as error:
        raise SpectrumFileError(file, f"cannot be read as ROOT: {error}", field=inside) from error
    meta = {"file": str(file), "format": "root", "histogram": name}
    if charges is not None:
        return _histogram(file, charges.ravel(), bin_width, meta, name)
    return _spectrum(file, np.asarray(counts, dtype=np.float64), edges, meta, name)


def _only_histogram(file: Path, root: Any) -> str:
    names = [
        name
        for name, kind in root.classnames(recursive=True, cycle=False).items()
        if kind.startswith("TH1")
    ]
    if len(names) != 1:
        listed = ", ".join(names[:8]) or "none"
        raise SpectrumFileError(
            file, f"name one histogram after a colon; one-dimensional ones here: {listed}"
        )
    return str(names[0])
