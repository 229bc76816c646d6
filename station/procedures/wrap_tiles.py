"""Wrap the tray's tiles in foil by hand and record which bare tile is in which wrapped tile."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass
from uuid import UUID

from station.catalogue import Label, LabelError, parse_label
from station.events import (
    Ask,
    Event,
    Joined,
    NewPart,
    Note,
    Procedure,
    Progress,
    Reading,
    RefusedError,
)
from station.tray import TrayMapError, parse_tray_map

DONE, STOP = "Done", "Stop"
WRAPPED_MAJOR = {"BC": "TC", "BI": "TI"}


class WrongPartError(RefusedError):
    """What was scanned is not what must be here now."""


@dataclass(frozen=True)
class BareTile:
    """A bare tile that passed its inspection."""

    part_id: UUID
    label: Label


def wrap_tiles(tiles: Mapping[int, BareTile]) -> Procedure:
    """Have the tiles of the tray (by slot) wrapped, scan them, and join wrapped and bare.

    When the tray shows wrapped tiles already, nothing is asked: an earlier run was cut off after
    the work was done. Raises WrongPartError when a slot is empty or holds another size.
    """
    yield Note("wrapping", {"slots": {str(slot): tile.label.text for slot, tile in tiles.items()}})
    yield Progress(0, len(tiles), "wrapping")
    labels = yield from scan_tray()
    if any(labels[slot].major in WRAPPED_MAJOR for slot in tiles if slot in labels):
        yield Ask(
            f"Wrap the {len(tiles)} tiles in foil, opening over the dimple, and put them back.",
            (DONE, STOP),
            DONE,
            task="wrap",
        )
        labels = yield from scan_tray()
    for slot, bare in tiles.items():
        _check_wrapped(slot, bare.label, labels.get(slot))
    for done, (slot, bare) in enumerate(tiles.items(), start=1):
        wrapped = labels[slot]
        part_id = yield NewPart(wrapped.text, wrapped.kind, wrapped.subtype)
        assert isinstance(part_id, UUID)
        yield Joined(bare.part_id, "inside", parent_id=part_id)
        yield Progress(done, len(tiles), f"{done} of {len(tiles)} wrapped tiles recorded")
    yield Reading("wrapped_tiles", float(len(tiles)), 0.0, "1", "counted")


def scan_tray() -> Generator[Event, str | UUID | None, dict[int, Label]]:
    """Ask for the tray map; slot -> label. Raises WrongPartError when it can't be read."""
    text = yield Ask("Scan the tray.", (), "", task="scan_tray")
    try:
        return {slot: parse_label(label) for slot, label in parse_tray_map(str(text)).items()}
    except (TrayMapError, LabelError) as error:
        raise WrongPartError(str(error)) from error


def _check_wrapped(slot: int, bare: Label, wrapped: Label | None) -> None:
    if wrapped is None:
        raise WrongPartError(f"slot {slot} is empty; {bare.text} was there")
    if wrapped.major != WRAPPED_MAJOR[bare.major] or wrapped.subtype != bare.subtype:
        raise WrongPartError(
            f"slot {slot} holds {wrapped.text}, which is no wrapped tile of {bare.text}"
        )
