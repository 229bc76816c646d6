"""The simulated GRBL controller as a machine: its axes, outputs, alarms and real-time commands."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping

from drivers.clock import Clock, RealClock
from drivers.faults import LineFaults
from drivers.grbl import protocol
from drivers.grbl.coordinates import Coordinates
from drivers.grbl.gcode import ModalState
from drivers.grbl.protocol import Triple
from drivers.loopback import PtyEnd
from drivers.simulated_axes import Motion

POLL_S = 0.002
WCO_EVERY = {"idle": 10, "busy": 30}
COOLANT_WORDS = {"flood": "M8", "mist": "M7"}
OVERRIDES_EVERY = {"idle": 10, "busy": 20}

Steps = Generator[None, None, None]
"""A line under way: each step ends where the line has to wait for the machine."""


class SimulatedMachine(ABC):
    """Takes bytes and time; real-time commands act at once, lines go to :meth:`_execute`.

    For the arguments see :class:`drivers.grbl.simulator.GrblSimulator`.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        probe: Callable[[], bool] = lambda: False,
        on_output: Callable[[str, bool], None] = lambda name, level: None,
        travel: Triple = (600.0, 400.0, 120.0),
        *,
        on_move: Callable[[Triple], None] = lambda true_mm: None,
        start_mm: Triple = (120.0, 80.0, 60.0),
        settings: Mapping[int, float] | None = None,
        backlash_mm: Triple = (0.0, 0.0, 0.0),
        has_mist: bool = True,
        faults: LineFaults | None = None,
    ) -> None:
        self._clock = clock or RealClock()
        self._probe = probe
        self._on_output = on_output
        self._settings = dict(protocol.DEFAULT_SETTINGS)
        self._settings.update(zip(protocol.TRAVEL, travel, strict=True))
        self._settings.update(settings or {})
        self._coordinates = Coordinates(self._settings)
        self._motion = Motion(travel, start_mm, self._clock.now_s(), on_move, backlash_mm)
        self._lock = threading.RLock()
        self.faults = faults or LineFaults()
        self._end = PtyEnd(self, name="grbl", faults=self.faults)
        self._motion.watched = bool(self._settings[protocol.HARD_LIMITS])
        self._door_open = False
        self._has_mist = has_mist
        self.most_bytes_waiting = 0
        self._unread = bytearray()
        self._outputs = {"flood": False, "mist": False}
        self._power_up()

    def receive(self, data: bytes) -> None:
        with self._lock:
            for byte in data:
                if byte in protocol.REALTIME:
                    self._take_realtime(byte)
                elif len(self._unread) < protocol.RECEIVE_BUFFER_BYTES:
                    self._unread.append(byte)
                    self.most_bytes_waiting = max(self.most_bytes_waiting, len(self._unread))
                    if byte == 0x0A:
                        self._work()
            self._work()

    def advance(self) -> float | None:
        with self._lock:
            self._work()
            return POLL_S if self._motion.busy or self._running is not None else None

    def _power_up(self) -> None:
        self._motion.clear()
        self._motion.limit_hit = None
        self._motion.declare((0.0, 0.0, 0.0))
        self._alarm = bool(self._settings[protocol.HOMING])
        self._restart()

    def _restart(self) -> None:
        """What both power-up and a soft reset do."""
        self._unread.clear()
        self._modal = ModalState()
        self._deaf = False
        self._owes_ok = False
        self._hold: str | None = None
        self._before_door: set[str] = set()
        self._checking = False
        self._homing = False
        self._running: Steps | None = None
        self._status_wanted = 0
        self._wco_countdown = 0
        self._override_countdown = 0
        self._motion.feed_override = 1.0
        self._set_output("flood", on=False)
        self._set_output("mist", on=False)
        self._say("")
        self._say(protocol.BANNER)
        if self._alarm:
            self._say(protocol.MSG_LOCKED)

    def _say(self, line: str) -> None:
        self._end.send(line.encode() + protocol.TERMINATOR)

    def _set_output(self, name: str, *, on: bool) -> None:
        if self._outputs[name] != on:
            self._outputs[name] = on
            self._on_output(name, on)
        if on:
            self._modal.coolant.add(COOLANT_WORDS[name])
        else:
            self._modal.coolant.discard(COOLANT_WORDS[name])

    def _state(self) -> str:
        if self._alarm:
            return "Alarm"
        if self._homing:
            return "Home"
        if self._hold is not None:
            return self._hold
        if self._checking:
            return "Check"
        if self._motion.busy:
            return "Jog" if self._motion.kind == "jog" else "Run"
        return "Idle"

    def _take_realtime(self, byte: int) -> None:
        self._motion.advance(self._clock.now_s())
        character = bytes([byte])
        if character == protocol.SOFT_RESET:
            self._soft_reset()
        elif self._deaf or self._homing:
            if character == protocol.STATUS_REQUEST and self._homing:
                self._status_wanted = 1
        elif character == protocol.STATUS_REQUEST:
            self._report_status()
        elif character in (protocol.FEED_HOLD, protocol.DOOR):
            self._pause("Hold:0" if character == protocol.FEED_HOLD else "Door:0")
        elif character == protocol.RESUME:
            self._resume()
        elif character == protocol.JOG_CANCEL:
            if self._state() == "Jog":
                self._motion.clear()
        elif character in (protocol.FLOOD_TOGGLE, protocol.MIST_TOGGLE):
            name = "flood" if character == protocol.FLOOD_TOGGLE else "mist"
            allowed = name == "flood" or self._has_mist
            if allowed and self._state() in ("Idle", "Run", "Hold:0", "Jog"):
                self._set_output(name, on=not self._outputs[name])
                self._override_countdown = 0
        elif byte in protocol.FEED_OVERRIDES:
            change = protocol.FEED_OVERRIDES[byte]
            percent = round(self._motion.feed_override * 100) + change if change else 100
            self._motion.feed_override = min(200, max(10, percent)) / 100
            self._override_countdown = 0

    def _pause(self, state: str) -> None:
        if self._alarm or self._checking:
            return
        jogging = self._state() == "Jog"
        if jogging:
            self._motion.clear()
        if state.startswith("Door"):
            self._say(protocol.MSG_DOOR)
            # what the outputs switch is cut off, and comes back with the resume
            self._before_door |= {name for name, level in self._outputs.items() if level}
            for name in self._before_door:
                self._set_output(name, on=False)
            self._override_countdown = 0
        elif jogging:
            return
        self._hold = state
        self._motion.paused = True

    def _resume(self) -> None:
        self._hold = None
        self._motion.paused = False
        for name in self._before_door:
            self._set_output(name, on=True)
            self._override_countdown = 0
        self._before_door = set()

    def _soft_reset(self) -> None:
        moving = self._motion.busy and not self._motion.paused
        if self._homing:
            self._raise_alarm(6)
        elif moving and not self._deaf:
            self._raise_alarm(3)
        self._motion.clear()
        self._motion.limit_hit = None
        if self._running is not None or self._owes_ok:
            self._say("ok")
        self._restart()

    def _raise_alarm(self, number: int) -> None:
        self._alarm = True
        self._hold = None
        self._motion.clear()
        self._set_output("flood", on=False)
        self._set_output("mist", on=False)
        self._say(f"ALARM:{number}")
        if number in protocol.LOCKING_ALARMS:
            self._say(protocol.MSG_RESET)
            self._deaf = True

    def _work(self) -> None:
        """Let the machine move and the interpreter go on as far as it can now."""
        self._motion.advance(self._clock.now_s())
        if self._motion.limit_hit is not None and not self._deaf:
            self._raise_alarm(1)
        while not self._deaf and self._hold is None:
            if self._running is None:
                end = min(
                    (at for at in map(self._unread.find, (b"\n", b"\r")) if at >= 0), default=-1
                )
                if end < 0:
                    return
                text = self._unread[:end].decode("latin-1")
                del self._unread[: end + 1]
                self._running = self._execute(text)
            running = self._running
            try:
                next(running)
                return
            except StopIteration:
                if self._running is running:
                    self._running = None
            self._motion.advance(self._clock.now_s())

    def _is_pressed(self, axis: int) -> bool:
        """Whether an axis is on its limit switch; hitting the far end shows there too."""
        true_mm, travel_mm = self._motion.true_mm[axis], self._motion.travel_mm[axis]
        at_low_end = int(self._settings[protocol.HOMING_DIRECTION]) >> axis & 1
        on_it = true_mm <= 1e-6 if at_low_end else true_mm >= travel_mm - 1e-6
        return on_it or self._motion.limit_hit == axis

    def _report_status(self) -> None:
        state = self._state()
        pace = "busy" if state in ("Run", "Hold:0", "Jog", "Door:0") else "idle"
        machine = self._coordinates.on_steps(self._motion.machine)
        offset = self._coordinates.offset(self._modal)
        if int(self._settings[protocol.STATUS_MASK]) & 1:
            fields = [state, f"MPos:{protocol.format_triple(machine)}"]
        else:
            work = (machine[0] - offset[0], machine[1] - offset[1], machine[2] - offset[2])
            fields = [state, f"WPos:{protocol.format_triple(work)}"]
        if int(self._settings[protocol.STATUS_MASK]) & 2:
            free = protocol.RECEIVE_BUFFER_BYTES - len(self._unread)
            fields.append(f"Bf:{protocol.PLANNER_BLOCKS - self._motion.blocks},{free}")
        fields.append(f"FS:{self._motion.speed_mm_per_s * 60:.0f},{self._modal.speed:.0f}")
        pins = "P" if self._probe() else ""
        pins += "".join(letter for axis, letter in enumerate("XYZ") if self._is_pressed(axis))
        if self._door_open:
            pins += protocol.DOOR_PIN
        if pins:
            fields.append(f"Pn:{pins}")
        if self._wco_countdown > 0:
            self._wco_countdown -= 1
        else:
            self._wco_countdown = WCO_EVERY[pace] - 1
            self._override_countdown = self._override_countdown or 1
            fields.append(f"WCO:{protocol.format_triple(offset)}")
        if self._override_countdown > 0:
            self._override_countdown -= 1
        else:
            self._override_countdown = OVERRIDES_EVERY[pace] - 1
            fields.append(f"Ov:{self._motion.feed_override * 100:.0f},100,100")
            letters = "".join(
                protocol.OUTPUT_LETTERS[name] for name, level in self._outputs.items() if level
            )
            if letters:
                fields.append(f"A:{letters}")
        self._say("<" + "|".join(fields) + ">")

    @abstractmethod
    def _execute(self, text: str) -> Steps:
        """Carry out one line and acknowledge it."""
