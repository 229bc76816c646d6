"""Serial ports and pseudo-terminals."""

import contextlib
import os
import termios
from dataclasses import dataclass

import serial

from drivers.errors import InstrumentLost, InstrumentTimeout
from drivers.transport.line import LineTransport
from drivers.transport.stream import Stream
from drivers.transport.turn import Turn, Turnstile

REALTIME_WITHIN_S = 1.0


@dataclass(frozen=True)
class SerialLine:
    """How the bytes are framed on the line; 8N1 unless told."""

    baud: int = 115200
    bytesize: int = serial.EIGHTBITS
    parity: str = serial.PARITY_NONE
    stopbits: float = serial.STOPBITS_ONE

    def __str__(self) -> str:
        return f"{self.baud} {self.bytesize}{self.parity}{self.stopbits:g}"


class SerialTransport(LineTransport):
    """A serial port or pseudo-terminal.

    The modem line DTR is left standing when the port closes: boards that reset on its edge keep
    their state when a program ends and another one opens the port.

    Raises:
        InstrumentLost: the port does not exist or another program has it.
    """

    _link: Stream | None = None

    def __init__(
        self,
        port: str,
        *,
        baud: int = 115200,
        bytesize: int = serial.EIGHTBITS,
        parity: str = serial.PARITY_NONE,
        stopbits: float = serial.STOPBITS_ONE,
        read_terminator: bytes = b"\n",
        write_terminator: bytes = b"\n",
        pause_s: float = 0.0,
    ) -> None:
        super().__init__(port, pause_s=pause_s)
        self._settings = SerialLine(baud, bytesize, parity, stopbits)
        self.read_terminator = read_terminator
        self.write_terminator = write_terminator
        self._connect_first(REALTIME_WITHIN_S)

    def send_realtime(self, data: bytes) -> None:
        """Write bytes at once, past any transaction under way (emergency stop, status byte).

        A port that went away is looked for first: a stop must not be lost to a loose plug.

        Raises:
            InstrumentLost: the port is gone.
            InstrumentTimeout: the port takes no bytes for a second.
        """
        try:
            self._write_past(data)
        except InstrumentLost as error:
            error.instrument = error.instrument or self.instrument
            if self._closed or self._turnstile.is_held_by_this_thread():
                raise
            self._find_again()
            self._write_past(data)

    def _find_again(self) -> None:
        """Put the port in step; the first try may only find out that its link is broken."""
        self._out_of_step = True
        with contextlib.suppress(InstrumentLost), self.transaction(deadline_s=REALTIME_WITHIN_S):
            return
        with self.transaction(deadline_s=REALTIME_WITHIN_S):
            pass

    def _write_past(self, data: bytes) -> None:
        link = self._link
        sent = repr(data)
        if link is None or link.is_closed:
            raise InstrumentLost("the connection is lost", port=self.port, sent=sent)
        try:
            written = link.write_at_once(data, REALTIME_WITHIN_S)
        except OSError as error:
            raise InstrumentLost(
                f"the connection broke: {error}", port=self.port, sent=sent
            ) from error
        if not written:
            raise InstrumentTimeout("the port takes no more bytes", port=self.port, sent=sent)

    def _connect(self, turn: Turn) -> Stream:
        return open_serial(self.port, self._settings, self._turnstile)


def open_serial(port: str, line: SerialLine, turnstile: Turnstile) -> Stream:
    """Open a serial port for this program alone.

    Raises:
        InstrumentLost: the port does not exist, another program has it, or it does not take its
            settings.
    """
    try:
        opened = serial.Serial(
            port,
            baudrate=line.baud,
            bytesize=line.bytesize,
            parity=line.parity,
            stopbits=line.stopbits,
            timeout=0,
            exclusive=True,
        )
    except termios.error as error:
        raise InstrumentLost(
            f"the port does not take its settings ({line}): {error.args[-1]}",
            port=port,
            advice="Correct the baud rate, and see that this is the instrument's port.",
        ) from error
    except (serial.SerialException, OSError, ValueError) as error:
        raise InstrumentLost(
            f"can't open the port: {error}",
            port=port,
            advice="Check that the cable is in and that no other program uses the port.",
        ) from error
    fd = opened.fileno()
    _keep_dtr_on_close(fd)
    return Stream(
        fd,
        read=lambda count: os.read(fd, count),
        write=lambda data: os.write(fd, data),
        close=opened.close,
        turnstile=turnstile,
    )


def _keep_dtr_on_close(fd: int) -> None:
    with contextlib.suppress(termios.error):
        attributes = termios.tcgetattr(fd)
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
