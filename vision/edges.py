"""Straight edges to a few micrometres: profile fits across the edge, a robust line along it."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from vision.camera import CameraModel
from vision.outline import EdgeFrame, Picture, Points, sample

_BLOCK_ROWS = 6
_INSIDE_PX = 10
_OUTSIDE_PX = 12
_FIT_INSIDE_PX = 4.5
_FIT_OUTSIDE_PX = 6.0
_GAP_LIMIT_PX = 8.0
_ITERATIONS = 7
_DARK_SIGMA_REL = 0.04
_MODEL_SIGMA_PX = 0.03

# Parameters of one profile.
_BRIGHT, _BRIGHT_SLOPE, _DARK, _DARK_SLOPE, _EDGE, _FAR, _FAR_EDGE = range(7)


@dataclass(frozen=True)
class EdgeLine:
    """A fitted edge: the line t = offset + slope * s of ``frame``, with s from its middle.

    Attributes:
        frame: where s and t are measured.
        offset_mm, slope: the line.
        offset_sigma_mm, slope_sigma: their standard deviations, uncorrelated about s = 0.
        rms_mm: scatter of the accepted profiles about the line.
        share: share of the profiles that agree with the line.
        s_mm, t_mm: places of all profiles, (n,); t is NaN where no edge was seen.
        contrast_dn: median grey step across the edge.
        blur_px: standard deviation of the edge's blur.
        bright_dn, dark_dn: median grey beside the edge.
    """

    frame: EdgeFrame
    offset_mm: float
    slope: float
    offset_sigma_mm: float
    slope_sigma: float
    rms_mm: float
    share: float
    s_mm: Points
    t_mm: Points
    contrast_dn: float
    blur_px: float
    bright_dn: float
    dark_dn: float

    @property
    def fitted(self) -> EdgeFrame:
        """The fitted line as a frame of its own."""
        return self.frame.moved(self.offset_mm, self.slope)


@dataclass(frozen=True)
class _Profiles:
    """Grey values across an edge, (n, m), at t in pixels, with their starting points."""

    grey: NDArray[np.float64]
    t_px: NDArray[np.float64]
    edge_px: NDArray[np.float64]
    far_px: NDArray[np.float64]
    seen: NDArray[np.bool_]


def _block_profiles(
    picture: Picture, camera: CameraModel, frame: EdgeFrame, margin_mm: float, block_rows: int
) -> tuple[Points, NDArray[np.float64], NDArray[np.float64]]:
    px = camera.mm_per_px
    blocks = max(int((frame.length_mm - 2.0 * margin_mm) / (px * block_rows)), 4)
    rows = blocks * block_rows
    s_mm = (np.arange(rows) - (rows - 1) / 2.0) * px
    t_px = np.arange(-_INSIDE_PX, _OUTSIDE_PX + 1, dtype=np.float64)
    strip = sample(picture, camera, frame, s_mm, t_px * px, interpolation=cv2.INTER_CUBIC)
    grey = strip.reshape(blocks, block_rows, -1).mean(axis=1, dtype=np.float64)
    return s_mm.reshape(blocks, block_rows).mean(axis=1), grey, t_px


def _crossing(
    values: NDArray[np.float64], level: NDArray[np.float64], first: NDArray[np.int64]
) -> NDArray[np.float64]:
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


def _start(grey: NDArray[np.float64], t_px: NDArray[np.float64]) -> _Profiles:
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
    seen = (plateau - floor > 8.0) & np.isfinite(grey).all(axis=1)
    return _Profiles(grey, t_px, edge + t_px[0], far_px, seen)


def _model(
    p: NDArray[np.float64], t: NDArray[np.float64], blur: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Profiles (n, m) and their derivatives (n, m, 7) for parameters p (n, 7)."""
    x = t[None, :] - p[:, _EDGE, None]
    z = x / blur[:, None]
    inside = ndtr(-z)
    density = np.exp(-0.5 * z * z) / (np.sqrt(2.0 * np.pi) * blur[:, None])
    z_far = (t[None, :] - p[:, _FAR_EDGE, None]) / blur[:, None]
    far = ndtr(z_far)
    far_density = np.exp(-0.5 * z_far * z_far) / (np.sqrt(2.0 * np.pi) * blur[:, None])
    bright_ramp, dark_ramp = np.minimum(x, 0.0), np.maximum(x, 0.0)
    bright = p[:, _BRIGHT, None] + p[:, _BRIGHT_SLOPE, None] * bright_ramp
    dark = p[:, _DARK, None] + p[:, _DARK_SLOPE, None] * dark_ramp
    rise = p[:, _FAR, None] - dark
    values = dark + (bright - dark) * inside + rise * far
    slopes = np.empty((*values.shape, 7))
    slopes[..., _BRIGHT] = inside
    slopes[..., _BRIGHT_SLOPE] = inside * bright_ramp
    slopes[..., _DARK] = 1.0 - inside - far
    slopes[..., _DARK_SLOPE] = (1.0 - inside - far) * dark_ramp
    slopes[..., _EDGE] = (bright - dark) * density
    slopes[..., _FAR] = far
    slopes[..., _FAR_EDGE] = -rise * far_density
    return values, slopes


