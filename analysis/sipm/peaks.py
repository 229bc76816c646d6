"""Gain, pedestal and noise of a SiPM channel from the peaks of its spectrum.

`fit_peaks` decides between three answers. A *charge* spectrum (gated, pulsed light) whose peak
areas follow the generalised Poisson law is fitted as a whole and gives every quantity. A spectrum
with regular peaks that do not follow it, such as the triggered *amplitude* spectrum of a dark or
continuously lit SiPM, has no pedestal that could be told from its first peak: only the gain, as
the spacing of the peaks, is given. Everything else is *unresolved*, with the reason.
"""

from dataclasses import dataclass, replace
from math import hypot, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.areas import Hypothesis, cascade_deviance, peak_areas, rank_pedestals
from analysis.sipm.poisson_fit import PoissonFit, fit_poisson
from analysis.sipm.seeds import Seeds, Working, find_seeds, significant_peaks, working_part
from analysis.sipm.spacing import CLEAR_CONTRAST, drawn_peaks, peak_spacing, peak_width
from analysis.sipm.spectrum import Spectrum

CHARGE_METHOD = "generalised Poisson peaks, binned likelihood"
SPACING_METHOD = "peak spacing"
LEAST_ENTRIES = 150
LEAST_DEVIANCE_GAP = 9.0
LEAST_NLL_GAP = 6.0
MOST_MISFIT = 0.12
MOST_GAIN_ERROR = 0.05
STRONG_SEEDS = 60.0

UNITS = {
    "gain": "ADC/pe",
    "pedestal": "ADC",
    "noise": "ADC",
    "gain_spread": "ADC",
    "light_yield": "pe",
    "crosstalk": "1",
}

Array = NDArray[np.float64]
Kind = Literal["charge", "amplitude", "unresolved"]


@dataclass(frozen=True)
class PeakFit:
    """What the peaks of one spectrum tell.

    gain: distance of neighbouring peaks, ADC/pe.
    pedestal, noise: position and sigma of the peak without photoelectrons, ADC. The width of the
        ADC step is not part of the noise.
    gain_spread: pixel-to-pixel spread sigma_G of the gain, ADC.
    light_yield: mean number mu of primary avalanches per gate, pe; dark counts that fall into the
        gate are part of it.
    crosstalk: mean number lambda of prompt secondaries per avalanche; afterpulses of nearly full
        charge are part of it.
    model: (n,) expected counts in the bins of the spectrum; zeros when refused.
    kind: "charge", "amplitude" or "unresolved", see the module.
    reasons: why something is unknown, and what to keep in mind.
    """

    gain: Estimate
    pedestal: Estimate
    noise: Estimate
    gain_spread: Estimate
    light_yield: Estimate
    crosstalk: Estimate
    model: NDArray[np.float64]
    kind: Kind
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class _Rejected:
    reason: str


def fit_peaks(spectrum: Spectrum) -> PeakFit:
    """Fit the peaks of a charge or amplitude spectrum; start values come from the spectrum itself.

    Never raises for a valid Spectrum: what cannot be told is unknown, with its reason.
    """
    whole = _as_counts(spectrum)
    if isinstance(whole, _Rejected):
        return _refused(spectrum, whole.reason)
    working = working_part(whole)
    total = float(working.counts.sum())
    if total < LEAST_ENTRIES:
        return _refused(spectrum, f"{total:.0f} entries are too few", *working.reasons)
    if np.count_nonzero(working.counts) < 6:
        return _refused(spectrum, "all entries lie in a few bins", *working.reasons)
    seeds = find_seeds(working)
    if seeds is None:
        return _refused(spectrum, _why_no_peaks(working), *working.reasons)
    charge = _fit_charge(spectrum, working, seeds)
    if isinstance(charge, PeakFit):
        return charge
    return _measure_spacing(spectrum, working, seeds, charge.reason)


def _as_counts(spectrum: Spectrum) -> Spectrum | _Rejected:
    """The spectrum in events: a histogram that was divided by a number is multiplied back."""
    filled = spectrum.counts[spectrum.counts > 0]
    if not filled.size:
        return _Rejected("the spectrum is empty")
    if np.all(np.abs(filled - np.rint(filled)) < 1e-6):
        return spectrum
    unit = float(filled.min())
    scaled = filled / unit
    if np.any(np.abs(scaled - np.rint(scaled)) > 1e-3 * np.sqrt(scaled)):
        return _Rejected("counts are not whole numbers: their statistical errors are unknown")
    return Spectrum(np.rint(spectrum.counts / unit), spectrum.edges, spectrum.meta)


def _why_no_peaks(working: Working) -> str:
    found = significant_peaks(working)
    if found == 0:
        return "no peak stands out"
    if found == 1:
        return "one peak only: pedestal without light or light without resolved peaks"
    return "the peaks are not evenly spaced"


