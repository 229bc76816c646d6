"""The gain of one channel from its spectra."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from analysis.estimate import Estimate
from analysis.sipm.dispersion import enf_divisor as divisor_of
from analysis.sipm.dispersion import mean_dispersion
from analysis.sipm.peaks import fit_peaks
from analysis.sipm.spectrum import Spectrum

NAMES = ("pedestal", "noise", "gain_spread", "light_yield", "crosstalk")


@dataclass(frozen=True)
class DevicePrior:
    enf_divisor: Estimate | None = None
    gain: Estimate | None = None
    light_jitter: Estimate | None = None
    crosstalk: Estimate | None = None
    gain_spread: Estimate | None = None
    noise: Estimate | None = None
    pedestal: Estimate | None = None


@dataclass(frozen=True)
class GainAnswer:
    gain: Estimate
    verdict: Literal["pass", "flag", "unknown"]
    candidates: Mapping[str, Estimate] = field(default_factory=dict)
    agreement: Mapping[str, float] = field(default_factory=dict)
    quantities: Mapping[str, Estimate] = field(default_factory=dict)
    model: Any = None


def extract_gain(
    on: Spectrum, off: Spectrum | None = None, *, light_scan: Any = (), prior: Any = None
) -> GainAnswer:
    fit = fit_peaks(on)
    candidates = {"full_fit": fit.gain}
    divisor = divisor_of(fit)
    if not divisor.known and prior is not None and prior.enf_divisor is not None:
        divisor = prior.enf_divisor
    if off is not None:
        candidates["mean_dispersion"] = mean_dispersion(on, off, divisor)
    gain = next((e for e in candidates.values() if e.known), fit.gain)
    quantities = {n: getattr(fit, n) for n in NAMES} | {"enf_divisor": divisor}
    return GainAnswer(
        gain, "pass" if gain.known else "unknown", candidates, {}, quantities, fit.model
    )
