"""What a module report says, collected from the records; nothing here draws or formats."""

import io
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import cast
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

import db
from station.catalogue import (
    BoardShape,
    Catalogue,
    LabelError,
    TileFormat,
    TilePosition,
    parse_label,
)
from station.events import Verdict
from station.limits import worst
from station.report.records import BuiltIn, ModuleFacts, RunRecord, read_facts

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
PLACEMENT_QUANTITIES = ("sipm_offset_x", "sipm_offset_y", "placed_rotation")
"""Readings whose channel is the index of the position on the board."""
SPECTRUM = "charge_spectrum"
IV = "iv"


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


def collect(store: db.Store, catalogue: Catalogue, label: str) -> ModuleReport:
    """Collect the report of the tile module with this label.

    Readings, curves and findings count when their run has ended; of several readings of the same
    quantity the newest that no correction supersedes is taken. The verdict is the worst of the
    last placement and the last electrical test, made worse by a tile that did not get through its
    inspection or has the wrong format for its place.

    Raises:
        ReportError: when the label is not that of a tile module, the module is not recorded, or
            the catalogue lacks its board shape or a tile format, or a quantity is recorded in
            different units.
    """
    text, material, shape, formats = _layout(catalogue, label)
    module = store.get_part(text)
    if module is None:
        raise ReportError(label, "no part with this label is recorded")
    facts = read_facts(store, module)
    board_ids = {part.part_id for part in facts.parts if part.kind in ("tile_module", "tileboard")}
    runs = tuple(run for run in facts.runs if run.part_id in board_ids)
    tile_runs = tuple(run for run in facts.runs if run.part_id not in board_ids)
    readings, placements = _board_readings(facts, board_ids)
    _check_units(text, facts)
    tiles = _tiles(facts, shape, placements)
    notices: list[str] = []
    channel_verdicts = {
        channel: worst(reading.verdict for reading in of_channel.values())
        for channel, of_channel in sorted(readings.items(), key=lambda item: str(item[0]))
        if channel is not None
    }
    missing = (
        *_unfinished_steps(facts, board_ids),
        *_missing_parts(facts, shape, tiles),
        *_missing_readings(shape, readings, tiles),
        *_judged_too_early(facts),
    )
    verdict, reasons = _verdict(facts, board_ids, tiles)
    return ModuleReport(
        label=text,
        site=facts.site,
        material=material,
        note=module.note,
        made_at=module.made_at,
        shape=shape,
        formats=formats,
        parts=facts.parts,
        runs=runs,
        tile_runs=tile_runs,
        verdict=None if missing else verdict,
        reasons=reasons,
        missing=missing,
        readings=readings,
        channel_verdicts=dict(sorted(channel_verdicts.items())),
        flagged=_flagged(
            store,
            facts,
            board_ids,
            readings=readings,
            verdicts=channel_verdicts,
            notices=notices,
        ),
        iv=_iv(store, facts, board_ids, notices),
        tiles=tiles,
        findings=_findings(store, facts, notices),
        notices=(*notices, *_open_runs(facts), *_unfinished_sources(facts, readings)),
        records_until=max((run.ended_at or run.started_at for run in facts.runs), default=None),
    )


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


def _layout(catalogue: Catalogue, label: str) -> tuple[str, str, BoardShape, dict[str, TileFormat]]:
    try:
        parsed = parse_label(label)
    except LabelError as error:
        raise ReportError(label, error.reason) from error
    if parsed.kind != "tile_module" or parsed.shape_name is None:
        kind = parsed.kind.replace("_", " ")
        raise ReportError(label, f"this is the label of a {kind}, reports are about tile modules")
    shape = catalogue.board_shapes.get(parsed.shape_name)
    if shape is None:
        raise ReportError(label, f"the catalogue has no board shape {parsed.shape_name}")
    codes = sorted({position.format_code for position in shape.positions})
    unknown = [code for code in codes if code not in catalogue.tile_formats]
    if unknown:
        raise ReportError(label, f"the catalogue has no tile format {', '.join(unknown)}")
    formats = {code: catalogue.tile_formats[code] for code in codes}
    return parsed.text, parsed.material or "", shape, formats


def _check_units(label: str, facts: ModuleFacts) -> None:
    units: dict[str, set[str]] = defaultdict(set)
    for reading in facts.readings:
        units[reading.quantity].add(reading.unit)
    for quantity, found in units.items():
        if len(found) > 1:
            raise ReportError(
                label, f"{quantity} is recorded in different units: {', '.join(sorted(found))}"
            )


