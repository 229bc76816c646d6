"""Test a tile module: bias ramp, IV curve, LED run, one charge spectrum per channel."""

from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.iv import breakdown_from_iv
from analysis.sipm.peaks import PeakFit, fit_peaks
from analysis.sipm.spectrum import Spectrum
from drivers.roles import BiasReading
from station.bias_ceiling import BiasCeiling, KnownBreakdown, ceiling_over
from station.catalogue import BoardShape
from station.events import Curve, Event, Note, Procedure, Progress, RawData, Reading, RefusedError
from station.line import Line
from station.recipes import LedTest

CHANNEL_QUANTITIES = ("gain", "pedestal", "noise", "light_yield", "crosstalk", "gain_spread")
BIAS_TOLERANCE_V = 0.05
LED_RUN_DEADLINE_S = 120.0


@dataclass(frozen=True)
class BoardUnderTest:
    """A module on the test connector.

    `breakdown` is what the records know of its breakdown voltage, None where they know nothing.
    """

    shape: BoardShape
    label: str = "the board"
    breakdown: KnownBreakdown | None = None


@dataclass(frozen=True)
class OperatingPoint:
    """Bias for the LED run: nominal breakdown at the board's temperature plus overvoltage."""

    bias_v: float
    vbd_v: float
    temperature_c: float


def operating_point(recipe: LedTest, temperature_c: float) -> OperatingPoint:
    """Vbd(T) = Vbd(T0) + slope (T - T0), bias = Vbd(T) + overvoltage, in V."""
    vbd_v = recipe.vbd_nominal_v + recipe.vbd_slope_v_per_k * (
        temperature_c - recipe.vbd_reference_c
    )
    return OperatingPoint(vbd_v + recipe.overvoltage_v, vbd_v, temperature_c)


def bias_ceiling(board: BoardUnderTest, recipe: LedTest, temperature_c: float) -> BiasCeiling:
    """6 V above the board's breakdown voltage, or what the recipe states while it is unknown."""
    if board.breakdown is not None:
        return ceiling_over(
            board.breakdown,
            board.label,
            temperature_c=temperature_c,
            slope_v_per_k=recipe.vbd_slope_v_per_k,
        )
    if recipe.ceiling_v is not None:
        return BiasCeiling(
            recipe.ceiling_v,
            board.label,
            f"ceiling_v of the recipe, version {recipe.version}: its breakdown is not known",
        )
    nominal = KnownBreakdown(
        recipe.vbd_nominal_v,
        recipe.vbd_reference_c,
        f"nominal, by the recipe, version {recipe.version}",
    )
    return ceiling_over(
        nominal,
        board.label,
        temperature_c=temperature_c,
        slope_v_per_k=recipe.vbd_slope_v_per_k,
    )


def test_board(line: Line, board: BoardUnderTest, recipe: LedTest) -> Procedure:
    """Ramp the bias, scan the current, take an LED run, ramp down, and fit every channel.

    A channel that one run leaves in doubt gets the events of a second run as well. Yields
    vbd_iv (V) and the curve "iv" for the board, then for every channel its curve
    "charge_spectrum" and gain, pedestal, noise, light_yield, crosstalk, gain_spread.
    """
    shape = board.shape
    if line.readout.n_channels < shape.n_channels:
        raise RefusedError(
            f"the readout has {line.readout.n_channels} channels, a {shape.name} has "
            f"{shape.n_channels}"
        )
    steps = shape.n_channels + 3
    temperature_c = _board_temperature(line)
    point = operating_point(recipe, temperature_c)
    line.limit_bias(bias_ceiling(board, recipe, temperature_c))
    line.check_bias(max(point.bias_v, point.vbd_v + recipe.iv_stop_overvoltage_v))
    line.light.pulse_off()
    line.switch_bias_on()
    yield Progress(0, steps, "current against bias")
    yield from _scan_current(line, recipe, point)
    yield Progress(1, steps, f"ramping to {point.bias_v:.2f} V")
    line.ramp_bias(point.bias_v)
    line.wait(recipe.bias_settle_s)
    at = _standing_bias(line, point, "before the LED run")
    conditions = {
        "bias_v": at.voltage_v,
        "current_a": at.current_a,
        "temperature_c": temperature_c,
        "overvoltage_nominal_v": at.voltage_v - point.vbd_v,
    }
    yield Note("operating point", conditions)
    yield Progress(2, steps, f"LED run of {recipe.n_events} events at {at.voltage_v:.2f} V")
    adc = yield from _led_run(line, recipe, point, "charges of the LED run")
    fits = {p.channel: _fit(p.channel, adc[p.channel]) for p in shape.positions}
    doubtful = sorted(channel for channel, fit in fits.items() if not fit.complete)
    if doubtful:
        yield Note("a second LED run for channels that could not be told", {"channels": doubtful})
        more = yield from _led_run(line, recipe, point, "charges of the second LED run")
        for channel in doubtful:
            fits[channel] = _fit(channel, np.concatenate((adc[channel], more[channel])))
    yield Progress(3, steps, "ramping down")
    line.bias_down()
    for done, position in enumerate(sorted(shape.positions, key=lambda p: p.channel), start=1):
        yield from _channel(fits[position.channel], conditions)
        yield Progress(3 + done, steps, f"channel {position.channel} at {position.name}")


