"""The characteristic function of `analysis.sipm.response`, one compiled loop over frequencies.

Three functions of y = omega G are universal and come from tables with cubic interpolation:

* S(y) = int_0^1 (exp(i x y) - 1) / x dx, of dark counts at the edges of the gate; beyond the table
  the asymptotic series of sine and cosine integral.
* K_b(y) = 1F1(b; b + 1; -i y), of afterpulses: A_b(y) = exp(i y) K_b(y) is the charge of an
  afterpulse of a pixel that recovers b times as slowly as afterpulses are delayed, with the density
  b (1 - x)^(b - 1) of J. Rolph et al., arXiv:2301.11833. y dA/dy = i y A + b (1 - A) gives its
  derivatives. Beyond the table the asymptotic series of 1F1.
"""

from cmath import exp as complex_exp
from functools import cache
from math import cos, exp, log, pi, sin

import numba
import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma, gamma, hyp1f1, sici

LOG_B = np.linspace(-3.2, 1.8, 26)
LOG_B_STEP = float(LOG_B[1] - LOG_B[0])
K_STEP, K_POINTS = 0.25, 2400
S_STEP, S_POINTS = 0.125, 512
EULER = 0.5772156649015329

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]
compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@cache
def edge_table() -> Complex:
    """S(y) at y = 0, S_STEP, ..., (S_POINTS,)."""
    y = S_STEP * np.arange(1, S_POINTS)
    si, ci = sici(y)
    return np.append(0.0, ci - EULER - np.log(y) + 1j * si)


@cache
def kummer_table() -> tuple[Complex, Complex]:
    """K_b(y) and its derivative by y, each (len(LOG_B), K_POINTS)."""
    b = np.exp(LOG_B)[:, None]
    y = K_STEP * np.arange(K_POINTS)
    kummer = hyp1f1(b, b + 1, -1j * y)
    slope = np.empty_like(kummer)
    slope[:, 1:] = b * (np.exp(-1j * y[1:]) - kummer[:, 1:]) / y[1:]
    slope[:, :1] = -1j * b / (b + 1)
    return kummer, slope


def log_response(omega: Array, values: Array) -> tuple[Complex, Complex]:
    """ln Phi (k,) and its derivatives (9, k) at omega (k,) > 0; values as in `response.NAMES`."""
    b = exp(values[7])
    far = np.array([gamma(b + 1.0), digamma(b + 1.0)])
    log_phi = np.empty(len(omega), dtype=np.complex128)
    slopes = np.empty((9, len(omega)), dtype=np.complex128)
    _loop(omega, values, edge_table(), *kummer_table(), far, log_phi, slopes)
    return log_phi, slopes


@compiled
def _loop(
    omega: Array,
    values: Array,
    edges: Complex,
    kummer: Complex,
    kummer_slope: Complex,
    far: Array,
    log_phi: Complex,
    slopes: Complex,
) -> None:
    pedestal, gain, noise, pe_variance, mu, crosstalk, alpha, log_b, edge = values
    b = exp(log_b)
    row, weight, by_log_b = _rows(log_b)
    borel, borel_slope = _borel(crosstalk)
    for j in range(len(omega)):
        w = omega[j]
        y = w * gain
        wave = complex(cos(y), sin(y))
        half_square = 0.5 * w * w
        if y < K_STEP * (K_POINTS - 1):
            k, k_by_b = _kummer_near(y, kummer, kummer_slope, row, weight, by_log_b)
        else:
            k, k_by_b = _kummer_far(y, wave, b, far)
        after, after_by_b = wave * k, wave * k_by_b
        after_by_y = 1j * after + b * (1 - after) / y
        bent = 1j * after_by_y - b * (after_by_y + (1 - after) / y) / y
        mean, mean_by_y = -1j * after_by_y, -1j * bent
        mean_by_b = after_by_b + 1j * b * (after_by_b - (1 - after)) / y

        # An afterpulse of charge x G makes x times the secondaries of a full avalanche.
        more = 1 + alpha * mean
        single = wave * complex_exp(alpha * more * (after - 1) - half_square * pe_variance)
        branching = crosstalk * more
        phi = _cascade(single, branching)
        light = mu * phi / (1 - branching * phi)

        value, by_y, by_crosstalk, by_blur = 0j, 0j, 0j, 0j
        waves, shrink = 1 + 0j, exp(-half_square * pe_variance)
        narrow = 1.0
        for n in range(3):
            size = n + 1.0
            waves *= wave
            narrow *= shrink
            s = _edge(size * y, edges)
            late = narrow * waves * s.conjugate()
            value += borel[n] * (s + late)
            by_y += borel[n] * ((waves * (1 - narrow) + narrow - 1) / y + 1j * size * late)
            by_crosstalk += borel_slope[n] * (s + late)
            by_blur -= borel[n] * size * late

        log_phi[j] = 1j * w * pedestal - half_square * noise * noise + mu * (phi - 1) + edge * value
        first = after - 1
        further = alpha * first + crosstalk * (phi - 1)
        slopes[0, j] = 1j * w
        slopes[1, j] = w * (
            light * (1j + alpha * (more * after_by_y + mean_by_y * further)) + edge * by_y
        )
        slopes[2, j] = -2 * half_square * noise
        slopes[3, j] = half_square * (edge * by_blur - light)
        slopes[4, j] = phi - 1
        slopes[5, j] = light * more * (phi - 1) + edge * by_crosstalk
        slopes[6, j] = light * (more * first + mean * further)
        slopes[7, j] = light * alpha * (more * after_by_b + mean_by_b * further)
        slopes[8, j] = value


