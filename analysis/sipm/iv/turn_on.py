"""A model of the reverse current around breakdown, and its fit.

I(V) = exp(a + b (V - Vr)) + A s^p / (1 - k s),   s = w ln(1 + exp((V - V0) / w))

The first term is the leakage below breakdown. The second grows as a power of the overvoltage s: a
parabola (p = 2) where both the gain and the triggering probability are linear, as in the square
root of the current against voltage; k is the growth by crosstalk and afterpulses up to their
divergence at s = 1/k, after the IV model of A. Nagai et al., arXiv:1810.02275 (k < 0 describes a
triggering probability that saturates). w smears the onset (spread of the pixels, multiplication
below breakdown, V. Chmill et al., arXiv:1605.01692).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.iv.curve import IVCurve, noise_of

Array = NDArray[np.float64]

BELOW_V, ABOVE_V = 4.0, 4.0
LEAST_SIDE = 6
A_, B_, LOG_A, V0, LOG_W, P, K = range(7)
PRIOR_MEAN = np.array([0.0, 0.05, 0.0, 0.0, np.log(0.08), 2.0, 0.05])
PRIOR_SIGMA = np.array([np.inf, 0.5, np.inf, np.inf, 0.9, 0.4, 0.15])
LEAST_RELATIVE = 1e-4
ROUNDS, ROUND_STEPS, LAST_STEPS = 3, 8, 60
OUTLIER = 6.0
SPARE_POINTS = 12.0
CONVERGED = 3e-3
LARGEST_MISFIT, USUAL_MISFIT = 3.0, 1.5


@dataclass(frozen=True)
class TurnOn:
    """The fitted model.

    parameters: (7,) a, b, ln A, V0, ln w, p, k; covariance (7, 7). reference_v: Vr.
    voltage_v, current_a: (n,) the points of the fit; noise_a: (n,) their standard deviations.
    constant_a, relative: the two parts of the noise. chi2, ndf: of the fit; with noise that was
    estimated from the scatter chi2/ndf says nothing. kept: (n,) False for outliers. misfit: 1 to 3,
    by how much the residuals exceed the scatter between neighbours: the curve has another shape.
    """

    parameters: Array
    covariance: Array
    reference_v: float
    voltage_v: Array
    current_a: Array
    noise_a: Array
    constant_a: float
    relative: float
    chi2: float
    ndf: int
    kept: NDArray[np.bool_]
    misfit: float

    def current(self, voltage_v: Array, parameters: Array | None = None) -> Array:
        """Current of the model, A; parameters (..., 7) give (..., n)."""
        theta = self.parameters if parameters is None else parameters
        leak, avalanche = _parts(theta[..., None, :], voltage_v, self.reference_v)
        return np.asarray(leak + avalanche, dtype=np.float64)

    def avalanche(self, voltage_v: Array) -> Array:
        """The part of the model's current that flows by avalanches, A."""
        return _parts(self.parameters[None, :], voltage_v, self.reference_v)[1]

    def draws(self, rng: np.random.Generator, n: int) -> Array:
        """Parameters as the data allow them, (n, 7)."""
        values, vectors = np.linalg.eigh(self.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        drawn = self.parameters + rng.standard_normal((n, 7)) @ root.T
        longest = max(float(self.voltage_v[-1]) - self.parameters[V0], 1.0) + 1.0
        drawn[:, K] = np.minimum(drawn[:, K], 0.97 / longest)
        drawn[:, P] = np.clip(drawn[:, P], 0.7, 4.0)
        drawn[:, LOG_W] = np.clip(drawn[:, LOG_W], np.log(0.004), np.log(1.0))
        return np.asarray(drawn, dtype=np.float64)


def fit_turn_on(curve: IVCurve, knee_v: float) -> TurnOn | None:
    """Fit the model around a knee seen at about knee_v; None when nothing fits.

    The fit takes the points from 4 V below to 4 V above the knee, at least 6 on either side.
    """
    voltage, current = curve.voltage_v, curve.current_a
    split = int(np.searchsorted(voltage, knee_v))
    low = min(int(np.searchsorted(voltage, knee_v - BELOW_V)), max(split - LEAST_SIDE, 0))
    high = max(
        int(np.searchsorted(voltage, knee_v + ABOVE_V, side="right")),
        min(split + LEAST_SIDE, len(voltage)),
    )
    v, i = voltage[low:high], current[low:high]
    if len(v) < 8:
        return None
    constant, raw = noise_of(curve)
    raw = max(raw, LEAST_RELATIVE)
    relative = raw
    given = None if curve.sigma_a is None else np.maximum(curve.sigma_a[low:high], 1e-18)
    kept = np.ones(len(v), dtype=bool)
    smooth = np.maximum(i, max(constant, 1e-18))
    noise = _noise(smooth, constant, relative) if given is None else _at_least(given, smooth)
    quiet = slice(0, max(len(i) // 4, 3))
    lowest = float(np.log(max(np.median(i[quiet]), 0.3 * np.median(noise[quiet]), 1e-18)))
    theta = _start(v, i, noise, knee_v)
    if theta is None:
        return None
    for turn in range(ROUNDS):
        noise = _noise(smooth, constant, relative) if given is None else _at_least(given, smooth)
        theta, _, _ = _minimise(theta, v, i, noise, kept, knee_v, lowest, ROUND_STEPS)
        leak, avalanche = _parts(theta[None, :], v, knee_v)
        smooth = leak + avalanche
        if given is None:
            constant, relative = _scatter(i, smooth, raw)
        pull = (i - smooth) / (
            _noise(smooth, constant, relative) if given is None else _at_least(given, smooth)
        )
        before, kept = kept, np.abs(pull) < OUTLIER
        if np.count_nonzero(kept) < max(8, 0.7 * len(v)):
            kept = np.ones(len(v), dtype=bool)
        if turn > 0 and np.array_equal(before, kept):
            break
    noise = _noise(smooth, constant, relative) if given is None else _at_least(given, smooth)
    theta, covariance, chi2 = _minimise(theta, v, i, noise, kept, knee_v, lowest, LAST_STEPS)
    excess = relative / raw if given is None else float(np.sqrt(chi2 / max(len(v) - 7, 1)))
    misfit = float(np.clip(excess / USUAL_MISFIT, 1.0, LARGEST_MISFIT))
    ndf = max(int(np.count_nonzero(kept)) - 7, 1)
    return TurnOn(
        theta, covariance, knee_v, v, i, noise, constant, relative, float(chi2), ndf, kept, misfit
    )


def _noise(smooth: Array, constant: float, relative: float) -> Array:
    return np.hypot(max(constant, 1e-18), max(relative, LEAST_RELATIVE) * smooth)


def _at_least(given: Array, smooth: Array) -> Array:
    return np.hypot(given, LEAST_RELATIVE * smooth)


def _scatter(current: Array, smooth: Array, raw: float) -> tuple[float, float]:
    """Constant and relative noise from the residuals of a fit.

    raw: the relative scatter between neighbours; it counts where the fit has few points to spare.
    """
    away = np.abs(current - smooth)
    swell = 1.4826 * np.sqrt(len(current) / max(len(current) - 6.0, 2.0))
    order = np.argsort(smooth)
    third = max(len(order) // 3, 3)
    low, high = order[:third], order[third:]
    relative = swell * float(np.median(away[high] / smooth[high]))
    scarce = np.clip(1.0 - (len(current) - 6.0) / SPARE_POINTS, 0.0, 1.0)
    relative = max(relative, 0.5 * float(scarce) * raw)
    at_low = swell * float(np.median(away[low]))
    constant = np.sqrt(max(at_low**2 - (relative * float(np.median(smooth[low]))) ** 2, 0.0))
    return max(float(constant), 1e-18), float(min(max(relative, LEAST_RELATIVE), 0.7))


def _parts(theta: Array, voltage: Array, reference_v: float) -> tuple[Array, Array]:
    """Leakage and avalanche current, A: theta (..., 1, 7) with voltage (n,) give (..., n)."""
    leak = np.exp(np.clip(theta[..., A_] + theta[..., B_] * (voltage - reference_v), -90.0, 20.0))
    log_s = _log_overvoltage(theta, voltage)
    growth = np.maximum(1.0 - theta[..., K] * np.exp(log_s), 1e-3)
    avalanche = np.exp(np.clip(theta[..., LOG_A] + theta[..., P] * log_s, -90.0, 20.0)) / growth
    return leak, avalanche


def _log_overvoltage(theta: Array, voltage: Array) -> Array:
    width = np.exp(theta[..., LOG_W])
    u = (voltage - theta[..., V0]) / width
    soft = np.logaddexp(0.0, np.maximum(u, -30.0))
    return np.asarray(theta[..., LOG_W] + np.log(soft) + np.minimum(u + 30.0, 0.0))


def _start(voltage: Array, current: Array, noise: Array, knee_v: float) -> Array | None:
    """The best of a grid of onsets and widths; leakage and amplitude by linear least squares."""
    onset = knee_v + np.arange(-0.9, 0.5, 0.15)
    width = np.array([0.03, 0.1, 0.25])
    theta = np.tile(PRIOR_MEAN, (len(onset) * len(width), 1))
    theta[:, V0] = np.repeat(onset, len(width))
    theta[:, LOG_W] = np.tile(np.log(width), len(onset))
    theta[:, K] = min(0.05, 0.5 / max(voltage[-1] - knee_v, 1.0))
    leak, avalanche = _parts(theta[:, None, :], voltage, knee_v)
    x, y, d = leak / noise, avalanche / noise, current / noise
    xx, yy, xy = (x * x).sum(-1), (y * y).sum(-1), (x * y).sum(-1)
    xd, yd = (x * d).sum(-1), (y * d).sum(-1)
    det = xx * yy - xy**2
    with np.errstate(divide="ignore", invalid="ignore"):
        size_x, size_y = (yy * xd - xy * yd) / det, (xx * yd - xy * xd) / det
        floor = 0.03 * np.median(noise[: len(noise) // 3]) / np.median(leak)
        size_x = np.maximum(size_x, floor)
        chi2 = ((d - size_x[:, None] * x - size_y[:, None] * y) ** 2).sum(-1)
    chi2 = np.where(np.isfinite(chi2) & (size_y > 0), chi2, np.inf)
    best = int(np.argmin(chi2))
    if not np.isfinite(chi2[best]):
        return None
    theta[best, A_] = np.log(size_x[best])
    theta[best, LOG_A] = np.log(size_y[best])
    return np.asarray(theta[best])


def _residuals(
    theta: Array, voltage: Array, current: Array, noise: Array, knee_v: float, lowest: float
) -> tuple[Array, Array]:
    """Residuals with the priors', (n + 4,), and their Jacobian, (n + 4, 7)."""
    width = np.exp(theta[LOG_W])
    u = (voltage - theta[V0]) / width
    log_s = _log_overvoltage(theta, voltage)
    s = np.exp(log_s)
    growth = np.maximum(1.0 - theta[K] * s, 1e-3)
    leak = np.exp(np.minimum(theta[A_] + theta[B_] * (voltage - knee_v), 20.0))
    avalanche = np.exp(np.minimum(theta[LOG_A] + theta[P] * log_s, 20.0)) / growth
    share = 1.0 / (1.0 + np.exp(np.minimum(-u, 60.0)))
    slope = theta[P] * share / np.maximum(s, 1e-30) + theta[K] * share / growth
    jacobian = np.zeros((len(voltage) + 5, 7))
    n = len(voltage)
    jacobian[:n, A_] = -leak
    jacobian[:n, B_] = -leak * (voltage - knee_v)
    jacobian[:n, LOG_A] = -avalanche
    jacobian[:n, V0] = avalanche * slope
    jacobian[:n, LOG_W] = -avalanche * (
        theta[P] * (1.0 - u * width * share / np.maximum(s, 1e-30))
        + theta[K] * (s - u * width * share) / growth
    )
    jacobian[:n, P] = -avalanche * log_s
    jacobian[:n, K] = -avalanche * s / growth
    jacobian[:n] /= noise[:, None]
    residual = np.empty(n + 5)
    residual[:n] = (current - leak - avalanche) / noise
    for row, index in enumerate((B_, LOG_W, P, K), n):
        residual[row] = (theta[index] - PRIOR_MEAN[index]) / PRIOR_SIGMA[index]
        jacobian[row, index] = 1.0 / PRIOR_SIGMA[index]
    residual[n + 4] = (theta[A_] - lowest) / 3.0
    jacobian[n + 4, A_] = 1.0 / 3.0
    return residual, jacobian


def _minimise(
    theta: Array,
    voltage: Array,
    current: Array,
    noise: Array,
    kept: NDArray[np.bool_],
    knee_v: float,
    lowest: float,
    steps: int,
) -> tuple[Array, Array, float]:
    """Levenberg-Marquardt: parameters, covariance and chi2 without the priors."""
    v, i, s = voltage[kept], current[kept], noise[kept]
    residual, jacobian = _residuals(theta, v, i, s, knee_v, lowest)
    cost, damping = float(residual @ residual), 1e-2
    longest = float(voltage[-1])
    for _ in range(steps):
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ residual
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-12), -gradient)
        step[V0] = np.clip(step[V0], -0.5, 0.5)
        step[LOG_W] = np.clip(step[LOG_W], -1.0, 1.0)
        trial = theta + step
        reach = max(longest - trial[V0], 0.2)
        if trial[K] * reach < 0.97 and 0.5 < trial[P] < 5 and abs(trial[LOG_W] + 2.5) < 3.5:
            new_residual, new_jacobian = _residuals(trial, v, i, s, knee_v, lowest)
            new_cost = float(new_residual @ new_residual)
            if new_cost < cost:
                gain = cost - new_cost
                theta, residual, jacobian, cost = trial, new_residual, new_jacobian, new_cost
                damping = max(damping * 0.2, 1e-9)
                if gain < CONVERGED * (1.0 + 1e-3 * cost):
                    break
                continue
        damping *= 5.0
        if damping > 1e8:
            break
    normal = jacobian.T @ jacobian
    covariance: Array = np.asarray(np.linalg.pinv(normal), dtype=np.float64)
    n = len(v)
    return theta, covariance, float(residual[:n] @ residual[:n])
