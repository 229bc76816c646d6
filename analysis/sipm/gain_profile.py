"""chi2 of trial gains for the characteristic functions of a light-on and a light-off run.

The fit works on m(w) = c_on(w) - t(w) c_off(w), with t of light_charge.py. It is linear in the two
measured functions (no logarithm of a noisy number) and is weighted with its covariance
(pair_functions.py). Choosing one m per w is the elimination of the unknown c_off(w). For every
trial gain the other parameters are fitted by Gauss-Newton steps; the gain is the mean of the
profile exp(-chi2 / 2), its error the width. No start values, no minimiser, and two rival gains make
a large error instead of a wrong one.
"""

from dataclasses import dataclass
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import solve_triangular

from analysis.sipm.light_charge import (
    THETA,
    crosstalk_of,
    divisor,
    divisor_slopes,
    light_function,
    light_transfer,
)
from analysis.sipm.pair_functions import PairFunctions, covariance, rotated

MOST_F = 2.3
TYPICAL_F = 1.2
LEAST_F = 0.8
LOW_BAND_IN_WIDTHS = 4.5
WINDOW_CHI2 = 18.0
FINE_CHI2 = 14.0
FINE_TRIALS = 61
MOST_ZOOMS = 4
MOST_TRIALS = 400
MOST_VALLEYS = 8
FINEST_DIGITS = 6
LEAST_ENVELOPE = 0.3
PSEUDO_EVENTS = 5.0
GAUSS_NEWTON_STEPS = 4
LOW = np.array([-np.inf, 0.0, 0.0, 0.0, -3e-3])
HIGH = np.array([np.inf, 0.5, 0.03, 0.3, 5e-3])

Array = NDArray[np.float64]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class LightPrior:
    """Gaussian knowledge (value, sigma) of what the pair determines only weakly.

    spread2: (sigma_G / G)^2. afterpulse: mean number a per avalanche within the gate.
    curvature: c = B^2 - F (1 + F) / 2 / n_pixels, which adds c dQ^2 to the variance. divisor:
    F = kappa_2 / (kappa_1 G) of the light without c; None where it is not known. The defaults
    cover the usual devices and pulsers.
    """

    spread2: tuple[float, float] = (3e-3, 5e-3)
    afterpulse: tuple[float, float] = (0.02, 0.03)
    curvature: tuple[float, float] = (2e-4, 5e-4)
    divisor: tuple[float, float] | None = None

    @property
    def centre(self) -> Array:
        """(5,) as in THETA."""
        return np.array([0.0, 0.0, self.spread2[0], self.afterpulse[0], self.curvature[0]])

    @property
    def precision(self) -> Array:
        """(5,) inverse variances as in THETA."""
        sigmas = np.array([self.spread2[1], self.afterpulse[1], self.curvature[1]])
        return np.concatenate([[0.0, 0.0], sigmas**-2])


@dataclass(frozen=True)
class GainProfile:
    """chi2 of every trial gain with all other parameters fitted, and those parameters.

    ln_gain: (M,) ln of the gain in ADC, evenly spaced. chi2: (M,). theta: (M, 5) as in THETA.
    ndf: degrees of freedom of the best one.
    """

    ln_gain: Array
    chi2: Array
    theta: Array
    ndf: float

    @property
    def best(self) -> int:
        return int(np.argmin(self.chi2))

    @property
    def mean_and_width(self) -> tuple[float, float]:
        """Mean and standard deviation of exp(-chi2 / 2) in ln gain."""
        weight = np.exp(-0.5 * (self.chi2 - self.chi2.min()))
        weight /= weight.sum()
        mean = float(weight @ self.ln_gain)
        return mean, sqrt(float(weight @ (self.ln_gain - mean) ** 2))


@dataclass(frozen=True)
class _Problem:
    """A pair with its prior and the Cholesky factor of the covariance of m, (2 K, 2 K)."""

    pair: PairFunctions
    known: LightPrior
    cholesky: Array
    ndf: float


