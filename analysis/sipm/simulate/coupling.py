"""The baseline behind an AC coupling."""

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.simulate.avalanches import Rates
from analysis.sipm.simulate.truth import SiPMTruth


def dark_charge_per_ns(truth: SiPMTruth, mean: Rates) -> float:
    """Mean dark charge, pe per ns, with pixels that need time to recover.

    Secondaries multiply the dark counts by 1 / (1 - secondaries), afterpulses with the size
    tau / (tau + recovery) on average; each pixel is busy for one recovery time per avalanche, which
    the mean charge 1 / (1 + rate x recovery) describes.
    """
    slow = truth.afterpulse_slow_share
    regained = (1 - slow) * _regained(truth.afterpulse_fast_ns, truth.recovery_ns)
    regained += slow * _regained(truth.afterpulse_slow_ns, truth.recovery_ns)
    full = mean.dark_per_ns / (1.0 - mean.crosstalk - mean.delayed - mean.afterpulses * regained)
    return full / (1.0 + full * truth.recovery_ns / truth.n_pixels)


def baseline_before(
    rng: np.random.Generator, truth: SiPMTruth, mean: Rates, coupling_ns: float, n_events: int
) -> NDArray[np.float64]:
    """Level that all dark counts before the simulated window leave behind, pe per ns, (n_events,).

    An AC coupling makes the mean of the signal zero, and remembers the dark counts of the last
    coupling_ns: by Campbell's theorem a level of minus the dark current with the variance
    rate <q^2> / (2 coupling_ns), q being the charge of a dark count with its crosstalk, whose
    second moment is 1 / (1 - lambda)^3 (S. Vinogradov, arXiv:1109.2014).
    """
    level = -dark_charge_per_ns(truth, mean)
    cascades = (1.0 - mean.crosstalk - mean.delayed) ** -3.0
    variance = mean.dark_per_ns * cascades / (2.0 * coupling_ns)
    return np.asarray(level + np.sqrt(variance) * rng.standard_normal(n_events), dtype=np.float64)


def _regained(delay_ns: float, recovery_ns: float) -> float:
    return delay_ns / (delay_ns + recovery_ns)
