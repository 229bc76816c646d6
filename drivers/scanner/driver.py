"""Barcode scanners with a serial port."""

import math
import threading
import time
from collections import deque

from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentError,
    InstrumentInterrupted,
    InstrumentLost,
    InstrumentTimeout,
    errors_of,
)
from drivers.roles import Identity
from drivers.scanner.framing import LabelFramer, Scan
from drivers.scanner.protocol import BAUD, PREFIX, SILENCE_S, SUFFIX
from drivers.transport.serial_port import SerialLine, open_serial
from drivers.transport.stream import Stream
from drivers.transport.turn import Turn, Turnstile

LOOK_AGAIN_S = 0.2
_LISTEN_S = 3600.0
_KEPT = 64


class SerialScanner:
    """A scanner that sends its labels through a serial port; fulfils the role ``Scanner``.

    A thread listens all the time, so that no label is lost between two calls and one that was
    scanned before a call is never taken for its answer. A scanner that is unplugged is looked for
    again until it is back.

    Args:
        port: the serial port.
        prefix, suffix: what the scanner sends before and after a label.
        clock: taken like by every driver; people scan in real time.

    Raises:
        InstrumentLost: the port does not exist or another program has it.
        ValueError: no suffix, or one that is in the prefix.
    """

    def __init__(
        self,
        port: str,
        *,
        clock: Clock | None = None,
        baud: int = BAUD,
        prefix: str = PREFIX,
        suffix: str = SUFFIX,
    ) -> None:
        del clock
        self._port = port
        self._line = SerialLine(baud=baud)
        self._framer = LabelFramer(prefix, suffix)
        self._turnstile = Turnstile()
        try:
            stream = open_serial(port, self._line, self._turnstile)
        except InstrumentError:
            self._turnstile.close()
            raise
        self._identity = Identity("", "serial scanner", "", "", port)
        self._scans: deque[Scan] = deque(maxlen=_KEPT)
        self._lost: InstrumentLost | None = None
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(
            target=self._listen, args=(stream,), name=f"scanner {port}", daemon=True
        )
        self._thread.start()

    @classmethod
    def open(
        cls,
        address: str,
        *,
        clock: Clock | None = None,
        baud: int = BAUD,
        prefix: str = PREFIX,
        suffix: str = SUFFIX,
    ) -> "SerialScanner":
        """The scanner at a serial port."""
        return cls(address, clock=clock, baud=baud, prefix=prefix, suffix=suffix)

    @property
    def identity(self) -> Identity:
        """Its port; a scanner can't be asked who it is."""
        return self._identity

    @errors_of("scanner")
    def read(self, *, deadline_s: float) -> str:
        """The next label whose last byte comes after this call, without prefix and suffix.

        Raises:
            InstrumentTimeout: nobody scanned within ``deadline_s`` (real time).
            BrokenReply: what was scanned is no label: cut off, garbled, empty.
            InstrumentLost: the scanner is unplugged or closed.
        """
        if not (math.isfinite(deadline_s) and deadline_s > 0):
            raise ValueError(f"a deadline must be positive and finite, got {deadline_s}")
        called_at_s = time.monotonic()
        with self._changed:
            self._changed.wait_for(
                lambda: self._closed.is_set() or self._lost or self._first_after(called_at_s),
                deadline_s,
            )
            scan = self._first_after(called_at_s)
            lost = self._lost
            if scan is not None:
                self._scans.remove(scan)
        if scan is not None:
            if scan.broken:
                raise BrokenReply(
                    f"{scan.text!r} is no label: {scan.broken}",
                    port=self._port,
                    advice="Scan it again; clean the code or the scanner's window if it repeats.",
                )
            return scan.text
        if self._closed.is_set():
            raise InstrumentLost(
                "the scanner is closed", port=self._port, advice="Reconnect the scanner."
            )
        if lost is not None:
            raise InstrumentLost(lost.what, port=self._port, advice=lost.advice)
        raise InstrumentTimeout(
            f"nothing was scanned in {deadline_s:g} s",
            port=self._port,
            advice="Scan the label; check the scanner's cable if it beeps and nothing comes.",
        )

    def close(self) -> None:
        """Give the port back; a ``read`` under way raises InstrumentLost."""
        if self._closed.is_set():
            return
        self._closed.set()
        while self._thread.is_alive():
            self._turnstile.interrupt()
            self._thread.join(0.02)
        self._turnstile.close()
        with self._changed:
            self._changed.notify_all()

    def _first_after(self, at_s: float) -> Scan | None:
        return next((scan for scan in self._scans if scan.ended_at_s >= at_s), None)

    # the thread

    def _listen(self, stream: Stream | None) -> None:
        while not self._closed.is_set():
            turn = Turn(self._port, self._turnstile, _LISTEN_S)
            self._turnstile.enter(turn)
            try:
                if stream is None:
                    turn.sleep(LOOK_AGAIN_S)
                    stream = open_serial(self._port, self._line, self._turnstile)
                    self._note([], None)
                self._take_burst(stream, turn)
            except InstrumentInterrupted:
                continue
            except InstrumentLost as error:
                if stream is not None:
                    stream.close()
                stream = None
                self._note([], error)
            except InstrumentTimeout:
                continue
            finally:
                self._turnstile.end(turn)
                self._turnstile.leave(turn)
        if stream is not None:
            stream.close()

    def _take_burst(self, stream: Stream, turn: Turn) -> None:
        wait_s = SILENCE_S if self._framer.is_within_label else turn.remaining_s()
        data = stream.receive_some(wait_s, turn)
        now_s = time.monotonic()
        self._note(self._framer.feed(data, now_s) if data else self._framer.settle(now_s), None)

    def _note(self, scans: list[Scan], lost: InstrumentLost | None) -> None:
        with self._changed:
            self._scans.extend(scans)
            self._lost = lost
            self._changed.notify_all()
