"""An iseg NHQ with two channels on a pseudo-terminal, echo included."""

import threading
from collections.abc import Sequence

from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.iseg import protocol
from drivers.iseg.channel_machine import ChannelMachine, Series
from drivers.loopback import PtyEnd
from drivers.output_stage import Load

MAX_LINE = 40


class IsegSimulator:
    """A unit that answers on ``address`` and echoes every character.

    Its state outlives its clients. Channels are named 1 and 2.

    Args:
        loads: what hangs on the channels.
        max_v, max_a: what the unit can do.
        series: how it writes its numbers.
        positive: the polarity switch of both channels.
        blank_lines: whether an empty line comes before a value.
        bare_status: whether the status word comes without ``S1=``.
        faults: what happens to the echoes and the answers; each echo is a reply of its own.
    """

    def __init__(
        self,
        loads: Sequence[Load] = (lambda v: 1e-8 * v,) * 2,
        clock: Clock | None = None,
        *,
        max_v: float = 100.0,
        max_a: float = 10e-3,
        series: Series = "precision",
        positive: bool = True,
        blank_lines: bool = False,
        bare_status: bool = False,
        faults: LineFaults | None = None,
    ) -> None:
        clock = clock or RealClock()
        self._lock = threading.RLock()
        self._max_v, self._max_a = max_v, max_a
        self._blank_lines, self._bare_status = blank_lines, bare_status
        self._break_ms = 3
        self._channels = [
            ChannelMachine(load, clock, max_v, max_a, series, positive) for load in loads
        ]
        self._line = ""
        self.faults = faults or LineFaults()
        self._end = PtyEnd(self, name="iseg", faults=self.faults)

    @property
    def address(self) -> str:
        """The device path; known once started."""
        return self._end.path

    def start(self) -> None:
        self._end.start()

    def stop(self) -> None:
        self._end.stop()

    def channel(self, number: int = 1) -> ChannelMachine:
        """The true channel, for tests, the twin, and a hand at the front panel."""
        return self._channels[number - 1]

    def power_cycle(self) -> None:
        """Everything off; with autostart, the voltage comes back by itself."""
        with self._lock:
            self._line = ""
            for channel in self._channels:
                channel.power_up()

    def press_output_button(self) -> None:
        """Turn the HV-ON switch of channel 1."""
        with self._lock:
            first = self._channels[0]
            first.turn_switch(on=not first.switched_on)

    def output_is_on(self) -> bool:
        """Whether any output is sent to a voltage."""
        with self._lock:
            return any(channel.output_is_on() for channel in self._channels)

    def true_voltage_v(self) -> float:
        """At the terminals of channel 1 now, with sign."""
        with self._lock:
            return self._channels[0].true_voltage_v()

    def receive(self, data: bytes) -> None:
        for byte in data:
            self._end.send(bytes((byte,)))
            character = chr(byte)
            if character == "\n":
                command, self._line = self._line.strip("\r"), ""
                if command:
                    self._answer(command)
            else:
                self._line = (self._line + character)[-MAX_LINE:]

    def advance(self) -> float | None:
        return None

    def _answer(self, command: str) -> None:
        with self._lock:
            reply = self._execute(command)
        blank = "\r\n" if self._blank_lines and reply else ""
        self._end.send(f"{blank}{reply}\r\n".encode())

    def _execute(self, command: str) -> str:
        letter, rest = command[:1].upper(), command[1:]
        if letter == protocol.IDENTIFY and not rest:
            number = self.faults.identity("484216")
            return f"{number};3.06;{self._max_v:.0f}V;{self._max_a * 1e3:g}mA"
        if letter == protocol.BREAK_TIME:
            return self._break(rest)
        number, equals, value = rest.partition("=")
        if number not in ("1", "2") or int(number) > len(self._channels):
            return "?WCN" if number.isdigit() else "????"
        channel = self._channels[int(number) - 1]
        if equals:
            return channel.order(letter, value)
        word = channel.ask(letter)
        if letter in (protocol.STATUS, protocol.GO):
            return f"{word:<3}" if self._bare_status else f"S{number}={word:<3}"
        return word

    def _break(self, rest: str) -> str:
        if not rest:
            return f"{self._break_ms:03d}"
        value = rest.removeprefix("=")
        if not value.isdigit() or int(value) > protocol.MAX_BREAK_MS:
            return "????"
        self._break_ms = int(value)
        return ""
