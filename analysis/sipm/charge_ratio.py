"""Gain from the ratio of the characteristic functions of a light-on and a light-off run.

The charge with light is the charge without light plus an independent compound-Poisson sum, so
c_on(w) / c_off(w) = t(w) is the characteristic function of the light alone (light_charge.py),
whatever the pedestal, the noise and the dark counts are. At small w this is mean and dispersion;
the next order, the skewness of the light, tells the crosstalk and with it the divisor F that mean
and dispersion has to be given; near w = 2 pi / G it is the residual modulation by peaks that can
no longer be seen. How the gain is found is in gain_profile.py.
"""

from math import exp, hypot, sqrt
from typing import Protocol

import numpy as np
from scipy.stats import chi2 as chi2_distribution

from analysis.estimate import Estimate, unknown
from analysis.sipm.assumptions import Broken, evaluate
from analysis.sipm.gain_profile import MOST_F, TYPICAL_F, LightPrior, gain_profile
from analysis.sipm.light_charge import divisor
from analysis.sipm.moments import one_pair
from analysis.sipm.pair_functions import pair_functions
from analysis.sipm.refusals import pair_sentences
from analysis.sipm.spectrum import Spectrum

METHOD = "ratio of characteristic functions"
UNIT = "ADC/pe"
UNKNOWN_JITTER2 = (2e-4, 3e-4)
UNKNOWN_PIXELS = 3000.0
LEAST_CURVATURE_ERROR = 1e-6
MOST_SIGMA = 0.1
MODEL_ERROR = 3e-4
LEAST_P_VALUE = 1e-4
JUDGED_HERE = Broken.SHAPE | Broken.TOO_BRIGHT | Broken.TOO_UNCERTAIN


class PairPrior(Protocol):
    """What is known of the device at this bias and temperature; gain.DevicePrior is one."""

    @property
    def enf_divisor(self) -> Estimate | None: ...
    @property
    def light_jitter(self) -> Estimate | None: ...
    @property
    def light_curvature(self) -> Estimate | None: ...
    @property
    def n_pixels(self) -> int | None: ...


def fit_pair_ratio(on: Spectrum, off: Spectrum, prior: PairPrior | None = None) -> Estimate:
    """Gain in ADC per photoelectron from the ratio of the characteristic functions, see the module.

    on, off: spectra with and without light, same temperature, bias, gate and ADC setting, in
        matching bins of one width.
    prior: `enf_divisor` (F with its error), `light_jitter` (B with its error), `light_curvature`
        (of an intensity scan, replaces B) and `n_pixels` sharpen the answer; all may be missing.
        F is then told by the skewness of the light, B is taken to lie below about 2.5 %, and the
        pixels to be 3000 or more.

    goodness: chi2, ndf, p_value, enf_divisor, light_yield, mean_shift_adc, n_frequencies.

    Unknown where mean and dispersion refuses the pair, where the error exceeds 10 %, and where the
    pair does not follow the model (p-value below 1e-4): different noise or baseline in the two
    runs, saturation. At very high dark rates the result is the effective gain.
    """
    problems = contradictions(on, off)
    if problems:
        return unknown(UNIT, METHOD, *problems)
    known = light_prior(prior)
    if isinstance(known, str):
        return unknown(UNIT, METHOD, known)
    pair = pair_functions(on, off)
    if isinstance(pair, str):
        return unknown(UNIT, METHOD, pair)
    profile = gain_profile(pair, known)
    ln_gain, ln_sigma = profile.mean_and_width
    chi2 = float(profile.chi2[profile.best])
    p_value = float(chi2_distribution.sf(chi2, profile.ndf))
    _, crosstalk, spread2, afterpulse, _ = profile.theta[profile.best]
    primary = exp(ln_gain) * (1 + afterpulse / 2) / (1 - crosstalk)
    goodness = {
        "chi2": chi2,
        "ndf": profile.ndf,
        "p_value": p_value,
        "enf_divisor": float(divisor(crosstalk, spread2, afterpulse)),
        "mean_shift_adc": pair.shift,
        "light_yield": pair.shift / primary,
        "n_frequencies": float(len(pair.index)),
    }
    if p_value < LEAST_P_VALUE:
        problem = f"the two runs differ by more than light (p = {p_value:.1g})"
        return unknown(UNIT, METHOD, problem, goodness=goodness)
    if ln_sigma > MOST_SIGMA:
        problem = f"the pair tells the gain only to {ln_sigma:.0%}"
        return unknown(UNIT, METHOD, problem, goodness=goodness)
    sigma = exp(ln_gain) * hypot(ln_sigma, MODEL_ERROR)
    return Estimate(exp(ln_gain), sigma, UNIT, METHOD, goodness)


def contradictions(on: Spectrum, off: Spectrum) -> tuple[str, ...]:
    """Why there is no light to be told from the noise; at the largest divisor, as F is not known
    and the test for a raised baseline must hold for every number of photoelectrons."""
    if abs(np.median(on.widths) / np.median(off.widths) - 1) > 1e-3:
        return ("the two spectra have different bin widths: different ADC settings?",)
    runs = one_pair(on, off)
    found = evaluate(runs, np.array([MOST_F]), np.zeros(1))
    if found.raw_gain[0] == 0:
        return ("the variance does not rise with the mean",)
    return pair_sentences(found, runs, skip=JUDGED_HERE)


def light_prior(prior: PairPrior | None) -> LightPrior | str:
    """The numbers of a device prior, or why they cannot be used."""
    if prior is None:
        return LightPrior()
    known_divisor, f = None, prior.enf_divisor
    if f is not None and f.value is not None and f.sigma is not None:
        if f.value < 1:
            return f"the divisor F cannot be {f.value:.3g}, below 1"
        known_divisor = (f.value, max(f.sigma, 1e-4))
    return LightPrior(curvature=_curvature(prior), divisor=known_divisor)


def _curvature(prior: PairPrior) -> tuple[float, float]:
    """c and its error: measured, or from light jitter and number of pixels where these are known.

    The finite pixels' part is exact for F = 1 only; 30 % of it is left as error.
    """
    measured, jitter = prior.light_curvature, prior.light_jitter
    if measured is not None and measured.value is not None and measured.sigma is not None:
        return measured.value, max(measured.sigma, LEAST_CURVATURE_ERROR)
    value, sigma = UNKNOWN_JITTER2
    if jitter is not None and jitter.value is not None and jitter.sigma is not None:
        value = jitter.value**2
        sigma = hypot(2 * jitter.value * jitter.sigma, sqrt(2) * jitter.sigma**2)
    if prior.n_pixels is None:
        return value, hypot(sigma, 1 / UNKNOWN_PIXELS)
    taken = TYPICAL_F * (1 + TYPICAL_F) / 2 / prior.n_pixels
    return value - taken, hypot(sigma, 0.3 * taken, LEAST_CURVATURE_ERROR)
