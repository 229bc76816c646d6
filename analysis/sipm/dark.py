"""Dark count rate and crosstalk from the charges of gates without light.

The whole spectrum is fitted with the response of `analysis.sipm.response`, in which dark counts
come at a constant rate: on average DCR T inside a gate of length T, each with its cascade of prompt
crosstalk (S. Vinogradov, arXiv:1109.2014), and DCR tau per unit of ln x of which the gate sees only
the share x because the pulse began before the gate or did not end in it (J. Rolph et al.,
arXiv:2301.11833). Noise that leaks over any threshold is part of the fit.
"""

from dataclasses import dataclass
from math import exp, hypot, log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr
from scipy.stats import chi2 as chi2_distribution

from analysis.estimate import Estimate, unknown
from analysis.sipm.dark_fit import (
    AFTERPULSE_PRIOR,
    CROSSTALK_PRIOR,
    LEAST_ENTRIES,
    MOST_MEAN,
    NAMES,
    DarkFit,
    Priors,
    equal_cells,
    expected_counts,
    fit_dark,
    priors_of,
)
from analysis.sipm.response import peak_weights
from analysis.sipm.spectrum import Spectrum
from analysis.sipm.staircase import Staircase, staircase

__all__ = ["DarkGates", "Staircase", "dcr_from_gates", "dcr_from_pedestal", "staircase"]

METHOD = "dark spectrum, binned likelihood"
PEDESTAL_METHOD = "share of gates without dark counts"
SHORT_GATE = 3.0
MOST_MISFIT = 0.06
MOST_RELATIVE = 0.5
MIXED_SHARE = 0.4
UNSEEN_SHARE = 0.5
MOST_FREE_MEAN = 3.0
MOST_FREE_NOISE = 0.25
PILED_SHARE = 0.03
DEFAULT_AFTERPULSE = (0.05, 0.1)
MOST_NOISE = 1.5
MOST_GAIN_ERROR = 0.15
RIVAL_NLL = 6.0
LEAST_SIGNIFICANCE = 2.0
LEAST_DARK = 40.0
EXPECTED_DELAY_NS = 30.0
DELAY_FACTOR = 2.5
Array = NDArray[np.float64]


@dataclass(frozen=True)
class DarkGates:
    """What the charges of dark gates tell.

    dcr: rate of primary dark counts, Hz. crosstalk: mean number lambda of prompt secondaries.
    gain, pedestal, noise: of the same fit, ADC/pe and ADC.
    afterpulse_in_gate: mean afterpulses per avalanche that the gate sees, fewer than all.
    model: (n,) expected counts of the bins of the spectrum; zeros when refused.
    """

    dcr: Estimate
    crosstalk: Estimate
    gain: Estimate
    pedestal: Estimate
    noise: Estimate
    afterpulse_in_gate: Estimate
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
    alpha / (1 - lambda - alpha) tau_a (1 - exp(-T / tau_a)) / T for a delay tau_a of 30 ns, and its
    sigma covers delays within a factor of 2.5.

    Unknown where the pedestal or the gain can't be told, where another solution describes the
    spectrum as well, or where no dark counts stand out. Raises ValueError for a gate or pulse time
    that is not positive.
    """
    if not gate_ns > 0 or (pulse_tau_ns is not None and not pulse_tau_ns > 0):
        raise ValueError(f"gate_ns {gate_ns} and pulse_tau_ns {pulse_tau_ns} must be positive")
    if pulse_tau_ns is not None and gate_ns < SHORT_GATE * pulse_tau_ns:
        return _refused(dark, f"a gate below {SHORT_GATE:g} pulse times sees no whole charges")
    cells = equal_cells(dark)
    if isinstance(cells, str):
        return _refused(dark, cells)
    counts, edges = cells
    priors = priors_of(pulse_tau_ns, gate_ns, gain, pedestal, noise, crosstalk, afterpulse)
    fits = fit_dark(counts, edges, priors, (gain, pedestal, noise))
    if not fits:
        return _refused(dark, "no fit converged")
    best = fits[0]
    problem = _problem(best, fits[1:], counts, priors)
    if problem is not None:
        return _refused(dark, problem)
    return _answer(dark, best, gate_ns)


def dcr_from_pedestal(
    dark: Spectrum,
    gate_ns: float,
    *,
    gain: Estimate,
    pedestal: Estimate,
    noise: Estimate,
    crosstalk: float = 0.0,
    afterpulse: Estimate | None = None,
    pulse_tau_ns: float = 0.0,
) -> Estimate:
    """DCR from the share of gates with less than half a photoelectron, P = exp(-DCR T_eff), Hz.

    A dark count of k pixels lifts the charge above half a photoelectron when the gate sees more
    than 1 / 2k of it, so T_eff = T + tau sum_k b_k ln(2 k - 1) with the Borel probabilities b_k
    of the cascade. Noise that leaks over the threshold is taken off, and so are afterpulses of
    earlier dark counts (see `dcr_from_gates`), 0.05 +- 0.1 per avalanche where none are given.
    sigma contains the counting error, those of gain, pedestal, noise and afterpulses, and three per
    cent for every dark count per gate, whose parts pile up.
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
    alpha, alpha_sigma = DEFAULT_AFTERPULSE
    if afterpulse is not None and afterpulse.value is not None and afterpulse.sigma is not None:
        alpha, alpha_sigma = afterpulse.value, afterpulse.sigma
    single = 1 - min(crosstalk + alpha, 0.7)
    share, share_sigma = _overhangs(alpha / single, alpha_sigma / single, gate_ns)
    value = rate(half, leak) / (1 + share)
    piled = value * 1e-9 * gate_ns * PILED_SHARE
    below = min(max(_share_below(dark, half), 1 / n), 1 - 1 / n)
    counting = sqrt((1 - below) / (below * n)) / effective * 1e9
    shift = hypot(0.5 * (gain.sigma or 0.0), pedestal.sigma or 0.0)
    moved = 0.5 * abs(rate(half + shift, leak) - rate(half - shift, leak))
    leaking = leak / effective * 1e9
    sigma = hypot(counting, moved, 0.5 * leaking, value * hypot(share_sigma, piled))
    if below < 0.02 or value < 2 * sigma:
        return unknown("Hz", PEDESTAL_METHOD, "too many or too few gates without dark counts")
    return Estimate(value, sigma, "Hz", PEDESTAL_METHOD, {"effective_gate_ns": effective})


