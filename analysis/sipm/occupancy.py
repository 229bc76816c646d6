"""Pixels that have not recovered: what is left of triggers and charges at high rates.

A pixel that fired a time t ago is at the fraction s(t) = 1 - exp(-t / recovery) of its overvoltage.
It triggers with the relative probability w(s) = (1 - exp(-a s)) / (1 - exp(-a)), a being the
overvoltage over the voltage scale of the PDE (w = s for small a), and the charge is s. With r
candidates per recovery time the pixel is a renewal process with the hazard r w(s(t)), and the time
since its last avalanche has the density exp(-r int_0^t w) / norm.

If the pixel fires at a constant rate instead, with r avalanches per recovery time, the mean of s is
1 / (1 + r): the usual correction for busy pixels. The occupation of pixels as the measure of
radiation damage is that of arXiv:1709.04648.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.integrate import cumulative_simpson

STEPS = 2000
RECOVERED = 40.0


@dataclass(frozen=True)
class PixelState:
    """Means over time, relative to a pixel that is always recovered; all between 0 and 1.

    trigger: probability that a photon (or a thermal electron) triggers.
    charge: charge per photon, trigger times size.
    size: mean charge of one avalanche; the gain that mean and dispersion see is
        size_squared / size of it.
    size_squared: mean square of the charge of one avalanche.
    """

    trigger: float
    charge: float
    size: float
    size_squared: float


def idle_share(rate_per_pixel_hz: ArrayLike, recovery_ns: float) -> NDArray[np.float64]:
    """Mean overvoltage of a pixel that fires at a constant rate, 1 / (1 + rate recovery), 0..1."""
    rate = np.asarray(rate_per_pixel_hz, dtype=np.float64)
    return np.asarray(1.0 / (1.0 + rate * recovery_ns * 1e-9), dtype=np.float64)


def pixel_state(candidates_per_recovery: float, steepness: float) -> PixelState:
    """State of a pixel that sees r candidates per recovery time; steepness a as above.

    Raises ValueError on a negative number or a steepness that is not positive.
    """
    if not candidates_per_recovery >= 0 or not steepness > 0:
        raise ValueError("candidates must not be negative, and the steepness positive")
    since = RECOVERED * np.linspace(0, 1, STEPS) ** 3
    size = -np.expm1(-since)
    trigger = np.expm1(-steepness * size) / np.expm1(-steepness)
    busy = candidates_per_recovery * cumulative_simpson(trigger, x=since, initial=0)
    alive = np.exp(-busy)

    def integral(values: NDArray[np.float64]) -> float:
        """Times the rate, so that a pixel that never fires has only its tail."""
        inside = candidates_per_recovery * float(cumulative_simpson(values * alive, x=since)[-1])
        return inside + float(values[-1] * alive[-1])

    whole = integral(np.ones(STEPS))
    triggers = integral(trigger) / whole
    charge = integral(trigger * size) / whole
    return PixelState(
        triggers, charge, charge / triggers, integral(trigger * size**2) / whole / triggers
    )
