"""The gain of mean and dispersion, its error budget, and every assumption the two runs contradict.

Written for arrays over channels: one spectrum pair is an array of length one.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntFlag

import numpy as np
from numpy.typing import NDArray

from analysis.estimate import Estimate
from analysis.sipm.moments import Flaw, Pair

LEAST_SIGNIFICANCE = 5.0
LEAST_GROWTH = 5.0
LEAST_DIVISOR = 1.0
MOST_BELOW = 0.8
MOST_DIVISOR = 10.0
MOST_STEP = 0.03
STEP_SIGNIFICANCE = 5.0
SHAPE_SIGNIFICANCE = 3.5
SHAPE_TOLERANCE = 0.2
LEAST_TAILS = 3.0
MOST_TAILS = 6.0
TAILS_FACTOR = 3.0
DARK_TAILS_ERROR = 0.3
MOST_CURVATURE_SHARE = 0.1
MOST_ERROR = 0.3
# One standard deviation where nobody measured it: 3 % of light jitter, and 3000 pixels.
UNKNOWN_JITTER = 0.03
UNKNOWN_PIXELS = 1000.0
PIXEL_ERROR = 0.3
EFFECTIVE_SHARE = 0.01

Array = NDArray[np.float64]


class Broken(IntFlag):
    """Why a pair of runs has no gain."""

    ON_FLAWED = 1
    OFF_FLAWED = 2
    SWAPPED = 4
    DARKER = 8
    NO_LIGHT = 16
    NO_GROWTH = 32
    NO_DIVISOR = 64
    IMPOSSIBLE_DIVISOR = 128
    BEGINS_LOWER = 256
    BEGINS_HIGHER = 512
    SHAPE = 1024
    TOO_BRIGHT = 2048
    TOO_UNCERTAIN = 4096
    TAILS = 8192


# The runs do not belong together, whatever else is known.
CONTRADICTIONS = (
    Broken.SWAPPED
    | Broken.DARKER
    | Broken.BEGINS_LOWER
    | Broken.BEGINS_HIGHER
    | Broken.SHAPE
    | Broken.TAILS
)


@dataclass(frozen=True)
class Light:
    """What bends the growth of the variance, c in Var_on - Var_off = F G dQ + c dQ^2.

    jitter: relative rms B of the light from pulse to pulse, which adds B^2. curvature: c itself
    from an intensity scan, everything included. n_pixels: pixels of the SiPM. None or unknown
    where nobody measured it.
    """

    jitter: Estimate | None = None
    curvature: Estimate | None = None
    n_pixels: float | None = None

    def curvature_with_error(self, divisor: Array) -> tuple[Array, Array]:
        """c and its error for the divisors F, (n_channels,) each.

        Finite pixels take the share (1 + F) / 2 dQ / (G n_pixels) of the variance away, which is
        exact for F = 1 and simulated with crosstalk; 30 % of it is left as error.
        """
        measured = self.curvature
        if measured is not None and measured.value is not None and measured.sigma is not None:
            nothing = np.zeros_like(divisor)
            return nothing + measured.value, nothing + measured.sigma
        b, b_sigma = 0.0, 0.0
        squared_sigma = UNKNOWN_JITTER**2
        if self.jitter is not None and self.jitter.value is not None:
            b, b_sigma = self.jitter.value, self.jitter.sigma or 0.0
            squared_sigma = float(np.hypot(2 * b * b_sigma, np.sqrt(2) * b_sigma**2))
        bent = divisor * (1 + divisor) / 2
        if self.n_pixels is None:
            return np.full_like(divisor, b**2), np.hypot(squared_sigma, bent / UNKNOWN_PIXELS)
        bent = bent / self.n_pixels
        return b**2 - bent, np.hypot(squared_sigma, PIXEL_ERROR * bent)


NOTHING_MEASURED = Light()


@dataclass(frozen=True)
class Evaluation:
    """All arrays (n_channels,). gain and sigma are nan where `broken` has a bit.

    budget: contributions to sigma in ADC/pe: statistics, divisor, curvature (light jitter and
        finite pixels), occupancy (pixels that dark counts keep busy), baseline, binning.
    shift, growth: differences of mean (ADC) and variance (ADC squared), with their errors.
    shape: third cumulant grown, in the unit in which single avalanches without crosstalk give 1;
        expected_shape: what the divisor lets expect.
    effective: where busy pixels may change the gain by more than 1 %.
    """

    gain: Array
    sigma: Array
    broken: NDArray[np.uint32]
    budget: Mapping[str, Array]
    shift: Array
    shift_sigma: Array
    growth: Array
    growth_sigma: Array
    shape: Array
    shape_sigma: Array
    expected_shape: Array
    step: Array
    raw_gain: Array
    effective: NDArray[np.bool_]


def evaluate(
    pair: Pair,
    divisor: Array,
    divisor_sigma: Array,
    *,
    light: Light = NOTHING_MEASURED,
) -> Evaluation:
    """Gain and error budget of (n_channels,) pairs of runs.

    divisor, divisor_sigma: F and its error, broadcast against the channels; nan where unknown.
    """
    with np.errstate(all="ignore"):
        return _evaluate(pair, divisor, divisor_sigma, light)


def _evaluate(
    pair: Pair,
    divisor: Array,
    divisor_sigma: Array,
    light: Light,
) -> Evaluation:
    on, off = pair.on, pair.off
    n_channels = len(on.entries)
    f = np.broadcast_to(np.asarray(divisor, dtype=np.float64), n_channels)
    f_sigma = np.broadcast_to(np.asarray(divisor_sigma, dtype=np.float64), n_channels)
    shift, growth = on.mean - off.mean, on.variance - off.variance
    covariance = on.covariance + off.covariance
    shift_sigma, growth_sigma = np.sqrt(covariance[:, 0, 0]), np.sqrt(covariance[:, 1, 1])

    curvature, curvature_sigma = light.curvature_with_error(f)
    gain = (growth / shift - curvature * shift) / f
    by_shift, by_growth = -(growth / shift**2 + curvature) / f, 1 / (f * shift)
    statistics = np.sqrt(
        by_shift**2 * covariance[:, 0, 0]
        + 2 * by_shift * by_growth * covariance[:, 0, 1]
        + by_growth**2 * covariance[:, 1, 1]
    )
    pixels = UNKNOWN_PIXELS if light.n_pixels is None else light.n_pixels
    step = _step_down(pair)
    width = on.width
    budget = {
        "statistics": statistics,
        "divisor": np.abs(gain) * f_sigma / f,
        "curvature": np.abs(shift) * curvature_sigma / f,
        "occupancy": np.abs(gain) * _dark_charges(pair, gain) / pixels,
        "baseline": np.abs(gain * step / shift),
        "binning": _binning(pair, width, shift, growth, f),
    }
    sigma = np.sqrt(sum(part**2 for part in budget.values()))

    shape, shape_sigma = _shape(pair, shift, growth, covariance)
    draft = Evaluation(
        gain=gain,
        sigma=sigma,
        broken=np.zeros(n_channels, dtype=np.uint32),
        budget=budget,
        shift=shift,
        shift_sigma=shift_sigma,
        growth=growth,
        growth_sigma=growth_sigma,
        shape=shape,
        shape_sigma=shape_sigma,
        expected_shape=1 + 2 * (1 - 1 / np.sqrt(np.maximum(f, 1.0))),
        step=step,
        raw_gain=gain,
        effective=np.zeros(n_channels, dtype=np.bool_),
    )
    broken = _broken(pair, draft, f, f_sigma)
    good = broken == 0
    return replace(
        draft,
        gain=np.where(good, gain, np.nan),
        sigma=np.where(good, sigma, np.nan),
        broken=broken,
        effective=good & (budget["occupancy"] > EFFECTIVE_SHARE * gain),
    )


def _broken(pair: Pair, found: Evaluation, f: Array, f_sigma: Array) -> NDArray[np.uint32]:
    """`Broken` bits; the later ones only where the earlier ones let a gain be formed."""
    shift, gain = found.shift, found.raw_gain
    flaws = pair.on.flaws | pair.off.flaws
    usable = (flaws & (Flaw.NOT_FINITE | Flaw.NEGATIVE | Flaw.FEW_ENTRIES)) == 0
    darker = usable & (shift < -LEAST_SIGNIFICANCE * found.shift_sigma)
    narrower = found.growth < -LEAST_GROWTH * found.growth_sigma
    lit = usable & (shift >= LEAST_SIGNIFICANCE * found.shift_sigma) & (shift > 0)
    grown = lit & (found.growth >= LEAST_GROWTH * found.growth_sigma) & (found.growth > 0)
    given = np.isfinite(f) & np.isfinite(f_sigma) & (f_sigma >= 0)
    possible = (f + 2 * f_sigma >= LEAST_DIVISOR) & (f > MOST_BELOW) & (f <= MOST_DIVISOR)
    sound = grown & given & possible
    apart = np.abs(found.shape - found.expected_shape)
    error = np.where(gain > 0, found.sigma / gain, np.inf)
    most_charge = shift / (gain * np.maximum(1 - 3 * error, 0.3))
    where = {
        Broken.ON_FLAWED: pair.on.flaws != 0,
        Broken.OFF_FLAWED: (pair.off.flaws & ~np.uint32(Flaw.ONE_BIN)) != 0,
        Broken.SWAPPED: darker & narrower,
        Broken.DARKER: darker & ~narrower,
        Broken.NO_LIGHT: usable & ~darker & ~lit,
        Broken.NO_GROWTH: lit & ~grown,
        Broken.NO_DIVISOR: grown & ~given,
        Broken.IMPOSSIBLE_DIVISOR: grown & given & ~possible,
        Broken.BEGINS_LOWER: sound & (found.step > MOST_STEP * shift),
        Broken.BEGINS_HIGHER: sound & _begins_higher(pair, most_charge),
        Broken.SHAPE: sound & (apart > SHAPE_SIGNIFICANCE * found.shape_sigma + SHAPE_TOLERANCE),
        Broken.TAILS: sound & _tails_differ(pair, shift, gain, f),
        Broken.TOO_BRIGHT: sound & (found.budget["curvature"] > MOST_CURVATURE_SHARE * gain),
        Broken.TOO_UNCERTAIN: sound & ~(error < MOST_ERROR),
    }
    bits = np.zeros(len(shift), dtype=np.uint32)
    for bit, at in where.items():
        bits[at] |= np.uint32(bit)
    return bits


def _step_down(pair: Pair) -> Array:
    """How far the light-on run significantly begins below the light-off run, ADC.

    Light only adds charge, so at no charge may more of the light-on entries lie below.
    """
    share, below = pair.share, pair.below
    per_entry = 1 / pair.on.entries + 1 / pair.off.entries
    sigma = np.sqrt(share * (1 - share) * per_entry[:, None])
    low = np.where(below - share > STEP_SIGNIFICANCE * sigma, -pair.moved, 0.0)
    return np.asarray(np.nan_to_num(np.max(low, axis=1)).clip(min=0.0))


def _begins_higher(pair: Pair, charge: Array) -> NDArray[np.bool_]:
    """Whether fewer light-on entries lie low than the pulses without a photoelectron alone give.

    With a mean charge of m photoelectrons at least exp(-m) of the pulses give none.
    """
    dark = np.exp(-np.maximum(charge, 0.0))[:, None]
    least = dark * pair.share
    per_entry = (1 / pair.on.entries)[:, None] + dark / pair.off.entries[:, None]
    sigma = np.sqrt(np.maximum(least, pair.below) * (1 - pair.share) * per_entry)
    return np.asarray(np.any(least - pair.below > STEP_SIGNIFICANCE * sigma, axis=1))


def _dark_charges(pair: Pair, gain: Array) -> Array:
    """Most avalanches per gate without light that the skewness of the light-off run allows."""
    third = pair.off.third
    error = np.sqrt(pair.off.covariance[:, 2, 2])
    by_third = np.maximum(third, 0.0) + error
    return np.asarray(
        np.minimum(np.nan_to_num(by_third / gain**3), np.maximum(pair.off.variance, 0) / gain**2)
    )


def _binning(pair: Pair, width: float, shift: Array, growth: Array, f: Array) -> Array:
    """What is left of the bins after Sheppard's correction, which cancels between the runs.

    A Gaussian of rms s in bins of width w is displaced by at most (w / pi) e and its variance by
    (w^2 / pi^2 + 4 s^2) e with e = exp(-2 pi^2 s^2 / w^2).
    """
    rms = np.sqrt(np.maximum(pair.off.variance - width**2 / 12, 0.0))
    damping = np.exp(-2 * (np.pi * rms / width) ** 2)
    moved = width / np.pi * damping
    widened = ((width / np.pi) ** 2 + 4 * rms**2) * damping
    return np.asarray(np.hypot(widened, growth / shift * moved) / np.abs(f * shift))


def _tails_differ(pair: Pair, shift: Array, gain: Array, f: Array) -> NDArray[np.bool_]:
    """Whether the fourth cumulant of the light-on run is not that of light and light-off run.

    All cumulants of light are positive: a flat distribution has no place. With the cascades of the
    divisor the fourth is dQ G^3 (1 + 8 lambda + 6 lambda^2) / (1 - lambda)^6; three times that is
    allowed for what the model leaves out. Errors are those of Gaussian samples.
    """
    m2, m4 = pair.on.central[:, 0], pair.on.central[:, 2]
    d2, d4 = pair.off.central[:, 0], pair.off.central[:, 2]
    dark = (d4 - 3 * d2**2) / m2**2
    excess = m4 / m2**2 - 3 - dark
    error = np.sqrt(
        24 / pair.on.entries
        + 24 * (d2 / m2) ** 4 / pair.off.entries
        + (DARK_TAILS_ERROR * dark) ** 2
    )
    crosstalk = 1 - 1 / np.sqrt(np.maximum(f, 1.0))
    light = shift * gain**3 * (1 + 8 * crosstalk + 6 * crosstalk**2) / (1 - crosstalk) ** 6 / m2**2
    low = excess < -LEAST_TAILS * error
    return np.asarray(low | (excess > TAILS_FACTOR * light + MOST_TAILS * error))


def _shape(pair: Pair, shift: Array, growth: Array, covariance: Array) -> tuple[Array, Array]:
    """Third cumulant grown times shift over growth squared, and its statistical error.

    A generalised Poisson number with crosstalk lambda gives 1 + 2 lambda, whatever gain, light,
    noise and dark counts are (cumulants of the Borel distribution, S. Vinogradov, arXiv:1109.2014).
    """
    third = pair.on.third - pair.off.third
    slope = np.stack([third / growth**2, -2 * third * shift / growth**3, shift / growth**2], axis=1)
    variance = np.einsum("ci,cij,cj->c", slope, covariance, slope)
    return third * shift / growth**2, np.sqrt(variance)
