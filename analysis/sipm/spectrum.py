"""Histogrammed charge or amplitude of one SiPM channel."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

MAX_BINS = 4_000_000


@dataclass(frozen=True)
class Spectrum:
    """A histogram of charges in ADC channels.

    counts: (n,) entries per bin, finite and not negative.
    edges: (n + 1,) bin edges in ADC, strictly increasing.
    meta: whatever the source knows (file, header, settings); never used by the fits.

    Raises ValueError when the arrays do not have these properties.
    """

    counts: NDArray[np.float64]
    edges: NDArray[np.float64]
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        counts = np.array(self.counts, dtype=np.float64)
        edges = np.array(self.edges, dtype=np.float64)
        if counts.ndim != 1 or edges.ndim != 1 or len(edges) != len(counts) + 1 or not len(counts):
            raise ValueError(
                f"a spectrum has n > 0 counts and n + 1 edges, not {counts.shape} and {edges.shape}"
            )
        if not np.all(np.isfinite(counts)) or np.any(counts < 0):
            bad = int(np.argmax(~np.isfinite(counts) | (counts < 0)))
            raise ValueError(f"counts must be finite and not negative: bin {bad} has {counts[bad]}")
        if not np.all(np.isfinite(edges)) or np.any(np.diff(edges) <= 0):
            raise ValueError("edges must be finite and strictly increasing")
        counts.flags.writeable = False
        edges.flags.writeable = False
        object.__setattr__(self, "counts", counts)
        object.__setattr__(self, "edges", edges)

    @classmethod
    def from_charges(
        cls,
        charges: ArrayLike,
        *,
        bin_width: float = 1.0,
        meta: Mapping[str, Any] | None = None,
    ) -> "Spectrum":
        """Histogram single-event charges in ADC.

        charges: (n_events,) finite numbers. Integer ADC values fall on bin centres: the edges lie
        at half-integers, because ADC code c stands for every charge that rounds to c.

        Raises ValueError on an empty list, on values that are not finite, and on a bin width that
        is not a whole number of ADC steps for integer charges (it would print a comb on the
        spectrum).
        """
        values = np.asarray(charges, dtype=np.float64).ravel()
        if not values.size:
            raise ValueError("no charges")
        if not np.all(np.isfinite(values)):
            raise ValueError("charges must be finite")
        if not bin_width > 0:
            raise ValueError(f"bin_width must be positive, not {bin_width}")
        whole = bool(np.all(values == np.rint(values)))
        if whole and bin_width != np.rint(bin_width):
            raise ValueError(f"bin_width {bin_width} is not a whole number of ADC steps")
        origin = -0.5 if whole else -bin_width / 2
        first = int(np.floor((values.min() - origin) / bin_width))
        last = int(np.floor((values.max() - origin) / bin_width))
        if last - first >= MAX_BINS:
            raise ValueError(f"{last - first + 1} bins of {bin_width} ADC are too many")
        edges = origin + bin_width * np.arange(first, last + 2, dtype=np.float64)
        index = np.clip(np.floor((values - origin) / bin_width).astype(np.int64) - first, 0, None)
        counts = np.bincount(index, minlength=last - first + 1).astype(np.float64)
        return cls(counts, edges, dict(meta or {}))

    @property
    def centers(self) -> NDArray[np.float64]:
        """(n,) bin centres, ADC."""
        return 0.5 * (self.edges[1:] + self.edges[:-1])

    @property
    def widths(self) -> NDArray[np.float64]:
        """(n,) bin widths, ADC."""
        return np.diff(self.edges)

    @property
    def n_entries(self) -> float:
        """Sum of all counts."""
        return float(self.counts.sum())

    @property
    def mean(self) -> float:
        """Mean charge, ADC; nan for an empty spectrum."""
        total = self.n_entries
        return float(self.counts @ self.centers / total) if total else float("nan")

    @property
    def variance(self) -> float:
        """Unbiased variance of the binned charges, ADC squared; nan below two entries."""
        total = self.n_entries
        if total < 2:
            return float("nan")
        return float(self.counts @ (self.centers - self.mean) ** 2 / (total - 1))

    def rebinned(self, factor: int) -> "Spectrum":
        """The spectrum with `factor` neighbouring bins joined; the last bin may join fewer.

        Raises ValueError when factor is below one.
        """
        if factor < 1:
            raise ValueError(f"factor must be at least 1, not {factor}")
        starts = np.arange(0, len(self.counts), factor)
        edges = np.append(self.edges[starts], self.edges[-1])
        return Spectrum(np.add.reduceat(self.counts, starts), edges, self.meta)