def _measured(reading: db.Reading) -> Measured:
    return Measured(
        quantity=reading.quantity,
        channel=reading.channel,
        value=reading.value,
        sigma=reading.sigma,
        unit=reading.unit,
        method=reading.method,
        low=reading.low,
        high=reading.high,
        verdict=cast(Verdict, reading.verdict),
        reasons=tuple(reading.reasons),
        run_id=reading.run_id,
        at=reading.at,
    )


def _board_readings(
    facts: ModuleFacts, board_ids: set[UUID]
) -> tuple[dict[int | None, dict[str, Measured]], dict[int, dict[str, Measured]]]:
    """Newest readings by channel, and those about placement by position."""
    readings: dict[int | None, dict[str, Measured]] = defaultdict(dict)
    placements: dict[int, dict[str, Measured]] = defaultdict(dict)
    for reading in facts.readings:
        if reading.part_id not in board_ids:
            continue
        if reading.quantity in PLACEMENT_QUANTITIES and reading.channel is not None:
            placements[reading.channel][reading.quantity] = _measured(reading)
        else:
            readings[reading.channel][reading.quantity] = _measured(reading)
    return dict(readings), dict(placements)


def _tiles(
    facts: ModuleFacts, shape: BoardShape, placements: Mapping[int, Mapping[str, Measured]]
) -> tuple[TileRecord, ...]:
    sizes: dict[UUID, dict[str, Measured]] = defaultdict(dict)
    for reading in facts.readings:
        if reading.quantity in TILE_QUANTITIES:
            sizes[reading.part_id][reading.quantity] = _measured(reading)
    inspections = {
        run.part_id: run.verdict
        for run in facts.runs
        if run.procedure == INSPECTED and run.ending == "done"
    }
    inner = {part.inside: part for part in facts.parts if part.kind == "tile"}
    placed = {
        position.index: part
        for part in facts.parts
        if part.kind == "wrapped_tile"
        and (position := _position_named(shape, part.position)) is not None
    }
    tiles = []
    for position in shape.positions:
        wrapped = placed.get(position.index)
        bare = inner.get(wrapped.part_id) if wrapped else None
        tiles.append(
            TileRecord(
                position=position,
                wrapped_label=wrapped.label if wrapped else "",
                bare_label=bare.label if bare else "",
                inspection=inspections.get(bare.part_id) if bare else None,
                sizes=sizes.get(bare.part_id, {}) if bare else {},
                placement=placements.get(position.index, {}),
            )
        )
    return tuple(tiles)


def _position_named(shape: BoardShape, name: str) -> TilePosition | None:
    for position in shape.positions:
        if name in (str(position.index), position.name):
            return position
    return None


def _last_run(facts: ModuleFacts, procedure: str, part_ids: set[UUID]) -> RunRecord | None:
    runs = [r for r in facts.runs if r.procedure == procedure and r.part_id in part_ids]
    return runs[-1] if runs else None


def _unfinished_steps(facts: ModuleFacts, board_ids: set[UUID]) -> list[str]:
    missing = []
    for procedure, name in STEPS.items():
        run = _last_run(facts, procedure, board_ids)
        if run is None:
            missing.append(f"{name}: not done yet")
        elif run.ending is None:
            missing.append(f"{name}: the run of {when(run.started_at)} has not ended")
        elif run.ending != "done":
            why = f" ({run.reasons[0]})" if run.reasons else ""
            missing.append(
                f"{name}: the last run, of {when(run.started_at)}, was {ENDINGS[run.ending]}{why}"
            )
    return missing


ENDINGS = {
    "done": "done",
    "refused": "refused",
    "aborted": "aborted",
    "failed": "ended by an error",
    "tripped": "ended by an interlock",
    "lost_instrument": "ended by a lost instrument",
    "interrupted": "interrupted",
}


def when(time: datetime) -> str:
    """A time as reports show it: UTC, to the minute."""
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _missing_parts(facts: ModuleFacts, shape: BoardShape, tiles: Sequence[TileRecord]) -> list[str]:
    missing = []
    if not any(part.kind == "tileboard" for part in facts.parts):
        missing.append("tileboard: none is recorded in this module")
    empty = [tile.position.index for tile in tiles if not tile.wrapped_label]
    if empty:
        missing.append(
            f"tiles: {len(empty)} of {len(shape.positions)} positions have none "
            f"({channel_numbers(empty)})"
        )
    return missing


