"""A channel of an iseg NHQ or SHQ as a bias supply."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from drivers.clock import Clock
from drivers.errors import (
    InstrumentRefused,
    InterlockOpen,
    LimitsNotProgrammed,
    SetpointRefused,
    WrongInstrument,
)
from drivers.iseg import protocol
from drivers.iseg.dialogue import ChannelDialogue
from drivers.iseg.echo import EchoTransport
from drivers.iseg.protocol import HardwareLimits, Unit
from drivers.roles import BiasReading, Identity
from drivers.settled import settled
from drivers.shared_port import open_all
from drivers.supply import Limits, SteppedSupply
from drivers.transport import Exchange, LineTransport

SYNCHRONISED_S = 0.1
STARTING_V_PER_S = 10


@dataclass(frozen=True)
class _Look:
    """What a channel shows."""

    voltage_v: float
    set_v: float
    word: str
    flags: frozenset[str]


class Iseg(SteppedSupply):
    """One channel of an NHQ or SHQ.

    The voltage limit of these units is a switch at the unit, in steps of a part of what the unit
    can do. Limits are refused while the switch stands above the maximum that is asked for; a
    switch that stands lower is taken, and holds for the set-points too: see
    :attr:`hardware_limits`. The current limit is the unit's current trip, which shuts the output
    off; it is written in counts of the unit, whose size a unit of the precision series tells and
    ``trip_step_a`` names for the others.

    A unit has no output switch that a program could use. Its output counts as off when it is sent
    to 0 V and stands there or falls; switching off *at once* is a fall at the unit's fastest ramp
    of 255 V/s. Autostart is switched off with the limits: with it, reading the status of a channel
    that was shut off would bring its voltage back.

    Args:
        transport: the port, with echo; the driver closes it.
        channel: 1 or 2.
        clock: time for ramps and settling.
        polarity: +1 or -1; the switch of the channel must be the same.
        deadline_s: real seconds for one transaction.
        trip_step_a: what one count of the current trip means; None for units that tell.

    Raises:
        WrongInstrument: another instrument answers, or the channel has the other polarity.
        InstrumentLost, InstrumentTimeout, BrokenReply: nobody, or nobody sensible, answers.
    """

    NAME = "iseg supply"
    FOLLOWS_WITHIN_V = 1.5
    FOLLOWS_WITHIN_S = 3.0
    DISCHARGED_V = 2.0
    DISCHARGE_S = 15.0

    def __init__(
        self,
        transport: LineTransport,
        *,
        channel: int = 1,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 5.0,
        trip_step_a: float | None = None,
    ) -> None:
        if channel not in protocol.CHANNELS:
            raise ValueError(f"the channel is 1 or 2, not {channel}")
        if trip_step_a is not None and not 0 < trip_step_a < 1:
            raise ValueError(f"a step of {trip_step_a} A of the current trip makes no sense")
        self._dialogue = ChannelDialogue(channel)
        self._trip_step_a = trip_step_a
        self._unit: Unit | None = None
        self._step_v = 0.0
        self._autostart = True
        self._armed = False
        self._shut_off_by = ""
        self._switches: HardwareLimits | None = None
        super().__init__(transport, clock=clock, polarity=polarity, deadline_s=deadline_s)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        channel: int = 1,
        clock: Clock | None = None,
        polarity: int = 1,
        baud: int = protocol.BAUD,
        deadline_s: float = 5.0,
        trip_step_a: float | None = None,
    ) -> "Iseg":
        """Connect to a serial port, such as ``/dev/ttyUSB0``."""
        return cls(
            EchoTransport(address, baud=baud, line_end=protocol.TERMINATOR),
            channel=channel,
            clock=clock,
            polarity=polarity,
            deadline_s=deadline_s,
            trip_step_a=trip_step_a,
        )

    @classmethod
    def open_channels(
        cls,
        address: str,
        channels: Sequence[int] = protocol.CHANNELS,
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        baud: int = protocol.BAUD,
        deadline_s: float = 5.0,
        trip_step_a: float | None = None,
    ) -> list["Iseg"]:
        """Both channels of a unit behind one port; the last to close closes it."""
        makers = [
            functools.partial(
                cls,
                channel=channel,
                clock=clock,
                polarity=polarity,
                deadline_s=deadline_s,
                trip_step_a=trip_step_a,
            )
            for channel in channels
        ]
        return open_all(EchoTransport(address, baud=baud, line_end=protocol.TERMINATOR), makers)

    @property
    def hardware_limits(self) -> HardwareLimits | None:
        """Where the switches stood when the limits were last read; None before that."""
        return self._switches

    def interlock_closed(self) -> bool:
        """Whether the inhibit input lets the output be on."""
        with self._transaction() as exchange:
            return "INH" not in self._dialogue.flags(exchange)

    def _identify(self, exchange: Exchange) -> Identity:
        exchange.drain(SYNCHRONISED_S)
        unit = settled(exchange, self._dialogue.unit, self._unit)
        self._unit = self._unit or unit
        return Identity(
            protocol.MAKER,
            f"{unit.max_v:g} V {unit.max_a * 1e3:g} mA",
            unit.number,
            unit.firmware,
            self.port,
        )

    def _begin(self, exchange: Exchange) -> None:
        if not self._step_v:
            self._check_polarity(self._dialogue.flags(exchange))
            self._step_v = self._dialogue.setpoint(exchange).step
        self._autostart = self._dialogue.autostart(exchange) != 0

    def _check_polarity(self, flags: frozenset[str]) -> None:
        if ("POSITIVE" in flags) != (self._polarity > 0):
            raise WrongInstrument(
                f"channel {self._dialogue.channel} is switched to the other polarity than the "
                "profile says",
                port=self.port,
                advice="Correct the polarity in the site profile, or turn the switch of the "
                "channel while it is off and discharged.",
            )

    def _read(self, exchange: Exchange) -> BiasReading:
        current_a = self._dialogue.current(exchange).value
        look = self._look(exchange)
        output_on = self._is_on(look)
        return BiasReading(
            voltage_v=look.voltage_v,
            current_a=math.copysign(current_a, look.voltage_v) if current_a else 0.0,
            output_on=output_on,
            in_compliance=output_on and "ERR" in (look.word, *look.flags),
            set_v=look.set_v,
        )

    def _look(self, exchange: Exchange) -> _Look:
        flags, set_v = self._dialogue.flags(exchange), self._setpoint_v(exchange)
        voltage_v = self._dialogue.voltage(exchange).value + 0.0
        word = "" if self._autostart else self._dialogue.status(exchange)
        self._remember(word, flags)
        return _Look(voltage_v, set_v, word, flags)

    def _remember(self, word: str, flags: frozenset[str]) -> None:
        """Reading a word of a shut-off ends it: what it was is kept for whoever asks why."""
        if word in ("TRP", "INH") or (word == "ERR" and "KILL" in flags):
            self._shut_off_by = word

    def _is_on(self, look: _Look) -> bool:
        """What these units have for a switch: where they were sent, and where they stand."""
        stands = self._stands(look.voltage_v)
        if "OFF" in look.flags or (self._shut_off_by and not stands):
            return False
        if self._armed:
            return True
        if stands:
            return look.set_v != 0 or look.word not in ("H2L", "QUA")
        return look.word in ("L2H", "ERR") or (not look.word and look.set_v != 0)

    def _setpoint_v(self, exchange: Exchange) -> float:
        return self._polarity * abs(self._dialogue.setpoint(exchange).value) + 0.0

    def _output_on(self, exchange: Exchange) -> bool:
        return self._is_on(self._look(exchange))

    def _write_voltage(self, exchange: Exchange, voltage_v: float) -> None:
        words = protocol.format_setpoint(self._settable(voltage_v), self._step_v)
        try:
            self._dialogue.order(exchange, protocol.SETPOINT, words)
        except InstrumentRefused:
            # a set-point above the limit is refused, and the limit stored in its place
            self._dialogue.order(exchange, protocol.SETPOINT, "0")
            raise
        self._go(exchange)

    def _go(self, exchange: Exchange) -> None:
        word = self._dialogue.go(exchange)
        self._shut_off_by = ""
        self._remember(word, frozenset())

    def _write_output(self, exchange: Exchange, *, on: bool) -> None:
        self._dialogue.order(exchange, protocol.SETPOINT, "0")
        rate = STARTING_V_PER_S if on else protocol.FASTEST_V_PER_S
        self._dialogue.order(exchange, protocol.RAMP, str(rate))
        if on and not self._autostart:
            self._dialogue.status(exchange)
        self._shut_off_by = ""
        self._armed = on
        self._go(exchange)

    def _check_limits(self, limits: Limits) -> None:
        assert self._unit is not None
        if limits.compliance_a > self._unit.max_a:
            self._refuse_setpoint(
                f"a current limit of {limits.compliance_a:g} A is above its {self._unit.max_a:g} A"
            )
        if self._trip_step_a is not None:
            self._trip_count(limits)

    def _write_limits(self, exchange: Exchange, limits: Limits) -> None:
        self._dialogue.order(exchange, protocol.SETPOINT, "0")
        self._dialogue.order(exchange, protocol.AUTOSTART, "0")
        self._autostart = self._dialogue.autostart(exchange) != 0
        self._dialogue.order(exchange, protocol.RAMP, str(STARTING_V_PER_S))
        if self._trip_step_a is None:
            self._trip_step_a = self._dialogue.trip_step_a(exchange)
        if self._trip_step_a is None:
            raise SetpointRefused(
                f"{self.NAME}: it does not tell what a count of its current trip is",
                port=self.port,
                advice="Give trip_step_a, the resolution of its lowest current range.",
            )
        self._dialogue.order(exchange, protocol.TRIP, str(self._trip_count(limits)))

    def _trip_count(self, limits: Limits) -> int:
        assert self._trip_step_a is not None
        count = math.floor(round(limits.compliance_a / self._trip_step_a, 6))
        if count < 1:
            self._refuse_setpoint(
                f"a current limit of {limits.compliance_a:g} A is below one count of its trip, "
                f"{self._trip_step_a:g} A"
            )
        return count

    def _check_limits_programmed(self, exchange: Exchange, limits: Limits) -> None:
        assert self._unit is not None
        assert self._trip_step_a is not None
        self._switches = self._dialogue.switches(exchange, self._unit)
        if self._switches.max_voltage_v > limits.max_voltage_v * (1 + 1e-9):
            raise LimitsNotProgrammed(
                f"{self.NAME}: its voltage limit is a switch that stands at "
                f"{self._switches.max_voltage_v:g} V, above the maximum of "
                f"{limits.max_voltage_v:g} V, and no program can change it",
                port=self.port,
                sent=exchange.sent,
                advice="Turn the Vmax switch of the channel down; where its steps are too coarse, "
                "use a unit with a lower nominal voltage.",
            )
        count = self._trip_count(limits)
        found_a = self._dialogue.trip(exchange, self._trip_step_a)
        if not math.isclose(found_a, count * self._trip_step_a, rel_tol=1e-6):
            raise LimitsNotProgrammed(
                f"{self.NAME}: the current trip reads back {found_a:g} A instead of "
                f"{count * self._trip_step_a:g} A",
                port=self.port,
                sent=exchange.sent,
            )
        if self._dialogue.autostart(exchange):
            self._autostart = True
            raise LimitsNotProgrammed(
                f"{self.NAME}: its autostart is on", port=self.port, sent=exchange.sent
            )

    def _check_setpoint(self, voltage_v: float, limits: Limits) -> None:
        super()._check_setpoint(voltage_v, limits)
        if self._switches is not None and abs(voltage_v) > self._switches.max_voltage_v:
            self._refuse_setpoint(
                f"{voltage_v:g} V is above the switch of the channel at "
                f"{self._switches.max_voltage_v:g} V"
            )
        if abs(voltage_v / self._step_v - round(voltage_v / self._step_v)) > 1e-6:
            self._refuse_setpoint(f"{voltage_v:g} V is none of its steps of {self._step_v:g} V")

    def _settable(self, voltage_v: float) -> float:
        steps = math.floor(round(abs(voltage_v) / self._step_v, 6))
        return math.copysign(round(steps * self._step_v, 6), voltage_v) if steps else 0.0

    def _check_output_allowed(self, exchange: Exchange, voltage_v: float) -> None:
        flags = self._dialogue.flags(exchange)
        if "INH" in flags:
            raise InterlockOpen(f"{self.NAME}: its inhibit input is active", port=self.port)
        for flag, what in (("OFF", "the channel is off"), ("MAN", "the knob has control")):
            if flag in flags:
                raise InstrumentRefused(
                    f"{self.NAME}: {what} at the front panel",
                    port=self.port,
                    advice="Switch HV ON and the control switch to DAC at the front panel.",
                )
        self._check_polarity(flags)

    def _write_ramp(self, exchange: Exchange, rate_v_per_s: float) -> None:
        rate = min(max(math.ceil(rate_v_per_s), protocol.SLOWEST_V_PER_S), protocol.FASTEST_V_PER_S)
        self._dialogue.order(exchange, protocol.RAMP, str(rate))

    def _alarm(self, exchange: Exchange) -> str:
        flags = self._dialogue.flags(exchange)
        words = {self._shut_off_by} | (flags & {"INH", "OFF", "MAN"})
        known = protocol.STATUS_WORDS.items()
        return " and ".join(f"{word} ({means})" for word, means in known if word in words)

    def _stands(self, voltage_v: float) -> bool:
        return abs(voltage_v) > self.DISCHARGED_V
