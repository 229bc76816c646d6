"""A channel of a CAEN high-voltage supply as a bias supply."""

import functools
import math
from collections.abc import Sequence

from drivers.caen_hv import protocol
from drivers.caen_hv.dialogue import Addressee
from drivers.caen_hv.protocol import Family
from drivers.caen_hv.steps import Steps, at_or_below
from drivers.clock import Clock
from drivers.errors import (
    InstrumentRefused,
    InterlockOpen,
    LimitsNotProgrammed,
    WrongInstrument,
)
from drivers.roles import BiasReading, Identity
from drivers.settled import settled
from drivers.shared_port import open_all
from drivers.supply import Limits, SteppedSupply
from drivers.transport import Exchange, LineTransport, SerialTransport, VisaTransport

SLOWEST_RAMP_V_PER_S, FASTEST_RAMP_V_PER_S = 1, 500
STARTING_RAMP_V_PER_S = 20


class CaenHv(SteppedSupply):
    """One channel of an N14xx, DT14xx, DT54xx or DT55xx.

    The hardware gets the voltage limit at its next step at or above the maximum, and the current
    limit at its next step at or below the compliance. Over that current the channel gives constant
    current for ``trip_s`` and then switches itself off at once; switching off never ramps, which
    the driver does before. Set-points that are no steps of the channel are refused, and the steps
    of a ramp are rounded towards 0 V. The supply's own ramps are set to the next whole V/s.

    Several channels share a port: see :meth:`open_channels`.

    Args:
        transport: the port; the driver closes it.
        channel: number of the channel.
        board: number of the board in its chain; None for supplies without board numbers.
        clock: time for ramps and settling.
        polarity: +1 or -1; the channel's own polarity must be the same.
        deadline_s: real seconds for one transaction.
        trip_s: how long the current limit may hold the channel, s; 1000 is for ever.

    Raises:
        WrongInstrument: another instrument answers, or the channel has the other polarity.
        InstrumentRefused: there is no such channel.
        InstrumentLost, InstrumentTimeout, BrokenReply: nobody, or nobody sensible, answers.
    """

    NAME = "CAEN supply"
    FOLLOWS_WITHIN_V = 1.0
    FOLLOWS_WITHIN_S = 3.0
    DISCHARGED_V = 1.5
    DISCHARGE_S = 10.0

    def __init__(
        self,
        transport: LineTransport,
        *,
        channel: int = 0,
        board: int | None = None,
        clock: Clock | None = None,
        polarity: int = 1,
        deadline_s: float = 3.0,
        trip_s: float = 10.0,
    ) -> None:
        if not 0 <= channel <= protocol.MAX_CHANNEL:
            raise ValueError(f"channels run from 0 to {protocol.MAX_CHANNEL}, not {channel}")
        if board is not None and not 0 <= board <= protocol.MAX_BOARD:
            raise ValueError(f"boards run from 0 to {protocol.MAX_BOARD}, not {board}")
        if not 0 < trip_s <= protocol.NEVER_TRIPS_S:
            raise ValueError(f"a trip time is above 0 and up to 1000 s, not {trip_s}")
        self._board = Addressee(board)
        self._channel = Addressee(board, channel)
        self._trip_s = trip_s
        self._family: Family | None = None
        self._known: tuple[str, str, str] | None = None
        self._decimals: Steps | None = None
        super().__init__(transport, clock=clock, polarity=polarity, deadline_s=deadline_s)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        channel: int = 0,
        board: int | None = None,
        clock: Clock | None = None,
        polarity: int = 1,
        baud: int = protocol.BAUD,
        deadline_s: float = 3.0,
        trip_s: float = 10.0,
    ) -> "CaenHv":
        """Connect to a serial port (``/dev/ttyACM0``) or to ``TCPIP::<host>::<port>::SOCKET``."""
        return cls(
            _transport(address, baud),
            channel=channel,
            board=board,
            clock=clock,
            polarity=polarity,
            deadline_s=deadline_s,
            trip_s=trip_s,
        )

    @classmethod
    def open_channels(
        cls,
        address: str,
        channels: Sequence[tuple[int | None, int]],
        *,
        clock: Clock | None = None,
        polarity: int = 1,
        baud: int = protocol.BAUD,
        deadline_s: float = 3.0,
        trip_s: float = 10.0,
    ) -> list["CaenHv"]:
        """Several channels behind one port, each (board, channel); the last to close closes it."""
        makers = [
            functools.partial(
                cls,
                channel=channel,
                board=board,
                clock=clock,
                polarity=polarity,
                deadline_s=deadline_s,
                trip_s=trip_s,
            )
            for board, channel in channels
        ]
        return open_all(_transport(address, baud), makers)

    @property
    def family(self) -> Family:
        """What is known of supplies of this kind."""
        assert self._family is not None
        return self._family

    def status(self) -> frozenset[str]:
        """The names of the flags that the channel shows, such as ``ON`` or ``TRIP``."""
        with self._transaction() as exchange:
            return self._status(exchange)

    def board_alarms(self) -> frozenset[str]:
        """The names of the alarms of the board."""
        with self._transaction() as exchange:
            return protocol.parse_status(
                self._board.ask(exchange, protocol.BOARD_ALARM),
                self.family.alarms,
                port=self.port,
                sent=exchange.sent,
            )

    def clear_alarms(self) -> None:
        """Acknowledge the alarms of the board, of all its channels."""
        with self._transaction() as exchange:
            self._board.order(exchange, protocol.BOARD_CLEAR)

    def interlock_closed(self) -> bool:
        """Whether the interlock input lets the outputs be on."""
        with self._transaction() as exchange:
            return self._interlock_is_closed(exchange)

    def _identify(self, exchange: Exchange) -> Identity:
        found = settled(exchange, self._board_words, self._known)
        model, serial, firmware = found
        family = protocol.family_of(model)
        if family is None:
            raise WrongInstrument(f"a {model} answers, not a {self.NAME}", port=self.port)
        if family.addressed != (self._board.board is not None):
            raise WrongInstrument(
                f"a {model} {'needs' if family.addressed else 'has no'} board number",
                port=self.port,
                advice="Correct the board in the site profile.",
            )
        self._family = family
        if not family.has_channels:
            self._channel = self._board
        self._known = self._known or found
        return Identity(protocol.MAKER, model, serial, firmware, self.port)

    def _board_words(self, exchange: Exchange) -> tuple[str, str, str]:
        return (
            self._board.ask_name(exchange, protocol.BOARD_NAME),
            self._board.ask_name(exchange, protocol.BOARD_SERIAL),
            self._board.ask_name(exchange, protocol.BOARD_FIRMWARE),
        )

    def _begin(self, exchange: Exchange) -> None:
        if self._decimals is None:
            self._check_polarity(exchange)
            self._decimals = Steps(
                self._channel.ask_whole(exchange, self.family.decimals, highest=4),
                self._channel.ask_whole(exchange, protocol.CURRENT_LIMIT_DECIMALS, highest=4),
                self._channel.ask_whole(exchange, protocol.VOLTAGE_LIMIT_DECIMALS, highest=4),
            )

    def _check_polarity(self, exchange: Exchange) -> None:
        found = self._channel.ask_word(exchange, self.family.polarity, "+", "-")
        if found != ("+" if self._polarity > 0 else "-"):
            raise WrongInstrument(
                f"the channel has the polarity {found}, the profile the other one",
                port=self.port,
                sent=exchange.sent,
                advice="Correct the polarity in the site profile, or turn the screw at the supply "
                "while the channel is off and discharged.",
            )

    def _read(self, exchange: Exchange) -> BiasReading:
        voltage_v = self._polarity * self._channel.ask_number(exchange, protocol.VOLTAGE)
        current_a = self._polarity * self._channel.ask_number(exchange, protocol.CURRENT) * 1e-6
        set_v = self._setpoint_v(exchange)
        status = self._status(exchange)
        return BiasReading(
            voltage_v=voltage_v + 0.0,
            current_a=current_a + 0.0,
            output_on="ON" in status,
            in_compliance="ON" in status and "OVC" in status,
            set_v=set_v,
        )

    def _status(self, exchange: Exchange) -> frozenset[str]:
        return protocol.parse_status(
            self._channel.ask(exchange, protocol.STATUS),
            self.family.status,
            port=self.port,
            sent=exchange.sent,
        )

    def _setpoint_v(self, exchange: Exchange) -> float:
        return self._polarity * self._channel.ask_number(exchange, protocol.SETPOINT) + 0.0

    def _output_on(self, exchange: Exchange) -> bool:
        return "ON" in self._status(exchange)

    def _write_voltage(self, exchange: Exchange, voltage_v: float) -> None:
        magnitude_v = abs(self._settable(voltage_v))
        self._channel.order(exchange, protocol.SETPOINT, f"{magnitude_v:.{self._steps.setpoint}f}")

    def _write_output(self, exchange: Exchange, *, on: bool) -> None:
        self._channel.order(exchange, protocol.ON if on else protocol.OFF)

    def _check_limits(self, limits: Limits) -> None:
        if float(self._programme(limits)[protocol.CURRENT_LIMIT]) <= 0:
            self._refuse_setpoint(
                f"a current limit of {limits.compliance_a:g} A is below its smallest step of "
                f"{10**-self._steps.current_limit:g} uA"
            )

    def _write_limits(self, exchange: Exchange, limits: Limits) -> None:
        self._write_voltage(exchange, 0.0)
        self._write_ramp(exchange, STARTING_RAMP_V_PER_S)
        for parameter, words in self._programme(limits).items():
            self._channel.order(exchange, parameter, words)

    def _check_limits_programmed(self, exchange: Exchange, limits: Limits) -> None:
        for parameter, wanted in self._programme(limits).items():
            found = self._channel.ask(exchange, parameter)
            if parameter == protocol.POWER_DOWN:
                same = found is not None and found.upper() == wanted
            else:
                number = protocol.parse_number(found, port=self.port, sent=exchange.sent)
                same = math.isclose(number, float(wanted), rel_tol=1e-9, abs_tol=1e-9)
            if not same:
                raise LimitsNotProgrammed(
                    f"{self.NAME}: {parameter} reads back {found} instead of {wanted}",
                    port=self.port,
                    sent=exchange.sent,
                )

    def _programme(self, limits: Limits) -> dict[str, str]:
        return self._steps.programme(limits, self._trip_s)

    def _check_output_allowed(self, exchange: Exchange, voltage_v: float) -> None:
        if self.family.tells_control:
            control = self._board.ask_word(
                exchange, protocol.BOARD_CONTROL, protocol.REMOTE, protocol.LOCAL
            )
            if control == protocol.LOCAL:
                raise InstrumentRefused(
                    f"{self.NAME}: its front panel has control",
                    port=self.port,
                    advice=protocol.LOCAL_ADVICE,
                )
        if not self._interlock_is_closed(exchange):
            raise InterlockOpen(f"{self.NAME}: its interlock is open", port=self.port)
        self._check_polarity(exchange)

    def _interlock_is_closed(self, exchange: Exchange) -> bool:
        return self._board.ask_word(exchange, protocol.BOARD_INTERLOCK, "YES", "NO") == "NO"

    def _check_setpoint(self, voltage_v: float, limits: Limits) -> None:
        super()._check_setpoint(voltage_v, limits)
        step_v = 10**-self._steps.setpoint
        if abs(voltage_v / step_v - round(voltage_v / step_v)) > 1e-6:
            self._refuse_setpoint(f"{voltage_v:g} V is none of its steps of {step_v:g} V")

    def _settable(self, voltage_v: float) -> float:
        magnitude_v = at_or_below(abs(voltage_v), self._steps.setpoint)
        return math.copysign(magnitude_v, voltage_v) if magnitude_v else 0.0

    def _write_ramp(self, exchange: Exchange, rate_v_per_s: float) -> None:
        rate = min(max(math.ceil(rate_v_per_s), SLOWEST_RAMP_V_PER_S), FASTEST_RAMP_V_PER_S)
        for parameter in (protocol.RAMP_UP, protocol.RAMP_DOWN):
            self._channel.order(exchange, parameter, str(rate))

    def _alarm(self, exchange: Exchange) -> str:
        return " and ".join(protocol.troubles(self._status(exchange)))

    @property
    def _steps(self) -> Steps:
        assert self._decimals is not None
        return self._decimals


def _transport(address: str, baud: int) -> LineTransport:
    if "::" in address:
        return VisaTransport(address, write_terminator=protocol.TERMINATOR)
    return SerialTransport(address, baud=baud, write_terminator=protocol.TERMINATOR)
