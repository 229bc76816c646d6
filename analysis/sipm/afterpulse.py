"""Charge of an afterpulse, through its characteristic function.

An afterpulse with exponential delay tau, of a pixel that recovers exponentially with tau_r, has the
charge x G with the density b (1 - x)^(b - 1), b = tau_r / tau (delay and recovery as in J. Rolph et
al., arXiv:2301.11833). Its characteristic function at y = omega G is
A_b(y) = exp(i y) 1F1(b; b + 1; -i y). 1F1 is tabulated once; y dA/dy = i y A + b (1 - A) gives the
derivatives.
"""

from dataclasses import dataclass
from functools import cache
from math import exp, pi

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gamma, hyp1f1

LOG_B = np.linspace(-3.2, 1.8, 26)
Y_STEP = 0.25
Y_POINTS = 2400

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class Afterpulse:
    """Charge of one afterpulse: A_b(y) (k,) and its derivatives by y and log b.

    mean: -i dA_b/dy, the characteristic function weighted by the charge x; and its derivatives.
    """

    charge: Complex
    by_y: Complex
    by_log_b: Complex
    mean: Complex
    mean_by_y: Complex
    mean_by_log_b: Complex


def afterpulse_charge(y: Array, wave: Complex, log_recovery: float) -> Afterpulse:
    """A_b(y) for y (k,) > 0, wave = exp(i y) and b = exp(log_recovery)."""
    b = exp(log_recovery)
    near = int(np.searchsorted(y, Y_STEP * (Y_POINTS - 1)))
    value, of_log_b = _kummer_near(y[:near], log_recovery)
    if near < len(y):
        far, far_of_log_b = _kummer_far(y[near:], wave[near:], b)
        value, of_log_b = np.append(value, far), np.append(of_log_b, far_of_log_b)
    charge, by_log_b = wave * value, wave * of_log_b
    by_y = 1j * charge + b * (1 - charge) / y
    bent = 1j * by_y - b * (by_y + (1 - charge) / y) / y
    mean_by_log_b = by_log_b + 1j * b * (by_log_b - (1 - charge)) / y
    return Afterpulse(charge, by_y, by_log_b, -1j * by_y, -1j * bent, mean_by_log_b)


@cache
def _afterpulse_table() -> tuple[Complex, Complex]:
    """1F1(b; b + 1; -i y) and its derivative by y on the grid of log b and y."""
    b = np.exp(LOG_B)[:, None]
    y = Y_STEP * np.arange(Y_POINTS)
    kummer = hyp1f1(b, b + 1, -1j * y)
    slope = np.empty_like(kummer)
    slope[:, 1:] = b * (np.exp(-1j * y[1:]) - kummer[:, 1:]) / y[1:]
    slope[:, :1] = -1j * b / (b + 1)
    return kummer, slope


def _kummer_near(y: Array, log_recovery: float) -> tuple[Complex, Complex]:
    """1F1(b; b + 1; -i y) and its derivative by log b, from the table."""
    kummer, slope = _afterpulse_table()
    at = (log_recovery - LOG_B[0]) / (LOG_B[1] - LOG_B[0])
    row = int(np.clip(at, 1, len(LOG_B) - 3))
    weight, by_log_b = _lagrange(at - row)
    by_log_b /= LOG_B[1] - LOG_B[0]
    last = int(min(y[-1] / Y_STEP + 2, Y_POINTS))
    rows = slice(row - 1, row + 3)
    mixed = np.stack([weight, by_log_b]) @ kummer[rows, :last]
    slopes = np.stack([weight, by_log_b]) @ slope[rows, :last]
    cell = np.minimum((y / Y_STEP).astype(np.int64), last - 2)
    t = y / Y_STEP - cell
    left, right = (2 * t - 3) * t * t + 1, (3 - 2 * t) * t * t
    left_slope, right_slope = Y_STEP * t * (1 - t) ** 2, Y_STEP * t * t * (t - 1)
    value, of_log_b = (
        left * m[cell] + right * m[cell + 1] + left_slope * d[cell] + right_slope * d[cell + 1]
        for m, d in zip(mixed, slopes, strict=True)
    )
    return value, of_log_b


def _kummer_far(y: Array, wave: Complex, b: float) -> tuple[Complex, Complex]:
    """The same for large y, from the asymptotic series."""
    power = gamma(b + 1) * np.exp(-b * (np.log(y) + 0.5j * pi))
    end = 1j * b / (y * wave)
    by_log_b = b * power * (digamma(b + 1) - np.log(y) - 0.5j * pi)
    return (
        power + end * (1 + 1j * (1 - b) / y),
        by_log_b + end * (1 + 1j * (1 - 2 * b) / y),
    )


def _lagrange(t: float) -> tuple[Array, Array]:
    """Weights of cubic interpolation at t between points -1, 0, 1, 2; and their derivatives."""
    weight = [
        -t * (t - 1) * (t - 2) / 6,
        (t + 1) * (t - 1) * (t - 2) / 2,
        -(t + 1) * t * (t - 2) / 2,
        (t + 1) * t * (t - 1) / 6,
    ]
    slope = [
        -(3 * t * t - 6 * t + 2) / 6,
        (3 * t * t - 4 * t - 1) / 2,
        -(3 * t * t - 2 * t - 2) / 2,
        (3 * t * t - 1) / 6,
    ]
    return np.array(weight), np.array(slope)
