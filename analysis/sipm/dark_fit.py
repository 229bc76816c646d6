"""Likelihood fit of dark counts at a constant rate to the charges of dark gates."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray

from analysis.estimate import Estimate
from analysis.sipm.response import NAMES as RESPONSE_NAMES
from analysis.sipm.response import (
    BinnedResponse,
    Binning,
    bin_probabilities,
    binning_for,
    probabilities_and_slopes,
)
from analysis.sipm.spectrum import Spectrum
from analysis.sipm.spectrum_fit import pearson

LEAST_ENTRIES = 300
MOST_BINS = 600
MOST_STARTS = 3
BEYOND_PE = 12.0
MOST_MEAN = 12.0
AFTERPULSE_PRIOR = (0.0, 0.15)
CROSSTALK_PRIOR = (0.1, 0.3)
RECOVERY_PRIOR = (0.0, 1.0)
EDGE_PRIOR = (0.13, 0.1)
KNOWN_EDGE = 0.15
NAMES = (
    "pedestal",
    "gain",
    "noise",
    "pe_variance",
    "mean",
    "crosstalk",
    "afterpulse",
    "log_recovery",
    "edge_ratio",
)

SHARED = [RESPONSE_NAMES.index("mu" if name == "mean" else name) for name in NAMES[:8]]
EDGE = RESPONSE_NAMES.index("dark_edge")

Array = NDArray[np.float64]


def fit_dark(
    counts: Array, edges: Array, priors: "Priors", guesses: tuple[Estimate | None, ...]
) -> "list[DarkFit]":
    """Fits from several starts, the best first.

    counts (n,) and edges (n + 1,) are equal cells; guesses are gain, pedestal and noise where they
    are known.
    """
    likelihoods = [
        _Likelihood.of(counts, edges, start, priors)
        for start in _starts(counts, edges, priors, *guesses)
    ]
    likelihoods.sort(key=lambda likelihood: likelihood(likelihood.start))
    tried = [_descend(likelihood) for likelihood in likelihoods[:MOST_STARTS]]
    return sorted((fit for fit in tried if fit is not None), key=lambda fit: fit.nll)


def equal_cells(dark: Spectrum) -> tuple[Array, Array] | str:
    """Equal bins around the entries, counts (n,) and edges (n + 1,), or why there are none."""
    counts, edges = dark.counts, dark.edges
    n = float(counts.sum())
    if n < LEAST_ENTRIES:
        return f"{n:.0f} entries are too few"
    if np.any(np.abs(counts - np.rint(counts)) > 1e-6):
        return "counts are not whole numbers: their statistical errors are unknown"
    widths = np.diff(edges)
    if np.ptp(widths) > 1e-3 * widths.mean():
        return "the bins differ in width"
    total = np.cumsum(counts)
    first = int(np.searchsorted(total, 1e-6 * n, side="right"))
    last = int(np.searchsorted(total, n * (1 - 1e-6)))
    if last - first < 4:
        return "all entries lie in a few bins"
    if max(counts[first], counts[last]) > 0.02 * n:
        return "entries pile up at an end of the range: overflow or underflow"
    inner = counts[first : last + 1]
    quarter = np.searchsorted(total, n * np.array([0.25, 0.75]))
    core = max(int(quarter[1] - quarter[0]), 1)
    factor = max(min(core // 6, 64), -(-len(inner) // (8 * MOST_BINS)), 1)
    padded = np.append(inner, np.zeros(-len(inner) % factor))
    begin = edges[first]
    width = float(widths.mean()) * factor
    joined = padded.reshape(-1, factor).sum(axis=1)
    return joined, begin + width * np.arange(len(joined) + 1)


@dataclass(frozen=True)
class Priors:
    """Centre and standard deviation of Gaussian priors in the order of NAMES; inf for none."""

    center: Array
    sigma: Array


def priors_of(
    pulse_tau_ns: float | None,
    gate_ns: float,
    gain: Estimate | None,
    pedestal: Estimate | None,
    noise: Estimate | None,
    crosstalk: Estimate | None,
    afterpulse: Estimate | None,
) -> Priors:
    """Priors of the parameters from what is known and from what devices are like."""
    center, sigma = np.zeros(len(NAMES)), np.full(len(NAMES), np.inf)

    def put(name: str, value: float, error: float) -> None:
        at = NAMES.index(name)
        center[at], sigma[at] = value, max(error, 1e-9, 1e-6 * abs(value))

    put("crosstalk", *CROSSTALK_PRIOR)
    put("afterpulse", *AFTERPULSE_PRIOR)
    put("log_recovery", *RECOVERY_PRIOR)
    put("edge_ratio", *EDGE_PRIOR)
    if pulse_tau_ns is not None:
        put("edge_ratio", pulse_tau_ns / gate_ns, KNOWN_EDGE * pulse_tau_ns / gate_ns)
    for name, given in (
        ("gain", gain),
        ("pedestal", pedestal),
        ("noise", noise),
        ("crosstalk", crosstalk),
        ("afterpulse", afterpulse),
    ):
        if given is not None and given.value is not None and given.sigma is not None:
            put(name, given.value, given.sigma)
    return Priors(center, sigma)


def _starts(
    counts: Array,
    edges: Array,
    priors: Priors,
    gain: Estimate | None,
    pedestal: Estimate | None,
    noise: Estimate | None,
) -> list[Array]:
    """Start values: every plausible pedestal with every plausible gain."""
    centers = 0.5 * (edges[1:] + edges[:-1])
    width = edges[1] - edges[0]
    n = counts.sum()
    mean = float(counts @ centers / n)
    variance = float(counts @ (centers - mean) ** 2 / n)
    mode = float(centers[int(np.argmax(counts))])
    low = centers[np.searchsorted(np.cumsum(counts), 0.02 * n)]
    below = centers < mode
    by_low = sqrt(max(2 * counts[below] @ (centers[below] - mode) ** 2 / n, width**2))
    rms = sqrt(variance)
    s0 = noise.value if noise is not None and noise.value else None
    pedestals = [mode, low + 1.5 * (s0 or 0.3 * rms)]
    if pedestal is not None and pedestal.value is not None:
        pedestals = [pedestal.value]
    starts = []
    for at in pedestals:
        lower = counts[centers <= at]
        spread = sqrt(max(lower @ (centers[centers <= at] - at) ** 2 / max(lower.sum(), 1), 0))
        s = s0 or min(max(spread, 0.4 * width), max(by_low, width) * 1.5)
        above = max(mean - at, 1e-3 * rms)
        by_moments = max(variance - s**2, 0.1 * s**2) / above
        gains = [by_moments, 0.6 * by_moments, 4.0 * s, 8.0 * s]
        if gain is not None and gain.value is not None:
            gains = [gain.value]
        for g in gains:
            if not g > 1.2 * s and gain is None:
                continue
            m = min(max(above / g / 1.15, 1e-4), MOST_MEAN)
            xt, edge = priors.center[5], priors.center[8]
            starts.append(np.array([at, g, s, (0.05 * g) ** 2, m, xt, 0.03, 0.0, edge]))
    return starts


@dataclass(frozen=True)
class DarkFit:
    """Values (9,) in the order of NAMES with their covariance; expected counts of the cells."""

    values: Array
    covariance: Array
    nll: float
    expected: Array
    chi2: float
    ndf: int

    def value(self, name: str) -> float:
        """Value of a parameter."""
        return float(self.values[NAMES.index(name)])

    def sigma(self, name: str) -> float:
        """Standard deviation of a parameter."""
        i = NAMES.index(name)
        return float(sqrt(max(self.covariance[i, i], 0.0)))


def _model_values(p: Array) -> Array:
    """Values in the order of the response: the mean is mu and, times the ratio, the edges."""
    values = np.zeros(len(RESPONSE_NAMES))
    values[SHARED] = p[:8]
    values[EDGE] = p[4] * p[8]
    return values


def _own_slopes(slopes: Array, p: Array) -> Array:
    """Derivatives (9, ...) by the parameters here from those by the parameters of the response."""
    own = np.concatenate([slopes[SHARED], slopes[EDGE : EDGE + 1] * p[4]])
    own[4] += slopes[EDGE] * p[8]
    return own


@dataclass(frozen=True)
class _Likelihood:
    """Minus the log likelihood of cells (n,), in units of the first guess of the gain."""

    counts: Array
    binning: Binning
    start: Array
    scale: Array
    center: Array
    weight: Array

    @classmethod
    def of(cls, counts: Array, edges: Array, start: Array, priors: Priors) -> "_Likelihood":
        unit = float(start[1])
        scale = _scale(unit)
        begin, width = float(edges[0] / unit), float((edges[1] - edges[0]) / unit)
        end = float(edges[-1] / unit)
        binning = binning_for(begin, width, len(counts), begin - 2, end + BEYOND_PE)
        weight = (priors.sigma / scale) ** -2.0
        return cls(counts, binning, start / scale, scale, priors.center / scale, weight)

    def __call__(self, p: Sequence[float] | Array) -> float:
        q = np.asarray(p)
        probability = bin_probabilities(self.binning, _model_values(q))
        n = float(self.counts.sum())
        likelihood = n * log(probability.sum()) - self.counts @ np.log(probability)
        return float(likelihood + 0.5 * self.weight @ (q - self.center) ** 2)

    def gradient(self, p: Sequence[float]) -> Array:
        q = np.asarray(p)
        model = BinnedResponse(self.binning, _model_values(q))
        probability = model.probability
        slopes = model.pullback(self.counts.sum() / probability.sum() - self.counts / probability)
        return np.asarray(_own_slopes(slopes, q) + self.weight * (q - self.center))

    def covariance(self, q: Array) -> Array | None:
        """Inverse of Fisher's information with the priors; also good at the edge of a range."""
        probability, by_response = probabilities_and_slopes(self.binning, _model_values(q))
        slopes = _own_slopes(by_response, q)
        n, whole = float(self.counts.sum()), probability.sum()
        drift = slopes.sum(axis=1) / whole
        information = n * ((slopes / (probability * whole)) @ slopes.T - np.outer(drift, drift))
        covariance = np.linalg.pinv(information + np.diag(self.weight), hermitian=True)
        return covariance if np.all(np.isfinite(covariance)) else None


