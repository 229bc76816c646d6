"""The ways to the gain of one channel, and what they may use."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from analysis.estimate import Estimate, unknown
from analysis.sipm.dark_dispersion import dark_only
from analysis.sipm.dispersion import (
    divisor_of,
    enf_divisor,
    enf_divisor_of_pair,
    mean_dispersion,
)
from analysis.sipm.gate import check_gate
from analysis.sipm.light_scan import IntensityScan, intensity_scan
from analysis.sipm.moments import Flaw, one_summary
from analysis.sipm.peaks import PeakFit, fit_peaks
from analysis.sipm.spectrum import Spectrum

METHOD = "full fit, peak spacing, mean and dispersion"
UNIT = "ADC/pe"
PEAK_METHODS = ("full_fit", "peak_spacing")
MOST_ERROR_OF_FEW_PEAKS = 0.01
MANY_PEAKS = 4
CERTAIN_PEAKS = 5
CERTAIN_CONTRAST = 0.5
USUAL_AFTERPULSE = Estimate(0.02, 0.05, "1", "usual devices")
FIT_QUANTITIES = (
    "pedestal",
    "noise",
    "gain_spread",
    "light_yield",
    "crosstalk",
    "afterpulse",
    "dark_edge",
)


@dataclass(frozen=True)
class DevicePrior:
    """Earlier results of the same device at the same bias and temperature; any may be None.

    enf_divisor: divisor F of mean and dispersion. crosstalk (1) and gain_spread (ADC): give F
        together with `gain` where F itself is missing.
    gain: ADC/pe, only compared with the answer, never a measurement.
    light_jitter: relative rms B of the light from pulse to pulse. light_curvature: c of an
        intensity scan; replaces it.
    afterpulse: mean number per avalanche in the gate; where it is missing 0.02 +- 0.05 is taken.
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
    afterpulse: Estimate | None = None
    n_pixels: int | None = None


@dataclass(frozen=True)
class Evidence:
    """What a method may use.

    fit: peaks of the light-on run. divisor: F from the prior, unknown where the prior has none;
    own_divisor: F from this run's own peaks, which makes a method a check and not a measurement.
    flaws: what is wrong with the light-on run by itself.
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
    flaws: Flaw


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


def gather(
    on: Spectrum,
    off: Spectrum | None,
    light_scan: Sequence[tuple[Spectrum, Spectrum]],
    prior: DevicePrior,
    gate_ns: float | None,
    pulse_tau_ns: float | None,
) -> Evidence:
    """Fit the peaks, measure the scan, and find the divisor that the prior gives.

    Raises ValueError on a gate without its pulse time, and on either not positive.
    """
    check_gate(gate_ns, pulse_tau_ns)
    fit = fit_peaks(on)
    divisor = unknown("1", METHOD, "no divisor F of this device at this bias is known")
    if prior.enf_divisor is not None and prior.enf_divisor.known:
        divisor = prior.enf_divisor
    elif prior.crosstalk and prior.gain_spread and prior.gain:
        afterpulse = prior.afterpulse if prior.afterpulse is not None else USUAL_AFTERPULSE
        divisor = divisor_of(prior.crosstalk, prior.gain_spread, prior.gain, afterpulse)
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
        flaws=Flaw(int(one_summary(on).flaws[0])),
    )


def _full_fit(evidence: Evidence) -> Estimate | None:
    return None if evidence.fit.kind == "amplitude" else evidence.fit.gain


def _peak_spacing(evidence: Evidence) -> Estimate | None:
    fit = evidence.fit
    gain = fit.gain
    if fit.kind != "amplitude" or gain.value is None or gain.sigma is None:
        return None
    n_peaks = gain.goodness.get("n_peaks", 0.0)
    if n_peaks < MANY_PEAKS and gain.sigma > MOST_ERROR_OF_FEW_PEAKS * gain.value:
        why = f"{n_peaks:.0f} peaks that scatter by {gain.sigma / gain.value:.1%} may be chance"
        return unknown(UNIT, gain.method, why, *gain.reasons, goodness=gain.goodness)
    return gain


def is_amplitude(fit: PeakFit) -> bool:
    """Whether the peaks leave no doubt that these are not the charges of all gates."""
    figures = fit.gain.goodness
    return (
        fit.kind == "amplitude"
        and figures.get("n_peaks", 0.0) >= CERTAIN_PEAKS
        and figures.get("contrast", 0.0) >= CERTAIN_CONTRAST
    )


def _peaks_of_off(evidence: Evidence) -> Estimate | None:
    fit = evidence.off_fit
    return fit.gain if fit is not None and fit.kind == "charge" and fit.gain.known else None


def _mean_dispersion(evidence: Evidence) -> Estimate | None:
    if evidence.off is None:
        return None
    if is_amplitude(evidence.fit):
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
    # Its factor assumes one exponential pulse: good for a check, not for an answer.
    Method("dark_only", _dark_only, lambda evidence: False),
)


def quantities_of(evidence: Evidence) -> dict[str, Estimate]:
    """Everything besides the gain: from the fit, the scan and the pair."""
    fit, scan = evidence.fit, evidence.scan
    found: dict[str, Estimate] = {name: getattr(fit, name) for name in FIT_QUANTITIES}
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
