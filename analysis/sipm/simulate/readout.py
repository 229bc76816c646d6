"""What the readout does to the signal: gate, noise of all colours, coupling and the ADC."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len
from scipy.signal import lfilter

SAMPLES_PER_BLOCK = 1 << 16


@dataclass(frozen=True)
class Readout:
    """Settings and imperfections of the readout of one channel. Defaults: a good, simple one.

    gate_ns, light_at_ns: length of the charge gate, and when the light arrives after its start.
    light_width_ns: rms spread of the arrival of the photons of one pulse.
    gate_jitter_ns: rms of the gate's position from event to event.
    pedestal_adc: charge without signal; in waveforms the level of the baseline.
    noise_adc: rms of white noise per charge; in waveforms per sample.
    one_over_f_adc: rms of noise with a power spectrum 1/f, over the run from charge to charge; in
        waveforms over the samples of each waveform.
    pickup_adc, pickup_mhz: amplitude and frequency of a sine that the trigger knows nothing of; a
        charge sees it averaged over the gate.
    wander_adc, wander_events: rms and correlation length of a slowly wandering baseline.
    coupling_ns: time constant of an AC coupling; infinite for DC coupling.
    adc_bits: resolution of the ADC, which rounds and clips to 0..2^bits - 1; None for neither.
    nonlinearity: relative loss at full_scale_adc: q becomes q (1 - nonlinearity q/full_scale_adc),
        for q within 0..full_scale_adc.
    """

    gate_ns: float = 60.0
    light_at_ns: float = 5.0
    light_width_ns: float = 0.0
    gate_jitter_ns: float = 0.0
    pedestal_adc: float = 100.0
    noise_adc: float = 3.0
    one_over_f_adc: float = 0.0
    pickup_adc: float = 0.0
    pickup_mhz: float = 0.05
    wander_adc: float = 0.0
    wander_events: float = 1000.0
    coupling_ns: float = inf
    adc_bits: int | None = None
    nonlinearity: float = 0.0
    full_scale_adc: float = 4096.0

    def __post_init__(self) -> None:
        for name in (
            "light_width_ns",
            "gate_jitter_ns",
            "noise_adc",
            "one_over_f_adc",
            "pickup_adc",
            "pickup_mhz",
            "wander_adc",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, and is {getattr(self, name)}")
        for name in ("wander_events", "coupling_ns", "full_scale_adc"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, and is {getattr(self, name)}")
        if not 0 <= self.light_at_ns < self.gate_ns:
            raise ValueError(
                f"light at {self.light_at_ns} ns is outside the gate of {self.gate_ns} ns"
            )
        if not -1 < self.nonlinearity <= 0.5:
            raise ValueError("beyond a nonlinearity of 0.5 the ADC is no longer monotonic")
        if self.adc_bits is not None and not 1 <= self.adc_bits <= 32:
            raise ValueError(f"an ADC of {self.adc_bits} bits")

    def changed(
        self,
        *,
        pedestal_adc: float | None = None,
        noise_adc: float | None = None,
        gate_ns: float | None = None,
        light_at_ns: float | None = None,
    ) -> "Readout":
        """This readout with the values that are given."""
        return replace(
            self,
            pedestal_adc=self.pedestal_adc if pedestal_adc is None else pedestal_adc,
            noise_adc=self.noise_adc if noise_adc is None else noise_adc,
            gate_ns=self.gate_ns if gate_ns is None else gate_ns,
            light_at_ns=self.light_at_ns if light_at_ns is None else light_at_ns,
        )


def one_over_f(
    rng: np.random.Generator, n_series: int, n_samples: int, rms: float
) -> NDArray[np.float64]:
    """Gaussian noise with a power spectrum 1/f, (n_series, n_samples).

    The spectrum reaches from one period per series to half a period per sample; `rms` is the square
    root of its integral, so that the average variance is rms^2.
    """
    if n_series == 0 or n_samples == 0:
        return np.zeros((n_series, n_samples))
    length = next_fast_len(max(n_samples, 2), real=True)
    frequency = np.arange(length // 2 + 1)
    amplitude = np.zeros(len(frequency))
    amplitude[1:] = 1.0 / np.sqrt(frequency[1:])
    power = 2.0 * np.sum(amplitude[1:] ** 2)
    if length % 2 == 0:
        power -= amplitude[-1] ** 2
    spectrum = amplitude * (
        rng.standard_normal((n_series, len(frequency)))
        + 1j * rng.standard_normal((n_series, len(frequency)))
    )
    if length % 2 == 0:
        spectrum[:, -1] = spectrum[:, -1].real * np.sqrt(2.0)
    scale = rms * length / np.sqrt(2.0 * power)
    return np.asarray(scale * irfft(spectrum, length, axis=1)[:, :n_samples], dtype=np.float64)


def wander(
    rng: np.random.Generator, n_events: int, rms: float, events: float
) -> NDArray[np.float64]:
    """Baseline that wanders from event to event, with exponential correlation, (n_events,)."""
    keep = np.exp(-1.0 / events)
    steps = rng.standard_normal(n_events) * np.sqrt(1.0 - keep**2)
    if n_events:
        steps[0] = rng.standard_normal()
    return np.asarray(rms * lfilter([1.0], [1.0, -keep], steps), dtype=np.float64)


def charge_noise(rng: np.random.Generator, readout: Readout, n_events: int) -> NDArray[np.float64]:
    """Pedestal and all noise of `n_events` charges, ADC."""
    charge = np.full(n_events, readout.pedestal_adc, dtype=np.float64)
    if readout.noise_adc > 0:
        charge += readout.noise_adc * rng.standard_normal(n_events)
    if readout.one_over_f_adc > 0:
        charge += one_over_f(rng, 1, n_events, readout.one_over_f_adc)[0]
    if readout.pickup_adc > 0:
        in_gate = np.sinc(readout.pickup_mhz * 1e-3 * readout.gate_ns)
        charge += readout.pickup_adc * in_gate * np.sin(2 * np.pi * rng.random(n_events))
    if readout.wander_adc > 0:
        charge += wander(rng, n_events, readout.wander_adc, readout.wander_events)
    return charge


def add_sample_noise(
    rng: np.random.Generator, readout: Readout, waves: NDArray[np.float64], dt_ns: float
) -> None:
    """Add the baseline and all noise to waveforms (n_events, n_samples), in place, ADC."""
    n_events, n_samples = waves.shape
    waves += readout.pedestal_adc
    if readout.noise_adc > 0:
        for rows in row_blocks(n_events, n_samples):
            waves[rows] += readout.noise_adc * rng.standard_normal(waves[rows].shape)
    if readout.one_over_f_adc > 0:
        for rows in row_blocks(n_events, n_samples):
            waves[rows] += one_over_f(
                rng, rows.stop - rows.start, n_samples, readout.one_over_f_adc
            )
    if readout.pickup_adc > 0:
        turns = readout.pickup_mhz * 1e-3 * dt_ns * np.arange(n_samples)
        waves += readout.pickup_adc * np.sin(2 * np.pi * (turns + rng.random((n_events, 1))))
    if readout.wander_adc > 0:
        waves += wander(rng, n_events, readout.wander_adc, readout.wander_events)[:, None]


def row_blocks(n_rows: int, n_columns: int) -> Iterator[slice]:
    """Blocks of rows that fit into the processor's cache."""
    step = max(1, SAMPLES_PER_BLOCK // max(n_columns, 1))
    for begin in range(0, n_rows, step):
        yield slice(begin, min(begin + step, n_rows))


def digitised(analogue: NDArray[np.float64], readout: Readout) -> NDArray[np.float64]:
    """The ADC's answer: nonlinearity, then rounding and clipping."""
    seen = analogue
    if readout.nonlinearity != 0:
        full = readout.full_scale_adc
        seen = seen * (1.0 - readout.nonlinearity * np.clip(seen / full, 0.0, 1.0))
    if readout.adc_bits is not None:
        seen = np.clip(np.rint(seen), 0.0, 2.0**readout.adc_bits - 1)
    return seen
