"""Whether the baseline moved during a run, from charges in the order in which they were taken."""

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike

LEAST_IN_BLOCK = 50
MOST_BLOCKS = 50
LEAST_BLOCKS = 4


@dataclass(frozen=True)
class Drift:
    """significance: standard deviations by which block means scatter, or follow a line, more than
    their statistics. excess_variance: what the scatter adds to the variance of the run, ADC^2.
    """

    significance: float
    excess_variance: float
    n_blocks: int


def drift(charges: ArrayLike) -> Drift | None:
    """Test (n_events,) charges in ADC, in time order, for a moving mean.

    Two statistics are formed from the means of up to 50 blocks: their chi2 about the common mean
    and the slope of a straight line; the larger significance counts. None with fewer than 200
    finite charges.
    """
    values = np.asarray(charges, dtype=np.float64).ravel()
    values = values[np.isfinite(values)]
    n_blocks = min(MOST_BLOCKS, len(values) // LEAST_IN_BLOCK)
    if n_blocks < LEAST_BLOCKS:
        return None
    size = len(values) // n_blocks
    blocks = values[: n_blocks * size].reshape(n_blocks, size)
    means = blocks.mean(axis=1)
    within = float(blocks.var(axis=1, ddof=1).mean())
    if within <= 0:
        moved = float(np.ptp(means))
        return Drift(float("inf") if moved else 0.0, float(means.var()), n_blocks)
    error = sqrt(within / size)
    ndf = n_blocks - 1
    chi2 = float(((means - means.mean()) ** 2).sum()) / error**2
    scatter = (chi2 - ndf) / sqrt(2 * ndf)
    time = np.arange(n_blocks) - 0.5 * (n_blocks - 1)
    trend = abs(float(time @ means)) / (error * sqrt(float(time @ time)))
    return Drift(max(scatter, trend), max(chi2 / ndf - 1, 0.0) * error**2, n_blocks)
