"""What the network sees of a pair of histograms: numbers without a scale.

Everything is in units of q = (Var_on - Var_off) / (Mean_on - Mean_off), which is F G; the network
then has to tell ln(G / q) = -ln F, less the statistical error of q. Two things in the histograms
tell it, whatever pedestal, noise and dark counts are: the third cumulant of the light,
kappa_3 kappa_1 / kappa_2^2 = 1 + 2 lambda, and how well c_on / c_off follows the light of every
trial gain, which holds the residual modulation at w = 2 pi / G (gain_profile.reference_profile).
"""

from dataclasses import dataclass
from math import hypot, log, sqrt

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.assumptions import evaluate
from analysis.sipm.charge_ratio import PairPrior, contradictions, light_prior
from analysis.sipm.gain_profile import LightPrior, reference_profile
from analysis.sipm.moments import one_pair
from analysis.sipm.pair_functions import pair_functions
from analysis.sipm.spectrum import Spectrum

LOWEST_LN_F, HIGHEST_LN_F = -0.1, 0.8
N_PROFILE = 30
FINEST_SCAN = 420
DEEPEST_DIP = 6.0
TYPICAL_LN_F = 0.18
UNKNOWN_LN_F = 0.3
REFERENCE = LightPrior(spread2=(2.5e-3, 2.5e-3), afterpulse=(0.02, 0.03), curvature=(0.0, 1e-6))
NAMES = (
    "ln_n_on",
    "ln_n_off",
    "ln_noise",
    "ln_light",
    "ln_slope_error",
    "shape",
    "ln_shape_error",
    "off_skewness",
    "divisor_known",
    "ln_divisor",
    "ln_divisor_error",
    "best_ln_gain",
    "ln_best_width",
    "rival_dip",
    "ln_frequencies",
    *(f"dip_{i:02d}" for i in range(N_PROFILE)),
)

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """values: (len(NAMES),) for the network. slope: q in ADC; gain = q exp(output)."""

    values: Array
    slope: float


def features(on: Spectrum, off: Spectrum, prior: PairPrior | None = None) -> Features | str:
    """Features of a pair, or why it has none: what charge_ratio refuses has none either."""
    problems = contradictions(on, off)
    if problems:
        return "; ".join(problems)
    known = light_prior(prior)
    if isinstance(known, str):
        return known
    pair = pair_functions(on, off)
    if isinstance(pair, str):
        return pair
    runs = one_pair(on, off)
    found = evaluate(runs, np.ones(1), np.zeros(1))
    slope_error = float(found.budget["statistics"][0]) / pair.slope
    shape_error = float(found.shape_sigma[0])
    trust = 1 / (1 + shape_error**2)
    ln_f, ln_f_error = TYPICAL_LN_F, UNKNOWN_LN_F
    if known.divisor is not None:
        ln_f, ln_f_error = log(known.divisor[0]), known.divisor[1] / known.divisor[0]
    light = pair.shift / pair.slope
    n_trials = int(np.clip(4 * N_PROFILE * light / 3, 2 * N_PROFILE, FINEST_SCAN))
    ln_trial = -np.linspace(LOWEST_LN_F, HIGHEST_LN_F, n_trials)
    chi2 = reference_profile(pair, REFERENCE, log(pair.slope) + ln_trial)
    dips = np.sqrt(chi2 - chi2.min())
    pooled = np.array([part.min() for part in np.array_split(dips, N_PROFILE)])
    weight = np.exp(-0.5 * np.minimum(dips**2, 700.0))
    weight /= weight.sum()
    mean = float(weight @ ln_trial)
    width = sqrt(float(weight @ (ln_trial - mean) ** 2))
    apart = np.abs(ln_trial - ln_trial[np.argmin(chi2)]) > 0.06
    skewness = float(runs.off.third[0]) / off.variance**1.5
    head = [
        log(on.n_entries),
        log(off.n_entries),
        0.5 * log(off.variance) - log(pair.slope),
        log(light),
        log(slope_error),
        trust * (float(found.shape[0]) - 1),
        log(shape_error),
        np.clip(skewness, -1.0, 3.0),
        float(known.divisor is not None),
        ln_f,
        log(hypot(ln_f_error, 1e-3)),
        mean,
        log(hypot(width, 1e-4)),
        min(float(dips[apart].min()), DEEPEST_DIP),
        log(len(pair.index)),
    ]
    values = np.concatenate([head, np.minimum(pooled, DEEPEST_DIP)])
    return Features(values, pair.slope)
