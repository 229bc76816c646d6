"""The camera from pictures of a target: scale, turn and distortion, and what they leave over.

Each picture k shows the target's dots p (mm, in its own frame) at q = t_k + R(turn) p in the axes
of the picture, and q at the pixels of `vision.camera.CameraModel` without rotation. Scale,
distortion and turn are common to all pictures; the shift t_k is free in each, so that nothing is
asked of the machine that moved the camera.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from vision.camera import CameraModel
from vision.dot_grid import DotGrid
from vision.sampling import Points

FEWEST_PICTURES = 3
ENTITLED_PX = 0.08
"""RMS that noise and light leave over for one dot; a target's own errors come on top."""
RICHER_PX = 0.15
"""A lens model with three more terms may not move any dot further than this."""
SURE = 4.0
"""In standard deviations."""
_OUTLIER = 4.0
_ROUNDS = 3


@dataclass(frozen=True)
class CameraFit:
    """What the pictures say about the camera.

    Attributes:
        camera: the model, without rotation: it is relative to the machine, not to the target.
        mm_per_px_sigma: of the pictures alone, without the target's own scale error.
        k1_sigma: of the distortion; None where it was not fitted.
        turn_rad, turn_sigma_rad: of the target in the picture, counter-clockwise.
        shift_mm: (n, 2) of the target's origin in the axes of the picture, one per picture.
        rms_px: what is left over per dot and axis.
        n_dots: how many dots were used, over all pictures; n_left_out those that did not fit.
        richer_px: how far a model with a 5th-order term and a free centre would move a dot.
        reasons: why the numbers must not be used.
    """

    camera: CameraModel
    mm_per_px_sigma: float
    k1_sigma: float | None
    turn_rad: float
    turn_sigma_rad: float
    shift_mm: Points
    rms_px: float
    n_dots: int
    n_left_out: int
    richer_px: float
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Seen:
    """All dots of all pictures in one row each."""

    dot: Points
    px: Points
    picture: NDArray[np.int_]
    which: NDArray[np.int_]
    n_pictures: int
    width_px: int
    height_px: int

    def only(self, keep: NDArray[np.bool_]) -> "_Seen":
        return replace(
            self,
            dot=self.dot[keep],
            px=self.px[keep],
            picture=self.picture[keep],
            which=self.which[keep],
        )


def fit_camera(
    pictures: Sequence[DotGrid],
    *,
    pitch_mm: float,
    width_px: int,
    height_px: int,
    dot_sigma_mm: float = 0.0,
) -> CameraFit:
    """Least squares over all dots of all pictures of one target at one height.

    The errors are those of clusters of dots: an error in a dot's place on the target is the same
    in every picture (Liang and Zeger, Biometrika 73 (1986) 13).

    Args:
        pictures: what `vision.find_dot_grid` found; at least three, with the target in different
            parts of the picture.
        pitch_mm: of the target's grid.
        dot_sigma_mm: how well the maker placed each dot.

    Raises:
        ValueError: for fewer than three pictures, or one without dots.
    """
    if len(pictures) < FEWEST_PICTURES or not all(grid.found for grid in pictures):
        raise ValueError(f"at least {FEWEST_PICTURES} pictures with dots are needed")
    seen = _gathered(pictures, pitch_mm, width_px, height_px)
    start = _start(seen, pitch_mm)
    solution, n_left_out = _without_outliers(seen, start)
    kept = seen.only(solution.keep)
    k1, k1_sigma = solution.values[1], solution.sigma[1]
    scale = solution.values[0]
    rms = float(np.sqrt(np.mean(solution.residual**2)))
    richer = _richer_px(kept, solution)
    reasons = []
    entitled = float(np.hypot(ENTITLED_PX, dot_sigma_mm / scale))
    if rms > 2.0 * entitled:
        reasons.append(
            f"the dots lie {rms:.2f} px (RMS) from where the camera model has them, more than "
            f"{2 * entitled:.2f} px: is the target flat, and its pitch {pitch_mm:g} mm?"
        )
    if richer > RICHER_PX:
        reasons.append(
            f"the lens bends the picture by {richer:.2f} px more than its one distortion term can "
            "say: use a lens with less distortion, or look at less of its picture"
        )
    if n_left_out > 0.1 * len(seen.dot):
        reasons.append(f"{n_left_out} of {len(seen.dot)} dots do not fit: clean the target")
    try:
        camera = CameraModel(width_px, height_px, float(scale), k1=float(k1))
    except ValueError as error:
        camera = CameraModel(width_px, height_px, float(scale))
        reasons.append(str(error))
    return CameraFit(
        camera=camera,
        mm_per_px_sigma=float(solution.sigma[0]),
        k1_sigma=float(k1_sigma),
        turn_rad=float(solution.values[2]),
        turn_sigma_rad=float(solution.sigma[2]),
        shift_mm=solution.values[3:].reshape(-1, 2),
        rms_px=rms,
        n_dots=len(kept.dot),
        n_left_out=n_left_out,
        richer_px=richer,
        reasons=tuple(reasons),
    )


@dataclass(frozen=True)
class _Solution:
    values: Points
    sigma: Points
    residual: Points
    keep: NDArray[np.bool_]


def _gathered(pictures: Sequence[DotGrid], pitch_mm: float, width_px: int, height_px: int) -> _Seen:
    index = np.concatenate([grid.index for grid in pictures])
    numbers = [np.full(len(grid.index), k) for k, grid in enumerate(pictures)]
    _, which = np.unique(index, axis=0, return_inverse=True)
    return _Seen(
        dot=index * pitch_mm,
        px=np.concatenate([grid.px for grid in pictures]),
        picture=np.concatenate(numbers),
        which=which.reshape(-1),
        n_pictures=len(pictures),
        width_px=width_px,
        height_px=height_px,
    )


