"""Charges drawn from the closed model of mean and dispersion, fast enough for many pairs."""

from dataclasses import dataclass

import numpy as np

from analysis.estimate import Estimate
from analysis.sipm.spectrum import Spectrum

BEFORE_GATE = 8.0


@dataclass(frozen=True)
class Toy:
    """One channel. noise and spread are in photoelectrons, dark in counts per gate, pulse_time in
    gates."""

    gain: float = 20.0
    crosstalk: float = 0.1
    spread: float = 0.04
    noise: float = 1.0
    pedestal: float = 300.0
    dark: float = 0.0
    pulse_time: float = 0.15
    jitter: float = 0.0

    @property
    def divisor(self) -> float:
        return 1 / (1 - self.crosstalk) ** 2 + self.spread**2

    def known_divisor(self, relative_sigma: float = 0.0) -> Estimate:
        return Estimate(self.divisor, relative_sigma * self.divisor, "1", "truth")

    def known_jitter(self, sigma: float = 1e-4) -> Estimate:
        return Estimate(self.jitter, sigma, "1", "truth")


def charges(rng: np.random.Generator, toy: Toy, mean_pe: float, n_events: int) -> np.ndarray:
    """(n_events,) charges in ADC; mean_pe primary photoelectrons per event on average."""
    light = np.maximum(1 + toy.jitter * rng.standard_normal(n_events), 0)
    fired = cascades(rng, rng.poisson(mean_pe * light), toy.crosstalk)
    in_pe = fired + toy.spread * np.sqrt(fired) * rng.standard_normal(n_events)
    if toy.dark:
        window = 1 + BEFORE_GATE * toy.pulse_time
        n_dark = rng.poisson(toy.dark * window, n_events)
        event = np.repeat(np.arange(n_events), n_dark)
        to_end = window * rng.random(len(event))
        before = np.maximum(to_end - 1, 0) / toy.pulse_time
        size = cascades(rng, np.ones(len(event), dtype=np.int64), toy.crosstalk)
        share = np.exp(-before) - np.exp(-to_end / toy.pulse_time)
        in_pe += np.bincount(event, weights=size * share, minlength=n_events)
    noise = toy.noise * rng.standard_normal(n_events)
    return np.asarray(toy.pedestal + toy.gain * (in_pe + noise))


def cascades(rng: np.random.Generator, primaries: np.ndarray, crosstalk: float) -> np.ndarray:
    total = primaries.copy()
    children = primaries
    while children.any():
        children = rng.poisson(crosstalk * children)
        total = total + children
    return np.asarray(total)


def spectrum(rng: np.random.Generator, toy: Toy, mean_pe: float, n_events: int) -> Spectrum:
    return Spectrum.from_charges(np.rint(charges(rng, toy, mean_pe, n_events)))


def random_toy(rng: np.random.Generator) -> Toy:
    return Toy(
        gain=rng.uniform(6, 60),
        crosstalk=rng.uniform(0, 0.25),
        spread=rng.uniform(0.01, 0.08),
        noise=10 ** rng.uniform(-1.3, 0.78),
        pedestal=rng.uniform(50, 400),
        dark=10 ** rng.uniform(-3, 1.5),
        jitter=rng.uniform(0, 0.05),
    )
