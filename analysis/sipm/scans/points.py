"""The points of a scan, and what of them a fit can use."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analysis.estimate import Estimate

Array = NDArray[np.float64]
LEAST_RELATIVE_ERROR = 1e-7
Selection = slice | NDArray[np.bool_] | NDArray[np.int64]


@dataclass(frozen=True)
class ScanPoint:
    """The gain of one SiPM under one condition.

    bias_v: reverse bias, V.
    temperature_c: temperature of the SiPM in degrees Celsius; None where nobody measured it.
    gain: ADC/pe (or any other unit, the same for all points); its sigma is independent of the
        other points.
    shared_sigma: further error of this gain that all points have in common (the same sign and
        fully correlated), in the unit of the gain: 0.01 G for a charge scale known to 1 %, a
        constant for a common offset. Not part of gain.sigma.
    bias_sigma_v: independent error of the bias, V.
    light: amount of light in any unit: mean photoelectrons, mean charge or the lamp's setting.

    Raises ValueError on a negative or infinite error.
    """

    bias_v: float
    temperature_c: float | None
    gain: Estimate
    shared_sigma: float = 0.0
    bias_sigma_v: float = 0.0
    light: float | None = None

    def __post_init__(self) -> None:
        for name in ("shared_sigma", "bias_sigma_v"):
            error = getattr(self, name)
            if not (isfinite(error) and error >= 0):
                raise ValueError(f"{name} must be a number that is not negative, not {error}")


@dataclass(frozen=True)
class LeftOut:
    """A point that did not take part in a fit: its place in the list of points, and why."""

    index: int
    why: str


@dataclass(frozen=True)
class Measured:
    """Values with the covariance of their errors.

    x, y: (n,). independent: (n, n) covariance that weights a fit. shared: (k, n), every row an
    error that moves all points together. index: (n,) places of the points in the caller's list.
    """

    x: Array
    y: Array
    independent: Array
    shared: Array
    index: NDArray[np.int64]

    @property
    def covariance(self) -> Array:
        """(n, n) covariance of all errors."""
        return np.asarray(self.independent + self.shared.T @ self.shared, dtype=np.float64)

    @property
    def sigma(self) -> Array:
        """(n,) independent error of every value."""
        return np.asarray(np.sqrt(np.diag(self.independent)), dtype=np.float64)

    @property
    def distinct(self) -> int:
        """Number of different x; below a millionth of the largest they are the same."""
        if not len(self.x):
            return 0
        steps = np.diff(np.sort(self.x)) > 1e-6 * np.abs(self.x).max()
        return 1 + int(np.sum(steps))

    def part(self, keep: Selection) -> "Measured":
        """The points that a slice, a mask or places keep."""
        rows = np.arange(len(self.x))[keep]
        return Measured(
            self.x[rows],
            self.y[rows],
            self.independent[np.ix_(rows, rows)],
            self.shared[:, rows],
            self.index[rows],
        )

    def scaled(self, factor: float) -> "Measured":
        """The same values with all independent errors multiplied by a factor."""
        return Measured(self.x, self.y, factor**2 * self.independent, self.shared, self.index)

    def moved(self, x: Array) -> "Measured":
        """The same values at other x."""
        return Measured(x, self.y, self.independent, self.shared, self.index)

    def with_error(self, row: Array) -> "Measured":
        """The same values with one more error that moves all points together, (n,)."""
        shared = np.vstack([self.shared, row[None, :]])
        return Measured(self.x, self.y, self.independent, shared, self.index)


def usable(
    points: Sequence[ScanPoint], x: Sequence[float | None], covariance: ArrayLike | None
) -> tuple[Measured, tuple[LeftOut, ...]]:
    """The points with a known gain and a known x, in rising order of x; and the others.

    covariance: (n, n) of the gains of all points, in place of their sigma and shared_sigma; rows
        of points that are left out are dropped.

    Raises ValueError on a covariance that is none: wrong shape, not symmetric, not positive.
    """
    given = None if covariance is None else checked_covariance(covariance, len(points))
    left_out = []
    rows = []
    for index, (point, at) in enumerate(zip(points, x, strict=True)):
        why = _why_not(point, at, has_error=given is not None)
        if why:
            left_out.append(LeftOut(index, why))
        else:
            rows.append(index)
    rows.sort(key=lambda index: (x[index] or 0.0, index))
    gain = np.array([points[index].gain.value for index in rows], dtype=np.float64)
    if given is None:
        sigma = np.array([points[index].gain.sigma for index in rows], dtype=np.float64)
        independent = np.diag(sigma**2)
        shared = np.array([[points[index].shared_sigma for index in rows]], dtype=np.float64)
    else:
        independent = given[np.ix_(rows, rows)]
        shared = np.zeros((1, len(rows)))
    at_x = np.array([x[index] for index in rows], dtype=np.float64)
    return (
        Measured(at_x, gain, independent, shared, np.array(rows, dtype=np.int64)),
        tuple(left_out),
    )


def checked_covariance(covariance: ArrayLike, n: int) -> Array:
    """A covariance as an array; ValueError when it cannot be one of n values."""
    matrix = np.asarray(covariance, dtype=np.float64)
    if matrix.shape != (n, n):
        raise ValueError(f"the covariance of {n} points is {n} x {n}, not {matrix.shape}")
    if not np.all(np.isfinite(matrix)) or not np.allclose(matrix, matrix.T, rtol=1e-9, atol=0.0):
        raise ValueError("a covariance is finite and symmetric")
    scale = np.sqrt(np.maximum(np.diag(matrix), 0.0))
    if n and (
        np.any(scale == 0)
        or np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0] <= n * np.finfo(np.float64).eps
    ):
        raise ValueError("a covariance is positive definite")
    return matrix


def mixed_units(points: Sequence[ScanPoint]) -> str:
    """Why the gains cannot be compared; empty when they all have one unit."""
    units = sorted({point.gain.unit for point in points if point.gain.known})
    return f"the gains have different units: {', '.join(units)}" if len(units) > 1 else ""


def gain_unit(points: Sequence[ScanPoint]) -> str:
    """The unit of the gains."""
    return next((point.gain.unit for point in points if point.gain.known), "ADC/pe")


def _why_not(point: ScanPoint, x: float | None, *, has_error: bool) -> str:
    if point.gain.value is None:
        return f"has no value: {'; '.join(point.gain.reasons)}"
    if x is None or not isfinite(x):
        return "has no known place in the scan"
    if point.gain.value <= 0:
        return f"has a value of {point.gain.value:.4g}, which cannot be"
    sigma = point.gain.sigma or 0.0
    if not has_error and sigma < LEAST_RELATIVE_ERROR * point.gain.value:
        return f"has a gain with an error of {sigma:.2g}, which is none"
    return ""