def _missing_readings(
    shape: BoardShape,
    readings: Mapping[int | None, Mapping[str, Measured]],
    tiles: Sequence[TileRecord],
) -> list[str]:
    missing = []
    channels = {position.channel for position in shape.positions}
    for quantity in CHANNEL_QUANTITIES:
        without = {c for c in channels if quantity not in readings.get(c, {})}
        if without:
            missing.append(
                f"{quantity}: no reading of {len(without)} of {len(channels)} channels "
                f"({channel_numbers(without)})"
            )
    missing += [
        f"{quantity}: no reading"
        for quantity in MODULE_QUANTITIES
        if quantity not in readings.get(None, {})
    ]
    placed = [tile for tile in tiles if tile.wrapped_label]
    unplaced = [
        tile.position.index for tile in placed
        if not {"sipm_offset_x", "sipm_offset_y"} <= set(tile.placement)
    ]  # fmt: skip
    if unplaced:
        missing.append(
            f"offset of tile and SiPM: no reading at {len(unplaced)} positions "
            f"({channel_numbers(unplaced)})"
        )
    unseen = [tile.position.index for tile in placed if tile.inspection is None]
    if unseen:
        missing.append(
            f"inspection: the tiles at {len(unseen)} positions have none that was finished "
            f"({channel_numbers(unseen)})"
        )
    return missing


def _judged_too_early(facts: ModuleFacts) -> list[str]:
    """Runs whose verdict rests on readings that were corrected to another verdict later."""
    counts: dict[UUID, int] = defaultdict(int)
    for old, new in facts.corrections:
        if old.verdict != new.verdict and old.run_id != new.run_id:
            counts[old.run_id] += 1
    return [
        f"{STEPS.get(run.procedure, run.procedure)}: {counts[run.run_id]} readings of the run of "
        f"{when(run.started_at)} were corrected to another verdict since, it must be judged again"
        for run in facts.runs
        if run.run_id in counts and run.procedure in STEPS
        and run is _last_run(facts, run.procedure, {run.part_id})
    ]  # fmt: skip


def _verdict(
    facts: ModuleFacts, board_ids: set[UUID], tiles: Sequence[TileRecord]
) -> tuple[Verdict, tuple[str, ...]]:
    verdicts: list[Verdict] = []
    reasons: list[str] = []
    for procedure in STEPS:
        run = _last_run(facts, procedure, board_ids)
        if run is not None and run.ending == "done" and run.verdict is not None:
            verdicts.append(run.verdict)
            reasons += run.reasons
    for tile in tiles:
        where = f"tile {tile.bare_label or tile.wrapped_label} at {tile.position.name}"
        if tile.inspection in ("fail", "unknown"):
            verdicts.append(tile.inspection)
            reasons.append(f"{where}: its inspection ended with {tile.inspection}")
        wrong = _wrong_format(tile)
        if wrong is not None:
            verdicts.append("fail")
            reasons.append(
                f"{where}: format {wrong}, the position needs {tile.position.format_code}"
            )
    return worst(verdicts), tuple(reasons)


def _wrong_format(tile: TileRecord) -> str | None:
    """Code of a tile's format when it is not the one of its position."""
    for label in (tile.wrapped_label, tile.bare_label):
        try:
            code = parse_label(label).format_code
        except LabelError:
            continue
        if code != tile.position.format_code:
            return code
    return None


def _flagged(
    store: db.Store,
    facts: ModuleFacts,
    board_ids: set[UUID],
    *,
    readings: Mapping[int | None, Mapping[str, Measured]],
    verdicts: Mapping[int, Verdict],
    notices: list[str],
) -> tuple[FlaggedChannel, ...]:
    spectra = {
        curve.channel: curve
        for curve in facts.curves
        if curve.quantity == SPECTRUM and curve.part_id in board_ids
    }
    flagged = []
    for channel in sorted(verdicts):
        if verdicts[channel] == "pass":
            continue
        reasons = [
            reason
            for reading in readings[channel].values()
            if reading.verdict != "pass"
            for reason in reading.reasons or (f"{reading.quantity}: {reading.verdict}",)
        ]
        curve = spectra.get(channel)
        flagged.append(
            FlaggedChannel(
                channel,
                verdicts[channel],
                tuple(reasons),
                _load_curve(store, curve, f"spectrum of channel {channel}", notices)
                if curve
                else None,
            )
        )
    worst_first: tuple[Verdict, ...] = ("fail", "unknown", "flag")
    return tuple(sorted(flagged, key=lambda one: (worst_first.index(one.verdict), one.channel)))