@compiled
def _cascade(single: complex, branching: complex) -> complex:
    """phi = single exp(branching (phi - 1)) by Newton's method; |single| <= 1."""
    phi = single * complex_exp(branching * (single - 1))
    for _ in range(30):
        mapped = single * complex_exp(branching * (phi - 1))
        step = (phi - mapped) / (1 - branching * mapped)
        phi -= step
        if abs(step) < 1e-12:
            break
    return phi


@compiled
def _borel(crosstalk: float) -> tuple[Array, Array]:
    """Probabilities of cascades of 1, 2 and >= 3 pixels, and their derivatives by crosstalk."""
    one, two = exp(-crosstalk), crosstalk * exp(-2 * crosstalk)
    one_slope, two_slope = -one, (1 - 2 * crosstalk) * exp(-2 * crosstalk)
    return (
        np.array([one, two, 1 - one - two]),
        np.array([one_slope, two_slope, -one_slope - two_slope]),
    )


@compiled
def _edge(y: float, table: Complex) -> complex:
    cell = int(y / S_STEP)
    if cell < S_POINTS - 1:
        t = y / S_STEP - cell
        left, right = table[cell], table[cell + 1]
        at = cell * S_STEP
        left_slope = (complex(cos(at), sin(at)) - 1) / at if cell else 1j
        at += S_STEP
        right_slope = (complex(cos(at), sin(at)) - 1) / at
        bend = left_slope * (1 - t) - right_slope * t
        return complex(
            left * ((2 * t - 3) * t * t + 1)
            + right * (3 - 2 * t) * t * t
            + S_STEP * t * (1 - t) * bend
        )
    u = 1 / (y * y)
    f = (1 - u * (2 - u * (24 - 720 * u))) / y
    g = u * (1 - u * (6 - u * (120 - 5040 * u)))
    c, s = cos(y), sin(y)
    return complex(f * s - g * c - EULER - log(y), 0.5 * pi - f * c - g * s)


@compiled
def _rows(log_b: float) -> tuple[int, Array, Array]:
    """First of four rows of the table, weights of cubic interpolation, derivatives by log b."""
    at = (log_b - LOG_B[0]) / LOG_B_STEP
    row = min(max(int(at), 1), len(LOG_B) - 3)
    t = at - row
    weight = np.array(
        [
            -t * (t - 1) * (t - 2) / 6,
            (t + 1) * (t - 1) * (t - 2) / 2,
            -(t + 1) * t * (t - 2) / 2,
            (t + 1) * t * (t - 1) / 6,
        ]
    )
    slope = np.array(
        [
            -(3 * t * t - 6 * t + 2) / 6,
            (3 * t * t - 4 * t - 1) / 2,
            -(3 * t * t - 2 * t - 2) / 2,
            (3 * t * t - 1) / 6,
        ]
    )
    return row - 1, weight, slope / LOG_B_STEP


@compiled
def _kummer_near(
    y: float, kummer: Complex, slope: Complex, row: int, weight: Array, by_log_b: Array
) -> tuple[complex, complex]:
    """K_b(y) and its derivative by log b, from the table."""
    cell = int(y / K_STEP)
    t = y / K_STEP - cell
    left, right = (2 * t - 3) * t * t + 1, (3 - 2 * t) * t * t
    left_slope, right_slope = K_STEP * t * (1 - t) ** 2, K_STEP * t * t * (t - 1)
    value, of_log_b = 0j, 0j
    for i in range(4):
        k = (
            left * kummer[row + i, cell]
            + right * kummer[row + i, cell + 1]
            + left_slope * slope[row + i, cell]
            + right_slope * slope[row + i, cell + 1]
        )
        value += weight[i] * k
        of_log_b += by_log_b[i] * k
    return value, of_log_b


@compiled
def _kummer_far(y: float, wave: complex, b: float, far: Array) -> tuple[complex, complex]:
    """The same for large y from the series; far: Gamma(b + 1), digamma(b + 1)."""
    log_iy = complex(log(y), 0.5 * pi)
    power = far[0] * complex_exp(-b * log_iy)
    end = 1j * b / (y * wave)
    return (
        power + end * (1 + 1j * (1 - b) / y),
        b * power * (far[1] - log_iy) + end * (1 + 1j * (1 - 2 * b) / y),
    )
