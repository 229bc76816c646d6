"""The twin's simulators on real transports, and the site profile that leads to them."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from drivers.clock import Clock, RealClock, ScaledClock
from drivers.grbl.protocol import HOMING_SEEK, MAX_RATE
from drivers.grbl.simulator import GrblSimulator
from drivers.keithley.simulator import Keithley2450Simulator
from drivers.opencv_camera.simulator import CameraStreamSimulator
from drivers.tileboard_tester.simulator import TesterSettings, TileboardTesterSimulator
from station.catalogue import load_catalogue
from station.catalogue.board_shape import CHANNELS_PER_ROC
from station.profile import FilesSection, Profile, TwinSection
from station.toml_text import toml_text
from station.twin.hands import HandsServer
from station.twin.world import World

MAX_RATE_MM_PER_MIN = 15000.0
TRAVEL_MM = (1300.0, 800.0, 220.0)
FRAMES_PER_S = 30.0
DAQ = "daq"
WATCHDOG_AFTER_S = 10.0
"""Nothing real burns on the twin, and it often shares a busy machine with its station."""
LID_MATTERS_V = 1.0
"""Set-point up to which the lid may be open, to load a board. The voltage alone would not tell:
above 37 V the supply's own interlock is faster than any look at it."""
SCALE_ERROR_REL = 1e-4
CAMERA_TURN_ERROR_RAD = 5e-5
CAMERA_OFFSET_ERROR_MM = 0.02


@dataclass(frozen=True)
class Twin:
    """A running twin: its world, its simulators, and the profile that a station needs."""

    world: World
    clock: Clock
    profile: Profile
    bias: Keithley2450Simulator
    gantry: GrblSimulator
    camera: CameraStreamSimulator
    tester: TileboardTesterSimulator
    hands: HandsServer
    _closing: ExitStack

    def close(self) -> None:
        self._closing.close()


def start_twin(
    folder: Path,
    *,
    seed: int,
    shape: str,
    speed: float = 1.0,
    first_serial: int = 1,
    on_serial: Callable[[int], object] = lambda serial: None,
    tells_truth: bool = False,
    catalogue_files: tuple[Path, ...] = (),
) -> Twin:
    """Start every simulator of the line and write its profile to `folder`/line.toml.

    on_serial: told the serial number of every board that is loaded.
    speed: how much faster than real time the twin's machines move, ramp and take data.
    catalogue_files: entries beside those of the built-in catalogue; the profile names them.
    The camera's calibration in the profile is off by its stated error, as a real one is.
    Raises `station.events.RefusedError` for a board shape that the catalogue does not have.
    """
    (folder / DAQ).mkdir(parents=True, exist_ok=True)
    clock: Clock = RealClock() if speed == 1 else ScaledClock(speed)
    true_profile = _profile(folder, speed)
    catalogue = load_catalogue(*catalogue_files)
    world = World(
        true_profile,
        catalogue,
        clock,
        seed=seed,
        shape_name=shape,
        first_serial=first_serial,
        on_serial=on_serial,
    )
    with ExitStack() as stack:
        gantry = GrblSimulator(
            clock=clock,
            probe=world.vacuum_switch,
            on_output=world.set_vacuum,
            on_move=world.move_head,
            travel=TRAVEL_MM,
            settings=dict.fromkeys((*MAX_RATE, HOMING_SEEK), MAX_RATE_MM_PER_MIN),
        )
        bias = Keithley2450Simulator(
            world.load_current_a, lambda: world.lid_closed, clock, seed=seed
        )
        camera = CameraStreamSimulator(_Lens(world, gantry).frame, fps=FRAMES_PER_S)
        n_rocs = world.shape.n_rocs
        tester = TileboardTesterSimulator(
            _Bench(world, bias, n_rocs * CHANNELS_PER_ROC), clock, n_rocs=n_rocs
        )
        for simulator in (gantry, bias, camera, tester):
            simulator.start()
            stack.callback(simulator.stop)
        hands = HandsServer(world, tells_truth=tells_truth)
        hands.start()
        stack.callback(hands.finish)
        profile = _calibrated(
            true_profile.model_copy(
                update={
                    "bias": true_profile.bias.model_copy(update={"address": bias.address}),
                    "gantry": true_profile.gantry.model_copy(update={"port": gantry.path}),
                    "camera": true_profile.camera.model_copy(update={"url": camera.address}),
                    "tester": true_profile.tester.model_copy(
                        update={
                            "fast_port": tester.fast_port,
                            "slow_port": tester.slow_port,
                            "data_port": tester.data_port,
                            "n_rocs": n_rocs,
                        }
                    ),
                    "twin": TwinSection(hands=hands.endpoint),
                    "files": FilesSection(
                        catalogue=tuple(str(file.resolve()) for file in catalogue_files)
                    ),
                }
            ),
            np.random.default_rng([seed, 6]),
        )
        (folder / "line.toml").write_text(to_toml(profile))
        return Twin(world, clock, profile, bias, gantry, camera, tester, hands, stack.pop_all())


