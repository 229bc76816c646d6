"""The dialogue with a GRBL 1.1 controller: lines, acknowledgements, pushed messages, real time."""

import contextlib
from collections.abc import Generator
from dataclasses import replace

from drivers.clock import Clock, RealClock
from drivers.errors import BrokenReply, InstrumentRefused, MachineAlarm, names_its_errors
from drivers.grbl import protocol
from drivers.grbl.protocol import Status, Triple, alarm_text
from drivers.transport import Exchange, PortStatistics, SerialTransport


@names_its_errors("GRBL gantry")
class GrblDialogue:
    """Lines sent one at a time and acknowledged before the next; status asked for in between.

    The receive buffer of the controller never overflows so. Messages that it pushes on its own
    (status, alarms, its banner) are kept apart from answers.

    Args:
        transport: the port; the dialogue closes it.
        clock: time for motion and for the pace of status requests.
        deadline_s: real seconds for one transaction.
    """

    def __init__(
        self, transport: SerialTransport, *, clock: Clock | None, deadline_s: float
    ) -> None:
        self.clock = clock or RealClock()
        self._transport = transport
        self._deadline_s = deadline_s
        self._wco: Triple | None = None
        self._last_alarm: int | None = None
        self._deaf = False
        self._restarts = 0
        self._infos_awaited = 0
        self.messages: list[str] = []
        transport.instrument = "GRBL gantry"
        transport.keep_stray_lines = True
        transport.write_terminator = b"\n"
        transport.on_dropped = self._take_dropped

    @property
    def port(self) -> str:
        return self._transport.port

    @property
    def statistics(self) -> PortStatistics:
        return self._transport.statistics

    @property
    def is_deaf(self) -> bool:
        """Whether an alarm at a limit was seen and no restart since; the outputs are off then."""
        return self._deaf

    @property
    def restarts(self) -> int:
        """How many banners were seen since opening; each means that outputs and modes were lost."""
        return self._restarts

    @property
    def last_alarm(self) -> int | None:
        """Number of the last alarm seen and not yet acknowledged."""
        return self._last_alarm

    def command(self, line: str, *, deadline_s: float | None = None) -> list[str]:
        """Send a line, wait for its acknowledgement, return the lines that it printed.

        Raises:
            ValueError: the line is longer than the controller can take, or holds several.
            InstrumentRefused: the controller answers ``error:N``.
            MachineAlarm: an alarm came, or the controller restarted, instead.
        """
        if len(line) > protocol.MAX_LINE_CHARS or "\n" in line or "\r" in line:
            raise ValueError(f"not one line of {protocol.MAX_LINE_CHARS} characters: {line!r}")
        with self._transaction(deadline_s or self._deadline_s) as exchange:
            self._infos_awaited += line == protocol.INFO
            exchange.send(line)
            printed = self._answer(exchange)
            self._infos_awaited -= line == protocol.INFO
            return printed

    def status(self) -> Status:
        """A fresh status report; ``wco`` is the last one seen when the report has none.

        Raises:
            MachineAlarm: an alarm came, or the controller restarted.
        """
        with self._transaction(self._deadline_s) as exchange:
            status = self._ask_status(exchange)
        return replace(status, wco=self._wco) if status.wco is None else status

    def send_realtime(self, data: bytes) -> None:
        """Send bytes that act at once, past whatever is under way; may be called by any thread."""
        self._transport.send_realtime(data)

    def is_busy(self) -> bool:
        """Whether a thread waits for an answer of the controller."""
        return self._transport.is_busy()

    def interrupt(self) -> int:
        """Break off the transactions of all other threads at once; returns how many."""
        return self._transport.interrupt()

    def close(self) -> None:
        """Give the port back; motion and outputs stay as they are."""
        self._transport.close()

    @contextlib.contextmanager
    def _transaction(self, deadline_s: float) -> Generator[Exchange]:
        with self._transport.transaction(deadline_s=deadline_s) as exchange:
            for line in exchange.waiting_lines():
                self._take_push(line)
            self._raise_if_deaf()
            yield exchange

    def _raise_if_deaf(self) -> None:
        if self._deaf:
            number = self._last_alarm
            what = "an alarm made the controller deaf" if number is None else alarm_text(number)
            raise MachineAlarm(what, port=self.port)

    def _take_dropped(self, line: bytes) -> None:
        with contextlib.suppress(BrokenReply):
            self._take_push(line.decode("ascii", "replace").rstrip("\r\n"))

    def _take_push(self, line: str) -> Status | None:
        """Note a line that the controller sends on its own; stray acknowledgements are dropped."""
        if line.startswith("<"):
            status = protocol.parse_status(line, port=self.port)
            self._wco = status.wco or self._wco
            return status
        alarm = protocol.alarm_number(line)
        if alarm is not None:
            self._last_alarm = alarm
            self._deaf = alarm in protocol.LOCKING_ALARMS
        elif protocol.is_banner(line):
            self._restarts += 1
            self._deaf = False
            self._wco = None
        elif line == protocol.MSG_RESET:
            self._deaf = True
        elif line.startswith("[MSG:"):
            self.messages.append(line[5:].removesuffix("]"))
        return None

    def _answer(self, exchange: Exchange) -> list[str]:
        printed: list[str] = []
        while True:
            line = exchange.receive()
            if line == "ok":
                return printed
            number = protocol.error_number(line)
            if number is not None:
                raise InstrumentRefused(
                    f"the controller answers {protocol.error_text(number)}",
                    port=self.port,
                    sent=exchange.sent,
                    advice=_ERROR_ADVICE.get(number, ""),
                )
            if line.startswith(("<", "[MSG:", "ALARM:", "Grbl ")):
                self._take_push(line)
                self._raise_if_broken_off(line, exchange)
            elif line.startswith(("[", "$")):
                printed.append(line)
            elif line:
                raise BrokenReply(
                    f"{line!r} is no answer of GRBL", port=self.port, sent=exchange.sent
                )

    def _raise_if_broken_off(self, line: str, exchange: Exchange) -> None:
        if protocol.is_banner(line):
            raise MachineAlarm(
                "the controller restarted",
                port=self.port,
                sent=exchange.sent,
                advice="Its outputs are off and its position is not certain: home the gantry.",
            )
        if line == protocol.MSG_RESET:
            self._raise_if_deaf()
        alarm = protocol.alarm_number(line)
        if alarm is None and line.startswith("ALARM:"):
            raise BrokenReply(f"{line!r} is no alarm", port=self.port, sent=exchange.sent)
        if alarm is not None:
            if alarm in protocol.RESTARTING_ALARMS:
                self._wait_for_banner(exchange)
            elif alarm not in protocol.LOCKING_ALARMS:
                exchange.mark_out_of_step()
            raise MachineAlarm(alarm_text(alarm), port=self.port, sent=exchange.sent)

    def _wait_for_banner(self, exchange: Exchange) -> None:
        """Drop everything up to the banner: orphan acknowledgements come before it."""
        while True:
            line = exchange.receive()
            self._take_push(line)
            if protocol.is_banner(line):
                return

    def _ask_status(self, exchange: Exchange) -> Status:
        exchange.sent = "?"
        self._transport.send_realtime(protocol.STATUS_REQUEST)
        while True:
            line = exchange.receive()
            status = self._take_push(line)
            if status is not None:
                return status
            self._raise_if_broken_off(line, exchange)


_ERROR_ADVICE = {
    5: "Enable homing ($22=1) on the controller; without it the gantry has no limits.",
    8: "Wait until the gantry stands still, then retry.",
    9: "Acknowledge the alarm and home the gantry first.",
    13: "Close the safety door.",
    15: "The target is beyond the travel: check the tray map and the gantry's calibration.",
}
