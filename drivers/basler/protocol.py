"""Basler cameras: the GenICam features that driver and emulated camera meet in.

Newer cameras (SFNC 2: USB3, ace 2, the emulated ones) and older GigE ones name some features
differently; the first name that a camera has counts. The names were tried on the vendor's emulated
camera (pylon 12.4); those of the older GigE cameras are from the vendor's documentation
(unverified).
"""

from collections.abc import Mapping

MAKER = "Basler"

EXPOSURE_US = ("ExposureTime", "ExposureTimeAbs")
GAIN_DB = ("Gain",)
FIRMWARE = ("DeviceFirmwareVersion", "DeviceVersion")

EXPOSURE_STEP_US = 50.0
"""Older cameras round exposures to steps of up to this length."""
GAIN_STEP_DB = 0.1

AUTOMATIC_FEATURES = ("ExposureAuto", "GainAuto", "BalanceWhiteAuto")
"""Switched to ``Off``: a measurement needs the same exposure from picture to picture."""

SOFTWARE_TRIGGER: tuple[tuple[str, str], ...] = (
    ("AcquisitionMode", "Continuous"),
    ("TriggerSelector", "FrameStart"),
    ("TriggerMode", "On"),
    ("TriggerSource", "Software"),
)

PIXEL_FORMATS: Mapping[str, tuple[str, ...]] = {
    "mono": ("Mono8",),
    "bgr": ("BGR8", "BGR8Packed", "RGB8", "RGB8Packed"),
    "bayer": ("BayerRG8", "BayerGB8", "BayerGR8", "BayerBG8"),
}
"""What a station may ask for, and the vendor's names of it in the order of preference."""

EMULATION_VARIABLE = "PYLON_CAMEMU"
"""Number of emulated cameras; read by the vendor's library when it is loaded."""
EMULATED_SERIAL = "0815-{index:04d}"
EMULATED_MODEL = "Emulation"
