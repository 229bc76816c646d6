"""Whether a reading shows that the supply does what it was told."""

from drivers.errors import BrokenReply, ComplianceTripped, RampInterrupted
from drivers.roles import BiasReading
from drivers.supply.primitives import Supply
from drivers.supply.ramp import insist
from drivers.transport import Exchange

READINGS = 3
"""How often a reading is tried that comes garbled."""


class _Lags(RampInterrupted):
    """The terminals are not where the set-point is; a slow supply may still get there."""


class JudgedSupply(Supply):
    """A supply whose readings are compared with what was set."""

    def _confirm(self, step_v: float | None, target_v: float) -> BiasReading:
        """A reading that shows nothing wrong; a suspicious one is read again before it is judged.

        ``step_v`` is the set-point that was written; None before the first step of a ramp.
        """
        complaint = None
        ends_at_s = None
        garbled = 0
        while True:
            try:
                with self._transaction() as exchange:
                    reading = self._read(exchange)
                    found = self._complaint(exchange, reading, step_v, target_v)
            except BrokenReply:
                garbled += 1
                if garbled == READINGS:
                    raise
                continue
            if found is None:
                return reading
            if ends_at_s is None:
                ends_at_s = self._clock.now_s() + self.FOLLOWS_WITHIN_S
            elif self._clock.now_s() >= ends_at_s or type(found) is type(complaint) is not _Lags:
                raise found
            complaint = found
            if isinstance(found, _Lags) and self.FOLLOWS_WITHIN_S:
                self._clock.sleep(self.STEP_S)

    def _discharged(self) -> BiasReading:
        ends_at_s = self._clock.now_s() + self.DISCHARGE_S
        late = False
        reading = insist(self.read)
        while abs(reading.voltage_v) > self.DISCHARGED_V and not late:
            self._clock.sleep(self.STEP_S)
            late = self._clock.now_s() > ends_at_s
            reading = insist(self.read)
        if reading.output_on or abs(reading.voltage_v) > self.DISCHARGED_V:
            raise RampInterrupted(
                f"{self.NAME}: still {reading.voltage_v:.3f} V after ramping down, output "
                f"{'on' if reading.output_on else 'off'}",
                port=self.port,
                advice="Switch the source off at its front panel and keep hands off the board.",
            )
        return reading

    def _complaint(
        self, exchange: Exchange, reading: BiasReading, step_v: float | None, target_v: float
    ) -> RampInterrupted | None:
        at_v = reading.set_v if step_v is None else step_v
        if not reading.output_on:
            return self._went_off(exchange, at_v, target_v)
        if abs(reading.set_v - at_v) > self.SETPOINT_WITHIN_V:
            return self._changed_by_hand(reading.set_v, at_v)
        rising = abs(target_v) > abs(at_v) or step_v == target_v
        if rising and (alarm := self._alarm(exchange)):
            return RampInterrupted(
                f"{self.NAME}: it reports {alarm} at {at_v:.3f} V on the way to {target_v:g} V",
                port=self.port,
            )
        if reading.in_compliance:
            return self._tripped(reading, target_v) if rising else None
        return self._lags(reading, at_v, self._expected_v(exchange, at_v))

    def _lags(self, reading: BiasReading, at_v: float, expected_v: float) -> RampInterrupted | None:
        if abs(reading.voltage_v - expected_v) <= self._follows_within_v(reading, at_v):
            return None
        meant = "" if expected_v == at_v else f", which should give {expected_v:.3f} V"
        return _Lags(
            f"{self.NAME}: the output measures {reading.voltage_v:.3f} V where "
            f"{at_v:.3f} V was set{meant}",
            port=self.port,
            advice="Ramp down; check the cable and the over-voltage protection.",
        )

    def _follows_within_v(self, reading: BiasReading, at_v: float) -> float:
        """How far the terminals may be from the set-point."""
        return self.FOLLOWS_WITHIN_V + self.FOLLOWS_WITHIN_RELATIVE * abs(at_v)

    def _went_off(self, exchange: Exchange, at_v: float, target_v: float) -> RampInterrupted:
        return RampInterrupted(
            f"{self.NAME}: the output went off by itself at {at_v:.3f} V on the way to "
            f"{target_v:g} V{self._says(exchange)}",
            port=self.port,
            advice="Check the interlock and the front panel of the source.",
        )

    def _says(self, exchange: Exchange) -> str:
        alarm = self._alarm(exchange)
        return f"; it reports {alarm}" if alarm else ""

    def _tripped(self, reading: BiasReading, target_v: float) -> ComplianceTripped:
        return ComplianceTripped(
            f"{self.NAME}: the current limit was reached on the way to {target_v:g} V: "
            f"{reading.current_a:.4g} A at {reading.voltage_v:.3f} V (set {reading.set_v:.3f} V)",
            port=self.port,
        )

    def _changed_by_hand(self, found_v: float, at_v: float) -> RampInterrupted:
        return RampInterrupted(
            f"{self.NAME}: the set-point reads {found_v:.3f} V where {at_v:.3f} V was set",
            port=self.port,
            advice="Somebody changed it at the front panel: ramp down and start again.",
        )
