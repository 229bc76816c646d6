"""A GRBL 1.1h controller with three axes behind a pseudo-terminal."""

from drivers.gantry_moves import AXES
from drivers.grbl import protocol
from drivers.grbl.protocol import Triple
from drivers.grbl.simulated_lines import LineInterpreter


class GrblSimulator(LineInterpreter):
    """A gantry controller on the pseudo-terminal ``path``.

    It keeps its state (position, outputs, offsets, alarms) when a client goes and another one
    comes. Not simulated: arcs, probing moves, parking, accelerations.

    Args:
        probe: level of the probe input (the vacuum switch).
        on_output: called with ``flood`` or ``mist`` and the new level when an output changes.
        travel: length of the axes in mm.
        on_move: called with the true position at the end of every move, and wherever else the
            motion is looked at.
        start_mm: where the axes really are at power-up, 0 to ``travel``.
        settings: values of ``$`` settings that differ from the defaults.
        backlash_mm: play of the axes.
        has_mist: whether the firmware was built with the second output (M7).
        faults: what goes wrong on the line.
    """

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
            self._motion.advance(self._clock.now_s())
            return self._motion.true_mm

    def output(self, name: str) -> bool:
        """The level of ``flood`` or ``mist``, for tests and the twin."""
        with self._lock:
            return self._outputs[name]

    def lose_steps(self, axis: str, lost_mm: float) -> None:
        """Let an axis slip without the controller knowing."""
        with self._lock:
            self._motion.lose_steps(AXES.index(axis), lost_mm)

    def stick(self, axis: str) -> None:
        """Let an axis jam: the controller counts on, the axis stays."""
        with self._lock:
            self._motion.advance(self._clock.now_s())
            self._motion.stuck.add(AXES.index(axis))

    def free(self, axis: str) -> None:
        with self._lock:
            self._motion.advance(self._clock.now_s())
            self._motion.stuck.discard(AXES.index(axis))

    def power_cycle(self) -> None:
        """Switch the controller off and on: stored settings stay, everything else goes."""
        with self._lock:
            self._motion.advance(self._clock.now_s())
            self._power_up()

    def open_door(self) -> None:
        """The safety door opens: its input tells, and the machine holds."""
        with self._lock:
            self._door_open = True
            self._take_realtime(protocol.DOOR[0])

    def close_door(self) -> None:
        """The door closes; a person must resume."""
        with self._lock:
            self._door_open = False

    def brown_out(self) -> None:
        """A dip of the supply: as a power cycle, in the middle of whatever is under way."""
        self.power_cycle()
