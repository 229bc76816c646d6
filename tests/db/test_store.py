import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select as select_facts

from db import (
    Event,
    Part,
    Reading,
    Recipe,
    RunEnd,
    Site,
    Store,
    StoreError,
    new_id,
    open_store,
)
from db.model import table_of


def count(store: Store, model: Any) -> int:
    with store.reading() as connection:
        return connection.scalar(select(func.count()).select_from(table_of(model))) or 0


def outbox_of(store: Store) -> list[tuple[str, str]]:
    return [(row.table_name, row.fact_id) for row in store.unsent(1_000_000)]


def readings(store: Store) -> list[Reading]:
    with store.session() as session:
        return list(session.exec(select_facts(Reading).order_by(Reading.id)))  # type: ignore[arg-type]


def test_a_reading_comes_back_as_it_was_recorded(line: Any) -> None:
    local = datetime(2026, 11, 21, 10, 30, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
    reading = line.reading(
        at=local,
        value=1 / 3,
        sigma=1e-300,
        low=-1.7976931348623157e308,
        high=1.7976931348623157e308,
        verdict="flag",
        reasons=['σ of µ is "large" 😀'],
        conditions={"bias_v": 41.2, "nested": {"list": [1, 2.5, None, True, 1e23]}},
    )
    line.store.record(reading)
    (stored,) = readings(line.store)
    assert stored.model_dump() == reading.model_dump()
    assert stored.at == local
    assert stored.at.utcoffset() == timedelta(0)


def test_every_fact_has_exactly_one_row_in_the_outbox(line: Any) -> None:
    before = outbox_of(line.store)
    facts = [line.reading(), line.reading(channel=4)]
    line.store.record(*facts)
    assert outbox_of(line.store)[len(before) :] == [("reading", fact.id.hex) for fact in facts]
    assert before == [
        ("site", line.site.id.hex),
        ("station", line.station.id.hex),
        ("operator", line.operator.id.hex),
        ("recipe", line.recipe.id.hex),
        ("part", line.board.id.hex),
        ("run", line.run.id.hex),
    ]


def test_facts_of_one_batch_may_come_in_any_order_and_travel_parents_first(
    store: Store, line: Any
) -> None:
    before = len(outbox_of(line.store))
    part = Part(kind="tile_module", label="M1", site_id=line.site.id)
    run = line.run.model_copy(update={"id": new_id(), "part_id": part.id})
    first = line.reading(run_id=run.id, part_id=part.id)
    second = line.reading(run_id=run.id, part_id=part.id, supersedes=first.id)
    end = RunEnd(run_id=run.id, at=line.now(), ending="done", verdict="pass")
    store.record(end, second, first, run, part)
    assert outbox_of(line.store)[before:] == [
        ("part", part.id.hex),
        ("run", run.id.hex),
        ("run_end", run.id.hex),
        ("reading", first.id.hex),
        ("reading", second.id.hex),
    ]


def test_recording_the_same_facts_again_changes_nothing(line: Any) -> None:
    facts = [
        line.reading(conditions={"channels": (1, 2)}, reasons=("a", "b"), verdict="flag"),
        line.reading(value=None, sigma=None, verdict="unknown", reasons=["no peaks"]),
        Event(station_id=line.station.id, at=line.now(), kind="note", text="cover was open"),
    ]
    line.store.record(*facts)
    stored, sent = readings(line.store), outbox_of(line.store)
    line.store.record(*facts)
    line.store.record(facts[0], facts[0])
    assert readings(line.store) == stored
    assert outbox_of(line.store) == sent


def test_a_retry_of_a_batch_adds_only_what_is_missing(sqlite_line: Any) -> None:
    first, second = sqlite_line.reading(), sqlite_line.reading(channel=4)
    sqlite_line.store.record(first)
    sqlite_line.store.record(first, second)
    ids = [fact_id for table, fact_id in outbox_of(sqlite_line.store) if table == "reading"]
    assert ids == [first.id.hex, second.id.hex]


def test_an_id_with_different_content_is_refused_and_nothing_of_the_batch_is_stored(
    sqlite_line: Any,
) -> None:
    reading = sqlite_line.reading()
    sqlite_line.store.record(reading)
    before = outbox_of(sqlite_line.store)
    forged = reading.model_copy(update={"value": 43.0})
    with pytest.raises(StoreError, match=r"different content: value is 41.5, not 43.0"):
        sqlite_line.store.record(sqlite_line.reading(channel=9), forged)
    with pytest.raises(StoreError, match="comes twice with different content"):
        sqlite_line.store.record(
            fresh := sqlite_line.reading(channel=9), fresh.model_copy(update={"sigma": 3.0})
        )
    assert [r.model_dump() for r in readings(sqlite_line.store)] == [reading.model_dump()]
    assert outbox_of(sqlite_line.store) == before


def test_a_run_ends_only_once(sqlite_line: Any) -> None:
    sqlite_line.end(sqlite_line.run)
    with pytest.raises(StoreError, match="different content"):
        sqlite_line.end(sqlite_line.run, ending="aborted", verdict="fail")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sigma": None}, "a value needs its sigma"),
        ({"value": None, "verdict": "fail", "reasons": ["dead"]}, "a sigma its value"),
        ({"value": float("nan")}, "value must be a finite number"),
        ({"value": np.float64("nan")}, "value must be a finite number"),
        ({"sigma": float("inf")}, "sigma must be a finite number"),
        ({"low": float("-inf")}, "low must be a finite number"),
        ({"sigma": -0.1}, "sigma must not be negative"),
        ({"value": None, "sigma": None, "verdict": "unknown"}, "needs a reason"),
        ({"verdict": "unknown"}, "needs a reason"),
        ({"value": None, "sigma": None, "verdict": "pass", "reasons": ["?"]}, "cannot pass"),
        ({"verdict": "good"}, "verdict must be one of pass, flag, fail, unknown"),
        ({"low": 2.0, "high": 1.0}, "low must not be above high"),
        ({"channel": -1}, "channel must not be negative"),
        ({"channel": 2.5}, "channel = 2.5"),
        ({"channel": True}, "channel = True"),
        ({"channel": 2**40}, "an integer of 32 bits"),
        ({"value": "41"}, "a number is expected"),
        ({"value": True}, "a number is expected"),
        ({"quantity": " "}, "quantity must not be empty"),
        ({"quantity": None}, "quantity is missing"),
        ({"method": "a\0b"}, "NUL"),
        ({"method": "\ud800"}, "method"),
        ({"at": datetime(2026, 11, 21, 8, 30)}, "a time needs its time zone"),
        ({"at": "2026-11-21"}, "a time is expected"),
        ({"at": pd.NaT}, "at"),
        ({"reasons": "no peaks"}, "a list of texts"),
        ({"reasons": [""], "verdict": "unknown"}, "an empty text says nothing"),
        ({"conditions": {"bias_v": float("nan")}}, "conditions"),
        ({"conditions": {"bias_v": object()}}, "cannot be kept as JSON"),
        ({"conditions": [1]}, "a mapping is expected"),
        ({"run_id": "4711"}, "a UUID is expected"),
    ],
)
def test_a_reading_that_breaks_a_rule_is_refused_in_words(
    sqlite_line: Any, changes: dict[str, Any], says: str
) -> None:
    good = sqlite_line.reading(channel=9)
    with pytest.raises(StoreError) as refusal:
        sqlite_line.store.record(good, sqlite_line.reading(**changes))
    assert says in str(refusal.value)
    assert "reading" in str(refusal.value)
    assert sqlite_line.store.where in str(refusal.value)
    assert readings(sqlite_line.store) == []