@dataclass(frozen=True)
class _Fitted:
    edge_px: NDArray[np.float64]
    dark_pull: NDArray[np.float64]
    parameters: NDArray[np.float64]
    chi_dn: NDArray[np.float64]
    good: NDArray[np.bool_]


def _fit_profiles(start: _Profiles, *, blur_px: float, dark_dn: float) -> _Fitted:
    """Gauss-Newton fits of all profiles at once, with weak priors on all but the edge.

    ``dark_pull`` is how far the edge moves, in pixels, per grey value of error in the prior
    of the dark level, which a gap narrower than the blur can't show by itself.
    """
    t, n = start.t_px, start.grey.shape[0]
    grey = np.nan_to_num(start.grey, nan=0.0)
    gap = np.isfinite(start.far_px)
    columns = np.arange(t.size)[None, :]
    edge_at = np.round(start.edge_px - t[0]).astype(np.int64)[:, None]

    def mean_between(low: int, high: int) -> NDArray[np.float64]:
        part = (columns >= edge_at + low) & (columns <= edge_at + high)
        return np.asarray((grey * part).sum(axis=1) / np.maximum(part.sum(axis=1), 1))

    bright = mean_between(-4, -2)
    floor = np.where((columns >= edge_at) & (columns <= edge_at + 7), grey, np.inf).min(axis=1)
    contrast = np.maximum(bright - floor, 8.0)
    open_dark = mean_between(2, 4)
    dark_prior = np.where(gap, np.minimum(dark_dn, floor), open_dark)
    # A narrow dip shows its place and its area; with the dark level these give both edges.
    far_start = np.where(gap, start.far_px, start.edge_px + 30.0)
    width = far_start - start.edge_px
    dip = np.where(gap[:, None] & (columns >= edge_at - 4) & (columns <= edge_at + 12), 1.0, 0.0)
    dip *= t[None, :] <= (far_start + 4.0)[:, None]
    missing = (np.maximum(bright[:, None] - grey, 0.0) * dip).sum(axis=1)
    true_width = np.where(
        gap & (width < 6.0 * blur_px), missing / np.maximum(bright - dark_prior, 8.0), width
    )
    middle = (start.edge_px + far_start) / 2.0
    edge_start = np.where(gap, middle - true_width / 2.0, start.edge_px)
    far_start = np.where(gap, middle + true_width / 2.0, far_start)

    p = np.zeros((n, 7))
    p[:, _BRIGHT], p[:, _DARK], p[:, _FAR] = bright, dark_prior, np.where(gap, bright, open_dark)
    p[:, _EDGE], p[:, _FAR_EDGE] = edge_start, far_start
    centre = p.copy()
    spread = np.empty_like(p)
    spread[:, _BRIGHT] = 0.5 * contrast
    spread[:, _BRIGHT_SLOPE] = 0.04 * contrast
    spread[:, _DARK] = np.where(gap, _DARK_SIGMA_REL * contrast, 0.5 * contrast)
    spread[:, _DARK_SLOPE] = np.where(gap, 0.005 * contrast, 0.04 * contrast)
    spread[:, _EDGE] = 4.0
    spread[:, _FAR] = np.where(gap, 0.5 * contrast, 1e-3)
    spread[:, _FAR_EDGE] = np.where(gap, 4.0, 1e-3)
    prior = 1.0 / spread**2

    last = np.where(gap, far_start + 4.0, edge_start + _FIT_OUTSIDE_PX)
    use = (t[None, :] >= (edge_start - _FIT_INSIDE_PX)[:, None]) & (t[None, :] <= last[:, None])
    noise = 0.012 * contrast + 0.5
    weight = use / noise[:, None] ** 2
    blur = np.full(n, blur_px)
    diagonal = np.arange(7)
    matrix = np.empty((n, 7, 7))
    for _ in range(_ITERATIONS):
        values, slopes = _model(p, t, blur)
        weighted = slopes * weight[..., None]
        matrix = np.matmul(weighted.transpose(0, 2, 1), slopes)
        matrix[:, diagonal, diagonal] += prior
        gradient = np.matmul(weighted.transpose(0, 2, 1), (grey - values)[..., None])[..., 0]
        gradient += prior * (centre - p)
        step = np.linalg.solve(matrix, gradient[..., None])[..., 0]
        step[:, _EDGE] = np.clip(step[:, _EDGE], -1.0, 1.0)
        step[:, _FAR_EDGE] = np.clip(step[:, _FAR_EDGE], -1.0, 1.0)
        p += step
    values, _ = _model(p, t, blur)
    freedom = np.maximum(use.sum(axis=1) - 5, 1)
    chi = np.sqrt((use * (grey - values) ** 2).sum(axis=1) / freedom)
    unit = np.zeros((n, 7, 1))
    unit[:, _DARK, 0] = prior[:, _DARK]
    pull = np.linalg.solve(matrix, unit)[:, _EDGE, 0]
    good = start.seen & (np.abs(p[:, _EDGE] - start.edge_px) < 2.5) & (chi < 0.25 * contrast)
    return _Fitted(p[:, _EDGE], np.where(gap, pull, 0.0), p, chi, good)


