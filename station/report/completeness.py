"""Whether a module is finished, what is missing, and its verdict when nothing is."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from uuid import UUID

from station.catalogue import BoardShape, LabelError, parse_label
from station.events import Verdict
from station.limits import worst
from station.report.model import (
    CHANNEL_QUANTITIES,
    ENDINGS,
    MODULE_QUANTITIES,
    OFFSETS,
    PLACED,
    STEPS,
    TESTED,
    Measured,
    TileRecord,
    channel_numbers,
    when,
)
from station.report.records import ModuleFacts, RunRecord

Readings = Mapping[int | None, Mapping[str, Measured]]


def missing(
    facts: ModuleFacts,
    shape: BoardShape,
    board_ids: set[UUID],
    readings: Readings,
    tiles: Sequence[TileRecord],
) -> tuple[str, ...]:
    """What keeps the module from being judged; empty when it is finished."""
    return (
        *_unfinished_steps(facts, board_ids, tiles),
        *(_missing_parts(facts, shape, tiles) if _last_run(facts, PLACED, board_ids) else ()),
        *_missing_readings(facts, shape, board_ids, readings),
        *_missing_of_tiles(tiles),
        *_judged_too_early(facts),
    )


def verdict_of(
    facts: ModuleFacts, board_ids: set[UUID], tiles: Sequence[TileRecord]
) -> tuple[Verdict, tuple[str, ...]]:
    """The worst verdict of placement, the last test and the tiles, with its reasons.

    Tiles that an earlier or unfinished run placed count by their readings. An inspection counts
    when it failed or could not tell, a tile's format when it is not the one its place needs.
    """
    verdicts: list[Verdict] = []
    reasons: list[str] = []
    judged: set[UUID] = set()
    for procedure in STEPS:
        run = _last_run(facts, procedure, board_ids)
        if run is not None and run.ending == "done" and run.verdict is not None:
            verdicts.append(run.verdict)
            reasons += run.reasons
            judged.add(run.run_id)
    for tile in tiles:
        for reading in tile.placement.values():
            if reading.run_id not in judged:
                verdicts.append(reading.verdict)
                reasons += [f"{tile.position.name}: {reason}" for reason in reading.reasons]
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
    return worst(verdicts), tuple(dict.fromkeys(reasons))


def open_runs(facts: ModuleFacts) -> list[str]:
    """Runs that have not ended, of which nothing is reported."""
    return [
        f"{run.procedure} of {run.part_label}, started {when(run.started_at)}, has not ended: "
        "what it measured is not in this report"
        for run in facts.runs
        if run.ending is None
    ]


def unfinished_sources(facts: ModuleFacts, readings: Readings) -> list[str]:
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


def _last_run(facts: ModuleFacts, procedure: str, part_ids: set[UUID]) -> RunRecord | None:
    runs = [r for r in facts.runs if r.procedure == procedure and r.part_id in part_ids]
    return runs[-1] if runs else None


def _unfinished_steps(
    facts: ModuleFacts, board_ids: set[UUID], tiles: Sequence[TileRecord]
) -> list[str]:
    """Steps whose last run did not get done. A placement that has placed and measured every tile
    needs no more than that: it goes on where it was cut off, tile by tile."""
    lacks = []
    for procedure, name in STEPS.items():
        run = _last_run(facts, procedure, board_ids)
        if run is None:
            lacks.append(f"{name}: not done yet")
        elif run.ending is None:
            lacks.append(f"{name}: the run of {when(run.started_at)} has not ended")
        elif run.ending != "done" and not (procedure == PLACED and all(map(_is_placed, tiles))):
            why = f" ({run.reasons[0]})" if run.reasons else ""
            lacks.append(
                f"{name}: the last run, of {when(run.started_at)}, was {ENDINGS[run.ending]}{why}"
            )
    return lacks


def _is_placed(tile: TileRecord) -> bool:
    return bool(tile.wrapped_label) and set(OFFSETS) <= set(tile.placement)


def _missing_parts(facts: ModuleFacts, shape: BoardShape, tiles: Sequence[TileRecord]) -> list[str]:
    lacks = []
    if not any(part.kind == "tileboard" for part in facts.parts):
        lacks.append("tileboard: none is recorded in this module")
    empty = [tile.position.index for tile in tiles if not tile.wrapped_label]
    if empty:
        lacks.append(
            f"tiles: {len(empty)} of {len(shape.positions)} positions have none "
            f"({channel_numbers(empty)})"
        )
    return lacks


def _missing_readings(
    facts: ModuleFacts, shape: BoardShape, board_ids: set[UUID], readings: Readings
) -> list[str]:
    """Channels that the last test left out; what an earlier test said of them does not count."""
    last = _last_run(facts, TESTED, board_ids)
    if last is None:
        return []
    earlier = {
        run.run_id for run in facts.runs if run.procedure == TESTED and run.run_id != last.run_id
    }
    lacks = []
    channels = {position.channel for position in shape.positions}
    for quantity in CHANNEL_QUANTITIES:
        without = {
            channel
            for channel in channels
            if (reading := readings.get(channel, {}).get(quantity)) is None
            or reading.run_id in earlier
        }
        if without:
            lacks.append(
                f"{quantity}: no reading of {len(without)} of {len(channels)} channels in the "
                f"last test ({channel_numbers(without)})"
            )
    lacks += [
        f"{quantity}: no reading"
        for quantity in MODULE_QUANTITIES
        if quantity not in readings.get(None, {})
    ]
    return lacks


def _missing_of_tiles(tiles: Sequence[TileRecord]) -> list[str]:
    lacks = []
    placed = [tile for tile in tiles if tile.wrapped_label]
    unplaced = [
        tile.position.index for tile in placed
        if not set(OFFSETS) <= set(tile.placement)
    ]  # fmt: skip
    if unplaced:
        lacks.append(
            f"offset of tile and SiPM: no reading at {len(unplaced)} positions "
            f"({channel_numbers(unplaced)})"
        )
    unseen = [tile.position.index for tile in placed if tile.inspection is None]
    if unseen:
        lacks.append(
            f"inspection: the tiles at {len(unseen)} positions have none that was finished "
            f"({channel_numbers(unseen)})"
        )
    return lacks


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