def _share_below(dark: Spectrum, charge: float) -> float:
    whole = np.append(0.0, np.cumsum(dark.counts))
    return float(np.interp(charge, dark.edges, whole) / whole[-1])


def _problem(best: DarkFit, others: list[DarkFit], counts: Array, priors: Priors) -> str | None:
    """Why the fit must not be believed; None when it may."""
    mean, sigma = best.value("mean"), best.sigma("mean")
    gain, noise = best.value("gain"), best.value("noise")
    gain_given = bool(np.isfinite(priors.sigma[NAMES.index("gain")]))
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
        (
            best.sigma("gain") > MOST_GAIN_ERROR * gain
            or (not gain_given and mean * counts.sum() < LEAST_DARK),
            "the gain can't be told: give it",
        ),
        (
            not gain_given and (mean > MOST_FREE_MEAN or noise > MOST_FREE_NOISE * gain),
            "the peaks are not clear enough to tell the gain: give it",
        ),
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


def _answer(dark: Spectrum, fit: DarkFit, gate_ns: float) -> DarkGates:
    reasons: list[str] = []
    p_value = float(chi2_distribution.sf(fit.chi2, fit.ndf))
    stretch = 1.0
    if p_value < 0.01:
        stretch = sqrt(max(fit.chi2 / fit.ndf, 1.0))
        reasons.append(f"chi2/ndf {fit.chi2 / fit.ndf:.3g}: errors multiplied by {stretch:.3g}")
    single = 1 - min(fit.value("crosstalk") + fit.value("afterpulse"), 0.7)
    alpha = fit.value("afterpulse") / single
    # the gate does not see all of them
    alpha_sigma = hypot(fit.sigma("afterpulse") / single, UNSEEN_SHARE * alpha)
    share, share_sigma = _overhangs(alpha, alpha_sigma, gate_ns)
    per_hz = 1e9 / gate_ns
    value = fit.value("mean") * per_hz / (1 + share)
    sigma = hypot(stretch * fit.sigma("mean") * per_hz / (1 + share), value * share_sigma)
    if sigma > MOST_RELATIVE * value:
        return _refused(dark, f"the rate is uncertain: {value:.2g} +- {sigma:.2g} Hz")
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
        afterpulse_in_gate=_seen_afterpulse(fit, stretch, goodness),
        model=expected_counts(dark, fit),
        reasons=notes,
    )


def _overhangs(alpha: float, sigma: float, gate_ns: float) -> tuple[float, float]:
    """What afterpulses of dark counts before the gate add to the rate, and its error."""
    expected, short, long = (
        _overhang(gate_ns, EXPECTED_DELAY_NS * factor)
        for factor in (1.0, 1 / DELAY_FACTOR, DELAY_FACTOR)
    )
    spread = 0.5 * (long - short)
    return alpha * expected, hypot(sigma * expected, hypot(alpha, sigma) * spread)


def _overhang(gate_ns: float, delay_ns: float) -> float:
    """Mean share of the gate that one afterpulse of a pulse before the gate adds."""
    return delay_ns * (1 - exp(-gate_ns / delay_ns)) / gate_ns


def _crosstalk(
    fit: DarkFit, stretch: float, goodness: dict[str, float], notes: tuple[str, ...]
) -> Estimate:
    # afterpulses of nearly full charge look like crosstalk
    mixed = MIXED_SHARE * fit.value("afterpulse")
    sigma = hypot(stretch * fit.sigma("crosstalk"), mixed)
    if sigma > 0.6 * CROSSTALK_PRIOR[1]:
        return unknown("1", METHOD, "too few dark counts to tell crosstalk", goodness=goodness)
    return Estimate(fit.value("crosstalk"), sigma, "1", METHOD, goodness, notes)


def _seen_afterpulse(fit: DarkFit, stretch: float, goodness: dict[str, float]) -> Estimate:
    sigma = stretch * fit.sigma("afterpulse")
    if sigma > 0.5 * AFTERPULSE_PRIOR[1]:
        return unknown("1", METHOD, "too few dark counts to tell afterpulses", goodness=goodness)
    seen = "only afterpulses whose charge the gate sees"
    return Estimate(fit.value("afterpulse"), sigma, "1", METHOD, goodness, (seen,))


def _refused(dark: Spectrum, *reasons: str) -> DarkGates:
    return DarkGates(
        dcr=unknown("Hz", METHOD, *reasons),
        crosstalk=unknown("1", METHOD, *reasons),
        gain=unknown("ADC/pe", METHOD, *reasons),
        pedestal=unknown("ADC", METHOD, *reasons),
        noise=unknown("ADC", METHOD, *reasons),
        afterpulse_in_gate=unknown("1", METHOD, *reasons),
        model=np.zeros(len(dark.counts)),
        reasons=reasons,
    )
