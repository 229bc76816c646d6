"""Annealing: how much of the damage is left after some time at some temperature.

Two models. A sum of exponentials and a part that never anneals, with time constants that follow an
activation energy: free in shape, to be fitted to one's own SiPMs (`fits.fit_annealing`). And the
parametrisation of the current-related damage rate of silicon sensors,

    alpha = alpha_I exp(-sum_i k(T_i) t_i) + alpha_0 - beta ln(sum_i theta(T_i) t_i / 1 min),
    k(T) = k0 exp(-E_I / kT),   theta(T) = exp(-E*/k (1/T - 1/T_reference)),

with the numbers that the CMS pixel detector uses (Table 9 of cds.cern.ch/record/2773267; the form
is that of M. Moll's thesis, DESY-THESIS-1999-040, with alpha_0 as in JINST 14 (2019) P06012). It
describes currents that are generated in the bulk; how well dark counts in the high field of a SiPM
follow it must be measured.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf, log

import numpy as np
from numpy.typing import ArrayLike

from analysis.estimate import Estimate
from analysis.sipm.irradiation.temperature import (
    BOLTZMANN_EV_PER_K,
    Array,
    arrhenius_factor,
    kelvin,
)

METHOD = "current-related damage rate"
NO_ERROR = "no error published"
MINUTES_PER_HOUR = 60.0
SECONDS_PER_HOUR = 3600.0


@dataclass(frozen=True)
class Stay:
    """Some time at some temperature."""

    hours: float
    temperature_c: float

    def __post_init__(self) -> None:
        if not 0 <= self.hours < inf:
            raise ValueError(f"a stay of {self.hours} h")
        kelvin(self.temperature_c)


STANDARD = (Stay(80.0 / MINUTES_PER_HOUR, 60.0),)
"""80 minutes at 60 C, the usual point of comparison."""


@dataclass(frozen=True)
class AnnealingTerm:
    """A share of the damage that anneals with hours of time constant at reference_c.

    energy_ev: activation energy with which the rate grows with temperature.
    """

    share: float
    hours: float
    reference_c: float = 20.0
    energy_ev: float = 1.11


def remaining(terms: Sequence[AnnealingTerm], history: Sequence[Stay]) -> float:
    """Damage that is left after a history, relative to that before; 1 minus all shares never goes.

    Raises ValueError if the shares are negative or add up to more than 1.
    """
    shares = [term.share for term in terms]
    if min(shares, default=0.0) < 0 or sum(shares) > 1 + 1e-12:
        raise ValueError(f"shares of {shares} are not parts of one damage")
    left = 1.0 - sum(shares)
    for term in terms:
        effective = sum(
            stay.hours
            * float(arrhenius_factor(stay.temperature_c, term.reference_c, term.energy_ev))
            for stay in history
        )
        left += term.share * float(np.exp(-effective / term.hours))
    return left


def _published(value: float, sigma: float, *reasons: str) -> Estimate:
    return Estimate(value, sigma, "A/cm", METHOD, reasons=reasons)


@dataclass(frozen=True)
class DamageRate:
    """Parameters of the current-related damage rate, with errors where they are published.

    alpha_i, alpha_0, beta: A/cm at 20 C; k0: 1/s; e_i, e_star: eV. k0 is published as
    1.2e13 +5.3e13 -1.0e13, strongly correlated with e_i, so that the error of the first term is
    not to be taken from the two separately.
    """

    alpha_i: Estimate = field(default_factory=lambda: _published(1.23e-17, 0.06e-17))
    alpha_0: Estimate = field(default_factory=lambda: _published(7.07e-17, 0.0, NO_ERROR))
    beta: Estimate = field(default_factory=lambda: _published(3.29e-18, 0.18e-18))
    k0_per_s: float = 1.2e13
    e_i_ev: float = 1.11
    e_star_ev: float = 1.30
    reference_c: float = 20.0

    def __post_init__(self) -> None:
        if not (self.alpha_i.known and self.alpha_0.known and self.beta.known):
            raise ValueError("a damage rate needs values for all its parameters")


def damage_rate(history: Sequence[Stay], constants: DamageRate | None = None) -> Estimate:
    """Current-related damage rate alpha after a history, A/cm at 20 C and 1 MeV neq.

    The sigma holds the errors of alpha_I, alpha_0 and beta, taken as independent. Valid from one
    minute at 20 C on, up to where the logarithm reaches alpha_0: a shorter history counts as one
    minute, and beyond it nothing is left. 80 minutes at 60 C give 4.1e-17 A/cm.
    """
    c = constants or DamageRate()
    first = sum(
        stay.hours
        * SECONDS_PER_HOUR
        * c.k0_per_s
        * float(np.exp(-c.e_i_ev / (BOLTZMANN_EV_PER_K * kelvin(stay.temperature_c))))
        for stay in history
    )
    minutes = sum(
        stay.hours
        * MINUTES_PER_HOUR
        * float(arrhenius_factor(stay.temperature_c, c.reference_c, c.e_star_ev))
        for stay in history
    )
    fast, slow = float(np.exp(-first)), log(max(minutes, 1.0))
    parts = ((c.alpha_i, fast), (c.alpha_0, 1.0), (c.beta, -slow))
    value = sum((part.value or 0.0) * weight for part, weight in parts)
    sigma = sum(((part.sigma or 0.0) * weight) ** 2 for part, weight in parts) ** 0.5
    beyond = () if value > 0 else ("annealed beyond the range of the parametrisation",)
    return Estimate(max(value, 0.0), sigma, "A/cm", METHOD, reasons=beyond)


def annealing_factor(
    history: Sequence[Stay],
    reference: Sequence[Stay] = STANDARD,
    constants: DamageRate | None = None,
) -> Estimate:
    """Damage after a history relative to that after another one.

    The sigma is that of the history's damage rate alone, and therefore on the safe side: the errors
    of the two are correlated.
    """
    after = damage_rate(history, constants)
    compared = damage_rate(reference, constants)
    scale = compared.value or 0.0
    if scale <= 0:
        raise ValueError("nothing is left after the history to compare with")
    return Estimate(
        (after.value or 0.0) / scale, (after.sigma or 0.0) / scale, "1", METHOD, {}, after.reasons
    )


def exponential_decay(
    hours: ArrayLike, shares: Sequence[float], constants_h: Sequence[float], rest: float
) -> Array:
    """rest + sum of shares exp(-hours / constant), at one temperature."""
    time = np.asarray(hours, dtype=np.float64)
    left = np.full(time.shape, rest)
    for share, constant in zip(shares, constants_h, strict=True):
        left = left + share * np.exp(-time / constant)
    return left


def logarithmic_decay(hours: ArrayLike, at_one_hour: float, per_e_fold: float) -> Array:
    """at_one_hour - per_e_fold ln(hours / 1 h), at one temperature; hours > 0."""
    return np.asarray(
        at_one_hour - per_e_fold * np.log(np.asarray(hours, dtype=np.float64)), dtype=np.float64
    )
