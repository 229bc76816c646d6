"""Serial ports and pseudo-terminals."""

import contextlib
import termios
import threading

import serial

from drivers.errors import BrokenReply, InstrumentLost, InstrumentTimeout
from drivers.transport.line import MAX_LINE_BYTES, QUIET_S, Exchange, LineTransport


class SerialTransport(LineTransport):
    """A serial port or pseudo-terminal.

    The modem line DTR is left standing when the port closes: boards that reset on its edge keep
    their state when a program ends and another one opens the port.

    Raises:
        InstrumentLost: the port does not exist or another program has it.
    """

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
    ) -> None:
        super().__init__(port)
        self._baud = baud
        self._bytesize = bytesize
        self._parity = parity
        self._stopbits = stopbits
        self._read_terminator = read_terminator
        self.write_terminator = write_terminator
        self._write_lock = threading.Lock()
        self._buffer = bytearray()
        self._serial: serial.Serial | None = None
        self._connect()

    def _connect(self) -> None:
        try:
            opened = serial.Serial(
                self.port,
                baudrate=self._baud,
                bytesize=self._bytesize,
                parity=self._parity,
                stopbits=self._stopbits,
                timeout=0.1,
                write_timeout=1.0,
                exclusive=True,
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise InstrumentLost(
                f"can't open the port: {error}",
                port=self.port,
                advice="Check that the cable is in and that no other program uses the port.",
            ) from error
        _keep_dtr_on_close(opened.fileno())
        self._buffer.clear()
        self._serial = opened

    def _opened(self, sent: str) -> serial.Serial:
        if self._serial is None:
            raise InstrumentLost("the connection is lost", port=self.port, sent=sent)
        return self._serial

    def send_realtime(self, data: bytes) -> None:
        """Write bytes at once, past any transaction under way (emergency stop, status byte).

        Raises:
            InstrumentLost: the port is gone.
        """
        self._write(data, repr(data))

    def _write(self, data: bytes, sent: str) -> None:
        opened = self._opened(sent)
        try:
            with self._write_lock:
                opened.write(data)
        except serial.SerialTimeoutException as error:
            raise InstrumentTimeout(
                "the instrument takes no more bytes", port=self.port, sent=sent
            ) from error
        except (serial.SerialException, OSError, TypeError) as error:
            self._shut()
            raise InstrumentLost(
                f"the connection broke: {error}", port=self.port, sent=sent
            ) from error

    def _send(self, data: bytes, exchange: Exchange) -> None:
        exchange.remaining_s()
        self._write(data, exchange.sent)

    def _fill_buffer(self, within_s: float, sent: str) -> bool:
        opened = self._opened(sent)
        try:
            opened.timeout = within_s
            data = opened.read(max(1, opened.in_waiting))
        except (serial.SerialException, OSError, TypeError) as error:
            self._shut()
            raise InstrumentLost(
                f"the connection broke: {error}", port=self.port, sent=sent
            ) from error
        self._buffer += data
        return bool(data)

    def _receive_line(self, exchange: Exchange) -> bytes:
        while True:
            end = self._buffer.find(self._read_terminator)
            if end >= 0:
                end += len(self._read_terminator)
                line = bytes(self._buffer[:end])
                del self._buffer[:end]
                return line
            if len(self._buffer) > MAX_LINE_BYTES:
                raise BrokenReply(
                    f"{len(self._buffer)} bytes without an end of line",
                    port=self.port,
                    sent=exchange.sent,
                )
            try:
                within_s = exchange.remaining_s()
            except InstrumentTimeout as error:
                if not self._buffer:
                    raise
                raise InstrumentTimeout(
                    f"only the beginning of an answer came in time: {bytes(self._buffer[:80])!r}",
                    port=self.port,
                    sent=exchange.sent,
                ) from error
            self._fill_buffer(within_s, exchange.sent)

    def _input_is_waiting(self) -> bool:
        if self._buffer:
            return True
        return self._serial is None or self._bytes_waiting() != 0

    def _bytes_waiting(self) -> int | None:
        """None when the port is gone."""
        if self._serial is None:
            return None
        try:
            return int(self._serial.in_waiting)
        except (OSError, TypeError):
            self._shut()
            return None

    def _line_is_waiting(self) -> bool:
        while self._bytes_waiting():
            self._fill_buffer(0, "")
        return self._read_terminator in self._buffer

    def _drain(self, exchange: Exchange, quiet_s: float) -> list[bytes]:
        while self._fill_buffer(min(quiet_s, exchange.remaining_s()), exchange.sent):
            pass
        dropped = [bytes(part) for part in self._buffer.splitlines() if part]
        self._buffer.clear()
        return dropped

    def _resynchronise(self, exchange: Exchange) -> None:
        if self._serial is None:
            self._connect()
        for line in self._drain(exchange, QUIET_S):
            if self.on_dropped is not None:
                self.on_dropped(line)

    def _shut(self) -> None:
        opened, self._serial = self._serial, None
        self._buffer.clear()
        if opened is not None:
            with contextlib.suppress(serial.SerialException, OSError):
                opened.close()


def _keep_dtr_on_close(fd: int) -> None:
    with contextlib.suppress(termios.error):
        attributes = termios.tcgetattr(fd)
        attributes[2] &= ~termios.HUPCL
        termios.tcsetattr(fd, termios.TCSANOW, attributes)
