"""A measured current-voltage curve, cleaned: signs, sweeps, glitches, and the supply's limit."""

from dataclasses import dataclass, replace
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]

LARGEST_CURRENT_A = 1e3
LARGEST_VOLTAGE_V = 1e5
SMALLEST_CURRENT_A = 1e-18
NEAR_DUPLICATE = 0.1
GLITCH_FACTOR = 2.0
PLATEAU_POINTS = 3
PLATEAU_BAND = 0.01
PLATEAU_SLOPE_SHARE = 0.2


@dataclass(frozen=True)
class IVCurve:
    """Points of one curve in rising order of voltage.

    voltage_v, current_a: (n,) as magnitudes, the bias positive. sigma_a: (n,) standard deviations
    as given, or None. limit_a: the current at which the supply stopped the curve, or None.
    notes: what was left out, in words.
    """

    voltage_v: Array
    current_a: Array
    sigma_a: Array | None
    limit_a: float | None
    notes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.voltage_v)

    def between(self, low_v: float, high_v: float) -> "IVCurve":
        """The points with low_v <= voltage <= high_v."""
        return self._taken((self.voltage_v >= low_v) & (self.voltage_v <= high_v))

    def without(self, voltage_v: Array) -> "IVCurve":
        """The points at none of these voltages."""
        return self._taken(~np.isin(self.voltage_v, voltage_v))

    def _taken(self, keep: NDArray[np.bool_]) -> "IVCurve":
        sigma = None if self.sigma_a is None else self.sigma_a[keep]
        return replace(
            self, voltage_v=self.voltage_v[keep], current_a=self.current_a[keep], sigma_a=sigma
        )


