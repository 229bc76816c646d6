"""Maximum-likelihood fit of the full response model to one charge spectrum.

The binned extended likelihood with the expected number of events profiled: its best value is the
number of entries, so minus the log likelihood is sum(n) ln(sum p) - sum(n ln p).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from iminuit import Minuit
from numpy.typing import NDArray
from scipy.stats import chi2 as chi2_distribution

from analysis.sipm.response import (
    NAMES,
    BinnedResponse,
    Binning,
    binning_for,
)

# Centre and standard deviation of wide priors, the range that devices with visible peaks have. They
# only keep apart what a spectrum of few or badly resolved events can't: crosstalk, afterpulses and
# their recovery, dark counts at the edge of the gate.
PRIORS = {
    "crosstalk": (0.1, 0.2),
    "afterpulse": (0.02, 0.05),
    "log_recovery": (0.0, 0.8),
    "dark_edge": (0.0, 0.3),
}
CENTER = np.array([PRIORS.get(name, (0.0, np.inf))[0] for name in NAMES])
WEIGHT = np.array([PRIORS.get(name, (0.0, np.inf))[1] ** -2.0 for name in NAMES])
BEYOND_IN_PE = 12.0
MOST_STEPS = 60
SETTLED = 1e-3

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SpectrumFit:
    """Result of a fit. `values` and `covariance` are in the order of NAMES.

    pe_variance is sigma_G^2 in ADC^2; mu counts all avalanches of full charge, those of dark
    counts inside the gate too. expected: (n,) counts per fitted bin. chi2 and ndf are Pearson's
    over bins joined to at least 8 expected entries. at_limit names the parameters held at a
    physical limit. intervals: lower and upper MINOS errors of the parameters they were asked for.
    """

    values: Array
    covariance: Array
    nll: float
    expected: Array
    chi2: float
    ndf: int
    valid: bool
    at_limit: tuple[str, ...]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def p_value(self) -> float:
        return float(chi2_distribution.sf(self.chi2, self.ndf)) if self.ndf > 0 else float("nan")

    def value(self, name: str) -> float:
        return float(self.values[NAMES.index(name)])

    def sigma(self, name: str) -> float:
        index = NAMES.index(name)
        return float(np.sqrt(self.covariance[index, index]))


@dataclass
class _Likelihood:
    """Minus the log likelihood of counts (n,), with the priors, as Minuit wants it.

    The last evaluation is kept: minimisers ask for value, gradient and information one by one.
    """

    counts: Array
    binning: Binning
    _values: bytes = b""
    _model: BinnedResponse | None = None

    def at(self, values: Array) -> BinnedResponse:
        """The model at values (9,)."""
        key = values.tobytes()
        if self._model is None or key != self._values:
            self._values, self._model = key, BinnedResponse(self.binning, values)
        return self._model

    def __call__(self, values: Array) -> float:
        values = np.asarray(values)
        p = self.at(values).probability
        likelihood = self.counts.sum() * np.log(p.sum()) - self.counts @ np.log(p)
        return float(likelihood + 0.5 * WEIGHT @ (values - CENTER) ** 2)

    def gradient(self, values: Array) -> Array:
        values = np.asarray(values)
        model = self.at(values)
        p = model.probability
        pull = self.counts.sum() / p.sum() - self.counts / p
        return np.asarray(model.pullback(pull) + WEIGHT * (values - CENTER))

    def information(self, values: Array) -> Array:
        """Fisher's information matrix, (9, 9)."""
        model = self.at(np.asarray(values))
        p, slopes = model.probability, model.jacobian
        events, whole = self.counts.sum(), p.sum()
        drift = slopes.sum(axis=1) / whole
        information = events * ((slopes / (p * whole)) @ slopes.T - np.outer(drift, drift))
        return np.asarray(information + np.diag(WEIGHT))

    def expansion(self, values: Array) -> tuple[float, Array, Array]:
        """Value, gradient (9,) and Fisher's information (9, 9)."""
        return self(values), self.gradient(values), self.information(values)


def fit_spectrum(
    counts: Array,
    edges: Array,
    start: Array,
    *,
    held: Mapping[str, float] | None = None,
    minos: Sequence[str] = (),
) -> SpectrumFit:
    """Fit the model to counts (n,) in equal bins with edges (n + 1,) ADC, from start as in NAMES.

    held: parameters that are fixed at a value instead of fitted.
    minos: parameters whose interval is also taken from the likelihood profile.

    Steps along the Fisher information, damped where they do not help, lead to the minimum; Minuit
    with the analytic gradient and information then verifies and completes the descent. The errors
    are those of the Hessian, the expected one, at the minimum.
    """
    problem = _Problem.of(counts, edges, start, held or {})
    values, converged = _descend(problem, MOST_STEPS)
    minuit, at_limit = _verify(problem, values)
    values = np.array(minuit.values)
    covariance = _covariance(problem, values)
    p = problem.likelihood.at(values).probability
    expected = float(counts.sum()) * p / p.sum()
    chi2, n_groups = pearson(counts, expected)
    usable = bool(np.all(np.isfinite(covariance)) and np.all(np.diag(covariance) >= 0))
    valid = converged and bool(minuit.valid) and usable
    intervals = _minos(minuit, minos, problem.units) if valid else {}
    return SpectrumFit(
        values * problem.units,
        covariance * np.outer(problem.units, problem.units),
        float(minuit.fval),
        expected,
        chi2,
        n_groups - 1 - len(NAMES),
        valid,
        tuple(str(name) for name in np.array(NAMES)[at_limit]),
        intervals,
    )


