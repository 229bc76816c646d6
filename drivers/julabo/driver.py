"""Julabo circulators as chillers."""

import math
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import serial

from drivers.circulator import Circulator
from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentRefused,
    MachineAlarm,
    SetpointRefused,
    WrongInstrument,
    names_its_errors,
)
from drivers.julabo import protocol
from drivers.julabo.protocol import ProtocolError, Status
from drivers.roles import Identity
from drivers.transport import Exchange, SerialTransport

AGREE_K = 0.3
"""Two readings that follow each other may differ by this much; a bath takes longer."""
RECENT_S = 10.0
QUESTION_S = 2.0
"""A question takes two commands at most, and three after a lost answer: nobody waits longer."""
_FRAMING = {"7E1": (serial.SEVENBITS, serial.PARITY_EVEN), "8N1": (8, serial.PARITY_NONE)}

_Value = TypeVar("_Value")


@names_its_errors("Julabo chiller")
class Julabo(Circulator):
    """A Julabo circulator; fulfils the role ``Chiller``.

    Every order is checked by the circulator's status and read back. Five commands with their pauses
    fit in the deadline of an order; a question has two seconds of it. Everything else is as in
    :class:`Circulator`.
    """

    INSTRUMENT = "Julabo chiller"
    WHO = protocol.VERSION
    SAME_K = 0.051
    """Some models keep one decimal only."""
    DEADLINE_S = 5.0

    _last_bath = (math.inf, -math.inf)

    @classmethod
    def open(
        cls,
        address: str,
        *,
        lowest_c: float,
        highest_c: float,
        clock: Clock | None = None,
        baud: int = protocol.BAUD,
        framing: str = "7E1",
        pause_s: float = protocol.PAUSE_S,
        deadline_s: float | None = None,
    ) -> "Julabo":
        """The circulator at a serial port."""
        if framing not in _FRAMING:
            raise ValueError(f"framing is one of {', '.join(_FRAMING)}, not {framing!r}")
        # a pseudo-terminal has no framing, and refuses to be given one twice
        on_terminal = os.path.realpath(address).startswith("/dev/pts/")
        bytesize, parity = _FRAMING["8N1" if on_terminal else framing]
        transport = SerialTransport(
            address,
            baud=baud,
            bytesize=bytesize,
            parity=parity,
            read_terminator=protocol.READ_TERMINATOR,
            write_terminator=protocol.WRITE_TERMINATOR,
            pause_s=pause_s,
        )
        return cls(
            transport, lowest_c=lowest_c, highest_c=highest_c, clock=clock, deadline_s=deadline_s
        )

    # orders

    def _write_setpoint(self, temperature_c: float) -> None:
        command = protocol.set_setpoint(temperature_c)
        with self._transport.transaction(deadline_s=self._deadline_s) as exchange:
            self._order(exchange, command)
            found_c = self._read(exchange, protocol.SETPOINT, protocol.parse_temperature)
            self._compare(exchange, command, found_c, temperature_c)

    def _write_running(self, *, is_on: bool) -> None:
        command = protocol.set_mode(protocol.STARTED if is_on else protocol.STOPPED)
        with self._transport.transaction(deadline_s=self._deadline_s) as exchange:
            status = self._order(exchange, command)
            if status.is_started != is_on:
                raise InstrumentError(
                    f"the circulator says {status} after an order to "
                    f"{'start' if is_on else 'stop'}",
                    port=exchange.port,
                    sent=command,
                )

    def _order(self, exchange: Exchange, command: str) -> Status:
        """Send an ``out`` command when it can be heard; its consequences are in the status."""
        before = self._status(exchange)
        if before.is_refusal:
            # the complaint about an earlier command
            before = self._status(exchange)
        self._refuse_alarm(before, exchange)
        if not before.is_remote:
            raise InstrumentRefused(
                f"the circulator is under the control of its panel ({before})",
                port=exchange.port,
                sent=command,
                advice="Switch it to remote at its panel.",
            )
        exchange.send(command)
        after = self._status(exchange)
        if after.is_refusal:
            kind = SetpointRefused if after.code in (-10, -11) else InstrumentRefused
            raise kind(f"the circulator refused: {after}", port=exchange.port, sent=command)
        self._refuse_alarm(after, exchange)
        return after

    # questions

    def _read_setpoint_c(self) -> float:
        with self._question() as exchange:
            found_c = self._read(exchange, protocol.SETPOINT, protocol.parse_temperature)
            if self._ordered_c is None or not self._same(found_c, self._ordered_c):
                found_c = self._confirmed(exchange, protocol.SETPOINT, found_c)
        return found_c

    def _read_running(self) -> tuple[bool, str]:
        with self._question() as exchange:
            status = self._status(exchange)
            if status.is_refusal:
                status = self._status(exchange)
            self._refuse_alarm(status, exchange)
        return status.is_started, f"says {status}"

    def status(self) -> Status:
        """Its state or its error, as it says."""
        with self._question() as exchange:
            return self._status(exchange)

    def bath_c(self) -> float:
        """Temperature of the bath; it must agree with a reading of the last ten seconds."""
        with self._question() as exchange:
            found_c = self._read(exchange, protocol.BATH, protocol.parse_temperature)
            last_c, at_s = self._last_bath
            if abs(found_c - last_c) > AGREE_K or time.monotonic() - at_s > RECENT_S:
                found_c = self._confirmed(exchange, protocol.BATH, found_c)
        self._last_bath = found_c, time.monotonic()
        return found_c

    def external_c(self) -> float:
        """Temperature of the external sensor; two readings must agree.

        Raises:
            BrokenReply: no sensor is connected.
        """
        with self._question() as exchange:
            found_c = self._read(exchange, protocol.EXTERNAL, protocol.parse_temperature)
            return self._confirmed(exchange, protocol.EXTERNAL, found_c)

    # the wire

    def _question(self) -> AbstractContextManager[Exchange]:
        return self._transport.transaction(deadline_s=min(self._deadline_s, QUESTION_S))

    def _confirmed(self, exchange: Exchange, question: str, first_c: float) -> float:
        # the answers carry no checksum: a misread digit shows only as a jump
        second_c = self._read(exchange, question, protocol.parse_temperature)
        if abs(first_c - second_c) > AGREE_K:
            raise BrokenReply(
                f"two readings in a row are {first_c:g} and {second_c:g} C",
                port=exchange.port,
                sent=question,
            )
        return second_c

    def _status(self, exchange: Exchange) -> Status:
        return self._read(exchange, protocol.STATUS, protocol.parse_status)

    def _read(self, exchange: Exchange, question: str, parse: Callable[[str], _Value]) -> _Value:
        exchange.send(question)
        reply = exchange.receive()
        try:
            return parse(reply)
        except ProtocolError as error:
            raise BrokenReply(str(error), port=exchange.port, sent=question) from error

    def _refuse_alarm(self, status: Status, exchange: Exchange) -> None:
        if status.is_error and not status.is_refusal:
            raise MachineAlarm(
                f"the circulator has an alarm: {status}",
                port=exchange.port,
                sent=protocol.STATUS,
                advice="Look at the level and the temperature of the bath, clear the alarm at its "
                "panel, then send its settings again.",
            )

    def _compare(self, exchange: Exchange, sent: str, found_c: float, wanted_c: float) -> None:
        if not self._same(found_c, wanted_c):
            raise InstrumentError(
                f"the set-point reads back as {found_c:g} C", port=exchange.port, sent=sent
            )

    def _ask_name(self, exchange: Exchange) -> str:
        exchange.send(protocol.VERSION)
        reply = exchange.receive().strip()
        try:
            protocol.parse_version(reply)
        except ProtocolError as error:
            raise WrongInstrument(
                f"no Julabo circulator answers: {error}", port=exchange.port, sent=exchange.sent
            ) from error
        return reply

    def _identity_of(self, name: str) -> Identity:
        model, firmware = protocol.parse_version(name)
        return Identity("Julabo", model, "", firmware, self._transport.port)
