"""Simulated pairs to train on, drawn from the exact charge distribution of random channels.

The characteristic function of the charge (light, dark counts with partial charge, noise) is turned
into bin probabilities by one fast Fourier transform, and the histograms are multinomial draws. The
channels have no afterpulses, no light jitter and no pixels that run out; how much the network
suffers from that is measured on full Monte Carlo (tests/analysis/sipm/learned).
"""

from dataclasses import dataclass
from math import exp, log, pi, sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate
from analysis.sipm.learned.features import features
from analysis.sipm.light_charge import divisor, light_function
from analysis.sipm.spectrum import Spectrum

MOST_BINS = 8192
DARK_SHARES = 16
GATE_IN_PULSE_TAUS = 7.5
BEFORE_IN_PULSE_TAUS = 6.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Ranges:
    """From least to most; uniform in the logarithm except crosstalk and gain spread.

    light_pe: mean primaries. noise_pe: electronics alone. dark_per_gate: mean dark counts that
    begin in the gate, 600 for 1e10 Hz and 60 ns. divisor_error: relative, where F is given.
    """

    light_pe: tuple[float, float] = (0.3, 60.0)
    noise_pe: tuple[float, float] = (0.25, 7.0)
    dark_per_gate: tuple[float, float] = (1e-3, 700.0)
    n_events: tuple[float, float] = (1500.0, 250_000.0)
    crosstalk: tuple[float, float] = (0.0, 0.28)
    gain_spread: tuple[float, float] = (0.01, 0.12)
    divisor_error: tuple[float, float] = (0.005, 0.1)


@dataclass(frozen=True)
class Channel:
    """Truth of one pair; the gain is 1 p.e. and the pedestal 0."""

    light_pe: float
    noise_pe: float
    dark_per_gate: float
    n_on: int
    n_off: int
    crosstalk: float
    gain_spread: float

    @property
    def enf_divisor(self) -> float:
        return float(divisor(self.crosstalk, self.gain_spread**2, 0.0))


@dataclass(frozen=True)
class GivenDivisor:
    """A prior that holds only F; see charge_ratio.PairPrior."""

    enf_divisor: Estimate | None
    light_jitter: Estimate | None = None
    light_curvature: Estimate | None = None
    n_pixels: int | None = None


def random_channel(rng: np.random.Generator, ranges: Ranges) -> Channel:
    """A channel with random parameters; half of the channels have no dark counts."""

    def in_logarithm(least: float, most: float) -> float:
        return float(exp(rng.uniform(log(least), log(most))))

    least, most = ranges.dark_per_gate
    n_on = in_logarithm(*ranges.n_events)
    return Channel(
        in_logarithm(*ranges.light_pe),
        in_logarithm(*ranges.noise_pe),
        in_logarithm(least, most) if rng.random() < 0.5 else 0.0,
        int(n_on),
        int(np.clip(n_on * in_logarithm(0.5, 2.0), *ranges.n_events)),
        float(rng.uniform(*ranges.crosstalk)),
        float(rng.uniform(*ranges.gain_spread)),
    )


def draw_pair(rng: np.random.Generator, channel: Channel) -> tuple[Spectrum, Spectrum]:
    """Light-on and light-off histograms of a channel; unit of charge: p.e."""
    crosstalk, spread2 = channel.crosstalk, channel.gain_spread**2
    shares = _dark_shares()
    per_share = channel.dark_per_gate * (1 + BEFORE_IN_PULSE_TAUS / GATE_IN_PULSE_TAUS)
    per_share /= len(shares)
    mean = 1 / (1 - crosstalk)
    second = mean**2 * channel.enf_divisor / mean
    dark_mean, dark_variance = (
        per_share * mean * float(shares.sum()),
        per_share * second * float((shares**2).sum()),
    )
    variance_off = channel.noise_pe**2 + dark_variance
    variance_on = variance_off + channel.light_pe * second
    low = dark_mean - 8 * sqrt(variance_off) - 1
    high = dark_mean + channel.light_pe * mean + 9 * sqrt(variance_on) + 6
    width = channel.noise_pe * rng.uniform(0.2, 0.7)
    width = max(width, (high - low) / MOST_BINS)
    n_bins = 1 << int(np.ceil(np.log2((high - low) / width)))
    omega: Array = 2 * pi / (n_bins * width) * np.arange(1.0, n_bins // 2 + 1)
    theta = np.array([[0.0, crosstalk, spread2, 0.0, 0.0]])
    light = light_function(omega, channel.light_pe * mean, np.ones(1), theta)[0]
    noise = np.exp(-0.5 * (omega * channel.noise_pe) ** 2) * np.sinc(omega * width / (2 * pi))
    off: NDArray[np.complex128] = noise.astype(np.complex128)
    for share in shares if per_share > 0 else ():
        off = off * light_function(omega, per_share * mean * share, np.array([share]), theta)[0]
    edges: Array = low + width * (np.arange(n_bins + 1.0) + rng.random())
    return (
        _drawn(rng, off * light, omega, edges, channel.n_on),
        _drawn(rng, off, omega, edges, channel.n_off),
    )


def _dark_shares() -> Array:
    """Charges, in p.e., of dark counts at times spread evenly before and in the gate."""
    time = np.linspace(-BEFORE_IN_PULSE_TAUS, GATE_IN_PULSE_TAUS, 2 * DARK_SHARES + 1)[1::2]
    begin, end = np.maximum(-time, 0), GATE_IN_PULSE_TAUS - time
    return np.asarray(np.exp(-begin) - np.exp(-end), dtype=np.float64)


def _drawn(
    rng: np.random.Generator,
    function: NDArray[np.complex128],
    omega: Array,
    edges: Array,
    n_events: int,
) -> Spectrum:
    n_bins = len(edges) - 1
    first = 0.5 * (edges[0] + edges[1])
    shifted = np.append(1.0, np.conj(function * np.exp(-1j * omega * first)))
    probability = np.maximum(np.fft.irfft(shifted, n_bins), 0.0)
    counts = rng.multinomial(n_events, probability / probability.sum())
    return Spectrum(counts.astype(np.float64), edges)


def draw_examples(
    rng: np.random.Generator, n: int, ranges: Ranges
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Features (n, len(NAMES)) and targets (n,) ln(G / q) of random pairs that have features.

    F is given to 60 % of the pairs, with a relative error from the range. Every pair has random
    numbers of its own: whether one is refused does not change the others.
    """
    inputs: list[Array] = []
    targets: list[float] = []
    while len(inputs) < n:
        own = rng.spawn(1)[0]
        channel = random_channel(own, ranges)
        f = None
        if own.random() < 0.6:
            least, most = ranges.divisor_error
            error = exp(own.uniform(log(least), log(most))) * channel.enf_divisor
            seen = max(channel.enf_divisor + error * own.standard_normal(), 1.0)
            f = Estimate(seen, error, "1", "simulated")
        found = features(*draw_pair(own, channel), GivenDivisor(f))
        if isinstance(found, str):
            continue
        inputs.append(found.values)
        targets.append(-log(found.slope))
    return np.array(inputs, dtype=np.float32), np.array(targets, dtype=np.float32)
