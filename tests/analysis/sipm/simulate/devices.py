"""Plain devices with one ingredient at a time, and how to look at their avalanches."""

from dataclasses import replace

import numpy as np
from scipy.special import gammaln
from scipy.stats import chi2

from analysis.sipm.simulate import Avalanches, SiPMTruth, photon_detection, simulate_avalanches

BIAS_V = 40.778
TEMPERATURE_C = 25.0
OVER_V = 3.0
AT = {"bias_v": BIAS_V, "temperature_c": TEMPERATURE_C}

PLAIN = SiPMTruth(
    gain_spread=0.0,
    crosstalk_per_v=0.0,
    afterpulse=0.0,
    dcr_hz=0.0,
    light_jitter=0.0,
    n_pixels=100_000_000,
)
"""Only light, in pixels that never meet."""


def plain(**ingredients: float) -> SiPMTruth:
    return replace(PLAIN, **ingredients)  # type: ignore[arg-type]


def photons(truth: SiPMTruth, mean_pe: float) -> float:
    return mean_pe / photon_detection(truth, BIAS_V, TEMPERATURE_C)


def avalanches(
    truth: SiPMTruth,
    mean_pe: float,
    n_events: int,
    *,
    seed: int = 1,
    start_ns: float = 0.0,
    stop_ns: float = 60.0,
    light_at_ns: float = 5.0,
) -> Avalanches:
    """All avalanches, with `event` counted over the whole run."""
    found = [
        (events.start, fired)
        for events, fired in simulate_avalanches(
            np.random.default_rng(seed),
            truth,
            **AT,
            mean_photons=photons(truth, mean_pe),
            n_events=n_events,
            start_ns=start_ns,
            stop_ns=stop_ns,
            light_at_ns=light_at_ns,
        )
    ]
    return Avalanches(
        np.concatenate([first + fired.event for first, fired in found]),
        *(
            np.concatenate([getattr(fired, name) for _, fired in found])
            for name in ("time_ns", "pixel", "size", "origin")
        ),
    )


def generalised_poisson(k: np.ndarray, mu: float, rate: float) -> np.ndarray:
    """arXiv:1109.2014."""
    lit = mu + k * rate
    return np.exp(np.log(mu) + (k - 1) * np.log(lit) - lit - gammaln(k + 1))


def chi2_probability(counts: np.ndarray, expected: np.ndarray) -> float:
    """p-value of counts against expectations; bins with few entries are joined."""
    edges = [0]
    for i in range(len(expected)):
        if expected[edges[-1] : i + 1].sum() >= 20 and expected[i + 1 :].sum() >= 20:
            edges.append(i + 1)
    seen = np.add.reduceat(counts.astype(float), edges)
    mean = np.add.reduceat(expected.astype(float), edges)
    return float(chi2.sf(np.sum((seen - mean) ** 2 / mean), len(edges)))


def mean_pull(values: np.ndarray, expected: float) -> float:
    return float((values.mean() - expected) / (values.std() / np.sqrt(len(values))))


def variance_pull(values: np.ndarray, expected: float) -> float:
    off = (values - values.mean()) ** 2
    return float((off.mean() - expected) / (off.std() / np.sqrt(len(values))))


def fano_pull(values: np.ndarray, expected: float) -> float:
    """Pull of variance / mean, from the scatter of (q - m)^2 - (variance / mean) q."""
    off = (values - values.mean()) ** 2 - expected * values
    return float(off.mean() / (off.std() / np.sqrt(len(values))))
