"""Gain, pedestal and noise of a SiPM channel from the peaks of its spectrum.

`fit_peaks` decides between three answers. A *charge* spectrum (gated, pulsed light) whose peak
areas follow the generalised Poisson law is fitted as a whole and gives every quantity. A spectrum
with regular peaks that do not follow it, such as the triggered *amplitude* spectrum of a dark or
continuously lit SiPM, has no pedestal that could be told from its first peak: only the gain, as
the spacing of the peaks, is given. Everything else is *unresolved*, with the reason.
"""

from dataclasses import dataclass, replace
from math import exp, hypot, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from analysis.estimate import Estimate, unknown
from analysis.sipm.areas import (
    Hypothesis,
    PeakAreas,
    cascade_deviance,
    peak_areas,
    rank_pedestals,
)
from analysis.sipm.seeds import Seeds, Working, find_seeds, significant_peaks, working_part
from analysis.sipm.spacing import (
    CLEAR_CONTRAST,
    drawn_peaks,
    peak_spacing,
    peak_width,
    peaks_beside,
)
from analysis.sipm.spectrum import Spectrum
from analysis.sipm.spectrum_fit import SpectrumFit, descend, fit_spectrum

CHARGE_METHOD = "full spectrum, binned likelihood"
SPACING_METHOD = "peak spacing"
LEAST_ENTRIES = 150
LEAST_FILLED_BINS = 6
MOST_COUNTS = 1e15
LEAST_DEVIANCE_GAP = 9.0
LEAST_NLL_GAP = 6.0
MOST_MISFIT = 0.12
MOST_GAIN_ERROR = 0.05
MOST_ERROR_WITHOUT_PEDESTAL = 0.005
MANY_PEAKS = 5
CERTAIN_PEAK = 7.0
SETTLED = 0.25
MODEL_ERROR = 2e-4
AFTERPULSE_PULL = 1e-2
SUSPICIOUS_CROSSTALK = 0.1
LEAST_PEDESTAL = 5.0
MOST_BESIDE = 0.34
MOST_MISDRAWN = 0.25
MOST_UNEVEN = 0.25
RIVAL_STEPS = 15

UNITS = {
    "gain": "ADC/pe",
    "pedestal": "ADC",
    "noise": "ADC",
    "gain_spread": "ADC",
    "light_yield": "pe",
    "crosstalk": "1",
    "afterpulse": "1",
    "dark_edge": "1",
}

Array = NDArray[np.float64]
Kind = Literal["charge", "amplitude", "unresolved"]


@dataclass(frozen=True)
class PeakFit:
    """What the peaks of one spectrum tell.

    gain: distance of neighbouring peaks, ADC/pe. Its sigma contains 0.02 % for the shape of the
        pulses and 1 % of the afterpulse probability for theirs, of which the model leaves out
        that the end of the gate cuts late ones.
    pedestal, noise: position and sigma of the peak without photoelectrons, ADC. The width of the
        ADC step is not part of the noise.
    gain_spread: pixel-to-pixel spread sigma_G of the gain, ADC.
    light_yield: mean number of primary avalanches of full charge per gate, pe; dark counts that
        fall into the gate are part of it.
    crosstalk: mean number lambda of prompt secondaries per avalanche; light that varies from pulse
        to pulse looks the same and is part of it.
    afterpulse: mean number of afterpulses per avalanche that the gate sees.
    dark_edge: dark counts per decay time of the pulse, DCR tau_p, from the partial charges at the
        edges of the gate; `dark_rate` makes a rate of it.
    gain_interval: lower and upper MINOS error of the gain, when asked for, without systematics.
    model: (n,) expected content of the bins of the spectrum; zeros when refused.
    kind: "charge", "amplitude" or "unresolved", see the module.
    reasons: why something is unknown, and what to keep in mind.
    """

    gain: Estimate
    pedestal: Estimate
    noise: Estimate
    gain_spread: Estimate
    light_yield: Estimate
    crosstalk: Estimate
    afterpulse: Estimate
    dark_edge: Estimate
    model: NDArray[np.float64]
    kind: Kind
    reasons: tuple[str, ...]
    gain_interval: tuple[float, float] | None = None


