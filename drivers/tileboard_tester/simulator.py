"""A tileboard tester with a board on it: chips, pins, converters, triggers and the data client."""

import functools
import threading
from collections.abc import Callable, Mapping

import zmq

from drivers.clock import Clock
from drivers.faults import LineFaults
from drivers.loopback import ZmqReplyEnd
from drivers.tileboard_tester import protocol
from drivers.tileboard_tester.protocol import ProtocolError
from drivers.tileboard_tester.simulated_board import SimulatedBoard
from drivers.tileboard_tester.simulated_runs import SimulatedRuns
from drivers.tileboard_tester.world import (
    FileFault,
    PortName,
    RefusedError,
    TesterFaults,
    TesterSettings,
    TesterWorld,
    TimedWorld,
)

__all__ = [
    "FileFault",
    "TesterFaults",
    "TesterSettings",
    "TesterWorld",
    "TileboardTesterSimulator",
    "TimedWorld",
]


class TileboardTesterSimulator:
    """Serves slow control, fast control and data client on three ZMQ sockets.

    The state outlives every client, and a client that dies between question and answer blocks
    nobody. Triggers come at the menu's rate on ``clock``; the file appears when the last one came
    and the data client was started. ``bias_connected``, ``led_on`` and ``dacs`` may be read at any
    time from any thread.

    Args:
        wires: what goes wrong with the replies of each port, beside ``faults``.
    """

    def __init__(
        self,
        board: TesterWorld,
        clock: Clock,
        *,
        n_rocs: int = 1,
        host: str = "127.0.0.1",
        slow_port: int = 0,
        fast_port: int = 0,
        data_port: int = 0,
        supply_v: float = 10.0,
        led_bias_v: float = 6.0,
        wires: Mapping[PortName, LineFaults] | None = None,
    ) -> None:
        if not 1 <= n_rocs <= protocol.MAX_ROCS:
            raise ValueError(f"n_rocs must be 1..{protocol.MAX_ROCS}, got {n_rocs}")
        self.faults = TesterFaults()
        self.n_rocs = n_rocs
        ports: Mapping[PortName, int] = {"slow": slow_port, "fast": fast_port, "data": data_port}
        self.wires: dict[PortName, LineFaults] = {
            name: (wires or {}).get(name) or LineFaults() for name in ports
        }
        self._ends = {
            name: ZmqReplyEnd(
                functools.partial(self._answer, name),
                name=f"tester {name}",
                host=host,
                port=port,
                faults=self.wires[name],
            )
            for name, port in ports.items()
        }
        self._lock = threading.Lock()
        self._tester = SimulatedBoard(
            board, clock, self.faults, n_rocs=n_rocs, supply_v=supply_v, led_bias_v=led_bias_v
        )
        self._runs = SimulatedRuns(board, clock, self.faults, self._tester, n_rocs=n_rocs)

    @property
    def host(self) -> str:
        return self._ends["slow"].host

    @property
    def slow_port(self) -> int:
        return self._ends["slow"].port

    @property
    def fast_port(self) -> int:
        return self._ends["fast"].port

    @property
    def data_port(self) -> int:
        return self._ends["data"].port

    @property
    def n_channels(self) -> int:
        return self.n_rocs * protocol.CHANNELS_PER_ROC

    @property
    def bias_connected(self) -> tuple[bool, bool]:
        """Whether bias 1 and bias 2 reach their SiPMs."""
        return self._tester.bias_connected

    @property
    def led_on(self) -> bool:
        return self._tester.led_on

    @property
    def dacs(self) -> Mapping[str, int]:
        return self._tester.dacs

    @property
    def acquiring(self) -> bool:
        """Whether triggers are running."""
        return self._runs.acquiring

    def start(self) -> None:
        """Bind the sockets and serve; a second start after a stop uses the same ports.

        Raises:
            zmq.ZMQError: a port is taken.
        """
        started: list[ZmqReplyEnd] = []
        try:
            for end in self._ends.values():
                end.start()
                started.append(end)
        except zmq.ZMQError:
            for end in started:
                end.stop()
            raise

    def stop(self) -> None:
        """Stop serving; the state stays. Does nothing when it is not running."""
        for end in self._ends.values():
            end.stop()
        self._runs.wait_for_thread()

    def _answer(self, name: PortName, parts: list[bytes]) -> list[bytes] | None:
        with self._lock:
            reply = self._reply(name, [part.decode("utf-8", "replace") for part in parts]).encode()
            if _take_one(self.faults.silent, name):
                return None
            if _take_one(self.faults.garbled, name):
                reply = b"{\x7f]: " + reply[::-1]
            return [reply]

    def _reply(self, name: PortName, parts: list[str]) -> str:
        self._runs.finish()
        word, *arguments = parts[0].strip().lower().split()[:4] or [""]
        handlers: Mapping[PortName, Callable[[str, list[str], list[str]], str]] = {
            "slow": self._tester.answer,
            "fast": self._runs.answer_fast,
            "data": self._runs.answer_data,
        }
        try:
            return handlers[name](word, arguments, parts[1:])
        except (RefusedError, ProtocolError) as refusal:
            return f"{protocol.ERROR}: {refusal}"


def _take_one(counts: dict[PortName, int], name: PortName) -> bool:
    left = counts.get(name, 0)
    if left <= 0:
        return False
    counts[name] = left - 1
    return True
