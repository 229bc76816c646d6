"""A Marlin, Smoothie or Duet controller with three axes behind a pseudo-terminal."""

import threading
from collections.abc import Callable

from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.gantry_moves import AXES
from drivers.loopback import PtyEnd
from drivers.marlin import protocol
from drivers.marlin.machine import Machine, Steps
from drivers.marlin.protocol import DUET, MARLIN, SMOOTHIE, Dialect, Triple

POLL_S = 0.002
STOP_COMMANDS = ("M410", "M112")


class MarlinSimulator:
    """A gantry controller on the pseudo-terminal ``path``.

    It keeps its state (position, outputs, line numbers) when a client goes and another one comes.
    Not simulated: accelerations, heaters, files, arcs.

    Args:
        dialect: which firmware it plays.
        probe: level of the input that `M119` calls z_probe (the vacuum switch).
        on_output: called with ``fan0``, ``fan1`` ... or ``pin7`` and the new level.
        travel: length of the axes, mm.
        on_move: called with the true position at the end of every move, and wherever else the
            motion is looked at.
        start_mm: where the axes really are at power-up, 0 to ``travel``.
        backlash_mm: play of the axes.
        emergency_parser: whether the firmware was built to find a stop before all else.
        advanced_ok: whether it acknowledges with the line number and its free buffers.
        acknowledges_resend: whether it acknowledges behind a request to send again.
        reports_temperature_s: seconds between temperature reports of its own; None for never.
        faults: what goes wrong on the wire.
    """

    def __init__(
        self,
        dialect: Dialect = MARLIN,
        clock: Clock | None = None,
        probe: Callable[[], bool] = lambda: False,
        on_output: Callable[[str, bool], None] = lambda name, level: None,
        travel: Triple = (600.0, 400.0, 120.0),
        *,
        on_move: Callable[[Triple], None] = lambda true_mm: None,
        start_mm: Triple = (120.0, 80.0, 60.0),
        backlash_mm: Triple = (0.0, 0.0, 0.0),
        emergency_parser: bool = True,
        advanced_ok: bool = False,
        acknowledges_resend: bool = True,
        reports_temperature_s: float | None = None,
        faults: LineFaults | None = None,
    ) -> None:
        self.dialect = dialect
        self._clock = clock or RealClock()
        self._lock = threading.RLock()
        self.faults = faults or LineFaults()
        self._end = PtyEnd(self, name=dialect.name, faults=self.faults)
        self._advanced_ok = advanced_ok
        self._acknowledges_resend = acknowledges_resend
        self._temperature_every_s = reports_temperature_s
        self._temperature_at_s = self._clock.now_s()
        self.machine = Machine(
            dialect,
            self._clock,
            self._say,
            travel=travel,
            start_mm=start_mm,
            backlash_mm=backlash_mm,
            probe=probe,
            on_output=on_output,
            on_move=on_move,
            emergency_parser=emergency_parser,
            identity=self.faults.identity,
        )
        self._unread = bytearray()
        self._running: Steps | None = None
        self._number: int | None = None
        self._last_number = 0
        self._busy_since_s = 0.0
        self._reset()

    @property
    def path(self) -> str:
        """The device path of the port; known once started."""
        return self._end.path

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def true_commanded_position_mm(self) -> Triple:
        """Where the axes really are now, gantry frame: 0 to the travel."""
        with self._lock:
            self.machine.advance()
            return self.machine.axes.true_mm

    def output(self, name: str) -> bool:
        """The level of ``fan0`` and so on, for tests and the twin."""
        with self._lock:
            return self.machine.outputs.get(name, False)

    def lose_steps(self, axis: str, lost_mm: float) -> None:
        """Let an axis slip without the controller knowing."""
        with self._lock:
            self.machine.axes.lose_steps(AXES.index(axis), lost_mm)

    def stick(self, axis: str) -> None:
        """Let an axis jam: the controller counts on, the axis stays."""
        with self._lock:
            self.machine.advance()
            self.machine.axes.stuck.add(AXES.index(axis))

    def free(self, axis: str) -> None:
        with self._lock:
            self.machine.advance()
            self.machine.axes.stuck.discard(AXES.index(axis))

    def brown_out(self) -> None:
        """A dip of the supply: the controller restarts, the axes stay where they are."""
        with self._lock:
            self.machine.advance()
            self._reset()

    def receive(self, data: bytes) -> None:
        with self._lock:
            self.machine.advance()
            for byte in data:
                self._take(byte)
            self._work()

    def advance(self) -> float | None:
        with self._lock:
            self.machine.advance()
            self._work()
            self._report_temperature()
            busy = self.machine.axes.busy or self._running is not None
            return POLL_S if busy or self._temperature_every_s else None

    def _reset(self) -> None:
        self._unread.clear()
        self._running = None
        # a line that stays queued keeps Smoothie's count at -1: the first one is line 0
        self._last_number = -1 if self.dialect is SMOOTHIE else 0
        self.machine.reset()
        if not self._end.running:
            return
        if self.dialect is DUET:
            self._say("RepRapFirmware for Duet 2 WiFi/Ethernet is up and running.")
            return
        for banner in self.dialect.banners:
            self._say(banner)
        self._say("ok" if self.dialect is SMOOTHIE else "echo:Marlin 2.1.2")

    def _say(self, line: str) -> None:
        self._end.send(line.encode() + protocol.TERMINATOR)

    def _take(self, byte: int) -> None:
        if self.machine.dead:
            return
        if self.dialect is SMOOTHIE and byte in b"?\x18":
            if byte == 0x18:
                self._unread.clear()
                self.machine.halt("HALTED, M999 or $X to exit HALT state")
            else:
                self._say(self.machine.query())
            return
        self._unread.append(0x0A if byte == 0x0D else byte)
        if byte in b"\r\n" and self.dialect is MARLIN:
            self._look_for_stop()

    def _look_for_stop(self) -> None:
        """Marlin finds a stop before it queues the line, one without number at least."""
        line = bytes(self._unread[:-1]).rpartition(b"\n")[2].decode("latin-1").strip()
        if line in STOP_COMMANDS:
            self.machine.stop(line)

    def _work(self) -> None:
        """Let the interpreter go on as far as it can now."""
        while not self.machine.dead:
            if self._running is None:
                end = self._unread.find(b"\n")
                if end < 0:
                    return
                text = self._unread[:end].decode("latin-1").strip()
                del self._unread[: end + 1]
                line = self._checked(text)
                if line is None:
                    continue
                self._busy_since_s = self._clock.now_s()
                self._running = self.machine.execute(line)
            running = self._running
            try:
                next(running)
                self._keep_alive()
                return
            except StopIteration as done:
                if self._running is running:
                    self._running = None
                    if done.value is not None:
                        self._acknowledge(done.value)
            self.machine.advance()

    def _keep_alive(self) -> None:
        if self.dialect is not MARLIN:
            return
        if self._clock.now_s() - self._busy_since_s >= protocol.KEEP_ALIVE_S:
            self._busy_since_s = self._clock.now_s()
            self._say("echo:busy: processing")

    def _acknowledge(self, text: str) -> None:
        numbers = ""
        if self._advanced_ok and self.dialect is MARLIN:
            numbers = f" N{self._number}" if self._number is not None else ""
            numbers += " P15 B3"
        self._say(f"ok{numbers} {text}".rstrip())

    def _checked(self, text: str) -> str | None:
        """The command of a line, without number and checksum; None when it is not carried out."""
        self._number = None
        if not text:
            if self.dialect is SMOOTHIE:
                self._say("ok")
            return None
        if not text.startswith("N"):
            return text
        body, star, given = text.rpartition("*")
        digits = body[1:].lstrip("-")
        number_text = digits[: len(digits) - len(digits.lstrip("0123456789"))]
        number = int(number_text or "0") * (-1 if body[1:2] == "-" else 1)
        command = digits[len(number_text) :].strip()
        intact = bool(star) and given.isdigit() and protocol.checksum(body) == int(given)
        if self.dialect is DUET:
            # a minus sign is no digit: the rest is taken for the command
            return (command if number >= 0 else body[1:]) if intact else None
        if not intact:
            self._refuse_line("checksum mismatch")
            return None
        if command.startswith("M110"):
            self._last_number = number
        elif number != self._last_number + 1:
            self._refuse_line("Line Number is not Last Line Number+1")
            return None
        self._last_number = self._number = number
        return command

    def _refuse_line(self, why: str) -> None:
        wanted = self._last_number + 1
        if self.dialect is SMOOTHIE:
            self._say(f"rs N{wanted}")
            return
        self._unread.clear()
        self._say(f"Error:{why}, Last Line: {self._last_number}")
        self._say(f"Resend: {wanted}")
        if self._acknowledges_resend:
            self._say("ok")

    def _report_temperature(self) -> None:
        every_s = self._temperature_every_s
        if every_s and self._clock.now_s() - self._temperature_at_s >= every_s:
            self._temperature_at_s = self._clock.now_s()
            self._say(" T:21.43 /0.00 B:21.50 /0.00 @:0 B@:0")