@dataclass(frozen=True)
class _Rejected:
    """Not a charge spectrum, but its peaks may still be evenly spaced."""

    reason: str


@dataclass(frozen=True)
class _Ambiguous:
    """Not even the spacing can be told."""

    reason: str


def fit_peaks(spectrum: Spectrum, *, errors: Literal["hesse", "minos"] = "hesse") -> PeakFit:
    """Fit the peaks of a charge or amplitude spectrum; start values come from the spectrum itself.

    errors: "minos" follows the likelihood of the gain to both sides as well (`gain_interval`).

    Never raises for a valid Spectrum: what cannot be told is unknown, with its reason.
    """
    whole = _as_counts(spectrum)
    if isinstance(whole, _Rejected):
        return _refused(spectrum, whole.reason)
    working = working_part(whole)
    seeds = find_seeds(working) if _enough(working) else None
    if seeds is None:
        return _refused(spectrum, _why_no_peaks(working), *working.reasons)
    profiled = ("gain",) if errors == "minos" else ()
    charge = _fit_charge(spectrum, working, seeds, profiled)
    if isinstance(charge, PeakFit):
        return charge
    if isinstance(charge, _Ambiguous):
        return _refused(spectrum, charge.reason, *working.reasons)
    return _measure_spacing(spectrum, working, seeds, charge.reason)


def _as_counts(spectrum: Spectrum) -> Spectrum | _Rejected:
    """The spectrum in events: a histogram that was divided by a number is multiplied back."""
    filled = spectrum.counts[spectrum.counts > 0]
    if not filled.size:
        return _Rejected("the spectrum is empty")
    unit = float(filled.min())
    if not filled.max() < MOST_COUNTS * min(unit, 1.0):
        return _Rejected("counts span more than fifteen orders of magnitude")
    if np.all(np.abs(filled - np.rint(filled)) < 1e-6):
        return spectrum
    scaled = filled / unit
    if np.any(np.abs(scaled - np.rint(scaled)) > 1e-3 * np.sqrt(scaled)):
        return _Rejected("counts are not whole numbers: their statistical errors are unknown")
    return Spectrum(np.rint(spectrum.counts / unit), spectrum.edges, spectrum.meta)


def _enough(working: Working) -> bool:
    filled = np.count_nonzero(working.counts) >= LEAST_FILLED_BINS
    return bool(filled and working.counts.sum() >= LEAST_ENTRIES)


def _why_no_peaks(working: Working) -> str:
    total = float(working.counts.sum())
    if total < LEAST_ENTRIES:
        return f"{total:.0f} entries are too few"
    if not _enough(working):
        return "all entries lie in a few bins"
    found = significant_peaks(working)
    if found == 0:
        return "no peak stands out"
    if found == 1:
        return "one peak only: pedestal without light or light without resolved peaks"
    return "the peaks are not evenly spaced"


def dark_rate(fit: PeakFit, pulse_tau_ns: float) -> Estimate:
    """Dark count rate (Hz) from the charges that the edges of the gate cut.

    pulse_tau_ns: decay time of the pulse. Raises ValueError when it is not positive.
    """
    if not pulse_tau_ns > 0:
        raise ValueError(f"pulse_tau_ns must be positive, not {pulse_tau_ns}")
    edge = fit.dark_edge
    if edge.value is None or edge.sigma is None:
        return unknown("Hz", edge.method, *edge.reasons)
    per_second = 1e9 / pulse_tau_ns
    return Estimate(
        edge.value * per_second,
        edge.sigma * per_second,
        "Hz",
        edge.method,
        edge.goodness,
        edge.reasons,
    )