def _estimate_blur(start: _Profiles) -> float:
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


def _robust_line(
    s: Points, t: Points, usable: NDArray[np.bool_], floor: float
) -> tuple[float, float, NDArray[np.bool_], float]:
    """Offset, slope, accepted points and scatter of a line through points with outliers."""
    s_used, t_used = s[usable], t[usable]
    half = len(s_used) // 2
    slopes = (t_used[half : 2 * half] - t_used[:half]) / (s_used[half : 2 * half] - s_used[:half])
    slope = float(np.median(slopes))
    offset = float(np.median(t_used - slope * s_used))
    weight = usable.astype(np.float64)
    scale = floor
    for _ in range(12):
        residual = np.where(usable, t - offset - slope * s, 0.0)
        scale = max(1.4826 * float(np.median(np.abs(residual[usable]))), floor)
        u = residual / (4.7 * scale)
        weight = np.where(usable & (np.abs(u) < 1.0), (1.0 - u * u) ** 2, 0.0)
        total = weight.sum()
        s_mean = (weight * s).sum() / total
        t_mean = (weight * t).sum() / total
        spread = (weight * (s - s_mean) ** 2).sum()
        slope = float((weight * (s - s_mean) * (t - t_mean)).sum() / spread)
        offset = float(t_mean - slope * s_mean)
    return offset, slope, usable & (weight > 0.0), scale


def fit_edge(
    picture: Picture,
    camera: CameraModel,
    frame: EdgeFrame,
    *,
    dark_dn: float,
    margin_mm: float = 0.4,
    block_rows: int = _BLOCK_ROWS,
) -> EdgeLine | None:
    """Fit the bright-to-dark edge near the s axis of ``frame``; None where too little is seen.

    Each profile across the edge, averaged over ``block_rows`` pixels along it, is fitted by two blurred
    steps: the edge and, where there is one within eight pixels, a neighbour's edge beyond a
    gap of the grey value ``dark_dn``. A line is fitted through the profiles with Tukey's
    biweight (J. W. Tukey, Technometrics 16 (1974) 147), so that chips and dust don't move it.
    ``margin_mm`` at both ends is left out.
    """
    px = camera.mm_per_px
    s_mm, grey, t_px = _block_profiles(picture, camera, frame, margin_mm, block_rows)
    start = _start(grey, t_px)
    if start.seen.sum() < 6:
        return None
    blur_px = _estimate_blur(start)
    fitted = _fit_profiles(start, blur_px=blur_px, dark_dn=dark_dn)
    usable = fitted.good
    if usable.sum() < 6:
        return None
    t_mm = fitted.edge_px * px
    offset, slope, accepted, _ = _robust_line(s_mm, t_mm, usable, 0.02 * px)
    n = int(accepted.sum())
    if n < 6:
        return None
    residual = (t_mm - offset - slope * s_mm)[accepted]
    rms = float(np.sqrt((residual**2).sum() / (n - 2)))
    lag = float((residual[:-1] * residual[1:]).mean() / max((residual**2).mean(), 1e-18))
    lag = min(max(lag, 0.0), 0.9)
    effective = max(n * (1.0 - lag) / (1.0 + lag), 3.0)
    s_used = s_mm[accepted]
    contrast = fitted.parameters[:, _BRIGHT] - fitted.parameters[:, _DARK]
    contrast_dn = float(np.median(contrast[accepted]))
    dark_shift_px = float(np.mean(fitted.dark_pull[accepted])) * _DARK_SIGMA_REL * contrast_dn
    common = np.hypot(dark_shift_px, _MODEL_SIGMA_PX) * px
    spread = float(np.sqrt(((s_used - s_used.mean()) ** 2).mean()))
    slope_sigma = np.hypot(rms / np.sqrt(effective), 0.3 * common) / spread
    return EdgeLine(
        frame=frame,
        offset_mm=offset,
        slope=slope,
        offset_sigma_mm=float(np.hypot(rms / np.sqrt(effective), common)),
        slope_sigma=float(slope_sigma),
        rms_mm=rms,
        share=n / len(s_mm),
        s_mm=s_mm,
        t_mm=np.where(usable, t_mm, np.nan),
        contrast_dn=contrast_dn,
        blur_px=blur_px,
        bright_dn=float(np.median(fitted.parameters[accepted, _BRIGHT])),
        dark_dn=float(np.median(fitted.parameters[accepted, _DARK])),
    )