def test_the_database_itself_refuses_what_other_programs_must_not_write(line: Any) -> None:
    good = line.reading().model_dump()
    with line.store._writer.begin() as connection:
        connection.execute(insert(table_of(Reading)), [good])
    for changes in (
        {"sigma": None},
        {"value": None, "verdict": "fail", "reasons": ["dead"]},
        {"value": float("inf")},
        {"value": float("nan")},
        {"sigma": -0.1},
        {"value": None, "sigma": None, "verdict": "unknown"},
        {"verdict": "unknown"},
        {"value": None, "sigma": None, "verdict": "pass", "reasons": ["?"]},
        {"verdict": "good"},
        {"low": 2.0, "high": 1.0},
        {"channel": -1},
        {"quantity": " "},
        {"quantity": None},
        {"reasons": None},
        {"run_id": new_id()},
    ):
        bad = line.reading().model_dump() | changes
        with pytest.raises(IntegrityError), line.store._writer.begin() as connection:
            connection.execute(insert(table_of(Reading)), [bad])
    assert count(line.store, Reading) == 1


def test_numbers_from_numpy_and_pandas_are_stored_as_numbers(line: Any) -> None:
    line.store.record(
        line.reading(
            channel=np.int64(7),
            value=np.float32(1.5),
            sigma=np.float64(0.25),
            conditions={"n": np.int16(3), "t": np.float32(0.5)},
            at=pd.Timestamp("2026-11-21T09:00:00.000001234Z"),
        )
    )
    (stored,) = readings(line.store)
    assert (stored.channel, stored.value, stored.sigma) == (7, 1.5, 0.25)
    assert stored.conditions == {"n": 3, "t": 0.5}
    assert stored.at == datetime(2026, 11, 21, 9, 0, 0, 1, tzinfo=UTC)


