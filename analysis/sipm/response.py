"""Charge spectrum of a SiPM under pulsed light, exactly, through its characteristic function.

The charge of one gate is a sum of independent contributions, so its characteristic function
Phi(omega) = <exp(i omega q)> is a product, and its logarithm a sum (y = omega G):

    ln Phi = i omega pedestal - omega^2 s0^2 / 2            electronics
           + M (phi - 1)                                    avalanches with their cascades
           + e [b1 E(y) + b2 E(2 y) + b3 E(3 y)]            dark counts seen in part

* phi is one avalanche with all its prompt crosstalk, phi = phi1 exp(lambda (phi - 1)):
  the branching process behind the generalised Poisson law (S. Vinogradov, arXiv:1109.2014).
* phi1 = exp(i y - omega^2 sigma_G^2 / 2 + alpha (A_b - 1)) is one pixel with its afterpulses
  (`response_kernel`), which make secondaries in proportion to their charge.
* A dark count a time t before the gate leaves the share x = exp(-t/tau_p) of its charge, one t
  before its end 1 - exp(-t/tau_p): densities 1/x and 1/(1 - x) per pulse time tau_p. They count
  e = DCR tau_p times E(y) = int_0^1 [(exp(ixy) - 1)/x + (exp(ixy) - exp(iy))/(1 - x)] dx, with the
  Borel probabilities b1, b2, b3 of cascades of one, two, and three or more pixels.

Bins are integrated exactly (a factor sin(omega w/2)/(omega w/2)), and one inverse Fourier transform
gives all of them. Electronics noise makes Phi vanish at high frequencies, so a few hundred of them
are enough, and derivatives cost one more transform.
"""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, pi, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from scipy.special import gammaln

from analysis.sipm.response_kernel import log_response

NAMES = (
    "pedestal",
    "gain",
    "noise",
    "pe_variance",
    "mu",
    "crosstalk",
    "afterpulse",
    "log_recovery",
    "dark_edge",
)
STRAY = 1e-4
LEAST_PHI = 1e-9

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def peak_weights(k: Array, mu: float | Array, crosstalk: float | Array) -> Array:
    """Generalised Poisson probabilities of k fired pixels; k, mu and crosstalk broadcast."""
    rate = mu + k * crosstalk
    return np.asarray(
        np.exp(np.log(mu) + (k - 1) * np.log(rate) - rate - gammaln(k + 1)), dtype=np.float64
    )


@dataclass(frozen=True)
class Binning:
    """How charges are turned into bins: `n_bins` equal ones of `width` ADC from `begin`, seen
    through `n_points` Fourier points that also hold what lies beyond the last bin.

    Anything of the spectrum beyond begin + n_points width would come back at the low end: choose
    n_points with `binning_for`.
    """

    begin: float
    width: float
    n_bins: int
    n_points: int

    @property
    def edges(self) -> Array:
        return np.asarray(self.begin + self.width * np.arange(self.n_bins + 1))


def binning_for(begin: float, width: float, n_bins: int, lowest: float, highest: float) -> Binning:
    """The binning whose period holds the bins and all charges between lowest and highest, ADC."""
    end = begin + n_bins * width
    span = max(highest, end) - min(lowest, begin)
    return Binning(begin, width, n_bins, next_fast_len(ceil(span / width) + 2, real=True))


def bin_probabilities(binning: Binning, values: Array) -> Array:
    """Probability of every bin, (n_bins,), for values in the order of NAMES.

    A share of 1e-4 of the events is spread over all bins, so that single stray events far from any
    peak do not steer a fit.
    """
    return BinnedResponse(binning, values).probability


def probabilities_and_slopes(binning: Binning, values: Array) -> tuple[Array, Array]:
    """Bin probabilities (n_bins,) and their derivatives by the parameters (9, n_bins)."""
    transformed = BinnedResponse(binning, values)
    return transformed.probability, transformed.jacobian


class BinnedResponse:
    """The model at one set of parameters.

    probability: (n_bins,), see `bin_probabilities`. jacobian: (9, n_bins), its derivatives.
    """

    def __init__(self, binning: Binning, values: Array) -> None:
        self.binning = binning
        period = binning.n_points * binning.width
        # Beyond this frequency electronics noise leaves less than 1e-9 of Phi.
        highest = sqrt(-2 * np.log(LEAST_PHI)) / values[2]
        n_frequencies = ceil(highest * period / (2 * pi))
        self.oversampling = max(1, ceil(2 * n_frequencies / binning.n_points))
        n_frequencies = min(n_frequencies, self.oversampling * binning.n_points // 2)
        omega = 2 * pi / period * np.arange(1, n_frequencies + 1)
        log_phi, self.slopes = log_response(omega, values)
        half = 0.5 * omega * binning.width
        first = binning.begin + 0.5 * binning.width
        self.amplitude = np.exp(log_phi.conj() + 1j * omega * first) * (np.sin(half) / half)
        raw = self._bins(np.append(1.0, self.amplitude))
        probability = (1 - STRAY) * raw + STRAY / binning.n_bins
        floor = 0.01 * STRAY / binning.n_bins
        self.above_floor = probability > floor
        self.probability = np.maximum(probability, floor)

    def _bins(self, amplitude: Complex) -> Array:
        """Bins of Fourier amplitudes (..., 1 + k), the first of which is the constant."""
        b = self.binning
        fine = irfft(amplitude, n=self.oversampling * b.n_points) * self.oversampling
        return np.asarray(fine[..., :: self.oversampling][..., : b.n_bins])

    @cached_property
    def jacobian(self) -> Array:
        amplitude = np.zeros((len(NAMES), len(self.amplitude) + 1), dtype=np.complex128)
        amplitude[:, 1:] = self.amplitude * self.slopes.conj()
        return np.asarray((1 - STRAY) * self._bins(amplitude) * self.above_floor)

    def pullback(self, pull: Array) -> Array:
        """pull (n_bins,) times the derivatives, (9,), for the price of one transform."""
        b = self.binning
        padded = np.zeros(self.oversampling * b.n_points)
        padded[: self.oversampling * b.n_bins : self.oversampling] = pull * self.above_floor
        back = rfft(padded)[1 : len(self.amplitude) + 1]
        weighted = back * self.amplitude.conj()
        scale = 2 * (1 - STRAY) / b.n_points
        return np.asarray(scale * (self.slopes @ weighted).real)
