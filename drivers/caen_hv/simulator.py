"""A CAEN high-voltage supply on a pseudo-terminal and a TCP socket, each channel with a load."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from drivers.caen_hv import protocol
from drivers.caen_hv.channel_machine import ChannelMachine, SetRefused
from drivers.caen_hv.protocol import Family
from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.loopback import SocketEnd
from drivers.output_stage import Load
from drivers.pty_lines import PtyLines

_COMMAND = re.compile(r"\$(?:BD:(\d{1,2}),)?CMD:([A-Z]+)(?:,CH:(\d+))?,PAR:(\w+)(?:,VAL:([^,]*))?")


@dataclass(frozen=True)
class BoardSetup:
    """One board of a simulated supply.

    Attributes:
        model: what BDNAME tells; decides the family.
        number: its number in the chain; None for families without numbers.
        loads: what hangs on each channel.
        polarity: ``+`` or ``-``.
    """

    model: str = "N1470"
    number: int | None = 0
    loads: Sequence[Load] = (lambda v: 1e-8 * v,)
    serial: str = "00312"
    firmware: str = "1.12"
    polarity: str = "+"


class _Board:
    def __init__(self, setup: BoardSetup, clock: Clock, temperature_c: Callable[[], float]) -> None:
        family = protocol.family_of(setup.model)
        assert family is not None
        self.setup = setup
        self.family: Family = family
        self.local = False
        self.interlock_open = False
        self.channels = [
            ChannelMachine(family, load, clock, setup.polarity, temperature_c)
            for load in setup.loads
        ]


class CaenHvSimulator:
    """One board, or a chain of boards, that answers on ``address`` (serial) or ``tcp_address``.

    Its state outlives its clients. Channels are named by (board number, channel).

    Args:
        boards: what is in the chain.
        temperature_c: of the boards; above 105 C an N1470 switches off, a DT55xx at 125 C.
        faults: what happens to the replies.
    """

    def __init__(
        self,
        boards: Sequence[BoardSetup] = (BoardSetup(),),
        clock: Clock | None = None,
        *,
        temperature_c: Callable[[], float] = lambda: 35.0,
        faults: LineFaults | None = None,
    ) -> None:
        clock = clock or RealClock()
        self._lock = threading.RLock()
        self._boards: Mapping[int | None, _Board] = {
            setup.number: _Board(setup, clock, temperature_c) for setup in boards
        }
        self.faults = faults or LineFaults()
        self._serial = PtyLines(self._answer_line, name="caen-hv", faults=self.faults)
        self._tcp = SocketEnd(self._answer_line, name="caen-hv-tcp", faults=self.faults)

    @property
    def address(self) -> str:
        """The device path; known once started."""
        return self._serial.path

    @property
    def tcp_address(self) -> str:
        """The VISA address; known once started."""
        return f"TCPIP::{self._tcp.host}::{self._tcp.port}::SOCKET"

    def start(self) -> None:
        self._serial.start()
        self._tcp.start()

    def stop(self) -> None:
        self._serial.stop()
        self._tcp.stop()

    def channel(self, board: int | None = 0, channel: int = 0) -> ChannelMachine:
        """The true channel, for tests, the twin, and a hand at the front panel."""
        return self._boards[board].channels[channel]

    def set_local(self, local: bool, board: int | None = 0) -> None:
        """Turn the switch at the front panel."""
        with self._lock:
            self._boards[board].local = local

    def open_interlock(self, is_open: bool, board: int | None = 0) -> None:
        with self._lock:
            self._boards[board].interlock_open = is_open
            for channel in self._boards[board].channels:
                channel.hold_off("ILK", hold=is_open)

    def kill(self, board: int | None = 0) -> None:
        """A pulse on the kill input."""
        with self._lock:
            for channel in self._boards[board].channels:
                channel.switch_off("KILL")

    def power_cycle(self) -> None:
        """Everything off; the settings are back to those of a new supply."""
        with self._lock:
            for board in self._boards.values():
                for channel in board.channels:
                    channel.reset()

    def press_output_button(self) -> None:
        """Toggle the first channel at the front panel."""
        with self._lock:
            first = next(iter(self._boards.values())).channels[0]
            first.order("OFF" if first.output_is_on() else "ON", "")

    def output_is_on(self) -> bool:
        """Whether any channel is on in truth."""
        with self._lock:
            return any(c.output_is_on() for b in self._boards.values() for c in b.channels)

    def true_voltage_v(self) -> float:
        """At the terminals of the first channel now."""
        with self._lock:
            return next(iter(self._boards.values())).channels[0].true_voltage_v()

    def _answer_line(self, line: bytes) -> bytes | None:
        match = _COMMAND.fullmatch(line.decode("latin-1").strip())
        with self._lock:
            if match is None:
                board = next(iter(self._boards.values()))
                return self._reply(board, "CMD:ERR") if not board.family.addressed else None
            number = None if match[1] is None else int(match[1])
            found = self._boards.get(number)
            if found is None:
                # nobody in the chain has this number
                return None
            try:
                value = self._execute(found, match)
            except SetRefused as refused:
                return self._reply(found, f"{refused.kind}:ERR")
            return self._reply(found, "CMD:OK" + ("" if value is None else f",VAL:{value}"))

    def _reply(self, board: _Board, words: str) -> bytes:
        head = f"BD:{board.setup.number:02d}," if board.family.addressed else ""
        return f"#{head}{words}".encode() + protocol.TERMINATOR

    def _execute(self, board: _Board, match: re.Match[str]) -> str | None:
        command, channel, parameter, value = match[2], match[3], match[4], match[5]
        if command not in ("MON", "SET"):
            raise SetRefused("CMD")
        if command == "SET" and board.local:
            raise SetRefused("LOC")
        if parameter.startswith("BD"):
            return self._of_board(board, command, parameter)
        number = int(channel or 0)
        if (channel is not None) != board.family.has_channels or number >= len(board.channels):
            raise SetRefused("CH")
        if command == "MON":
            return board.channels[number].monitor(parameter)
        board.channels[number].order(parameter, value or "")
        return None

    def _of_board(self, board: _Board, command: str, parameter: str) -> str | None:
        if command == "SET" and parameter == protocol.BOARD_CLEAR:
            for channel in board.channels:
                channel.clear()
            return None
        values = {
            protocol.BOARD_NAME: board.setup.model,
            protocol.BOARD_SERIAL: board.setup.serial,
            protocol.BOARD_FIRMWARE: board.setup.firmware,
            protocol.BOARD_CHANNELS: str(len(board.channels)),
            protocol.BOARD_ALARM: f"{self._alarms(board):05d}",
            protocol.BOARD_INTERLOCK: "YES" if board.interlock_open else "NO",
        }
        if board.family.tells_control:
            values[protocol.BOARD_CONTROL] = protocol.LOCAL if board.local else protocol.REMOTE
        if command == "SET" or parameter not in values:
            raise SetRefused("PAR")
        if parameter == protocol.BOARD_SERIAL:
            return self.faults.identity(values[parameter])
        return values[parameter]

    def _alarms(self, board: _Board) -> int:
        alarms = 0
        for number, channel in enumerate(board.channels):
            troubled = channel.flags() - {"ON", "RUP", "RDW", "OVV", "UNV"}
            if board.family.addressed:
                alarms |= bool(troubled) << number
            else:
                alarms |= sum(bit for bit, name in board.family.alarms.items() if name in troubled)
        return alarms
