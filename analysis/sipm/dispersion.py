"""Gain from the mean and the dispersion of a light-on and a light-off run.

Works without resolved peaks. Pedestal, noise and dark counts drop out when both runs were taken at
the same temperature, bias and gate; the photon statistics with crosstalk and gain spread enter
through the divisor F, which has to be measured for the device and voltage.
"""

from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.peaks import PeakFit
from analysis.sipm.spectrum import Spectrum

METHOD = "mean and dispersion"
UNIT = "ADC/pe"
LEAST_ENTRIES = 200
LEAST_SIGNIFICANCE = 5.0
MOST_OVERFLOW = 5e-4
MOST_STRAY = 0.2


def enf_divisor(fit: PeakFit) -> Estimate:
    """Divisor F = 1 / (1 - lambda)^2 + (sigma_G / G)^2 from a fit with resolved peaks.

    The first term is variance over mean of the generalised Poisson law (S. Vinogradov,
    arXiv:1109.2014); it is not the excess noise factor 1 / (1 - lambda).
    """
    method = "crosstalk and gain spread of resolved peaks"
    gain, spread, crosstalk = fit.gain, fit.gain_spread, fit.crosstalk
    if (
        gain.value is None
        or spread.value is None
        or crosstalk.value is None
        or spread.sigma is None
        or crosstalk.sigma is None
    ):
        return unknown("1", method, *(fit.reasons or ("the peaks are not resolved",)))
    relative = spread.value / gain.value
    value = 1 / (1 - crosstalk.value) ** 2 + relative**2
    by_crosstalk = 2 / (1 - crosstalk.value) ** 3 * crosstalk.sigma
    by_spread = 2 * relative * spread.sigma / gain.value
    return Estimate(value, hypot(by_crosstalk, by_spread), "1", method)


def mean_dispersion(on: Spectrum, off: Spectrum, enf_divisor: Estimate | None) -> Estimate:
    """Gain G = (Var_on - Var_off) / (F (Mean_on - Mean_off)), ADC per photoelectron.

    on, off: spectra with and without light, same temperature, bias, gate and ADC setting.
    enf_divisor: F with its error, measured for this device and voltage; without it the gain is
        unknown. Light that varies from pulse to pulse is not part of F and would add to the gain
        in proportion to its mean.

    The statistical error follows from the variance of mean and variance of each run,
    Var(s^2) = (m4 - s^4) / N with the fourth central moment m4, and their covariance m3 / N; the
    error of F is added. At very high dark rates pixels do not recover between avalanches and the
    result is the effective gain.
    """
    refusals = _refusals(on, off)
    if refusals:
        return unknown(UNIT, METHOD, *refusals)
    mean_on, var_on, cov_on = _moments(on)
    mean_off, var_off, cov_off = _moments(off)
    shift, growth = mean_on - mean_off, var_on - var_off
    covariance = cov_on + cov_off
    shift_sigma, growth_sigma = sqrt(covariance[0, 0]), sqrt(covariance[1, 1])
    goodness = {
        "mean_shift_adc": shift,
        "variance_growth_adc2": growth,
        "shift_significance": shift / shift_sigma,
    }
    divisor = unknown("1", METHOD, "the divisor F of this device is not given")
    if enf_divisor is not None:
        divisor = enf_divisor
    if shift < -LEAST_SIGNIFICANCE * shift_sigma:
        problem = f"baselines differ: light lowers the mean by {-shift:.3g} ADC"
    elif shift < LEAST_SIGNIFICANCE * shift_sigma:
        problem = f"no light: the mean rises by {shift:.3g} +- {shift_sigma:.2g} ADC"
    elif growth < 3 * growth_sigma:
        problem = "the variance does not rise with the mean: moving baseline, or light not seen"
    elif divisor.value is None or divisor.sigma is None:
        problem = f"the divisor F is unknown: {'; '.join(divisor.reasons)}"
    elif divisor.value < 1:
        problem = f"the divisor F cannot be {divisor.value:.3g}, below 1"
    else:
        ratio = growth / shift
        slope = np.array([-ratio / shift, 1 / shift])
        statistical = sqrt(float(slope @ covariance @ slope))
        gain = ratio / divisor.value
        problem = _baseline_step(on, off, gain, shift)
        if not problem:
            sigma = hypot(statistical, gain * divisor.sigma) / divisor.value
            return Estimate(gain, sigma, UNIT, METHOD, goodness, _warnings(on, off))
    return unknown(UNIT, METHOD, problem, goodness=goodness)