def test_an_array_with_one_number_is_not_a_number(sqlite_line: Any) -> None:
    with pytest.raises(StoreError, match="a number is expected"):
        sqlite_line.store.record(sqlite_line.reading(value=np.array([1.0])))


def test_a_fact_that_refers_to_nothing_is_refused_and_the_message_says_to_what(
    line: Any, some_id: UUID
) -> None:
    with pytest.raises(StoreError, match=f"there is no run {some_id}"):
        line.store.record(line.reading(run_id=some_id))
    assert count(line.store, Reading) == 0


def test_what_is_no_fact_is_refused(sqlite_line: Any) -> None:
    with pytest.raises(StoreError, match="not a fact: str"):
        sqlite_line.store.record("gain = 41.5")
    (waiting, *_) = sqlite_line.store.unsent(1)
    with pytest.raises(StoreError, match="not a fact: Outbox"):
        sqlite_line.store.record(waiting)


def test_recording_nothing_is_nothing(line: Any) -> None:
    before = outbox_of(line.store)
    line.store.record()
    assert outbox_of(line.store) == before


def test_parts_are_found_by_label_and_by_id(sqlite_line: Any, some_id: UUID) -> None:
    assert sqlite_line.store.get_part("320TB00D8F00001").id == sqlite_line.board.id
    assert sqlite_line.store.get_part("320TB00D8F99999") is None
    assert sqlite_line.store.part(sqlite_line.board.id).label == "320TB00D8F00001"
    with pytest.raises(StoreError, match=str(some_id)):
        sqlite_line.store.part(some_id)


def test_ensuring_a_part_twice_keeps_the_first(sqlite_line: Any) -> None:
    def scanned() -> Part:
        return Part(kind="tile", label="320TL0012000001", subtype="12", site_id=sqlite_line.site.id)

    first = sqlite_line.store.ensure_part(scanned())
    before = outbox_of(sqlite_line.store)
    second = sqlite_line.store.ensure_part(scanned())
    assert second.id == first.id
    assert outbox_of(sqlite_line.store) == before
    with pytest.raises(StoreError, match="stored with kind 'tile', not 'sipm'"):
        sqlite_line.store.ensure_part(
            Part(kind="sipm", label="320TL0012000001", site_id=sqlite_line.site.id)
        )


def test_parts_without_a_label_are_all_different(line: Any) -> None:
    one = line.store.ensure_part(Part(kind="sipm", site_id=line.site.id))
    two = line.store.ensure_part(Part(kind="sipm", site_id=line.site.id))
    assert one.id != two.id
    assert line.store.part(two.id).label is None


