"""The line: its instruments by role, where things are on it, and its safe state."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock
from drivers.roles import (
    BiasReading,
    BiasSupply,
    BiasSwitch,
    Camera,
    ChargeReadout,
    Chiller,
    ClimateSensor,
    Contact,
    Frame,
    Gantry,
    GlueValve,
    Gripper,
    HumiditySensor,
    LightPulser,
    Scanner,
)
from station.bias_ceiling import BiasCeiling
from station.configuration import calibration_of, instruments_of
from station.frames import FrameWatch
from station.journal import Journal
from station.journaled import journaled
from station.last_known import Carried
from station.observing import derive, eyes, observe
from station.profile import Profile
from station.safe_state import halt, make_safe, step_locks
from station.safety import Interlock, InterlockTrippedError, Snapshot, Trip
from station.safety.looking import Eye
from station.safety.rules import Value
from station.safety.section import SafeStep
from vision.camera import CameraModel

GIVING_WAY_S = 0.05
"""A wait gives way to a stop at least so often."""


class RunAbortedError(Exception):
    """A person stopped the run."""


@dataclass(frozen=True)
class Look:
    """A picture and where its optical axis met the plane in focus, gantry frame."""

    image: NDArray[np.uint8]
    x_mm: float
    y_mm: float
    at: datetime

    def pose(self) -> dict[str, float]:
        return {"x_mm": self.x_mm, "y_mm": self.y_mm}


@dataclass
class Line:
    """Everything a procedure may touch, by role. Procedures know roles, never brands.

    Whoever wants to raise the bias or wait for long does so inside `checkpoint()`.
    """

    profile: Profile
    bias: BiasSupply
    switch: BiasSwitch
    readout: ChargeReadout
    light: LightPulser
    climate: ClimateSensor
    gantry: Gantry
    gripper: Gripper
    camera: Camera
    clock: Clock
    humidity: Mapping[str, HumiditySensor] = field(default_factory=dict)
    chiller: Chiller | None = None
    scanner: Scanner | None = None
    glue_valve: GlueValve | None = None
    contacts: Mapping[str, Contact] = field(default_factory=dict)
    interlock: Interlock = field(default_factory=Interlock)
    frames: FrameWatch = field(default_factory=FrameWatch)
    carried: str | None = None
    """Label of the tile that must hang on the nozzle now; set by who picks and places it."""
    journal: Journal | None = None
    ceiling: BiasCeiling | None = None
    """The highest bias of the part on the line, while a run of one is on."""
    abort_reason: str | None = None
    safe_locks: Mapping[str, threading.Lock] = field(default_factory=step_locks)
    _run_after: tuple[Trip | None] | None = field(default=None, init=False)
    """The latest trip when the run under way began; None while there is no run."""

    def __post_init__(self) -> None:
        camera = self.profile.camera
        self.camera_model = CameraModel(
            width_px=camera.width_px,
            height_px=camera.height_px,
            mm_per_px=camera.mm_per_px,
            rotation_rad=camera.rotation_rad,
            k1=camera.k1_per_mm2,
            mm_per_px_sigma_rel=camera.mm_per_px_sigma_rel,
        )

    def keep_journal(self, journal: Journal) -> None:
        """From now on every physical act is in the journal before it is done."""
        self.journal = journal
        still = self._still_allowed
        self.bias = journaled(self.bias, "bias", journal, still)
        self.switch = journaled(self.switch, "switch", journal, still)
        self.gantry = journaled(self.gantry, "gantry", journal, still)
        self.gripper = journaled(self.gripper, "gripper", journal, still)
        if self.glue_valve is not None:
            self.glue_valve = journaled(self.glue_valve, "glue_valve", journal, still)
        if self.chiller is not None:
            self.chiller = journaled(self.chiller, "chiller", journal, still)

    # -- stopping ----------------------------------------------------------------------------

    def abort(self, reason: str) -> None:
        """Ask the running procedure to stop at its next checkpoint. Thread-safe."""
        self.abort_reason = reason

    def clear_abort(self) -> None:
        self.abort_reason = None

    def begin_run(self) -> None:
        """From now on a trip ends the run, even one that is reset before the run meets it."""
        self._run_after = (self.interlock.latest,)

    def end_run(self) -> None:
        self._run_after = None

    def trip_of_run(self) -> Trip | None:
        """The trip that is latched, or was while the run under way was on."""
        trip = self.interlock.latest
        if self._run_after is not None and trip is not self._run_after[0]:
            return trip
        return self.interlock.tripped

    def _still_allowed(self) -> Callable[[], None]:
        """A check for later: it raises as `checkpoint` when the line was stopped since this call.

        The disk may take long over the intent of an act, and a stop does not wait for it.
        """
        trip, abort_reason = self.interlock.latest, self.abort_reason

        def check() -> None:
            if (new := self.interlock.latest) is not None and new is not trip:
                raise InterlockTrippedError(new.cause)
            if (reason := self.abort_reason) is not None and reason != abort_reason:
                raise RunAbortedError(reason)

        return check

    @contextmanager
    def checkpoint(self) -> Iterator[None]:
        """Around one step that raises the bias, moves or waits.

        Raises RunAbortedError or InterlockTrippedError when the step may not be done.
        """
        if self.abort_reason is not None:
            raise RunAbortedError(self.abort_reason)
        with self.interlock.guard():
            if (trip := self.trip_of_run()) is not None:
                raise InterlockTrippedError(f"{trip.cause} (reset since)")
            yield

    def wait(self, seconds: float) -> None:
        """Wait on the line's clock, giving way to aborts and trips every `GIVING_WAY_S`."""
        left = seconds
        while left > 0:
            with self.checkpoint():
                pass
            step = min(left, GIVING_WAY_S)
            self.clock.sleep(step)
            left -= step

    # -- bias --------------------------------------------------------------------------------

    def switch_bias_on(self) -> None:
        """Program the limits into the supply, then switch its output on at 0 V."""
        limits = self.profile.bias
        self.bias.program_limits(
            max_voltage_v=limits.max_voltage_v, compliance_a=limits.compliance_a
        )
        with self.checkpoint():
            self.switch.connect()
        with self.checkpoint():
            self.bias.switch_on()

    def limit_bias(self, ceiling: BiasCeiling | None) -> None:
        """From now on no set-point above `ceiling` is sent; the runner lifts it after the run."""
        self.ceiling = ceiling

    def check_bias(self, voltage_v: float) -> None:
        """Raises BiasNotAllowedError for a set-point above the ceiling of the part or the line."""
        if self.ceiling is not None:
            self.ceiling.check(voltage_v)
        highest_v = self.profile.bias.max_voltage_v
        BiasCeiling(highest_v, "this line", "max_voltage_v of its profile").check(voltage_v)

    def ramp_bias(self, voltage_v: float) -> None:
        self.check_bias(voltage_v)
        with self.checkpoint():
            pass
        self.bias.ramp_to(
            voltage_v, rate_v_per_s=self.profile.bias.ramp_v_per_s, checkpoint=self.checkpoint
        )

    def bias_down(self) -> BiasReading:
        """Ramp down from whatever the supply says it is at; the reading is taken afterwards.

        At the emergency rate once the interlock has tripped.
        """
        section = self.profile.bias
        emergency = self.interlock.tripped is not None
        return self.bias.ramp_down(
            rate_v_per_s=section.emergency_ramp_v_per_s if emergency else section.ramp_v_per_s
        )

    # -- moving and looking ------------------------------------------------------------------

    def move_over(self, x_mm: float, y_mm: float) -> None:
        """Nozzle over (x, y) at the safe height, approached from below-left: no backlash."""
        gantry, feed = self.profile.gantry, self.profile.gantry.feed_mm_per_min
        with self.checkpoint():
            self.gantry.move_to(z_mm=gantry.safe_z_mm, feed_mm_per_min=feed)
        if gantry.approach_mm > 0:
            with self.checkpoint():
                self.gantry.move_to(
                    x_mm=max(x_mm - gantry.approach_mm, 0.0),
                    y_mm=max(y_mm - gantry.approach_mm, 0.0),
                    feed_mm_per_min=feed,
                )
        with self.checkpoint():
            self.gantry.move_to(x_mm=x_mm, y_mm=y_mm, feed_mm_per_min=feed)

    def lower_to(self, z_mm: float) -> None:
        with self.checkpoint():
            self.gantry.move_to(z_mm=z_mm, feed_mm_per_min=self.profile.gantry.feed_mm_per_min)

    def lift(self) -> None:
        self.lower_to(self.profile.gantry.safe_z_mm)

    def grip(self, tile: Carried) -> None:
        """Switch the vacuum on; `tile` is what lies under the nozzle."""
        if self.journal is not None:
            self.journal.in_hand = tile
        with self.checkpoint():
            self.gripper.grip()

    def release(self) -> None:
        """Let go of whatever is held."""
        self.carried = None
        self.gripper.release()

    def look_at(self, x_mm: float, y_mm: float, *, plane_z_mm: float) -> Look:
        """A picture taken with the optical axis over (x, y) and `plane_z_mm` in focus."""
        camera = self.profile.camera
        self.move_over(x_mm - camera.offset_x_mm, y_mm - camera.offset_y_mm)
        self.lower_to(plane_z_mm + camera.working_distance_mm)
        self.wait(camera.settle_s)
        frame = self._picture(camera.grab_deadline_s)
        self.frames.saw(frame)
        here = self.gantry.position()
        return Look(
            frame.image, here.x_mm + camera.offset_x_mm, here.y_mm + camera.offset_y_mm, frame.at
        )

    def _picture(self, deadline_s: float) -> Frame:
        """A picture. A stop does not wait for a camera that hangs: the grab ends by itself."""
        coming: Future[Frame] = Future()

        def grab() -> None:
            try:
                coming.set_result(self.camera.grab(deadline_s=deadline_s))
            except BaseException as error:  # noqa: BLE001 - it is raised where it is waited for
                coming.set_exception(error)

        threading.Thread(target=grab, name="camera-grab", daemon=True).start()
        while not coming.done():
            with self.checkpoint():
                pass
            wait((coming,), timeout=GIVING_WAY_S)
        return coming.result()

    def tray_slot(self, slot: int) -> tuple[float, float]:
        """Centre of a tray slot, gantry frame (mm)."""
        tray = self.profile.tray
        row, column = divmod(slot, tray.columns)
        return (
            tray.origin_x_mm + column * tray.pitch_mm,
            tray.origin_y_mm + row * tray.pitch_mm,
        )

    # -- state -------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        """Identity of every instrument, for the run's record."""
        return instruments_of(self)

    def calibration(self) -> dict[str, Any]:
        """The constants in use, for the run's record."""
        return calibration_of(self.profile)

    def observe(self) -> Snapshot:
        """Read back every instrument once; an instrument that fails is reported as silent."""
        return observe(self)

    def eyes(self) -> tuple[Eye, ...]:
        """One eye for every role that can be watched."""
        return eyes(self)

    def derive(self, values: dict[str, Value]) -> None:
        """Add to the values of a snapshot what follows from several roles."""
        derive(values, self)

    def make_safe(self) -> tuple[str, ...]:
        """Bring the line to its safe state; returns what could not be verified. Idempotent."""
        return make_safe(self)

    def take_safe_steps(self, steps: Sequence[SafeStep]) -> tuple[str, ...]:
        """Only these steps of the safe state; returns what could not be verified."""
        return make_safe(self, steps)

    def halt(self) -> tuple[str, ...]:
        """Stop the motion at once, then the safe state."""
        return halt(self)
