"""Spacing of the peaks of a spectrum, without a model for their heights."""

from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.optimize import least_squares, nnls
from scipy.special import ndtr

from analysis.sipm.seeds import Seeds, Working

LEAST_HEIGHT = 0.02
LEAST_CONTRAST = 0.15
CLEAR_CONTRAST = 0.5
LEAST_PEAKS = 3
LEAST_RELATIVE_ERROR = 3e-3
MAX_DRAWN = 60
ROOT_TWO_PI = float(np.sqrt(2 * np.pi))

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Spacing:
    """Common spacing of the peaks, ADC, from straight lines through their positions.

    by_top and by_shape are the results of the two ways of locating a peak. sigma contains the
    scatter of the positions about the line, half the difference of the two, and 0.3 % for what
    pulls neighbouring peaks alike (pile-up, filled valleys, a threshold).
    contrast: 1 minus valley over peak, mean of all peaks but the clearest one.
    site, position, width: (m,) the peaks used; width is their Gaussian sigma in ADC.
    """

    value: float
    sigma: float
    by_top: float
    by_shape: float
    contrast: float
    site: Array
    position: Array
    width: Array


def peak_spacing(working: Working, seeds: Seeds) -> Spacing | None:
    """Locate every main peak twice, by its top and by its shape, and measure the spacing.

    Main peaks are at least 2 % as high as the highest and stand out of the valleys by at least
    15 % of their height. The top of a peak is the vertex of a parabola through the logarithm of
    the counts within one standard deviation: a neighbour's tail pulls it. The shape is a Gaussian
    on a straight sloping background, which takes that tail away as long as the valleys show it.
    Where valleys are filled to more than half on average they do not, and the mean of the two is
    taken. In bins too coarse for a top the shape stands for both. None with fewer than three main
    peaks.
    """
    main = _main_peaks(working, seeds)
    found = []
    for number, start, contrast in main:
        shape = _shape(working, start, seeds.spacing)
        if shape is not None:
            top = _top(working, start, seeds.spacing) or shape[:2]
            found.append((number, *top, *shape, contrast))
    if len(found) < LEAST_PEAKS:
        return None
    k, top_at, top_error, shape_at, shape_error, width, contrasts = np.array(found).T
    by_top, top_sigma = _line(k, top_at, top_error)
    by_shape, shape_sigma = _line(k, shape_at, shape_error)
    contrast = float(np.sort(contrasts)[:-1].mean())
    value = by_shape if contrast > CLEAR_CONTRAST else 0.5 * (by_top + by_shape)
    sigma = hypot(
        max(top_sigma, shape_sigma), 0.5 * (by_top - by_shape), LEAST_RELATIVE_ERROR * value
    )
    return Spacing(value, sigma, by_top, by_shape, contrast, k, shape_at, width)


def peaks_beside(seeds: Seeds) -> float:
    """Share of the peaks that do not lie on the lattice."""
    return float(np.mean(~_on_lattice(seeds)[1]))


def _on_lattice(seeds: Seeds) -> tuple[Array, NDArray[np.bool_]]:
    """Site number of every peak, counted from the highest one, and whether it lies there."""
    away = seeds.position - seeds.position[np.argmax(seeds.height)]
    steps = np.rint(away / seeds.spacing)
    allowed = 0.2 * seeds.spacing * np.maximum(1.0, 0.25 * np.abs(steps))
    return steps, np.abs(away - steps * seeds.spacing) < np.minimum(allowed, 0.35 * seeds.spacing)


def _main_peaks(working: Working, seeds: Seeds) -> list[tuple[float, float, float]]:
    """Site number, position and contrast of the main peaks that lie on the lattice."""
    steps, use = _on_lattice(seeds)
    use &= seeds.height >= LEAST_HEIGHT * seeds.height.max()
    _, index = np.unique(steps[use], return_index=True)
    peaks = [(float(steps[use][i]), float(seeds.position[use][i])) for i in index]
    contrasts = [(k, at, _contrast(working, at, seeds.spacing)) for k, at in peaks]
    return [peak for peak in contrasts if peak[2] >= LEAST_CONTRAST]


def _contrast(working: Working, position: float, spacing: float) -> float:
    """1 minus the fuller of the two valleys over the peak."""
    entries = np.append(0.0, np.cumsum(working.counts))
    at = position + spacing * np.linspace(-0.75, 0.75, 16)
    cell = np.diff(np.interp(at, working.edges, entries))
    peak = cell[6:9].max()
    return float(1 - max(cell[:5].min(), cell[-5:].min()) / peak) if peak > 0 else 0.0


def _top(working: Working, start: float, spacing: float) -> tuple[float, float] | None:
    """Position and statistical error of a peak: log counts as a parabola, Poisson likelihood."""
    center, half = start, 0.18 * spacing
    for _ in range(5):
        use = np.abs(working.centers - center) <= max(half, 2.1 * working.width)
        x, y = (working.centers[use] - center) / half, working.counts[use]
        if len(x) < 4 or y.sum() < 12:
            return None
        a, covariance = _parabola(x, y)
        if a[2] >= -0.05:
            return None
        shift = -a[1] / (2 * a[2]) * half
        slope = np.array([0.0, -1 / (2 * a[2]), a[1] / (2 * a[2] ** 2)])
        sigma = half * sqrt(max(float(slope @ covariance @ slope), 0.0))
        position = center + shift
        if abs(position - start) > 0.3 * spacing:
            return None
        if abs(shift) < 0.3 * working.width:
            return position, sigma
        half = float(np.clip(half / sqrt(-2 * a[2]), 0.08 * spacing, 0.25 * spacing))
        center = position
    return position, sigma