def _fit_charge(
    spectrum: Spectrum, working: Working, seeds: Seeds, profiled: tuple[str, ...]
) -> PeakFit | _Rejected | _Ambiguous:
    if _uneven(working):
        return _Rejected("the bins have different widths")
    position, spacing = float(seeds.position[0]), seeds.spacing
    for _ in range(3):
        areas = peak_areas(working.counts, working.edges, position, spacing)
        hypotheses = rank_pedestals(areas)
        best = hypotheses[0]
        cells = int(np.count_nonzero(areas.entries))
        if best.deviance > cells + 5 * sqrt(2 * cells):
            return _Rejected("the peak areas do not follow a Poisson law with crosstalk")
        start = _start(working, seeds, position + best.site * spacing, spacing, best)
        fit = fit_spectrum(working.counts, working.edges, start, minos=profiled)
        problem = _problem(fit, working)
        if problem is not None:
            return _Rejected(problem)
        other = _rival_spacing(fit, working, seeds)
        if other is not None:
            return _Ambiguous(f"a spacing of {other:.4g} ADC describes the spectrum as well")
        position, spacing = fit.value("pedestal"), fit.value("gain")
        moved = abs(position - start[0]) + 0.5 * len(areas.entries) * abs(spacing - start[1])
        if moved < SETTLED * spacing:
            doubt = _pedestal_doubt(fit, working, areas, hypotheses)
            return _settled(spectrum, working, fit, doubt)
    return _Rejected("the pedestal peak and the spacing do not settle")


def _uneven(working: Working) -> bool:
    """Whether an edge lies more than a quarter of a bin off the even grid that the fit assumes."""
    even = np.linspace(working.edges[0], working.edges[-1], len(working.edges))
    return bool(np.abs(working.edges - even).max() > MOST_UNEVEN * working.width)


def _settled(
    spectrum: Spectrum, working: Working, fit: SpectrumFit, doubt: str | None
) -> PeakFit | _Ambiguous:
    relative = fit.sigma("gain") / fit.value("gain")
    if doubt is not None and relative > MOST_ERROR_WITHOUT_PEDESTAL:
        return _Ambiguous(f"{doubt}, and the peaks tell the gain to {relative:.1%} only")
    return _charge_result(spectrum, working, fit, doubt)


def _start(
    working: Working, seeds: Seeds, pedestal: float, spacing: float, best: Hypothesis
) -> Array:
    highest = int(np.argmax(seeds.height))
    width = peak_width(working, float(seeds.position[highest]), spacing)
    mu, crosstalk = max(best.mu, 1e-3), best.crosstalk + 0.01
    return np.array(
        [pedestal, spacing, 0.9 * width, 0.1 * width**2, mu, crosstalk, 0.02, 0.0, 0.005]
    )


def _problem(fit: SpectrumFit, working: Working) -> str | None:
    """Why the fit must not be believed; None when it may."""
    if not fit.valid:
        return "the fit did not converge"
    gain, sigma = fit.value("gain"), fit.sigma("gain")
    if sigma > MOST_GAIN_ERROR * gain:
        return f"the gain is uncertain by {sigma / gain:.0%}: the peaks are not resolved"
    excess = fit.chi2 - fit.ndf - 4 * sqrt(2 * max(fit.ndf, 1))
    misfit = sqrt(max(excess, 0.0) / float(working.counts.sum()))
    if misfit > MOST_MISFIT:
        return f"the spectrum differs from a Poisson law with crosstalk by {min(misfit, 1.0):.0%}"
    return None


def _rival_spacing(fit: SpectrumFit, working: Working, seeds: Seeds) -> float | None:
    """Half, a third or twice the spacing if it describes the spectrum about as well, ADC.

    Many peaks on one lattice, or two that stand out clearly, leave no doubt and are not tried.
    """
    if seeds.significance.min() > CERTAIN_PEAK or len(seeds.position) >= MANY_PEAKS:
        return None
    for factor in (0.5, 1 / 3, 2.0):
        start = fit.values.copy()
        start[1] *= factor
        start[2] = min(start[2], 0.6 * start[1])
        start[3] = min(start[3], 0.1 * start[1] ** 2)
        start[4] = max(start[4] / factor, 1e-3)
        start[5:7] = np.clip(start[5:7], 0.01, 0.3)
        values, nll = descend(working.counts, working.edges, start, RIVAL_STEPS)
        apart = abs(values[1] / fit.value("gain") - 1) > 0.1
        if apart and nll < fit.nll + LEAST_NLL_GAP:
            return float(values[1])
    return None


