"""Maximum-likelihood fit of the generalised Poisson model to a charge spectrum."""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_distribution

from analysis.sipm.poisson_model import (
    NAMES,
    bin_probabilities,
    likelihood_gradient,
    negative_log_likelihood,
)

MAX_PEAKS = 90
MOST_NEGATIVE = 0.05
LEAST_CURVATURE = 1e-3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PoissonFit:
    """Result of a fit. `values` and `covariance` are in the order of NAMES.

    pe_variance is sigma_G^2 in ADC^2. expected: (n,) counts per fitted bin. chi2 and ndf are
    Pearson's over bins joined to at least 8 expected entries.
    """

    values: Array
    covariance: Array
    nll: float
    expected: Array
    chi2: float
    ndf: int
    valid: bool

    @property
    def p_value(self) -> float:
        return float(chi2_distribution.sf(self.chi2, self.ndf)) if self.ndf > 0 else float("nan")

    def value(self, name: str) -> float:
        return float(self.values[NAMES.index(name)])

    def sigma(self, name: str) -> float:
        index = NAMES.index(name)
        return float(np.sqrt(self.covariance[index, index]))


def fit_poisson(counts: Array, edges: Array, start: Array, *, max_calls: int = 600) -> PoissonFit:
    """Fit the model to counts (n,) with edges (n + 1,) in ADC, from start (8,) as in NAMES,
    with about `max_calls` evaluations of the likelihood at most.

    The minimiser is Minuit with the analytic gradient. Errors are those of the inverse Hessian
    (as Minuit's HESSE, but from differences of the gradient). A parameter that ends at its limit,
    such as a valley filling of zero, is held there for the errors of the others; its own error is
    the one with all others held.
    """
    unit = float(edges[-1] - edges[0]) / len(counts)
    units = np.array([unit, unit, unit, unit**2, 1.0, 1.0, 1.0, 1.0])
    edges, start = edges / unit, start / units
    gain = float(start[1])
    n_peaks = int(np.clip(ceil((edges[-1] - start[0]) / gain) + 3, 3, MAX_PEAKS))
    minuit = Minuit(
        lambda values: negative_log_likelihood(counts, edges, np.asarray(values), n_peaks),
        start,
        grad=lambda values: likelihood_gradient(counts, edges, np.asarray(values), n_peaks),
        name=NAMES,
    )
    minuit.errordef = Minuit.LIKELIHOOD
    most_pe = 3 * (edges[-1] - edges[0]) / gain + 3
    low = np.array([start[0] - 0.6 * gain, 0.6 * gain, 0.05, 0.0, 1e-5, 0.0, 0.0, 0.0])
    high = np.array(
        [start[0] + 0.6 * gain, 1.6 * gain, gain, (0.5 * gain) ** 2, most_pe, 0.9, 0.5, 0.5]
    )
    minuit.limits = list(zip(low, high, strict=True))
    minuit.errors = [
        0.02 * gain, 0.01 * gain, 0.05 * start[2], 0.3, 0.05 * start[4] + 1e-3, 0.02, 0.01, 0.01
    ]  # fmt: skip
    minuit.strategy = 0
    minuit.tol = 0.5
    minuit.migrad(ncall=max_calls, iterate=1)
    if not minuit.valid:
        minuit.strategy = 1
        minuit.migrad(ncall=max_calls, iterate=2)
    values = np.array(minuit.values)
    probability = bin_probabilities(edges, values, n_peaks)
    expected = float(counts.sum()) * probability / probability.sum()
    covariance = _covariance(
        lambda at: likelihood_gradient(counts, edges, at, n_peaks), values, low, high
    )
    chi2, n_groups = pearson(counts, expected)
    usable = bool(np.all(np.isfinite(covariance)) and np.all(np.diag(covariance) >= 0))
    return PoissonFit(
        values * units,
        covariance * np.outer(units, units),
        float(minuit.fval),
        expected,
        chi2,
        n_groups - 1 - len(NAMES),
        bool(minuit.valid) and usable,
    )


def _covariance(
    gradient: Callable[[Array], Array], values: Array, low: Array, high: Array
) -> Array:
    """Inverse Hessian, (8, 8); flat directions get a large variance, a saddle gives nan."""
    step = np.maximum(1e-4 * np.abs(values), 1e-5)
    step = np.where(values + step < high, step, -step)
    here = gradient(values)
    hessian = np.empty((len(values), len(values)))
    for i in range(len(values)):
        ahead = values.copy()
        ahead[i] += step[i]
        hessian[i] = (gradient(ahead) - here) / step[i]
    hessian = 0.5 * (hessian + hessian.T)
    curvature = np.maximum(np.diag(hessian), 1e-12)
    near = 0.02 / np.sqrt(curvature)
    free = np.flatnonzero((values > low + near) & (values < high - near))
    covariance = np.diag(1.0 / curvature)
    scale = 1.0 / np.sqrt(curvature[free])
    size, direction = np.linalg.eigh(hessian[np.ix_(free, free)] * np.outer(scale, scale))
    if size.size and size[0] < -MOST_NEGATIVE:
        return np.full_like(hessian, np.nan)
    inverse = (direction / np.maximum(size, LEAST_CURVATURE)) @ direction.T
    covariance[np.ix_(free, free)] = inverse * np.outer(scale, scale)
    return covariance


def pearson(counts: Array, expected: Array, least: float = 8.0) -> tuple[float, int]:
    """Pearson's chi2 over neighbouring bins joined to at least `least` expected; and how many."""
    whole = float(expected.sum())
    group = np.floor(np.minimum(np.cumsum(expected), whole - 1.5 * least) / least)
    group = np.unique(np.maximum(group, 0.0), return_inverse=True)[1]
    seen = np.bincount(group, weights=counts)
    wanted = np.bincount(group, weights=expected)
    return float(((seen - wanted) ** 2 / np.maximum(wanted, 1e-9)).sum()), len(seen)