def descend(counts: Array, edges: Array, start: Array, steps: int) -> tuple[Array, float]:
    """Where a few steps from start lead, in the order of NAMES, and the likelihood there.

    Enough to compare explanations of a spectrum; the value is comparable with `SpectrumFit.nll`.
    """
    problem = _Problem.of(counts, edges, start, {})
    values, _ = _descend(problem, steps)
    return values * problem.units, problem.likelihood(values)


@dataclass(frozen=True)
class _Problem:
    """A fit in units of the bin width: likelihood, start and limits (9,)."""

    likelihood: _Likelihood
    start: Array
    low: Array
    high: Array
    units: Array

    @classmethod
    def of(cls, counts: Array, edges: Array, start: Array, held: Mapping[str, float]) -> "_Problem":
        unit = float(edges[-1] - edges[0]) / len(counts)
        units = np.array([unit, unit, unit, unit**2, 1.0, 1.0, 1.0, 1.0, 1.0])
        edges, start = edges / unit, np.asarray(start, dtype=np.float64) / units
        low, high = _limits(edges, start)
        for name, value in held.items():
            index = NAMES.index(name)
            low[index] = high[index] = value / units[index]
        likelihood = _Likelihood(counts, _binning(edges, start))
        return cls(likelihood, np.clip(start, low, high), low, high, units)

    @property
    def held(self) -> NDArray[np.bool_]:
        return np.asarray(self.low == self.high)


def _binning(edges: Array, start: Array) -> Binning:
    pedestal, gain, noise = start[:3]
    return binning_for(
        float(edges[0]),
        1.0,
        len(edges) - 1,
        pedestal - 8 * noise,
        edges[-1] + BEYOND_IN_PE * gain,
    )


def _limits(edges: Array, start: Array) -> tuple[Array, Array]:
    gain = start[1]
    most_pe = 3 * (edges[-1] - edges[0]) / gain + 3
    low = [start[0] - 0.6 * gain, 0.6 * gain, 0.25, 0.0, 1e-5, -0.05, -0.05, -3.0, -0.02]
    high = [start[0] + 0.6 * gain, 1.6 * gain, gain, (0.5 * gain) ** 2, most_pe, 0.7, 0.4, 1.6, 1.0]
    return np.array(low), np.array(high)


def _descend(problem: _Problem, most_steps: int) -> tuple[Array, bool]:
    """Damped scoring inside the limits; where it ended, and whether it settled."""
    likelihood, values, low, high = problem.likelihood, problem.start, problem.low, problem.high
    here, gradient, information = likelihood.expansion(values)
    damping = 1e-3
    for _ in range(most_steps):
        free = _free(values, gradient, low, high)
        scale = 1 / np.sqrt(np.maximum(np.diag(information)[free], 1e-12))
        matrix = information[np.ix_(free, free)] * np.outer(scale, scale)
        matrix[np.diag_indices_from(matrix)] += damping
        step = -scale * np.linalg.solve(matrix, scale * gradient[free])
        moved = values.copy()
        moved[free] = np.clip(values[free] + step, low[free], high[free])
        there = likelihood.expansion(moved)
        if there[0] < here:
            gained = here - there[0]
            values, (here, gradient, information) = moved, there
            damping = max(damping / 10, 1e-7)
            if gained < SETTLED:
                return values, True
        elif damping > 1e5 or -(gradient[free] @ (moved - values)[free]) < SETTLED:
            return values, True
        else:
            damping = max(10 * damping, 1e-4)
    return values, False


def _free(values: Array, gradient: Array, low: Array, high: Array) -> NDArray[np.bool_]:
    """Parameters that are not pressed against a limit."""
    margin = 1e-9 * (high - low)
    pressed = ((values <= low + margin) & (gradient > 0)) | (
        (values >= high - margin) & (gradient < 0)
    )
    return np.asarray(~pressed & (high > low))


def _verify(problem: _Problem, values: Array) -> tuple[Minuit, NDArray[np.bool_]]:
    """Minuit's minimum next to values, with the parameters at a limit held; and which these are."""
    _, gradient, information = problem.likelihood.expansion(values)
    at_limit = ~_free(values, gradient, problem.low, problem.high)
    minuit = Minuit(
        problem.likelihood,
        values,
        grad=problem.likelihood.gradient,
        hessian=problem.likelihood.information,
        name=NAMES,
    )
    minuit.errordef = Minuit.LIKELIHOOD
    minuit.errors = 1 / np.sqrt(np.maximum(np.diag(information), 1e-12))
    minuit.fixed = at_limit
    minuit.limits = list(zip(problem.low, problem.high, strict=True))
    minuit.strategy = 0
    minuit.tol = 1.0
    minuit.migrad(ncall=120, iterate=1)
    return minuit, at_limit


def _minos(minuit: Minuit, names: Sequence[str], units: Array) -> dict[str, tuple[float, float]]:
    """Lower and upper error, both positive, of the parameters whose profile could be followed."""
    intervals = {}
    for name in names:
        try:
            minuit.minos(name)
        except RuntimeError:
            continue
        found = minuit.merrors[name]
        if found.is_valid:
            unit = float(units[NAMES.index(name)])
            intervals[name] = (-found.lower * unit, found.upper * unit)
    return intervals


def _covariance(problem: _Problem, values: Array) -> Array:
    """Inverse of the information at the minimum, (9, 9); zero rows for what is held.

    A parameter at a physical limit counts as free: what is not known about it belongs to the
    errors of the others.
    """
    free = np.flatnonzero(~problem.held)
    information = problem.likelihood.information(values)
    scale = 1 / np.sqrt(np.maximum(np.diag(information)[free], 1e-300))
    covariance = np.zeros((len(values), len(values)))
    if np.all(np.isfinite(information)):
        inverse = np.linalg.pinv(
            information[np.ix_(free, free)] * np.outer(scale, scale), hermitian=True
        )
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
