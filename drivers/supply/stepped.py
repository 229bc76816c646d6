"""Ramps in small checked steps, the way down, and who may go where."""

import contextlib
import functools
import math
import threading
import time

from drivers.clock import Clock
from drivers.errors import (
    InstrumentError,
    InstrumentInterrupted,
    InstrumentRefused,
    LimitsNotProgrammed,
    RampInterrupted,
)
from drivers.roles import BiasReading, Checkpoint
from drivers.supply.judging import JudgedSupply
from drivers.supply.primitives import Limits
from drivers.supply.ramp import insist, steps
from drivers.transport import Exchange, LineTransport

GRACE_S = 0.02
"""Real seconds for which a descent lets another thread finish its transaction."""


class SteppedSupply(JudgedSupply):
    """A bias supply that ramps in checked steps; subclasses say how their instrument is spoken to.

    A subclass defines the primitives of :class:`drivers.supply.primitives.Supply`. The public
    methods fulfil :class:`drivers.roles.BiasSupply` and may be called from any thread.

    Opening reads and changes nothing: an output that is on stays as it is, so that a station that
    starts again can ramp it down.

    Args:
        transport: the port; the driver closes it.
        clock: time for ramps and settling.
        polarity: +1 or -1, the sign of every voltage that may be set.
        deadline_s: real seconds for one transaction.

    Raises:
        WrongInstrument: another instrument, or one set up differently, answers.
        InstrumentLost, InstrumentTimeout, BrokenReply: nobody, or nobody sensible, answers.
    """

    def __init__(
        self,
        transport: LineTransport,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
    ) -> None:
        self._turn = 0
        self._descents = 0
        self._turn_lock = threading.Lock()
        self._going_down = threading.Lock()
        self._descent_v_per_s = 0.0
        super().__init__(transport, clock=clock, polarity=polarity, deadline_s=deadline_s)

    def program_limits(self, *, max_voltage_v: float, compliance_a: float) -> None:
        """Write the limits into the hardware, with the output off, and read them back.

        The driver itself refuses every set-point above ``max_voltage_v``; what the hardware
        holds may be the next of its own steps above.

        Raises:
            SetpointRefused: a limit is outside what the instrument can do.
            InstrumentRefused: the output is on, or the instrument refuses a limit.
            LimitsNotProgrammed: a limit reads back wrong.
        """
        self._limits = None
        limits = self._limits_of(max_voltage_v, compliance_a)
        with self._transaction() as exchange:
            if self._output_on(exchange):
                raise InstrumentRefused(
                    f"{self.NAME}: the output is on while the limits should be programmed",
                    port=self.port,
                    advice="Ramp down first.",
                )
            self._write_limits(exchange, limits)
            self._check_limits_programmed(exchange, limits)
        self._limits = limits

    def switch_on(self) -> None:
        """Switch the output on at the lowest voltage; does nothing when it is on already.

        Raises:
            LimitsNotProgrammed: no limits, or the instrument has lost them.
            InterlockOpen: the instrument's interlock keeps the output off.
            InstrumentRefused: the output does not switch on, or is being brought down.
        """
        limits, turn = self._programmed(), self._turn
        with self._transaction() as exchange:
            self._recheck_limits(exchange, limits)
            if self._output_on(exchange):
                return
            self._check_output_allowed(exchange, self._lowest_v)
            self._write_voltage(exchange, self._lowest_v)
            set_v = self._setpoint_v(exchange)
            if abs(set_v - self._lowest_v) > self.SETPOINT_WITHIN_V:
                raise InstrumentRefused(
                    f"{self.NAME}: the set-point reads back {set_v:g} V instead of "
                    f"{self._lowest_v:g} V before switching on",
                    port=self.port,
                    advice="Look at the front panel; the output stays off.",
                )
            self._check_turn(turn, "to switching on")
            self._write_output(exchange, on=True)
            if not self._output_on(exchange):
                raise InstrumentRefused(
                    f"{self.NAME}: the output does not switch on{self._says(exchange)}",
                    port=self.port,
                    sent=exchange.sent,
                    advice="Look at the front panel of the supply for a message.",
                )
        if self.LOWEST_V:
            self._confirm(self._lowest_v, self._lowest_v)

    def switch_off(self) -> None:
        """Switch the output off at once, without a ramp, and read that back.

        Raises:
            InstrumentError: it is not certain that the output is off.
        """
        self._take_turn()
        self._descents += 1
        self._make_way()
        insist(self._off_once)

    def ramp_to(
        self,
        voltage_v: float,
        *,
        rate_v_per_s: float,
        checkpoint: Checkpoint = contextlib.nullcontext,
    ) -> None:
        """Go to a voltage in steps of ``STEP_S``, each checked by a measurement.

        Rising steps (away from 0 V) happen inside ``checkpoint()``. On any failure the voltage
        stays where it got to.

        Args:
            voltage_v: target, with the sign of the polarity.
            rate_v_per_s: slope, positive; never exceeded.

        Raises:
            SetpointRefused: the target is not finite, of the wrong sign, or outside the limits.
            LimitsNotProgrammed: :meth:`program_limits` was not called, or the limits are lost.
            InterlockOpen: the target needs the interlock closed.
            InstrumentRefused: the output is off.
            ComplianceTripped: the current limit was reached.
            RampInterrupted: the output went off, does not follow or was changed by hand, or
                another thread brought the supply down or began another ramp meanwhile.
        """
        self._check_rate(rate_v_per_s)
        limits = self._programmed()
        self._check_setpoint(voltage_v, limits)
        turn = self._take_turn()
        try:
            with self._transaction() as exchange:
                self._check_output_allowed(exchange, voltage_v)
                if not self._output_on(exchange):
                    raise InstrumentRefused(
                        f"{self.NAME}: a ramp was asked for while the output is off",
                        port=self.port,
                        advice="Switch the output on first.",
                    )
                self._write_ramp(exchange, rate_v_per_s)
            at_v = self._confirm(None, voltage_v).set_v
            largest_v = min(rate_v_per_s * self.STEP_S, self.MAX_STEP_V)
            for wanted_v in steps(at_v, voltage_v, largest_v):
                step_v = wanted_v if wanted_v == voltage_v else self._settable(wanted_v)
                if abs(step_v) > abs(at_v):
                    with checkpoint():
                        self._step(at_v, step_v, turn, voltage_v, limits)
                else:
                    self._step(at_v, step_v, turn, voltage_v, None)
                self._clock.sleep(self.STEP_S)
                self._confirm(step_v, voltage_v)
                at_v = step_v
        except (InstrumentInterrupted, RampInterrupted, LimitsNotProgrammed):
            # another thread is the reason before anything that it left behind
            self._check_turn(turn, f"to {voltage_v:g} V")
            raise

    def ramp_down(self, *, rate_v_per_s: float) -> BiasReading:
        """From any state to 0 V with the output off; returns the reading that proves it.

        Starts from what the instrument says, not from what was set through this driver. Lost and
        broken replies are tried again. When a step fails all the same, or the instrument sources a
        current, the output is switched off at once. Takes the port from a transaction that another
        thread has under way. A second call while one is under way hastens it to the higher rate
        and waits for it.

        Raises:
            InstrumentError: it is not certain that the output is off.
        """
        self._check_rate(rate_v_per_s)
        self._take_turn()
        self._descents += 1
        self._descent_v_per_s = max(self._descent_v_per_s, rate_v_per_s)
        self._make_way()
        with self._going_down:
            try:
                with contextlib.suppress(InstrumentError):
                    self._walk_down(rate_v_per_s)
                insist(self._off_once)
                with contextlib.suppress(InstrumentRefused):
                    insist(lambda: self._set(self._lowest_v))
                return self._discharged()
            finally:
                self._descent_v_per_s = 0.0

    def close(self) -> None:
        """Ramp down when the output is on, then give the port back; once closed, does nothing.

        Raises:
            InstrumentError: it is not certain that the output is off; the port is closed anyway.
        """
        if self._transport.is_closed:
            return
        try:
            # asked twice: one wrong digit must not leave the bias on
            if self._going_down.locked() or any(insist(self.output_is_on) for _ in range(2)):
                self.ramp_down(rate_v_per_s=self.CLOSING_RATE_V_PER_S)
        finally:
            self._transport.close()

    def leave(self) -> None:
        """Give the port back and leave the output as it is: for who only looked."""
        self._transport.close()

    @property
    def _lowest_v(self) -> float:
        return self._polarity * self.LOWEST_V if self.LOWEST_V else 0.0

    def _take_turn(self) -> int:
        """From now on every earlier ramp ends before its next write."""
        with self._turn_lock:
            self._turn += 1
            return self._turn

    def _make_way(self) -> None:
        """Free the port, unless who has it is on the way down already."""
        if not self._going_down.locked():
            self._free_port(GRACE_S)

    def _free_port(self, grace_s: float) -> None:
        """A transaction that is short ends by itself, a longer one is broken off."""
        ends_at_s = time.monotonic() + grace_s
        while self._transport.is_busy():
            if time.monotonic() > ends_at_s:
                self._transport.interrupt()
                return
            time.sleep(0.001)

    def _set(self, voltage_v: float) -> None:
        with self._transaction() as exchange:
            self._write_voltage(exchange, voltage_v)

    def _step(
        self, at_v: float, step_v: float, turn: int, target_v: float, limits: Limits | None
    ) -> None:
        """Write the next set-point of a ramp; with ``limits`` it rises, and they are asked."""
        with self._transaction() as exchange:
            self._check_before_step(exchange, at_v, turn, target_v, limits)
            self._write_voltage(exchange, step_v)

    def _check_before_step(
        self, exchange: Exchange, at_v: float, turn: int, target_v: float, limits: Limits | None
    ) -> None:
        if limits is not None:
            self._recheck_limits(exchange, limits)
        if abs(self._setpoint_v(exchange) - at_v) > self.SETPOINT_WITHIN_V:
            set_v = self._setpoint_v(exchange)
            if abs(set_v - at_v) > self.SETPOINT_WITHIN_V:
                raise self._changed_by_hand(set_v, at_v)
        self._check_turn(turn, f"to {target_v:g} V")

    def _walk_down(self, rate_v_per_s: float) -> None:
        at_v = insist(lambda: self._begin_descent(rate_v_per_s))
        if at_v is None:
            return
        due_s = self._clock.now_s() + self.STEP_S
        while abs(at_v) > self.LOWEST_V:
            self._clock.sleep(due_s - self._clock.now_s())
            due_s += self.STEP_S
            at_v = self._below(at_v, rate_v_per_s)
            insist(functools.partial(self._fall_to, at_v))
        self._clock.sleep(due_s - self._clock.now_s())

    def _begin_descent(self, rate_v_per_s: float) -> float | None:
        """Take the first step down; the new set-point, or None where nothing is to walk down.

        One transaction, so that nobody gets in between. The set-point is asked twice: one wrong
        digit would let the first step down be a step up.
        """
        with self._transaction() as exchange:
            self._abort(exchange)
            if not (self._output_on(exchange) and self._sources_voltage(exchange)):
                return None
            asked = [self._setpoint_v(exchange), self._setpoint_v(exchange)]
            if asked[0] != asked[1]:
                asked.append(self._setpoint_v(exchange))
            with contextlib.suppress(InstrumentRefused):
                self._write_ramp(exchange, max(self._descent_v_per_s, rate_v_per_s))
            at_v = self._below(min(asked, key=abs), rate_v_per_s)
            self._write_voltage(exchange, at_v)
            return at_v

    def _below(self, at_v: float, rate_v_per_s: float) -> float:
        """The next set-point on the way down."""
        fall_v = max(self._descent_v_per_s, rate_v_per_s) * self.STEP_S
        left_v = max(self.LOWEST_V, abs(at_v) - fall_v)
        return math.copysign(left_v, at_v) if left_v > 1e-9 else 0.0

    def _fall_to(self, voltage_v: float) -> None:
        self._free_port(self.STEP_S)
        self._set(voltage_v)

    def _off_once(self) -> None:
        with self._transaction() as exchange:
            self._abort(exchange)
            self._write_output(exchange, on=False)
            if self._output_on(exchange) and self._output_on(exchange):
                raise InstrumentRefused(
                    f"{self.NAME}: the output does not switch off",
                    port=self.port,
                    sent=exchange.sent,
                    advice="Bias is still on: switch it off at the front panel.",
                )

    def _check_turn(self, turn: int, on_the_way: str) -> None:
        if turn != self._turn or self._going_down.locked():
            raise RampInterrupted(
                f"{self.NAME}: the supply was brought down, or sent elsewhere, on the way "
                f"{on_the_way}",
                port=self.port,
            )
