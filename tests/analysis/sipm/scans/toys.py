"""Scans of a device whose parameters are known."""

from dataclasses import dataclass

import numpy as np

from analysis.estimate import Estimate
from analysis.sipm.scans import ScanPoint


@dataclass(frozen=True)
class Device:
    """G = g (1 + c dT) OV (1 + k OV), OV = V - vbd - s dT - w dT^2, dT = T - 25 C."""

    gain_per_v: float = 9.3
    gain_per_v_slope: float = 0.0
    vbd_gain: float = 51.0
    vbd_slope: float = 0.05
    curvature: float = 0.0
    vbd_curvature: float = 0.0

    def gain(self, bias_v: float, temperature_c: float = 25.0) -> float:
        warmer = temperature_c - 25.0
        over = bias_v - self.vbd_gain - self.vbd_slope * warmer - self.vbd_curvature * warmer**2
        scale = self.gain_per_v * (1 + self.gain_per_v_slope * warmer)
        return scale * over * (1 + self.curvature * over)


def adc(value: float, sigma: float) -> Estimate:
    return Estimate(float(value), float(sigma), "ADC/pe", "toy")


def scanned(
    rng: np.random.Generator,
    places: list[tuple[float, float]],
    device: Device = Device(),
    *,
    relative: float = 0.002,
    scale_error: float = 0.0,
    offset_error: float = 0.0,
) -> list[ScanPoint]:
    """Points at (bias, temperature) with independent, common scale and common offset errors."""
    scale, offset = scale_error * rng.standard_normal(), offset_error * rng.standard_normal()
    points = []
    for bias, temperature in places:
        true = device.gain(bias, temperature)
        seen = true * (1 + relative * rng.standard_normal() + scale) + offset
        shared = scale_error * abs(seen) + offset_error
        points.append(ScanPoint(bias, temperature, adc(seen, relative * true), shared))
    return points


def biases(low: float, high: float, step: float, temperature_c: float = 25.0) -> list:
    return [(float(v), temperature_c) for v in np.arange(low, high + step / 2, step)]
