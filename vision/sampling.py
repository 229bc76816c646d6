"""Grey values at points of the plane."""

import cv2
import numpy as np
from numpy.typing import NDArray

from vision.camera import CameraModel

Picture = NDArray[np.float32]
Points = NDArray[np.float64]


def grey_at(
    picture: Picture,
    camera: CameraModel,
    points_mm: Points,
    *,
    interpolation: int = cv2.INTER_LINEAR,
) -> Picture:
    """Grey values, shape (h, w), at points of shape (h, w, 2); NaN off the picture."""
    px = camera.to_px(points_mm.reshape(-1, 2))
    u, v = (axis.astype(np.float32).reshape(points_mm.shape[:2]) for axis in px.T)
    grey = cv2.remap(
        picture,
        u,
        v,
        interpolation,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=float("nan"),
    )
    return np.asarray(grey, dtype=np.float32)
