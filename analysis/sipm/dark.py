"""Dark count rate and crosstalk from the charges of gates without light.

The whole spectrum is fitted with the response of `analysis.sipm.response`, in which dark counts
come at a constant rate: on average DCR T inside a gate of length T, each with its cascade of prompt
crosstalk (S. Vinogradov, arXiv:1109.2014), and DCR tau per unit of ln x of which the gate sees only
the share x because the pulse began before the gate or did not end in it (J. Rolph et al.,
arXiv:2301.11833). Noise that leaks over any threshold is part of the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, hypot, log, sqrt

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import chi2 as chi2_distribution

from analysis.estimate import Estimate, unknown
from analysis.sipm.response import (
    Binning,
    bin_probabilities,
    binning_for,
    peak_weights,
    probabilities_and_pullback,
)
from analysis.sipm.spectrum import Spectrum
from analysis.sipm.spectrum_fit import pearson
from analysis.sipm.staircase import Staircase, staircase

__all__ = ["DarkGates", "Staircase", "dcr_from_gates", "dcr_from_pedestal", "staircase"]

METHOD = "dark spectrum, binned likelihood"
PEDESTAL_METHOD = "share of gates without dark counts"
LEAST_ENTRIES = 300
MOST_BINS = 600
MOST_STARTS = 3
BEYOND_PE = 12.0
SHORT_GATE = 3.0
MOST_MEAN = 12.0
MOST_MISFIT = 0.1
MOST_NOISE = 1.5
MOST_GAIN_ERROR = 0.15
RIVAL_NLL = 6.0
LEAST_SIGNIFICANCE = 3.0
AFTERPULSE_PRIOR = (0.0, 0.15)
CROSSTALK_PRIOR = (0.1, 0.3)
RECOVERY_PRIOR = (0.0, 1.0)
EDGE_PRIOR = (0.13, 0.1)
KNOWN_EDGE = 0.15
EXPECTED_DELAY_NS = 30.0
DELAY_FACTOR = 2.5
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

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DarkGates:
    """What the charges of dark gates tell.

    dcr: rate of primary dark counts, Hz. crosstalk: mean number lambda of prompt secondaries.
    gain, pedestal, noise: of the same fit, ADC/pe and ADC.
    afterpulse: mean afterpulses per avalanche that the gate sees.
    model: (n,) expected counts of the bins of the spectrum; zeros when refused.
    """

    dcr: Estimate
    crosstalk: Estimate
    gain: Estimate
    pedestal: Estimate
    noise: Estimate
    afterpulse: Estimate
    model: NDArray[np.float64]
    reasons: tuple[str, ...]


def dcr_from_gates(
    dark: Spectrum,
    gate_ns: float,
    *,
    pulse_tau_ns: float | None = None,
    gain: Estimate | None = None,
    pedestal: Estimate | None = None,
    noise: Estimate | None = None,
    crosstalk: Estimate | None = None,
    afterpulse: Estimate | None = None,
) -> DarkGates:
    """Dark count rate, crosstalk and what else a dark spectrum holds.

    dark: charges of gates of `gate_ns` without light, at random times.
    pulse_tau_ns: decay time of the pulse that the gate integrates; without it the share of partly
        seen dark counts is fitted.
    gain, pedestal, noise, crosstalk, afterpulse: earlier results of the device at this bias; each
        that is known helps with its error. Few dark counts need at least the gain.

    Afterpulses of dark counts before the gate look like dark counts: the rate is corrected by
    alpha tau_a (1 - exp(-T / tau_a)) / T for a delay tau_a of 30 ns, and its sigma covers delays
    within a factor of 2.5.

    Unknown where the pedestal or the gain can't be told, where another solution describes the
    spectrum as well, or where no dark counts stand out. Raises ValueError for a gate or pulse time
    that is not positive.
    """
    if not gate_ns > 0 or (pulse_tau_ns is not None and not pulse_tau_ns > 0):
        raise ValueError(f"gate_ns {gate_ns} and pulse_tau_ns {pulse_tau_ns} must be positive")
    if pulse_tau_ns is not None and gate_ns < SHORT_GATE * pulse_tau_ns:
        return _refused(dark, f"a gate below {SHORT_GATE:g} pulse times sees no whole charges")
    cells = _cells(dark)
    if isinstance(cells, str):
        return _refused(dark, cells)
    counts, edges = cells
    priors = _priors(pulse_tau_ns, gate_ns, gain, pedestal, noise, crosstalk, afterpulse)
    problems = [
        _Likelihood.of(counts, edges, start, priors)
        for start in _starts(counts, edges, priors, gain, pedestal, noise)
    ]
    problems.sort(key=lambda likelihood: likelihood(likelihood.start))
    tried = [_fit(likelihood) for likelihood in problems[:MOST_STARTS]]
    fits = sorted((fit for fit in tried if fit is not None), key=lambda fit: fit.nll)
    if not fits:
        return _refused(dark, "no fit converged")
    best = fits[0]
    problem = _problem(best, fits[1:], counts)
    if problem is not None:
        return _refused(dark, problem)
    return _answer(dark, best, gate_ns, counts)


def dcr_from_pedestal(
    dark: Spectrum,
    gate_ns: float,
    *,
    gain: Estimate,
    pedestal: Estimate,
    noise: Estimate,
    crosstalk: float = 0.0,
    pulse_tau_ns: float = 0.0,
) -> Estimate:
    """DCR from the share of gates with less than half a photoelectron, P = exp(-DCR T_eff), Hz.

    A dark count of k pixels lifts the charge above half a photoelectron when the gate sees more
    than 1 / 2k of it, so T_eff = T + tau sum_k b_k ln(2 k - 1) with the Borel probabilities b_k
    of the cascade. Noise that leaks over the threshold is taken off. Good for DCR T below one;
    sigma contains the counting error and those of gain, pedestal and noise.
    """
    if not gate_ns > 0:
        raise ValueError(f"gate_ns must be positive, not {gate_ns}")
    given = (gain.value, pedestal.value, noise.value)
    if any(value is None for value in given):
        return unknown("Hz", PEDESTAL_METHOD, "gain, pedestal and noise are needed")
    n = dark.n_entries
    if n < LEAST_ENTRIES:
        return unknown("Hz", PEDESTAL_METHOD, f"{n:.0f} entries are too few")
    g, at, s = (float(value) for value in given if value is not None)
    k = np.arange(1, 40, dtype=np.float64)
    borel = peak_weights(k, 1e-9, crosstalk)
    borel = borel / borel.sum() if crosstalk > 0 else np.eye(39)[0]
    effective = gate_ns + pulse_tau_ns * float(borel @ np.log(2 * k - 1))

    def rate(half: float, leak: float) -> float:
        below = _share_below(dark, half)
        return -log(min(max(below / (1 - leak), 0.5 / n), 1.0)) / effective * 1e9

    half = at + 0.5 * g
    leak = float(ndtr(-0.5 * g / s)) if s > 0 else 0.0
    value = rate(half, leak)
    below = min(max(_share_below(dark, half), 1 / n), 1 - 1 / n)
    counting = sqrt((1 - below) / (below * n)) / effective * 1e9
    shift = hypot(0.5 * (gain.sigma or 0.0), pedestal.sigma or 0.0)
    moved = 0.5 * abs(rate(half + shift, leak) - rate(half - shift, leak))
    leaking = leak / effective * 1e9
    sigma = hypot(counting, moved, 0.5 * leaking)
    if below < 0.02 or value < 2 * sigma:
        return unknown("Hz", PEDESTAL_METHOD, "too many or too few gates without dark counts")
    return Estimate(value, sigma, "Hz", PEDESTAL_METHOD, {"effective_gate_ns": effective})


def _share_below(dark: Spectrum, charge: float) -> float:
    whole = np.append(0.0, np.cumsum(dark.counts))
    return float(np.interp(charge, dark.edges, whole) / whole[-1])


def _cells(dark: Spectrum) -> tuple[Array, Array] | str:
    """Equal bins around the entries, (counts, edges), or why there are none."""
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
class _Priors:
    """Centre and standard deviation of Gaussian priors in the order of NAMES; inf for none."""

    center: Array
    sigma: Array


def _priors(
    pulse_tau_ns: float | None,
    gate_ns: float,
    gain: Estimate | None,
    pedestal: Estimate | None,
    noise: Estimate | None,
    crosstalk: Estimate | None,
    afterpulse: Estimate | None,
) -> _Priors:
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
    return _Priors(center, sigma)


def _starts(
    counts: Array,
    edges: Array,
    priors: _Priors,
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
class _Fit:
    values: Array
    covariance: Array
    nll: float
    expected: Array
    chi2: float
    ndf: int

    def value(self, name: str) -> float:
        return float(self.values[NAMES.index(name)])

    def sigma(self, name: str) -> float:
        i = NAMES.index(name)
        return float(sqrt(max(self.covariance[i, i], 0.0)))


def _model_values(p: Array) -> Array:
    """From NAMES here to those of the response: the mean is both mu and, times the ratio, edges."""
    values = np.array(p, dtype=np.float64)
    values[8] = p[4] * p[8]
    return values


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
    def of(cls, counts: Array, edges: Array, start: Array, priors: _Priors) -> "_Likelihood":
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
        probability, model = probabilities_and_pullback(self.binning, _model_values(q))
        slopes = model.pullback(self.counts.sum() / probability.sum() - self.counts / probability)
        slopes[4] += slopes[8] * q[8]
        slopes[8] *= q[4]
        return np.asarray(slopes + self.weight * (q - self.center))


def _scale(unit: float) -> Array:
    return np.array([unit, unit, unit, unit**2, 1, 1, 1, 1, 1.0])


def _fit(likelihood: _Likelihood) -> _Fit | None:
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
    minuit.hesse()
    if minuit.covariance is None or not np.isfinite(minuit.fval):
        return None
    values, covariance = np.array(minuit.values), np.array(minuit.covariance)
    if not (np.all(np.isfinite(covariance)) and np.all(np.isfinite(values))):
        return None
    probability = bin_probabilities(likelihood.binning, _model_values(values))
    expected = counts.sum() * probability / probability.sum()
    chi2, groups = pearson(counts, expected)
    return _Fit(
        values * scale,
        covariance * np.outer(scale, scale),
        float(minuit.fval),
        expected,
        chi2,
        max(groups - len(NAMES), 1),
    )


def _problem(best: _Fit, others: list[_Fit], counts: Array) -> str | None:
    """Why the fit must not be believed; None when it may."""
    mean, sigma = best.value("mean"), best.sigma("mean")
    gain, noise = best.value("gain"), best.value("noise")
    excess = max(best.chi2 - best.ndf - 4 * sqrt(2 * best.ndf), 0.0)
    misfit = min(sqrt(excess / float(counts.sum())), 1.0)
    rivals = [
        other
        for other in others
        if abs(other.value("mean") - mean) > 3 * hypot(sigma, 0.03 * mean)
        and other.nll < best.nll + RIVAL_NLL
        and other.sigma("mean") < mean
    ]
    problems = (
        (gain < MOST_NOISE * noise, "the noise is as large as the gain"),
        (best.sigma("gain") > MOST_GAIN_ERROR * gain, "the gain can't be told: give it"),
        (
            misfit > MOST_MISFIT,
            f"the spectrum differs from dark counts at a constant rate by {misfit:.0%}",
        ),
        (bool(rivals), "another solution does as well: cannot tell which peak is the pedestal"),
        (mean > MOST_MEAN, f"{mean:.0f} dark counts per gate: too many to be told apart"),
        (
            mean < LEAST_SIGNIFICANCE * sigma,
            f"no dark counts stand out: fewer than {mean + 2 * sigma:.2g} per gate",
        ),
    )
    return next((why for wrong, why in problems if wrong), None)


def _answer(dark: Spectrum, fit: _Fit, gate_ns: float, counts: Array) -> DarkGates:
    reasons: list[str] = []
    p_value = float(chi2_distribution.sf(fit.chi2, fit.ndf))
    stretch = 1.0
    if p_value < 0.01:
        stretch = sqrt(max(fit.chi2 / fit.ndf, 1.0))
        reasons.append(f"chi2/ndf {fit.chi2 / fit.ndf:.3g}: errors multiplied by {stretch:.3g}")
    alpha = fit.value("afterpulse")
    alpha_sigma = fit.sigma("afterpulse")
    early = [
        _overhang(gate_ns, EXPECTED_DELAY_NS * factor)
        for factor in (1.0, 1 / DELAY_FACTOR, DELAY_FACTOR)
    ]
    share = alpha * early[0]
    share_sigma = hypot(
        alpha_sigma * early[0], hypot(alpha, alpha_sigma) * 0.5 * abs(early[2] - early[1])
    )
    per_hz = 1e9 / gate_ns
    value = fit.value("mean") * per_hz / (1 + share)
    sigma = hypot(stretch * fit.sigma("mean") * per_hz / (1 + share), value * share_sigma)
    if share_sigma > 0.02:
        reasons.append(f"afterpulses of dark counts before the gate: {share_sigma:.0%} of the rate")
    goodness = {
        "chi2": fit.chi2,
        "ndf": float(fit.ndf),
        "p_value": p_value,
        "per_gate": fit.value("mean"),
    }
    notes = tuple(reasons)

    def known(name: str, unit: str) -> Estimate:
        return Estimate(fit.value(name), stretch * fit.sigma(name), unit, METHOD, goodness, notes)

    return DarkGates(
        dcr=Estimate(value, sigma, "Hz", METHOD, goodness, notes),
        crosstalk=_crosstalk(fit, stretch, goodness, notes),
        gain=known("gain", "ADC/pe"),
        pedestal=known("pedestal", "ADC"),
        noise=known("noise", "ADC"),
        afterpulse=_seen_afterpulse(fit, stretch, goodness),
        model=_drawn(dark, fit),
        reasons=notes,
    )


def _overhang(gate_ns: float, delay_ns: float) -> float:
    """Mean share of the gate that one afterpulse of a pulse before the gate adds."""
    return delay_ns * (1 - exp(-gate_ns / delay_ns)) / gate_ns


def _crosstalk(
    fit: _Fit, stretch: float, goodness: dict[str, float], notes: tuple[str, ...]
) -> Estimate:
    sigma = stretch * fit.sigma("crosstalk")
    if sigma > 0.6 * CROSSTALK_PRIOR[1]:
        return unknown("1", METHOD, "too few dark counts to tell crosstalk", goodness=goodness)
    return Estimate(fit.value("crosstalk"), sigma, "1", METHOD, goodness, notes)


def _seen_afterpulse(fit: _Fit, stretch: float, goodness: dict[str, float]) -> Estimate:
    sigma = stretch * fit.sigma("afterpulse")
    if sigma > 0.5 * AFTERPULSE_PRIOR[1]:
        return unknown("1", METHOD, "too few dark counts to tell afterpulses", goodness=goodness)
    seen = "only afterpulses whose charge the gate sees"
    return Estimate(fit.value("afterpulse"), sigma, "1", METHOD, goodness, (seen,))


def _drawn(dark: Spectrum, fit: _Fit) -> Array:
    width = float(np.mean(dark.widths))
    unit = fit.value("gain")
    whole = binning_for(
        float(dark.edges[0] / unit),
        width / unit,
        len(dark.counts),
        float(dark.edges[0] / unit) - 2,
        float(dark.edges[-1] / unit) + BEYOND_PE,
    )
    probability = bin_probabilities(whole, _model_values(fit.values / _scale(unit)))
    return np.asarray(dark.n_entries * probability / probability.sum())


def _refused(dark: Spectrum, *reasons: str) -> DarkGates:
    return DarkGates(
        dcr=unknown("Hz", METHOD, *reasons),
        crosstalk=unknown("1", METHOD, *reasons),
        gain=unknown("ADC/pe", METHOD, *reasons),
        pedestal=unknown("ADC", METHOD, *reasons),
        noise=unknown("ADC", METHOD, *reasons),
        afterpulse=unknown("1", METHOD, *reasons),
        model=np.zeros(len(dark.counts)),
        reasons=reasons,
    )