def _pedestal_doubt(
    fit: SpectrumFit, working: Working, areas: PeakAreas, hypotheses: list[Hypothesis]
) -> str | None:
    """Why the pedestal peak cannot be told; None when it can."""
    best = hypotheses[0]
    gain, pedestal, mu = (fit.value(name) for name in ("gain", "pedestal", "mu"))
    # A cut through a Poisson law looks like one with more crosstalk, so only then it is a rival.
    suspicious = best.crosstalk > SUSPICIOUS_CROSSTALK
    rivals = [
        h
        for h in hypotheses[1:]
        if h.deviance < best.deviance + LEAST_DEVIANCE_GAP
        or (suspicious and h.cut_deviance < best.deviance + 1)
    ]
    alone = float(working.counts.sum()) * exp(-mu)
    if rivals or alone < LEAST_PEDESTAL or best.site == min(h.site for h in hypotheses):
        return "cannot tell which peak is the pedestal"
    if _begins_abruptly(fit, working):
        return "the low side of the first peak is cut off: it may not be the pedestal"
    cascade = cascade_deviance(areas, best.site)
    if abs(pedestal - gain) < 0.15 * gain and cascade < best.deviance + 4:
        return "could be a self-triggered spectrum that begins with one photoelectron"
    return None


def _begins_abruptly(fit: SpectrumFit, working: Working) -> bool:
    """Whether entries are missing below the first bin that belong to the pedestal peak."""
    pedestal, noise, mu = (fit.value(name) for name in ("pedestal", "noise", "mu"))
    alone = float(working.counts.sum()) * exp(-mu)
    missing = alone * ndtr((working.edges[0] - pedestal) / noise)
    full = working.counts[:2].max() > 0.03 * working.counts.max() + 10
    return bool(missing > 8 or (full and working.width < 0.4 * noise))


def _charge_result(
    spectrum: Spectrum, working: Working, fit: SpectrumFit, doubt: str | None
) -> PeakFit:
    reasons = list(working.reasons)
    stretch = 1.0
    if fit.ndf > 0 and fit.p_value < 0.01:
        stretch = sqrt(fit.chi2 / fit.ndf)
        reasons.append(f"chi2/ndf {fit.chi2 / fit.ndf:.3g}: errors multiplied by {stretch:.3g}")
    goodness = {"chi2": fit.chi2, "ndf": float(fit.ndf), "p_value": fit.p_value}
    notes = tuple(reasons)

    def known(quantity: str, value: float, sigma: float) -> Estimate:
        return Estimate(value, stretch * sigma, UNITS[quantity], CHARGE_METHOD, goodness, notes)

    def parameter(quantity: str, name: str) -> Estimate:
        if doubt is not None:
            return unknown(UNITS[quantity], CHARGE_METHOD, doubt, *notes, goodness=goodness)
        return known(quantity, fit.value(name), fit.sigma(name))

    shape = fit.value("gain") * hypot(
        MODEL_ERROR, AFTERPULSE_PULL * max(fit.value("afterpulse"), 0.0)
    )
    gain_sigma = hypot(fit.sigma("gain"), shape / stretch)
    spread, spread_sigma = _root(fit.value("pe_variance"), fit.sigma("pe_variance"))
    return PeakFit(
        gain=known("gain", fit.value("gain"), gain_sigma),
        pedestal=parameter("pedestal", "pedestal"),
        noise=parameter("noise", "noise"),
        gain_spread=known("gain_spread", spread, spread_sigma),
        light_yield=parameter("light_yield", "mu"),
        crosstalk=parameter("crosstalk", "crosstalk"),
        afterpulse=parameter("afterpulse", "afterpulse"),
        dark_edge=parameter("dark_edge", "dark_edge"),
        model=_drawn(spectrum, working, fit.expected),
        kind="charge",
        reasons=notes if doubt is None else (doubt, *notes),
        gain_interval=fit.intervals.get("gain"),
    )


def _root(variance: float, sigma: float) -> tuple[float, float]:
    """Square root of a variance near zero, and an error that stays finite there."""
    value = sqrt(max(variance, 0.0))
    return value, hypot(value, sqrt(sigma)) - value if value**2 < sigma else sigma / (2 * value)


