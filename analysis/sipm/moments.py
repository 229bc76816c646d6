"""What mean and dispersion need to know of a histogram, for one channel or for many.

A `Summary` holds the first six moments and everything that is wrong with a run by itself; a
`Pair` holds where the low side of the light-on run lies against that of the light-off run. Both are
arrays over channels, so that the same rules judge one spectrum or a hundred thousand.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import IntFlag
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.sipm.spectrum import Spectrum

SHARES = np.array([0.002, 0.01, 0.05, 0.16, 0.5])
N_COLUMNS = 8
CHANNELS_AT_A_TIME = 4096

Array = NDArray[np.float64]


class Rules(NamedTuple):
    """When a run has a flaw. Handed to the compiled loops, which must not freeze them."""

    least_entries: float = 200.0
    most_overflow: float = 5e-4
    least_bins_for_ends: int = 9
    cut_entries: tuple[float, float, float] = (8.0, 32.0, 128.0)
    cut_share: float = 0.1
    cut_steepness: float = 2.2
    cut_steepness_of_few: float = 1.3
    spike_share: float = 0.01
    spike_height: float = 5.0
    smooth_bins: float = 1.5


RULES = Rules()


class Flaw(IntFlag):
    """What is wrong with one run by itself."""

    NOT_FINITE = 1
    NEGATIVE = 2
    FEW_ENTRIES = 4
    NOT_WHOLE = 8
    PILED_LOW = 16
    PILED_HIGH = 32
    CUT_LOW = 64
    CUT_HIGH = 128
    SPIKE = 256
    ONE_BIN = 512


@dataclass(frozen=True)
class Summary:
    """Moments of (n_channels,) histograms in ADC.

    entries: number of events. mean: mean charge. central: (n_channels, 5) central moments of order
    2 to 6 with the divisor n. core: distance from the 16 % to the 50 % point of the distribution.
    flaws: `Flaw` bits. width: median bin width.

    Moments of channels with the flaws NOT_FINITE, NEGATIVE or FEW_ENTRIES may be nan.
    """

    entries: Array
    mean: Array
    central: Array
    core: Array
    flaws: NDArray[np.uint32]
    width: float

    @property
    def variance(self) -> Array:
        """Unbiased variance, ADC squared."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.central[:, 0] * self.entries / (self.entries - 1))

    @property
    def third(self) -> Array:
        """Unbiased third cumulant, ADC cubed."""
        n = self.entries
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self.central[:, 1] * n**2 / ((n - 1) * (n - 2)))

    @property
    def covariance(self) -> Array:
        """(n_channels, 3, 3): statistical covariance of mean, variance and third cumulant."""
        m2, m3, m4, m5, m6 = self.central.T
        out = np.empty((len(m2), 3, 3))
        out[:, 0, 0] = m2
        out[:, 0, 1] = out[:, 1, 0] = m3
        out[:, 1, 1] = np.maximum(m4 - m2**2, 0.0)
        out[:, 0, 2] = out[:, 2, 0] = m4 - 3 * m2**2
        out[:, 1, 2] = out[:, 2, 1] = m5 - 4 * m3 * m2
        out[:, 2, 2] = np.maximum(m6 - m3**2 - 6 * m4 * m2 + 9 * m2**3, 0.0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(out / self.entries[:, None, None])


@dataclass(frozen=True)
class Pair:
    """Both runs of (n_channels,) channels, and the low side of one against the other.

    share: (n_channels, 5) part of the light-off entries below a mark; below: part of the light-on
    entries below the same mark; moved: how far the light-on run reaches the same share beyond the
    mark, ADC (negative where the light-on run begins lower).
    """

    on: Summary
    off: Summary
    share: Array
    below: Array
    moved: Array


def moments(counts: ArrayLike, edges: ArrayLike, *, threads: int = 2) -> Summary:
    """Moments of many histograms with common edges.

    counts: (n_channels, n_bins) or (n_bins,), any real dtype; edges: (n_bins + 1,) in ADC,
    increasing. Bad contents become flaws of their channel. Raises ValueError on other shapes.
    """
    table, grid = _table(counts, edges)
    width = float(np.median(np.diff(grid)))
    out = np.empty((len(table), N_COLUMNS))
    flaws = np.empty(len(table), dtype=np.uint32)

    def work(part: slice) -> None:
        from analysis.sipm.moment_kernels import summaries

        summaries(_floats(table[part]), grid, width, RULES, out[part], flaws[part])

    _in_threads(work, len(table), threads)
    return _summary(out, flaws, width)


def pairs(on: ArrayLike, off: ArrayLike, edges: ArrayLike, *, threads: int = 2) -> Pair:
    """Both runs of many channels with common edges, shapes as in `moments`."""
    table_on, grid = _table(on, edges)
    table_off, _ = _table(off, edges)
    if table_on.shape != table_off.shape:
        raise ValueError(f"light on has the shape {table_on.shape}, light off {table_off.shape}")
    width = float(np.median(np.diff(grid)))
    out = np.empty((len(table_on), 2 * N_COLUMNS + 3 * len(SHARES)))
    flaws = np.empty((len(table_on), 2), dtype=np.uint32)

    def work(part: slice) -> None:
        from analysis.sipm import moment_kernels

        moment_kernels.pairs(
            _floats(table_on[part]),
            _floats(table_off[part]),
            grid,
            width,
            SHARES,
            RULES,
            out[part],
            flaws[part],
        )

    _in_threads(work, len(table_on), threads)
    marks = out[:, 2 * N_COLUMNS :].reshape(-1, 3, len(SHARES))
    return Pair(
        _summary(out[:, :N_COLUMNS], flaws[:, 0], width),
        _summary(out[:, N_COLUMNS : 2 * N_COLUMNS], flaws[:, 1], width),
        marks[:, 0],
        marks[:, 1],
        marks[:, 2],
    )


def one_summary(spectrum: Spectrum) -> Summary:
    """The summary of one spectrum, with arrays of length 1."""
    counts, edges = spectrum.counts, spectrum.edges
    width = float(np.median(spectrum.widths))
    n = float(counts.sum())
    flaws = Flaw(0)
    nothing = np.full(1, np.nan)
    if n < RULES.least_entries:
        flaws |= Flaw.FEW_ENTRIES
    if np.any(np.abs(counts - np.rint(counts)) > 1e-6):
        flaws |= Flaw.NOT_WHOLE
    if n <= 0:
        return Summary(
            np.array([n]), nothing, np.full((1, 5), np.nan), nothing, _bits(flaws), width
        )
    mean = float(counts @ spectrum.centers / n)
    away = spectrum.centers - mean
    central = np.array([[float(counts @ away**k) / n for k in range(2, 7)]])
    below = np.cumsum(counts)
    core = _reached(below, edges, 0.5) - _reached(below, edges, 0.16)
    flaws |= _flaws(counts, width, core)
    return Summary(np.array([n]), np.array([mean]), central, np.array([core]), _bits(flaws), width)


def one_pair(on: Spectrum, off: Spectrum) -> Pair:
    """Both runs of one channel; their edges may differ."""
    summary_on, summary_off = one_summary(on), one_summary(off)
    shape = (1, len(SHARES))
    if not (on.n_entries > 0 and off.n_entries > 0):
        nothing = np.full(shape, np.nan)
        return Pair(summary_on, summary_off, nothing, nothing, nothing)
    below_off, below_on = np.cumsum(off.counts), np.cumsum(on.counts)
    bins = np.minimum(
        np.searchsorted(below_off, SHARES * below_off[-1] * (1 - 1e-12)), len(below_off) - 1
    )
    marks = off.edges[bins + 1]
    share = below_off[bins] / below_off[-1]
    below = np.interp(marks, on.edges, np.append(0.0, below_on)) / below_on[-1]
    moved = np.array([_reached(below_on, on.edges, part) for part in share]) - marks
    return Pair(
        summary_on, summary_off, share.reshape(shape), below.reshape(shape), moved.reshape(shape)
    )


def _bits(flaws: Flaw) -> NDArray[np.uint32]:
    return np.array([flaws], dtype=np.uint32)


def _reached(below: Array, edges: Array, share: float) -> float:
    """Where the cumulative counts reach a share of the entries, ADC; linear within a bin."""
    wanted = share * below[-1]
    i = min(int(np.searchsorted(below, wanted * (1 - 1e-12))), len(below) - 1)
    before = below[i - 1] if i else 0.0
    inside = (wanted - before) / (below[i] - before) if below[i] > before else 1.0
    return float(edges[i] + inside * (edges[i + 1] - edges[i]))


def _flaws(counts: Array, width: float, core: float) -> Flaw:
    n = counts.sum()
    filled = np.flatnonzero(counts)
    first, last = int(filled[0]), int(filled[-1])
    flaws = Flaw(0)
    if first == last:
        return Flaw.ONE_BIN
    if last - first + 1 < RULES.least_bins_for_ends:
        return flaws
    if _piles_up(counts[first], counts[first + 1], n):
        flaws |= Flaw.PILED_LOW
    if _piles_up(counts[last], counts[last - 1], n):
        flaws |= Flaw.PILED_HIGH
    if _is_cut(np.cumsum(counts[first : last + 1])):
        flaws |= Flaw.CUT_LOW
    if _is_cut(np.cumsum(counts[first : last + 1][::-1])):
        flaws |= Flaw.CUT_HIGH
    if core > RULES.smooth_bins * width:
        inner = counts[1:-1]
        beside = np.maximum(counts[:-2], counts[2:])
        spikes = inner > np.maximum(
            RULES.spike_height * beside + 6 * np.sqrt(beside + 1), RULES.spike_share * n
        )
        if np.count_nonzero(spikes) == 1:
            flaws |= Flaw.SPIKE
    return flaws


def _piles_up(end: float, beside: float, n: float) -> bool:
    return bool(end > RULES.most_overflow * n and end > 2 * beside + 5 * np.sqrt(beside + 1))


def _is_cut(inwards: Array) -> bool:
    """Whether a spectrum begins at its full height, from the cumulative counts from its end.

    A tail has many more entries in the next interval than in the outermost one of the same width;
    behind a cut both hold about the same. Intervals with 8, 32 and 128 entries must agree, since
    one of them may happen to hold just one of several peaks.
    """
    reach = RULES.cut_share * inwards[-1]
    if reach < RULES.cut_entries[1]:
        return False
    few = reach < RULES.cut_entries[2]
    steepness = RULES.cut_steepness_of_few if few else RULES.cut_steepness
    for wanted in RULES.cut_entries:
        if wanted > reach:
            break
        i = int(np.searchsorted(inwards, wanted))
        end = inwards[i]
        if inwards[min(2 * i + 1, len(inwards) - 1)] - end >= steepness * end:
            return False
    return True


def _table(counts: ArrayLike, edges: ArrayLike) -> tuple[NDArray[Any], Array]:
    table = np.atleast_2d(np.asarray(counts))
    grid = np.asarray(edges, dtype=np.float64)
    if table.ndim != 2 or grid.ndim != 1 or table.shape[1] + 1 != len(grid) or len(grid) < 2:
        raise ValueError(
            f"counts (channels, n) go with n + 1 edges, not {table.shape} and {grid.shape}"
        )
    if not np.all(np.isfinite(grid)) or np.any(np.diff(grid) <= 0):
        raise ValueError("edges must be finite and increasing")
    if table.dtype.kind not in "uif":
        raise ValueError(f"counts must be numbers, not {table.dtype}")
    return table, grid


def _in_threads(work: Callable[[slice], None], n_channels: int, threads: int) -> None:
    """Share the channels out; the compiled loops run without the interpreter's lock."""
    n_parts = max(threads, -(-n_channels // CHANNELS_AT_A_TIME))
    bounds = np.linspace(0, n_channels, n_parts + 1).astype(int)
    parts = [slice(a, b) for a, b in pairwise(bounds) if b > a]
    if threads < 2 or len(parts) < 2:
        for part in parts:
            work(part)
        return
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(work, parts))


def _floats(table: NDArray[Any]) -> NDArray[Any]:
    """A part of the table in one of the two types that the loops are compiled for."""
    native = table.dtype in (np.dtype(np.float32), np.dtype(np.float64))
    return table if native else table.astype(np.float64)


def _summary(columns: Array, flaws: NDArray[np.uint32], width: float) -> Summary:
    return Summary(columns[:, 0], columns[:, 1], columns[:, 2:7], columns[:, 7], flaws, width)
