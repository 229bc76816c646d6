"""What a module report says, collected from the records; nothing here draws or formats."""

from collections import defaultdict
from collections.abc import Mapping
from typing import cast
from uuid import UUID

import db
from station.catalogue import BoardShape, Catalogue, LabelError, TileFormat, parse_label
from station.events import Verdict
from station.limits import worst
from station.report import completeness
from station.report.attached import findings, load_curve, position_named
from station.report.model import (
    INSPECTED,
    IV,
    PLACEMENT_QUANTITIES,
    SPECTRUM,
    TILE_QUANTITIES,
    CurveData,
    FlaggedChannel,
    Measured,
    ModuleReport,
    ReportError,
    TileRecord,
)
from station.report.records import ModuleFacts, read_facts


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
    missing = completeness.missing(facts, shape, board_ids, readings, tiles)
    verdict, reasons = completeness.verdict_of(facts, board_ids, tiles)
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
        findings=findings(store, facts, shape, notices),
        notices=(
            *notices,
            *completeness.open_runs(facts),
            *completeness.unfinished_sources(facts, readings),
        ),
        records_until=max((run.ended_at or run.started_at for run in facts.runs), default=None),
    )


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
    """Newest readings by channel, and apart from them those about placement."""
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
        and (position := position_named(shape, part.position)) is not None
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
                placement=placements.get(position.channel, {}),
            )
        )
    return tuple(tiles)


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
                tuple(dict.fromkeys(reasons)),
                load_curve(store, curve, f"spectrum of channel {channel}", notices)
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
    return load_curve(store, curves[-1], "IV curve", notices) if curves else None
