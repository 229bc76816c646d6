"""Dark counts against temperature: doubling, activation energy, and the current of bulk damage."""

from math import log

import numpy as np
from numpy.typing import ArrayLike, NDArray

BOLTZMANN_EV_PER_K = 8.617333262e-5
ZERO_C_IN_K = 273.15
BULK_GAP_EV = 1.21
"""Effective gap of the current that is generated in the bulk: A. Chilingarov, Generation current
temperature scaling, RD50-2011-01. In highly irradiated devices it depends on the field and is
smaller below depletion (arXiv:1904.04698)."""

Array = NDArray[np.float64]


def doubling_factor(temperature_c: ArrayLike, reference_c: float, doubling_k: float) -> Array:
    """Rate relative to that at reference_c, 2^((T - reference) / doubling); doubling in K."""
    warmer = np.asarray(temperature_c, dtype=np.float64) - reference_c
    return np.asarray(2.0 ** (warmer / doubling_k), dtype=np.float64)


def arrhenius_factor(temperature_c: ArrayLike, reference_c: float, energy_ev: float) -> Array:
    """Rate relative to that at reference_c, exp(-E/k (1/T - 1/T_reference)); E in eV."""
    return np.asarray(
        np.exp(-energy_ev / BOLTZMANN_EV_PER_K * _colder(temperature_c, reference_c)),
        dtype=np.float64,
    )


def bulk_current_factor(
    temperature_c: ArrayLike, reference_c: float, gap_ev: float = BULK_GAP_EV
) -> Array:
    """Current generated in the bulk relative to that at reference_c.

    (T/T_reference)^2 exp(-E/2k (1/T - 1/T_reference)) (A. Chilingarov, see BULK_GAP_EV).
    """
    ratio = kelvin(temperature_c) / (reference_c + ZERO_C_IN_K)
    colder = _colder(temperature_c, reference_c)
    return np.asarray(
        ratio**2 * np.exp(-gap_ev / (2 * BOLTZMANN_EV_PER_K) * colder), dtype=np.float64
    )


def doubling_of_energy(energy_ev: float, temperature_c: float) -> float:
    """Temperature step that doubles a rate with an activation energy, at a temperature, K."""
    return log(2.0) * BOLTZMANN_EV_PER_K * (temperature_c + ZERO_C_IN_K) ** 2 / energy_ev


def kelvin(temperature_c: ArrayLike) -> Array:
    """Absolute temperature, K. Raises ValueError at or below the absolute zero."""
    absolute = np.asarray(temperature_c, dtype=np.float64) + ZERO_C_IN_K
    if np.any(absolute <= 0):
        raise ValueError(f"{temperature_c!r} C is below the absolute zero")
    return absolute


def _colder(temperature_c: ArrayLike, reference_c: float) -> Array:
    return 1.0 / kelvin(temperature_c) - 1.0 / kelvin(reference_c)
