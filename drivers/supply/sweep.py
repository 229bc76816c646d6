"""Current against voltage, point by point, under the same discipline as a ramp."""

import contextlib
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from drivers.errors import ComplianceTripped
from drivers.roles import BiasReading, Checkpoint
from drivers.supply.primitives import Limits
from drivers.supply.stepped import SteppedSupply


@dataclass(frozen=True)
class IVCurve:
    """Measured voltages (V) and currents (A) of a sweep, and where the current limit held."""

    voltage_v: NDArray[np.float64]
    current_a: NDArray[np.float64]
    in_compliance: NDArray[np.bool_]


@dataclass(frozen=True)
class Trace:
    """A sweep under way: what each of its steps is checked against."""

    points_v: Sequence[float]
    delay_s: float
    turn: int
    limits: Limits
    checkpoint: Checkpoint

    @property
    def stop_v(self) -> float:
        return self.points_v[-1]


class SweepingSupply(SteppedSupply):
    """A stepped supply that measures current against voltage."""

    def sweep(
        self,
        start_v: float,
        stop_v: float,
        step_v: float,
        delay_s: float,
        *,
        rate_v_per_s: float = 10.0,
        checkpoint: Checkpoint = contextlib.nullcontext,
    ) -> IVCurve:
        """Measure at voltages ``step_v`` apart, ``delay_s`` after each is reached.

        The output must be on. The supply goes to ``start_v`` first and back to it afterwards, both
        at ``rate_v_per_s``, which the sweep does not exceed either. The sweep ends early at the
        first point in compliance, which is part of the curve. On any failure the supply is ramped
        down, unless another thread has done that.

        Args:
            step_v: distance of the points, positive, at most ``MAX_STEP_V``.
            delay_s: time between setting and measuring.

        Raises:
            SetpointRefused: a voltage, step, delay or rate is not allowed, or ``step_v`` per
                ``delay_s`` is faster than the rate.
            RampInterrupted and the other errors of :meth:`ramp_to`.
        """
        self._check_rate(rate_v_per_s)
        limits = self._programmed()
        for end_v in (start_v, stop_v):
            self._check_setpoint(end_v, limits)
        if not 0 < step_v <= self.MAX_STEP_V:
            self._refuse_setpoint(f"a step of {step_v} V is not above 0 and up to 2 V")
        if not (math.isfinite(delay_s) and step_v <= rate_v_per_s * delay_s * (1 + 1e-9)):
            self._refuse_setpoint(
                f"{step_v:g} V every {delay_s} s is faster than {rate_v_per_s:g} V/s"
            )
        self.ramp_to(start_v, rate_v_per_s=rate_v_per_s, checkpoint=checkpoint)
        count = math.floor(round(abs(stop_v - start_v) / step_v, 9)) + 1
        direction_v = math.copysign(step_v, stop_v - start_v)
        points = [round(start_v + k * direction_v, 9) for k in range(count)]
        turn, descents = self._take_turn(), self._descents
        readings: list[BiasReading] = []
        try:
            for reading in self._trace(Trace(points, delay_s, turn, limits, checkpoint)):
                readings.append(reading)
                if reading.in_compliance:
                    break
            self._check_turn(turn, "through a sweep")
            self.ramp_to(start_v, rate_v_per_s=rate_v_per_s, checkpoint=checkpoint)
        except BaseException:
            if self._descents == descents:
                self.ramp_down(rate_v_per_s=rate_v_per_s)
            raise
        return IVCurve(
            np.array([reading.voltage_v for reading in readings]),
            np.array([reading.current_a for reading in readings]),
            np.array([reading.in_compliance for reading in readings]),
        )

    def _trace(self, trace: Trace) -> Generator[BiasReading]:
        """The readings at the points of a sweep; the supply stands at the first."""
        at_v = trace.points_v[0]
        for point_v in trace.points_v:
            if abs(point_v) > abs(at_v):
                with trace.checkpoint():
                    self._step(at_v, point_v, trace.turn, trace.stop_v, trace.limits)
            elif point_v != at_v:
                self._step(at_v, point_v, trace.turn, trace.stop_v, None)
            self._clock.sleep(trace.delay_s)
            yield self._at_point(point_v, trace.stop_v)
            at_v = point_v

    def _at_point(self, point_v: float, stop_v: float) -> BiasReading:
        try:
            return self._confirm(point_v, stop_v)
        except ComplianceTripped:
            return self.read()
