"""Charges that a gated ADC sees."""

from math import inf

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.simulate.avalanches import (
    history_ns,
    rates,
    simulate_avalanches,
)
from analysis.sipm.simulate.coupling import baseline_before
from analysis.sipm.simulate.pulses import Pulse, area_between, pulse_of
from analysis.sipm.simulate.readout import Readout, charge_noise, digitised
from analysis.sipm.simulate.truth import SiPMTruth, gain, overvoltage

JITTER_REACH = 6.0
LEAST_SHARE = 1e-3


def gate_share(truth: SiPMTruth, readout: Readout) -> float:
    """Part of a photoelectron's pulse that the gate sees, 0..1.

    `simulate_charges` counts it as a part of the gain: the integral of a waveform over the same
    gate is the charge times this share.
    """
    return _share(pulse_of(truth, readout.coupling_ns), readout)


def simulate_charges(
    rng: np.random.Generator,
    truth: SiPMTruth,
    *,
    bias_v: float,
    temperature_c: float,
    mean_photons: float,
    n_events: int,
    pedestal_adc: float | None = None,
    noise_adc: float | None = None,
    gate_ns: float | None = None,
    light_at_ns: float | None = None,
    readout: Readout | None = None,
) -> NDArray[np.float64]:
    """Charges of `n_events` gates, in ADC; neither rounded nor clipped unless the readout does.

    mean_photons: mean photons per pulse on the SiPM; 0 for light off. The mean number of primary
        photoelectrons is mean_photons times the PDE.
    readout: all settings of the readout; pedestal_adc, noise_adc, gate_ns and light_at_ns replace
        its values where given.

    A photoelectron of the light has on average the charge `gain(...)`: the small part of its pulse
    that the gate cuts off is included in the gain.

    Returns (n_events,). Raises ValueError on negative numbers, a light outside the gate, or a
    gate that sees less than a thousandth of the light, as behind a fast AC coupling.
    """
    if mean_photons < 0 or n_events < 0:
        raise ValueError("mean_photons and n_events must not be negative")
    readout = (readout or Readout()).changed(
        pedestal_adc=pedestal_adc, noise_adc=noise_adc, gate_ns=gate_ns, light_at_ns=light_at_ns
    )
    pulse = pulse_of(truth, readout.coupling_ns)
    in_pe = np.zeros(n_events)
    over = overvoltage(truth, bias_v, temperature_c)
    mean = rates(truth, bias_v, temperature_c, mean_photons)
    reach = JITTER_REACH * readout.gate_jitter_ns
    slowest = max(pulse_of(truth).taus_ns)
    start_ns = -reach - history_ns(truth, mean, slowest)
    gate_at = readout.gate_jitter_ns * rng.standard_normal(n_events) if reach > 0 else None
    for events, fired in simulate_avalanches(
        rng,
        truth,
        bias_v=bias_v,
        temperature_c=temperature_c,
        mean_photons=mean_photons,
        n_events=n_events,
        start_ns=start_ns,
        stop_ns=readout.gate_ns + reach,
        light_at_ns=readout.light_at_ns,
        light_width_ns=readout.light_width_ns,
    ):
        time = fired.time_ns if gate_at is None else fired.time_ns - gate_at[events][fired.event]
        seen = fired.size * area_between(pulse, time, 0.0, readout.gate_ns)
        if truth.gain_spread > 0:
            seen *= 1.0 + truth.gain_spread * rng.standard_normal(len(fired))
        n_here = events.stop - events.start
        in_pe[events] = np.bincount(fired.event, weights=seen, minlength=n_here)
    if readout.coupling_ns < inf and over > 0:
        level = baseline_before(
            rng,
            truth,
            mean,
            overvoltage_v=over,
            coupling_ns=readout.coupling_ns,
            n_events=n_events,
        )
        since = -start_ns if gate_at is None else gate_at - start_ns
        faded = np.exp(-since / readout.coupling_ns)
        in_pe += (
            level * readout.coupling_ns * faded * -np.expm1(-readout.gate_ns / readout.coupling_ns)
        )
    charge = in_pe * (gain(truth, bias_v, temperature_c) / _share(pulse, readout))
    return digitised(charge + charge_noise(rng, readout, n_events), readout)


def _share(pulse: Pulse, readout: Readout) -> float:
    light = np.array([readout.light_at_ns])
    share = float(area_between(pulse, light, 0.0, readout.gate_ns)[0])
    if share < LEAST_SHARE:
        raise ValueError(f"of the light's charge the gate sees no more than {share:.1g}")
    return share
