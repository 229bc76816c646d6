"""Cheap spectra of channels whose gain is known, for tests of everything but the fit."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

PEDESTAL_ADC = 60.0
VBD_V = 38.0
GAIN_PER_V = 9.0


@dataclass(frozen=True)
class Toy:
    """Whole ADC charges of one channel at one bias."""

    channel: int
    bias_v: float

    @property
    def gain(self) -> float:
        return GAIN_PER_V * (self.bias_v - VBD_V) * (1 + 0.002 * (self.channel % 5 - 2))

    def charges(self, mean_pe: float = 1.5, n_events: int = 1500) -> NDArray[np.int64]:
        rng = np.random.default_rng([self.channel, int(1000 * self.bias_v), int(100 * mean_pe)])
        k = rng.poisson(mean_pe, n_events)
        width = np.hypot(2.0, 0.03 * self.gain * np.sqrt(k))
        noisy = PEDESTAL_ADC + self.gain * k + width * rng.standard_normal(n_events)
        return np.rint(noisy).astype(np.int64)


def write_csv(file: Path, charges: NDArray[np.int64]) -> Path:
    """A two-column histogram."""
    file.parent.mkdir(parents=True, exist_ok=True)
    values, counts = np.unique(charges, return_counts=True)
    rows = "\n".join(f"{v},{c}" for v, c in zip(values, counts, strict=True))
    file.write_text(f"ADC,Count\n{rows}\n")
    return file


def write_scan(folder: Path, channels: int, biases: tuple[float, ...]) -> list[Toy]:
    """A folder with a light-on file for every channel and bias."""
    toys = [Toy(channel, bias) for channel in range(channels) for bias in biases]
    for toy in toys:
        write_csv(folder / f"ch{toy.channel:02d}_{toy.bias_v}V_on.csv", toy.charges())
    return toys
