"""Characteristic function of the charge that pulsed light adds to a SiPM's gate.

    ln t(w) = L + c L^2 / 2,  L = mu (phi_c(w) - 1),  phi_c = phi_1 exp( lambda (phi_c - 1) ),
    phi_1 = exp( i w G - w^2 sigma_G^2 / 2 + a (phi_u - 1) )

mu primaries with branching crosstalk lambda (S. Vinogradov, arXiv:1109.2014), gain spread sigma_G,
a afterpulses per avalanche of uniform size between 0 and G (phi_u),
c = B^2 for light with the relative jitter B, less what finite pixels take from the variance.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

THETA = ("ln_shift", "crosstalk", "spread2", "afterpulse", "curvature")
NEWTON_STEPS = 4

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


def divisor(crosstalk: Array | float, spread2: Array | float, afterpulse: Array | float) -> Array:
    """F = kappa_2 / (kappa_1 G) of the light without jitter.

    F = v / m + m / (1 - lambda)^2 with mean m = 1 + a / 2 and variance v = (sigma_G / G)^2 + a / 3
    of one avalanche in units of G; without afterpulses 1 / (1 - lambda)^2 + (sigma_G / G)^2.
    The arguments broadcast.
    """
    mean = 1 + np.asarray(afterpulse) / 2
    variance = np.asarray(spread2) + np.asarray(afterpulse) / 3
    return np.asarray(variance / mean + mean / (1 - np.asarray(crosstalk)) ** 2)


def divisor_slopes(crosstalk: Array, spread2: Array, afterpulse: Array) -> Array:
    """Derivatives (M, 5) of F by THETA, for parameters (M,)."""
    mean = 1 + afterpulse / 2
    variance = spread2 + afterpulse / 3
    slopes = np.zeros((len(crosstalk), len(THETA)))
    slopes[:, 1] = 2 * mean / (1 - crosstalk) ** 3
    slopes[:, 2] = 1 / mean
    slopes[:, 3] = 1 / (3 * mean) - 0.5 * variance / mean**2 + 0.5 / (1 - crosstalk) ** 2
    return slopes


def crosstalk_of(enf_divisor: Array, spread2: float, afterpulse: float) -> Array:
    """lambda (M,) that gives the divisor F (M,); zero where F is too small for any."""
    mean = 1 + afterpulse / 2
    variance = spread2 + afterpulse / 3
    by_cascade = np.maximum(enf_divisor - variance / mean, mean)
    return np.asarray(1 - np.sqrt(mean / by_cascade))


def light_function(omega: Array, shift: float, gain: Array, theta: Array) -> Complex:
    """t (M, K) for M gains and parameters.

    omega: (K,) 1/ADC, not zero. shift: mean charge of the light, ADC; theta[:, 0] = ln_shift
    corrects its logarithm. gain: (M,) ADC per photoelectron. theta: (M, 5) as in THETA, with
    spread2 = (sigma_G / G)^2 and curvature = c.
    """
    parts = _parts(omega, shift, gain, theta)
    return _exponential(parts)


def light_transfer(
    omega: Array, shift: float, gain: Array, theta: Array
) -> tuple[Complex, Complex]:
    """`light_function` and the derivatives (M, 5, K) of its logarithm by THETA."""
    parts = _parts(omega, shift, gain, theta)
    light, cascade, crosstalk, mean = parts.light, parts.cascade, parts.crosstalk, parts.mean
    by_single = parts.mu * cascade / (1 - crosstalk * cascade)
    derivatives = np.stack(
        [
            light,
            by_single * (cascade - 1) - light / (1 - crosstalk),
            -0.5 * parts.angle**2 * by_single,
            by_single * parts.uniform - 0.5 * light / mean,
            0.5 * light**2,
        ],
        axis=1,
    )
    derivatives[:, :4] *= (1 + parts.curvature * light)[:, None, :]
    return _exponential(parts), derivatives


@dataclass(frozen=True)
class _Parts:
    """L and what it is made of, (M, K) or (M, 1)."""

    light: Complex
    cascade: Complex
    uniform: Complex
    angle: Array
    mu: Array
    mean: Array
    crosstalk: Array
    curvature: Array


def _exponential(parts: _Parts) -> Complex:
    """exp(L + c L^2 / 2), at most 1: for large c L the expansion in c no longer holds."""
    exponent = parts.light + 0.5 * parts.curvature * parts.light**2
    return np.asarray(np.exp(np.minimum(exponent.real, 0.0) + 1j * exponent.imag))


def _parts(omega: Array, shift: float, gain: Array, theta: Array) -> _Parts:
    ln_shift, crosstalk, spread2, afterpulse, curvature = (column[:, None] for column in theta.T)
    angle = omega[None, :] * gain[:, None]
    turn = np.exp(1j * angle)
    uniform = (turn - 1) / (1j * angle) - 1
    single = turn * np.exp(afterpulse * uniform - 0.5 * spread2 * angle**2)
    cascade = single * np.exp(crosstalk * (single - 1))
    for _ in range(NEWTON_STEPS):
        ahead = single * np.exp(crosstalk * (cascade - 1))
        cascade = cascade - (cascade - ahead) / (1 - crosstalk * ahead)
    mean = 1 + afterpulse / 2
    mu = shift * np.exp(ln_shift) * (1 - crosstalk) / (gain[:, None] * mean)
    return _Parts(mu * (cascade - 1), cascade, uniform, angle, mu, mean, crosstalk, curvature)
