"""The devices and conditions of the study of limits: one axis at a time, and random ones."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from analysis.sipm.irradiation import pixel_state
from analysis.sipm.simulate import (
    REFERENCE_TEMPERATURE_C,
    Readout,
    SiPMTruth,
    crosstalk,
    dark_rate_hz,
    delayed_crosstalk,
    gain,
    overvoltage,
    random_readout,
    random_truth,
)

TEMPERATURE_C = REFERENCE_TEMPERATURE_C
OVERVOLTAGE_V = 3.0
GATE_NS = 40.0
BRIGHT_PE = 60.0

REFERENCE_DEVICE = SiPMTruth(n_pixels=17_778, dcr_hz=1e6)
REFERENCE_READOUT = Readout(gate_ns=GATE_NS, light_at_ns=5.0, pedestal_adc=100.0, noise_adc=2.8)


@dataclass(frozen=True)
class Point:
    """One set of conditions. axis, x: where it stands in the study; mean_pe: mean primaries."""

    axis: str
    x: float
    truth: SiPMTruth = REFERENCE_DEVICE
    readout: Readout = REFERENCE_READOUT
    overvoltage_v: float = OVERVOLTAGE_V
    mean_pe: float = 3.0
    n_events: int = 10_000

    @property
    def bias_v(self) -> float:
        return self.truth.vbd_v + self.overvoltage_v

    @property
    def gain(self) -> float:
        return gain(self.truth, self.bias_v, TEMPERATURE_C)

    @property
    def dcr_hz(self) -> float:
        return dark_rate_hz(self.truth, self.bias_v, TEMPERATURE_C)

    @property
    def dark_per_gate(self) -> float:
        return self.dcr_hz * 1e-9 * self.readout.gate_ns

    @property
    def effective_gain(self) -> float:
        """Gain times <s^2>/<s>, s being the charge of an avalanche in a pixel that has not
        recovered over that of one that has; candidates include crosstalk."""
        where = (self.truth, self.bias_v, TEMPERATURE_C)
        secondaries = min(crosstalk(*where) + delayed_crosstalk(*where), 0.9)
        rate_per_pixel = self.dcr_hz / (1 - secondaries) / self.truth.n_pixels
        steepness = overvoltage(*where) / self.truth.pde_scale_v
        state = pixel_state(rate_per_pixel * 1e-9 * self.truth.recovery_ns, steepness)
        return self.gain * state.size_squared / state.size


@dataclass(frozen=True)
class Axis:
    """What is changed, in words and numbers."""

    name: str
    title: str
    others: str
    points: tuple[Point, ...]
    logarithmic: bool = True

    @property
    def values(self) -> tuple[float, ...]:
        return tuple(point.x for point in self.points)


def axes() -> tuple[Axis, ...]:
    """All axes with their points."""
    dcr = (1e4, 1e5, 1e6, 1e7, 3e7, 1e8, 3e8, 1e9, 3e9, 1e10)
    pe = Point("", 0.0).gain
    return (
        _axis("dcr", "dark count rate (Hz)", dcr, "3 p.e. of light, 10 000 gates", _with_dcr),
        _axis(
            "dcr_bright",
            "dark count rate (Hz)",
            dcr,
            f"{BRIGHT_PE:g} p.e. of light, 20 000 gates",
            lambda p, x: replace(_with_dcr(p, x), mean_pe=BRIGHT_PE, n_events=20_000),
        ),
        _axis(
            "noise",
            "noise (p.e.)",
            (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0, 2.0, 4.0, 6.0),
            "20 000 gates",
            lambda p, x: replace(p, n_events=20_000, readout=replace(p.readout, noise_adc=x * pe)),
        ),
        _axis(
            "light",
            "mean light (p.e.)",
            (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0),
            "10 000 gates",
            lambda p, x: replace(p, mean_pe=x),
        ),
        _axis(
            "statistics",
            "gates with and without light, each",
            (100, 300, 1e3, 3e3, 1e4, 3e4, 1e5),
            "3 p.e. of light",
            lambda p, x: replace(p, n_events=int(x)),
        ),
        _axis(
            "crosstalk",
            "prompt crosstalk (secondaries per avalanche)",
            (0.0, 0.03, 0.06, 0.12, 0.2, 0.3, 0.4, 0.5),
            "10 000 gates",
            lambda p, x: replace(p, truth=replace(p.truth, crosstalk_per_v=x / OVERVOLTAGE_V)),
            logarithmic=False,
        ),
        _axis(
            "overvoltage",
            "overvoltage (V)",
            (0.3, 0.6, 1.0, 2.0, 3.0, 4.5, 6.0, 8.0),
            "gain, crosstalk, afterpulses, dark counts and light move with it; 10 000 gates",
            _with_overvoltage,
            logarithmic=False,
        ),
    )


def _axis(
    name: str,
    title: str,
    values: Sequence[float],
    others: str,
    change: Callable[[Point, float], Point],
    *,
    logarithmic: bool = True,
) -> Axis:
    points = tuple(change(Point(name, float(v)), float(v)) for v in values)
    return Axis(name, title, others, points, logarithmic)


def _with_dcr(point: Point, dcr_hz: float) -> Point:
    return replace(point, truth=replace(point.truth, dcr_hz=dcr_hz))


def _with_overvoltage(point: Point, overvoltage_v: float) -> Point:
    """The same light on the SiPM: its PDE follows the overvoltage."""
    scale = point.truth.pde_scale_v
    detected = np.expm1(-overvoltage_v / scale) / np.expm1(-OVERVOLTAGE_V / scale)
    return replace(point, overvoltage_v=overvoltage_v, mean_pe=float(point.mean_pe * detected))


def resolved(rng: np.random.Generator, number: int) -> Point:
    """A random device whose peaks are seen: noise of 3 to 30 % of a p.e., up to 3 MHz."""
    return _random(rng, "resolved", number, dark=None, noise_pe=None, light=(0.5, 8.0))


def anything(rng: np.random.Generator, number: int) -> Point:
    """A random device from new to heavily irradiated: 1e-3 to 30 dark counts per gate, noise of
    0.05 to 6 p.e., light of 0.3 to 30 p.e."""
    return _random(
        rng, "anything", number, dark=(1e-3, 30.0), noise_pe=(0.05, 6.0), light=(0.3, 30.0)
    )


def _random(
    rng: np.random.Generator,
    name: str,
    number: int,
    *,
    dark: tuple[float, float] | None,
    noise_pe: tuple[float, float] | None,
    light: tuple[float, float],
) -> Point:
    def in_logarithm(least: float, most: float) -> float:
        return float(np.exp(rng.uniform(np.log(least), np.log(most))))

    truth = random_truth(rng, n_pixels=(1000, 40_000), light_jitter=(0.0, 0.03))
    point = Point(
        name,
        float(number),
        truth,
        overvoltage_v=float(rng.uniform(1.5, 5)),
        mean_pe=in_logarithm(*light),
        n_events=int(in_logarithm(3e3, 2e4)),
    )
    readout = random_readout(rng, truth, point.gain)
    if noise_pe is not None:
        readout = replace(readout, noise_adc=point.gain * in_logarithm(*noise_pe))
    point = replace(point, readout=readout)
    if dark is not None:
        per_gate = in_logarithm(*dark)
        truth = replace(truth, dcr_hz=truth.dcr_hz * per_gate / point.dark_per_gate)
        point = replace(point, truth=truth)
    return point
