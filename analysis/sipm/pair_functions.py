"""Empirical characteristic functions of a light-on and a light-off run, and their covariance.

c(w) = sum_i p_i exp(i w x_i) over the bins. For N independent charges
Cov[c(w), c(v)*] = (c(w - v) - c(w) c(v)*) / N and Cov[c(w), c(v)] = (c(w + v) - c(w) c(v)) / N,
so on a uniform grid of w one list of values holds the functions and their covariance.
"""

from dataclasses import dataclass, replace
from math import log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.spectrum import Spectrum

STEP_IN_WIDTHS = 0.45
LEAST_FREQUENCIES = 7
MOST_FREQUENCIES = 240
LEAST_SIGNIFICANCE = 4.0
HIGHEST_IN_SLOPES = 2 * pi * 2.4

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class PairFunctions:
    """Characteristic functions of a pair, origin at the mean of light-off.

    step: distance of the grid w_j = j step, 1/ADC. index: (K,) the j > 0 in use.
    on, off: (2 J + 1,) from w = 0, where J is the highest index the data support.
    n_on, n_off: entries. shift: difference of the means, ADC. slope: difference of the variances
    over the difference of the means, ADC; it estimates F G.
    """

    step: float
    index: NDArray[np.int64]
    on: Complex
    off: Complex
    n_on: float
    n_off: float
    shift: float
    slope: float

    @property
    def omega(self) -> Array:
        """(K,) frequencies in use, 1/ADC."""
        return np.asarray(self.step * self.index, dtype=np.float64)

    @property
    def grid(self) -> Array:
        """(2 J + 1,) frequencies of `on` and `off`, 1/ADC."""
        return np.asarray(self.step * np.arange(len(self.on)), dtype=np.float64)

    def at(self, used: NDArray[np.bool_]) -> "PairFunctions":
        """The pair with some of its frequencies; used: (K,)."""
        return replace(self, index=self.index[used])


def pair_functions(on: Spectrum, off: Spectrum) -> PairFunctions | str:
    """Characteristic functions of a pair on a grid that suits it, or why there is none.

    The step is 0.45 over the RMS of the light-on run, or less where light-off would give fewer than
    7 frequencies. The grid ends where light-off is no longer seen (4 sigma above zero), or beyond
    the first harmonic 2 pi / G of every gain above slope / 2.3.
    """
    width = float(np.median(on.widths))
    for spectrum in (on, off):
        if not np.allclose(spectrum.widths, width, rtol=1e-6):
            return "the bins are not of one width"
    bins_apart = (off.edges[0] - on.edges[0]) / width
    if abs(bins_apart - round(bins_apart)) > 1e-3:
        return "the bins of the two runs do not match"
    shift = on.mean - off.mean
    slope = (on.variance - off.variance) / shift
    seen_to = sqrt(2 * max(log(sqrt(off.n_entries) / LEAST_SIGNIFICANCE), 0.1) / off.variance)
    wanted = min(STEP_IN_WIDTHS / sqrt(on.variance), seen_to / LEAST_FREQUENCIES)
    size, fold = _grid(wanted * width, 2 * max(len(on.counts), len(off.counts)))
    step = 2 * pi * fold / (size * width)
    count = int(min(HIGHEST_IN_SLOPES / slope, pi / width) / step)
    count = min(count, MOST_FREQUENCIES)
    functions = [_empirical(spectrum, off.mean, size, fold, count) for spectrum in (on, off)]
    unseen = np.abs(functions[1][1 : count + 1]) < LEAST_SIGNIFICANCE / sqrt(off.n_entries)
    seen = int(np.argmax(unseen)) if unseen.any() else count
    if seen < 4:
        return "the bins are too wide for the noise"
    on_function, off_function = (values[: 2 * seen + 1] for values in functions)
    return PairFunctions(
        step,
        np.arange(1, seen + 1),
        on_function,
        off_function,
        on.n_entries,
        off.n_entries,
        shift,
        slope,
    )


def _grid(step: float, n_bins: int) -> tuple[int, int]:
    """Length of the transform and the multiple of its frequency that comes close to `step`."""
    size = max(int(2 * pi / step), 8)
    fold = 1
    while size * fold < n_bins:
        fold += 1
    return size * fold, fold


def _empirical(spectrum: Spectrum, origin: float, size: int, fold: int, count: int) -> Complex:
    """sum_i p_i exp(i w_j (x_i - origin)) for j = 0..2 count, w_j = 2 pi j fold / (size width)."""
    width = float(np.median(spectrum.widths))
    index = np.arange(2 * count + 1) * fold
    raw = np.conj(np.fft.fft(spectrum.counts / spectrum.n_entries, size))[index % size]
    angle = 2 * pi * index / size * (spectrum.centers[0] - origin) / width
    return np.asarray(raw * np.exp(1j * angle), dtype=np.complex128)


def covariance(function: Complex, index: NDArray[np.int64], n: float) -> Array:
    """Covariance (2 K, 2 K) of the real and imaginary parts of an empirical function.

    function: values on the uniform grid from zero to at least 2 max(index). index: (K,).
    """
    total = function[index[:, None] + index[None, :]]
    apart = index[:, None] - index[None, :]
    difference = function[np.abs(apart)]
    sine = np.where(apart < 0, -difference.imag, difference.imag)
    here = function[index]
    real_real = 0.5 * (difference.real + total.real) - np.outer(here.real, here.real)
    imag_imag = 0.5 * (difference.real - total.real) - np.outer(here.imag, here.imag)
    real_imag = 0.5 * (total.imag - sine) - np.outer(here.real, here.imag)
    return np.asarray(np.block([[real_real, real_imag], [real_imag.T, imag_imag]]) / n)


def rotated(matrix: Array, transfer: Complex) -> Array:
    """Covariance (2 K, 2 K) of t c from that of c, for complex factors t (K,)."""
    turn = np.block(
        [
            [np.diag(transfer.real), -np.diag(transfer.imag)],
            [np.diag(transfer.imag), np.diag(transfer.real)],
        ]
    )
    return np.asarray(turn @ matrix @ turn.T)
