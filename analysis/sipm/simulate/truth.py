"""What a SiPM truly is, and what follows from it at a bias and a temperature."""

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import ArrayLike, NDArray

ELECTRON_CHARGE_C = 1.602176634e-19
REFERENCE_TEMPERATURE_C = 25.0
REFERENCE_OVERVOLTAGE_V = 3.0


@dataclass(frozen=True)
class SiPMTruth:
    """True parameters of one SiPM and its readout channel.

    vbd_v: breakdown voltage at 25 C, where the gain extrapolates to zero.
    gain_per_v: ADC per photoelectron and volt of overvoltage.
    gain_spread: relative gain spread between pixels, sigma_G / G.
    pde_max, pde_scale_v: PDE = pde_max (1 - exp(-overvoltage / pde_scale_v)).
    crosstalk_per_v: mean prompt secondaries per avalanche (branching lambda) per volt.
    delayed_crosstalk_per_v: mean delayed secondaries in other pixels, per avalanche and volt, with
        an exponential delay of delayed_crosstalk_ns.
    afterpulse: mean afterpulses per avalanche at 3 V overvoltage; grows with its square. The share
        afterpulse_slow_share has an exponential delay of afterpulse_slow_ns, the rest one of
        afterpulse_fast_ns.
    recovery_ns: time constant with which a fired pixel regains its overvoltage.
    dcr_hz: dark count rate at 25 C and 3 V overvoltage; grows linearly with the overvoltage and
        doubles every dcr_doubling_k.
    n_pixels: number of pixels.
    leakage_a: current that is not multiplied, at breakdown and 25 C.
    light_jitter: relative event-to-event spread of the light.
    pulse_tau_ns: decay time of the pulse. The share pulse_slow_share of its area decays with
        pulse_slow_ns instead, and the whole rises with pulse_rise_ns.
    electrons_per_v: electrons of one avalanche per volt of overvoltage (pixel capacitance / e).
    turn_on_v: overvoltage at which avalanches begin to be triggered; the reason why a breakdown
        voltage from the current lies above the one from the gain.
    """

    vbd_v: float = 37.778
    vbd_slope_v_per_k: float = 0.034
    gain_per_v: float = 9.3
    gain_spread: float = 0.04
    pde_max: float = 0.40
    pde_scale_v: float = 3.0
    crosstalk_per_v: float = 0.02
    afterpulse: float = 0.02
    afterpulse_fast_ns: float = 15.0
    afterpulse_slow_ns: float = 80.0
    afterpulse_slow_share: float = 0.3
    recovery_ns: float = 15.0
    dcr_hz: float = 3.0e5
    dcr_doubling_k: float = 9.0
    n_pixels: int = 7284
    leakage_a: float = 5.0e-11
    light_jitter: float = 0.02
    pulse_tau_ns: float = 8.0
    electrons_per_v: float = 9.0e4
    turn_on_v: float = 0.45
    delayed_crosstalk_per_v: float = 0.0
    delayed_crosstalk_ns: float = 25.0
    pulse_slow_share: float = 0.0
    pulse_slow_ns: float = 60.0
    pulse_rise_ns: float = 0.0


def vbd(truth: SiPMTruth, temperature_c: float) -> float:
    """Breakdown voltage (gain definition) at a temperature, V."""
    return truth.vbd_v + truth.vbd_slope_v_per_k * (temperature_c - REFERENCE_TEMPERATURE_C)


def overvoltage(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Bias minus breakdown, V; zero below breakdown."""
    return max(0.0, bias_v - vbd(truth, temperature_c))


def gain(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """True gain, ADC per photoelectron; zero below breakdown."""
    return truth.gain_per_v * overvoltage(truth, bias_v, temperature_c)


def photon_detection(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Photon detection efficiency, between 0 and 1."""
    over = overvoltage(truth, bias_v, temperature_c)
    return truth.pde_max * (1.0 - exp(-over / truth.pde_scale_v))


def crosstalk(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Mean prompt secondaries per avalanche (lambda)."""
    return truth.crosstalk_per_v * overvoltage(truth, bias_v, temperature_c)


def delayed_crosstalk(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Mean delayed secondaries in other pixels per avalanche."""
    return truth.delayed_crosstalk_per_v * overvoltage(truth, bias_v, temperature_c)


def afterpulsing(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Mean afterpulses per avalanche."""
    over = overvoltage(truth, bias_v, temperature_c)
    return truth.afterpulse * (over / REFERENCE_OVERVOLTAGE_V) ** 2


def dark_rate_hz(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Rate of primary dark counts, Hz."""
    over = overvoltage(truth, bias_v, temperature_c)
    warmer = (temperature_c - REFERENCE_TEMPERATURE_C) / truth.dcr_doubling_k
    return float(truth.dcr_hz * over / REFERENCE_OVERVOLTAGE_V * 2.0**warmer)


def current_a(
    truth: SiPMTruth, bias_v: ArrayLike, temperature_c: float
) -> NDArray[np.float64] | float:
    """Dark current in reverse bias, A: unmultiplied leakage plus avalanches.

    bias_v: one voltage or an array of any shape; the answer has the same shape. The avalanche part
    is q DCR G / (1 - crosstalk - delayed crosstalk - afterpulses), with the rate turning on
    `turn_on_v` above the breakdown of the gain.
    """
    voltage = np.asarray(bias_v, dtype=np.float64)
    breakdown = vbd(truth, temperature_c)
    warmer = 2.0 ** ((temperature_c - REFERENCE_TEMPERATURE_C) / truth.dcr_doubling_k)
    leakage = truth.leakage_a * warmer * voltage / breakdown
    over = np.maximum(voltage - breakdown, 0.0)
    softness_v = 0.03
    above = np.maximum(over - truth.turn_on_v, -40 * softness_v)
    triggering = softness_v * np.logaddexp(0.0, above / softness_v)
    rate_hz = truth.dcr_hz * warmer * triggering / REFERENCE_OVERVOLTAGE_V
    secondaries = np.minimum(
        (truth.crosstalk_per_v + truth.delayed_crosstalk_per_v) * over
        + truth.afterpulse * (over / REFERENCE_OVERVOLTAGE_V) ** 2,
        0.95,
    )
    avalanches = rate_hz * truth.electrons_per_v * over / (1.0 - secondaries)
    total = leakage + ELECTRON_CHARGE_C * avalanches
    return float(total) if total.ndim == 0 else np.asarray(total, dtype=np.float64)
