from typing import Any

import pytest

from db import StoreError, new_id
from db.queries import assembly_of, readings_of_part


def shown(line: Any, which: Any = "current") -> list[str]:
    return list(readings_of_part(line.store, line.board.label, which=which)["reading_id"])


def test_a_superseded_reading_is_only_shown_when_asked_for(line: Any) -> None:
    old = line.reading()
    new = line.reading(value=42.0, supersedes=old.id)
    line.store.record(old)
    line.store.record(new)
    assert shown(line) == [str(new.id)]
    assert shown(line, "all") == [str(old.id), str(new.id)]


def test_a_correction_of_a_correction_leaves_only_the_last(line: Any) -> None:
    first = line.reading()
    second = line.reading(supersedes=first.id)
    third = line.reading(supersedes=second.id)
    line.store.record(third, second, first)
    assert shown(line) == [str(third.id)]


@pytest.mark.parametrize("changes", [{"channel": 4}, {"channel": None}, {"quantity": "noise"}])
def test_a_reading_supersedes_only_its_own_measurand(line: Any, changes: dict[str, Any]) -> None:
    old = line.reading()
    line.store.record(old)
    with pytest.raises(StoreError, match="same part, channel, quantity"):
        line.store.record(line.reading(supersedes=old.id, **changes))
    assert shown(line, "all") == [str(old.id)]


def test_a_reading_does_not_supersede_one_of_another_part(line: Any) -> None:
    old = line.reading()
    line.store.record(old)
    other = line.part("tileboard", "B2")
    with pytest.raises(StoreError, match="same part, channel, quantity"):
        line.store.record(line.reading(part_id=other.id, supersedes=old.id))


def test_what_is_superseded_must_exist(line: Any) -> None:
    missing = new_id()
    with pytest.raises(StoreError, match=f"supersedes {missing}, which is not there"):
        line.store.record(line.reading(supersedes=missing))
    assert shown(line, "all") == []


def test_a_reading_is_superseded_by_one_reading_only(line: Any) -> None:
    old = line.reading()
    new = line.reading(supersedes=old.id)
    line.store.record(old, new)
    line.store.record(new)
    with pytest.raises(StoreError, match=f"{new.id} does already"):
        line.store.record(line.reading(supersedes=old.id))
    last = line.reading()
    with pytest.raises(StoreError, match="does already"):
        line.store.record(last, line.reading(supersedes=last.id), line.reading(supersedes=last.id))
    assert shown(line) == [str(new.id)]


def test_readings_cannot_supersede_each_other(line: Any) -> None:
    one = line.reading()
    two = line.reading(supersedes=one.id)
    one.supersedes = two.id
    with pytest.raises(StoreError, match="refers to itself"):
        line.store.record(one, two)
    two.supersedes = two.id
    with pytest.raises(StoreError, match="must not be the same"):
        line.store.record(two)


def test_a_part_is_in_one_place_at_a_time(line: Any) -> None:
    tile, module = line.part("wrapped_tile", "W1"), line.part("tile_module", "M1")
    first = line.assembly(line.board, tile, "7")
    line.store.record(first)
    assert line.store.current_assembly(tile.id).position == "7"
    with pytest.raises(StoreError, match=f"already at position 7 .* supersede assembly {first.id}"):
        line.store.record(line.assembly(module, tile, "1"))
    moved = line.assembly(module, tile, "1", supersedes=first.id)
    line.store.record(moved)
    assert line.store.current_assembly(tile.id).id == moved.id
    assert assembly_of(line.store, line.board.label).empty
    assert list(assembly_of(line.store, "M1")["child_label"]) == ["W1"]


def test_a_position_holds_one_part(line: Any) -> None:
    one, two = line.part("wrapped_tile", "W1"), line.part("wrapped_tile", "W2")
    first = line.assembly(line.board, one, "7")
    with pytest.raises(StoreError, match=r"position 7 .* already holds"):
        line.store.record(first, line.assembly(line.board, two, "7"))
    line.store.record(first)
    line.store.record(line.assembly(line.board, two, "7", supersedes=first.id))
    assert list(assembly_of(line.store, line.board.label)["child_label"]) == ["W2"]
    assert line.store.current_assembly(one.id) is None


def test_an_assembly_supersedes_only_one_of_the_same_child_or_parent(line: Any) -> None:
    parts = [line.part("wrapped_tile", f"W{i}") for i in range(2)]
    module = line.part("tile_module", "M1")
    first = line.assembly(line.board, parts[0], "7")
    line.store.record(first)
    with pytest.raises(StoreError, match="same child or parent"):
        line.store.record(line.assembly(module, parts[1], "1", supersedes=first.id))


def test_nothing_contains_itself(line: Any) -> None:
    tile, wrapped = line.part("tile", "T1"), line.part("wrapped_tile", "W1")
    line.store.record(
        line.assembly(wrapped, tile, "wraps"), line.assembly(line.board, wrapped, "1")
    )
    with pytest.raises(StoreError, match="is itself built into"):
        line.store.record(line.assembly(tile, line.board, "1"))
    with pytest.raises(StoreError, match="must not be the same"):
        line.store.record(line.assembly(tile, tile, "2"))


def test_a_placement_without_its_uncertainty_is_refused(line: Any) -> None:
    placed = line.assembly(line.board, line.part("tile", "T1"), "1")
    placed.sigma_mm = None
    with pytest.raises(StoreError, match="needs x_mm, y_mm and sigma_mm together"):
        line.store.record(placed)
