"""The world of the twin: where everything truly is, and what the instruments see of it.

Every method may be called from any simulator's thread.
"""

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.sipm.simulate import current_a, gain, simulate_charges
from drivers.clock import Clock
from station.catalogue import BoardShape, Catalogue
from station.events import RefusedError
from station.profile import Profile
from station.tray import format_tray_map
from station.twin.target import Target
from station.twin.truth import (
    BoardTruth,
    ChannelTruth,
    TileTruth,
    as_data,
    good_again,
    make_board,
    make_tray,
)
from station.twin.view import Place, TileSomewhere, View, to_gantry
from vision.render import Scene, expose, render_clean

BACKLASH_MM = (0.04, 0.03, 0.01)
SLOT_CLEARANCE_MM = 0.3
SLOT_TURN_SD_RAD = 0.0008
SLIP_SD_MM = 0.006
CONTACT_MM = (-0.5, 0.4)
"""The sprung nozzle holds a tile when its tip is this far from the tile's top."""
LIGHT_WITHOUT_TILE = 0.25
AMBIENT_C = 23.0
LEAK_A_PER_V = 2.0e-10


class World:
    """State of the line behind the instruments. `seed` fixes every tile, board and error."""

    def __init__(
        self,
        profile: Profile,
        catalogue: Catalogue,
        clock: Clock,
        *,
        seed: int,
        shape_name: str,
        first_serial: int = 1,
        on_serial: Callable[[int], object] = lambda serial: None,
    ) -> None:
        if shape_name not in catalogue.board_shapes:
            raise RefusedError(f"the catalogue has no board shape {shape_name!r}")
        self._profile = profile
        self._catalogue = catalogue
        self._clock = clock
        self._seed = seed
        self._shape = catalogue.board_shapes[shape_name]
        self._serial = first_serial - 1
        self._on_serial = on_serial
        self._boards_loaded = 0
        self._lock = threading.RLock()
        self._noise = np.random.default_rng([seed, 1])
        self._events = np.random.default_rng([seed, 2])
        self._handling = np.random.default_rng([seed, 3])
        self._board: BoardTruth | None = None
        self._tray: dict[int, TileSomewhere] = {}
        self._placed: list[TileSomewhere] = []
        self._held: tuple[TileSomewhere, float, float] | None = None
        self._vacuum = False
        self._leaking = False
        self._spares = 0
        self._retired: list[TileTruth] = []
        self._head = [0.0, 0.0, 0.0]
        self._view = View(
            profile,
            self._shape,
            catalogue.tile_formats[self._shape.positions[0].format_code].dimple.diameter_mm,
            seed,
        )
        self._target = Target(profile.target, seed=seed) if profile.target else None
        self._clean: tuple[Scene, NDArray[np.float32]] | None = None
        self._led_run: dict[str, Any] = {}
        self.lid_closed = True
        self.extra_heat_k = 0.0
        self.extra_load_a = 0.0
        self.lamp = 1.0

    # -- hands -------------------------------------------------------------------------------

    def load(self) -> None:
        """Put the next board in its fixture and a tray of bare tiles for it in place."""
        with self._lock:
            if self._board is not None:
                raise RefusedError("there is a board in the fixture already")
            self._serial += 1
            self._on_serial(self._serial)
            self._boards_loaded += 1
            rng = np.random.default_rng([self._seed, 4, self._boards_loaded])
            self._board = make_board(rng, self._shape, self._serial)
            tray = make_tray(rng, self._catalogue, self._shape, self._serial * 200)
            self._spares = self._serial * 200 + 150
            self._tray = {slot: self._in_slot(slot, tile, rng) for slot, tile in tray.items()}
            self._placed = []

    def unload(self) -> None:
        with self._lock:
            self._board = None
            self._tray = {}
            self._placed = []

    def wrap(self) -> None:
        """Wrap every bare tile of the tray and put it back where it was."""
        with self._lock:
            self._tray = {
                slot: replace(there, wrapped=True, top_z_mm=there.top_z_mm + 2 * there.tile.foil_mm)
                if not there.wrapped
                else there
                for slot, there in self._tray.items()
            }

    def clean_pad(self) -> None:
        """Wipe the nozzle's prints off the pad of the calibration target."""
        with self._lock:
            if self._target is not None:
                self._target.wipe()

    def swap(self, slot: int) -> None:
        """Take the tile out of a slot and put a good one of the same format there."""
        with self._lock:
            if slot not in self._tray:
                raise RefusedError(f"there is no tile in slot {slot}")
            tile_format = self._catalogue.tile_formats[self._tray[slot].tile.format_code]
            self._retired.append(self._tray[slot].tile)
            tile = good_again(self._handling, tile_format, self._spares)
            self._spares += 1
            self._tray[slot] = self._in_slot(slot, tile, self._handling)

    def put_all_in_place(self) -> None:
        """Put every tile of the tray over its SiPM, as a perfect line would."""
        with self._lock:
            assert self._board is not None
            place = self._board_place(self._board)
            for slot, there in self._tray.items():
                position = self._shape.positions[slot]
                x, y = to_gantry(place, position.x_mm, position.y_mm)
                self._placed.append(
                    replace(
                        there,
                        x_mm=x,
                        y_mm=y,
                        rotation_rad=position.rotation_rad + place[2],
                        top_z_mm=self._profile.board.surface_z_mm + self._thickness(there),
                    )
                )
            self._tray = {}

    def push(self, slot: int, *, dx_mm: float, dy_mm: float) -> None:
        """Fault: a tile lies beside its place in the slot."""
        with self._lock:
            there = self._tray[slot]
            self._tray[slot] = replace(there, x_mm=there.x_mm + dx_mm, y_mm=there.y_mm + dy_mm)

    def take_away(self, slot: int) -> None:
        """Fault: somebody takes a tile out of the tray and tells nobody."""
        with self._lock:
            del self._tray[slot]

    def scan_board(self) -> str:
        """Label of the board in the fixture; empty when there is none."""
        with self._lock:
            return self._board.board_label if self._board else ""

    def scan_module(self) -> str:
        with self._lock:
            return self._board.module_label if self._board else ""

    def scan_tray(self) -> str:
        with self._lock:
            return format_tray_map(
                {
                    slot: there.tile.wrapped_label if there.wrapped else there.tile.bare_label
                    for slot, there in self._tray.items()
                }
            )

    # -- gantry and gripper ------------------------------------------------------------------

    def move_head(self, commanded_mm: tuple[float, float, float]) -> None:
        """The drives turned to `commanded_mm`; the head follows with the play of its screws."""
        with self._lock:
            for axis, (at, play) in enumerate(zip(commanded_mm, BACKLASH_MM, strict=True)):
                low, high = at - play / 2, at + play / 2
                self._head[axis] = min(max(self._head[axis], low), high)
            if self._target is not None:
                self._target.touch(*self.head_mm())

    def head_mm(self) -> tuple[float, float, float]:
        with self._lock:
            return (self._head[0], self._head[1], self._head[2])

    def set_vacuum(self, output: str, switched_on: Any) -> None:
        """Vacuum valve ("flood") switched; a tile under the nozzle is held or let go."""
        if output != "flood":
            return
        with self._lock:
            self._vacuum = bool(switched_on)
            self._leaking = False
            if self._vacuum:
                self._try_to_hold()
            elif self._held is not None:
                self._let_go()

    def vacuum_switch(self) -> bool:
        """What the vacuum switch says: the nozzle is closed by something."""
        with self._lock:
            if self._vacuum and self._held is None and not self._leaking:
                self._try_to_hold()
            return self._vacuum and self._held is not None

    def kill_channel(self, channel: int) -> None:
        """Fault: one SiPM gets no bias."""
        with self._lock:
            assert self._board is not None
            self._board = replace(
                self._board,
                channels=tuple(
                    replace(c, defect="dead") if c.channel == channel else c
                    for c in self._board.channels
                ),
            )

    def drop(self) -> None:
        """Fault: the held tile falls and is gone."""
        with self._lock:
            self._held = None
            self._leaking = True

    def _try_to_hold(self) -> None:
        x, y, z = self._head
        for tiles in (self._tray, dict(enumerate(self._placed))):
            for key, there in tiles.items():
                if CONTACT_MM[0] <= z - there.top_z_mm <= CONTACT_MM[1] and there.covers(x, y):
                    slip = self._handling.normal(0, SLIP_SD_MM, 2)
                    self._held = (
                        there,
                        there.x_mm - x + float(slip[0]),
                        there.y_mm - y + float(slip[1]),
                    )
                    if tiles is self._tray:
                        del self._tray[key]
                    else:
                        del self._placed[key]
                    return

    def _let_go(self) -> None:
        assert self._held is not None
        there, dx, dy = self._held
        self._held = None
        x, y, z = self._head
        slot = self._slot_under(x + dx, y + dy)
        thickness = self._thickness(there)
        if slot is not None and z - thickness <= self._profile.tray.surface_z_mm + 2:
            surface = self._profile.tray.surface_z_mm
            self._tray[slot] = replace(
                there, x_mm=x + dx, y_mm=y + dy, top_z_mm=surface + thickness
            )
        else:
            surface = self._profile.board.surface_z_mm
            self._placed.append(
                replace(there, x_mm=x + dx, y_mm=y + dy, top_z_mm=surface + thickness)
            )

    def _thickness(self, there: TileSomewhere) -> float:
        bare = self._catalogue.tile_formats[there.tile.format_code].thickness_mm
        return bare + (2 * there.tile.foil_mm if there.wrapped else 0.0)

    def _slot_xy(self, slot: int) -> tuple[float, float]:
        tray = self._profile.tray
        row, column = divmod(slot, tray.columns)
        return (
            tray.origin_x_mm + column * tray.pitch_mm,
            tray.origin_y_mm + row * tray.pitch_mm,
        )

    def _slot_under(self, x: float, y: float) -> int | None:
        for slot in range(self._shape.n_channels):
            sx, sy = self._slot_xy(slot)
            half = self._profile.tray.pitch_mm / 2
            if abs(x - sx) < half and abs(y - sy) < half and slot not in self._tray:
                return slot
        return None

    def _in_slot(self, slot: int, tile: TileTruth, rng: np.random.Generator) -> TileSomewhere:
        x, y = self._slot_xy(slot)
        turn = float(np.clip(rng.normal(0, SLOT_TURN_SD_RAD), -0.002, 0.002))
        return TileSomewhere(
            tile,
            False,
            x + float(rng.uniform(-SLOT_CLEARANCE_MM, SLOT_CLEARANCE_MM)),
            y + float(rng.uniform(-SLOT_CLEARANCE_MM, SLOT_CLEARANCE_MM)),
            self._shape.positions[slot].rotation_rad + turn,
            self._profile.tray.surface_z_mm
            + self._catalogue.tile_formats[tile.format_code].thickness_mm,
        )

    # -- camera ------------------------------------------------------------------------------

    def frame(self) -> NDArray[np.uint8]:
        """What the camera sees now: uint8 (h, w)."""
        with self._lock:
            board = (self._board, self._board_place(self._board)) if self._board else None
            scene = self._view.scene(
                self.head_mm(),
                (*self._tray.values(), *self._placed),
                board,
                lamp=self.lamp,
                target=self._target,
            )
            if self._clean is None or self._clean[0] != scene:
                self._clean = (scene, render_clean(scene, self._view.camera()))
            return expose(self._clean[1], self._noise, sensor=scene.sensor)

    def _board_place(self, board: BoardTruth) -> Place:
        place = self._profile.board
        return (
            place.origin_x_mm + board.offset_mm[0],
            place.origin_y_mm + board.offset_mm[1],
            board.rotation_rad,
        )

    # -- bias and readout --------------------------------------------------------------------

    def temperature_c(self) -> float:
        """Temperature of the board: the room with its slow swing."""
        swing = 0.4 * math.sin(2 * math.pi * self._clock.now_s() / 3600)
        return AMBIENT_C + swing + self.extra_heat_k

    def load_current_a(self, voltage_v: float) -> float:
        """Current of all SiPMs of the board at a voltage; below zero volts they conduct."""
        with self._lock:
            if self._board is None:
                return LEAK_A_PER_V * voltage_v + self.extra_load_a
            if voltage_v <= 0:
                return 1e-3 * voltage_v
            temperature = self.temperature_c()
            return (
                self.extra_load_a
                + LEAK_A_PER_V * voltage_v
                + float(
                    sum(current_a(c.sipm, voltage_v, temperature) for c in self._board.channels)
                )
            )

    def charges(
        self, n_events: int, *, bias_v: float, lit: bool, n_channels: int
    ) -> NDArray[np.float64]:
        """ADC values (n_channels, n_events) of one run, neither rounded nor clipped."""
        with self._lock:
            rng = np.random.default_rng([self._seed, 5, int(self._events.integers(2**31))])
            adc = rng.normal(95.0, 1.5, (n_channels, n_events))
            if self._board is None:
                return adc
            temperature = self.temperature_c()
            self._led_run = {
                "bias_v": bias_v,
                "temperature_c": temperature,
                "gain": {
                    c.channel: gain(c.sipm, bias_v, temperature) for c in self._board.channels
                },
            }
            for channel in self._board.channels:
                adc[channel.channel] = simulate_charges(
                    rng,
                    channel.sipm,
                    bias_v=0.0 if channel.defect == "dead" else bias_v,
                    temperature_c=temperature,
                    mean_photons=self._photons(channel) if lit else 0.0,
                    n_events=n_events,
                    pedestal_adc=channel.pedestal_adc,
                    noise_adc=channel.noise_adc,
                )
            return adc

    def _photons(self, channel: ChannelTruth) -> float:
        assert self._board is not None
        x, y = to_gantry(self._board_place(self._board), *channel.sipm_mm)
        covered = any(there.covers(x, y) for there in self._placed)
        return channel.mean_photons * (1.0 if covered else LIGHT_WITHOUT_TILE)

    # -- truth, for tests --------------------------------------------------------------------

    def truth(self) -> dict[str, Any]:
        """Everything that is true now, as plain data; gains (ADC/p.e.) are those of the last run
        of the readout, at its bias and temperature."""
        with self._lock:
            return {
                "board": as_data(self._board) if self._board else None,
                "led_run": self._led_run,
                "tray": {slot: as_data(there.tile) for slot, there in self._tray.items()},
                "retired": [as_data(tile) for tile in self._retired],
                "placed": self._placed_truth(),
                "placed_tiles": [as_data(there.tile) for there in self._placed],
                "held": as_data(self._held[0].tile) if self._held else None,
            }

    def _placed_truth(self) -> dict[str, Mapping[str, float]]:
        """Label -> true dimple minus SiPM, along the board's axes (mm)."""
        if self._board is None:
            return {}
        place = self._board_place(self._board)
        offsets: dict[str, Mapping[str, float]] = {}
        for there in self._placed:
            dimple = to_gantry((there.x_mm, there.y_mm, there.rotation_rad), *there.tile.dimple_mm)
            sipms = [to_gantry(place, *c.sipm_mm) for c in self._board.channels]
            nearest = min(sipms, key=lambda s: math.dist(s, dimple))
            dx, dy = dimple[0] - nearest[0], dimple[1] - nearest[1]
            c, s = math.cos(place[2]), math.sin(place[2])
            offsets[there.tile.wrapped_label] = {
                "x_mm": c * dx + s * dy,
                "y_mm": -s * dx + c * dy,
            }
        return offsets

    @property
    def shape(self) -> BoardShape:
        return self._shape
