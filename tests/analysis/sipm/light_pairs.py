"""Light-on and light-off runs drawn from the compound-Poisson law, quickly and with known truth."""

from dataclasses import dataclass

import numpy as np

from analysis.sipm.spectrum import Spectrum


@dataclass(frozen=True)
class Light:
    """mu: mean primaries. noise_pe: rms without light. crosstalk: lambda. spread: sigma_G / G."""

    mu: float = 3.0
    noise_pe: float = 0.5
    crosstalk: float = 0.08
    spread: float = 0.04
    n_events: int = 20_000
    gain_adc: float = 20.0
    pedestal_adc: float = 300.0
    jitter: float = 0.0

    @property
    def divisor(self) -> float:
        return 1 / (1 - self.crosstalk) ** 2 + self.spread**2


def draw(rng: np.random.Generator, light: Light, *, lit: bool) -> Spectrum:
    n = light.n_events
    relative = np.maximum(1 + light.jitter * rng.standard_normal(n), 0)
    fresh = rng.poisson(light.mu * relative * lit)
    fired = fresh.copy()
    while fresh.any():
        fresh = rng.poisson(light.crosstalk * fresh)
        fired += fresh
    pe = fired + light.spread * np.sqrt(fired) * rng.standard_normal(n)
    pe += light.noise_pe * rng.standard_normal(n)
    return Spectrum.from_charges(np.rint(light.pedestal_adc + light.gain_adc * pe))


def draw_pair(rng: np.random.Generator, light: Light) -> tuple[Spectrum, Spectrum]:
    return draw(rng, light, lit=True), draw(rng, light, lit=False)
