"""Charges and dark currents of a SiPM whose parameters are known.

Every avalanche is followed one by one: Poisson primaries with light jitter, branching prompt
crosstalk, afterpulses with two time constants and recovery, dark counts before and inside the gate
with the part of their charge that the gate sees, pixel gain spread, and a finite number of pixels.
The physics follows S. Vinogradov, arXiv:1109.2014 (branching crosstalk) and J. Rolph et al.,
arXiv:2301.11833 (partial charges of dark counts and afterpulses).
"""

from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import ArrayLike, NDArray

ELECTRON_CHARGE_C = 1.602176634e-19
REFERENCE_TEMPERATURE_C = 25.0
REFERENCE_OVERVOLTAGE_V = 3.0
MAX_GENERATIONS = 60
PRE_GATE_IN_PULSE_TAUS = 6.0


@dataclass(frozen=True)
class SiPMTruth:
    """True parameters of one SiPM and its readout channel.

    vbd_v: breakdown voltage at 25 C, where the gain extrapolates to zero.
    gain_per_v: ADC per photoelectron and volt of overvoltage.
    gain_spread: relative gain spread between pixels, sigma_G / G.
    pde_max, pde_scale_v: PDE = pde_max (1 - exp(-overvoltage / pde_scale_v)).
    crosstalk_per_v: mean prompt secondaries per avalanche (branching lambda) per volt.
    afterpulse: mean afterpulses per avalanche at 3 V overvoltage; grows with its square.
    dcr_hz: dark count rate at 25 C and 3 V overvoltage; grows linearly with the overvoltage and
        doubles every dcr_doubling_k.
    n_pixels: number of pixels.
    leakage_a: current that is not multiplied, at breakdown and 25 C.
    light_jitter: relative event-to-event spread of the light.
    pulse_tau_ns: decay time of the pulse that the gate integrates.
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


def afterpulsing(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Mean afterpulses per avalanche."""
    over = overvoltage(truth, bias_v, temperature_c)
    return truth.afterpulse * (over / REFERENCE_OVERVOLTAGE_V) ** 2


def dark_rate_hz(truth: SiPMTruth, bias_v: float, temperature_c: float) -> float:
    """Rate of primary dark counts, Hz."""
    over = overvoltage(truth, bias_v, temperature_c)
    warmer = (temperature_c - REFERENCE_TEMPERATURE_C) / truth.dcr_doubling_k
    return float(truth.dcr_hz * over / REFERENCE_OVERVOLTAGE_V * 2.0**warmer)


def simulate_charges(
    rng: np.random.Generator,
    truth: SiPMTruth,
    *,
    bias_v: float,
    temperature_c: float,
    mean_photons: float,
    n_events: int,
    pedestal_adc: float,
    noise_adc: float,
    gate_ns: float = 60.0,
    light_at_ns: float = 5.0,
) -> NDArray[np.float64]:
    """Charges of `n_events` gates, in ADC, neither rounded nor clipped.

    mean_photons: mean photons per pulse on the SiPM; 0 for light off. The mean number of primary
        photoelectrons is mean_photons times the PDE.
    gate_ns: integration time; the light arrives `light_at_ns` after its start.

    A photoelectron of the light has on average the charge `gain(...)`: the small part of its pulse
    that the gate cuts off is included in the gain.

    Returns (n_events,). Raises ValueError on negative numbers or a light outside the gate.
    """
    if mean_photons < 0 or n_events < 0 or noise_adc < 0:
        raise ValueError("mean_photons, n_events and noise_adc must not be negative")
    if not 0 <= light_at_ns < gate_ns:
        raise ValueError(f"light at {light_at_ns} ns is outside the gate of {gate_ns} ns")
    charge = pedestal_adc + noise_adc * rng.standard_normal(n_events)
    adc_per_pe = gain(truth, bias_v, temperature_c)
    if adc_per_pe == 0 or n_events == 0:
        return charge
    event, time = _primaries(
        rng,
        truth,
        mean_pe=mean_photons * photon_detection(truth, bias_v, temperature_c),
        dark_per_ns=dark_rate_hz(truth, bias_v, temperature_c) * 1e-9,
        n_events=n_events,
        gate_ns=gate_ns,
        light_at_ns=light_at_ns,
    )
    event, time, size = _cascade(
        rng,
        truth,
        event,
        time,
        mean_crosstalk=crosstalk(truth, bias_v, temperature_c),
        mean_afterpulses=afterpulsing(truth, bias_v, temperature_c),
        gate_ns=gate_ns,
    )
    seen = _gate_share(time, gate_ns, truth.pulse_tau_ns)
    seen /= _gate_share(np.array([light_at_ns]), gate_ns, truth.pulse_tau_ns)
    size = size * seen * (1.0 + truth.gain_spread * rng.standard_normal(len(size)))
    return charge + adc_per_pe * np.bincount(event, weights=size, minlength=n_events)


