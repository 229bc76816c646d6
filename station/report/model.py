"""The words of a module report: everything it says, before anything is drawn or formatted."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from station.catalogue import BoardShape, TileFormat, TilePosition
from station.events import Ending, Verdict
from station.report.records import BuiltIn, RunRecord

PLACED = "place_tiles"
TESTED = "test_board"
INSPECTED = "inspect_tile"
STEPS = {PLACED: "tile placement", TESTED: "electrical test"}
"""Procedures that a finished module has behind it, with their names for people."""

CHANNEL_QUANTITIES = ("gain", "pedestal", "noise", "light_yield")
"""What every channel of a finished module was measured for."""
MODULE_QUANTITIES = ("vbd_iv",)
TILE_QUANTITIES = (
    "inner_width", "outer_width", "height", "tile_rotation", "dimple_x", "dimple_y",
)  # fmt: skip
OFFSETS = ("sipm_offset_x", "sipm_offset_y")
PLACEMENT_QUANTITIES = (*OFFSETS, "placed_rotation")
"""Readings about the tile over the SiPM of a channel: they are no matter of the channel itself."""
SPECTRUM = "charge_spectrum"
IV = "iv"
ENDINGS: Mapping[Ending, str] = {
    "done": "done",
    "refused": "refused",
    "aborted": "aborted",
    "failed": "ended by an error",
    "tripped": "ended by an interlock",
    "lost_instrument": "ended by a lost instrument",
    "interrupted": "interrupted",
}


class ReportError(Exception):
    """A report that cannot be made: `label` of which part, and `reason`."""

    def __init__(self, label: str, reason: str) -> None:
        super().__init__(f"no report for {label!r}: {reason}")
        self.label = label
        self.reason = reason


@dataclass(frozen=True)
class Measured:
    """One reading as it was judged, with the limits that were applied; `value` None: unknown."""

    quantity: str
    channel: int | None
    value: float | None
    sigma: float | None
    unit: str
    method: str
    low: float | None
    high: float | None
    verdict: Verdict
    reasons: tuple[str, ...]
    run_id: UUID
    at: datetime


@dataclass(frozen=True)
class CurveData:
    """A curve read back from its file: `x` (n,) or edges (n+1,), `y` (n,), `model` (n,) or None."""

    quantity: str
    channel: int | None
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    model: NDArray[np.float64] | None
    x_unit: str
    y_unit: str


@dataclass(frozen=True)
class FlaggedChannel:
    """A channel that did not pass. `spectrum` None when none was recorded or it can't be read."""

    channel: int
    verdict: Verdict
    reasons: tuple[str, ...]
    spectrum: CurveData | None


@dataclass(frozen=True)
class FoundDefect:
    """A finding with the bytes of the picture it was seen in, where there is one."""

    part_label: str
    position: str
    format_code: str | None
    kind: str
    verdict: Verdict
    text: str
    x_mm: float | None
    y_mm: float | None
    area_mm2: float | None
    picture: bytes | None


@dataclass(frozen=True)
class TileRecord:
    """The tile at one position: sizes of the bare tile, and where it lies over its SiPM.

    `inspection` is the verdict of the last finished inspection of the bare tile, None without one.
    """

    position: TilePosition
    wrapped_label: str
    bare_label: str
    inspection: Verdict | None
    sizes: Mapping[str, Measured]
    placement: Mapping[str, Measured]


@dataclass(frozen=True)
class ModuleReport:
    """Everything a report says about one tile module.

    `verdict` is None as long as anything in `missing` keeps the module from being judged.
    `readings` maps channel (None: the module as a whole) and quantity to the newest valid reading.
    `notices` is what a reader must know besides. `records_until` is the time of the newest run
    that was used.
    """

    label: str
    site: str
    material: str
    note: str
    made_at: datetime | None
    shape: BoardShape
    formats: Mapping[str, TileFormat]
    parts: tuple[BuiltIn, ...]
    runs: tuple[RunRecord, ...]
    tile_runs: tuple[RunRecord, ...]
    verdict: Verdict | None
    reasons: tuple[str, ...]
    missing: tuple[str, ...]
    notices: tuple[str, ...]
    readings: Mapping[int | None, Mapping[str, Measured]]
    channel_verdicts: Mapping[int, Verdict]
    flagged: tuple[FlaggedChannel, ...]
    iv: CurveData | None
    tiles: tuple[TileRecord, ...]
    findings: tuple[FoundDefect, ...]
    records_until: datetime | None


def channel_numbers(channels: Iterable[int]) -> str:
    """Channels or positions as people list them: `3, 5, 8–12`."""
    spans: list[list[int]] = []
    for channel in sorted(channels):
        if spans and channel == spans[-1][1] + 1:
            spans[-1][1] = channel
        else:
            spans.append([channel, channel])
    return ", ".join(
        f"{first}" if first == last else f"{first}, {last}" if last == first + 1
        else f"{first}–{last}"
        for first, last in spans
    )  # fmt: skip


def when(time: datetime) -> str:
    """A time as reports show it: UTC, to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"