def _fit_charge(spectrum: Spectrum, working: Working, seeds: Seeds) -> PeakFit | _Rejected:
    areas, first = peak_areas(working.counts, working.edges, seeds.position[0], seeds.spacing)
    hypotheses = rank_pedestals(areas, first)
    best = hypotheses[0]
    cells = int(np.count_nonzero(areas))
    if best.deviance > cells + 5 * sqrt(2 * cells):
        return _Rejected("the peak areas do not follow a Poisson law with crosstalk")
    start = _start(working, seeds, best)
    fit = fit_poisson(working.counts, working.edges, start)
    problem = _problem(fit, working, seeds)
    if problem is not None:
        return _Rejected(problem)
    doubt = _pedestal_doubt(fit, areas, first, hypotheses)
    return _charge_result(spectrum, working, fit, doubt)


def _start(working: Working, seeds: Seeds, best: Hypothesis) -> Array:
    highest = int(np.argmax(seeds.height))
    width = peak_width(working, float(seeds.position[highest]), seeds.spacing)
    pedestal = seeds.position[0] + best.site * seeds.spacing
    mu, crosstalk = max(best.mu, 1e-3), best.crosstalk + 0.01
    return np.array(
        [
            pedestal,
            seeds.spacing,
            0.9 * width,
            0.1 * width**2,
            mu,
            crosstalk,
            0.01,
            0.01,
        ]
    )


def _problem(fit: PoissonFit, working: Working, seeds: Seeds) -> str | None:
    """Why the fit must not be believed; None when it may."""
    if not fit.valid:
        return "the fit did not converge"
    gain, sigma = fit.value("gain"), fit.sigma("gain")
    if sigma > MOST_GAIN_ERROR * gain:
        return f"the gain is uncertain by {sigma / gain:.0%}: the peaks are not resolved"
    excess = fit.chi2 - fit.ndf - 4 * sqrt(2 * max(fit.ndf, 1))
    misfit = sqrt(max(excess, 0.0) / float(working.counts.sum()))
    if misfit > MOST_MISFIT:
        return f"the spectrum differs from a Poisson law with crosstalk by {misfit:.0%}"
    if len(seeds.position) > 3 and float(seeds.significance.sum()) > STRONG_SEEDS:
        return None
    return _harmonic_doubt(fit, working)


def _harmonic_doubt(fit: PoissonFit, working: Working) -> str | None:
    """Whether half, a third or twice the spacing describes the spectrum about as well."""
    for factor in (0.5, 1 / 3, 2.0):
        start = fit.values.copy()
        start[1] *= factor
        start[2] = min(start[2], 0.6 * start[1])
        start[3] = min(start[3], 0.1 * start[1] ** 2)
        start[4] = max(start[4] / factor, 1e-3)
        start[5:] = np.clip(start[5:], 0.01, 0.3)
        other = fit_poisson(working.counts, working.edges, start)
        apart = abs(other.value("gain") / fit.value("gain") - 1) > 0.1
        if apart and other.nll < fit.nll + LEAST_NLL_GAP:
            return (
                f"cannot tell a spacing of {fit.value('gain'):.4g} from one of "
                f"{other.value('gain'):.4g} ADC"
            )
    return None


def _pedestal_doubt(
    fit: PoissonFit, areas: Array, first: int, hypotheses: list[Hypothesis]
) -> str | None:
    """Why the pedestal peak cannot be told; None when it can."""
    best = hypotheses[0]
    rivals = [h for h in hypotheses[1:] if h.deviance < best.deviance + LEAST_DEVIANCE_GAP]
    if rivals:
        return "cannot tell which peak is the pedestal"
    gain, pedestal = fit.value("gain"), fit.value("pedestal")
    cascade = cascade_deviance(areas, first, best.site)
    if abs(pedestal - gain) < 0.15 * gain and cascade < best.deviance + 4:
        return "could be a self-triggered spectrum that begins with one photoelectron"
    return None


def _charge_result(
    spectrum: Spectrum, working: Working, fit: PoissonFit, doubt: str | None
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

    spread, spread_sigma = _root(fit.value("pe_variance"), fit.sigma("pe_variance"))
    return PeakFit(
        gain=known("gain", fit.value("gain"), fit.sigma("gain")),
        pedestal=parameter("pedestal", "pedestal"),
        noise=parameter("noise", "noise"),
        gain_spread=known("gain_spread", spread, spread_sigma),
        light_yield=parameter("light_yield", "mu"),
        crosstalk=parameter("crosstalk", "crosstalk"),
        model=_drawn(spectrum, working, fit.expected),
        kind="charge",
        reasons=notes if doubt is None else (doubt, *notes),
    )


def _root(variance: float, sigma: float) -> tuple[float, float]:
    """Square root of a variance near zero, and an error that stays finite there."""
    value = sqrt(max(variance, 0.0))
    return value, hypot(value, sqrt(sigma)) - value if value**2 < sigma else sigma / (2 * value)


def _measure_spacing(
    spectrum: Spectrum, working: Working, seeds: Seeds, why_not_charge: str
) -> PeakFit:
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
    model = _drawn(spectrum, working, drawn_peaks(working, spacing))
    refused = _refused(spectrum, no_pedestal)
    return replace(refused, gain=gain, model=model, kind="amplitude", reasons=tuple(reasons))


def _drawn(spectrum: Spectrum, working: Working, expected: Array) -> Array:
    """Expected counts of the fitted bins, spread over the bins of the source."""
    model = np.zeros(len(spectrum.counts))
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
        model=np.zeros(len(spectrum.counts)),
        kind="unresolved",
        reasons=reasons,
    )
