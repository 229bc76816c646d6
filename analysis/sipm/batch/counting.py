"""Histograms of many channels filled from a stream of events, in little memory."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.batch.parts import Counted, Refused

BIN_BITS = 40
PAIRS_BEFORE_MERGE = 500_000
MOST_BIN = 2 ** (BIN_BITS - 1) - 1
Codes = NDArray[np.int64]


@dataclass
class Counting:
    """Entries per key and bin, as sorted pairs of a code and a count.

    Whole numbers are kept apart by 1 ADC with edges at half-integers; bin_width must be whole for
    them. Keys are whatever tells two spectra apart. Memory grows with the filled bins, not with
    the events: new pairs are merged into the old ones when they are as many.
    """

    bin_width: float = 1.0
    whole: bool | None = None
    keys: dict[Hashable, int] = field(default_factory=dict)
    _pairs: tuple[Codes, Codes] = field(
        default_factory=lambda: (np.zeros(0, np.int64), np.zeros(0, np.int64))
    )
    _new: list[tuple[Codes, Codes]] = field(default_factory=list)
    _bad: dict[int, int] = field(default_factory=dict)

    @property
    def origin(self) -> float:
        """Low edge of bin 0, ADC: the one of `Spectrum.from_charges`."""
        return -0.5 if self.whole else -self.bin_width / 2

    def number(self, key: Hashable) -> int:
        """The number under which `add` knows a key."""
        return self.keys.setdefault(key, len(self.keys))

    def add(self, number: Codes | int, charges: NDArray[np.float64]) -> None:
        """Count charges (n,) ADC for the keys with these numbers, (n,) or one for all.

        Raises ValueError when whole charges meet a bin width that is not whole.
        """
        if not len(charges):
            return
        finite = np.isfinite(charges)
        if self.whole is None:
            seen = charges[finite]
            self.whole = bool(len(seen)) and bool(np.all(seen == np.rint(seen)))
            if self.whole and self.bin_width != np.rint(self.bin_width):
                raise ValueError(f"bin_width {self.bin_width} is not a whole number of ADC steps")
        position = (charges - self.origin) / self.bin_width
        good = finite & (np.abs(position) < MOST_BIN)
        if not np.all(good):
            wrong = np.broadcast_to(np.asarray(number), charges.shape)[~good]
            for key, count in zip(*np.unique(wrong, return_counts=True), strict=True):
                self._bad[int(key)] = self._bad.get(int(key), 0) + int(count)
            position = position[good]
            number = number if isinstance(number, int) else number[good]
        code = (np.asarray(number) << BIN_BITS) + (np.floor(position).astype(np.int64) + MOST_BIN)
        self._new.append(_counted(code))
        if sum(len(codes) for codes, _ in self._new) > max(
            len(self._pairs[0]) // 2, PAIRS_BEFORE_MERGE
        ):
            self._merge()

    def take_all(self) -> Iterator[tuple[Hashable, Counted | Refused]]:
        """Every key with its histogram, in the order of their first events; empties nothing."""
        self._merge()
        codes, counts = self._pairs
        starts = np.searchsorted(codes, np.arange(len(self.keys) + 1, dtype=np.int64) << BIN_BITS)
        for key, number in self.keys.items():
            inside = slice(starts[number], starts[number + 1])
            bins = (codes[inside] & (2**BIN_BITS - 1)) - MOST_BIN
            if number in self._bad:
                total = self._bad[number] + int(counts[inside].sum())
                yield (
                    key,
                    Refused(
                        f"{self._bad[number]} of {total} charges are not finite numbers in range"
                    ),
                )
            else:
                yield key, Counted(bins, counts[inside], self.bin_width, self.origin)

    def _merge(self) -> None:
        if self._new:
            self._pairs = _joined(*self._pairs, *_added_up(self._new))
            self._new = []


def _counted(code: Codes) -> tuple[Codes, Codes]:
    codes, counts = np.unique(code, return_counts=True)
    return codes, counts.astype(np.int64)


def _added_up(pairs: list[tuple[Codes, Codes]]) -> tuple[Codes, Codes]:
    codes = np.concatenate([pair[0] for pair in pairs])
    counts = np.concatenate([pair[1] for pair in pairs])
    order = np.argsort(codes, kind="stable")
    codes, counts = codes[order], counts[order]
    first = np.flatnonzero(np.append(True, codes[1:] != codes[:-1]))
    return codes[first], np.add.reduceat(counts, first)


def _joined(
    codes: Codes, counts: Codes, new_codes: Codes, new_counts: Codes
) -> tuple[Codes, Codes]:
    """New pairs among the old ones; both are sorted, and the old counts are changed in place."""
    if not len(codes):
        return new_codes, new_counts
    place = np.searchsorted(codes, new_codes)
    there = codes[np.minimum(place, len(codes) - 1)] == new_codes
    counts[place[there]] += new_counts[there]
    fresh = ~there
    return (
        np.insert(codes, place[fresh], new_codes[fresh]),
        np.insert(counts, place[fresh], new_counts[fresh]),
    )
