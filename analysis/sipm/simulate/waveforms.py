"""Waveforms that a digitiser sees: the same avalanches as those of the charges."""

from math import inf

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.simulate.avalanches import history_ns, rates, simulate_avalanches
from analysis.sipm.simulate.coupling import baseline_before
from analysis.sipm.simulate.pulses import pulse_of, sampled
from analysis.sipm.simulate.readout import (
    Readout,
    add_sample_noise,
    digitised,
    row_blocks,
)
from analysis.sipm.simulate.truth import SiPMTruth, gain, overvoltage


def simulate_waveforms(
    rng: np.random.Generator,
    truth: SiPMTruth,
    *,
    bias_v: float,
    temperature_c: float,
    mean_photons: float,
    n_events: int,
    n_samples: int,
    dt_ns: float,
    pedestal_adc: float | None = None,
    noise_adc: float | None = None,
    light_at_ns: float | None = None,
    readout: Readout | None = None,
) -> NDArray[np.float64]:
    """Waveforms of `n_events` triggers, in ADC; not rounded or clipped unless the readout does so.

    Sample k is the mean signal from k dt_ns to (k + 1) dt_ns: the sum of samples times dt_ns is
    the integral. The pulse of one avalanche has the area `gain(...)`, in ADC ns, and the height
    gain / pulse_tau_ns for a pulse of one decay time; it begins at the avalanche.

    mean_photons: mean photons per pulse, arriving at light_at_ns; 0 for dark waveforms. Dark counts
        go on all the time, also before the first sample.
    readout: settings of the readout; pedestal_adc (the baseline), noise_adc (white, per sample) and
        light_at_ns replace its values where given. Its gate plays no part.

    With the same `rng`, light_at_ns, a gate of all samples and no gate jitter, `simulate_charges`
    sees the very same avalanches: the integral over the waveform is charge times `gate_share`.

    Returns (n_events, n_samples). Raises ValueError on negative numbers, a time step that is not
    positive or light outside the waveform.
    """
    if min(mean_photons, n_events, n_samples) < 0 or not dt_ns > 0:
        raise ValueError("light, events and samples must not be negative, and dt_ns positive")
    length_ns = n_samples * dt_ns
    if not n_samples:
        return np.zeros((n_events, 0))
    readout = (readout or Readout()).changed(
        pedestal_adc=pedestal_adc, noise_adc=noise_adc, gate_ns=length_ns, light_at_ns=light_at_ns
    )
    pulse = pulse_of(truth, readout.coupling_ns)
    over = overvoltage(truth, bias_v, temperature_c)
    mean = rates(truth, bias_v, temperature_c, mean_photons)
    start_ns = -history_ns(truth, mean, max(pulse_of(truth).taus_ns))
    waves = np.zeros((n_events, n_samples))
    for events, fired in simulate_avalanches(
        rng,
        truth,
        bias_v=bias_v,
        temperature_c=temperature_c,
        mean_photons=mean_photons,
        n_events=n_events,
        start_ns=start_ns,
        stop_ns=length_ns,
        light_at_ns=readout.light_at_ns,
        light_width_ns=readout.light_width_ns,
    ):
        size = fired.size
        if truth.gain_spread > 0:
            size = size * (1.0 + truth.gain_spread * rng.standard_normal(len(fired)))
        order = np.argsort(fired.event, kind="stable")
        event, time, size = fired.event[order], fired.time_ns[order], size[order]
        for rows in row_blocks(events.stop - events.start, n_samples):
            first, last = np.searchsorted(event, [rows.start, rows.stop])
            waves[events][rows] = sampled(
                pulse,
                event[first:last] - rows.start,
                time[first:last],
                size[first:last],
                n_rows=rows.stop - rows.start,
                n_samples=n_samples,
                dt_ns=dt_ns,
            )
    if readout.coupling_ns < inf and over > 0:
        level = baseline_before(
            rng,
            truth,
            mean,
            overvoltage_v=over,
            coupling_ns=readout.coupling_ns,
            n_events=n_events,
        )
        edges = (np.arange(n_samples + 1) * dt_ns - start_ns) / readout.coupling_ns
        waves -= level[:, None] * np.diff(np.exp(-edges)) * readout.coupling_ns / dt_ns
    waves *= gain(truth, bias_v, temperature_c)
    add_sample_noise(rng, readout, waves, dt_ns)
    return digitised(waves, readout)
