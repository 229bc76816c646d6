"""Which peak is the pedestal? Answered from the areas of the peaks alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.response import peak_weights

MODEL_TOLERANCE = 0.05
LEAK = 0.02
SITES_BELOW = 3
FULL_BIN = 4.0

Array = NDArray[np.float64]


@dataclass(frozen=True)
class PeakAreas:
    """Entries of consecutive lattice sites, (m,), beginning with site `first`.

    fragments: 1 when the spectrum begins above the center of the first site, else 0.
    """

    entries: Array
    first: int
    fragments: int


@dataclass(frozen=True)
class Hypothesis:
    """Peak `site` of the lattice is the pedestal; mu and crosstalk that describe the areas best.

    deviance: disagreement with the areas, in units where one standard deviation is 1 squared;
    the tolerance of the model (5 % of an area, 2 % of its neighbours') is part of it.
    cut_deviance: the same if everything below the spectrum's first whole peak may be cut off.
    """

    site: int
    mu: float
    crosstalk: float
    deviance: float
    cut_deviance: float


def peak_areas(counts: Array, edges: Array, position: float, spacing: float) -> PeakAreas:
    """Entries within half a spacing of every lattice site.

    Site s lies at position + s * spacing. Bins that straddle a boundary are shared. A last site
    that the end of the spectrum cuts off while it is still full is left out.
    """
    first = int(np.floor((edges[0] - position) / spacing + 0.5))
    last = int(np.floor((edges[-1] - position) / spacing + 0.5))
    bounds = position + (np.arange(first, last + 2) - 0.5) * spacing
    below = np.interp(bounds, edges, np.append(0.0, np.cumsum(counts)))
    cut = bounds[-1] > edges[-1] and counts[-2:].mean() > FULL_BIN
    fragments = int(position + first * spacing < edges[0])
    return PeakAreas(np.diff(below)[: -1 if cut else None], first, fragments)


def rank_pedestals(areas: PeakAreas) -> list[Hypothesis]:
    """Possible pedestals, best first.

    Tried are the sites up to the first one that holds a real share of the events and one more,
    and three below the spectrum.
    """
    entries, first = areas.entries, areas.first
    begins = int(np.argmax(entries > max(0.005 * float(entries.sum()), 5.0)))
    last = min(first + begins + 1, first + len(entries) - 2)
    sites = range(first - SITES_BELOW, max(last, first - SITES_BELOW) + 1)
    found = [_describe(areas, site) for site in sites]
    return sorted(found, key=lambda hypothesis: hypothesis.deviance)


def cascade_deviance(areas: PeakAreas, site: int) -> float:
    """Disagreement with a self-triggered spectrum: Borel cascades that begin with one pixel.

    P(n) = (lambda n)^(n-1) exp(-lambda n) / n! for n >= 1, with n = 1 at `site`.
    """
    seen = areas.entries[max(site - areas.first, 0) :]
    n = np.arange(1, len(seen) + 1, dtype=np.float64)
    crosstalk = np.linspace(0.005, 0.95, 190)[:, None]
    share = np.exp((n - 1) * np.log(crosstalk * n) - crosstalk * n - np.cumsum(np.log(n)))
    expected = seen.sum() * share / share.sum(axis=1, keepdims=True)
    return float(_deviance(seen, expected).min())


def _describe(areas: PeakAreas, site: int) -> Hypothesis:
    entries, first = areas.entries, areas.first
    below = max(site - first, 0)
    k = np.arange(first + below - site, first - site + len(entries), dtype=np.float64)
    outside = float(_deviance(entries[:below], np.zeros((1, below)), beside=entries)[0])
    mu, crosstalk, deviance = _closest(entries[below:], k, unseen_weight=2.0)
    cut = outside + deviance
    whole = entries[areas.fragments :]
    if site < first + areas.fragments and len(whole) > 2 and whole.sum() > 0:
        cut = min(cut, _closest(whole, k[len(k) - len(whole) :], unseen_weight=0.0)[2])
    return Hypothesis(site, mu, crosstalk, outside + deviance, cut)


def _closest(seen: Array, k: Array, unseen_weight: float) -> tuple[float, float, float]:
    """mu, lambda and deviance of the closest law, on a grid about the mean, refined three times.

    unseen_weight: what an expected event below the first site costs.
    """
    total = float(seen.sum())
    unseen = np.arange(0.0, k[0])
    mu, crosstalk, spread, reach = max(float(seen @ k) / total, 0.01), 0.3, 1.8, 0.3
    best = float("inf")
    for _ in range(4):
        mus = mu * np.exp(np.linspace(-np.log(spread), np.log(spread), 7))
        lambdas = np.clip(crosstalk + reach * np.linspace(-1, 1, 7), 0.0, 0.9)
        grid_mu, grid_lambda = np.tile(mus, 7)[:, None], np.repeat(lambdas, 7)[:, None]
        share = peak_weights(k, grid_mu, grid_lambda)
        missing = peak_weights(unseen, grid_mu, grid_lambda).sum(axis=1)
        whole = share.sum(axis=1)
        cost = _deviance(seen, total * share / np.maximum(whole, 1e-300)[:, None])
        cost = cost + unseen_weight * total * missing / (whole + missing)
        at = int(np.argmin(cost))
        best = float(cost[at])
        mu, crosstalk = float(grid_mu[at, 0]), float(grid_lambda[at, 0])
        spread, reach = spread**0.4, 0.4 * reach
    return mu, crosstalk, best


def _deviance(seen: Array, expected: Array, beside: Array | None = None) -> Array:
    """Pearson's chi2 with the tolerance of the model in its variance, (m,) for expected (m, n)."""
    expected = np.maximum(expected, 0.5)
    around = np.convolve(seen if beside is None else beside, [1.0, 0.0, 1.0], mode="same")
    around = around[: len(seen)]
    variance = expected + (MODEL_TOLERANCE * expected) ** 2 + (LEAK * around) ** 2
    return np.asarray(((seen - expected) ** 2 / variance).sum(axis=-1), dtype=np.float64)
