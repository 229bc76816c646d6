"""The loops over many histograms, compiled. Imported only where there are many channels.

They do for every channel what `analysis.sipm.moments` does for one spectrum.
"""

import numba
import numpy as np
from numpy.typing import NDArray

from analysis.sipm import moments as m

NOT_FINITE = int(m.Flaw.NOT_FINITE)
NEGATIVE = int(m.Flaw.NEGATIVE)
FEW_ENTRIES = int(m.Flaw.FEW_ENTRIES)
NOT_WHOLE = int(m.Flaw.NOT_WHOLE)
PILED_LOW = int(m.Flaw.PILED_LOW)
PILED_HIGH = int(m.Flaw.PILED_HIGH)
CUT_LOW = int(m.Flaw.CUT_LOW)
CUT_HIGH = int(m.Flaw.CUT_HIGH)
SPIKE = int(m.Flaw.SPIKE)
ONE_BIN = int(m.Flaw.ONE_BIN)

compiled = numba.njit(nogil=True, cache=True)


@compiled
def _reached(below: NDArray[np.float64], edges: NDArray[np.float64], share: float) -> float:
    n = len(below)
    wanted = share * below[n - 1]
    i = min(np.searchsorted(below, wanted * (1 - 1e-12)), n - 1)
    before = below[i - 1] if i > 0 else 0.0
    inside = (wanted - before) / (below[i] - before) if below[i] > before else 1.0
    return float(edges[i] + inside * (edges[i + 1] - edges[i]))


@compiled
def _is_cut(inwards: NDArray[np.float64], n: float, rules: m.Rules) -> bool:
    reach = rules.cut_share * n
    if reach < rules.cut_entries[1]:
        return False
    few = reach < rules.cut_entries[2]
    steepness = rules.cut_steepness_of_few if few else rules.cut_steepness
    i, end = 0, 0.0
    for wanted in rules.cut_entries:
        if wanted > reach:
            break
        while end < wanted:
            end += inwards[i]
            i += 1
        if inwards[i : 2 * i].sum() >= steepness * end:
            return False
    return True


@compiled
def _end_flaws(row: NDArray[np.float64], first: int, last: int, n: float, rules: m.Rules) -> int:
    flaws = 0
    low, high = row[first], row[last]
    beside = row[first + 1]
    if low > rules.most_overflow * n and low > 2 * beside + 5 * np.sqrt(beside + 1):
        flaws |= PILED_LOW
    beside = row[last - 1]
    if high > rules.most_overflow * n and high > 2 * beside + 5 * np.sqrt(beside + 1):
        flaws |= PILED_HIGH
    if _is_cut(row[first : last + 1], n, rules):
        flaws |= CUT_LOW
    if _is_cut(row[first : last + 1][::-1], n, rules):
        flaws |= CUT_HIGH
    return flaws


@compiled
def _has_one_spike(
    row: NDArray[np.float64], first: int, last: int, n: float, rules: m.Rules
) -> bool:
    spikes = 0
    least = rules.spike_share * n
    for i in range(max(first, 1), min(last + 1, len(row) - 1)):
        if row[i] > least:
            beside = max(row[i - 1], row[i + 1])
            if row[i] > rules.spike_height * beside + 6 * np.sqrt(beside + 1):
                spikes += 1
    return spikes == 1


@numba.njit(nogil=True, cache=True, fastmath=True)
def _central_moments(
    row: NDArray[np.float64], edges: NDArray[np.float64], mean: float, out: NDArray[np.float64]
) -> None:
    """Sums of order 2 to 6 about the mean; all numbers are finite, so their order is free."""
    m2, m3, m4, m5, m6 = 0.0, 0.0, 0.0, 0.0, 0.0
    for i in range(len(row)):
        away = 0.5 * (edges[i] + edges[i + 1]) - mean
        square = away * away
        second = row[i] * square
        third = second * away
        m2 += second
        m3 += third
        m4 += second * square
        m5 += third * square
        m6 += second * square * square
    out[0], out[1], out[2], out[3], out[4] = m2, m3, m4, m5, m6


