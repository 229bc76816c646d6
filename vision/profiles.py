"""Grey profiles across edges, fitted by blurred steps to a small part of a pixel."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

DARK_SIGMA_REL = 0.03
"""How well the dark level inside a gap is known, relative to the step at its edges."""

_FIT_INSIDE_PX = 4.0
_FIT_OUTSIDE_PX = 7.0
_FIT_BEFORE, _FIT_AFTER = 6, 12
_GAP_LIMIT_PX = 8.0
_ITERATIONS = 4
_SHADE_PX, _SHADE_REL = 5.0, 0.25
_GLOW_PX, _GLOW_REL = 8.0, 0.3
_BLUR_SIGMA_REL = 0.3
_BLUR_PROFILES = 40
_MIN_STEP_DN = 8.0
_MIN_BLUR_PX = 0.3

# Parameters of one profile.
_BRIGHT, _SHADE, _DARK, _GLOW, _EDGE, _FAR, _FAR_EDGE, _BLUR = range(8)

_Rows = NDArray[np.float64]


@dataclass(frozen=True)
class Profiles:
    """Grey values across an edge, (n, m), at t in pixels, with their starting points."""

    grey: _Rows
    t_px: _Rows
    edge_px: _Rows
    far_px: _Rows
    seen: NDArray[np.bool_]


@dataclass(frozen=True)
class FittedProfiles:
    """Places of the edge (n,) in pixels, the levels beside it, and which profiles are good.

    ``open_dn`` is the darkest grey value outside an edge that has no neighbour, else NaN.
    ``dark_pull`` is how far the edge moves, in pixels, per grey value of error in the assumed
    dark level, which a gap narrower than the blur can't show by itself.
    """

    edge_px: _Rows
    bright_dn: _Rows
    dark_dn: _Rows
    open_dn: _Rows
    dark_pull: _Rows
    good: NDArray[np.bool_]


def _crossing(values: _Rows, level: _Rows, first: NDArray[np.int64]) -> _Rows:
    """Index after ``first`` where each row rises through its level, linear between samples."""
    n, m = values.shape
    columns = np.arange(m)
    above = (values >= level[:, None]) & (columns[None, :] > first[:, None])
    at = np.argmax(above, axis=1)
    rows = np.arange(n)
    before, after = values[rows, np.maximum(at - 1, 0)], values[rows, at]
    step = np.where(np.abs(after - before) > 1e-9, after - before, 1.0)
    place = at - 1 + np.clip((level - before) / step, 0.0, 1.0)
    return np.where(above.any(axis=1), place, np.inf)


def start_profiles(grey: _Rows, t_px: _Rows) -> Profiles:
    """Initial places of the edge and of a neighbour's edge across a gap."""
    n, m = grey.shape
    filled = np.nan_to_num(grey, nan=0.0)
    fall = np.zeros_like(filled)
    fall[:, 1:-1] = filled[:, :-2] - filled[:, 2:]
    near = np.abs(t_px) <= 6.0
    first = np.argmax(np.where(near[None, :], fall, -np.inf), axis=1)
    rows = np.arange(n)
    columns = np.arange(m)
    plateau = np.mean(
        filled[rows[:, None], np.clip(first[:, None] + np.arange(-4, -1)[None, :], 0, m - 1)],
        axis=1,
    )
    behind = (columns[None, :] >= first[:, None]) & (columns[None, :] <= first[:, None] + 8)
    floor_at = np.argmin(np.where(behind, filled, np.inf), axis=1)
    floor = filled[rows, floor_at]
    half = (plateau + floor) / 2.0
    far = _crossing(filled, half, floor_at.astype(np.int64))
    falling = _crossing(-filled, -half, (first - 3).astype(np.int64))
    edge = np.where(np.isfinite(falling), falling, first.astype(np.float64))
    far_px = np.where(far - edge <= _GAP_LIMIT_PX, far + t_px[0], np.inf)
    seen = (plateau - floor > _MIN_STEP_DN) & np.isfinite(grey).all(axis=1)
    return Profiles(grey, t_px, edge + t_px[0], far_px, seen)


