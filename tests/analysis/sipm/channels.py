"""Random SiPM channels with realistic parameters, and how well a fit finds them again."""

from dataclasses import dataclass

import numpy as np

from analysis.sipm.peaks import PeakFit, fit_peaks
from analysis.sipm.simulate import SiPMTruth, gain, photon_detection, simulate_charges
from analysis.sipm.spectrum import Spectrum

BIAS_V = 40.778
TEMPERATURE_C = 25.0


@dataclass(frozen=True)
class Channel:
    truth: SiPMTruth
    mean_pe: float
    pedestal_adc: float
    noise_adc: float

    @property
    def gain(self) -> float:
        return gain(self.truth, BIAS_V, TEMPERATURE_C)


def random_channel(rng: np.random.Generator) -> Channel:
    truth = SiPMTruth(
        vbd_v=37.778 + rng.normal(0, 0.03),
        gain_per_v=rng.normal(9.3, 0.2),
        gain_spread=rng.uniform(0.02, 0.06),
        crosstalk_per_v=rng.uniform(0.01, 0.03),
        afterpulse=rng.uniform(0.0, 0.04),
        dcr_hz=rng.uniform(1e5, 6e5),
    )
    return Channel(truth, rng.uniform(1, 5), rng.uniform(40, 120), rng.uniform(2, 4))


def take(rng: np.random.Generator, channel: Channel, n_events: int) -> Spectrum:
    pde = photon_detection(channel.truth, BIAS_V, TEMPERATURE_C)
    charges = simulate_charges(
        rng,
        channel.truth,
        bias_v=BIAS_V,
        temperature_c=TEMPERATURE_C,
        mean_photons=channel.mean_pe / pde,
        n_events=n_events,
        pedestal_adc=channel.pedestal_adc,
        noise_adc=channel.noise_adc,
    )
    return Spectrum.from_charges(np.rint(charges))


def pulls(seed: int, n_channels: int, n_events: int) -> dict[str, np.ndarray]:
    """(value - truth) / sigma of the known results of many channels, by quantity."""
    rng = np.random.default_rng(seed)
    found: dict[str, list[float]] = {"gain": [], "pedestal": [], "noise": []}
    for _ in range(n_channels):
        channel = random_channel(rng)
        fit = fit_peaks(take(rng, channel, n_events))
        for name, true in (
            ("gain", channel.gain),
            ("pedestal", channel.pedestal_adc),
            ("noise", channel.noise_adc),
        ):
            estimate = getattr(fit, name)
            if estimate.known:
                found[name].append((estimate.value - true) / estimate.sigma)
    return {name: np.array(values) for name, values in found.items()}


def one(
    mean_pe: float,
    n_events: int = 5000,
    *,
    seed: int = 1,
    noise_adc: float = 3.0,
    truth: SiPMTruth | None = None,
) -> tuple[Channel, Spectrum]:
    channel = Channel(truth or SiPMTruth(), mean_pe, 100.0, noise_adc)
    return channel, take(np.random.default_rng(seed), channel, n_events)


def fitted(mean_pe: float, n_events: int = 5000, **settings: object) -> tuple[Channel, PeakFit]:
    channel, spectrum = one(mean_pe, n_events, **settings)  # type: ignore[arg-type]
    return channel, fit_peaks(spectrum)
