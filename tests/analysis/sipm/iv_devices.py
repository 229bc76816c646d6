"""Random SiPMs as a source-measure unit sees them, with a freedom that the fits do not have."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Onset = Literal["softened trigger", "spread of pixels", "softened overvoltage"]
ONSETS: tuple[Onset, ...] = ("softened trigger", "spread of pixels", "softened overvoltage")
ELECTRON_C = 1.602e-19


@dataclass(frozen=True)
class Device:
    """Reverse current = leakage + amplitude x trigger x overvoltage / (1 - secondaries)."""

    vbd_v: float
    amplitude_a: float
    leakage_a: float
    leakage_per_v: float
    ohmic_a: float
    softness_v: float
    onset: Onset
    saturation_v: float
    crosstalk_per_v: float
    turn_on_v: float = 0.0

    def current_a(self, voltage_v: Array) -> Array:
        over = np.asarray(voltage_v, dtype=np.float64) - self.vbd_v
        soft = self.softness_v * np.logaddexp(0, np.maximum(over / self.softness_v, -60))
        if self.onset == "spread of pixels":
            sigmas = np.linspace(-3.5, 3.5, 41)
            weight = np.exp(-0.5 * sigmas**2)
            each = np.maximum(over[..., None] - self.softness_v * sigmas, 0)
            product = (self._trigger(each) * each) @ (weight / weight.sum())
        elif self.onset == "softened trigger":
            late = (over - self.turn_on_v) / self.softness_v
            trigger = self.softness_v * np.logaddexp(0, np.maximum(late, -60))
            product = self._trigger(trigger) * soft
        else:
            product = self._trigger(soft) * soft
        secondaries = np.minimum(self.crosstalk_per_v * soft + 0.005 * soft**2, 0.9)
        bulk = 1 + 0.5 * (voltage_v / self.vbd_v) ** 8
        leakage = self.leakage_a * np.exp(self.leakage_per_v * over) * bulk
        leakage += self.ohmic_a * voltage_v / self.vbd_v
        return np.asarray(leakage + self.amplitude_a * product / (1 - secondaries))

    def _trigger(self, over: Array) -> Array:
        return np.asarray(self.saturation_v * (1 - np.exp(-over / self.saturation_v)))

    def knee_v(self, order: int) -> float:
        """True maximum of the derivative of ln I of this order, V."""
        voltage = np.arange(self.vbd_v - 1.5, self.vbd_v + 1.5, 0.001)
        derivative = np.diff(np.log(self.current_a(voltage)), n=order)
        return float(voltage[int(np.argmax(derivative))] + 0.0005 * order)


GOOD = Device(38.0, 1.6e-7, 5e-11, 0.05, 1e-12, 0.06, "softened overvoltage", 4.0, 0.05)


def random_device(rng: np.random.Generator) -> Device:
    """Breakdown 20..70 V, dark counts 1e4..1e10 Hz, leakage 1 pA..100 nA, onset 20..250 mV."""
    rate_hz, electrons_per_v = 10 ** rng.uniform(4, 10), 10 ** rng.uniform(5.5, 6.3)
    return Device(
        vbd_v=rng.uniform(20, 70),
        amplitude_a=ELECTRON_C * rate_hz * electrons_per_v,
        leakage_a=10 ** rng.uniform(-12, -7),
        leakage_per_v=rng.uniform(0, 0.15),
        ohmic_a=10 ** rng.uniform(-14, -9),
        softness_v=10 ** rng.uniform(-1.7, -0.6),
        onset=ONSETS[rng.integers(3)],
        saturation_v=rng.uniform(2, 8),
        crosstalk_per_v=rng.uniform(0.01, 0.12),
        turn_on_v=rng.uniform(0, 0.5),
    )


def measured(rng: np.random.Generator, device: Device) -> tuple[Array, Array]:
    """A curve in steps of 0.02..0.5 V with 0.1..20 % noise and a floor of 0.01..3 pA."""
    step, noise = np.exp(rng.uniform(np.log([0.02, 0.001]), np.log([0.5, 0.2])))
    low, high = device.vbd_v - rng.uniform(2.5, 6), device.vbd_v + rng.uniform(2, 6)
    voltage = np.arange(low + step * rng.random(), high, step)
    current = device.current_a(voltage)
    sigma = np.hypot(noise * current, 10 ** rng.uniform(-14, -11.5))
    return voltage, current + sigma * rng.standard_normal(len(voltage))


@dataclass(frozen=True)
class ForwardDevice:
    """Diodes with resistors: V = U0 + n UT ln I + I R."""

    resistance_ohm: float
    thermal_v: float = 0.04
    junction_v: float = 0.6

    def current_a(self, voltage_v: Array) -> Array:
        """The current; junction_v is the voltage across the diodes at 1 uA."""
        log_i = np.full(len(voltage_v), np.log(1e-9))
        for _ in range(300):
            off = self.junction_v + self.thermal_v * (log_i - np.log(1e-6)) - voltage_v
            off += self.resistance_ohm * np.exp(log_i)
            log_i -= np.clip(off / (self.thermal_v + self.resistance_ohm * np.exp(log_i)), -2, 2)
        return np.asarray(np.exp(log_i))