class _Lens:
    """Lets the head follow the drives before each exposure."""

    def __init__(self, world: World, gantry: GrblSimulator) -> None:
        self._world = world
        self._gantry = gantry

    def frame(self) -> NDArray[np.uint8]:
        self._gantry.true_commanded_position_mm()
        return self._world.frame()


class _Bench:
    """What the tileboard tester measures."""

    def __init__(self, world: World, bias: Keithley2450Simulator, n_channels: int) -> None:
        self._world = world
        self._bias = bias
        self._n_channels = n_channels

    def charges(self, n_events: int, led_on: bool, settings: TesterSettings) -> NDArray[np.float64]:
        return self._world.charges(
            n_events,
            bias_v=self._bias.true_voltage_v() if settings.any_bias_connected else 0.0,
            lit=led_on,
            n_channels=self._n_channels,
        )

    def input_voltage_v(self) -> float:
        return self._bias.true_voltage_v()

    def input_current_a(self) -> float:
        return self._world.load_current_a(self._bias.true_voltage_v())

    def temperatures_c(self) -> list[float]:
        return [self._world.temperature_c()] * 8


def to_toml(profile: Profile) -> str:
    """A profile as the TOML file that `station.settings.load_toml` reads back."""
    return toml_text(profile, comment="Written by the twin: the line that its simulators make.")


def _calibrated(profile: Profile, rng: np.random.Generator) -> Profile:
    """The profile with a camera calibration that is off by its stated errors."""
    camera = profile.camera
    return profile.model_copy(
        update={
            "camera": camera.model_copy(
                update={
                    "mm_per_px": camera.mm_per_px * (1 + float(rng.normal(0, SCALE_ERROR_REL))),
                    "rotation_rad": camera.rotation_rad
                    + float(rng.normal(0, CAMERA_TURN_ERROR_RAD)),
                    "offset_x_mm": camera.offset_x_mm
                    + float(rng.normal(0, CAMERA_OFFSET_ERROR_MM)),
                    "offset_y_mm": camera.offset_y_mm
                    + float(rng.normal(0, CAMERA_OFFSET_ERROR_MM)),
                }
            )
        }
    )


def _profile(folder: Path, speed: float) -> Profile:
    """Where things truly are on the twin's line; addresses are filled in once known."""
    return Profile.model_validate(
        {
            "version": 1,
            "site": {"code": "TWIN", "name": "Simulated site"},
            "station": {"name": "simulated line", "time_scale": speed},
            "bias": {
                "driver": "keithley2450",
                "address": "unknown",
                "max_voltage_v": 45.0,
                "compliance_a": 2e-3,
                "ramp_v_per_s": 5.0,
            },
            "tester": {
                "driver": "tileboard_tester",
                "host": "127.0.0.1",
                "data_folder": str((folder / DAQ).resolve()),
            },
            "gantry": {
                "driver": "grbl",
                "port": "unknown",
                "travel_mm": TRAVEL_MM,
                "feed_mm_per_min": 12000.0,
                "safe_z_mm": 60.0,
            },
            "gripper": {"driver": "grbl_vacuum"},
            "camera": {
                "driver": "opencv",
                "url": "http://unknown",
                "width_px": 1280,
                "height_px": 1024,
                "mm_per_px": 0.06,
                "mm_per_px_sigma_rel": SCALE_ERROR_REL,
                "rotation_rad": 0.003,
                "k1_per_mm2": -2e-6,
                "offset_x_mm": 85.0,
                "offset_y_mm": 0.0,
                "working_distance_mm": 120.0,
            },
            "tray": {
                "origin_x_mm": 130.0,
                "origin_y_mm": 60.0,
                "pitch_mm": 64.0,
                "columns": 10,
                "surface_z_mm": 5.0,
            },
            "board": {"origin_x_mm": 1040.0, "origin_y_mm": 400.0, "surface_z_mm": 8.0},
            "target": {
                "origin_x_mm": 770.0,
                "origin_y_mm": 100.0,
                "surface_z_mm": 6.0,
                "pitch_mm": 5.0,
                "pitch_sigma_rel": 2e-5,
                "dot_sigma_mm": 1e-3,
                "columns": 11,
                "rows": 11,
                "pad_mm": (812.0, 100.0),
            },
            "safety": {
                "max_current_a": 1.5e-3,
                "max_temperature_c": 40.0,
                "silent_after_s": 10.0,
                "poll_s": 0.5,
                "watchdog_after_s": WATCHDOG_AFTER_S,
                "rules": (
                    {
                        "name": "lid-open",
                        "watch": "contact.lid.closed",
                        "equals": False,
                        "when": ({"watch": "bias.set_v", "magnitude_above": LID_MATTERS_V},),
                    },
                ),
            },
            "contacts": ({"name": "lid", "driver": "bias_interlock"},),
        }
    )
