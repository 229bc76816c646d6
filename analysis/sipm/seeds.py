"""Where the peaks of a spectrum are, found without knowing anything about the device."""

from dataclasses import dataclass, replace
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d, uniform_filter1d
from scipy.signal import find_peaks

from analysis.sipm.spectrum import Spectrum

MAX_WORKING_BINS = 1500
SIGNIFICANCE = 4.0


@dataclass(frozen=True)
class Working:
    """The part of a spectrum that is fitted.

    counts: (m,) and edges: (m + 1,), equal widths where the spectrum had them.
    first, factor: bin of the source where it begins, and how many source bins one bin joins.
    reasons: what was cut off or joined, and why.
    """

    counts: NDArray[np.float64]
    edges: NDArray[np.float64]
    first: int
    factor: int
    reasons: tuple[str, ...]

    @property
    def centers(self) -> NDArray[np.float64]:
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def width(self) -> float:
        """Mean bin width, ADC."""
        return float((self.edges[-1] - self.edges[0]) / len(self.counts))


@dataclass(frozen=True)
class Seeds:
    """Peaks found: position (ADC), height (counts per bin), and their common spacing (ADC).

    significance: (m,) prominence over its standard deviation.
    """

    position: NDArray[np.float64]
    height: NDArray[np.float64]
    significance: NDArray[np.float64]
    spacing: float
    smoothing: float


