"""VISA resources that carry messages and not bytes: GPIB, USBTMC, VXI-11."""

import contextlib
import functools

import pyvisa
from pyvisa import constants as visa_constants
from pyvisa.resources import MessageBasedResource

from drivers.errors import BrokenReply, InstrumentLost, InstrumentTimeout
from drivers.transport.turn import Turn, Turnstile

MESSAGE_AVAILABLE = 0x10
LOOK_AGAIN_S = 0.002


@functools.cache
def _visa_library(backend: str) -> pyvisa.ResourceManager:
    return pyvisa.ResourceManager(backend)


class Messages:
    """A message-based resource.

    While the instrument has nothing to say, its status byte is looked at every 2 ms (IEEE 488.2:
    bit 4 tells that a message is available), so that waiting can be broken off. Where there is no
    status byte, a read that has begun ends with its answer or with the deadline only.

    Opening clears the input and output queues of the instrument, so that late answers are cut off.

    Raises:
        InstrumentLost: nobody answers at the address, or it is no message-based instrument.
    """

    def __init__(
        self, address: str, backend: str, read_terminator: bytes, turn: Turn, turnstile: Turnstile
    ) -> None:
        self._turnstile = turnstile
        self._read_terminator = read_terminator
        self._has_status_byte = True
        self.is_closed = False
        try:
            resource = _visa_library(backend).open_resource(
                address, open_timeout=max(1, round(turn.remaining_s() * 1000))
            )
        # pyvisa-py raises bare Exception when it can't connect
        except Exception as error:
            raise InstrumentLost(f"can't connect: {error}", port=address) from error
        if not isinstance(resource, MessageBasedResource):
            resource.close()
            raise InstrumentLost(
                "the address is no message-based instrument",
                port=address,
                advice="Correct the address in the site profile.",
            )
        self._resource = resource
        resource.read_termination = None
        resource.set_visa_attribute(visa_constants.ResourceAttribute.termchar, read_terminator[-1])
        resource.set_visa_attribute(visa_constants.ResourceAttribute.termchar_enabled, True)
        # not every bus has a device clear
        with contextlib.suppress(pyvisa.errors.VisaIOError, NotImplementedError):
            resource.clear()

    def close(self) -> None:
        if not self.is_closed:
            self.is_closed = True
            with contextlib.suppress(pyvisa.errors.Error, OSError):
                self._resource.close()

    def send(self, data: bytes, turn: Turn) -> None:
        """Raises as :meth:`drivers.transport.stream.Stream.send`."""
        self._resource.timeout = max(1.0, turn.remaining_s() * 1000)
        try:
            self._resource.write_raw(data)
        except (OSError, pyvisa.errors.VisaIOError) as error:
            raise self._failure(error, turn) from error

    def receive_line(self, terminator: bytes, turn: Turn) -> bytes:
        """Raises as :meth:`drivers.transport.stream.Stream.receive_line`."""
        self._wait_for_message(turn)
        self._resource.timeout = max(1.0, turn.remaining_s() * 1000)
        try:
            line = bytes(self._resource.read_raw())
        except (OSError, pyvisa.errors.VisaIOError) as error:
            raise self._failure(error, turn) from error
        turn.check()
        if not line.endswith(terminator):
            raise BrokenReply(
                f"the answer has no end: {line[:80]!r}", port=turn.port, sent=turn.sent
            )
        return line

    def has_line(self, terminator: bytes) -> bool:
        """Whether a message is available; False where there is no status byte."""
        return self._status_byte() & MESSAGE_AVAILABLE != 0

    def has_input(self) -> bool:
        """Whether the connection ended; an IEEE 488.2 instrument itself drops an answer that was
        not read when the next question comes.
        """
        return self.is_closed

    def drain(self, quiet_s: float, turn: Turn) -> bytes:
        dropped = b""
        while self.has_line(b""):
            dropped += self.receive_line(self._read_terminator, turn)
            turn.sleep(min(quiet_s, turn.remaining_s()))
        return dropped

    def _wait_for_message(self, turn: Turn) -> None:
        turn.remaining_s()
        while not self._status_byte() & MESSAGE_AVAILABLE and self._has_status_byte:
            turn.sleep(min(LOOK_AGAIN_S, turn.remaining_s()))
            turn.remaining_s()

    def _status_byte(self) -> int:
        if not self._has_status_byte or self.is_closed:
            return 0
        try:
            return int(self._resource.read_stb())
        except (NotImplementedError, pyvisa.errors.VisaIOError):
            self._has_status_byte = False
            return 0

    def _failure(self, error: Exception, turn: Turn) -> InstrumentLost | InstrumentTimeout:
        if (
            isinstance(error, pyvisa.errors.VisaIOError)
            and error.error_code == visa_constants.StatusCode.error_timeout
        ):
            return InstrumentTimeout("no answer in time", port=turn.port, sent=turn.sent)
        self.close()
        return InstrumentLost(f"the connection broke: {error}", port=turn.port, sent=turn.sent)
