"""Simulated spectra in files, for the commands that read them."""

from pathlib import Path

import numpy as np

from analysis.sipm.simulate import SiPMTruth, photon_detection, simulate_charges

BIAS_V = 40.8
TEMPERATURE_C = 25.0
TRUTH = SiPMTruth()


def charges(
    mean_pe: float, n_events: int = 6000, *, bias_v: float = BIAS_V, noise_adc: float = 2.5
) -> np.ndarray:
    """Whole ADC charges of one channel."""
    return np.rint(
        simulate_charges(
            np.random.default_rng([4, int(1000 * mean_pe), int(1000 * bias_v)]),
            TRUTH,
            bias_v=bias_v,
            temperature_c=TEMPERATURE_C,
            mean_photons=mean_pe / photon_detection(TRUTH, BIAS_V, TEMPERATURE_C),
            n_events=n_events,
            pedestal_adc=100.0,
            noise_adc=noise_adc,
        )
    ).astype(int)


def write(path: Path, values: np.ndarray) -> Path:
    """A histogram in two columns."""
    path.parent.mkdir(parents=True, exist_ok=True)
    positions, counts = np.unique(values, return_counts=True)
    rows = "\n".join(f"{v},{c}" for v, c in zip(positions, counts, strict=True))
    path.write_text(f"ADC,Count\n{rows}\n")
    return path