def gain_profile(pair: PairFunctions, known: LightPrior) -> GainProfile:
    """chi2 over the gain: low frequencies over everything possible, then all frequencies in the
    window these leave, then a fine scan around the best.

    The step of the second scan follows the phase of the first harmonic, which turns once when the
    gain changes by one part in the number of photoelectrons.
    """
    f = known.divisor[0] if known.divisor else TYPICAL_F
    ln_gain = np.array([log(pair.slope / f)])
    theta = _start(pair, known, ln_gain)
    low = pair.at(np.arange(len(pair.index)) < max(LOW_BAND_IN_WIDTHS / 0.45, 6))
    trials = np.linspace(log(pair.slope / MOST_F), log(pair.slope / LEAST_F), 60)
    for _ in range(2):
        problem = _weighted(low, known, ln_gain, theta)
        chi2, thetas = _profile(problem, trials)
        ln_gain, theta = _at_best(trials, chi2, thetas)
    window = _around(trials, chi2, WINDOW_CHI2)
    step = 0.12 / max(pair.shift / pair.slope, 2.0)
    trials = np.linspace(*window, int(np.clip((window[1] - window[0]) / step, 40, MOST_TRIALS)))
    seen = pair.at(_informative(pair, known, trials))
    for _ in range(2):
        problem = _weighted(seen, known, ln_gain, theta)
        chi2, thetas = _profile(problem, trials)
        ln_gain, theta = _at_best(trials, chi2, thetas)
        trials = _with_valleys(trials, chi2)
    problem = _weighted(seen, known, ln_gain, theta)
    chi2, thetas = _profile(problem, trials)
    for _ in range(MOST_ZOOMS):
        window = _around(trials, chi2, FINE_CHI2)
        n_trials = int(np.clip((window[1] - window[0]) / step, FINE_TRIALS, MOST_TRIALS))
        trials = np.linspace(*window, n_trials)
        chi2, thetas = _profile(problem, trials)
        if np.count_nonzero(chi2 < chi2.min() + FINE_CHI2) > n_trials / 3:
            break
    return GainProfile(trials, chi2, thetas, problem.ndf)


def _with_valleys(trials: Array, chi2: Array) -> Array:
    """The trials and denser ones around the lowest minima, which can be narrower than the step."""
    inner = (chi2[1:-1] <= chi2[:-2]) & (chi2[1:-1] <= chi2[2:])
    lowest = np.flatnonzero(np.concatenate([[True], inner, [True]]))
    lowest = lowest[np.argsort(chi2[lowest])][:MOST_VALLEYS]
    left = trials[np.maximum(lowest - 1, 0)]
    right = trials[np.minimum(lowest + 1, len(trials) - 1)]
    dense = np.linspace(left, right, 9).ravel()
    return np.unique(np.round(np.concatenate([trials, dense]), FINEST_DIGITS))


def reference_profile(pair: PairFunctions, known: LightPrior, ln_gain: Array) -> Array:
    """chi2 (M,) of trial gains with nothing fitted: the other parameters are the expected ones,
    with the crosstalk that gives the seen variance. F of the prior only sets the weights."""
    f = known.divisor[0] if known.divisor else TYPICAL_F
    reference = np.array([log(pair.slope / f)])
    seen = pair.at(_informative(pair, known, ln_gain))
    problem = _weighted(seen, known, reference, _start(pair, known, reference))
    return _chi2_and_step(problem, ln_gain, _start(pair, known, ln_gain))[0]


def _at_best(trials: Array, chi2: Array, thetas: Array) -> tuple[Array, Array]:
    best = int(np.argmin(chi2))
    return trials[best : best + 1], thetas[best : best + 1]


def _around(trials: Array, chi2: Array, rise: float) -> tuple[float, float]:
    """The trials next to the first and the last one within `rise` of the lowest chi2."""
    near = np.flatnonzero(chi2 < chi2.min() + rise)
    return float(trials[max(near[0] - 1, 0)]), float(trials[min(near[-1] + 1, len(trials) - 1)])


