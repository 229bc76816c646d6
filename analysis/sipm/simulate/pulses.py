"""The pulse of one avalanche: a sum of exponentials, so that gates and samples are exact.

A pulse of unit area with decay times tau_i (shares w_i) and rise time r is

    h(t) = sum_i w_i [exp(-t/tau_i) - exp(-t/r)] / (tau_i - r),    t > 0,

that is a sum of unit-area exponentials with the weights w_i tau_i / (tau_i - r) and, for r, minus
the sum of w_i r / (tau_i - r). A high-pass filter (AC coupling with time constant T) turns each
unit exponential into T/(T - tau) [E_tau - E_T]: again exponentials, of no area altogether.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from analysis.sipm.simulate.truth import SiPMTruth

NEAR = 1e-6


@dataclass(frozen=True)
class Pulse:
    """sum_j weights[j] exp(-t / taus_ns[j]) / taus_ns[j] for t > 0, per ns."""

    weights: tuple[float, ...]
    taus_ns: tuple[float, ...]


def pulse_of(truth: SiPMTruth, coupling_ns: float = inf) -> Pulse:
    """Pulse of one avalanche with unit area, behind an AC coupling unless coupling_ns is infinite.

    Raises ValueError on a decay time or coupling that is not positive, a negative rise time or a
    share outside 0..1.
    """
    if min(truth.pulse_tau_ns, truth.pulse_slow_ns, coupling_ns) <= 0 or truth.pulse_rise_ns < 0:
        raise ValueError("decay and coupling times must be positive, the rise time not negative")
    if not 0 <= truth.pulse_slow_share <= 1:
        raise ValueError(f"pulse_slow_share must be within 0..1, not {truth.pulse_slow_share}")
    terms: dict[float, float] = {}
    shares = (
        (1.0 - truth.pulse_slow_share, truth.pulse_tau_ns),
        (truth.pulse_slow_share, truth.pulse_slow_ns),
    )
    for share, decay in shares:
        rise = _apart(truth.pulse_rise_ns, decay) if truth.pulse_rise_ns > NEAR * decay else 0.0
        for weight, tau in (
            (share * decay / (decay - rise), decay),
            (-share * rise / (decay - rise), rise),
        ):
            if weight == 0 or tau == 0:
                continue
            if coupling_ns == inf:
                terms[tau] = terms.get(tau, 0.0) + weight
            else:
                coupling = _apart(coupling_ns, tau)
                part = weight * coupling / (coupling - tau)
                terms[tau] = terms.get(tau, 0.0) + part
                terms[coupling] = terms.get(coupling, 0.0) - part
    return Pulse(tuple(terms.values()), tuple(terms))


def area_until(pulse: Pulse, time_ns: NDArray[np.float64]) -> NDArray[np.float64]:
    """Integral of the pulse from its start to `time_ns` after it; zero for negative times."""
    after = np.maximum(time_ns, 0.0)
    area = np.zeros_like(after)
    for weight, tau in zip(pulse.weights, pulse.taus_ns, strict=True):
        area -= weight * np.expm1(after / -tau)
    return area


def area_between(
    pulse: Pulse,
    time_ns: NDArray[np.float64],
    begin_ns: float | NDArray[np.float64],
    end_ns: float | NDArray[np.float64],
) -> NDArray[np.float64]:
    """Part of the pulses starting at `time_ns` that lies between begin_ns and end_ns."""
    until_end = area_until(pulse, end_ns - time_ns)
    if np.min(time_ns, initial=inf) >= np.max(begin_ns):
        return until_end
    return np.asarray(until_end - area_until(pulse, begin_ns - time_ns), dtype=np.float64)


def sampled(
    pulse: Pulse,
    row: NDArray[np.int64],
    time_ns: NDArray[np.float64],
    size: NDArray[np.float64],
    *,
    n_rows: int,
    n_samples: int,
    dt_ns: float,
) -> NDArray[np.float64]:
    """Pulses of area `size` starting at `time_ns` in `row`, averaged over samples of dt_ns.

    Sample k covers k dt_ns to (k + 1) dt_ns: the sum of samples times dt_ns is the integral.
    Returns (n_rows, n_samples), in units of size per ns.
    """
    inside = time_ns < n_samples * dt_ns
    row, time_ns, size = row[inside], time_ns[inside], size[inside]
    first = np.floor(np.maximum(time_ns, 0.0) / dt_ns).astype(np.int64)
    first = np.minimum(first, n_samples - 1)
    to_next = (first + 1) * dt_ns - time_ns
    before = np.maximum(-time_ns, 0.0)
    at = row * n_samples + first
    waves = np.zeros((n_rows, n_samples))
    for weight, tau in zip(pulse.weights, pulse.taus_ns, strict=True):
        fade = np.exp(-dt_ns / tau)
        left_over = np.exp(-to_next / tau)
        here = weight * size * (np.exp(-before / tau) - left_over)
        next_one = weight * size * left_over * (1.0 - fade) - fade * here
        steps = np.bincount(at, weights=here, minlength=n_rows * n_samples)
        follows = first + 1 < n_samples
        np.add.at(steps, at[follows] + 1, next_one[follows])
        waves += lfilter([1.0], [1.0, -fade], steps.reshape(n_rows, n_samples), axis=1)
    return waves / dt_ns


def _apart(tau_ns: float, other_ns: float) -> float:
    return tau_ns if abs(tau_ns - other_ns) > NEAR * other_ns else other_ns * (1 + 2 * NEAR)
