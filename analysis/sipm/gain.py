"""The one gain of a channel from everything that was measured of it.

Every method that can be applied is tried; the answer is the most precise of those that measure the
gain independently, the others have to agree with it. What contradicts itself is not averaged: it is
flagged, or refused when nothing tells who is right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.assumptions import CONTRADICTIONS, LEAST_DIVISOR, Broken
from analysis.sipm.dispersion import gain_times_divisor
from analysis.sipm.gain_methods import (
    METHOD,
    METHODS,
    PEAK_METHODS,
    UNIT,
    DevicePrior,
    Evidence,
    Method,
    gather,
    is_amplitude,
    quantities_of,
)
from analysis.sipm.moments import Flaw
from analysis.sipm.refusals import flaw_sentences
from analysis.sipm.spectrum import Spectrum

__all__ = ["METHODS", "DevicePrior", "Evidence", "GainAnswer", "Method", "extract_gain"]

FLAG_PULL = 4.0
FLAG_SHARE = 0.01
REFUSE_PULL = 5.0
REFUSE_SHARE = 0.05
CERTAIN_ERROR = 5e-3
CERTAIN_P_VALUE = 1e-3
PEAKS_PREFERRED = 0.5
MOST_BELIEVED_DIVISOR = 3.0

Verdict = Literal["pass", "flag", "unknown"]


@dataclass(frozen=True)
class GainAnswer:
    """The gain of one channel and how it came about.

    gain: the one answer, ADC/pe. candidates: the result of every method that applied. agreement:
    (value - answer) / sigma of each other method, sigma of both added in quadrature. quantities:
    everything else that was found. model: (n,) expected counts per bin of the light-on spectrum.
    """

    gain: Estimate
    verdict: Verdict
    candidates: Mapping[str, Estimate] = field(default_factory=dict)
    agreement: Mapping[str, float] = field(default_factory=dict)
    quantities: Mapping[str, Estimate] = field(default_factory=dict)
    model: NDArray[np.float64] | None = None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why the gain is unknown or flagged, and what to keep in mind."""
        return self.gain.reasons


def extract_gain(
    on: Spectrum,
    off: Spectrum | None = None,
    *,
    light_scan: Sequence[tuple[Spectrum, Spectrum]] = (),
    prior: DevicePrior | None = None,
    gate_ns: float | None = None,
    pulse_tau_ns: float | None = None,
    methods: Sequence[Method] | None = None,
) -> GainAnswer:
    """Gain of a channel from its spectra and from what is known of the device.

    on, off: spectra with and without light, same temperature, bias, gate and ADC setting.
    light_scan: (on, off) pairs at other intensities, same bias.
    prior: see `DevicePrior`. gate_ns, pulse_tau_ns: gate and decay time of the pulses, for the
        gain from dark counts alone.
    methods: the ways to the gain that are tried; METHODS by default.

    A method that disagrees by more than 4 standard deviations and 1 % flags the answer; by more
    than 5 standard deviations and 5 % the gain is unknown, unless it comes from peaks that leave
    no doubt. A gain that differs from the prior's in the same way is flagged.

    Never raises for bad data. Raises ValueError on a gate or pulse time that is not
    positive or that is given without the other.
    """
    evidence = gather(on, off, light_scan, prior or DevicePrior(), gate_ns, pulse_tau_ns)
    candidates: dict[str, Estimate] = {}
    measuring: list[str] = []
    for method in METHODS if methods is None else methods:
        found = method.estimate(evidence)
        if found is None:
            continue
        candidates[method.name] = found
        if found.known and method.measures(evidence):
            measuring.append(method.name)
    quantities = quantities_of(evidence)
    model = evidence.fit.model if evidence.fit.gain.known else None
    if not measuring:
        gain = unknown(UNIT, METHOD, *_why_none(candidates))
        return GainAnswer(gain, "unknown", candidates, {}, quantities, model)
    name = _chosen(candidates, measuring)
    chosen = candidates[name]
    agreement = {
        other: pull
        for other, estimate in candidates.items()
        if other != name and (pull := _pull(estimate, chosen)) is not None
    }
    doubts = _doubts(chosen, candidates, agreement)
    doubts += _runs_apart(candidates) + _impossible_divisor(chosen, evidence)
    if evidence.flaws & Flaw.SPIKE:
        doubts += [(True, text) for text in flaw_sentences(Flaw.SPIKE, "light-on", on.n_entries)]
    if any(refuse for refuse, _ in doubts) and not _beyond_doubt(name, chosen):
        texts = [text for _, text in doubts]
        gain = unknown(UNIT, chosen.method, *texts, *chosen.reasons, goodness=chosen.goodness)
        return GainAnswer(gain, "unknown", candidates, agreement, quantities, model)
    flags = [text for _, text in doubts]
    flags += _against_prior(chosen, evidence)
    if name in PEAK_METHODS:
        p_value = chosen.goodness.get("p_value", 1.0)
        if p_value < CERTAIN_P_VALUE:
            flags.append(f"the model describes the spectrum badly (p-value {p_value:.1g})")
    else:
        flags += chosen.reasons
    gain = Estimate(
        chosen.value,
        chosen.sigma,
        chosen.unit,
        chosen.method,
        chosen.goodness,
        tuple(dict.fromkeys((*flags, *chosen.reasons))),
    )
    verdict: Verdict = "flag" if flags else "pass"
    return GainAnswer(gain, verdict, candidates, agreement, quantities, model)


