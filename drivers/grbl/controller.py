"""A GRBL 1.1 controller: who it is, its settings, offsets and outputs, and its way back to work."""

import contextlib
import math
import re

from drivers.clock import Clock
from drivers.errors import (
    BrokenReply,
    InstrumentRefused,
    InstrumentTimeout,
    MachineAlarm,
    WrongInstrument,
    names_its_errors,
)
from drivers.grbl import protocol
from drivers.grbl.dialogue import GrblDialogue
from drivers.grbl.protocol import Status, Triple
from drivers.roles import Identity
from drivers.transport import Exchange, SerialTransport

QUIET_S = 0.05
ASK_AGAIN_S = 0.5
OPENING_S = 5.0
SETTLING_S = 120.0
ATTEMPTS = 3
SETTING_TOLERANCE = 0.001
REPORTS_TO_WAIT = 64
MOVING = ("Run", "Jog", "Home")
HELD = ("Hold", "Door")
_VERSION = re.compile(r"\[VER:(?P<version>[^:\]]+):(?P<name>[^\]]*)\]")


@names_its_errors("GRBL gantry")
class GrblController(GrblDialogue):
    """A GRBL 1.1 controller on a serial port, shared by the gantry and what its outputs switch.

    Opening neither resets nor moves anything: what is held stays held. Lines are sent one at a
    time and acknowledged before the next, so its receive buffer never overflows; messages that the
    controller pushes on its own (status, alarms, its banner) are kept apart from answers. After a
    lost or broken answer, whatever still comes is dropped until the controller has identified
    itself again.

    Args:
        transport: the port; the controller closes it.
        clock: time for motion and for the pace of status requests.
        deadline_s: real seconds for one transaction.

    Raises:
        WrongInstrument: no GRBL 1.1 answers, or it reports inches.
        InstrumentRefused: it is held or its door is open, so that it answers no questions.
        InstrumentTimeout: silence; also what an alarm at a limit looks like before a reset.
    """

    def __init__(
        self,
        transport: SerialTransport,
        *,
        clock: Clock | None = None,
        deadline_s: float = 3.0,
    ) -> None:
        super().__init__(transport, clock=clock, deadline_s=deadline_s)
        self._has_mist = False
        transport.verify = _nobody_known_yet
        try:
            self._identity = self._open()
            self.settings = protocol.parse_settings(self.command(protocol.SETTINGS), port=self.port)
            if self.settings.get(protocol.REPORT_INCHES, 0):
                raise WrongInstrument(
                    "the controller reports inches",
                    port=self.port,
                    sent=protocol.SETTINGS,
                    advice=f"Set ${protocol.REPORT_INCHES}=0 on the controller.",
                )
        except BaseException:
            transport.close()
            raise
        transport.verify = self._verify

    @classmethod
    def open(
        cls, port: str, *, clock: Clock | None = None, deadline_s: float = 3.0
    ) -> "GrblController":
        """Connect to a serial port or pseudo-terminal, as it is."""
        return cls(SerialTransport(port, baud=protocol.BAUD), clock=clock, deadline_s=deadline_s)

    @classmethod
    def reset_and_open(
        cls, port: str, *, clock: Clock | None = None, deadline_s: float = 3.0
    ) -> "GrblController":
        """Reset the controller, then connect: for one that an alarm at a limit made deaf.

        A reset switches the outputs off: a held tile falls.
        """
        transport = SerialTransport(port, baud=protocol.BAUD)
        transport.keep_stray_lines = True
        try:
            with transport.transaction(deadline_s=deadline_s) as exchange:
                exchange.drain(QUIET_S)
                transport.send_realtime(protocol.SOFT_RESET)
                while not protocol.is_banner(exchange.receive()):
                    pass
        except BaseException:
            transport.close()
            raise
        return cls(transport, clock=clock, deadline_s=deadline_s)

    @property
    def identity(self) -> Identity:
        return self._identity

    @property
    def has_mist(self) -> bool:
        """Whether the firmware was built with the second output."""
        return self._has_mist

    def work_position(self, status: Status) -> Triple:
        """The position of a status in work coordinates, mm."""
        if status.wpos is not None:
            return status.wpos
        assert status.mpos is not None
        offset = status.wco or self._wco or self._find_offset()
        x, y, z = (here - zero for here, zero in zip(status.mpos, offset, strict=True))
        return x, y, z

    def accessories(self) -> frozenset[str]:
        """Letters of the outputs that are on (F flood, M mist), from the status reports.

        Only some reports tell, so this asks until one does.
        """
        for _ in range(REPORTS_TO_WAIT):
            status = self.status()
            if status.accessories is not None:
                return status.accessories
            self.clock.sleep(protocol.STATUS_POLL_S)
        raise BrokenReply(
            "the status reports never tell overrides and outputs",
            port=self.port,
            sent="?",
            advice="Check that the firmware of the controller is GRBL 1.1 with override reports.",
        )

    def modes(self) -> frozenset[str]:
        """Words of the modal state, such as G54, M8 and T0."""
        return protocol.parse_modes(self.command(protocol.MODES), port=self.port)

    def offsets(self) -> dict[str, Triple]:
        """Stored and temporary offsets by name; G92 and TLO among them."""
        return protocol.parse_offsets(self.command(protocol.OFFSETS), port=self.port)

    def set(self, number: int, value: float) -> None:
        """Write a setting and read all of them back.

        Raises:
            InstrumentRefused: it reads back otherwise.
        """
        line = f"${number}={value:g}"
        self.command(line)
        self.settings = protocol.parse_settings(self.command(protocol.SETTINGS), port=self.port)
        if abs(self.settings.get(number, math.inf) - value) > SETTING_TOLERANCE:
            raise InstrumentRefused(
                f"setting ${number} reads back {self.settings.get(number)}",
                port=self.port,
                sent=line,
            )

    def reset(self) -> None:
        """Soft reset: drops all moves and switches all outputs off (a held tile falls)."""
        before = self._restarts
        self._transport.send_realtime(protocol.SOFT_RESET)
        for _ in range(ATTEMPTS):
            with (
                contextlib.suppress(MachineAlarm),
                self._transport.transaction(deadline_s=self._deadline_s) as exchange,
            ):
                if self._restarts == before:
                    exchange.sent = "soft reset (0x18)"
                    self._wait_for_banner(exchange)
            if self._restarts > before:
                return
        raise InstrumentTimeout(
            "the controller does not restart", port=self.port, sent="soft reset (0x18)"
        )

    def recover(self) -> None:
        """Leave an alarm, a hold or deafness on request of a person; nothing moves.

        A controller that stands still and listens is only unlocked. One that is deaf (after an
        alarm at a limit), held, asleep or checking needs a soft reset, which switches the outputs
        off. Either way it must be homed afterwards.

        Raises:
            InstrumentRefused: something moves, or the safety door is open.
            InstrumentTimeout: it does not even restart.
        """
        if self._needs_reset():
            self.reset()
        self._last_alarm = None
        self.command(protocol.UNLOCK)
        self.command("T0")

    def _needs_reset(self) -> bool:
        for _ in range(ATTEMPTS - 1):
            try:
                status = self.status()
            except MachineAlarm:
                if self._deaf:
                    return True
                continue
            except (InstrumentTimeout, BrokenReply):
                continue
            if status.mode in MOVING:
                raise InstrumentRefused(
                    f"the controller is in {status.state} and can't recover while something moves",
                    port=self.port,
                    sent="?",
                    advice="Stop the gantry, then retry.",
                )
            return status.mode not in ("Idle", "Alarm")
        return True

    def _find_offset(self) -> Triple:
        """The work coordinate offset: reports tell it now and then, ``$#`` at a standstill."""
        for _ in range(REPORTS_TO_WAIT):
            status = self.status()
            if status.wco is not None:
                return status.wco
            if status.mode not in MOVING:
                return self._read_offset()
            self.clock.sleep(protocol.STATUS_POLL_S)
        raise BrokenReply(
            "the status reports never tell the work coordinate offset", port=self.port, sent="?"
        )

    def _read_offset(self) -> Triple:
        modes, offsets = self.modes(), self.offsets()
        system = next((name for name in offsets if name in modes), "G54")
        x, y, z = (
            stored + shift + length
            for stored, shift, length in zip(
                offsets[system], offsets["G92"], offsets["TLO"], strict=True
            )
        )
        self._wco = (x, y, z)
        return x, y, z

    def _open(self) -> Identity:
        with self._transport.transaction(deadline_s=max(OPENING_S, self._deadline_s)) as exchange:
            exchange.drain(QUIET_S)
        status = self._first_status()
        ends_at_s = self.clock.now_s() + SETTLING_S
        late = False
        while status.mode in MOVING and not late:
            self.clock.sleep(protocol.STATUS_POLL_S)
            late = self.clock.now_s() > ends_at_s
            with self._transaction(self._deadline_s) as exchange:
                status = self._ask_status(exchange)
        if status.mode in HELD:
            raise InstrumentRefused(
                f"the controller is in {status.state} and answers no questions",
                port=self.port,
                sent="?",
                advice="Close the door, or release the hold at the controller, then reconnect.",
            )
        with self._transaction(self._deadline_s) as exchange:
            return self._identify(exchange)

    def _first_status(self) -> Status:
        """The first report, also of a board that restarts because its port was opened."""
        silence: InstrumentTimeout | None = None
        for _ in range(round(OPENING_S / ASK_AGAIN_S)):
            try:
                with self._transaction(ASK_AGAIN_S) as exchange:
                    return self._ask_status(exchange)
            except InstrumentTimeout as error:
                silence = error
            except BrokenReply:
                continue
            except MachineAlarm:
                continue
        raise InstrumentTimeout(
            "no GRBL status report came",
            port=self.port,
            sent="?",
            advice="If a limit switch stopped the gantry, look that its way is free and reset the "
            "controller (a held tile falls); else check power and cable.",
        ) from silence

    def _identify(self, exchange: Exchange) -> Identity:
        """Spoil what may be left of a broken-off line, then ask; all that comes before is old."""
        exchange.send(protocol.SPOILER)
        exchange.send(protocol.INFO)
        self._infos_awaited += 1
        version, refusal = None, ""
        while version is None:
            try:
                line = exchange.receive()
            except InstrumentTimeout as error:
                if not refusal:
                    raise
                raise WrongInstrument(
                    f"the controller does not tell its version: {refusal}",
                    port=self.port,
                    sent=protocol.INFO,
                ) from error
            version = _VERSION.fullmatch(line)
            if version is None:
                refusal = line if protocol.error_number(line) is not None else refusal
                self._take_push(line)
        while (line := exchange.receive()) != "ok":
            self._has_mist = self._has_mist or protocol.tells_mist(line)
        self._infos_awaited -= 1
        if self._infos_awaited > 0:
            exchange.drain(QUIET_S)
            self._infos_awaited = 0
        if not version["version"].startswith("1.1"):
            raise WrongInstrument(
                f"firmware {version['version']} answers, not GRBL 1.1",
                port=self.port,
                sent=protocol.INFO,
            )
        return Identity("Grbl", "Grbl 1.1", version["name"], version["version"], self.port)

    def _verify(self, exchange: Exchange) -> None:
        """Put questions and answers back in step: all that precedes the barrier is old."""
        self._raise_if_deaf()
        status = self._ask_status(exchange)
        if status.mode in ("Idle", "Alarm"):
            found = self._identify(exchange)
            if found != self._identity:
                raise WrongInstrument(
                    f"another controller answers: {found.firmware} {found.serial!r}",
                    port=self.port,
                    sent=protocol.INFO,
                )
        elif status.mode in ("Run", "Jog", "Check"):
            exchange.send(protocol.SPOILER)
            exchange.send(protocol.MODES)
            while not exchange.receive().startswith("[GC:"):
                pass
            while exchange.receive() != "ok":
                pass
        self._wco = status.wco


def _nobody_known_yet(exchange: Exchange) -> None:
    """While opening, status reports and the version tell themselves from late answers."""
