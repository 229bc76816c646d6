"""The baseline behind an AC coupling."""

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.occupancy import pixel_state
from analysis.sipm.simulate.avalanches import Rates
from analysis.sipm.simulate.pulses import pulse_of
from analysis.sipm.simulate.truth import SiPMTruth

MAX_ROUNDS = 200
CLOSE = 1e-6


def dark_charge_per_ns(truth: SiPMTruth, mean: Rates, overvoltage_v: float) -> float:
    """Mean dark charge, pe per ns, of pixels that need time to recover (`pixel_state`).

    Crosstalk of both kinds adds to the candidates in proportion to the charge, and afterpulses of
    delay tau add the size tau / (tau + recovery) each, less where pixels are busy. Within 0.5 % of
    the simulation up to dark counts that keep pixels busy for a third of the time.
    """
    slow = truth.afterpulse_slow_share
    regained = (1 - slow) * _regained(truth.afterpulse_fast_ns, truth.recovery_ns)
    regained += slow * _regained(truth.afterpulse_slow_ns, truth.recovery_ns)
    charge = 0.0
    for _ in range(MAX_ROUNDS):
        candidates = mean.dark_per_ns + (mean.crosstalk + mean.delayed) * charge
        state = pixel_state(
            candidates * truth.recovery_ns / truth.n_pixels, overvoltage_v / truth.pde_scale_v
        )
        again = mean.afterpulses * regained * state.charge
        before, charge = charge, candidates * state.charge / (1.0 - again)
        if abs(charge - before) <= CLOSE * charge:
            break
    return charge


def baseline_before(
    rng: np.random.Generator,
    truth: SiPMTruth,
    mean: Rates,
    *,
    overvoltage_v: float,
    coupling_ns: float,
    n_events: int,
) -> NDArray[np.float64]:
    """Level that all dark counts before the simulated window leave behind, pe per ns, (n_events,).

    An AC coupling makes the mean of the signal zero, and remembers the dark counts of the last
    coupling_ns (longer than the pulse): by Campbell's theorem a level of minus the dark current
    with the variance rate <q^2> / (2 coupling_ns), q being the charge of a dark count with its
    crosstalk, whose second moment is 1 / (1 - lambda)^3 (S. Vinogradov, arXiv:1109.2014).
    """
    pulse = pulse_of(truth)
    undershoot = sum(
        weight * coupling_ns / (coupling_ns - tau)
        for weight, tau in zip(pulse.weights, pulse.taus_ns, strict=True)
    )
    level = -undershoot * dark_charge_per_ns(truth, mean, overvoltage_v)
    cascades = (1.0 - mean.crosstalk - mean.delayed) ** -3.0
    variance = undershoot**2 * mean.dark_per_ns * cascades / (2.0 * coupling_ns)
    return np.asarray(level + np.sqrt(variance) * rng.standard_normal(n_events), dtype=np.float64)


def _regained(delay_ns: float, recovery_ns: float) -> float:
    return delay_ns / (delay_ns + recovery_ns)