def _model(p: _Rows, t: _Rows) -> tuple[_Rows, _Rows]:
    """Profiles (n, m) and their derivatives (n, 8, m) for parameters p (n, 8) at t (n, m)."""
    width = p[:, _BLUR, None]
    x, x_far = t - p[:, _EDGE, None], t - p[:, _FAR_EDGE, None]
    z, z_far = x / width, x_far / width
    inside, far = ndtr(-z), ndtr(z_far)
    norm = 1.0 / (np.sqrt(2.0 * np.pi) * width)
    density, far_density = np.exp(-0.5 * z * z) * norm, np.exp(-0.5 * z_far * z_far) * norm
    shade = _near(-x, _SHADE_PX)
    far_shade = _near(x_far, _SHADE_PX)
    glow = _near(x, _GLOW_PX)
    bright = p[:, _BRIGHT, None] + p[:, _SHADE, None] * shade
    dark = p[:, _DARK, None] + p[:, _GLOW, None] * glow
    beyond = p[:, _FAR, None] + p[:, _SHADE, None] * far_shade
    fall, rise = bright - dark, beyond - dark
    between = 1.0 - inside - far
    slopes = np.empty((len(p), 8, t.shape[1]))
    slopes[:, _BRIGHT] = inside
    slopes[:, _SHADE] = inside * shade + far * far_shade
    slopes[:, _DARK] = between
    slopes[:, _GLOW] = between * glow
    slopes[:, _EDGE] = fall * density
    slopes[:, _FAR] = far
    slopes[:, _FAR_EDGE] = -rise * far_density
    slopes[:, _BLUR] = fall * density * z - rise * far_density * z_far
    return dark + fall * inside + rise * far, slopes


def _near(away_px: _Rows, reach_px: float) -> _Rows:
    """1 at an edge, falling to 0 with zero slope ``reach_px`` away from it."""
    share = np.clip(1.0 - away_px / reach_px, 0.0, 1.0)
    return np.asarray(share * share)


def _gap_edges(
    start: Profiles,
    grey: _Rows,
    t: _Rows,
    blur_px: float,
    bright: _Rows,
    dark: _Rows,
) -> tuple[_Rows, _Rows]:
    """Starting places of the edges; a narrow dip shows its middle and, by its area, its width."""
    gap = np.isfinite(start.far_px)
    far = np.where(gap, start.far_px, start.edge_px + 30.0)
    width = far - start.edge_px
    dip = gap[:, None] & (t >= (start.edge_px - 4.0)[:, None]) & (t <= (far + 4.0)[:, None])
    missing = (np.maximum(bright[:, None] - grey, 0.0) * dip).sum(axis=1)
    narrow = gap & (width < 6.0 * blur_px)
    width = np.where(narrow, missing / np.maximum(bright - dark, 8.0), width)
    middle = (start.edge_px + far) / 2.0
    return (
        np.where(gap, middle - width / 2.0, start.edge_px),
        np.where(gap, middle + width / 2.0, far),
    )


def _estimate_blur(start: Profiles) -> float:
    """Standard deviation in pixels of the edge's blur, from the steepest fall of each profile."""
    usable = start.seen
    if usable.sum() < 4:
        return 1.0
    grey = start.grey[usable]
    edge = start.edge_px[usable]
    t = start.t_px
    fall = grey[:, :-1] - grey[:, 1:]
    middle = (t[:-1] + t[1:]) / 2.0
    rows = np.arange(len(edge))
    at = np.clip(np.round(edge - middle[0]).astype(np.int64), 2, fall.shape[1] - 3)
    steepest = np.max(
        fall[rows[:, None], np.clip(at[:, None] + np.arange(-2, 3), 0, fall.shape[1] - 1)], axis=1
    )
    column = np.clip(np.round(edge - t[0]).astype(np.int64), 5, t.size - 6)
    bright = grey[rows[:, None], column[:, None] + np.arange(-4, -2)].mean(axis=1)
    dark = grey[rows[:, None], np.clip(column[:, None] + np.arange(1, 6), 0, t.size - 1)].min(
        axis=1
    )
    ratio = float(np.median(steepest / np.maximum(bright - dark, 1.0)))
    # A difference over one pixel of an edge of blur b peaks at 2 Phi(1 / 2b) - 1.
    grid = np.linspace(0.4, 6.0, 113)
    peaks = 2.0 * ndtr(0.5 / grid) - 1.0
    return float(np.interp(-ratio, -peaks, grid))


@dataclass(frozen=True)
class _Problem:
    """Samples (n, m) with their weights, and priors (n, 7) of the parameters."""

    t: _Rows
    grey: _Rows
    use: NDArray[np.bool_]
    weight: _Rows
    centre: _Rows
    prior: _Rows
    contrast: _Rows
    floor: _Rows
    gap: NDArray[np.bool_]


