"""Random devices, for studies that must not depend on one SiPM."""

import numpy as np

from analysis.sipm.simulate.readout import Readout
from analysis.sipm.simulate.truth import SiPMTruth


def random_truth(
    rng: np.random.Generator,
    *,
    dcr_hz: tuple[float, float] = (3e4, 3e6),
    gain_spread: tuple[float, float] = (0.01, 0.12),
    crosstalk_per_v: tuple[float, float] = (0.002, 0.08),
    afterpulse: tuple[float, float] = (0.0, 0.08),
    n_pixels: tuple[float, float] = (300, 40000),
    light_jitter: tuple[float, float] = (0.0, 0.05),
) -> SiPMTruth:
    """A SiPM with wide random parameters.

    Each range is from least to most: of the dark count rate (at 25 C and 3 V) and the number of
    pixels uniform in the logarithm, of the others uniform. What has no argument here is spread over
    what is met: breakdown 20 to 60 V, 2 to 40 ADC per pe and volt, pulses of 4 to 40 ns with a slow
    component in half of the devices, recovery of 8 to 60 ns.
    """

    def uniform(least: float, most: float) -> float:
        return float(rng.uniform(least, most))

    def in_logarithm(least: float, most: float) -> float:
        return float(np.exp(rng.uniform(np.log(least), np.log(most))))

    pulse_tau_ns = in_logarithm(4, 40)
    return SiPMTruth(
        vbd_v=uniform(20, 60),
        vbd_slope_v_per_k=uniform(0.02, 0.06),
        gain_per_v=in_logarithm(2, 40),
        gain_spread=uniform(*gain_spread),
        pde_max=uniform(0.2, 0.6),
        pde_scale_v=uniform(1.5, 5),
        crosstalk_per_v=uniform(*crosstalk_per_v),
        delayed_crosstalk_per_v=uniform(0, 0.01),
        delayed_crosstalk_ns=in_logarithm(10, 100),
        afterpulse=uniform(*afterpulse),
        afterpulse_fast_ns=uniform(5, 30),
        afterpulse_slow_ns=uniform(50, 200),
        afterpulse_slow_share=uniform(0, 0.6),
        recovery_ns=in_logarithm(8, 60),
        dcr_hz=in_logarithm(*dcr_hz),
        dcr_doubling_k=uniform(7, 11),
        n_pixels=round(in_logarithm(*n_pixels)),
        leakage_a=in_logarithm(1e-12, 1e-9),
        light_jitter=uniform(*light_jitter),
        pulse_tau_ns=pulse_tau_ns,
        electrons_per_v=in_logarithm(3e4, 1e6),
        turn_on_v=uniform(0, 0.8),
        pulse_slow_share=uniform(0, 0.3) if rng.random() < 0.5 else 0.0,
        pulse_slow_ns=pulse_tau_ns * uniform(2, 6),
        pulse_rise_ns=pulse_tau_ns * uniform(0, 0.3),
    )


def random_readout(rng: np.random.Generator, truth: SiPMTruth, gain_adc: float) -> Readout:
    """A readout that suits the device: gate of 4 to 12 pulse times, noise of 3 to 30 % of a pe.

    gain_adc: gain at the bias of the study, ADC per pe.
    """
    gate_ns = truth.pulse_tau_ns * float(rng.uniform(4, 12))
    return Readout(
        gate_ns=gate_ns,
        light_at_ns=gate_ns * float(rng.uniform(0.02, 0.2)),
        pedestal_adc=float(rng.uniform(20, 300)),
        noise_adc=gain_adc * float(np.exp(rng.uniform(np.log(0.03), np.log(0.3)))),
    )
