"""A stream of dark avalanches with known rates, and what gates and digitisers see of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class DarkTruth:
    """crosstalk: mean prompt secondaries per avalanche; afterpulse: mean afterpulses per avalanche,
    delayed by `afterpulse_ns` on average and reduced by the recovery of the pixel."""

    dcr_hz: float = 3e5
    crosstalk: float = 0.1
    afterpulse: float = 0.05
    afterpulse_ns: float = 40.0
    slow_share: float = 0.0
    slow_ns: float = 150.0
    recovery_ns: float = 15.0
    gain_spread: float = 0.04


def avalanches(
    rng: np.random.Generator, truth: DarkTruth, length_ns: float
) -> tuple[Array, Array, Array]:
    """Times (sorted, ns), amplitudes (pe, partners of crosstalk added up) and origin of pulses.

    Origin is 0 for primaries and 1 for afterpulses.
    """
    n = rng.poisson(truth.dcr_hz * 1e-9 * length_ns)
    time, origin = length_ns * rng.random(n), np.zeros(n)
    size = np.ones(n)
    times, sizes, origins = [np.zeros(0)], [np.zeros(0)], [np.zeros(0)]
    while len(time):
        many = np.ones(len(time), dtype=np.int64)
        partners = generation = rng.poisson(truth.crosstalk * size)
        while generation.any():
            many = many + generation
            generation = rng.poisson(truth.crosstalk * generation)
        partners = many - 1
        spread = truth.gain_spread * np.sqrt(size**2 + partners) * rng.standard_normal(len(time))
        times.append(time)
        sizes.append(size + partners + spread)
        origins.append(origin)
        again = np.repeat(time, rng.poisson(truth.afterpulse * (size + partners)))
        slow = rng.random(len(again)) < truth.slow_share
        delay = rng.exponential(np.where(slow, truth.slow_ns, truth.afterpulse_ns))
        inside = again + delay < length_ns
        time, delay = (again + delay)[inside], delay[inside]
        size = 1 - np.exp(-delay / truth.recovery_ns)
        origin = np.ones(len(time))
    all_times = np.concatenate(times)
    order = np.argsort(all_times)
    return all_times[order], np.concatenate(sizes)[order], np.concatenate(origins)[order]


def gated_charges(
    rng: np.random.Generator,
    truth: DarkTruth,
    *,
    n_gates: int,
    gate_ns: float,
    tau_ns: float,
    gain_adc: float,
    pedestal_adc: float,
    noise_adc: float,
    before_ns: float = 600.0,
) -> Array:
    """Charges of dark gates, ADC; every gate has a history of `before_ns`."""
    period = gate_ns + before_ns
    time, size, _ = avalanches(rng, truth, n_gates * period)
    gate = (time // period).astype(np.int64)
    start = time - gate * period - before_ns
    begin, end = np.maximum(-start, 0.0), np.maximum(gate_ns - start, 0.0)
    share = np.exp(-begin / tau_ns) - np.exp(-end / tau_ns)
    charge = np.bincount(gate, weights=share * size, minlength=n_gates)[:n_gates]
    noise = noise_adc * rng.standard_normal(n_gates)
    return np.asarray(pedestal_adc + gain_adc * charge + noise)


def records(
    rng: np.random.Generator,
    truth: DarkTruth,
    *,
    n_records: int,
    n_samples: int,
    dt_ns: float = 1.0,
    rise_ns: float = 1.0,
    tau_ns: float = 8.0,
    gain_adc: float = 20.0,
    noise_adc: float = 1.0,
    baseline_adc: float = 100.0,
    before_ns: float = 300.0,
) -> tuple[Array, Array, Array, Array]:
    """Waveforms (n_records, n_samples) in ADC, and record, time (ns) and size (pe) of the pulses.

    A pulse of one photoelectron has its maximum at `gain_adc`.
    """
    length = n_samples * dt_ns
    period = length + before_ns
    time, size, _ = avalanches(rng, truth, n_records * period)
    record = (time // period).astype(np.int64)
    start = time - record * period - before_ns
    shown = start < length
    record, start, size = record[shown], start[shown], size[shown]
    reach = np.arange(int(12 * tau_ns / dt_ns) + 2)
    first = np.ceil(start / dt_ns).astype(np.int64)
    sample = first[:, None] + reach
    after = sample * dt_ns - start[:, None]
    shape = np.exp(-after / tau_ns) - np.exp(-after / rise_ns)
    top_at = np.log(tau_ns / rise_ns) * tau_ns * rise_ns / (tau_ns - rise_ns)
    top = np.exp(-top_at / tau_ns) - np.exp(-top_at / rise_ns)
    value = gain_adc * size[:, None] * shape / top
    inside = (sample >= 0) & (sample < n_samples)
    flat = (record[:, None] * n_samples + sample)[inside]
    waves = np.bincount(flat, weights=value[inside], minlength=n_records * n_samples)
    waves = waves.reshape(n_records, n_samples) + baseline_adc
    waves += noise_adc * rng.standard_normal(waves.shape)
    seen = start >= 0
    return waves, record[seen], start[seen], size[seen]