def _problem(start: Profiles, blur_px: float, blur_sigma_px: float, dark_dn: float) -> _Problem:
    t_all, n = start.t_px, start.grey.shape[0]
    gap = np.isfinite(start.far_px)
    edge_at = np.round(start.edge_px - t_all[0]).astype(np.int64)[:, None]
    column = np.clip(edge_at + np.arange(-_FIT_BEFORE, _FIT_AFTER + 1), 0, t_all.size - 1)
    again = np.zeros(column.shape, dtype=bool)
    again[:, 1:] = column[:, 1:] == column[:, :-1]
    grey = np.nan_to_num(start.grey, nan=0.0)[np.arange(n)[:, None], column]
    t = t_all[column]
    zero = _FIT_BEFORE
    bright = grey[:, zero - 4 : zero - 1].mean(axis=1)
    floor = grey[:, zero : zero + 8].min(axis=1)
    contrast = np.maximum(bright - floor, _MIN_STEP_DN)
    beside = grey[:, zero + 2 : zero + 5].mean(axis=1)
    dark = np.where(gap, np.minimum(dark_dn, floor), beside)
    edge, far = _gap_edges(start, grey, t, blur_px, bright, dark)
    level = np.zeros(n)
    centre = np.column_stack(
        (
            bright,
            level,
            dark,
            level,
            edge,
            np.where(gap, bright, beside),
            far,
            np.full(n, blur_px),
        )
    )
    spread = np.column_stack(
        (
            0.5 * contrast,
            _SHADE_REL * contrast,
            np.where(gap, DARK_SIGMA_REL, 0.5) * contrast,
            np.where(gap, 0.005, _GLOW_REL) * contrast,
            np.full(n, 4.0),
            np.where(gap, 0.5 * contrast, 1e-3),
            np.where(gap, 4.0, 1e-3),
            np.full(n, blur_sigma_px),
        )
    )
    last = np.where(gap, far + 4.0, edge + _FIT_OUTSIDE_PX)[:, None]
    use = (t >= (edge - _FIT_INSIDE_PX)[:, None]) & (t <= last) & ~again
    weight = use / (0.012 * contrast + 0.5)[:, None] ** 2
    return _Problem(t, grey, use, weight, centre, 1.0 / spread**2, contrast, floor, gap)


def _solve(problem: _Problem) -> tuple[_Rows, _Rows]:
    """Gauss-Newton: parameters (n, 8) and the last normal matrices (n, 8, 8)."""
    p = problem.centre.copy()
    diagonal = np.arange(8)
    matrix = np.empty((len(p), 8, 8))
    for _ in range(_ITERATIONS):
        values, slopes = _model(p, problem.t)
        weighted = slopes * problem.weight[:, None, :]
        matrix = np.matmul(weighted, slopes.transpose(0, 2, 1))
        matrix[:, diagonal, diagonal] += problem.prior
        gradient = np.matmul(weighted, (problem.grey - values)[..., None])[..., 0]
        gradient += problem.prior * (problem.centre - p)
        step = np.linalg.solve(matrix, gradient[..., None])[..., 0]
        for place in (_EDGE, _FAR_EDGE):
            np.clip(step[:, place], -1.0, 1.0, out=step[:, place])
        p += step
        np.maximum(p[:, _BLUR], _MIN_BLUR_PX, out=p[:, _BLUR])
    return p, matrix


def fit_blur(start: Profiles, dark_dn: float) -> float:
    """The blur that all edges of a picture share, in pixels: the median of some of them."""
    rough = _estimate_blur(start)
    chosen = np.flatnonzero(start.seen)
    chosen = chosen[:: max(len(chosen) // _BLUR_PROFILES, 1)]
    if len(chosen) < 4:
        return rough
    some = Profiles(
        start.grey[chosen],
        start.t_px,
        start.edge_px[chosen],
        start.far_px[chosen],
        start.seen[chosen],
    )
    p, _ = _solve(_problem(some, rough, _BLUR_SIGMA_REL * rough, dark_dn))
    return float(np.median(p[:, _BLUR]))


def fit_profiles(start: Profiles, blur_px: float, dark_dn: float) -> FittedProfiles:
    """Fit all profiles at once, with weak priors on all parameters but the edge.

    ``blur_px`` is the blur of the edges, ``dark_dn`` the expected grey value at the bottom of a
    gap between two bright tiles.
    """
    problem = _problem(start, blur_px, 1e-4, dark_dn)
    p, matrix = _solve(problem)
    values, _ = _model(p, problem.t)
    square = (problem.use * (problem.grey - values) ** 2).sum(axis=1)
    rms = np.sqrt(square / np.maximum(problem.use.sum(axis=1) - 5, 1))
    pull = np.zeros(len(p))
    gap = problem.gap
    if gap.any():
        unit = np.zeros((int(gap.sum()), 8, 1))
        unit[:, _DARK, 0] = problem.prior[gap, _DARK]
        pull[gap] = np.linalg.solve(matrix[gap], unit)[:, _EDGE, 0]
    near_start = np.abs(p[:, _EDGE] - start.edge_px) < 2.5
    good = start.seen & near_start & (rms < 0.25 * problem.contrast)
    open_dn = np.where(gap, np.nan, problem.floor)
    return FittedProfiles(p[:, _EDGE], p[:, _BRIGHT], p[:, _DARK], open_dn, pull, good)
