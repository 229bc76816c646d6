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


def test_a_correction_of_a_correction_leaves_only_the_last(sqlite_line: Any) -> None:
    first = sqlite_line.reading()
    second = sqlite_line.reading(supersedes=first.id)
    third = sqlite_line.reading(supersedes=second.id)
    sqlite_line.store.record(third, second, first)
    assert shown(sqlite_line) == [str(third.id)]


@pytest.mark.parametrize("changes", [{"channel": 4}, {"channel": None}, {"quantity": "noise"}])
def test_a_reading_supersedes_only_its_own_measurand(
    sqlite_line: Any, changes: dict[str, Any]
) -> None:
    old = sqlite_line.reading()
    sqlite_line.store.record(old)
    with pytest.raises(StoreError, match="same part, channel, quantity"):
        sqlite_line.store.record(sqlite_line.reading(supersedes=old.id, **changes))
    assert shown(sqlite_line, "all") == [str(old.id)]


def test_a_reading_does_not_supersede_one_of_another_part(sqlite_line: Any) -> None:
    old = sqlite_line.reading()
    sqlite_line.store.record(old)
    other = sqlite_line.part("tileboard", "B2")
    with pytest.raises(StoreError, match="same part, channel, quantity"):
        sqlite_line.store.record(sqlite_line.reading(part_id=other.id, supersedes=old.id))


def test_what_is_superseded_must_exist(sqlite_line: Any) -> None:
    missing = new_id()
    with pytest.raises(StoreError, match=f"supersedes {missing}, which is not there"):
        sqlite_line.store.record(sqlite_line.reading(supersedes=missing))
    assert shown(sqlite_line, "all") == []


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


def test_readings_cannot_supersede_each_other(sqlite_line: Any) -> None:
    one = sqlite_line.reading()
    two = sqlite_line.reading(supersedes=one.id)
    one.supersedes = two.id
    with pytest.raises(StoreError, match="refers to itself"):
        sqlite_line.store.record(one, two)
    two.supersedes = two.id
    with pytest.raises(StoreError, match="must not be the same"):
        sqlite_line.store.record(two)


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


def test_a_position_holds_one_part(sqlite_line: Any) -> None:
    one, two = sqlite_line.part("wrapped_tile", "W1"), sqlite_line.part("wrapped_tile", "W2")
    first = sqlite_line.assembly(sqlite_line.board, one, "7")
    with pytest.raises(StoreError, match=r"position 7 .* already holds"):
        sqlite_line.store.record(first, sqlite_line.assembly(sqlite_line.board, two, "7"))
    sqlite_line.store.record(first)
    sqlite_line.store.record(sqlite_line.assembly(sqlite_line.board, two, "7", supersedes=first.id))
    assert list(assembly_of(sqlite_line.store, sqlite_line.board.label)["child_label"]) == ["W2"]
    assert sqlite_line.store.current_assembly(one.id) is None


def test_an_assembly_supersedes_only_one_of_the_same_child_or_parent(sqlite_line: Any) -> None:
    parts = [sqlite_line.part("wrapped_tile", f"W{i}") for i in range(2)]
    module = sqlite_line.part("tile_module", "M1")
    first = sqlite_line.assembly(sqlite_line.board, parts[0], "7")
    sqlite_line.store.record(first)
    with pytest.raises(StoreError, match="same child or parent"):
        sqlite_line.store.record(sqlite_line.assembly(module, parts[1], "1", supersedes=first.id))


def test_nothing_contains_itself(sqlite_line: Any) -> None:
    tile, wrapped = sqlite_line.part("tile", "T1"), sqlite_line.part("wrapped_tile", "W1")
    sqlite_line.store.record(
        sqlite_line.assembly(wrapped, tile, "wraps"),
        sqlite_line.assembly(sqlite_line.board, wrapped, "1"),
    )
    with pytest.raises(StoreError, match="is itself built into"):
        sqlite_line.store.record(sqlite_line.assembly(tile, sqlite_line.board, "1"))
    with pytest.raises(StoreError, match="must not be the same"):
        sqlite_line.store.record(sqlite_line.assembly(tile, tile, "2"))


def test_a_placement_without_its_uncertainty_is_refused(sqlite_line: Any) -> None:
    placed = sqlite_line.assembly(sqlite_line.board, sqlite_line.part("tile", "T1"), "1")
    placed.sigma_mm = None
    with pytest.raises(StoreError, match="needs x_mm, y_mm and sigma_mm together"):
        sqlite_line.store.record(placed)
