"""The camera section of a profile: which camera, how it is set up, and its calibration."""

import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationInfo,
    field_validator,
)

Text = Annotated[str, Field(min_length=1)]

_OWNERS: Mapping[str, str] = {
    "gain": "opencv",
    "gain_db": "basler",
    "pixel_format": "opencv",
    "frames_per_s": "opencv",
    "latency_frames": "opencv",
}
"""Fields that one driver has."""
_SET_IN_THE_CAMERA = ("exposure_us", "gain", "pixel_format", "frames_per_s")
"""What nobody can set through a stream of pictures."""
STREAM = "http://"
_DEVICE = re.compile(r"(/dev/video)?\d+")


class CameraSection(BaseModel):
    """Settings that are left out stay as the camera has them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    driver: Literal["opencv", "basler"]
    url: Text
    """Stream address or device of an OpenCV camera; serial number of a Basler camera."""
    width_px: PositiveInt
    height_px: PositiveInt
    exposure_us: PositiveFloat | None = None
    gain: float | None = Field(default=None, ge=0)
    """Of a USB camera, in its own units."""
    gain_db: float | None = None
    """Of a Basler camera."""
    pixel_format: str | None = Field(default=None, pattern=r"^[A-Z0-9 ]{4}$")
    """Of a USB camera, four letters: MJPG, YUYV, GREY. Its pictures are grey in any case."""
    frames_per_s: PositiveFloat | None = None
    """Of a USB camera."""
    latency_frames: int | None = Field(default=None, ge=0, le=100)
    """Pictures that an OpenCV camera may hold, exposed and not yet sent; 1 when left out."""
    mm_per_px: float = Field(gt=0, le=1)
    mm_per_px_sigma_rel: float = Field(gt=0, le=0.1)
    rotation_rad: float = Field(default=0.0, ge=-3.2, le=3.2)
    k1_per_mm2: float = Field(default=0.0, ge=-1e-3, le=1e-3)
    offset_x_mm: float
    """Optical axis minus nozzle."""
    offset_y_mm: float
    working_distance_mm: PositiveFloat
    """Nozzle height above the plane that is in focus and to which mm_per_px belongs."""
    settle_s: float = Field(default=0.1, ge=0, le=10)
    grab_deadline_s: float = Field(default=5.0, gt=0, le=60)
    expected_serial: Text | None = None

    @property
    def exposure_s(self) -> float | None:
        return None if self.exposure_us is None else self.exposure_us * 1e-6

    @field_validator("url")
    @classmethod
    def _what_the_driver_opens(cls, url: str, info: ValidationInfo) -> str:
        is_stream = url.startswith(STREAM) and urlsplit(url).hostname
        if info.data.get("driver") == "opencv" and not (is_stream or _DEVICE.fullmatch(url)):
            raise ValueError("the address of a stream (http://...) or a device (/dev/video0)")
        return url

    @field_validator(*_OWNERS)
    @classmethod
    def _of_one_driver(cls, value: str | float | None, info: ValidationInfo) -> str | float | None:
        owner = _OWNERS[str(info.field_name)]
        if info.data.get("driver") not in (None, owner) and value is not None:
            raise ValueError(f"no such field: it belongs to {owner}")
        return value

    @field_validator(*_SET_IN_THE_CAMERA)
    @classmethod
    def _not_through_a_stream(
        cls, value: str | float | None, info: ValidationInfo
    ) -> str | float | None:
        if value is not None and str(info.data.get("url", "")).startswith(STREAM):
            raise ValueError("no such field: a network camera is set in the camera itself")
        return value
