"""Straight edges to a few micrometres: profile fits across the edge, a robust line along it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel
from vision.outline import EdgeFrame, sample
from vision.profiles import (
    DARK_SIGMA_REL,
    FittedProfiles,
    fit_blur,
    fit_profiles,
    start_profiles,
)
from vision.sampling import Picture, Points

_INSIDE_PX = 10
_OUTSIDE_PX = 12
_EDGE_SIGMA_PX = 0.01
_SHADING_SIGMA_PX = 0.025
_LINE_ROUNDS = 6
_MIN_PROFILES = 6
_MAX_PROFILES = 56


@dataclass(frozen=True)
class EdgeLine:
    """A fitted edge: the line t = offset + slope * s of ``frame``, with s from its middle.

    Attributes:
        frame: where s and t are measured.
        offset_mm, slope: the line.
        offset_sigma_mm, slope_sigma: their standard deviations, uncorrelated about s = 0 and
            from edge to edge.
        shading_sigma_mm, gap_sigma_mm: further uncertainty of the offset that all edges of a
            picture share: shading along the edge that the blur hides, growing with the square
            of the blur, and the dark level in narrow gaps.
        rms_mm: scatter of the accepted profiles about the line.
        share: share of the profiles that agree with the line.
        s_mm, t_mm: places of all profiles, (n,); t is NaN where no edge was seen.
        contrast_dn: median grey step across the edge.
        blur_px: standard deviation of the edge's blur.
        bright_dn, dark_dn: median grey beside the edge.
        open_dn: (n,) darkest grey just outside each profile; NaN where a neighbour is near.
    """

    frame: EdgeFrame
    offset_mm: float
    slope: float
    offset_sigma_mm: float
    slope_sigma: float
    shading_sigma_mm: float
    gap_sigma_mm: float
    rms_mm: float
    share: float
    s_mm: Points
    t_mm: Points
    contrast_dn: float
    blur_px: float
    bright_dn: float
    dark_dn: float
    open_dn: Points

    @property
    def fitted(self) -> EdgeFrame:
        """The fitted line as a frame of its own."""
        return self.frame.moved(self.offset_mm, self.slope)


def _block_profiles(
    picture: Picture,
    camera: CameraModel,
    frame: EdgeFrame,
    t_px: NDArray[np.float64],
    margin_mm: float,
    block_rows: int,
) -> tuple[Points, NDArray[np.float64]]:
    px = camera.mm_per_px
    seen_rows = (frame.length_mm - 2.0 * margin_mm) / px
    block_rows = max(block_rows, int(np.ceil(seen_rows / _MAX_PROFILES)))
    blocks = max(int(seen_rows / block_rows), 4)
    rows = blocks * block_rows
    s_mm = np.asarray((np.arange(rows) - (rows - 1) / 2.0) * px, dtype=np.float64)
    strip = sample(picture, camera, frame, s_mm, t_px * px, interpolation=cv2.INTER_CUBIC)
    grey = strip.reshape(blocks, block_rows, -1).mean(axis=1).astype(np.float64)
    return s_mm.reshape(blocks, block_rows).mean(axis=1), grey


def _robust_line(
    s: Points, t: Points, usable: NDArray[np.bool_], floor: float
) -> tuple[float, float, NDArray[np.bool_]]:
    """Offset, slope and accepted points of a line through points with outliers."""
    s_used, t_used = s[usable], t[usable]
    half = len(s_used) // 2
    slopes = (t_used[half : 2 * half] - t_used[:half]) / (s_used[half : 2 * half] - s_used[:half])
    slope = float(_middle(slopes))
    offset = float(_middle(t_used - slope * s_used))
    weight = np.ones(len(s_used))
    for _ in range(_LINE_ROUNDS):
        residual = t_used - offset - slope * s_used
        scale = max(1.4826 * _middle(np.abs(residual)), floor)
        u = residual / (4.7 * scale)
        weight = np.maximum(1.0 - u * u, 0.0) ** 2
        total = float(weight.sum())
        s_mean = float(weight @ s_used) / total
        t_mean = float(weight @ t_used) / total
        from_mean = weight * (s_used - s_mean)
        slope = float(from_mean @ (t_used - t_mean)) / float(from_mean @ (s_used - s_mean))
        offset = t_mean - slope * s_mean
    accepted = usable.copy()
    accepted[usable] = weight > 0.0
    return offset, slope, accepted


def _middle(values: Points) -> float:
    return float(np.partition(values, len(values) // 2)[len(values) // 2])


def fit_edges(
    picture: Picture,
    camera: CameraModel,
    frames: Sequence[EdgeFrame],
    *,
    dark_dn: float,
    margin_mm: float = 0.4,
    block_rows: int = 8,
) -> list[EdgeLine | None]:
    """Fit the bright-to-dark edge near the s axis of each frame; None where too little is seen.

    Each profile across an edge, averaged over ``block_rows`` pixels along it (more on a long
    edge), is fitted by two blurred steps: the edge and, where there is one within eight pixels,
    a neighbour's edge beyond a gap of the grey value ``dark_dn``. A line is fitted through the
    profiles with Tukey's biweight (A. E. Beaton and J. W. Tukey, Technometrics 16 (1974) 147),
    so that chips and dust don't move it. ``margin_mm`` at both ends of an edge is left out.
    """
    places, greys = [], []
    t_px = np.arange(-_INSIDE_PX, _OUTSIDE_PX + 1, dtype=np.float64)
    for frame in frames:
        s_mm, grey = _block_profiles(picture, camera, frame, t_px, margin_mm, block_rows)
        places.append(s_mm)
        greys.append(grey)
    start = start_profiles(np.concatenate(greys), t_px)
    ends = np.cumsum([len(s_mm) for s_mm in places])
    parts = [slice(end - len(s_mm), end) for s_mm, end in zip(places, ends, strict=True)]
    blur_px = fit_blur(start, dark_dn)
    fitted = fit_profiles(start, blur_px, dark_dn)
    return [
        _line(frame, s_mm, fitted, part, blur_px, camera.mm_per_px)
        for frame, s_mm, part in zip(frames, places, parts, strict=True)
    ]


def _line(
    frame: EdgeFrame, s_mm: Points, fitted: FittedProfiles, part: slice, blur_px: float, px: float
) -> EdgeLine | None:
    usable = fitted.good[part]
    if usable.sum() < _MIN_PROFILES:
        return None
    t_mm = fitted.edge_px[part] * px
    offset, slope, accepted = _robust_line(s_mm, t_mm, usable, 0.02 * px)
    n = int(accepted.sum())
    if n < _MIN_PROFILES:
        return None
    residual = (t_mm - offset - slope * s_mm)[accepted]
    rms = float(np.sqrt((residual**2).sum() / (n - 2)))
    lag = float((residual[:-1] * residual[1:]).mean() / max((residual**2).mean(), 1e-18))
    lag = min(max(lag, 0.0), 0.9)
    statistical = rms / np.sqrt(max(n * (1.0 - lag) / (1.0 + lag), 3.0))
    s_used = s_mm[accepted]
    bright, dark = fitted.bright_dn[part], fitted.dark_dn[part]
    contrast_dn = _middle((bright - dark)[accepted])
    statistical = float(np.hypot(statistical, _EDGE_SIGMA_PX * px))
    dark_pull = float(np.abs(fitted.dark_pull[part][accepted]).mean())
    spread = float(np.sqrt(((s_used - s_used.mean()) ** 2).mean()))
    return EdgeLine(
        frame=frame,
        offset_mm=offset,
        slope=slope,
        offset_sigma_mm=statistical,
        slope_sigma=statistical / spread,
        shading_sigma_mm=_SHADING_SIGMA_PX * blur_px**2 * px,
        gap_sigma_mm=dark_pull * DARK_SIGMA_REL * contrast_dn * px,
        rms_mm=rms,
        share=n / len(s_mm),
        s_mm=s_mm,
        t_mm=np.where(usable, t_mm, np.nan),
        contrast_dn=contrast_dn,
        blur_px=blur_px,
        bright_dn=_middle(bright[accepted]),
        dark_dn=_middle(dark[accepted]),
        open_dn=fitted.open_dn[part],
    )