def working_part(spectrum: Spectrum) -> Working:
    """Cut overflow spikes and empty ends off, join bins that are finer than the data."""
    counts, edges = spectrum.counts, spectrum.edges
    reasons: list[str] = []
    begin, end = _filled(counts, 0, len(counts))
    begin, end = _filled(counts, *_without_spikes(counts, begin, end, reasons))
    if begin == end:
        return Working(np.zeros(0), edges[:1], 0, 1, tuple(reasons))
    factor = max(_comb_period(counts[begin:end]), ceil((end - begin) / MAX_WORKING_BINS))
    if factor > 1:
        reasons.append(f"{factor} bins of {edges[begin + 1] - edges[begin]:.4g} ADC joined")
    begin = max(begin - (factor - 1) // 2, 0)
    starts = np.arange(begin, end, factor)
    stop = min(int(starts[-1]) + factor, len(counts))
    joined = np.add.reduceat(counts[:stop], starts)
    # Where the source ends early the last bin is still as wide as the others: the fit needs that.
    last = edges[starts[-1]]
    end_of_last = last + (edges[stop] - last) * factor / (stop - starts[-1])
    return Working(joined, np.append(edges[starts], end_of_last), begin, factor, tuple(reasons))


def find_seeds(working: Working) -> Seeds | None:
    """Significant peaks and their spacing; None with fewer than two peaks.

    The spectrum is smoothed at several scales; a peak counts when it stands out of the valleys
    beside it by 4 standard deviations of the smoothed counts. The scale that shows most peaks
    on a regular lattice is taken.
    """
    best: Seeds | None = None
    best_score = 0.0
    n = len(working.counts)
    scale = 0.6
    while scale < max(n / 12, 1.0):
        position, height, significance = _peaks_at_scale(working, scale)
        if len(position) >= max(2.0, best_score):
            spacing, on_lattice = _lattice(position, height)
            score = on_lattice - 0.5 * (len(position) - on_lattice)
            if score >= best_score and score > 0:
                width = scale * working.width
                best = Seeds(position, height, significance, spacing, width)
                best_score = score
        scale *= 1.5
    if best is None:
        return None
    return replace(best, spacing=_true_spacing(working, best.spacing, len(best.position)))


def significant_peaks(working: Working) -> int:
    """Largest number of significant peaks at any smoothing scale."""
    most, scale = 0, 0.6
    while scale < max(len(working.counts) / 6, 1.0):
        most = max(most, len(_peaks_at_scale(working, scale)[0]))
        scale *= 1.6
    return most


def _peaks_at_scale(
    working: Working, scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Position, height and significance of the peaks of the smoothed spectrum."""
    pad = ceil(4 * scale) + 1
    padded = np.concatenate([np.zeros(pad), working.counts, np.zeros(pad)])
    smooth = gaussian_filter1d(padded, scale, mode="constant")
    independent = max(2.0 * sqrt(np.pi) * scale, 1.0)
    index, found = find_peaks(smooth, prominence=0.0)
    if not index.size:
        return np.zeros(0), np.zeros(0), np.zeros(0)
    top = smooth[index]
    valley = top - found["prominences"]
    error = np.sqrt((top + valley) / independent + (0.5 / independent) ** 2)
    significance = found["prominences"] / error
    keep = (significance > SIGNIFICANCE) & (top * independent > 6.0)
    index = index[keep]
    left, mid, right = smooth[index - 1], smooth[index], smooth[index + 1]
    bend = left - 2 * mid + right
    shift = np.where(bend < 0, 0.5 * (left - right) / np.where(bend < 0, bend, 1.0), 0.0)
    position = np.interp(index - pad + shift, np.arange(len(working.counts)), working.centers)
    return position, mid, significance[keep]


def _lattice(position: NDArray[np.float64], height: NDArray[np.float64]) -> tuple[float, float]:
    """Spacing that explains most peaks as a lattice without empty sites, and how many it explains.

    Spacings between neighbours are tried; a lattice of half the spacing is held back by its empty
    sites, one of twice the spacing by the peaks that it leaves out.
    """
    gaps = np.diff(position)
    anchor = float(position[np.argmax(height)])
    best_spacing, best_score = float(np.median(gaps)), -np.inf
    best_hits = 0.0
    for gap in np.unique(gaps):
        steps = np.rint((position - anchor) / gap)
        off = np.abs(position - anchor - steps * gap) / (gap * (1.0 + 0.1 * np.abs(steps)))
        on = off < 0.2
        sites = np.unique(steps[on])
        if len(sites) < 2:
            continue
        empty = sites[-1] - sites[0] + 1 - len(sites)
        score = len(sites) - 1.0 * empty - 0.7 * np.count_nonzero(~on)
        if score > best_score:
            lever = steps[on] - steps[on].mean()
            best_spacing = float(lever @ position[on] / (lever @ lever))
            best_score, best_hits = float(score), float(len(sites))
    return best_spacing, best_hits


def _true_spacing(working: Working, spacing: float, n_peaks: int) -> float:
    """The spacing, or a shorter one where peaks in between were missed.

    The square root of the counts above its running mean is compared with waves: those of half and
    a third of the spacing, and with four or more peaks those of all periods from 0.28 to 1.6 times
    the spacing. Evenly spaced peaks of any width have most of the wave of their spacing.
    """
    root = np.sqrt(working.counts + 0.375)
    above = root - uniform_filter1d(root, max(round(spacing / working.width), 2))
    tried = np.array([1.0, 1 / 2, 1 / 3])
    if n_peaks >= 4:
        tried = np.append(tried, np.geomspace(0.28, 1.6, 100))
    phase = 2j * np.pi / (spacing * tried[:, None]) * working.centers
    strength = np.abs(np.einsum("ij,j->i", np.exp(phase), above))
    same = np.abs(tried - 1) < 0.05
    strongest = int(np.argmax(strength))
    noise = 0.5 * sqrt(len(root))
    if strength[strongest] > 1.3 * strength[same].max() + 3 * noise:
        return float(spacing * tried[strongest])
    return spacing


def _filled(counts: NDArray[np.float64], begin: int, end: int) -> tuple[int, int]:
    """First and last + 1 bin with entries between begin and end."""
    filled = np.flatnonzero(counts[begin:end]) + begin
    return (int(filled[0]), int(filled[-1]) + 1) if filled.size else (begin, begin)


def _without_spikes(
    counts: NDArray[np.float64], begin: int, end: int, reasons: list[str]
) -> tuple[int, int]:
    """The range without an underflow or overflow spike at its ends."""
    if end - begin < 8:
        return begin, end
    if _is_spike(counts[end - 1], counts[end - 5 : end - 1]):
        reasons.append(f"overflow: {counts[end - 1]:.0f} entries in the last bin left out")
        end -= 1
    if _is_spike(counts[begin], counts[begin + 1 : begin + 5]):
        reasons.append(f"underflow: {counts[begin]:.0f} entries in the first bin left out")
        begin += 1
    return begin, end


def _is_spike(value: float, neighbours: NDArray[np.float64]) -> bool:
    near = float(neighbours.max())
    return bool(value > 10 and value > 2.0 * near + 5.0 * sqrt(near + 1.0))


def _comb_period(counts: NDArray[np.float64]) -> int:
    """How many bins one step of the data takes: 1 normally, 2 or more when bins are finer."""
    total = counts.sum()
    reach = np.searchsorted(np.cumsum(counts), [0.02 * total, 0.98 * total])
    core = counts[reach[0] : reach[1] + 1]
    gaps = np.diff(np.flatnonzero(core))
    if len(gaps) < 16:
        return 1
    smallest = int(np.quantile(gaps, 0.02))
    for factor in range(smallest, 4 * smallest + 1) if smallest > 1 else (1, 2, 3, 4):
        joined = core[: len(core) // factor * factor].reshape(-1, factor).sum(axis=1)
        busy = np.minimum(joined[:-2], joined[2:]) > 4
        if np.count_nonzero((joined[1:-1] == 0) & busy) <= 0.1 * np.count_nonzero(busy):
            return factor
    return 1
