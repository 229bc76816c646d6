"""The model of gain over bias and temperature, and a fit of it."""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import numpy as np

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans.points import Array, LeftOut

METHOD = "joint fit of gain over bias and temperature"
NAMES = ("gain_per_v", "gain_per_v_slope", "vbd_gain", "vbd_slope", "curvature", "vbd_curvature")

Verdict = Literal["pass", "flag", "unknown"]


@dataclass(frozen=True)
class JointFit:
    """G(V, T) = g (1 + c dT) OV (1 + k OV), OV = V - vbd - s dT - w dT^2, dT = T - reference.

    parameters: estimates by name: gain_per_v (g, ADC/pe/V), gain_per_v_slope (c, 1/K), vbd_gain
        (at the reference temperature, V), vbd_slope (s, V/K), and where the points demand them
        curvature (k, 1/V) and vbd_curvature (w, V/K^2).
    values, covariance: (6,) and (6, 6) in the order of NAMES; rows of what is not fitted are zero.
    tests of the points: chi2, ndf. error_scale: what all errors were multiplied with.
    used: places of the fitted points; left_out: the others, and why.
    """

    parameters: dict[str, Estimate]
    values: Array
    covariance: Array
    reference_temperature_c: float
    unit: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()
    chi2: float = 0.0
    ndf: int = 0
    error_scale: float = 1.0
    used: tuple[int, ...] = ()
    left_out: tuple[LeftOut, ...] = ()

    @property
    def known(self) -> bool:
        """Whether there is a fit."""
        return self.verdict != "unknown"

    @property
    def vbd_gain(self) -> Estimate:
        """Breakdown voltage of the gain at the reference temperature, V."""
        return self.parameters["vbd_gain"]

    @property
    def vbd_slope(self) -> Estimate:
        """dVbd/dT, V/K."""
        return self.parameters["vbd_slope"]

    def gain_at(self, bias_v: float, temperature_c: float) -> Estimate:
        """Gain that the model gives, with its error."""
        if not self.known:
            return unknown(self.unit, METHOD, *self.reasons)
        v, t = np.array([bias_v]), np.array([temperature_c - self.reference_temperature_c])
        by = jacobian(self.values, v, t)[0]
        sigma = sqrt(max(float(by @ self.covariance @ by), 0.0))
        return Estimate(float(model(self.values, v, t)[0]), sigma, self.unit, METHOD)


def model(values: Array, bias_v: Array, warmer_k: Array) -> Array:
    """Gain of the model of JointFit, (n,), for (n,) biases and temperatures above reference."""
    g, c, vbd, s, k, w = values
    over = bias_v - vbd - s * warmer_k - w * warmer_k**2
    return np.asarray(g * (1 + c * warmer_k) * over * (1 + k * over), dtype=np.float64)


def jacobian(values: Array, bias_v: Array, warmer_k: Array) -> Array:
    """(n, 6) derivatives of `model` by its parameters."""
    g, c, vbd, s, k, w = values
    over = bias_v - vbd - s * warmer_k - w * warmer_k**2
    scale, shape = 1 + c * warmer_k, over * (1 + k * over)
    by_vbd = -g * scale * (1 + 2 * k * over)
    return np.stack(
        [
            scale * shape,
            g * warmer_k * shape,
            by_vbd,
            by_vbd * warmer_k,
            g * scale * over**2,
            by_vbd * warmer_k**2,
        ],
        axis=1,
    )
