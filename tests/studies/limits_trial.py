"""One measurement of a simulated device, answered by every method."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from math import nan

import numpy as np

from analysis.estimate import Estimate, unknown
from analysis.sipm.charge_ratio import fit_pair_ratio
from analysis.sipm.dispersion import dark_only, intensity_scan, mean_dispersion
from analysis.sipm.gain import DevicePrior, extract_gain
from analysis.sipm.peaks import _measure_spacing, fit_peaks
from analysis.sipm.seeds import find_seeds, working_part
from analysis.sipm.simulate import (
    Readout,
    SiPMTruth,
    gate_share,
    photon_detection,
    simulate_charges,
)
from analysis.sipm.spectrum import Spectrum
from tests.studies.limits_points import TEMPERATURE_C, Point

DIVISOR_ERROR = 0.02
JITTER_ERROR = 0.005
BASELINE_ERROR_PE = 0.01
NOISE_ERROR = 0.01
SCAN_LEVELS = (0.4, 0.7, 1.5, 2.2)
DIVISOR_EVENTS = 150_000
SCAN_UP_TO_HZ = 1.5e9
NOT_A_CHARGE = unknown("ADC/pe", "full fit", "an amplitude spectrum")

METHODS = {
    "full_fit": "full fit",
    "peak_spacing": "peak spacing",
    "mean_dispersion": "mean and dispersion, F to 2 %",
    "ratio": "ratio of char. functions, F to 2 %",
    "ratio_free": "ratio of char. functions, F unknown",
    "intensity_scan": "intensity scan, F to 2 %",
    "dark_only": "dark counts alone, F to 2 %",
    "chooser": "extract_gain (pair, F to 2 %)",
    "chooser_all": "extract_gain (pair, scan, dark, F to 2 %)",
}


@dataclass(frozen=True)
class Outcome:
    """What one method said of one measurement. value, sigma: nan where it cannot tell, ADC/pe.

    true: the effective gain that it should find. chosen: the method that the chooser took.
    """

    axis: str
    x: float
    trial: int
    method: str
    true: float
    value: float
    sigma: float
    dark_per_gate: float
    chosen: str = ""


def measure(point: Point, trial: int, seed: int) -> list[Outcome]:
    """Simulate one measurement and ask every method."""
    rng = np.random.default_rng([seed, trial])
    off, on = (take(rng, point, pe) for pe in (0.0, point.mean_pe))
    scan = [(on, off)]
    if point.dcr_hz < SCAN_UP_TO_HZ:
        scan += [(take(rng, point, level * point.mean_pe), off) for level in SCAN_LEVELS]
    prior = earlier_results(rng, point)
    answer = extract_gain(on, off, prior=prior)
    found = {
        "full_fit": _charge_fit(on),
        "peak_spacing": _spacing(on),
        "mean_dispersion": mean_dispersion(
            on, off, prior.enf_divisor, prior.light_jitter, n_pixels=prior.n_pixels
        ),
        "ratio": fit_pair_ratio(on, off, prior),
        "ratio_free": fit_pair_ratio(on, off, replace(prior, enf_divisor=None)),
        "dark_only": _dark_only(off, prior, point),
        "chooser": answer.gain,
    }
    if len(scan) > 1:
        found["intensity_scan"] = intensity_scan(scan).gain(prior.enf_divisor)
    chosen = {"chooser": _name_of(answer.gain, answer.candidates)}
    if point.axis in ("anything", "resolved"):
        everything = extract_gain(
            on,
            off,
            light_scan=scan,
            prior=prior,
            gate_ns=point.readout.gate_ns,
            pulse_tau_ns=point.truth.pulse_tau_ns,
        )
        found["chooser_all"] = everything.gain
        chosen["chooser_all"] = _name_of(everything.gain, everything.candidates)
    whole_pulse = 1 / gate_share(point.truth, point.readout)
    return [
        Outcome(
            point.axis,
            point.x,
            trial,
            name,
            point.effective_gain * (whole_pulse if name == "dark_only" else 1.0),
            nan if estimate.value is None else estimate.value,
            nan if estimate.sigma is None else estimate.sigma,
            point.dark_per_gate,
            chosen.get(name, ""),
        )
        for name, estimate in found.items()
    ]


def take(rng: np.random.Generator, point: Point, mean_pe: float) -> Spectrum:
    """A run with mean_pe primaries per pulse, in whole ADC channels."""
    return Spectrum.from_charges(np.rint(_charges(rng, point, mean_pe, point.n_events)))


def _charges(rng: np.random.Generator, point: Point, mean_pe: float, n_events: int) -> np.ndarray:
    pde = photon_detection(point.truth, point.bias_v, TEMPERATURE_C)
    return simulate_charges(
        rng,
        point.truth,
        bias_v=point.bias_v,
        temperature_c=TEMPERATURE_C,
        mean_photons=mean_pe / pde,
        n_events=n_events,
        readout=point.readout,
    )


def earlier_results(rng: np.random.Generator, point: Point) -> DevicePrior:
    """What is known of the device, each drawn about the truth with the error that it claims."""
    f = true_divisor(replace(point.truth, dcr_hz=0.0), point.overvoltage_v, point.readout)
    pedestal_error = BASELINE_ERROR_PE * point.gain
    noise = point.readout.noise_adc
    jitter = max(point.truth.light_jitter + JITTER_ERROR * rng.standard_normal(), 0.0)
    return DevicePrior(
        enf_divisor=_known(f * (1 + DIVISOR_ERROR * rng.standard_normal()), DIVISOR_ERROR * f),
        light_jitter=_known(jitter, JITTER_ERROR),
        noise=_known(noise * (1 + NOISE_ERROR * rng.standard_normal()), NOISE_ERROR * noise),
        pedestal=_known(
            point.readout.pedestal_adc + pedestal_error * rng.standard_normal(), pedestal_error
        ),
        n_pixels=point.truth.n_pixels,
    )


def _known(value: float, sigma: float) -> Estimate:
    return Estimate(float(value), float(sigma), "1", "simulated earlier result")


@lru_cache(maxsize=64)
def true_divisor(truth: SiPMTruth, overvoltage_v: float, readout: Readout) -> float:
    """F = Var / (G Mean) of the light alone: no noise, no dark counts, no jitter, many pixels."""
    lonely = replace(truth, dcr_hz=0.0, light_jitter=0.0, n_pixels=10**7)
    silent = replace(readout, noise_adc=0.0, pedestal_adc=0.0)
    point = Point("", 0.0, lonely, silent, overvoltage_v)
    charge = _charges(np.random.default_rng(5), point, 2.0, DIVISOR_EVENTS)
    return float(charge.var() / (charge.mean() * point.gain))


def _charge_fit(on: Spectrum) -> Estimate:
    fit = fit_peaks(on)
    return NOT_A_CHARGE if fit.kind == "amplitude" else fit.gain


def _spacing(on: Spectrum) -> Estimate:
    """What fit_peaks would say of the spacing if it had rejected the charge model."""
    working = working_part(on)
    seeds = find_seeds(working) if np.count_nonzero(working.counts) > 5 else None
    if seeds is None:
        return unknown("ADC/pe", "peak spacing", "no peaks")
    return _measure_spacing(on, working, seeds, "not tried").gain


def _dark_only(off: Spectrum, prior: DevicePrior, point: Point) -> Estimate:
    pedestal = prior.pedestal or _known(0.0, 0.0)
    return dark_only(
        off,
        pedestal,
        prior.enf_divisor,
        point.readout.gate_ns,
        point.truth.pulse_tau_ns,
        prior.noise,
    )


def _name_of(gain: Estimate, candidates: Mapping[str, Estimate]) -> str:
    if gain.value is None:
        return "unknown"
    near = {name: abs((c.value or np.inf) - gain.value) for name, c in candidates.items()}
    return min(near, key=lambda name: near[name])
