"""The dialogue with a Marlin, Smoothie or Duet controller: numbered lines and their answers.

Every line has a number and a checksum, so that a garbled one is never carried out: the controller
asks for it again. The number also tells a reset that nobody saw: the controller then expects
another one than the driver is about to send.
"""

import contextlib
from collections.abc import Callable, Generator

from drivers.clock import Clock, RealClock
from drivers.errors import (
    BrokenReply,
    InstrumentRefused,
    InstrumentTimeout,
    MachineAlarm,
    NotHomed,
    WrongInstrument,
    names_its_errors,
)
from drivers.marlin import protocol
from drivers.marlin.protocol import DIALECTS, DUET, HOMED_FROM, NUMBERS, Firmware
from drivers.roles import Identity
from drivers.transport import Exchange, SerialTransport

QUIET_S = 0.05
ASK_AGAIN_S = 1.0
OPENING_S = 8.0
ATTEMPTS = 3
MESSAGES_KEPT = 100


@names_its_errors("Marlin gantry")
class MarlinController:
    """A controller of the Marlin family on a serial port, shared by gantry and outputs.

    Opening moves and resets nothing (a board that resets when its port opens does so by itself).
    Which firmware answers is found by asking. After a lost or broken answer, whatever still comes
    is dropped until the controller has identified itself and told the line number it expects.

    Args:
        transport: the port; the controller closes it.
        clock: time for motion.
        deadline_s: real seconds for one transaction.

    Raises:
        WrongInstrument: something else answers.
        InstrumentTimeout: silence; also what a killed controller looks like before a reset.
    """

    def __init__(
        self,
        transport: SerialTransport,
        *,
        clock: Clock | None = None,
        deadline_s: float = 5.0,
    ) -> None:
        self.clock = clock or RealClock()
        self._transport = transport
        self._deadline_s = deadline_s
        self._expected: int | None = None
        self._identities_awaited = 0
        self._restarts = 0
        self._halted = ""
        self._firmware: Firmware | None = None
        self.messages: list[str] = []
        transport.instrument = "Marlin gantry"
        transport.instrument = "gantry"
        transport.keep_stray_lines = True
        transport.verify = lambda exchange: None
        transport.on_dropped = self._take_dropped
        try:
            self._firmware = self._open()
        except BaseException:
            transport.close()
            raise
        transport.verify = self._verify

    @classmethod
    def open(
        cls,
        port: str,
        *,
        baud: int = protocol.BAUDS["marlin"],
        clock: Clock | None = None,
        deadline_s: float = 5.0,
    ) -> "MarlinController":
        """Connect to a serial port or pseudo-terminal, as it is."""
        return cls(SerialTransport(port, baud=baud), clock=clock, deadline_s=deadline_s)

    @property
    def firmware(self) -> Firmware:
        assert self._firmware is not None
        return self._firmware

    @property
    def identity(self) -> Identity:
        fields = self.firmware.fields
        return Identity(
            maker=self.firmware.dialect.firmware,
            model=fields.get("MACHINE_TYPE") or fields.get("ELECTRONICS") or "gantry",
            serial=fields.get("UUID", ""),
            firmware=self.firmware.version,
            port=self.port,
        )

    @property
    def port(self) -> str:
        return self._transport.port

    @property
    def restarts(self) -> int:
        """How many restarts were noticed; each means that position and outputs were lost."""
        return self._restarts

    @property
    def halted(self) -> str:
        """What the controller said when it halted; empty while it works."""
        return self._halted

    def command(
        self,
        line: str,
        *,
        wanted: Callable[[str], bool] = lambda line: False,
        deadline_s: float | None = None,
        since: int | None = None,
    ) -> list[str]:
        """Send a line, wait for its acknowledgement; returns the lines that are ``wanted``.

        Args:
            since: the count of :attr:`restarts` that the caller relies on; after another one
                nothing is sent.

        Raises:
            ValueError: the line is longer than the controller can take, or holds several.
            InstrumentRefused: the controller answers with an error.
            NotHomed: it refuses to move before homing.
            MachineAlarm: it halted or restarted.
        """
        if len(line) > protocol.MAX_LINE_CHARS or not line.isprintable() or "*" in line:
            raise ValueError(f"not one line of {protocol.MAX_LINE_CHARS} characters: {line!r}")
        with self._transaction(deadline_s or self._deadline_s) as exchange:
            if since is not None and since != self._restarts:
                raise self._restarted(exchange)
            self._number_lines(exchange)
            return self._say(exchange, line, wanted)

    def ask(
        self, line: str, wanted: Callable[[str], bool], *, deadline_s: float | None = None
    ) -> list[str]:
        """As :meth:`command`, for a question: an acknowledgement alone is no answer.

        Raises:
            BrokenReply: no wanted line came; the port is out of step.
        """
        with self._transaction(deadline_s or self._deadline_s) as exchange:
            self._number_lines(exchange)
            printed = self._say(exchange, line, wanted)
            if not printed:
                raise BrokenReply(
                    "an acknowledgement came without an answer", port=self.port, sent=line
                )
            return printed

    def is_homed(self) -> bool:
        """Whether the controller itself says that it was homed and not reset since.

        Raises:
            MachineAlarm: it halted or restarted.
        """
        if self.firmware.dialect is DUET:
            (line,) = self.ask(protocol.DUET_HOMED, lambda line: line.startswith("{"))[:1]
            axes = protocol.parse_model(line, port=self.port, sent=protocol.DUET_HOMED)
            return isinstance(axes, list) and axes[:3] == [True, True, True]
        with self._transaction(self._deadline_s):
            return self._counts_as_homed()

    def remember_homed(self, *, homed: bool) -> None:
        """Let the controller remember, by its line numbers, whether the machine was homed."""
        if self.firmware.dialect.counts_lines:
            with self._transaction(self._deadline_s) as exchange:
                self._set_number(exchange, HOMED_FROM if homed else 0)

    def send_realtime(self, data: bytes) -> None:
        """Send bytes past whatever is under way; may be called by any thread."""
        self._transport.send_realtime(data)

    def interrupt(self) -> int:
        """Break off the transactions of all other threads at once; returns how many."""
        return self._transport.interrupt()

    def note_halt(self, why: str) -> None:
        """Ask nothing more until :meth:`restart`."""
        self._halted = why

    def resynchronise(self) -> None:
        """Let the next transaction drop what still comes and check who answers."""
        with (
            contextlib.suppress(InstrumentTimeout),
            self._transport.transaction(deadline_s=self._deadline_s) as exchange,
        ):
            exchange.mark_out_of_step()

    def restart(self) -> None:
        """End a halt; nothing moves.

        Raises:
            InstrumentTimeout: the controller was killed and needs its reset button.
        """
        # while it is known as halted, nobody asks it who it is: it would refuse to tell
        self._halted = self._halted or "asked to restart"
        restart = self.firmware.dialect.restart
        try:
            with self._transport.transaction(deadline_s=self._deadline_s) as exchange:
                exchange.send(restart)
                while not self._came_back(exchange.receive()):
                    pass
                exchange.mark_out_of_step()
        except InstrumentTimeout as error:
            raise InstrumentTimeout(
                "the controller does not come back",
                port=self.port,
                sent=restart,
                advice="Press the reset button of the gantry's controller, then retry.",
            ) from error
        self._halted = ""
        self._expected = None

    def _came_back(self, line: str) -> bool:
        return protocol.acknowledgement(line) is not None or self._is_banner(line)

    def close(self) -> None:
        """Give the port back; motion and outputs stay as they are."""
        self._transport.close()

    @contextlib.contextmanager
    def _transaction(self, deadline_s: float) -> Generator[Exchange]:
        with self._transport.transaction(deadline_s=deadline_s) as exchange:
            for line in exchange.waiting_lines():
                self._take_push(line)
            if self._halted:
                raise self._halt_alarm(exchange)
            yield exchange

    def _halt_alarm(self, exchange: Exchange) -> MachineAlarm:
        return MachineAlarm(
            f"the controller is halted: {self._halted}", port=self.port, sent=exchange.sent
        )

    def _take_dropped(self, line: bytes) -> None:
        self._take_push(line.decode("ascii", "replace").rstrip("\r\n"))

    def _take_push(self, line: str) -> None:
        """Note a line that came on its own; stray acknowledgements are dropped."""
        if self._is_banner(line):
            self._note_restart()
        elif protocol.is_halt(line):
            self._halted = line
        elif line and protocol.acknowledgement(line) is None and not protocol.is_busy(line):
            self.messages.append(line)
            del self.messages[:-MESSAGES_KEPT]

    def _is_banner(self, line: str) -> bool:
        dialects = DIALECTS if self._firmware is None else (self._firmware.dialect,)
        return any(
            line == banner or (one is DUET and line.startswith(banner) and "running" in line)
            for one in dialects
            for banner in one.banners
        )

    def _note_restart(self) -> None:
        self._restarts += 1
        self._expected = None
        self._halted = ""

    def _restarted(self, exchange: Exchange) -> MachineAlarm:
        return MachineAlarm(
            "the controller restarted",
            port=self.port,
            sent=exchange.sent,
            advice="Its outputs are off and its position is lost: home the gantry.",
        )

    def _counts_as_homed(self) -> bool:
        number = self._expected
        return number is not None and HOMED_FROM < number <= HOMED_FROM + 2 * NUMBERS

    def _number_lines(self, exchange: Exchange) -> None:
        number = self._expected
        if number is None:
            self._set_number(exchange, 0)
        elif number > HOMED_FROM + NUMBERS:
            self._set_number(exchange, HOMED_FROM)

    def _set_number(self, exchange: Exchange, number: int) -> None:
        self._expected = None
        exchange.send(protocol.numbered(number, "M110"))
        self._await_ok(exchange, number, lambda line: False)
        self._expected = number + 1

    def _say(self, exchange: Exchange, line: str, wanted: Callable[[str], bool]) -> list[str]:
        for _ in range(ATTEMPTS):
            number = self._expected
            assert number is not None
            exchange.send(protocol.numbered(number, line))
            printed = self._await_ok(exchange, number, wanted)
            if printed is not None:
                self._expected = number + 1
                return printed
        raise BrokenReply(
            f"the line arrived garbled {ATTEMPTS} times",
            port=self.port,
            sent=exchange.sent,
            advice="Check the cable of the gantry's controller and its shielding.",
        )

    def _await_ok(
        self, exchange: Exchange, number: int, wanted: Callable[[str], bool]
    ) -> list[str] | None:
        """The wanted lines; None when the controller wants the line again."""
        printed: list[str] = []
        refusal, unhomed = "", False
        while True:
            line = exchange.receive()
            acknowledged = protocol.acknowledgement(line)
            if acknowledged is not None:
                if acknowledged.number not in (None, number):
                    continue
                if wanted(acknowledged.text):
                    printed.append(acknowledged.text)
                self._raise_refusal(exchange, number, refusal, unhomed=unhomed)
                return printed
            wants = protocol.resend_number(line)
            if wants is not None:
                self._check_wanted_number(exchange, number, wants)
                return None
            if wanted(line):
                printed.append(line)
            elif protocol.is_unhomed(line):
                unhomed, refusal = True, line
            elif protocol.is_halt(line):
                self._halted = line
                raise self._halt_alarm(exchange)
            elif protocol.is_error(line) and not protocol.is_line_error(line):
                refusal = line
            else:
                self._take_push(line)
                if self._is_banner(line):
                    raise self._restarted(exchange)

    def _raise_refusal(
        self, exchange: Exchange, number: int, refusal: str, *, unhomed: bool
    ) -> None:
        if refusal:
            self._expected = number + 1
            kind = NotHomed if unhomed else InstrumentRefused
            raise kind(f"the controller answers {refusal!r}", port=self.port, sent=exchange.sent)

    def _check_wanted_number(self, exchange: Exchange, number: int, wants: int) -> None:
        """An older firmware acknowledges behind its request to send again; that is dropped."""
        for dropped in exchange.drain(QUIET_S):
            self._take_dropped(dropped)
        if self._expected is None and number != wants:
            raise self._restarted(exchange)
        if wants != number:
            self._note_restart()
            raise self._restarted(exchange)

    def _open(self) -> Firmware:
        silence: InstrumentTimeout | None = None
        for _ in range(round(OPENING_S / ASK_AGAIN_S)):
            try:
                with self._transport.transaction(deadline_s=ASK_AGAIN_S) as exchange:
                    return self._identify(exchange)
            except (InstrumentTimeout, BrokenReply, MachineAlarm) as error:
                silence = error if isinstance(error, InstrumentTimeout) else silence
        raise InstrumentTimeout(
            "no firmware of the Marlin family answers",
            port=self.port,
            sent=protocol.IDENTITY,
            advice="Check power and cable; press the reset button of the controller, then retry.",
        ) from silence

    def _identify(self, exchange: Exchange) -> Firmware:
        """Spoil what may be left of a broken-off line and find the number that is expected, then
        ask who answers; all that comes before is old."""
        expected: int | None = None
        exchange.send(protocol.numbered(protocol.UNEXPECTED_NUMBER, protocol.IDENTITY))
        # the refusal of a line number empties the controller's buffer: nothing may follow early
        for dropped in exchange.drain(QUIET_S):
            text = dropped.decode("ascii", "replace").strip()
            expected = _first(protocol.resend_number(text), expected)
            self._take_push(text)
        exchange.send(protocol.IDENTITY)
        self._identities_awaited += 1
        lines: list[str] = []
        while True:
            line = exchange.receive()
            if lines and protocol.acknowledgement(line) is not None:
                break
            if lines or protocol.is_identity(line):
                lines.append(line)
                continue
            if line.startswith("error:"):
                raise WrongInstrument(
                    f"the controller answers {line!r}, as GRBL does",
                    port=self.port,
                    sent=protocol.IDENTITY,
                )
            if protocol.is_halt(line):
                raise InstrumentRefused(
                    f"the controller is halted and answers {line!r}",
                    port=self.port,
                    sent=protocol.IDENTITY,
                    advice="Press the reset button of the gantry's controller, then reconnect.",
                )
            expected = _first(protocol.resend_number(line), expected)
            self._take_push(line)
        self._identities_awaited -= 1
        if self._identities_awaited > 0:
            exchange.drain(QUIET_S)
            self._identities_awaited = 0
        firmware = protocol.parse_firmware(lines, port=self.port)
        if firmware is None:
            raise WrongInstrument(
                f"{lines[0]!r} answers, not Marlin, Smoothie or Duet",
                port=self.port,
                sent=protocol.IDENTITY,
            )
        self._take_expected(expected, firmware)
        return firmware

    def _take_expected(self, told: int | None, firmware: Firmware) -> None:
        if not firmware.dialect.counts_lines:
            self._expected = self._expected or 1
        elif self._expected is None or told in (None, self._expected, self._expected + 1):
            self._expected = _first(told, self._expected)
        else:
            self._note_restart()
            self._expected = told

    def _verify(self, exchange: Exchange) -> None:
        if self._halted:
            return
        found = self._identify(exchange)
        if found.fields != self.firmware.fields:
            raise WrongInstrument(
                f"another controller answers: {found.version}",
                port=self.port,
                sent=protocol.IDENTITY,
            )


def _first(one: int | None, other: int | None) -> int | None:
    return other if one is None else one