def _measure_spacing(
    spectrum: Spectrum, working: Working, seeds: Seeds, why_not_charge: str
) -> PeakFit:
    beside = peaks_beside(seeds)
    if beside > MOST_BESIDE:
        return _refused(
            spectrum, why_not_charge, f"{beside:.0%} of the peaks lie beside the even spacing"
        )
    spacing = peak_spacing(working, seeds)
    if spacing is None:
        return _refused(spectrum, why_not_charge, "fewer than three clear peaks", *working.reasons)
    if spacing.sigma > MOST_GAIN_ERROR * spacing.value:
        return _refused(
            spectrum,
            why_not_charge,
            f"the peak spacing scatters by {spacing.sigma / spacing.value:.0%}",
            *working.reasons,
        )
    expected = drawn_peaks(working, spacing)
    misfit = _misfit(working, expected, spacing.value)
    if misfit > MOST_MISDRAWN:
        return _refused(
            spectrum,
            why_not_charge,
            f"evenly spaced peaks and filled valleys leave {misfit:.0%} unexplained",
            *working.reasons,
        )
    no_pedestal = f"amplitude spectrum, no pedestal peak claimed: {why_not_charge}"
    reasons = [
        no_pedestal,
        f"sigma is systematic: scatter of {len(spacing.site)} peaks about even spacing, and "
        f"{spacing.by_top:.4g} by their tops against {spacing.by_shape:.4g} by their shapes",
        *working.reasons,
    ]
    if spacing.contrast < CLEAR_CONTRAST:
        reasons.append(f"the peaks overlap: valleys are filled to {1 - spacing.contrast:.0%}")
    goodness = {"n_peaks": float(len(spacing.site)), "contrast": spacing.contrast}
    gain = Estimate(
        spacing.value, spacing.sigma, "ADC/pe", SPACING_METHOD, goodness, tuple(reasons)
    )
    model = _drawn(spectrum, working, expected)
    refused = _refused(spectrum, no_pedestal)
    return replace(refused, gain=gain, model=model, kind="amplitude", reasons=tuple(reasons))


def _misfit(working: Working, expected: Array, spacing: float) -> float:
    """Share of the entries that cells of an eighth of a spacing disagree by, beyond statistics."""
    cell = ((working.edges[:-1] - working.edges[0]) / (spacing / 8)).astype(np.int64)
    seen, wanted = (np.bincount(cell, weights=w) for w in (working.counts, expected))
    apart = np.abs(seen - wanted).sum() - np.sqrt(2 * seen / np.pi).sum()
    return float(max(apart, 0.0) / seen.sum())


def _drawn(spectrum: Spectrum, working: Working, expected: Array) -> Array:
    """Expected counts of the fitted bins, spread over the bins of the source, in its scale."""
    model = np.zeros(len(spectrum.counts))
    in_source = spectrum.counts[working.first :][: working.factor * len(expected)].sum()
    expected = expected * (in_source / working.counts.sum())
    index = np.searchsorted(working.edges, spectrum.centers, side="right") - 1
    inside = (index >= 0) & (index < len(expected))
    share = spectrum.widths / np.diff(working.edges)[np.clip(index, 0, len(expected) - 1)]
    model[inside] = (expected[np.clip(index, 0, len(expected) - 1)] * share)[inside]
    return model


def _refused(spectrum: Spectrum, *reasons: str) -> PeakFit:
    def cannot_tell(quantity: str) -> Estimate:
        return unknown(UNITS[quantity], CHARGE_METHOD, *reasons)

    return PeakFit(
        gain=cannot_tell("gain"),
        pedestal=cannot_tell("pedestal"),
        noise=cannot_tell("noise"),
        gain_spread=cannot_tell("gain_spread"),
        light_yield=cannot_tell("light_yield"),
        crosstalk=cannot_tell("crosstalk"),
        afterpulse=cannot_tell("afterpulse"),
        dark_edge=cannot_tell("dark_edge"),
        model=np.zeros(len(spectrum.counts)),
        kind="unresolved",
        reasons=reasons,
    )