def _scale(unit: float) -> Array:
    return np.array([unit, unit, unit, unit**2, 1, 1, 1, 1, 1.0])


def _descend(likelihood: _Likelihood) -> DarkFit | None:
    first, scale, counts = likelihood.start, likelihood.scale, likelihood.counts
    width = likelihood.binning.width
    minuit = Minuit(likelihood, first, grad=likelihood.gradient, name=NAMES)
    minuit.errordef = Minuit.LIKELIHOOD
    limits = {
        "gain": (0.3, 4.0),
        "noise": (0.25 * width, None),
        "pe_variance": (0.0, 0.15),
        "mean": (1e-6, 2 * MOST_MEAN),
        "crosstalk": (0.0, 0.8),
        "afterpulse": (0.0, 0.5),
        "log_recovery": (-2.0, 2.0),
        "edge_ratio": (0.0, 0.4),
    }
    for name, limit in limits.items():
        minuit.limits[name] = limit
    minuit.errors = [0.02, 0.02, 0.01, 0.002, 0.05 * first[4] + 1e-5, 0.05, 0.05, 0.3, 0.03]
    minuit.migrad(ncall=400)
    values = np.array(minuit.values)
    if not (np.isfinite(minuit.fval) and np.all(np.isfinite(values))):
        return None
    covariance = likelihood.covariance(values)
    if covariance is None:
        return None
    probability = bin_probabilities(likelihood.binning, _model_values(values))
    expected = counts.sum() * probability / probability.sum()
    chi2, groups = pearson(counts, expected)
    return DarkFit(
        values * scale,
        covariance * np.outer(scale, scale),
        float(minuit.fval),
        expected,
        chi2,
        max(groups - len(NAMES), 1),
    )


def expected_counts(dark: Spectrum, fit: DarkFit) -> Array:
    """Expected counts of the bins of a spectrum, (n,)."""
    unit = fit.value("gain")
    binning = binning_for(
        float(dark.edges[0] / unit),
        float(np.mean(dark.widths)) / unit,
        len(dark.counts),
        float(dark.edges[0] / unit) - 2,
        float(dark.edges[-1] / unit) + BEYOND_PE,
    )
    probability = bin_probabilities(binning, _model_values(fit.values / _scale(unit)))
    return np.asarray(dark.n_entries * probability / probability.sum())
