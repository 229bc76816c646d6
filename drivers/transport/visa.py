"""Ports with a VISA address: TCP sockets, GPIB, USBTMC, VXI-11."""

import re

from drivers.transport.line import LineTransport, Link
from drivers.transport.tcp import open_tcp
from drivers.transport.turn import Turn

_SOCKET = re.compile(
    r"TCPIP\d*::(?P<host>[^\[\]]+?|\[[^\[\]]+\])::(?P<port>\d{1,5})::SOCKET", re.IGNORECASE
)


class VisaTransport(LineTransport):
    """A VISA resource, such as ``TCPIP::192.168.0.5::5025::SOCKET`` or ``GPIB0::24::INSTR``.

    Of sockets VISA has the address only: they are opened here, so that waiting for bytes can be
    broken off at once and a closed connection is told from silence. Everything else goes through
    pyvisa (see :class:`drivers.transport.messages.Messages` for what can be broken off there).

    Args:
        address: the VISA resource name; an IPv6 host stands in square brackets.
        backend: which VISA library pyvisa takes, ``@py`` or ``@ivi``.
        read_terminator: what an answer ends with.
        write_terminator: what a line sent ends with.
        connect_deadline_s: real seconds for opening the connection, and for opening it anew.
        pause_s: least real seconds between the end of one exchange and what is sent next.

    Raises:
        InstrumentLost: nobody answers at the address.
    """

    reopens = True

    def __init__(
        self,
        address: str,
        *,
        backend: str = "@py",
        read_terminator: bytes = b"\n",
        write_terminator: bytes = b"\n",
        connect_deadline_s: float = 3.0,
        pause_s: float = 0.0,
    ) -> None:
        super().__init__(address, pause_s=pause_s)
        self._backend = backend
        self.read_terminator = read_terminator
        self.write_terminator = write_terminator
        self._connect_first(connect_deadline_s)

    def _connect(self, turn: Turn) -> Link:
        found = _SOCKET.fullmatch(self.port)
        if found:
            return open_tcp(found["host"].strip("[]"), int(found["port"]), turn, self._turnstile)
        from drivers.transport.messages import Messages

        return Messages(self.port, self._backend, self.read_terminator, turn, self._turnstile)
