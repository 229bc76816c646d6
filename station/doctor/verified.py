"""The firmware that each driver was verified with, as `Identity.firmware` says it.

"document": the bytes of the maker's manual. "simulated": a program that runs the firmware's own
code. Another firmware is no fault; the doctor says that nobody has tried it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Verified:
    """`pattern` is a regular expression that the whole firmware text must match."""

    pattern: str
    how: str


VERIFIED: Mapping[str, Verified] = {
    "keithley2450": Verified(r"1\.\d.*", "document"),
    "keithley2400": Verified(r"C3\d.*", "document"),
    "keithley6517": Verified(r".*", "document"),
    "grbl": Verified(r"(Grbl )?1\.1.*", "simulated"),
    "marlin": Verified(r"(Marlin )?(2\.[01]|bugfix-2).*", "document"),
    "opencv": Verified(r".*", "document"),
    "basler": Verified(r".*", "simulated"),
    "tileboard_tester": Verified(r".*", "document"),
}


def remark(driver: str, firmware: str) -> str:
    """One sentence when nobody has tried the driver with this firmware; else empty."""
    known = VERIFIED.get(driver)
    if known is None or not firmware or re.fullmatch(known.pattern, firmware):
        return ""
    return f"firmware {firmware} is not one that this driver was verified with"
