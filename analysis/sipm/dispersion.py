"""Gain from the mean and the dispersion of a light-on and a light-off run.

Works without resolved peaks. Pedestal, noise and dark counts drop out when both runs were taken at
the same temperature, bias and gate; the photon statistics with crosstalk and gain spread enter
through the divisor F, which has to be measured for the device and voltage.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import Estimate, unknown
from analysis.sipm.assumptions import Broken, Evaluation, Light, evaluate
from analysis.sipm.dark_dispersion import dark_only
from analysis.sipm.divisor import divisor_of, enf_divisor, generalised_divisor
from analysis.sipm.drift import drift
from analysis.sipm.light_scan import IntensityScan, intensity_scan
from analysis.sipm.moments import Flaw, Summary, moments, one_pair, pairs
from analysis.sipm.refusals import pair_sentences
from analysis.sipm.spectrum import Spectrum

__all__ = [
    "Broken",
    "Flaw",
    "IntensityScan",
    "ManyGains",
    "Summary",
    "dark_only",
    "divisor_of",
    "enf_divisor",
    "enf_divisor_of_pair",
    "gain_times_divisor",
    "generalised_divisor",
    "intensity_scan",
    "mean_dispersion",
    "mean_dispersion_many",
    "moments",
    "prediction",
]

METHOD = "mean and dispersion"
UNIT = "ADC/pe"
DRIFT_SIGNIFICANCE = 6.0
MOST_DRIFT = 0.05
QUIETER = 4.0
TYPICAL_DIVISOR = 1.2
NEEDS_DIVISOR = Broken.SHAPE | Broken.BEGINS_HIGHER

Array = NDArray[np.float64]


def gain_times_divisor(
    on: Spectrum,
    off: Spectrum,
    light_jitter: Estimate | None = None,
    n_pixels: int | None = None,
) -> Estimate:
    """F G = (Var_on - Var_off - c dQ^2) / (Mean_on - Mean_off) in ADC/pe, without knowing F.

    Arguments, refusals and parts of the error as in `mean_dispersion`.
    """
    pair = one_pair(on, off)
    light = Light(light_jitter, None, n_pixels)
    one = evaluate(pair, np.full(1, TYPICAL_DIVISOR), np.zeros(1), light=light)
    problems = _checked(on, off)[0] or pair_sentences(one, pair, skip=NEEDS_DIVISOR)
    if problems:
        return unknown(UNIT, METHOD, *problems)
    goodness = {
        name: figure * TYPICAL_DIVISOR if name.startswith("sigma_") else figure
        for name, figure in _goodness(one).items()
    }
    sigma = hypot(*(figure for name, figure in goodness.items() if name.startswith("sigma_")))
    value = float(one.raw_gain[0]) * TYPICAL_DIVISOR
    return Estimate(value, sigma, UNIT, METHOD, goodness)


def enf_divisor_of_pair(
    on: Spectrum,
    off: Spectrum,
    gain: Estimate,
    light_jitter: Estimate | None = None,
    n_pixels: int | None = None,
) -> Estimate:
    """Divisor F = (Var_on - Var_off - c dQ^2) / (G (Mean_on - Mean_off)) where G is known.

    gain: G in ADC/pe at the same bias and temperature, from resolved peaks; it may come from the
    light-on run of the pair. Afterpulses and everything else that widens the light are then part
    of F, as they should be. Other arguments as in `mean_dispersion`.
    """
    method = "known gain, mean and dispersion"
    if gain.value is None or gain.sigma is None or gain.value <= 0:
        return unknown("1", method, *(gain.reasons or ("the gain is not positive",)))
    product = gain_times_divisor(on, off, light_jitter, n_pixels)
    if product.value is None or product.sigma is None:
        return unknown("1", method, *product.reasons)
    value = product.value / gain.value
    sigma = hypot(product.sigma / gain.value, value * gain.sigma / gain.value)
    pair = one_pair(on, off)
    light = Light(light_jitter, None, n_pixels)
    found = evaluate(pair, np.array([value]), np.array([sigma]), light=light)
    problems = pair_sentences(found, pair, divisor=Estimate(value, sigma, "1", method))
    if problems:
        return unknown("1", method, *problems)
    return Estimate(value, sigma, "1", method)


def mean_dispersion(
    on: Spectrum,
    off: Spectrum,
    enf_divisor: Estimate | None,
    light_jitter: Estimate | None = None,
    *,
    curvature: Estimate | None = None,
    noise: Estimate | None = None,
    n_pixels: int | None = None,
    on_charges: ArrayLike | None = None,
    off_charges: ArrayLike | None = None,
) -> Estimate:
    """Gain G = (Var_on - Var_off - c dQ^2) / (F dQ), dQ = Mean_on - Mean_off, ADC per p.e.

    on, off: spectra with and without light, same temperature, bias, gate and ADC setting.
    enf_divisor: F with its error, measured for this device and voltage; without it the gain is
        unknown.
    light_jitter: relative rms B of the light from pulse to pulse, c = B^2. Without it B is taken
        as 0 with an error of 3 %, which limits the light that can be used.
    curvature: c itself as measured by an intensity scan, with the finite number of pixels in it
        (about -1 / n_pixels); replaces `light_jitter`.
    noise: rms of the electronics in ADC, if known: the light-off run cannot be narrower.
    n_pixels: pixels of the SiPM: their saturation is then corrected, with 30 % of it as error.
        Without it 1 / 1000 of the charge in p.e. is an error.
    on_charges, off_charges: (n_events,) the charges in ADC in the order in which they were taken;
        a moving baseline is then found and refused.

    The statistical error follows from the variance of mean and variance of each run,
    Var(s^2) = (m4 - s^4) / N with the fourth central moment m4, and their covariance m3 / N; for
    Gaussian spectra that is sigma_G / G = sqrt(2 [(mu F + s^2)^2 + s^4] / N) / (mu F). Its parts
    are in `goodness`: sigma_statistics, sigma_divisor, sigma_curvature (light jitter and finite
    pixels), sigma_occupancy (pixels that dark counts keep busy), sigma_baseline, sigma_binning;
    `broken` holds the `Broken` bits. At
    very high dark rates pixels do not recover between avalanches: the result is the effective gain
    and says so.
    """
    problems, broken = _checked(on, off)
    if problems:
        return unknown(UNIT, METHOD, *problems, goodness={"broken": float(broken)})
    divisor = enf_divisor or unknown("1", METHOD, "the divisor F of this device is not given")
    pair = one_pair(on, off)
    evaluation = evaluate(
        pair,
        np.array([np.nan if divisor.value is None else divisor.value]),
        np.array([np.nan if divisor.sigma is None else divisor.sigma]),
        light=Light(light_jitter, curvature, n_pixels),
    )
    goodness = _goodness(evaluation)
    problems = pair_sentences(evaluation, pair, divisor=divisor)
    if problems:
        return unknown(UNIT, METHOD, *problems, goodness=goodness)
    problems = _too_quiet(pair.off, noise)
    gain, sigma = float(evaluation.gain[0]), float(evaluation.sigma[0])
    drifting, drift_sigma, warnings = _drifts(evaluation, on_charges, off_charges)
    problems += drifting
    if problems:
        return unknown(UNIT, METHOD, *problems, goodness=goodness)
    if drift_sigma:
        goodness["sigma_baseline"] = hypot(goodness["sigma_baseline"], drift_sigma)
        sigma = hypot(sigma, drift_sigma)
    if evaluation.effective[0]:
        warnings += ("effective gain: dark counts keep a part of the pixels busy",)
    return Estimate(gain, sigma, UNIT, METHOD, goodness, warnings)


@dataclass(frozen=True)
class ManyGains:
    """Gains of (n_channels,) channels in ADC/pe; nan where there is none.

    broken: `Broken` bits that say why; on_flaws, off_flaws: `Flaw` bits of the runs. effective:
    where dark counts may change the gain by more than 1 %. budget: contributions to sigma by name.
    """

    gain: Array
    sigma: Array
    broken: NDArray[np.uint32]
    on_flaws: NDArray[np.uint32]
    off_flaws: NDArray[np.uint32]
    effective: NDArray[np.bool_]
    budget: Mapping[str, Array]


def mean_dispersion_many(
    on: ArrayLike,
    off: ArrayLike,
    edges: ArrayLike,
    f: ArrayLike,
    f_sigma: ArrayLike,
    *,
    light_jitter: Estimate | None = None,
    curvature: Estimate | None = None,
    n_pixels: int | None = None,
    threads: int = 2,
) -> ManyGains:
    """`mean_dispersion` for many channels at once, with the same answers and refusals.

    on, off: (n_channels, n_bins) counts of any real dtype; edges: (n_bins + 1,) in ADC. f, f_sigma:
    the divisor and its error, for all or (n_channels,); nan where unknown. Contents that are
    negative or not finite make their own channel unknown, never the others.

    Raises ValueError on shapes that do not fit.
    """
    pair = pairs(on, off, edges, threads=threads)
    found = evaluate(
        pair,
        np.asarray(f, dtype=np.float64),
        np.asarray(f_sigma, dtype=np.float64),
        light=Light(light_jitter, curvature, n_pixels),
    )
    return ManyGains(
        found.gain,
        found.sigma,
        found.broken,
        pair.on.flaws,
        pair.off.flaws,
        found.effective,
        found.budget,
    )


def prediction(charge_pe: float, divisor: float, noise_pe: float, n_events: float) -> float:
    """Relative statistical error of the gain, sqrt(2 [(mu F + s^2)^2 + s^4] / N) / (mu F).

    charge_pe: mean charge mu of the light in p.e.; noise_pe: light-off rms s in p.e.; n_events: N
    of each run. For spectra that are Gaussian, which takes many p.e. or much noise.
    """
    light = charge_pe * divisor
    return sqrt(2 * ((light + noise_pe**2) ** 2 + noise_pe**4) / n_events) / light


def _checked(on: Spectrum, off: Spectrum) -> tuple[tuple[str, ...], Broken]:
    """What forbids to compare the two histograms at all."""
    if not np.isclose(np.median(on.widths), np.median(off.widths), rtol=1e-3):
        return ("the two spectra have different bin widths: different ADC settings?",), Broken(0)
    same = len(on.counts) == len(off.counts) and np.array_equal(on.edges, off.edges)
    if same and on.n_entries and np.array_equal(on.counts, off.counts):
        return ("no light: both runs are the same, count for count",), Broken.NO_LIGHT
    return (), Broken(0)


def _goodness(evaluation: Evaluation) -> dict[str, float]:
    figures = {
        "mean_shift_adc": evaluation.shift,
        "variance_growth_adc2": evaluation.growth,
        "shift_significance": evaluation.shift / np.maximum(evaluation.shift_sigma, 1e-300),
        "shape": evaluation.shape,
        "shape_sigma": evaluation.shape_sigma,
        "expected_shape": evaluation.expected_shape,
        **{f"sigma_{name}": part for name, part in evaluation.budget.items()},
    }
    known = {name: float(part[0]) for name, part in figures.items() if np.isfinite(part[0])}
    return known | {"broken": float(evaluation.broken[0])}


def _too_quiet(off: Summary, noise: Estimate | None) -> tuple[str, ...]:
    if noise is None or noise.value is None or noise.sigma is None:
        return ()
    variance = float(off.variance[0]) - off.width**2 / 12
    error = hypot(2 * noise.value * noise.sigma, sqrt(float(off.covariance[0, 1, 1])))
    if noise.value**2 - variance > QUIETER * error:
        return (
            f"the light-off run is narrower ({sqrt(max(variance, 0.0)):.3g} ADC) than the noise "
            f"of this channel ({noise.value:.3g} ADC): another setting?",
        )
    return ()


def _drifts(
    found: Evaluation, on_charges: ArrayLike | None, off_charges: ArrayLike | None
) -> tuple[tuple[str, ...], float, tuple[str, ...]]:
    """Refusals, error to add (ADC/pe), and warnings for a baseline that moves in time."""
    gain, shift, growth = float(found.gain[0]), float(found.shift[0]), float(found.growth[0])
    refusals: list[str] = []
    warnings: list[str] = []
    total = 0.0
    for name, charges in (("light-on", on_charges), ("light-off", off_charges)):
        moving = None if charges is None else drift(charges)
        if moving is None or moving.significance < DRIFT_SIGNIFICANCE:
            continue
        moved = sqrt(moving.excess_variance)
        share = hypot(moving.excess_variance / growth, moved / shift)
        text = f"the baseline moves by {moved:.3g} ADC rms during the {name} run"
        if share > MOST_DRIFT:
            refusals.append(text)
        else:
            warnings.append(text)
            total = hypot(total, gain * share)
    return tuple(refusals), total, tuple(warnings)
