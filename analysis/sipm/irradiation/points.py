"""Least squares through measured points with errors, and its verdict in words."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import least_squares
from scipy.stats import chi2 as chi2_law

from analysis.estimate import Estimate, unknown
from analysis.sipm.irradiation.temperature import Array

LEAST_PROBABILITY = 1e-3


@dataclass(frozen=True)
class Points:
    """Usable points: x, y and the sigma of y, all (n,), and what was left out and why."""

    x: Array
    y: Array
    sigma: Array
    reasons: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.x)


@dataclass(frozen=True)
class LeastSquares:
    """Parameters (p,) with covariance (p, p); reasons say why there are none, or warn."""

    values: Array
    covariance: Array
    goodness: Mapping[str, float]
    reasons: tuple[str, ...]

    def estimate(self, index: int, unit: str, method: str, scale: float = 1.0) -> Estimate:
        """One parameter, times scale."""
        if not len(self.values):
            return unknown(unit, method, *self.reasons, goodness=self.goodness)
        return Estimate(
            float(self.values[index]) * scale,
            float(np.sqrt(self.covariance[index, index])) * abs(scale),
            unit,
            method,
            self.goodness,
            self.reasons,
        )


def usable_points(x: ArrayLike, y: ArrayLike, sigma: ArrayLike) -> Points:
    """Points with finite numbers and a positive sigma. Raises ValueError on unequal lengths."""
    arrays = [np.atleast_1d(np.asarray(values, dtype=np.float64)) for values in (x, y, sigma)]
    if len({array.shape for array in arrays}) > 1 or arrays[0].ndim > 1:
        raise ValueError(f"points need as many of each: {[array.shape for array in arrays]}")
    good = np.all(np.isfinite(arrays), axis=0) & (arrays[2] > 0)
    left_out = int(np.sum(~good))
    reasons = (f"{left_out} points left out: not finite, or without an error",) if left_out else ()
    return Points(arrays[0][good], arrays[1][good], arrays[2][good], reasons)


def nothing(*reasons: str) -> LeastSquares:
    """No answer, and why."""
    return LeastSquares(np.zeros(0), np.zeros((0, 0)), {}, reasons)


def fit_points(
    points: Points, model: Callable[[Array, Array], Array], start: Sequence[float] | Array
) -> LeastSquares:
    """Weighted least squares of model(x, parameters) from a start.

    A fit that the points contradict (p-value below 1e-3) says so, and its errors are scaled by
    sqrt(chi2/ndf). Parameters that the points do not determine are refused.
    """
    n, p = len(points), len(start)
    if n < p:
        return nothing(f"{n} usable points for {p} parameters", *points.reasons)

    def residuals(values: Array) -> Array:
        return np.asarray((points.y - model(points.x, values)) / points.sigma, dtype=np.float64)

    found = least_squares(residuals, np.asarray(start), jac="3-point", x_scale="jac", xtol=1e-12)
    scale = np.sqrt(np.sum(found.jac**2, axis=0))
    if not found.success or np.any(scale == 0):
        return nothing("the fit found no minimum", *points.reasons)
    information = (found.jac / scale).T @ (found.jac / scale)
    if np.linalg.cond(information) > 1e12:
        return nothing("the points do not determine all parameters", *points.reasons)
    covariance = np.linalg.inv(information) / np.outer(scale, scale)
    chi2, ndf = float(2 * found.cost), n - p
    if ndf == 0:
        return LeastSquares(
            found.x,
            covariance,
            {"chi2": chi2, "ndf": 0.0},
            ("no test of the model", *points.reasons),
        )
    probability = float(chi2_law.sf(chi2, ndf))
    reasons = points.reasons
    if probability < LEAST_PROBABILITY:
        covariance = covariance * chi2 / ndf
        reasons = (f"the points contradict the model: chi2/ndf {chi2:.3g}/{ndf}", *reasons)
    goodness = {"chi2": chi2, "ndf": float(ndf), "p_value": probability}
    return LeastSquares(found.x, covariance, goodness, reasons)
