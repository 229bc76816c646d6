"""Likelihood of pulse times when every pulse may be followed by afterpulses.

Given all earlier pulses, the rate of the next one is

    rate(t) = dcr + sum over pulses j before t of w_j sum over c of a_c k_c(t - t_j),
    k_c(t) = exp(-t / tau_c) / tau_c,

with w_j avalanches in pulse j and a_c mean afterpulses of component c per avalanche. The likelihood
is that of a point process: the log of the rate at every pulse minus its integral over the time in
which a pulse would have been seen. With one pulse and the next only it is the density
rate(t) exp(-integral) of the first arrival (S. Vinogradov, arXiv:2511.04443; A. Butcher et al.,
arXiv:1703.06204). Afterpulses of pulses before a record enter by their mean.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_RATE = 1e-300

Array = NDArray[np.float64]
Index = NDArray[np.int64]


@dataclass(frozen=True)
class PulseTrain:
    """Pulses of records of known length, made ready for the likelihood.

    gap_ns: (m,) time since the mark before; inf at the beginning of a record. A mark is a pulse or
        the beginning of a record.
    weight: (m,) avalanches of a pulse, 0 for the beginning of a record.
    history: (m,) 1 where unseen pulses before the record may leave afterpulses.
    source: (i,) last mark before the end of an interval in which pulses were looked for.
    wait_ns: (i,) time from the source to the beginning of that interval.
    end_ns: (i,) time from the source to the end of the interval.
    event: (i,) whether the interval ended with a pulse.
    """

    gap_ns: Array
    weight: Array
    history: Array
    source: Index
    wait_ns: Array
    end_ns: Array
    event: NDArray[np.bool_]

    @property
    def n_events(self) -> int:
        return int(self.event.sum())

    @property
    def live_ns(self) -> float:
        """Time in which a pulse would have been seen."""
        return float((self.end_ns - self.wait_ns).sum())

    def negative_log_likelihood(
        self, dcr_per_ns: float, afterpulses: ArrayLike, tau_ns: ArrayLike
    ) -> float:
        """Minus the log likelihood.

        dcr_per_ns: rate of primaries. afterpulses, tau_ns: (c,) mean afterpulses per avalanche and
        their delay constants.
        """
        share = np.atleast_1d(np.asarray(afterpulses, dtype=np.float64))
        tau = np.atleast_1d(np.asarray(tau_ns, dtype=np.float64))
        rate = np.full(len(self.source), dcr_per_ns)
        integral = dcr_per_ns * (self.end_ns - self.wait_ns)
        total = dcr_per_ns / max(1 - share.sum(), 0.05)
        for a, t in zip(share, tau, strict=True):
            state = decayed_sum(np.exp(-self.gap_ns / t), self.weight + self.history * total * t)
            at = state[self.source]
            late = np.exp(-self.end_ns / t)
            rate += a / t * at * late
            integral += a * at * (np.exp(-self.wait_ns / t) - late)
        seen = np.log(np.maximum(rate[self.event], LEAST_RATE))
        return float(integral.sum() - seen.sum())


def train_of_records(
    record: ArrayLike,
    time_ns: ArrayLike,
    *,
    n_records: int,
    length_ns: float,
    dead_time_ns: float,
    avalanches: ArrayLike | None = None,
) -> PulseTrain:
    """Pulses found in records that begin at an arbitrary moment.

    record, time_ns: (m,) number of the record and time after its beginning.
    dead_time_ns: after a counted pulse, pulses are not counted for so long; those that were found
        nevertheless still leave afterpulses.
    avalanches: (m,) fired pixels of a pulse, 1 when absent.

    Raises ValueError on arrays of different length, times outside their record, or negative times.
    """
    number = np.asarray(record, dtype=np.int64).ravel()
    time = np.asarray(time_ns, dtype=np.float64).ravel()
    weight = np.ones(len(time)) if avalanches is None else np.asarray(avalanches, dtype=np.float64)
    if len(number) != len(time) or len(weight) != len(time):
        raise ValueError("record, time_ns and avalanches have different lengths")
    if dead_time_ns < 0 or not length_ns > 0:
        raise ValueError("dead_time_ns must not be negative, length_ns must be positive")
    if len(time) and (time.min() < 0 or time.max() > length_ns or number.min() < 0):
        raise ValueError("a pulse lies outside its record")
    if len(number) and number.max() >= n_records:
        raise ValueError(f"record {number.max()} of {n_records}")
    begins = np.arange(n_records)
    mark_record = np.concatenate([begins, number])
    mark_time = np.concatenate([np.zeros(n_records), time])
    is_pulse = np.concatenate([np.zeros(n_records, dtype=bool), np.ones(len(time), dtype=bool)])
    order = np.lexsort((is_pulse, mark_time, mark_record))
    mark_record, mark_time, is_pulse = mark_record[order], mark_time[order], is_pulse[order]
    weight = np.concatenate([np.zeros(n_records), weight])[order]
    gap = np.diff(mark_time, prepend=0.0)
    gap[~is_pulse] = np.inf
    counted = _counted(mark_record * (length_ns + 2 * dead_time_ns + 1) + mark_time, dead_time_ns)
    counted |= ~is_pulse
    anchor = np.flatnonzero(counted)
    after = np.append(anchor[1:], len(mark_time))
    last = after - 1
    ends_with_pulse = np.append(is_pulse, False)[after]
    end_at = np.where(ends_with_pulse, np.append(mark_time, 0.0)[after], length_ns)
    dead = np.where(is_pulse[anchor], dead_time_ns, 0.0)
    end = end_at - mark_time[last]
    wait = np.clip(mark_time[anchor] + dead - mark_time[last], 0.0, end)
    return PulseTrain(
        gap_ns=gap,
        weight=weight,
        history=np.where(is_pulse, 0.0, 1.0),
        source=last,
        wait_ns=wait,
        end_ns=end,
        event=ends_with_pulse,
    )


def train_of_delays(
    delay_ns: ArrayLike, *, dead_time_ns: float, empty_ns: ArrayLike = ()
) -> PulseTrain:
    """Delays from single pulses, before which it was quiet, to the next pulse.

    delay_ns: (n,). Those within the dead time are left out.
    empty_ns: for how long was looked after pulses that no other pulse followed.
    """
    delay = np.asarray(delay_ns, dtype=np.float64).ravel()
    delay = delay[delay > dead_time_ns]
    empty = np.asarray(empty_ns, dtype=np.float64).ravel()
    empty = empty[empty > dead_time_ns]
    n = len(delay) + len(empty)
    return PulseTrain(
        gap_ns=np.full(n, np.inf),
        weight=np.ones(n),
        history=np.zeros(n),
        source=np.arange(n),
        wait_ns=np.full(n, dead_time_ns),
        end_ns=np.concatenate([delay, empty]),
        event=np.arange(n) < len(delay),
    )


def decayed_sum(decay: Array, weight: Array) -> Array:
    """s with s[i] = decay[i] s[i - 1] + weight[i], (m,).

    The array is cut into rows that are summed side by side; then what every row hands to the next
    is added.
    """
    m = len(weight)
    if not m:
        return np.zeros(0)
    columns = max(int(np.sqrt(m)), 1)
    rows = -(-m // columns)
    shape = (rows, columns)
    d, s = np.zeros(rows * columns), np.zeros(rows * columns)
    d[:m], s[:m] = decay, weight
    d, s = np.ascontiguousarray(d.reshape(shape).T), np.ascontiguousarray(s.reshape(shape).T)
    for column in range(1, columns):
        s[column] += d[column] * s[column - 1]
        d[column] *= d[column - 1]
    carry = np.zeros(rows)
    for row in range(1, rows):
        carry[row] = s[-1, row - 1] + d[-1, row - 1] * carry[row - 1]
    return np.asarray((s + d * carry).T.ravel()[:m], dtype=np.float64)


def _counted(time: Array, dead_time: float) -> NDArray[np.bool_]:
    """Which pulses of an ordered train a counter with a dead time that is not extended counts."""
    counted = np.ones(len(time), dtype=bool)
    if dead_time <= 0:
        return counted
    close = np.flatnonzero(np.diff(time) < dead_time) + 1
    last = -np.inf
    previous = -2
    for i in close.tolist():
        if i != previous + 1:
            last = time[i - 1]
        if time[i] - last < dead_time:
            counted[i] = False
        else:
            last = time[i]
        previous = i
    return counted