def current_a(
    truth: SiPMTruth, bias_v: ArrayLike, temperature_c: float
) -> NDArray[np.float64] | float:
    """Dark current in reverse bias, A: unmultiplied leakage plus avalanches.

    bias_v: one voltage or an array of any shape; the answer has the same shape. The avalanche part
    is q DCR G / (1 - lambda - afterpulses), with the rate turning on `turn_on_v` above the
    breakdown of the gain.
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
        truth.crosstalk_per_v * over + truth.afterpulse * (over / REFERENCE_OVERVOLTAGE_V) ** 2,
        0.95,
    )
    avalanches = rate_hz * truth.electrons_per_v * over / (1.0 - secondaries)
    total = leakage + ELECTRON_CHARGE_C * avalanches
    return float(total) if total.ndim == 0 else np.asarray(total, dtype=np.float64)


def _gate_share(time_ns: NDArray[np.float64], gate_ns: float, tau_ns: float) -> NDArray[np.float64]:
    """Part of an exponential pulse starting at `time_ns` that lies in the gate 0..gate_ns."""
    begin = np.maximum(-time_ns, 0.0)
    end = np.maximum(gate_ns - time_ns, 0.0)
    return np.asarray(np.exp(-begin / tau_ns) - np.exp(-end / tau_ns), dtype=np.float64)


def _primaries(
    rng: np.random.Generator,
    truth: SiPMTruth,
    *,
    mean_pe: float,
    dark_per_ns: float,
    n_events: int,
    gate_ns: float,
    light_at_ns: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    light = np.maximum(1.0 + truth.light_jitter * rng.standard_normal(n_events), 0.0)
    n_light = rng.poisson(mean_pe * light)
    window_ns = gate_ns + PRE_GATE_IN_PULSE_TAUS * truth.pulse_tau_ns
    n_dark = rng.poisson(dark_per_ns * window_ns, n_events)
    events = np.arange(n_events)
    event = np.concatenate([np.repeat(events, n_light), np.repeat(events, n_dark)])
    time = np.concatenate(
        [
            np.full(n_light.sum(), light_at_ns),
            gate_ns - window_ns * rng.random(n_dark.sum()),
        ]
    )
    return event, time


def _cascade(
    rng: np.random.Generator,
    truth: SiPMTruth,
    event: NDArray[np.int64],
    time: NDArray[np.float64],
    *,
    mean_crosstalk: float,
    mean_afterpulses: float,
    gate_ns: float,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Event, time (ns) and size (1 = full) of all avalanches that the primaries lead to."""
    pixel = rng.integers(truth.n_pixels, size=len(event))
    fresh = _first_in_pixel(event, pixel, truth.n_pixels)
    event, time, pixel = event[fresh], time[fresh], pixel[fresh]
    size = np.ones(len(event))
    fired = [(event, time, size)]
    by_primaries = np.sort(event * truth.n_pixels + pixel)
    by_others = np.zeros(0, dtype=np.int64)
    for _ in range(MAX_GENERATIONS):
        to_neighbour = np.repeat(
            np.arange(len(event)), rng.poisson(np.minimum(mean_crosstalk, 1.0) * size)
        )
        again = np.repeat(np.arange(len(event)), rng.poisson(mean_afterpulses * size))
        slow = rng.random(len(again)) < truth.afterpulse_slow_share
        delay = rng.exponential(np.where(slow, truth.afterpulse_slow_ns, truth.afterpulse_fast_ns))
        child_event = np.concatenate([event[to_neighbour], event[again]])
        child_time = np.concatenate([time[to_neighbour], time[again] + delay])
        child_pixel = np.concatenate(
            [rng.integers(truth.n_pixels, size=len(to_neighbour)), pixel[again]]
        )
        child_size = np.concatenate(
            [np.ones(len(to_neighbour)), 1.0 - np.exp(-delay / truth.recovery_ns)]
        )
        child = child_event * truth.n_pixels + child_pixel
        allowed = ~(_among(child, by_primaries) | np.isin(child, by_others))
        allowed &= _first_in_pixel(child_event, child_pixel, truth.n_pixels)
        allowed[len(to_neighbour) :] = True
        allowed &= child_time < gate_ns
        event, time = child_event[allowed], child_time[allowed]
        size, pixel = child_size[allowed], child_pixel[allowed]
        if not len(event):
            break
        fired.append((event, time, size))
        by_others = np.append(by_others, child[allowed])
    return (
        np.concatenate([e for e, _, _ in fired]),
        np.concatenate([t for _, t, _ in fired]),
        np.concatenate([s for _, _, s in fired]),
    )


def _among(values: NDArray[np.int64], ordered: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which values occur in an ordered array."""
    if not len(ordered):
        return np.zeros(len(values), dtype=bool)
    at = np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)
    return np.asarray(ordered[at] == values, dtype=np.bool_)


def _first_in_pixel(
    event: NDArray[np.int64], pixel: NDArray[np.int64], n_pixels: int
) -> NDArray[np.bool_]:
    """Which avalanches are the first of their event in their pixel."""
    first = np.zeros(len(event), dtype=bool)
    first[np.unique(event * n_pixels + pixel, return_index=True)[1]] = True
    return first
