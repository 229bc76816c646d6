"""Gain from the dark counts of a light-off run alone."""

from math import exp, hypot, sqrt

import numpy as np

from analysis.estimate import Estimate, unknown
from analysis.sipm.moments import Flaw, one_summary
from analysis.sipm.refusals import flaw_sentences
from analysis.sipm.spectrum import Spectrum

METHOD = "mean and dispersion of dark counts"
UNIT = "ADC/pe"
LEAST_SIGNIFICANCE = 5.0
LEAST_GROWTH = 4.0
MOST_ERROR = 0.3
SHAPE_SIGNIFICANCE = 4.0
SHAPE_TOLERANCE = 0.3
SKEWED = 5.0
EFFECTIVE = "effective gain: from dark counts alone, with their partial charges"


def gate_factors(gate_ns: float, pulse_tau_ns: float) -> tuple[float, float]:
    """Mean square and mean cube of the share of a pulse seen by the gate, over its mean share.

    Exponential pulses of decay time tau begin at any time before or in a gate T:
    1 - (tau/T)(1 - e) for the square, with e = exp(-T/tau); the cube is integrated the same way.
    """
    ratio = pulse_tau_ns / gate_ns
    e = exp(-1 / ratio)
    rest = 1 - e
    square = 1 - ratio * rest
    inside = 1 - 3 * ratio * rest + 1.5 * ratio * (1 - e**2) - ratio / 3 * (1 - e**3)
    return square, inside + ratio / 3 * rest**3


def dark_only(
    off: Spectrum,
    pedestal: Estimate,
    enf_divisor: Estimate | None,
    gate_ns: float,
    pulse_tau_ns: float,
    noise: Estimate | None = None,
) -> Estimate:
    """Gain G = (Var_off - noise^2) / (F dQ [1 - (tau/T)(1 - exp(-T/tau))]), dQ = Mean - pedestal.

    pedestal: the baseline without any dark count in ADC, measured absolutely (bias below
        breakdown, same gate). An AC-coupled baseline moves with the dark current: a mean at the
        pedestal although the spectrum is skewed is refused.
    noise: rms of the electronics without dark counts, ADC. Without it nothing tells which part of
        the variance belongs to the dark counts.
    gate_ns, pulse_tau_ns: T and the decay time tau of the pulses.

    Raises ValueError on times that are not positive.
    """
    if not (gate_ns > 0 and pulse_tau_ns > 0):
        raise ValueError(f"gate and pulse time must be positive, not {gate_ns}, {pulse_tau_ns}")
    off_summary = one_summary(off)
    flaws = flaw_sentences(
        Flaw(int(off_summary.flaws[0])), "light-off", float(off_summary.entries[0])
    )
    if flaws:
        return unknown(UNIT, METHOD, *flaws)
    inputs = {"pedestal": pedestal, "noise": noise, "divisor F": enf_divisor}
    missing = [_why_missing(name, given) for name, given in inputs.items()]
    if any(missing):
        return unknown(UNIT, METHOD, *filter(None, missing))
    (base, base_sigma), (rms, rms_sigma), (f, f_sigma) = map(_numbers, inputs.values())
    square, cube = gate_factors(gate_ns, pulse_tau_ns)
    covariance = off_summary.covariance[0]
    shift = float(off_summary.mean[0]) - base
    growth = float(off_summary.variance[0]) - off_summary.width**2 / 12 - rms**2
    third, third_sigma = float(off_summary.third[0]), sqrt(covariance[2, 2])
    shift_sigma = hypot(sqrt(covariance[0, 0]), base_sigma)
    growth_sigma = hypot(sqrt(covariance[1, 1]), 2 * rms * rms_sigma)
    goodness = {
        "mean_shift_adc": shift,
        "variance_growth_adc2": growth,
        "shift_significance": shift / max(shift_sigma, 1e-300),
    }
    no_signal = _no_signal(shift, shift_sigma, growth, growth_sigma, third, third_sigma)
    if no_signal or f + 2 * f_sigma < 1:
        problem = no_signal or f"the divisor F cannot be {f:.3g}, below 1"
        return unknown(UNIT, METHOD, problem, goodness=goodness)
    gain = growth / (shift * f * square)
    slope = np.array([-gain / shift, gain / growth])
    budget = {
        "statistics": sqrt(float(slope @ covariance[:2, :2] @ slope)),
        "divisor": gain * f_sigma / f,
        "pedestal": gain * base_sigma / shift,
        "noise": gain * 2 * rms * rms_sigma / growth,
    }
    sigma = hypot(*budget.values())
    per_third = shift / growth**2 * square**2 / cube
    shape = third * per_third
    shape_sigma = hypot(
        third_sigma * per_third,
        shape * shift_sigma / shift,
        2 * shape * growth_sigma / growth,
    )
    expected = 1 + 2 * (1 - 1 / sqrt(max(f, 1.0)))
    goodness |= {f"sigma_{name}": part for name, part in budget.items()}
    goodness |= {"shape": shape, "shape_sigma": shape_sigma, "expected_shape": expected}
    problem = ""
    if abs(shape - expected) > SHAPE_SIGNIFICANCE * shape_sigma + SHAPE_TOLERANCE:
        problem = (
            f"the skewness is {shape:.3g} +- {shape_sigma:.2g} times that of single avalanches, "
            f"{expected:.3g} expected: AC coupling, or not the pedestal or noise of this run"
        )
    elif sigma > MOST_ERROR * gain:
        problem = f"the gain is uncertain by {sigma / gain:.0%}"
    if problem:
        return unknown(UNIT, METHOD, problem, goodness=goodness)
    return Estimate(gain, sigma, UNIT, METHOD, goodness, (EFFECTIVE,))


def _no_signal(
    shift: float,
    shift_sigma: float,
    growth: float,
    growth_sigma: float,
    third: float,
    third_sigma: float,
) -> str:
    """Why there are no dark counts to be seen; empty when there are."""
    if shift < LEAST_SIGNIFICANCE * shift_sigma:
        if third > SKEWED * third_sigma:
            return "the mean lies at the pedestal although the spectrum is skewed: AC coupling"
        return f"too few dark counts: the mean is {shift:.3g} +- {shift_sigma:.2g} ADC up"
    if growth < LEAST_GROWTH * growth_sigma:
        return "the variance is not above that of the noise"
    return ""


def _why_missing(name: str, given: Estimate | None) -> str:
    if given is None:
        return f"the {name} is not given"
    return "" if given.known else f"the {name} is unknown: {'; '.join(given.reasons)}"


def _numbers(given: Estimate | None) -> tuple[float, float]:
    if given is None or given.value is None or given.sigma is None:
        return float("nan"), float("nan")
    return given.value, given.sigma