def _informative(pair: PairFunctions, known: LightPrior, trials: Array) -> NDArray[np.bool_]:
    """Frequencies (K,) at which some trial gain lets the light-on function be seen."""
    few = trials[:: max(len(trials) // 40, 1)]
    transfer = light_function(pair.omega, pair.shift, np.exp(few), _start(pair, known, few))
    envelope = np.abs(transfer).max(axis=0) * np.abs(pair.off[pair.index])
    return np.asarray(envelope * sqrt(pair.n_on) > LEAST_ENVELOPE)


def _start(pair: PairFunctions, known: LightPrior, ln_gain: Array) -> Array:
    """Parameters (M, 5) that reproduce the variance at every gain, as far as they may."""
    theta = np.tile(known.centre, (len(ln_gain), 1))
    f = (pair.slope - known.curvature[0] * pair.shift) / np.exp(ln_gain)
    theta[:, 1] = crosstalk_of(f, known.spread2[0], known.afterpulse[0])
    return np.clip(theta, LOW, 0.95 * HIGH)


def _weighted(pair: PairFunctions, known: LightPrior, ln_gain: Array, theta: Array) -> _Problem:
    """The covariance of m at one gain (1,) and its parameters (1, 5).

    Both runs are described by light-off and the model, whose tails are fuller than those of the
    light-on histogram. A few events that could lie anywhere are added: otherwise combinations
    that vanish wherever there are data would count as known without error.
    """
    on = light_function(pair.grid[1:], pair.shift, np.exp(ln_gain), theta)[0]
    on = np.append(1.0, on)
    total = covariance(on * pair.off, pair.index, pair.n_on)
    total += rotated(covariance(pair.off, pair.index, pair.n_off), on[pair.index])
    scale = np.sqrt(np.diag(total))
    total /= np.outer(scale, scale)
    ridge = PSEUDO_EVENTS / min(pair.n_on, pair.n_off)
    sizes = np.linalg.eigvalsh(total)
    ndf = float((np.maximum(sizes, 0) / (np.maximum(sizes, 0) + ridge)).sum()) - 3
    cholesky = np.linalg.cholesky(total + ridge * np.eye(len(total))) * scale[:, None]
    return _Problem(pair, known, np.asarray(cholesky), max(ndf, 1.0))


def _profile(problem: _Problem, ln_gain: Array) -> tuple[Array, Array]:
    """chi2 (M,) and parameters (M, 5) of every gain after Gauss-Newton steps."""
    theta = _start(problem.pair, problem.known, ln_gain)
    chi2, step = _chi2_and_step(problem, ln_gain, theta)
    for _ in range(GAUSS_NEWTON_STEPS):
        trial = np.clip(theta + step, LOW, HIGH)
        trial_chi2, trial_step = _chi2_and_step(problem, ln_gain, trial)
        better = trial_chi2 < chi2
        theta = np.where(better[:, None], trial, theta)
        step = np.where(better[:, None], trial_step, 0.4 * step)
        chi2 = np.where(better, trial_chi2, chi2)
    return chi2, theta


def _chi2_and_step(problem: _Problem, ln_gain: Array, theta: Array) -> tuple[Array, Array]:
    pair, known = problem.pair, problem.known
    transfer, logarithmic = light_transfer(pair.omega, pair.shift, np.exp(ln_gain), theta)
    expected = transfer * pair.off[pair.index]
    residual = _whitened(problem, (pair.on[pair.index] - expected)[:, None, :])[:, 0]
    slopes = _whitened(problem, -expected[:, None, :] * logarithmic)
    away = theta - known.centre
    chi2 = (residual**2).sum(axis=1) + away**2 @ known.precision
    gradient = (slopes @ residual[:, :, None])[:, :, 0] + known.precision * away
    hessian = slopes @ slopes.transpose(0, 2, 1) + np.diag(known.precision)
    if known.divisor is not None:
        value, sigma = known.divisor
        parameters = theta[:, 1], theta[:, 2], theta[:, 3]
        pull = (divisor(*parameters) - value) / sigma
        slope = divisor_slopes(*parameters) / sigma
        chi2 = chi2 + pull**2
        gradient += slope * pull[:, None]
        hessian += slope[:, :, None] * slope[:, None, :]
    return chi2, _newton_step(gradient, hessian, theta)


def _newton_step(gradient: Array, hessian: Array, theta: Array) -> Array:
    """Steps (M, 5); a parameter that would leave its limit is held there."""
    held = ((theta <= LOW) & (gradient > 0)) | ((theta >= HIGH) & (gradient < 0))
    free = ~held
    gradient = np.where(free, gradient, 0.0)
    hessian = np.where(free[:, :, None] & free[:, None, :], hessian, 0.0)
    scale = np.sqrt(np.einsum("ijj->ij", hessian)) + held + 1e-12
    hessian = hessian / (scale[:, :, None] * scale[:, None, :])
    hessian += (1e-9 + held[:, None, :]) * np.eye(len(THETA))
    return np.asarray(np.linalg.solve(hessian, (-gradient / scale)[:, :, None])[:, :, 0] / scale)


def _whitened(problem: _Problem, values: Complex) -> Array:
    """Complex values (M, J, K) in units of their standard deviations, (M, J, 2 K)."""
    real = np.concatenate([values.real, values.imag], axis=-1)
    flat = real.reshape(-1, real.shape[-1])
    white = solve_triangular(problem.cholesky, flat.T, lower=True, check_finite=False)
    return np.asarray(white.T.reshape(real.shape))
