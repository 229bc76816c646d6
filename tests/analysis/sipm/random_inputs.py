"""Random inputs of the chooser, good and bad, each with the gain that it may be given."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.estimate import Estimate
from analysis.sipm.gain import DevicePrior
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.pair_toys import Toy, charges, random_toy


@dataclass(frozen=True)
class Input:
    """gain: the truth; None where there is none and every answer is wrong."""

    kind: str
    on: Spectrum
    off: Spectrum | None
    prior: DevicePrior | None
    gain: float | None


@dataclass(frozen=True)
class Runs:
    """Charges of one random channel, from which the kinds make their input."""

    toy: Toy
    on: np.ndarray
    off: np.ndarray


Change = Callable[[np.random.Generator, Runs], Runs]


def overflow(rng: np.random.Generator, runs: Runs) -> Runs:
    top = np.quantile(runs.on, rng.uniform(0.5, 0.999))
    return replace(runs, on=np.minimum(runs.on, top), off=np.minimum(runs.off, top))


def underflow(rng: np.random.Generator, runs: Runs) -> Runs:
    low = np.quantile(runs.off, rng.uniform(0.001, 0.5))
    return replace(runs, on=np.maximum(runs.on, low), off=np.maximum(runs.off, low))


def swapped(rng: np.random.Generator, runs: Runs) -> Runs:
    return replace(runs, on=runs.off, off=runs.on)


def twice(rng: np.random.Generator, runs: Runs) -> Runs:
    return replace(runs, off=runs.on)


def few(rng: np.random.Generator, runs: Runs) -> Runs:
    return replace(runs, on=runs.on[: rng.integers(1, 100)])


def stuck(rng: np.random.Generator, runs: Runs) -> Runs:
    on = runs.on.copy()
    on[rng.random(len(on)) < rng.uniform(0.01, 0.3)] = np.rint(np.median(on)) + rng.integers(
        -20, 20
    )
    return replace(runs, on=on)


def hotter_off(rng: np.random.Generator, runs: Runs) -> Runs:
    toy = replace(runs.toy, dark=runs.toy.dark * 10 ** rng.uniform(-0.3, 0.3))
    return replace(runs, off=charges(rng, toy, 0.0, len(runs.off)))


def flat(rng: np.random.Generator, runs: Runs) -> Runs:
    low, high = np.sort(rng.uniform(0, 2000, 2))
    return replace(runs, on=rng.uniform(low, high + 10, len(runs.on)))


def two_bins(rng: np.random.Generator, runs: Runs) -> Runs:
    return replace(runs, on=rng.choice(rng.integers(0, 500, 2), len(runs.on)).astype(float))


def heavy_tails(rng: np.random.Generator, runs: Runs) -> Runs:
    return replace(runs, on=10 * rng.standard_cauchy(len(runs.on)).clip(-50, 50) + 500)


def unchanged(rng: np.random.Generator, runs: Runs) -> Runs:
    return runs


KINDS: dict[str, Change] = {
    "pair": unchanged,
    "alone": unchanged,
    "pair with prior": unchanged,
    "overflow": overflow,
    "underflow": underflow,
    "swapped": swapped,
    "twice": twice,
    "few": few,
    "stuck": stuck,
    "hotter off": hotter_off,
    "flat": flat,
    "two bins": two_bins,
    "heavy tails": heavy_tails,
    "scaled": unchanged,
    "empty": unchanged,
    "nan": unchanged,
    "negative": unchanged,
}
WEIGHTS = np.array([4, 4, 6] + [1] * (len(KINDS) - 3), dtype=float)
NO_TRUTH = {"flat", "two bins", "heavy tails"}
NO_PRIOR = {"pair", "alone"}


def random_input(rng: np.random.Generator, most_events: float) -> Input | str:
    """One input, or the kind whose histogram is refused before any analysis."""
    kind = str(rng.choice(list(KINDS), p=WEIGHTS / WEIGHTS.sum()))
    toy = random_toy(rng)
    n_events = int(10 ** rng.uniform(2.5, np.log10(most_events)))
    mean_pe = 10 ** rng.uniform(np.log10(0.3), np.log10(300))
    runs = Runs(toy, charges(rng, toy, mean_pe, n_events), charges(rng, toy, 0.0, n_events))
    runs = KINDS[kind](rng, runs)
    on, off = (Spectrum.from_charges(np.rint(values)) for values in (runs.on, runs.off))
    counts = {
        "scaled": on.counts * rng.uniform(0.1, 3),
        "empty": np.zeros(len(on.counts)),
        "nan": np.where(on.counts == on.counts.max(), np.nan, on.counts),
        "negative": on.counts - 1,
    }.get(kind, on.counts)
    try:
        on = Spectrum(counts, on.edges)
    except ValueError:
        return kind
    f_sigma = toy.divisor * rng.uniform(0.002, 0.03)
    prior = DevicePrior(
        enf_divisor=Estimate(
            max(toy.divisor + f_sigma * rng.standard_normal(), 1.0), f_sigma, "1", "earlier"
        ),
        light_jitter=Estimate(toy.jitter, 0.003, "1", "earlier") if rng.random() < 0.5 else None,
    )
    return Input(
        kind,
        on,
        None if kind == "alone" else off,
        None if kind in NO_PRIOR else prior,
        None if kind in NO_TRUTH else toy.gain,
    )
