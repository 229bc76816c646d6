"""A pseudo-terminal whose far end answers lines, as :class:`drivers.loopback.SocketEnd` does."""

from collections.abc import Callable

from drivers.faults import LineFaults
from drivers.loopback import PtyEnd

MAX_LINE_BYTES = 4096


class PtyLines:
    """Serves lines on a pseudo-terminal: ``answer`` gets each line and returns its reply or None.

    Args:
        answer: gets a line without its line feed.
        name: of the thread.
        faults: what happens to the replies.
    """

    def __init__(
        self,
        answer: Callable[[bytes], bytes | None],
        *,
        name: str,
        faults: LineFaults | None = None,
    ) -> None:
        self._answer = answer
        self._unread = bytearray()
        self._end = PtyEnd(self, name=name, faults=faults)

    @property
    def path(self) -> str:
        """What a serial port would be; known once started."""
        return self._end.path

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def receive(self, data: bytes) -> None:
        self._unread += data
        while (end := self._unread.find(b"\n")) >= 0:
            line = bytes(self._unread[:end])
            del self._unread[: end + 1]
            reply = self._answer(line)
            if reply is not None:
                self._end.send(reply)
        del self._unread[:-MAX_LINE_BYTES]

    def advance(self) -> float | None:
        return None
