"""Is there a wrapped tile at a position of a board, or is the board still bare?"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vision.camera import CameraModel
from vision.outline import locate_outline
from vision.points import locate_sipm
from vision.refusal import Refusal
from vision.sampling import Picture, Points
from vision.usable import picture_usable

SIPM_SIZES_MM = (2.0, 3.0)
_SEARCH_MM = 1.5
_SEARCH_RAD = 0.035
_BRIGHT_SHARE = 0.8
_BARE_SHARE = 0.3
_STEP_DN = 20.0


@dataclass(frozen=True)
class Presence:
    """What lies at a position: a wrapped tile, the bare board with its SiPM, or unknown.

    ``bright_share`` is the share of the outline's inside as bright as foil, ``edges_seen`` how
    many of its four edges fall from bright to dark outwards.
    """

    state: Literal["tile", "bare board", "unknown"]
    bright_share: float | None = None
    edges_seen: int = 0
    reasons: tuple[str, ...] = ()


def _inside_points(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    share = (np.arange(32) + 0.5) / 32 * 0.9 + 0.05
    along, up = np.meshgrid(share, share)
    u, v = along.reshape(-1, 1), up.reshape(-1, 1)
    inner = corners[0] + u * (corners[1] - corners[0])
    outer = corners[3] + u * (corners[2] - corners[3])
    return np.asarray(inner + v * (outer - inner))


def _sipm_seen(picture: Picture, camera: CameraModel, size_mm: float, near: Points) -> bool:
    try:
        locate_sipm(picture, camera, size_mm, near, _SEARCH_MM)
    except Refusal:
        return False
    return True


def tile_present(
    image: NDArray[np.uint8],
    camera: CameraModel,
    corners_mm: ArrayLike,
    near_mm: ArrayLike = (0.0, 0.0),
    *,
    sipm_near_mm: ArrayLike | None = None,
) -> Presence:
    """What lies where a tile with the outline ``corners_mm`` (4, 2) belongs at ``near_mm``.

    A tile is bright nearly everywhere inside and has edges that fall to dark; a bare board is
    mostly dark and shows a SiPM of 4 or 9 mm^2 near ``sipm_near_mm`` (``near_mm`` if None).
    Anything else, also a contradiction, is unknown with the reason.

    Raises:
        ValueError: if the picture's size is not the camera's.
    """
    if image.shape != (camera.height_px, camera.width_px):
        raise ValueError(
            f"picture {image.shape} is not the camera's {(camera.height_px, camera.width_px)}"
        )
    usable = picture_usable(image)
    if not usable.ok:
        return Presence("unknown", reasons=usable.reasons)
    corners = np.asarray(corners_mm, dtype=np.float64)
    near = np.asarray(near_mm, dtype=np.float64)
    inside = _inside_points(corners + near)
    visible = camera.sees(inside)
    if visible.mean() < 0.9:
        return Presence("unknown", reasons=("the position reaches out of the picture",))
    px = np.round(camera.to_px(inside[visible])).astype(np.int64)
    grey = image[px[:, 1], px[:, 0]].astype(np.float64)
    white = float(np.percentile(image[::4, ::4], 99.8))
    share = float((grey > 0.5 * white).mean())
    picture = image.astype(np.float32)
    rough = locate_outline(
        picture,
        camera,
        corners,
        near_mm=near,
        search_mm=_SEARCH_MM,
        search_rad=_SEARCH_RAD,
    )
    edges = int((rough.step_dn > _STEP_DN).sum())
    target = near if sipm_near_mm is None else np.asarray(sipm_near_mm, dtype=np.float64)
    sipm_seen = any(_sipm_seen(picture, camera, size, target) for size in SIPM_SIZES_MM)
    if share > _BRIGHT_SHARE and edges >= 3 and not sipm_seen:
        return Presence("tile", share, edges)
    if share < _BARE_SHARE and edges <= 2 and sipm_seen:
        return Presence("bare board", share, edges)
    reasons = [
        f"{100 * share:.0f} % of the inside is as bright as foil",
        f"{edges} of 4 edges seen",
        "a SiPM is seen" if sipm_seen else "no SiPM is seen",
    ]
    return Presence("unknown", share, edges, tuple(reasons))
