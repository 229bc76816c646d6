"""Camera pictures in a size that suits a report."""

from dataclasses import dataclass

MOST_PICTURES = 40
"""Pictures that a report shows; more would make it too large to send."""
_WIDEST_PX = 900
_JPEG_QUALITY = 82


@dataclass(frozen=True)
class SmallPicture:
    jpeg: bytes
    width_px: int
    height_px: int


def smaller(data: bytes) -> SmallPicture | None:
    """The picture as a JPEG of at most 900 pixels width; None when the bytes are no picture."""
    import cv2
    import numpy as np

    image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
    if image is None:
        return None
    height, width = image.shape[:2]
    if width > _WIDEST_PX:
        size = (_WIDEST_PX, round(height * _WIDEST_PX / width))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return SmallPicture(jpeg.tobytes(), image.shape[1], image.shape[0]) if encoded else None
