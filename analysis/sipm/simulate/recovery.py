"""Which candidates fire, and with which charge, when pixels need time to recover.

A pixel that fired a time t ago has regained the part s = 1 - exp(-t / recovery) of its overvoltage:
an avalanche then has the size s, happens with the probability that goes with the reduced
overvoltage, and leads to s times as many secondaries. Candidates are accepted in causal order: with
all secondaries present at first, every pixel is followed in time, the secondaries of what did not
fire or fired weakly are taken away, and so on until nothing changes. Because causes precede their
effects, there is one such state only.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

BUCKETS = 1 << 20
HASH = 0x9E3779B1
GENERATION_BITS = 5


@dataclass(frozen=True)
class Candidates:
    """Avalanches that happen if their pixel is ready; (n,) primaries first, then m secondaries.

    event, time_ns, pixel, origin (n + m,); generation (n + m,): 0 for primaries; parent (m,): index
    of the avalanche that causes the secondary; in_same_pixel (m,): it is in its parent's pixel.
    """

    event: NDArray[np.int64]
    time_ns: NDArray[np.float64]
    pixel: NDArray[np.int64]
    origin: NDArray[np.int8]
    generation: NDArray[np.int64]
    parent: NDArray[np.int64]
    in_same_pixel: NDArray[np.bool_]


def fired(
    rng: np.random.Generator,
    drawn: Candidates,
    *,
    n_pixels: int,
    recovery_ns: float,
    steepness: float,
) -> tuple[NDArray[np.int64] | slice, NDArray[np.float64]]:
    """Indices of the candidates that fire and their sizes.

    steepness: overvoltage over the voltage scale of the PDE; a pixel at the fraction s of its
    overvoltage triggers with (1 - exp(-s steepness)) / (1 - exp(-steepness)). An afterpulse is
    given as one that triggers if nothing else fired after its parent.
    """
    n, n_primaries = len(drawn.event), len(drawn.event) - len(drawn.parent)
    shared, turns, group = _in_shared_pixels(drawn, n_pixels)
    if not len(shared):
        return slice(None), np.ones(n)
    time = drawn.time_ns[shared]
    wait = _least_wait(rng, drawn, shared, recovery_ns, steepness)
    kept = rng.random(len(drawn.parent))
    group_of = np.full(n, -1)
    group_of[shared] = group

    size = np.ones(n)
    offered = np.ones(n, dtype=np.bool_)
    hit = np.zeros(len(shared), dtype=np.bool_)
    since = np.zeros(len(shared))
    stale = np.ones(int(group.max()) + 1, dtype=np.bool_)
    while True:
        todo = np.flatnonzero(stale[group])
        last = np.full(len(stale), -np.inf)
        for begin, end in pairwise(np.searchsorted(todo, turns)):
            turn = todo[begin:end]
            since[turn] = time[turn] - last[group[turn]]
            hit[turn] = offered[shared[turn]] & (since[turn] > wait[turn])
            now = turn[hit[turn]]
            last[group[now]] = time[now]
        size[shared[todo]] = -np.expm1(-since[todo] / recovery_ns)
        fires = offered.copy()
        fires[shared] = hit
        caused = fires[drawn.parent] & (kept < size[drawn.parent])
        changed = np.flatnonzero(caused != offered[n_primaries:]) + n_primaries
        if not len(changed):
            which = np.flatnonzero(fires)
            return which, size[which]
        offered[n_primaries:] = caused
        stale[:] = False
        touched = group_of[changed]
        stale[touched[touched >= 0]] = True


def _least_wait(
    rng: np.random.Generator,
    drawn: Candidates,
    shared: NDArray[np.int64],
    recovery_ns: float,
    steepness: float,
) -> NDArray[np.float64]:
    """Time since the pixel's last avalanche from which on each candidate triggers, ns."""
    n_primaries = len(drawn.event) - len(drawn.parent)
    own = np.full(len(shared), np.inf)
    secondary = np.flatnonzero(shared >= n_primaries)
    secondary = secondary[drawn.in_same_pixel[shared[secondary] - n_primaries]]
    index = shared[secondary]
    own[secondary] = drawn.time_ns[index] - drawn.time_ns[drawn.parent[index - n_primaries]]
    triggers = -np.expm1(steepness * np.expm1(-own / recovery_ns))
    fraction = -np.log1p(-rng.random(len(shared)) * triggers) / steepness
    fraction = np.minimum(fraction, 1.0 - 1e-12)
    return np.asarray(-recovery_ns * np.log1p(-fraction), dtype=np.float64)


def _in_shared_pixels(
    drawn: Candidates, n_pixels: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Candidates whose pixel has another candidate in the same event.

    Returns their indices (m,), the first candidate of every pixel first, then the second of every
    pixel and so on; where in it the first, second... ones begin, and m; the pixel's number (m,).
    """
    key = drawn.event * n_pixels + drawn.pixel
    bucket = (key * HASH >> 7) & (BUCKETS - 1)
    maybe = np.flatnonzero(np.bincount(bucket, minlength=BUCKETS)[bucket] > 1)
    key, time = key[maybe], drawn.time_ns[maybe]
    bits = 62 - int(key.max(initial=1)).bit_length()
    first, length = time.min(initial=0.0), np.ptp(time) if len(time) else 0.0
    steps = 2.0 ** (bits - GENERATION_BITS)
    tick = np.minimum((time - first) / max(length, 1e-9) * steps, steps - 1).astype(np.int64)
    tick <<= GENERATION_BITS
    tick += np.minimum(drawn.generation[maybe], (1 << GENERATION_BITS) - 1)
    order = np.argsort((key << bits) + tick)
    maybe, key = maybe[order], key[order]
    new = np.ones(len(key), dtype=np.bool_)
    new[1:] = key[1:] != key[:-1]
    alone = new & np.append(new[1:], True)
    shared, new = maybe[~alone], new[~alone]
    group = np.cumsum(new) - 1
    rank = np.arange(len(shared)) - np.flatnonzero(new)[group]
    by_rank = np.argsort(rank, kind="stable")
    turns = np.concatenate([[0], np.cumsum(np.bincount(rank))])
    return shared[by_rank], turns, group[by_rank]
