"""The one gain of a channel from everything that was measured of it.

Every method that can be applied is tried; the answer is the most precise of those that measure the
gain independently, the others have to agree with it. What contradicts itself is not averaged: it is
flagged, or refused when nothing tells who is right.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import hypot
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.dark_dispersion import dark_only
from analysis.sipm.dispersion import (
    divisor_of,
    enf_divisor,
    enf_divisor_of_pair,
    mean_dispersion,
)
from analysis.sipm.light_scan import IntensityScan, intensity_scan
from analysis.sipm.peaks import PeakFit, fit_peaks
from analysis.sipm.spectrum import Spectrum

METHOD = "full fit, peak spacing, mean and dispersion"
UNIT = "ADC/pe"
FLAG_PULL = 4.0
FLAG_SHARE = 0.01
REFUSE_PULL = 5.0
REFUSE_SHARE = 0.05
CERTAIN_ERROR = 5e-3
CERTAIN_P_VALUE = 1e-3
PEAKS_PREFERRED = 0.5
PEAK_METHODS = ("full_fit", "peak_spacing")
FIT_QUANTITIES = (
    "pedestal",
    "noise",
    "gain_spread",
    "light_yield",
    "crosstalk",
    "afterpulse",
    "dark_counts",
    "dcr",
)

Verdict = Literal["pass", "flag", "unknown"]


@dataclass(frozen=True)
class DevicePrior:
    """Earlier results of the same device at the same bias and temperature; any may be None.

    enf_divisor: divisor F of mean and dispersion. crosstalk (1) and gain_spread (ADC): give F
        together with `gain` where F itself is missing.
    gain: ADC/pe, only compared with the answer, never a measurement.
    light_jitter: relative rms B of the light from pulse to pulse. light_curvature: c of an
        intensity scan; replaces it.
    noise, pedestal: ADC, of the electronics alone. n_pixels: pixels of the SiPM.
    """

    enf_divisor: Estimate | None = None
    gain: Estimate | None = None
    light_jitter: Estimate | None = None
    crosstalk: Estimate | None = None
    gain_spread: Estimate | None = None
    noise: Estimate | None = None
    pedestal: Estimate | None = None
    light_curvature: Estimate | None = None
    n_pixels: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What a method may use.

    fit: peaks of the light-on run. divisor: F from the prior, unknown where the prior has none;
    own_divisor: F from this run's own peaks, which makes a method a check and not a measurement.
    """

    on: Spectrum
    off: Spectrum | None
    prior: DevicePrior
    fit: PeakFit
    off_fit: PeakFit | None
    scan: IntensityScan | None
    divisor: Estimate
    own_divisor: Estimate
    gate_ns: float | None
    pulse_tau_ns: float | None