def _chosen(candidates: Mapping[str, Estimate], measuring: Sequence[str]) -> str:
    """The most precise; peaks, which need no divisor, win unless another is twice as precise."""

    def weight(name: str) -> float:
        estimate = candidates[name]
        error = (estimate.sigma or 0.0) / abs(estimate.value or 1.0)
        return error * (PEAKS_PREFERRED if name in PEAK_METHODS else 1.0)

    return min(measuring, key=weight)


def _pull(other: Estimate, chosen: Estimate) -> float | None:
    if other.value is None or chosen.value is None:
        return None
    error = hypot(other.sigma or 0.0, chosen.sigma or 0.0)
    return (other.value - chosen.value) / max(error, 1e-12 * abs(chosen.value))


def _doubts(
    chosen: Estimate, candidates: Mapping[str, Estimate], agreement: Mapping[str, float]
) -> list[tuple[bool, str]]:
    """Whether to refuse, and why, for every method that disagrees."""
    doubts = []
    for name, pull in agreement.items():
        other = candidates[name]
        share = abs((other.value or 0.0) / (chosen.value or 1.0) - 1)
        if abs(pull) > FLAG_PULL and share > FLAG_SHARE:
            text = (
                f"{name} gives {other.value:.4g} +- {other.sigma:.2g} {UNIT}, "
                f"{pull:+.1f} sigma from {chosen.method}"
            )
            doubts.append((abs(pull) > REFUSE_PULL and share > REFUSE_SHARE, text))
    return doubts


def _beyond_doubt(name: str, chosen: Estimate) -> bool:
    precise = (chosen.sigma or 0.0) < CERTAIN_ERROR * abs(chosen.value or 0.0)
    return (
        name in PEAK_METHODS and precise and chosen.goodness.get("p_value", 0.0) > CERTAIN_P_VALUE
    )


def _against_prior(chosen: Estimate, evidence: Evidence) -> list[str]:
    flags = []
    prior = evidence.prior
    pairs = (
        ("gain", chosen, prior.gain),
        ("divisor F", evidence.own_divisor, prior.enf_divisor),
    )
    for name, found, earlier in pairs:
        if earlier is None or (pull := _pull(found, earlier)) is None:
            continue
        share = abs((found.value or 0.0) / (earlier.value or 1.0) - 1)
        if abs(pull) > FLAG_PULL and share > FLAG_SHARE:
            flags.append(
                f"the {name} was {earlier.value:.4g} +- {earlier.sigma:.2g} {earlier.unit}, "
                f"{pull:+.1f} sigma away from {found.value:.4g}"
            )
    return flags


def _runs_apart(candidates: Mapping[str, Estimate]) -> list[tuple[bool, str]]:
    """What says that the two runs do not belong together, although there is a gain.

    A light-on run below its light-off run may itself be the wrong one: that refuses.
    """
    refused = candidates.get("mean_dispersion")
    if refused is None or refused.known:
        return []
    bits = Broken(int(refused.goodness.get("broken", 0.0)))
    wrong_run = bool(bits & (Broken.SWAPPED | Broken.DARKER))
    apart = bits & (CONTRADICTIONS | Broken.NO_LIGHT)
    return [(wrong_run, text) for text in refused.reasons] if apart else []


def _impossible_divisor(chosen: Estimate, evidence: Evidence) -> list[tuple[bool, str]]:
    """Whether the pair, with this gain, needs a divisor F that no SiPM has."""
    if evidence.off is None or is_amplitude(evidence.fit) or chosen.value is None:
        return []
    prior = evidence.prior
    product = gain_times_divisor(evidence.on, evidence.off, prior.light_jitter, prior.n_pixels)
    if product.value is None or product.sigma is None:
        return []
    f = product.value / chosen.value
    sigma = f * hypot(product.sigma / product.value, (chosen.sigma or 0.0) / chosen.value)
    if LEAST_DIVISOR - REFUSE_PULL * sigma < f < MOST_BELIEVED_DIVISOR + REFUSE_PULL * sigma:
        return []
    text = f"with this gain the pair of runs needs a divisor F of {f:.3g} +- {sigma:.2g}"
    return [(True, text)]


def _why_none(candidates: Mapping[str, Estimate]) -> tuple[str, ...]:
    reasons = [
        f"{name}: {reason}"
        for name, estimate in candidates.items()
        for reason in (
            estimate.reasons if not estimate.known else ("a check only, it cannot stand alone",)
        )
    ]
    return tuple(reasons) or ("no method applies",)