@compiled
def _summarise(
    source: NDArray[np.float64],
    edges: NDArray[np.float64],
    width: float,
    row: NDArray[np.float64],
    below: NDArray[np.float64],
    rules: m.Rules,
    out: NDArray[np.float64],
) -> int:
    """Fill out (8,): entries, mean, central moments 2 to 6, core; row and below are work space."""
    n_bins = len(row)
    flaws = 0
    total, first_moment, whole = 0.0, 0.0, True
    first, last = -1, -1
    for i in range(n_bins):
        value = float(source[i])
        if not np.isfinite(value):
            flaws |= NOT_FINITE
            value = 0.0
        elif value < 0:
            flaws |= NEGATIVE
            value = 0.0
        row[i] = value
        if value > 0:
            if first < 0:
                first = i
            last = i
            whole = whole and abs(value - np.rint(value)) <= 1e-6
            total += value
            first_moment += value * (edges[i] + edges[i + 1])
        below[i] = total
    out[:] = np.nan
    out[0] = total
    if total < rules.least_entries:
        flaws |= FEW_ENTRIES
    if not whole:
        flaws |= NOT_WHOLE
    if total <= 0:
        return flaws
    mean = 0.5 * first_moment / total
    out[1] = mean
    _central_moments(row[first : last + 1], edges[first : last + 2], mean, out[2:7])
    out[2:7] /= total
    core = _reached(below, edges, 0.5) - _reached(below, edges, 0.16)
    out[7] = core
    if first == last:
        return flaws | ONE_BIN
    if last - first + 1 >= rules.least_bins_for_ends:
        flaws |= _end_flaws(row, first, last, total, rules)
        if core > rules.smooth_bins * width and _has_one_spike(row, first, last, total, rules):
            flaws |= SPIKE
    return flaws


@compiled
def summaries(
    counts: NDArray[np.float64],
    edges: NDArray[np.float64],
    width: float,
    rules: m.Rules,
    out: NDArray[np.float64],
    flaws: NDArray[np.uint32],
) -> None:
    """out (channels, 8) and flaws (channels,) of counts (channels, bins)."""
    row, below = np.empty(counts.shape[1]), np.empty(counts.shape[1])
    for channel in range(len(counts)):
        flaws[channel] = _summarise(counts[channel], edges, width, row, below, rules, out[channel])


@compiled
def pairs(
    on: NDArray[np.float64],
    off: NDArray[np.float64],
    edges: NDArray[np.float64],
    width: float,
    shares: NDArray[np.float64],
    rules: m.Rules,
    out: NDArray[np.float64],
    flaws: NDArray[np.uint32],
) -> None:
    """out (channels, 16 + 3 n_shares) and flaws (channels, 2) of on and off (channels, bins)."""
    n_bins, n_shares = on.shape[1], len(shares)
    row = np.empty(n_bins)
    below_on, below_off = np.empty(n_bins), np.empty(n_bins)
    for c in range(len(on)):
        out[c] = np.nan
        flaws[c, 0] = _summarise(on[c], edges, width, row, below_on, rules, out[c, :8])
        flaws[c, 1] = _summarise(off[c], edges, width, row, below_off, rules, out[c, 8:16])
        if out[c, 0] > 0 and out[c, 8] > 0:
            for k in range(n_shares):
                wanted = shares[k] * below_off[-1] * (1 - 1e-12)
                i = min(np.searchsorted(below_off, wanted), n_bins - 1)
                share = below_off[i] / below_off[-1]
                out[c, 16 + k] = share
                out[c, 16 + n_shares + k] = below_on[i] / below_on[-1]
                out[c, 16 + 2 * n_shares + k] = _reached(below_on, edges, share) - edges[i + 1]
