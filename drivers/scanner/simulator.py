"""A serial scanner on a pseudo-terminal, whose trigger a test or the twin pulls."""

from drivers.loopback import LineFaults, PtyEnd
from drivers.scanner.protocol import PREFIX, SUFFIX


class SerialScannerSimulator:
    """Sends labels through the pseudo-terminal ``path``.

    Args:
        prefix, suffix: what is sent before and after a label.
        faults: what goes wrong on the line; each label is one reply.
    """

    def __init__(
        self, *, prefix: str = PREFIX, suffix: str = SUFFIX, faults: LineFaults | None = None
    ) -> None:
        self._prefix = prefix
        self._suffix = suffix
        self._end = PtyEnd(self, name="scanner", faults=faults)
        self.faults = self._end.faults

    @property
    def path(self) -> str:
        """The device path of the port; known once started."""
        return self._end.path

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def scan(self, label: str) -> None:
        """Pull the trigger over a label."""
        self.send(f"{self._prefix}{label}{self._suffix}".encode("ascii"))

    def send(self, data: bytes) -> None:
        """Send bytes as they are: half a label, noise."""
        self._end.send(data)

    def receive(self, data: bytes) -> None:
        """A scanner hears nothing."""

    def advance(self) -> float | None:
        return None
