"""Straight lines through points with correlated errors, and whether they are straight.

The fit is weighted with the independent errors alone; errors that all points share enter its
covariance by propagation. A shared offset or scale lies in the space of straight lines: there this
is the generalised least-squares solution (A. C. Aitken 1936), free of the downward bias that
weighting with a covariance proportional to the measured values brings (R. W. Peelle's puzzle, see
G. D'Agostini, Nucl. Instrum. Meth. A 346 (1994) 306).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb, inf, log, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, fdtrc

from analysis.sipm.scans.points import Array, LeftOut, Measured

LEAST_P_VALUE = 3e-3
MOST_CURVATURE = 3.0
LEAST_RUNS_P_VALUE = 2e-3
GOOD_P_VALUE = 0.01
OUTLIER_GAP = 9.0
LEAST_FOR_ONE_OUTLIER = 5
LEAST_FOR_TWO_OUTLIERS = 8
OUTLIER_CANDIDATES = 14
BEND_P_VALUE = 0.01
LEAST_INDEPENDENCE = 1e-9
TOO_DIFFERENT = "the places or errors of the points differ too much for a fit"

Mask = NDArray[np.bool_]
Shape = Literal["straight", "outliers", "bent", "scattered"]


@dataclass(frozen=True)
class LinearFit:
    """Least squares of a model that is linear in its parameters.

    parameters: (p,). covariance: (p, p) with all errors. influence: (p, n), derivative of the
    parameters by the values. residuals: (n,), values minus model. chi2 counts shared errors as
    far as they move points off the model; ndf may be 0.
    """

    parameters: Array
    covariance: Array
    influence: Array
    residuals: Array
    chi2: float
    ndf: int

    @property
    def p_value(self) -> float:
        """Probability of a larger chi2; 1 without degrees of freedom."""
        return float(chdtrc(self.ndf, self.chi2)) if self.ndf > 0 else 1.0

    @property
    def scale(self) -> float:
        """sqrt(chi2 / ndf), not below 1."""
        return max(1.0, sqrt(self.chi2 / self.ndf)) if self.ndf > 0 else 1.0


@dataclass(frozen=True)
class LineTests:
    """Whether points lie on a straight line.

    curvature_pull: quadratic term over its error; 0 where three different x are missing.
    runs_p_value: probability of so few changes of sign among the residuals (Wald and Wolfowitz,
        Ann. Math. Statist. 11 (1940) 147).
    """

    chi2: float
    ndf: int
    p_value: float
    curvature_pull: float
    runs_p_value: float

    @property
    def straight(self) -> bool:
        """Whether all three tests pass; a straight line fails in about 1 % of cases."""
        return (
            self.p_value >= LEAST_P_VALUE
            and abs(self.curvature_pull) < MOST_CURVATURE
            and self.runs_p_value >= LEAST_RUNS_P_VALUE
        )

    def as_goodness(self) -> dict[str, float]:
        """The tests as figures of merit."""
        return {
            "chi2": self.chi2,
            "ndf": float(self.ndf),
            "p_value": self.p_value,
            "curvature_pull": self.curvature_pull,
            "runs_p_value": self.runs_p_value,
        }


@dataclass(frozen=True)
class Judged:
    """What the points look like.

    measured: the points that the line is fitted to; of scattered points the errors are scaled.
    tests: of all points, outliers included. outliers: places within the points given, with the
    distance from the line of the others in its errors.
    """

    shape: Shape
    measured: Measured
    tests: LineTests
    outliers: tuple[tuple[int, float], ...] = ()
    scale: float = 1.0

    def named(self, given: Measured) -> tuple[LeftOut, ...]:
        """The outliers among the points that were judged, in words."""
        return tuple(
            LeftOut(
                int(given.index[place]),
                f"lies {abs(away):.1f} sigma {'above' if away > 0 else 'below'} "
                "the line of the others and is left out",
            )
            for place, away in self.outliers
        )


def line_design(x: Array, origin: float) -> Array:
    """(n, 2) columns 1 and x - origin."""
    return np.stack([np.ones_like(x), x - origin], axis=1)


def center(measured: Measured) -> float:
    """Mean of x, weighted with the independent errors."""
    weight = 1.0 / np.diag(measured.independent)
    return float(weight @ measured.x / weight.sum())


def fit_linear(design: Array, measured: Measured, known: Array | None = None) -> LinearFit:
    """Least squares of y - known on the columns of `design` (n, p), see the module.

    known: (n,) part of the model that is not fitted. Raises numpy.linalg.LinAlgError when the
    columns depend on each other.
    """
    values = measured.y if known is None else measured.y - known
    whitening = _whitening(measured.independent)
    columns = whitening @ design
    size = np.sqrt(np.sum(columns**2, axis=0))
    if not np.all(size > 0):
        raise np.linalg.LinAlgError("a column is zero")
    q, r = np.linalg.qr(columns / size)
    if np.abs(np.diag(r)).min() <= LEAST_INDEPENDENCE:
        raise np.linalg.LinAlgError("the columns depend on each other")
    toward = np.linalg.solve(r, q.T) / size[:, None]
    influence = toward @ whitening
    parameters = influence @ values
    residuals = values - design @ parameters
    spread = influence @ measured.shared.T
    return LinearFit(
        parameters,
        toward @ toward.T + spread @ spread.T,
        influence,
        residuals,
        _chi2(design, residuals, measured),
        len(values) - design.shape[1],
    )


def _whitening(covariance: Array) -> Array:
    """(n, n) matrix that turns errors with this covariance into independent ones of size 1."""
    diagonal = np.diag(covariance)
    if np.count_nonzero(covariance) == np.count_nonzero(diagonal) == len(covariance):
        return np.diag(1 / np.sqrt(diagonal))
    return np.asarray(np.linalg.inv(np.linalg.cholesky(covariance)), dtype=np.float64)


def _chi2(design: Array, residuals: Array, measured: Measured) -> float:
    """Smallest chi2 under all errors.

    A shared error in proportion to the values is taken in proportion to the model: otherwise it
    would count the scatter of the points as part of itself.
    """
    shared = [row for row in measured.shared if np.any(row)]
    if not shared:
        return float(np.sum((_whitening(measured.independent) @ residuals) ** 2))
    covariance = measured.independent.copy()
    for row in shared:
        smooth = row
        ratio = row / measured.y
        if np.std(ratio) * abs(np.mean(row)) < np.std(row) * abs(np.mean(ratio)):
            smooth = ratio * (measured.y - residuals)
        covariance += np.outer(smooth, smooth)
    whitened = _whitening(covariance) @ np.column_stack([design, residuals])
    columns, rest = whitened[:, :-1], whitened[:, -1]
    q = np.linalg.qr(columns / np.sqrt(np.sum(columns**2, axis=0)))[0]
    rest = rest - q @ (q.T @ rest)
    return float(rest @ rest)


def fit_line(measured: Measured) -> LinearFit:
    """Line y = p0 + p1 (x - center(measured))."""
    return fit_linear(line_design(measured.x, center(measured)), measured)


def fit_parabola(measured: Measured) -> LinearFit:
    """y = p0 + p1 (x - c) + p2 (x - c)^2 with c = center(measured)."""
    origin = center(measured)
    design = line_design(measured.x, origin)
    return fit_linear(np.column_stack([design, (measured.x - origin) ** 2]), measured)


def line_tests(measured: Measured) -> LineTests:
    """chi2, curvature and runs test of a straight line through at least two different x."""
    line = fit_line(measured)
    pull = 0.0
    if measured.distinct >= 3:
        curved = fit_parabola(measured)
        pull = float(curved.parameters[2] / sqrt(curved.covariance[2, 2]))
    return LineTests(line.chi2, line.ndf, line.p_value, pull, runs_p_value(line.residuals))


def runs_p_value(residuals: Array) -> float:
    """Probability of at most the observed number of runs of equal sign."""
    signs = np.sign(residuals[residuals != 0])
    up, down = int(np.sum(signs > 0)), int(np.sum(signs < 0))
    if not up or not down:
        return 1.0
    runs = 1 + int(np.sum(signs[1:] != signs[:-1]))
    ways = 0
    for r in range(2, runs + 1):
        half, odd = divmod(r, 2)
        if odd:
            ways += comb(up - 1, half) * comb(down - 1, half - 1)
            ways += comb(up - 1, half - 1) * comb(down - 1, half)
        else:
            ways += 2 * comb(up - 1, half - 1) * comb(down - 1, half - 1)
    return ways / comb(up + down, up)


def judge(measured: Measured) -> Judged:
    """Tell a straight line from one with outliers, a bend, or errors that are too small.

    A bend and outliers are compared by chi2, with 2 ln n per outlier for the choice among n
    points; outliers must be unique. Points that neither describes are bent when a quadratic term
    reduces chi2 by more than the scatter does (F test), and scattered otherwise; then all errors
    are multiplied by sqrt(chi2 / ndf).
    """
    tests = line_tests(measured)
    if tests.straight or measured.distinct < 3:
        return Judged("straight", measured, tests)
    parabola = fit_parabola(measured)
    outliers = _outliers(measured)
    fits_parabola = parabola.ndf > 0 and parabola.p_value >= GOOD_P_VALUE
    if outliers is not None:
        cost, rest = outliers
        if not fits_parabola or cost < parabola.chi2:
            return Judged("outliers", measured.part(rest), tests, _distances(measured, rest))
    if fits_parabola or parabola.ndf == 0 or tests.p_value >= LEAST_P_VALUE:
        return Judged("bent", measured, tests)
    gained = max(tests.chi2 - parabola.chi2, 0.0) * parabola.ndf / parabola.chi2
    if fdtrc(1, parabola.ndf, gained) < BEND_P_VALUE:
        return Judged("bent", measured, tests)
    scale = fit_line(measured).scale
    return Judged("scattered", measured.scaled(scale), tests, scale=scale)


def _outliers(measured: Measured) -> tuple[float, Mask] | None:
    """chi2 plus penalty, and mask of the rest, when one or two points explain the misfit."""
    n = len(measured.x)
    most = 2 if n >= LEAST_FOR_TWO_OUTLIERS else 1 if n >= LEAST_FOR_ONE_OUTLIER else 0
    candidates = _suspects(measured)
    for size in range(1, most + 1):
        found: list[tuple[float, Mask]] = []
        for group in combinations(candidates, size):
            keep = np.ones(n, dtype=bool)
            keep[list(group)] = False
            rest = measured.part(keep)
            if rest.distinct < 3:
                continue
            found.append((fit_line(rest).chi2, keep))
        found.sort(key=lambda pair: pair[0])
        if not found:
            return None
        best, keep = found[0]
        second = found[1][0] if len(found) > 1 else inf
        tests = line_tests(measured.part(keep))
        if tests.straight and tests.p_value >= GOOD_P_VALUE and second > best + OUTLIER_GAP:
            return best + 2 * size * log(n), keep
    return None


def _suspects(measured: Measured) -> Sequence[int]:
    """Places of the points whose absence improves the line most."""
    gain = []
    for place in range(len(measured.x)):
        rest = measured.part(np.arange(len(measured.x)) != place)
        gain.append(fit_line(rest).chi2 if rest.distinct >= 2 else inf)
    return [int(place) for place in np.argsort(gain)[:OUTLIER_CANDIDATES]]


def _distances(measured: Measured, keep: Mask) -> tuple[tuple[int, float], ...]:
    rest = measured.part(keep)
    line, origin = fit_line(rest), center(rest)
    found = []
    for place in np.flatnonzero(~keep):
        at = np.array([1.0, measured.x[place] - origin])
        error = sqrt(at @ line.covariance @ at + measured.independent[place, place])
        away = float(measured.y[place] - at @ line.parameters)
        found.append((int(place), away / error))
    return tuple(found)
