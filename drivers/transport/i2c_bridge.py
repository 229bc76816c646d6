"""An I2C bus behind a serial port."""

import itertools

from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentLost,
    InstrumentRefused,
    InstrumentTimeout,
    WrongInstrument,
)
from drivers.sc18im700 import protocol
from drivers.transport.i2c_checks import check_transfer, nobody_acknowledges
from drivers.transport.line import QUIET_S
from drivers.transport.owned_port import OwnedPort, once_it_is_back
from drivers.transport.serial_port import SerialLine, open_serial
from drivers.transport.stream import Stream
from drivers.transport.turn import Turn

ANSWER_WITHIN_S = 0.2
OPEN_WITHIN_S = 1.5
BITS_PER_BYTE = 10
MARKS_TO_HEAR = 4


class BridgeI2cTransport(OwnedPort):
    """A bus behind an SC18IM700 on a serial port.

    Every request sets a register of the bridge to a fresh mark and reads it back behind the
    answer, so that a late, doubled or shortened answer is never taken for another one. What the
    line does to the bytes of an answer itself only their checksum can tell.

    Raises:
        InstrumentLost: the port does not exist or another program has it.
        WrongInstrument: no bridge answers.
    """

    def __init__(self, port: str, *, baud: int = protocol.BAUD, pause_s: float = 0.0) -> None:
        super().__init__(port, pause_s=pause_s)
        self._settings = SerialLine(baud)
        self._byte_s = BITS_PER_BYTE / baud
        self._marks = itertools.cycle(protocol.MARKS)
        self._link: Stream | None = None
        self._out_of_step = True
        try:
            with self._owned(self._turn(OPEN_WITHIN_S)):
                pass
        except InstrumentTimeout as error:
            self.close()
            raise WrongInstrument("no I2C bridge answers", port=port) from error
        except InstrumentError:
            self.close()
            raise

    def exchange(
        self,
        address: int,
        write: bytes,
        read_count: int = 0,
        *,
        wait_s: float = 0.0,
        deadline_s: float,
    ) -> bytes:
        """As :meth:`drivers.transport.i2c.I2cTransport.exchange`."""
        check_transfer(address, write, read_count, wait_s)
        turn = self._turn(deadline_s)
        turn.sent = f"0x{address:02x}: {write.hex(' ')}"
        with self._owned(turn):
            if write:
                self._ask(protocol.write_message(address, write), 0, address, turn)
            turn.sleep(wait_s)
            if not read_count:
                return b""
            return self._ask(protocol.read_message(address, read_count), read_count, address, turn)

    def _ask(self, message: bytes, count: int, address: int, turn: Turn) -> bytes:
        """Send a message with a mark and return ``count`` bytes in front of status and mark."""
        self._keep_pause(turn)
        link, mark = self._opened(turn), next(self._marks)
        if link.has_input():
            # a second copy of the last answer; the marks tell it from the next
            self._put_in_step(turn)
        link.send(
            protocol.set_register_message(protocol.OWN_ADDRESS, mark)
            + message
            + protocol.read_registers_message(protocol.STATUS, protocol.OWN_ADDRESS),
            turn,
        )
        answer = link.receive_bytes(2, turn)
        failed = answer[0] in protocol.FAILURES and answer[1] == mark
        if count and not (failed and self._is_all(count, link, turn)):
            answer += link.receive_bytes(count, turn)
        self._note_traffic()
        *data, status, returned = answer
        if returned != mark:
            raise BrokenReply(
                f"the answer is that of another request: {answer.hex(' ')}",
                port=self.port,
                sent=turn.sent,
            )
        if status != protocol.OK:
            raise self._failure(status, address, turn)
        return bytes(data)

    def _is_all(self, count: int, link: Stream, turn: Turn) -> bool:
        """Whether nothing follows a failure: else its two bytes are data that look like one."""
        turn.sleep(min((count + 2) * self._byte_s + QUIET_S, turn.remaining_s()))
        return not link.has_input()

    def _failure(self, status: int, address: int, turn: Turn) -> InstrumentError:
        if status == protocol.BUS_TIMED_OUT:
            return InstrumentTimeout(protocol.FAILURES[status], port=self.port, sent=turn.sent)
        if status not in protocol.FAILURES:
            return BrokenReply(
                f"the bridge answers an unknown status 0x{status:02x}",
                port=self.port,
                sent=turn.sent,
            )
        return InstrumentRefused(
            nobody_acknowledges(address)
            if status == protocol.NO_ADDRESS_ACKNOWLEDGE
            else f"{protocol.FAILURES[status]} at the address 0x{address:02x}",
            port=self.port,
            sent=turn.sent,
            advice="Check that the sensor is plugged in and that its address is set so.",
        )

    def _opened(self, turn: Turn) -> Stream:
        if self._link is None or self._link.is_closed:
            raise InstrumentLost("the connection is lost", port=self.port, sent=turn.sent)
        return self._link

    def _prepare(self, turn: Turn) -> None:
        super()._prepare(turn)
        if self._link is None or self._link.has_input():
            self._out_of_step = True
        if self._out_of_step:
            self._put_in_step(turn)
            self._out_of_step = False

    def _put_in_step(self, turn: Turn) -> None:
        """Drop what comes until the bridge returns a fresh mark a few times over.

        A bridge that was left in the middle of a message drops it after a while: asked again only
        then, so that the question is not taken for the rest of that message.
        """
        if self._link is None or self._link.is_closed:
            self._shut()
            self._link = once_it_is_back(
                lambda: open_serial(self.port, self._settings, self._turnstile), turn
            )
        while True:
            link, mark = self._opened(turn), next(self._marks)
            link.send(
                protocol.set_register_message(protocol.OWN_ADDRESS, mark)
                + protocol.read_registers_message(*[protocol.OWN_ADDRESS] * MARKS_TO_HEAR),
                turn,
            )
            if _ends_with(bytes([mark] * MARKS_TO_HEAR), link, turn):
                return
            turn.sleep(protocol.MESSAGE_TIMEOUT_S)

    def _shut(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.close()


def _ends_with(marks: bytes, link: Stream, turn: Turn) -> bool:
    """Whether what comes ends with the marks, before it is quiet; whatever is older comes first."""
    heard = b""
    while not heard.endswith(marks) or link.has_input():
        more = link.receive_some(min(ANSWER_WITHIN_S, turn.remaining_s()), turn)
        if not more:
            return False
        heard = heard[-len(marks) :] + more
    return True