@dataclass(frozen=True)
class Method:
    """One way to the gain.

    estimate: the gain from the evidence; None where the method does not apply at all, an unknown
        Estimate where it refuses. measures: whether the result stands on its own and may be
        chosen; otherwise it is only compared.
    """

    name: str
    estimate: Callable[[Evidence], Estimate | None]
    measures: Callable[[Evidence], bool] = lambda evidence: True


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

    Never raises for bad data. Raises ValueError on a gate or pulse time that is not positive.
    """
    evidence = _gather(on, off, light_scan, prior or DevicePrior(), gate_ns, pulse_tau_ns)
    candidates: dict[str, Estimate] = {}
    measuring: list[str] = []
    for method in METHODS if methods is None else methods:
        found = method.estimate(evidence)
        if found is None:
            continue
        candidates[method.name] = found
        if found.known and method.measures(evidence):
            measuring.append(method.name)
    quantities = _quantities(evidence)
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


def _gather(
    on: Spectrum,
    off: Spectrum | None,
    light_scan: Sequence[tuple[Spectrum, Spectrum]],
    prior: DevicePrior,
    gate_ns: float | None,
    pulse_tau_ns: float | None,
) -> Evidence:
    fit = fit_peaks(on)
    divisor = unknown("1", METHOD, "no divisor F of this device at this bias is known")
    if prior.enf_divisor is not None and prior.enf_divisor.known:
        divisor = prior.enf_divisor
    elif prior.crosstalk and prior.gain_spread and prior.gain:
        divisor = divisor_of(prior.crosstalk, prior.gain_spread, prior.gain)
    return Evidence(
        on=on,
        off=off,
        prior=prior,
        fit=fit,
        off_fit=fit_peaks(off) if off is not None and fit.gain.known else None,
        scan=intensity_scan(light_scan) if light_scan else None,
        divisor=divisor,
        own_divisor=enf_divisor(fit),
        gate_ns=gate_ns,
        pulse_tau_ns=pulse_tau_ns,
    )


def _full_fit(evidence: Evidence) -> Estimate | None:
    return None if evidence.fit.kind == "amplitude" else evidence.fit.gain


def _peak_spacing(evidence: Evidence) -> Estimate | None:
    return evidence.fit.gain if evidence.fit.kind == "amplitude" else None


def _peaks_of_off(evidence: Evidence) -> Estimate | None:
    fit = evidence.off_fit
    return fit.gain if fit is not None and fit.kind == "charge" and fit.gain.known else None


def _mean_dispersion(evidence: Evidence) -> Estimate | None:
    if evidence.off is None:
        return None
    if evidence.fit.kind == "amplitude":
        why = "amplitude spectrum: mean and dispersion needs charges of all gates"
        return unknown(UNIT, "mean and dispersion", why)
    prior = evidence.prior
    return mean_dispersion(
        evidence.on,
        evidence.off,
        evidence.divisor if evidence.divisor.known else _own_or_why(evidence),
        prior.light_jitter,
        curvature=_measured_curvature(evidence),
        noise=prior.noise,
        n_pixels=prior.n_pixels,
    )


def _own_or_why(evidence: Evidence) -> Estimate:
    return evidence.own_divisor if evidence.own_divisor.known else evidence.divisor


def _measured_curvature(evidence: Evidence) -> Estimate | None:
    if evidence.prior.light_curvature is not None:
        return evidence.prior.light_curvature
    return evidence.scan.curvature if evidence.scan is not None else None


def _intensity_scan(evidence: Evidence) -> Estimate | None:
    if evidence.scan is None:
        return None
    divisor = evidence.divisor if evidence.divisor.known else _own_or_why(evidence)
    return evidence.scan.gain(divisor)


def _dark_only(evidence: Evidence) -> Estimate | None:
    dark, prior = evidence.off, evidence.prior
    if dark is None or evidence.gate_ns is None or evidence.pulse_tau_ns is None:
        return None
    pedestal = prior.pedestal or unknown("ADC", METHOD, "not given")
    return dark_only(
        dark, pedestal, evidence.divisor, evidence.gate_ns, evidence.pulse_tau_ns, prior.noise
    )


def _with_known_divisor(evidence: Evidence) -> bool:
    return evidence.divisor.known


METHODS: tuple[Method, ...] = (
    Method("full_fit", _full_fit),
    Method("peak_spacing", _peak_spacing),
    Method("peaks_of_light_off", _peaks_of_off, lambda evidence: False),
    Method("intensity_scan", _intensity_scan, _with_known_divisor),
    Method("mean_dispersion", _mean_dispersion, _with_known_divisor),
    Method("dark_only", _dark_only, _with_known_divisor),
)


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


def _quantities(evidence: Evidence) -> dict[str, Estimate]:
    fit, scan = evidence.fit, evidence.scan
    found = {}
    for name in FIT_QUANTITIES:
        estimate = getattr(fit, name, None)
        if isinstance(estimate, Estimate):
            found[name] = estimate
    divisors = []
    if fit.kind == "charge" and fit.gain.known:
        if scan is not None:
            divisors.append(scan.divisor(fit.gain))
        if evidence.off is not None:
            divisors.append(
                enf_divisor_of_pair(
                    evidence.on,
                    evidence.off,
                    fit.gain,
                    evidence.prior.light_jitter,
                    evidence.prior.n_pixels,
                )
            )
    divisors += [evidence.own_divisor, evidence.divisor]
    found["enf_divisor"] = next((d for d in divisors if d.known), evidence.own_divisor)
    if scan is not None:
        found["light_jitter"] = scan.light_jitter
        found["light_curvature"] = scan.curvature
        found["gain_times_divisor"] = scan.gain_times_f
    return found


def _why_none(candidates: Mapping[str, Estimate]) -> tuple[str, ...]:
    reasons = [
        f"{name}: {reason}"
        for name, estimate in candidates.items()
        for reason in (
            estimate.reasons
            if not estimate.known
            else ("a check only: the divisor F comes from the same peaks",)
        )
    ]
    return tuple(reasons) or ("no method applies",)