def _refusals(on: Spectrum, off: Spectrum) -> list[str]:
    reasons = []
    for name, spectrum in (("light-on", on), ("light-off", off)):
        if spectrum.n_entries < LEAST_ENTRIES:
            reasons.append(f"{spectrum.n_entries:.0f} entries in the {name} spectrum are too few")
            continue
        if not np.allclose(spectrum.counts, np.rint(spectrum.counts), atol=1e-6):
            reasons.append(f"the {name} counts are not whole numbers")
        for end, where in ((0, "first"), (-1, "last")):
            share = spectrum.counts[end] / spectrum.n_entries
            beside = spectrum.counts[1] if end == 0 else spectrum.counts[-2]
            if (
                len(spectrum.counts) > 8
                and share > MOST_OVERFLOW
                and _piles_up(spectrum.counts[end], beside)
            ):
                reasons.append(
                    f"{share:.2%} of the {name} entries are in the {where} bin: out of range"
                )
    if not reasons and not np.isclose(np.median(on.widths), np.median(off.widths), rtol=1e-3):
        reasons.append("the two spectra have different bin widths: different ADC settings?")
    return reasons


def _piles_up(end: float, beside: float) -> bool:
    return bool(end > 2 * beside + 5 * sqrt(beside + 1))


def _moments(spectrum: Spectrum) -> tuple[float, float, NDArray[np.float64]]:
    """Mean, variance, and the (2, 2) covariance of the two."""
    n = spectrum.n_entries
    mean, variance = spectrum.mean, spectrum.variance
    away = spectrum.centers - mean
    third = float(spectrum.counts @ away**3) / n
    fourth = float(spectrum.counts @ away**4) / n
    spread = max(fourth - variance**2, 0.0)
    return mean, variance, np.array([[variance, third], [third, spread]]) / n


def _warnings(on: Spectrum, off: Spectrum) -> tuple[str, ...]:
    return tuple(
        f"a few far entries make {_stray_share(spectrum):.0%} of the {name} variance"
        for name, spectrum in (("light-on", on), ("light-off", off))
        if _stray_share(spectrum) > MOST_STRAY
    )


def _baseline_step(on: Spectrum, off: Spectrum, gain: float, shift: float) -> str:
    """Why the baselines must differ; empty as far as they look alike.

    The low edge of the light-on run cannot lie below that of the light-off run, and as long as
    many pulses give no photoelectron it cannot lie above it either.
    """
    noise = _quantile(off, 0.5) - _quantile(off, 0.16)
    noise = max(noise, 0.5 * float(np.median(off.widths)))
    step = _quantile(on, 0.02) - _quantile(off, 0.02)
    if step < -1.5 * noise or (shift < 3 * gain and step > 2.5 * noise):
        return f"baselines differ: light on begins {step:+.3g} ADC from light off"
    return ""


def _quantile(spectrum: Spectrum, share: float) -> float:
    below = np.append(0.0, np.cumsum(spectrum.counts))
    return float(np.interp(share * below[-1], below, spectrum.edges))


def _stray_share(spectrum: Spectrum) -> float:
    """Share of the variance that comes from the 0.2 % of entries farthest out."""
    order = np.argsort(-np.abs(spectrum.centers - spectrum.mean))
    counts = spectrum.counts[order]
    away = (spectrum.centers[order] - spectrum.mean) ** 2
    far = np.cumsum(counts) <= 0.002 * spectrum.n_entries
    return float((counts * away)[far].sum() / max((counts * away).sum(), 1e-300))