def clean_curve(
    voltage_v: ArrayLike, current_a: ArrayLike, sigma_a: ArrayLike | None = None
) -> IVCurve:
    """Bring a curve into order.

    voltage_v, current_a: (n,) in any order and with either sign. Of a curve that crosses zero the
        polarity that reaches further is kept. Voltages that repeat (up and down sweeps, read back
        with jitter) are averaged. Numbers that are not finite or that an instrument writes for an
        overflow are left out, and so are single points far off both neighbours (a change of the
        measuring range) and the flat end where the supply limits the current.
    sigma_a: (n,) or one number, standard deviation of a current, A.

    Raises ValueError when the arrays differ in length.
    """
    voltage = np.asarray(voltage_v, dtype=np.float64).ravel()
    current = np.asarray(current_a, dtype=np.float64).ravel()
    if voltage.shape != current.shape:
        raise ValueError(f"{len(voltage)} voltages and {len(current)} currents")
    sigma = None
    if sigma_a is not None:
        sigma = np.asarray(sigma_a, dtype=np.float64).ravel()
        if len(sigma) not in {1, len(current)}:
            raise ValueError(f"{len(current)} currents and {len(sigma)} standard deviations")
        sigma = np.broadcast_to(sigma, current.shape).copy()
    notes: list[str] = []
    good = np.abs(voltage) < LARGEST_VOLTAGE_V
    good &= np.abs(current) < LARGEST_CURRENT_A
    if sigma is not None:
        good &= (sigma >= 0) & (sigma < LARGEST_CURRENT_A)
    if not np.all(good):
        notes.append(f"{np.count_nonzero(~good)} points that are not numbers left out")
    voltage, current, sigma = _taken(voltage, current, sigma, good)
    if not len(voltage):
        return IVCurve(voltage, current, sigma, None, tuple(notes))

    if abs(voltage.min()) > voltage.max():
        voltage = -voltage
    side = voltage >= 0
    if not np.all(side):
        notes.append(f"{np.count_nonzero(~side)} points of the other polarity left out")
        voltage, current, sigma = _taken(voltage, current, sigma, side)
    strong = np.argsort(np.abs(current))[-max(3, len(current) // 3) :]
    if np.median(current[strong]) < 0:
        current = -current
    voltage, current, sigma = _merged(voltage, current, sigma)
    normal = ~_glitches(voltage, current)
    if not np.all(normal):
        at = ", ".join(f"{v:.4g}" for v in voltage[~normal][:3])
        notes.append(
            f"{np.count_nonzero(~normal)} points far off their neighbours left out: {at} V"
        )
        voltage, current, sigma = _taken(voltage, current, sigma, normal)
    limit = None
    end = _plateau_start(voltage, current)
    if end < len(voltage):
        limit = float(np.median(current[end:]))
        notes.append(
            f"the current stands still at {limit:.4g} A above {voltage[end]:.4g} V: the supply "
            "limits it there, the curve is cut"
        )
        voltage, current, sigma = _taken(voltage, current, sigma, np.arange(len(voltage)) < end)
    return IVCurve(voltage, current, sigma, limit, tuple(notes))


def noise_of(curve: IVCurve) -> tuple[float, float]:
    """Constant (A) and relative part of the scatter, from third differences of neighbours.

    A curve that bends much between its points scatters more than its noise: an upper bound there.
    """
    current = curve.current_a
    quiet = current[: max(6, len(current) // 3)]
    floor = max(float(np.median(np.abs(quiet))), SMALLEST_CURRENT_A)
    relative = _from_differences(np.log(np.maximum(current, 0.1 * floor)))
    return min(_from_differences(quiet), floor), min(relative, 0.5)


def _from_differences(values: Array) -> float:
    if len(values) < 4:
        return 0.0
    third = np.diff(values, n=3)
    return float(np.median(np.abs(third)) / (0.6745 * sqrt(20.0)))


def _taken(
    voltage: Array, current: Array, sigma: Array | None, keep: NDArray[np.bool_]
) -> tuple[Array, Array, Array | None]:
    return voltage[keep], current[keep], None if sigma is None else sigma[keep]


def _merged(
    voltage: Array, current: Array, sigma: Array | None
) -> tuple[Array, Array, Array | None]:
    """Points in rising order of voltage; those much closer than the step around them averaged."""
    order = np.argsort(voltage, kind="stable")
    voltage, current = voltage[order], current[order]
    gap = np.diff(voltage)
    around = np.pad(gap, 2)
    widest = np.max([around[i : i + len(gap)] for i in range(5)], axis=0) if len(gap) else gap
    group = np.concatenate([[0], np.cumsum(gap > np.maximum(NEAR_DUPLICATE * widest, 1e-6))])
    times = np.bincount(group)
    mean_v = np.bincount(group, weights=voltage) / times
    mean_a = np.bincount(group, weights=current) / times
    if sigma is None:
        return mean_v, mean_a, None
    squares = np.bincount(group, weights=sigma[order] ** 2)
    return mean_v, mean_a, np.sqrt(squares) / times


def _glitches(voltage: Array, current: Array) -> NDArray[np.bool_]:
    """Inner points more than twofold off the line (in ln I) through neighbours that agree."""
    found = np.zeros(len(voltage), dtype=bool)
    if len(voltage) < 7:
        return found
    quiet = np.sort(np.abs(current))[: max(5, len(current) // 3)]
    floor = max(float(np.median(quiet)), 1e-3 * float(np.median(np.abs(current))))
    log_current = np.arcsinh(current / max(floor, SMALLEST_CURRENT_A))
    share = (voltage[1:-1] - voltage[:-2]) / (voltage[2:] - voltage[:-2])
    line = log_current[:-2] + share * (log_current[2:] - log_current[:-2])
    off = np.abs(log_current[1:-1] - line)
    agree = np.abs(log_current[2:] - log_current[:-2])
    usual = 1.4826 * float(np.median(off))
    found[1:-1] = (off > np.log(GLITCH_FACTOR)) & (off > 4 * agree) & (off > 8 * usual)
    return found


def _plateau_start(voltage: Array, current: Array) -> int:
    """Index of the first point of the flat end of a curve that rose before; n without one."""
    n = len(current)
    if n < 2 * PLATEAU_POINTS or current.max() <= 0:
        return n
    top = float(np.median(np.sort(current)[-PLATEAU_POINTS:]))
    below = np.flatnonzero(np.abs(current - top) > PLATEAU_BAND * top)
    start = int(below[-1]) + 1 if len(below) else 0
    length = n - start
    if length < PLATEAU_POINTS or start < PLATEAU_POINTS or top <= 0:
        return n
    before = slice(max(0, start - max(length, PLATEAU_POINTS)), start + 1)
    log_before = np.log(np.maximum(current[before] / top, 1e-3))
    rise = float(np.polyfit(voltage[before], log_before, 1)[0])
    flat = float(np.polyfit(voltage[start:], current[start:] / top, 1)[0])
    wobble = float(np.std(current[start:] / top))
    expected = rise * float(voltage[-1] - voltage[start])
    if rise > 0 and abs(flat) < PLATEAU_SLOPE_SHARE * rise and expected > 6 * wobble + 6e-4:
        return start
    return n
