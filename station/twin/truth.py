"""What is true in the twin: sizes of tiles, SiPM parameters of boards, and their few defects.

Populations: breakdown voltage and gain slope spread as in one production of 2 300 devices (sd
29 mV and 0.57 %, ePIC LFHCal quality-assurance files); the rest are the twin's own choices.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from analysis.sipm.simulate import SiPMTruth
from station.catalogue import BoardShape, Catalogue, TileFormat, format_label
from station.catalogue.polygon import Points, trapezoid
from station.catalogue.tile_format import offset_trapezoid
from vision.render import CornerChip, EdgeChip

TileDefect = Literal["none", "oversize", "undersize", "dimple", "chip"]
ChannelDefect = Literal["none", "high breakdown", "dead"]

SIZE_SD_OF_TOLERANCE = 0.15
SIZE_LIMIT_OF_TOLERANCE = 0.5
DIMPLE_SD_MM = 0.02
FOIL_SD_MM = 0.008
SIPM_SD_MM = 0.025
BAD_TILES_PER_TRAY = 2.0
BAD_CHANNELS_PER_BOARD = 0.7


@dataclass(frozen=True)
class TileTruth:
    """One tile: true bare sizes (mm), dimple (mm, tile frame), chips, foil (mm per side)."""

    bare_label: str
    wrapped_label: str
    format_code: str
    inner_width_mm: float
    outer_width_mm: float
    height_mm: float
    dimple_mm: tuple[float, float]
    foil_mm: float
    chips: tuple[EdgeChip | CornerChip, ...]
    defect: TileDefect
    seed: int

    def corners_mm(self) -> Points:
        return trapezoid(self.inner_width_mm, self.outer_width_mm, self.height_mm)

    def wrapped_corners_mm(self) -> Points:
        return trapezoid(
            *offset_trapezoid(
                self.inner_width_mm, self.outer_width_mm, self.height_mm, self.foil_mm
            )
        )


@dataclass(frozen=True)
class ChannelTruth:
    """One channel of a board: its SiPM, its electronics, its light, its place (mm, board frame)."""

    channel: int
    sipm: SiPMTruth
    pedestal_adc: float
    noise_adc: float
    mean_photons: float
    sipm_mm: tuple[float, float]
    defect: ChannelDefect


@dataclass(frozen=True)
class BoardTruth:
    """A board and where it truly lies: offset from its nominal place, gantry frame."""

    board_label: str
    module_label: str
    shape_name: str
    channels: tuple[ChannelTruth, ...]
    offset_mm: tuple[float, float]
    rotation_rad: float


def make_tile(
    rng: np.random.Generator, tile_format: TileFormat, serial: int, defect: TileDefect
) -> TileTruth:
    """A tile within half of its tolerance, or one with the planted defect."""
    tolerance = tile_format.tolerances.size_mm
    spread = np.clip(
        rng.normal(0, SIZE_SD_OF_TOLERANCE * tolerance, 3),
        -SIZE_LIMIT_OF_TOLERANCE * tolerance,
        SIZE_LIMIT_OF_TOLERANCE * tolerance,
    )
    beyond = float(rng.uniform(0.04, 0.12))
    if defect == "oversize":
        spread[int(rng.integers(3))] = tolerance + beyond
    elif defect == "undersize":
        spread[int(rng.integers(3))] = -tolerance - beyond
    nominal = tile_format.dimple
    dimple = np.array([nominal.x_mm, nominal.y_mm]) + rng.normal(0, DIMPLE_SD_MM, 2)
    if defect == "dimple":
        angle = rng.uniform(0, 2 * np.pi)
        shift = tile_format.tolerances.dimple_mm + rng.uniform(0.2, 0.5)
        axis = int(abs(np.sin(angle)) > abs(np.cos(angle)))
        dimple[axis] += shift * (1 if rng.random() < 0.5 else -1)
    chips: tuple[EdgeChip | CornerChip, ...] = ()
    if defect == "chip":
        chips = (
            EdgeChip(
                edge=int(rng.integers(4)),
                along=float(rng.uniform(0.25, 0.75)),
                width_mm=float(rng.uniform(2.0, 4.0)),
                depth_mm=float(rng.uniform(0.5, 1.0)),
            ),
        )
    return TileTruth(
        format_label("BC", tile_format.code, serial),
        format_label("TC", tile_format.code, serial),
        tile_format.code,
        tile_format.inner_width_mm + float(spread[0]),
        tile_format.outer_width_mm + float(spread[1]),
        tile_format.height_mm + float(spread[2]),
        (float(dimple[0]), float(dimple[1])),
        tile_format.foil_mm + float(rng.normal(0, FOIL_SD_MM)),
        chips,
        defect,
        int(rng.integers(2**31)),
    )


def make_tray(
    rng: np.random.Generator, catalogue: Catalogue, shape: BoardShape, first_serial: int
) -> dict[int, TileTruth]:
    """Bare tiles for every position of a board (slot = position index), a few of them bad."""
    n_bad = min(int(rng.poisson(BAD_TILES_PER_TRAY)), shape.n_channels // 4)
    kinds: tuple[TileDefect, ...] = ("oversize", "undersize", "dimple", "chip")
    bad: dict[int, TileDefect] = {
        int(slot): kinds[int(rng.integers(len(kinds)))]
        for slot in rng.choice(shape.n_channels, n_bad, replace=False)
    }
    return {
        position.index: make_tile(
            rng,
            catalogue.tile_formats[position.format_code],
            first_serial + position.index,
            bad.get(position.index, "none"),
        )
        for position in shape.positions
    }


def make_board(rng: np.random.Generator, shape: BoardShape, serial: int) -> BoardTruth:
    """A board with one SiPM per position, a few of them bad."""
    n_bad = min(int(rng.poisson(BAD_CHANNELS_PER_BOARD)), shape.n_channels // 4)
    kinds: tuple[ChannelDefect, ...] = ("high breakdown", "dead")
    bad: dict[int, ChannelDefect] = {
        int(index): kinds[int(rng.integers(len(kinds)))]
        for index in rng.choice(shape.n_channels, n_bad, replace=False)
    }
    channels = []
    for position in shape.positions:
        defect = bad.get(position.index, "none")
        sipm = SiPMTruth(
            vbd_v=float(rng.normal(37.778, 0.029)) + (0.35 if defect == "high breakdown" else 0.0),
            gain_per_v=float(9.4 * rng.normal(1, 0.0057)),
            crosstalk_per_v=float(np.clip(rng.normal(0.02, 0.002), 0.005, 0.05)),
            dcr_hz=float(3.0e5 * rng.lognormal(0, 0.15)),
        )
        channels.append(
            ChannelTruth(
                position.channel,
                sipm,
                pedestal_adc=float(rng.normal(100, 6)),
                noise_adc=float(np.clip(rng.normal(2.4, 0.2), 1.5, 4)),
                mean_photons=0.0 if defect == "dead" else float(9.0 * rng.lognormal(0, 0.12)),
                sipm_mm=(
                    position.sipm_x_mm + float(rng.normal(0, SIPM_SD_MM)),
                    position.sipm_y_mm + float(rng.normal(0, SIPM_SD_MM)),
                ),
                defect=defect,
            )
        )
    subtype = shape.name
    return BoardTruth(
        format_label("TB", subtype, serial),
        format_label("TM", subtype + "C", serial),
        shape.name,
        tuple(channels),
        (float(rng.uniform(-0.5, 0.5)), float(rng.uniform(-0.5, 0.5))),
        float(rng.uniform(-0.0015, 0.0015)),
    )


def good_again(rng: np.random.Generator, tile_format: TileFormat, serial: int) -> TileTruth:
    """The spare that an operator takes from the shelf for a bad tile."""
    return make_tile(rng, tile_format, serial, "none")


def as_data(truth: TileTruth | BoardTruth) -> dict[str, Any]:
    """Plain data of a truth, for tests that run in another process."""
    return asdict(truth)