def _board_temperature(line: Line) -> float:
    temperatures = [t for t in line.climate.temperatures_c().values() if np.isfinite(t)]
    if not temperatures:
        raise RefusedError("no thermometer of the board answers with a temperature")
    return float(np.median(temperatures))


def _scan_current(
    line: Line, recipe: LedTest, point: OperatingPoint
) -> Generator[Event, str | UUID | None, None]:
    stop_v = point.vbd_v + recipe.iv_stop_overvoltage_v
    n_steps = int((stop_v - recipe.iv_start_v) / recipe.iv_step_v + 1e-9)
    voltages, currents = [], []
    for target_v in recipe.iv_start_v + recipe.iv_step_v * np.arange(n_steps + 1):
        line.ramp_bias(round(float(target_v), 4))
        line.wait(recipe.iv_settle_s)
        reading = line.bias.read()
        if reading.in_compliance:
            yield Note(f"the supply limits its current at {reading.voltage_v:.2f} V: scan ends")
            break
        voltages.append(reading.voltage_v)
        currents.append(reading.current_a)
    voltage_v, current_a = np.array(voltages), np.array(currents)
    yield Curve("iv", voltage_v, current_a, "V", "A", meta={"temperature_c": point.temperature_c})
    yield Reading.from_estimate(
        "vbd_iv",
        breakdown_from_iv(voltage_v, current_a),
        conditions={"temperature_c": point.temperature_c},
    )


def _standing_bias(line: Line, point: OperatingPoint, when: str) -> BiasReading:
    """The bias as it reads; refused when it is not that of the operating point."""
    at = line.bias.read()
    if not at.output_on or abs(at.voltage_v - point.bias_v) > BIAS_TOLERANCE_V:
        raise RefusedError(
            f"{when} the bias reads {at.voltage_v:.3f} V, output "
            f"{'on' if at.output_on else 'off'}, instead of {point.bias_v:.3f} V"
        )
    return at


def _led_run(
    line: Line, recipe: LedTest, point: OperatingPoint, text: str
) -> Generator[Event, str | UUID | None, NDArray[np.int_]]:
    """Charges (n_channels, n_events) with the LED on; refused when the bias did not stand."""
    line.readout.configure(**recipe.readout)
    line.light.pulse_on()
    try:
        run = line.readout.take(
            recipe.n_events, checkpoint=line.checkpoint, deadline_s=LED_RUN_DEADLINE_S
        )
    finally:
        line.light.pulse_off()
    _standing_bias(line, point, "after the LED run")
    if "file" in run.settings:
        yield RawData(text, Path(run.settings["file"]), "application/x-root")
    return run.adc


@dataclass(frozen=True)
class _ChannelFit:
    channel: int
    spectrum: Spectrum
    fit: PeakFit

    @property
    def complete(self) -> bool:
        """Whether every quantity of the channel could be told."""
        return all(getattr(self.fit, quantity).known for quantity in CHANNEL_QUANTITIES)


def _fit(channel: int, adc: NDArray[np.int_]) -> _ChannelFit:
    spectrum = Spectrum.from_charges(adc, bin_width=1.0, meta={"channel": channel})
    return _ChannelFit(channel, spectrum, fit_peaks(spectrum))


def _channel(
    measured: _ChannelFit, conditions: dict[str, float]
) -> Generator[Event, str | UUID | None, None]:
    spectrum, fit = measured.spectrum, measured.fit
    yield Curve(
        "charge_spectrum",
        spectrum.edges,
        spectrum.counts,
        "ADC",
        "events",
        measured.channel,
        model=fit.model,
        meta={"kind": fit.kind, "reasons": list(fit.reasons)},
    )
    for quantity in CHANNEL_QUANTITIES:
        yield Reading.from_estimate(
            quantity, getattr(fit, quantity), channel=measured.channel, conditions=conditions
        )