def test_two_parts_cannot_have_one_label(sqlite_line: Any) -> None:
    with pytest.raises(StoreError, match=r"(?i)unique|label"):
        sqlite_line.part("tileboard", sqlite_line.board.label)


def test_a_recipe_is_known_by_its_hash_and_cannot_change_under_it(sqlite_line: Any) -> None:
    again = Recipe(name="led", version="1", sha256="ab" * 32, content={"gain": {"low": 30}})
    assert sqlite_line.store.ensure_recipe(again).id == sqlite_line.recipe.id
    other = Recipe(name="led", version="1", sha256="ab" * 32, content={"gain": {"low": 31}})
    with pytest.raises(StoreError, match="stored with content"):
        sqlite_line.store.ensure_recipe(other)


def test_open_runs_are_those_of_the_station_without_an_end(line: Any) -> None:
    second = line.start(line.board)
    assert [run.id for run in line.store.open_runs(line.station.id)] == [line.run.id, second.id]
    line.end(line.run)
    (open_run,) = line.store.open_runs(line.station.id)
    assert open_run.model_dump() == second.model_dump()
    assert line.store.open_runs(new_id()) == []


def test_a_session_can_only_read(line: Any) -> None:
    def write() -> None:
        with line.store.session() as session:
            session.add(Site(name="elsewhere"))
            session.commit()

    with pytest.raises(StoreError, match=r"(?i)read"):
        write()
    assert count(line.store, Site) == 1


def test_sent_rows_leave_the_outbox_and_the_first_time_stays(line: Any) -> None:
    waiting = line.store.unsent()
    seqs = [row.seq for row in waiting[:4]]
    line.store.mark_sent(seqs, line.now())
    assert [row.seq for row in line.store.unsent()] == [row.seq for row in waiting[4:]]
    with line.store.reading() as connection:
        first = list(connection.execute(text("SELECT sent_at FROM outbox ORDER BY seq")))
    line.store.mark_sent(seqs, line.now())
    with line.store.reading() as connection:
        assert list(connection.execute(text("SELECT sent_at FROM outbox ORDER BY seq"))) == first


def test_facts_are_there_after_closing_and_opening_again(tmp_path: Path, sqlite_line: Any) -> None:
    reading = sqlite_line.reading()
    sqlite_line.store.record(reading)
    sqlite_line.store.close()
    with open_store(tmp_path / "records.db", tmp_path / "attachments") as store:
        assert [stored.id for stored in readings(store)] == [reading.id]


def test_many_threads_record_and_read_through_one_store(line: Any) -> None:
    store: Store = line.store
    batches = [[[line.reading(channel=c) for c in range(3)] for _ in range(10)] for _ in range(5)]
    torn: list[int] = []
    failures: list[BaseException] = []
    done = threading.Event()

    def write(mine: list[list[Reading]]) -> None:
        try:
            for batch in mine:
                store.record(*batch)
        except StoreError as error:
            failures.append(error)

    def read() -> None:
        try:
            while not done.is_set():
                seen = len(readings(store))
                if seen % 3:
                    torn.append(seen)
        except StoreError as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(mine,)) for mine in batches]
    readers = [threading.Thread(target=read) for _ in range(2)]
    for thread in writers + readers:
        thread.start()
    for thread in writers:
        thread.join()
    done.set()
    for thread in readers:
        thread.join()
    every = {reading.id.hex for mine in batches for batch in mine for reading in batch}
    assert failures == []
    assert torn == []
    sent = [fact_id for table, fact_id in outbox_of(line.store) if table == "reading"]
    assert len(sent) == len(every)
    assert set(sent) == every


def test_two_stores_on_one_file_take_turns(sqlite_line: Any, tmp_path: Path) -> None:
    with open_store(tmp_path / "records.db", tmp_path / "attachments") as other:
        first, second = sqlite_line.reading(), sqlite_line.reading()
        other.record(first)
        sqlite_line.store.record(second)
        assert [r.id for r in readings(other)] == [first.id, second.id]