def _iv(
    store: db.Store, facts: ModuleFacts, board_ids: set[UUID], notices: list[str]
) -> CurveData | None:
    curves = [c for c in facts.curves if c.quantity == IV and c.part_id in board_ids]
    return _load_curve(store, curves[-1], "IV curve", notices) if curves else None


def _load_curve(
    store: db.Store, curve: db.Curve, name: str, notices: list[str]
) -> CurveData | None:
    try:
        with np.load(io.BytesIO(store.read_attachment(curve.sha256)), allow_pickle=False) as file:
            x = np.asarray(file["x"], dtype=np.float64)
            y = np.asarray(file["y"], dtype=np.float64)
            model = np.asarray(file["model"], dtype=np.float64) if "model" in file else None
    except (db.StoreError, KeyError, ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        notices.append(f"{name}: its file can't be read ({error})")
        return None
    if (
        y.ndim != 1
        or x.shape not in (y.shape, (len(y) + 1,))
        or (model is not None and model.shape != y.shape)
        or not len(y)
        or not (np.isfinite(x).all() and np.isfinite(y).all())
    ):
        notices.append(f"{name}: its file does not hold a curve (x {x.shape}, y {y.shape})")
        return None
    return CurveData(curve.quantity, curve.channel, x, y, model, curve.x_unit, curve.y_unit)


def _findings(store: db.Store, facts: ModuleFacts, notices: list[str]) -> tuple[FoundDefect, ...]:
    parts = {part.part_id: part for part in facts.parts}
    last_runs = {(run.part_id, run.procedure): run.run_id for run in facts.runs if run.ending}
    last = set(last_runs.values())
    found = []
    for finding in facts.findings:
        if finding.run_id not in last:
            continue
        part = parts[finding.part_id]
        place = parts[part.inside] if part.kind == "tile" and part.inside else part
        picture = _picture_of(finding, facts.pictures)
        try:
            data = store.read_attachment(picture.sha256) if picture else None
        except db.StoreError as error:
            notices.append(f"picture of {part.label}: it can't be read ({error})")
            data = None
        found.append(
            FoundDefect(
                part_label=part.label,
                position=place.position,
                format_code=_format_code(part.label),
                kind=finding.kind,
                verdict=cast(Verdict, finding.verdict),
                text=finding.text,
                x_mm=finding.x_mm,
                y_mm=finding.y_mm,
                area_mm2=finding.area_mm2,
                picture=data,
            )
        )
    return tuple(found)


def _picture_of(finding: db.Finding, pictures: Sequence[db.Picture]) -> db.Picture | None:
    """The picture that the finding names, or the last one of its run before it."""
    before = None
    for picture in pictures:
        if picture.id == finding.picture_id:
            return picture
        if picture.run_id == finding.run_id and picture.at <= finding.at:
            before = picture
    return before if finding.picture_id is None else None


def _format_code(label: str) -> str | None:
    try:
        return parse_label(label).format_code
    except LabelError:
        return None


def _open_runs(facts: ModuleFacts) -> list[str]:
    return [
        f"{run.procedure} of {run.part_label}, started {when(run.started_at)}, has not ended: "
        "what it measured is not in this report"
        for run in facts.runs
        if run.ending is None
    ]


def _unfinished_sources(
    facts: ModuleFacts, readings: Mapping[int | None, Mapping[str, Measured]]
) -> list[str]:
    """Runs that did not get done but whose readings are the newest there are."""
    endings = {run.run_id: run for run in facts.runs if run.ending not in (None, "done")}
    counts: dict[UUID, int] = defaultdict(int)
    for of_channel in readings.values():
        for reading in of_channel.values():
            if reading.run_id in endings:
                counts[reading.run_id] += 1
    return [
        f"{counts[run_id]} readings are from the run of {when(run.started_at)} that was "
        f"{ENDINGS[run.ending or 'done']}"
        for run_id, run in endings.items()
        if run_id in counts
    ]
