"""How well each way finds the gain of pairs without peaks: samples, figures of merit, tables."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from analysis.estimate import Estimate
from analysis.sipm.charge_ratio import fit_pair_ratio
from analysis.sipm.dispersion import mean_dispersion
from analysis.sipm.learned.model import learned_gain
from analysis.sipm.simulate import (
    Readout,
    SiPMTruth,
    gain,
    photon_detection,
    random_readout,
    random_truth,
    simulate_charges,
)
from analysis.sipm.spectrum import Spectrum

TEMPERATURE_C = 25.0
OVERVOLTAGE_V = 3.0
DIVISOR_ERROR = 0.02


@dataclass(frozen=True)
class Knowledge:
    """What is known of the device beforehand; see charge_ratio.PairPrior."""

    enf_divisor: Estimate | None
    light_jitter: Estimate | None
    light_curvature: Estimate | None = None
    n_pixels: int | None = None


@dataclass(frozen=True)
class Pair:
    """on, off, and what a study knows of them: the true gain in ADC and the prior with F."""

    on: Spectrum
    off: Spectrum
    gain: float
    known: Knowledge


Way = Callable[[Pair], Estimate]

WAYS: Mapping[str, Way] = {
    "mean and dispersion, F to 2 %": lambda p: mean_dispersion(
        p.on, p.off, p.known.enf_divisor, p.known.light_jitter, n_pixels=p.known.n_pixels
    ),
    "ratio, F to 2 %": lambda p: fit_pair_ratio(p.on, p.off, p.known),
    "ratio, no F": lambda p: fit_pair_ratio(p.on, p.off, replace(p.known, enf_divisor=None)),
    "network, F to 2 %": lambda p: learned_gain(p.on, p.off, p.known),
    "network, no F": lambda p: learned_gain(p.on, p.off, replace(p.known, enf_divisor=None)),
}


@dataclass(frozen=True)
class Merit:
    """Of one way over a sample: relative errors and sigmas (n,), nan where unknown."""

    error: np.ndarray
    sigma: np.ndarray

    @property
    def answered(self) -> np.ndarray:
        return np.isfinite(self.error)

    @property
    def pulls(self) -> np.ndarray:
        return self.error[self.answered] / self.sigma[self.answered]

    @property
    def coverage(self) -> float:
        return float(np.mean(np.abs(self.pulls) < 1))

    def row(self) -> str:
        known = self.answered
        if known.sum() < max(4, 0.3 * len(known)):
            return f"{known.mean():4.0%} |  |  |  | "
        error = 100 * self.error[known]
        half = 0.5 * np.subtract(*np.percentile(error, [84.1, 15.9]))
        sigma = 100 * np.median(self.sigma[known])
        return (
            f"{known.mean():4.0%} | {np.mean(error):+.2f} | {half:.2f} | {sigma:.2f} | "
            f"{self.coverage:.0%}"
        )


HEADER = "answered | bias % | resolution % | sigma % | covers"


def judge(pairs: Iterable[Pair], ways: Mapping[str, Way] = WAYS) -> dict[str, Merit]:
    errors: dict[str, list[float]] = {name: [] for name in ways}
    sigmas: dict[str, list[float]] = {name: [] for name in ways}
    for pair in pairs:
        for name, way in ways.items():
            found = way(pair)
            known = found.value is not None and found.sigma is not None
            errors[name].append((found.value or 0) / pair.gain - 1 if known else np.nan)
            sigmas[name].append((found.sigma or 0) / pair.gain if known else np.nan)
    return {name: Merit(np.array(errors[name]), np.array(sigmas[name])) for name in ways}


def together(merits: Iterable[Mapping[str, Merit]]) -> dict[str, Merit]:
    merits = list(merits)
    return {
        name: Merit(
            np.concatenate([m[name].error for m in merits]),
            np.concatenate([m[name].sigma for m in merits]),
        )
        for name in merits[0]
    }


def table(rows: Mapping[str, Mapping[str, Merit]]) -> str:
    lines = [f"| sample | way | {HEADER} |", "|" + "---|" * 7]
    for sample, merits in rows.items():
        lines += [f"| {sample} | {name} | {merit.row()} |" for name, merit in merits.items()]
    return "\n".join(lines) + "\n"


def known_divisor(rng: np.random.Generator, true: float) -> Estimate:
    seen = true * (1 + DIVISOR_ERROR * rng.standard_normal())
    return Estimate(max(seen, 1.0), DIVISOR_ERROR * true, "1", "simulated")


def full_monte_carlo(rng: np.random.Generator, light_pe: float, noise_pe: float, n: int) -> Pair:
    """A random device with everything the training lacks: afterpulses, delayed crosstalk, light
    jitter, slow pulses, finite pixels; F is the one of its own single photoelectrons."""
    truth = random_truth(
        rng,
        n_pixels=(3000, 40000),
        light_jitter=(0.0, 0.02),
        crosstalk_per_v=(0.005, 0.06),
        dcr_hz=(1e5, 1e8),
    )
    adc = gain(truth, truth.vbd_v + OVERVOLTAGE_V, TEMPERATURE_C)
    readout = replace(random_readout(rng, truth, adc), noise_adc=noise_pe * adc)
    quiet = replace(truth, dcr_hz=0.0, light_jitter=0.0)
    single = charges(rng, quiet, replace(readout, noise_adc=0.0), 1.0, 100_000)
    divisor = single.var() / (single.mean() - readout.pedestal_adc) / adc
    on, off = (
        Spectrum.from_charges(np.rint(charges(rng, truth, readout, light, n)))
        for light in (light_pe, 0.0)
    )
    jitter = Estimate(truth.light_jitter, 0.002, "1", "simulated")
    known = Knowledge(known_divisor(rng, divisor), jitter, n_pixels=truth.n_pixels)
    return Pair(on, off, adc, known)


def charges(
    rng: np.random.Generator, truth: SiPMTruth, readout: Readout, light_pe: float, n: int
) -> np.ndarray:
    bias_v = truth.vbd_v + OVERVOLTAGE_V
    return simulate_charges(
        rng,
        truth,
        bias_v=bias_v,
        temperature_c=TEMPERATURE_C,
        mean_photons=light_pe / photon_detection(truth, bias_v, TEMPERATURE_C),
        n_events=n,
        readout=readout,
    )


def draw_resolution(
    cells: Mapping[tuple[float, float, float], Mapping[str, Merit]], target: Path
) -> None:
    """Median sigma against noise, a panel per light and number of events (keys in this order)."""
    from matplotlib.figure import Figure

    lights = sorted({light for _, light, _ in cells})
    numbers = sorted({n for _, _, n in cells})
    figure = Figure(figsize=(3.2 * len(lights), 2.6 * len(numbers)), layout="constrained")
    panels = figure.subplots(len(numbers), len(lights), sharex=True, sharey=True, squeeze=False)
    for i, n in enumerate(numbers):
        for j, light in enumerate(lights):
            panel = panels[i, j]
            panel.set_title(f"{light:g} p.e., {n:g} events", fontsize=9)
            noises = sorted(s for s, m, k in cells if m == light and k == n)
            for name in WAYS:
                merits = [cells[s, light, n][name] for s in noises]
                sigma = [
                    100 * float(np.median(m.sigma[m.answered])) if m.answered.mean() > 0.5 else None
                    for m in merits
                ]
                panel.loglog(noises, [np.nan if s is None else s for s in sigma], "o-", ms=3)
            panel.grid(alpha=0.3)
            panel.set_xticks(noises, [f"{s:g}" for s in noises])
            panel.minorticks_off()
    figure.legend(panels[0, 0].lines, list(WAYS), ncols=3, loc="outside upper center", fontsize=8)
    figure.supxlabel("noise / p.e.")
    figure.supylabel("median error of the gain / %")
    figure.savefig(target)
