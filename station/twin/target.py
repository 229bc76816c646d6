"""The twin's calibration target: a plate with dots, and a pad on which the nozzle leaves prints."""

import math
from dataclasses import dataclass

import numpy as np

from station.profile import TargetSection
from vision.render import FiducialItem

DOT_PER_PITCH = 0.4
MARKER = 1.5
"""The middle dot is so many times as wide as the others."""
LIES_WITHIN_MM = 0.8
LIES_TURNED_RAD = 0.006
CONTACT_MM = (-0.8, 0.05)
"""The sprung nozzle leaves a print when its tip is this far from the pad."""
APART_MM = 0.05
"""A nozzle that stays where it is leaves one print."""
DEFOCUS_PX_PER_MM = 0.25


@dataclass(frozen=True)
class Dot:
    """A dot or a print in the gantry frame."""

    x_mm: float
    y_mm: float
    diameter_mm: float


class Target:
    """Where the target truly lies, its true dots, and the prints that were left on its pad."""

    def __init__(self, section: TargetSection, *, seed: int) -> None:
        rng = np.random.default_rng([seed, 7])
        self._section = section
        self.x_mm = section.origin_x_mm + float(rng.uniform(-LIES_WITHIN_MM, LIES_WITHIN_MM))
        self.y_mm = section.origin_y_mm + float(rng.uniform(-LIES_WITHIN_MM, LIES_WITHIN_MM))
        self.rotation_rad = float(rng.normal(0, LIES_TURNED_RAD))
        self.pitch_mm = section.pitch_mm * (1 + float(rng.normal(0, section.pitch_sigma_rel)))
        self._dots = tuple(self._make_dots(rng))
        self._prints: list[Dot] = []

    def _make_dots(self, rng: np.random.Generator) -> list[Dot]:
        section = self._section
        c, s = math.cos(self.rotation_rad), math.sin(self.rotation_rad)
        dots = []
        for row in range(-(section.rows // 2), section.rows // 2 + 1):
            for column in range(-(section.columns // 2), section.columns // 2 + 1):
                x, y = np.array([column, row]) * self.pitch_mm + rng.normal(
                    0, section.dot_sigma_mm, 2
                )
                wide = MARKER if row == column == 0 else 1.0
                dots.append(
                    Dot(
                        self.x_mm + c * float(x) - s * float(y),
                        self.y_mm + s * float(x) + c * float(y),
                        wide * DOT_PER_PITCH * self.pitch_mm,
                    )
                )
        return dots

    def touch(self, x_mm: float, y_mm: float, z_mm: float) -> None:
        """The nozzle is at a place of the gantry frame: on the pad it leaves its print."""
        pad = self._section.pad_mm
        if pad is None:
            return
        above = z_mm - self._section.surface_z_mm
        half = self._section.pad_half_mm
        on_pad = abs(x_mm - pad[0]) <= half and abs(y_mm - pad[1]) <= half
        if not (on_pad and CONTACT_MM[0] <= above <= CONTACT_MM[1]):
            return
        if all(math.dist((x_mm, y_mm), (p.x_mm, p.y_mm)) > APART_MM for p in self._prints):
            self._prints.append(Dot(x_mm, y_mm, self._section.print_diameter_mm))

    def wipe(self) -> None:
        """Take all prints off the pad."""
        self._prints.clear()

    def items(
        self, axis_mm: tuple[float, float], scale: float, reach_mm: float
    ) -> list[FiducialItem]:
        """What a camera over `axis_mm` may see of it; `scale` as in `station.twin.view`."""
        return [
            FiducialItem(
                dot.diameter_mm * scale,
                (dot.x_mm - axis_mm[0]) * scale,
                (dot.y_mm - axis_mm[1]) * scale,
            )
            for dot in (*self._dots, *self._prints)
            if math.dist(axis_mm, (dot.x_mm, dot.y_mm)) < reach_mm
        ]

    def defocus_px(self, out_of_focus_mm: float) -> float:
        """Blur of a plane that is so far from the plane in focus."""
        return DEFOCUS_PX_PER_MM * abs(out_of_focus_mm)
