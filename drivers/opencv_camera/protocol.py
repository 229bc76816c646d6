"""Pictures as they come: motion JPEG over HTTP, and Video for Linux.

Motion JPEG is a reply without end whose parts are JPEG pictures. The server answers a GET with
``multipart/x-mixed-replace``; each part has its own headers and one JPEG picture (JFIF, ITU-T
T.81), which begins with FF D8 and ends with FF D9.
"""

from pathlib import Path

BOUNDARY = "tessera-frame"
STREAM_TYPE = f"multipart/x-mixed-replace; boundary={BOUNDARY}"
STREAM_PATH = "/stream.mjpg"
JPEG_QUALITY = 95
FOURCC = "MJPG"

SYSFS = Path("/sys/class/video4linux")
"""Where Linux tells the names of video devices."""
EXPOSURE_MANUAL = 1
"""V4L2_EXPOSURE_MANUAL of the control V4L2_CID_EXPOSURE_AUTO (Linux uapi, v4l2-controls.h)."""
EXPOSURE_UNIT_S = 1e-4
"""Unit of V4L2_CID_EXPOSURE_ABSOLUTE. No real device was at hand: unverified through OpenCV."""
QUEUE_FRAMES = 4
"""Buffers that OpenCV asks V4L2 for when a device does not tell how many it has."""

_START_OF_IMAGE = b"\xff\xd8"
_END_OF_IMAGE = b"\xff\xd9"


def part(jpeg: bytes) -> bytes:
    """One picture as it goes over the wire."""
    head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
    return head.encode("ascii") + jpeg + b"\r\n"


def is_whole_jpeg(data: bytes) -> bool:
    """True when a picture has both its ends; bytes after the end do not count."""
    return data.startswith(_START_OF_IMAGE) and data[-16:].rstrip(b"\r\n\0").endswith(_END_OF_IMAGE)


def fourcc_text(code: float) -> str:
    """Four letters of a video codec, from the number that OpenCV gives."""
    number = int(code)
    return "".join(chr(number >> shift & 0xFF) for shift in (0, 8, 16, 24)).strip("\0 ")
