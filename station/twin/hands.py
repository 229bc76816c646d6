"""The twin's pair of hands and its scanner: what people do at a real line.

One request-reply socket with JSON: {"do": task} -> {"ok": text} or {"refused": reason}. Tasks are
`load`, `unload`, `wrap`, `clean_pad`, `replace:SLOT`, the scans `scan_board`, `scan_module` and
`scan_tray`, `ping`, and `belong:PID` by which a station takes over a twin. `truth` is answered only
when the twin was told to (tests).
"""

import json
import threading
from collections.abc import Callable
from typing import Any

import zmq

from drivers.errors import InstrumentError
from drivers.transport import ZmqTransport
from station.events import RefusedError
from station.twin.world import World

POLL_MS = 100
DEADLINE_S = 10.0


class HandsServer(threading.Thread):
    """Serves one world. `endpoint` is known once `start` has returned."""

    def __init__(self, world: World, *, tells_truth: bool, host: str = "127.0.0.1") -> None:
        super().__init__(name="twin-hands", daemon=True)
        self._world = world
        self._tells_truth = tells_truth
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.REP)
        self._socket.setsockopt(zmq.LINGER, 0)
        port: int = self._socket.bind_to_random_port(f"tcp://{host}")
        self.endpoint = f"tcp://{host}:{port}"
        self._finish = threading.Event()
        self.station_pid: int | None = None
        """Process of the station that this twin belongs to; without one it goes."""

    def run(self) -> None:
        while not self._finish.is_set():
            if self._socket.poll(POLL_MS):
                self._socket.send_json(self._answer(self._socket.recv()))
        self._socket.close()

    def finish(self) -> None:
        self._finish.set()
        self.join()

    def _answer(self, request: bytes) -> dict[str, Any]:
        try:
            task = json.loads(request)["do"]
        except (ValueError, KeyError, TypeError):
            return {"refused": f"not a task: {request[:80]!r}"}
        name, _, argument = str(task).partition(":")
        if name == "truth" and not self._tells_truth:
            return {"refused": "this twin keeps its truth to itself"}
        try:
            step = self._tasks(argument)[name]
        except KeyError:
            return {"refused": f"unknown task {task!r}"}
        try:
            return {"ok": step()}
        except (RefusedError, ValueError) as error:
            return {"refused": str(error)}

    def _belong_to(self, pid: int) -> None:
        self.station_pid = pid

    def _tasks(self, argument: str) -> dict[str, Callable[[], Any]]:
        world = self._world
        return {
            "ping": lambda: "here",
            "belong": lambda: self._belong_to(int(argument)),
            "load": world.load,
            "unload": world.unload,
            "wrap": world.wrap,
            "clean_pad": world.clean_pad,
            "replace": lambda: world.swap(int(argument)),
            "scan_board": world.scan_board,
            "scan_module": world.scan_module,
            "scan_tray": world.scan_tray,
            "truth": world.truth,
        }


class TwinHands:
    """Client of a `HandsServer`."""

    def __init__(self, endpoint: str) -> None:
        self._transport = ZmqTransport(endpoint)
        self._endpoint = endpoint

    def do(self, task: str) -> Any:
        """Have a task done; returns what was scanned. Raises RefusedError with the reason."""
        request = json.dumps({"do": task})
        reply = json.loads(self._transport.request([request], deadline_s=DEADLINE_S)[0])
        if "refused" in reply:
            raise RefusedError(f"{task}: {reply['refused']}")
        return reply["ok"]

    def alive(self) -> bool:
        try:
            request = json.dumps({"do": "ping"})
            self._transport.request([request], deadline_s=2.0)
        except InstrumentError:
            return False
        return True

    def close(self) -> None:
        self._transport.close()
