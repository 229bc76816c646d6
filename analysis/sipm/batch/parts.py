"""One spectrum on its way to a worker: as small as it can be, read or filled in only there."""

import threading
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.batch.labels import Label
from analysis.sipm.readers import SpectrumFileError, read_spectrum
from analysis.sipm.spectrum import MAX_BINS, Spectrum


@dataclass(frozen=True)
class InFile:
    """A spectrum that the worker reads itself; inner names a histogram of a ROOT file."""

    path: str
    inner: str | None = None
    bin_width: float = 1.0


@dataclass(frozen=True)
class Binned:
    """A histogram out of a table: counts (n,), edges (n + 1,) ADC."""

    counts: NDArray[np.float64]
    edges: NDArray[np.float64]


@dataclass(frozen=True)
class Counted:
    """A histogram of single charges, filled bins only.

    bins: (m,) numbers of the filled bins, rising; counts: (m,) their entries. Bin k reaches from
    origin + k width to origin + (k + 1) width, ADC.
    """

    bins: NDArray[np.int64]
    counts: NDArray[np.int64]
    width: float
    origin: float


@dataclass(frozen=True)
class Refused:
    """No spectrum, for this reason."""

    reason: str


Data = InFile | Binned | Counted | Refused


@dataclass(frozen=True)
class Part:
    """One spectrum of a source. source: how people name it; identity: what tells it from others."""

    source: str
    identity: str
    label: Label
    data: Data


@dataclass
class Expected:
    """How many spectra there will be, as far as the sources tell by now."""

    spectra: int = 0


def spectrum_of(data: Data) -> Spectrum:
    """The spectrum itself.

    Raises SpectrumFileError where a file can't be read, and ValueError where the numbers are no
    spectrum; the text of both is the reason.
    """
    if isinstance(data, Refused):
        raise ValueError(data.reason)
    if isinstance(data, Binned):
        return Spectrum(data.counts, data.edges)
    if isinstance(data, Counted):
        return _filled(data)
    if data.inner is None:
        return read_spectrum(data.path, bin_width=data.bin_width)
    return _histogram(data.path, data.inner)


def _filled(data: Counted) -> Spectrum:
    if not len(data.bins):
        raise ValueError("no charges")
    first, last = int(data.bins[0]), int(data.bins[-1])
    if last - first >= MAX_BINS:
        raise ValueError(f"{last - first + 1} bins of {data.width:g} ADC are too many")
    counts = np.zeros(last - first + 1)
    counts[data.bins - first] = data.counts
    edges = data.origin + data.width * np.arange(first, last + 2, dtype=np.float64)
    return Spectrum(counts, edges)


def _histogram(path: str, inner: str) -> Spectrum:
    try:
        stamp = Path(path).stat().st_mtime_ns
        counts, edges = _opened(path, stamp, threading.get_ident())[inner].to_numpy(flow=False)
    except KeyError as error:
        raise SpectrumFileError(path, "is not in this file", field=inner) from error
    # what uproot raises on damaged bytes depends on where the damage is
    except Exception as error:
        raise SpectrumFileError(path, f"cannot be read: {error}", field=inner) from error
    try:
        return Spectrum(counts, edges)
    except ValueError as error:
        raise SpectrumFileError(path, str(error), field=inner) from error


@lru_cache(maxsize=2)
def _opened(path: str, stamp_ns: int, thread: int) -> Any:
    """The ROOT file, kept open: finding a histogram costs more than reading it."""
    import uproot

    return uproot.open(path, object_cache=8, array_cache=None)