def _start(seen: _Seen, pitch_mm: float) -> Points:
    """Scale and turn from the dots of each picture without distortion, and its shifts."""
    centre = np.array([(seen.width_px - 1) / 2.0, (seen.height_px - 1) / 2.0])
    up = np.column_stack((seen.px[:, 0] - centre[0], centre[1] - seen.px[:, 1]))
    dots = np.array(seen.dot, dtype=np.float64)
    p = np.empty(len(dots), dtype=np.complex128)
    q = np.empty(len(dots), dtype=np.complex128)
    for k in range(seen.n_pictures):
        here = seen.picture == k
        away = dots[here] - dots[here].mean(axis=0)
        apart = up[here] - up[here].mean(axis=0)
        p[here] = away[:, 0] + 1j * away[:, 1]
        q[here] = apart[:, 0] + 1j * apart[:, 1]
    factor = complex((q * p.conj()).sum() / (abs(p) ** 2).sum())
    scale, turn = 1.0 / abs(factor), float(np.angle(factor))
    turned = dots @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    shifts = [
        (scale * up[seen.picture == k] - turned[seen.picture == k]).mean(axis=0)
        for k in range(seen.n_pictures)
    ]
    return np.concatenate(([scale, 0.0, turn], np.ravel(shifts)))


def _model_px(seen: _Seen, values: Points, richer: Points | None = None) -> Points:
    """Where the dots should be seen (n, 2). `richer`: k2 and the shift of the centre, px."""
    scale, k1, turn = values[:3]
    shifts = values[3:].reshape(-1, 2)
    cos, sin = np.cos(turn), np.sin(turn)
    dot = seen.dot
    x = cos * dot[:, 0] - sin * dot[:, 1] + shifts[seen.picture, 0]
    y = sin * dot[:, 0] + cos * dot[:, 1] + shifts[seen.picture, 1]
    k2, u, v = (0.0, 0.0, 0.0) if richer is None else richer
    square = x * x + y * y
    factor = (1.0 + k1 * square + k2 * square * square) / scale
    return np.column_stack(
        (
            (seen.width_px - 1) / 2.0 + u + x * factor,
            (seen.height_px - 1) / 2.0 + v - y * factor,
        )
    )


def _solved(seen: _Seen, start: Points) -> tuple[Points, Points, Points]:
    """Values, residuals (n, 2) px and Jacobian (2 n, m)."""
    sizes = np.abs(np.concatenate(([start[0], 1e-6, 1e-3], np.full(len(start) - 3, 1.0))))
    fitted = least_squares(
        lambda values: (_model_px(seen, values) - seen.px).ravel(), start, x_scale=sizes
    )
    return fitted.x, fitted.fun.reshape(-1, 2), np.asarray(fitted.jac)


def _without_outliers(seen: _Seen, start: Points) -> tuple[_Solution, int]:
    """The fit without dots that lie far from all others' places (dust, a scratch)."""
    keep = np.ones(len(seen.dot), dtype=bool)
    values, residual, jacobian = _solved(seen, start)
    for _ in range(_ROUNDS):
        spread = 1.4826 * float(np.median(np.abs(residual))) + 0.005
        far = np.abs(residual).max(axis=1) > _OUTLIER * max(spread, 0.02)
        if not far.any() or far.mean() > 0.25:
            break
        keep[np.flatnonzero(keep)[far]] = False
        values, residual, jacobian = _solved(seen.only(keep), values)
    sigma = _clustered_sigma(seen.only(keep), residual, jacobian)
    return _Solution(values, sigma, residual, keep), int((~keep).sum())


def _clustered_sigma(seen: _Seen, residual: Points, jacobian: Points) -> Points:
    """Standard deviations of the values: the larger of plain and by-dot clustered errors."""
    normal = jacobian.T @ jacobian
    size = np.sqrt(np.diag(normal))
    inverse = np.linalg.pinv(normal / np.outer(size, size)) / np.outer(size, size)
    freedom = max(residual.size - jacobian.shape[1], 1)
    plain = np.diag(inverse) * float((residual**2).sum()) / freedom
    scores = np.zeros((int(seen.which.max()) + 1, jacobian.shape[1]))
    rows = (jacobian * residual.ravel()[:, None]).reshape(len(residual), 2, -1).sum(axis=1)
    np.add.at(scores, seen.which, rows)
    groups = len(np.unique(seen.which))
    meat = scores.T @ scores * groups / max(groups - 1, 1)
    clustered = np.diag(inverse @ meat @ inverse)
    return np.asarray(np.sqrt(np.maximum(plain, clustered)), dtype=np.float64)


def _richer_px(seen: _Seen, solution: _Solution) -> float:
    """How far three more terms would move a dot; 0 where they are not sure of themselves."""
    sizes = np.concatenate(
        ([solution.values[0], 1e-6, 1e-3], np.full(len(solution.values) - 3, 1.0), [1e-9, 1, 1])
    )
    fitted = least_squares(
        lambda values: (_model_px(seen, values[:-3], values[-3:]) - seen.px).ravel(),
        np.concatenate((solution.values, [0.0, 0.0, 0.0])),
        x_scale=sizes,
    )
    before, after = float((solution.residual**2).sum()), float((fitted.fun**2).sum())
    freedom = max(solution.residual.size - len(fitted.x), 1)
    if (before - after) / 3.0 < SURE**2 * after / freedom:
        return 0.0
    moved = _model_px(seen, fitted.x[:-3], fitted.x[-3:]) - _model_px(seen, solution.values)
    return float(np.hypot(*moved.T).max())