def _parabola(x: Array, y: Array) -> tuple[Array, Array]:
    """Poisson regression of counts on exp(a0 + a1 x + a2 x^2): a (3,) and its covariance."""
    basis = np.stack([np.ones_like(x), x, x * x], axis=1)
    expected = y + 0.5
    for _ in range(8):
        normal = basis.T @ (basis * expected[:, None])
        normal += 1e-9 * np.trace(normal) * np.eye(3)
        log = np.log(expected)
        a = np.linalg.solve(normal, basis.T @ (expected * log + y - expected))
        updated = np.exp(np.clip(basis @ a, -20, 50))
        if np.allclose(updated, expected, rtol=1e-6):
            break
        expected = updated
    return a.astype(np.float64), np.linalg.inv(normal).astype(np.float64)


def _shape(working: Working, start: float, spacing: float) -> tuple[float, float, float] | None:
    """Position, its statistical error, and width from a Gaussian on a sloping background.

    The Gaussian is averaged over the bins, so bins may be as wide as the peak.
    """
    half = max(0.3 * spacing, min(3.6 * working.width, 0.55 * spacing))
    use = np.abs(working.centers - start) <= half
    if np.count_nonzero(use) < 6:
        return None
    low_edge = (working.edges[:-1][use] - start) / spacing
    high_edge = (working.edges[1:][use] - start) / spacing
    x, y = 0.5 * (low_edge + high_edge), working.counts[use]
    error = np.sqrt(np.maximum(gaussian_filter1d(y, 1.0), 1.0))
    low, high = float(y.min()), float(y.max())

    def residual(p: Array) -> Array:
        inside = ndtr((high_edge - p[1]) / p[2]) - ndtr((low_edge - p[1]) / p[2])
        bell = p[0] * inside * p[2] * ROOT_TWO_PI / (high_edge - low_edge)
        return np.asarray((bell + p[3] + p[4] * x - y) / error, dtype=np.float64)

    fit = least_squares(residual, [high - low, 0.0, 0.13, low, 0.0], max_nfev=60, method="lm")
    amplitude, shift, width = fit.x[:3]
    if not np.all(np.isfinite(fit.x)) or amplitude <= 0 or abs(shift) > 0.3:
        return None
    if not 0.02 < abs(width) < 0.6:
        return None
    covariance = np.linalg.pinv(fit.jac.T @ fit.jac)
    return (
        float(start + shift * spacing),
        float(spacing * sqrt(covariance[1, 1])),
        float(abs(width) * spacing),
    )


def _line(k: Array, position: Array, sigma: Array) -> tuple[float, float]:
    """Slope and its error; a scatter common to all points is added until chi2 is ndf."""
    scatter = 0.0
    for _ in range(40):
        weight = 1.0 / (sigma**2 + scatter**2)
        mean_k = float(weight @ k / weight.sum())
        mean_position = float(weight @ position / weight.sum())
        spread = float(weight @ (k - mean_k) ** 2)
        slope = float(weight @ ((k - mean_k) * (position - mean_position)) / spread)
        rest = position - mean_position - slope * (k - mean_k)
        excess = float(weight @ rest**2) / (len(k) - 2)
        if excess <= 1.02:
            break
        free = float(rest @ rest) / (len(k) - 2)
        scatter = sqrt(max(scatter**2 * excess, 0.05 * free))
    return slope, sqrt(1.0 / spread)


def peak_width(working: Working, position: float, spacing: float) -> float:
    """Gaussian sigma of a peak from the curvature of its top, ADC; else 15 % of spacing."""
    half = max(0.22 * spacing, 2.1 * working.width)
    use = np.abs(working.centers - position) <= half
    x, y = (working.centers[use] - position) / half, working.counts[use]
    if len(x) < 4 or y.sum() < 12:
        return 0.15 * spacing
    a, _ = _parabola(x, y)
    return float(np.clip(half / sqrt(max(-2 * a[2], 0.1)), 0.03 * spacing, 0.4 * spacing))


def drawn_peaks(working: Working, spacing: Spacing) -> Array:
    """Gaussians and filled valleys that describe the whole spectrum, (m,) counts per bin."""
    k0 = spacing.position[0] - spacing.value * spacing.site[0]
    first = int(np.floor((working.edges[0] - k0) / spacing.value))
    last = min(int(np.ceil((working.edges[-1] - k0) / spacing.value)), first + MAX_DRAWN)
    site = np.arange(first, last + 1, dtype=np.float64)
    measured = np.interp(site, spacing.site, spacing.position)
    inside = (site >= spacing.site[0]) & (site <= spacing.site[-1])
    nearest = np.where(site < spacing.site[0], spacing.site[0], spacing.site[-1])
    beyond = np.interp(nearest, spacing.site, spacing.position) + (site - nearest) * spacing.value
    at = np.where(inside, measured, beyond)
    width = np.interp(site, spacing.site, spacing.width)
    below = ndtr((working.edges[:, None] - at) / width)
    peaks = np.diff(below, axis=0)
    valleys = working.width / spacing.value * (below[1:, :-1] - below[1:, 1:])
    basis = np.concatenate([peaks, np.maximum(valleys, 0.0)], axis=1)
    error = np.sqrt(np.maximum(working.counts, 1.0))
    shares, _ = nnls(basis / error[:, None], working.counts / error)
    return np.asarray(basis @ shares, dtype=np.float64)
