"""What holds for any sequence of records, tried with many."""

import atexit
import math
import shutil
import tempfile
from datetime import UTC, datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from db import (
    Operator,
    Part,
    Reading,
    Recipe,
    Run,
    Site,
    Station,
    Store,
    StoreError,
    new_id,
    open_store,
)
from db.model import VERDICTS, table_of
from db.queries import readings_of_part_arrow

numbers = st.none() | st.floats() | st.sampled_from([0.0, -0.0, 5e-324, 1.7976931348623157e308])
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
sentences = texts.filter(lambda sentence: sentence.strip() != "")
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
times = st.datetimes(
    min_value=datetime(2000, 1, 1),
    max_value=datetime(2100, 1, 1),
    timezones=st.timedeltas(
        min_value=-(datetime(2000, 1, 2) - datetime(2000, 1, 1)) * 0.9,
        max_value=(datetime(2000, 1, 2) - datetime(2000, 1, 1)) * 0.9,
    ).map(lambda offset: timezone(offset - offset % type(offset)(minutes=1))),
)


def may_be_stored(row: dict[str, Any]) -> bool:
    """The contract of a reading, said once more and differently."""
    value, sigma = row["value"], row["sigma"]
    given = [x for x in (value, sigma, row["low"], row["high"]) if x is not None]
    if not all(math.isfinite(x) for x in given):
        return False
    if value is None:
        if sigma is not None or row["verdict"] == "pass" or not row["reasons"]:
            return False
    elif sigma is None or sigma < 0:
        return False
    if row["verdict"] == "unknown" and not row["reasons"]:
        return False
    if row["low"] is not None and row["high"] is not None and row["low"] > row["high"]:
        return False
    return row["verdict"] in VERDICTS


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    changes=st.fixed_dictionaries(
        {
            "value": numbers,
            "sigma": numbers,
            "low": numbers,
            "high": numbers,
            "verdict": st.sampled_from([*VERDICTS, "ok"]),
            "reasons": st.lists(sentences, max_size=2),
        }
    )
)
def test_python_and_sql_accept_the_same_readings(sqlite_line: Any, changes: Any) -> None:
    allowed = may_be_stored(changes)
    reading = sqlite_line.reading(**changes)
    refused_in_python = refused_in_sql = False
    with sqlite_line.store._writer.connect() as connection:
        try:
            connection.execute(insert(table_of(Reading)), [reading.model_dump()])
        except IntegrityError:
            refused_in_sql = True
        connection.rollback()
    try:
        sqlite_line.store.record(reading)
    except StoreError:
        refused_in_python = True
    assert refused_in_python is not allowed
    only_nan = all(x is None or not math.isinf(x) for x in changes.values() if _is_number(x))
    has_nan = any(_is_number(x) and math.isnan(x) for x in changes.values())
    if not (has_nan and only_nan):
        assert refused_in_sql is not allowed


def _is_number(value: Any) -> bool:
    return isinstance(value, float)


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    value=st.floats(allow_nan=False, allow_infinity=False),
    sigma=st.floats(min_value=0, allow_nan=False, allow_infinity=False),
    at=times,
    unit=texts,
    reasons=st.lists(sentences, max_size=3),
    conditions=st.dictionaries(texts, json_values, max_size=3),
)
def test_a_reading_comes_back_bit_by_bit(
    sqlite_line: Any, value: float, sigma: float, at: datetime, unit: str, **more: Any
) -> None:
    reading = sqlite_line.reading(value=value, sigma=sigma, at=at, unit=unit, **more)
    sqlite_line.store.record(reading)
    sqlite_line.store.record(reading)
    with sqlite_line.store.session() as session:
        stored = session.get_one(Reading, reading.id)
    assert stored.model_dump() == reading.model_dump()
    assert stored.at.tzinfo is UTC


@cache
def empty_records() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="tessera-records-"))
    atexit.register(shutil.rmtree, folder)
    open_store(folder / "records.db", folder / "attachments").close()
    return folder / "records.db"


class Records(RuleBasedStateMachine):
    """Records, repeats, corrects and breaks rules at random; a list and a set know the truth."""

    readings: Bundle[Reading] = Bundle("readings")

    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tessera-records-"))
        shutil.copy(empty_records(), self.folder)
        self.store = open_store(self.folder / "records.db", self.folder / "attachments")
        site = Site(name="Hamburg")
        station = Station(site_id=site.id, name="1")
        operator = Operator(site_id=site.id, name="Ada")
        recipe = Recipe(name="led", version="1", sha256="ab" * 32, content={})
        self.part = Part(kind="tileboard", label="B1", site_id=site.id)
        self.run = Run(
            procedure="test_board",
            part_id=self.part.id,
            recipe_id=recipe.id,
            operator_id=operator.id,
            station_id=station.id,
            started_at=datetime(2026, 11, 21, tzinfo=UTC),
            software_version="1",
        )
        self.store.record(self.run, self.part, recipe, operator, station, site)
        self.recorded: list[UUID] = []
        self.superseded: set[UUID] = set()

    def make(self, channel: int | None, quantity: str, supersedes: UUID | None) -> Reading:
        return Reading(
            run_id=self.run.id,
            part_id=self.part.id,
            channel=channel,
            quantity=quantity,
            value=1.0,
            sigma=0.1,
            unit="1",
            method="m",
            verdict="pass",
            at=datetime(2026, 11, 21, tzinfo=UTC),
            supersedes=supersedes,
        )

    @rule(
        target=readings,
        channel=st.sampled_from([None, 0, 1]),
        quantity=st.sampled_from(["gain", "noise"]),
    )
    def record(self, channel: int | None, quantity: str) -> Reading:
        reading = self.make(channel, quantity, None)
        self.store.record(reading)
        self.recorded.append(reading.id)
        return reading

    @rule(old=readings)
    def record_again(self, old: Reading) -> None:
        self.store.record(old)

    @rule(
        target=readings,
        old=readings,
        channel=st.sampled_from([None, 0, 1]),
        quantity=st.sampled_from(["gain", "noise"]),
    )
    def supersede(self, old: Reading, channel: int | None, quantity: str) -> Reading:
        fits = (old.channel, old.quantity) == (channel, quantity)
        new = self.make(channel, quantity, old.id)
        if fits and old.id not in self.superseded:
            self.store.record(new)
            self.recorded.append(new.id)
            self.superseded.add(old.id)
            return new
        with pytest.raises(StoreError):
            self.store.record(self.make(channel, quantity, None), new)
        return old

    @rule(old=readings)
    def supersede_within_a_batch(self, old: Reading) -> None:
        first = self.make(old.channel, old.quantity, None)
        second = self.make(old.channel, old.quantity, first.id)
        self.store.record(second, old, first)
        self.recorded += [first.id, second.id]
        self.superseded.add(first.id)

    @rule(old=readings)
    def forge(self, old: Reading) -> None:
        with pytest.raises(StoreError):
            self.store.record(self.make(None, "gain", None), old.model_copy(update={"value": 2.0}))

    @rule()
    def supersede_nothing(self) -> None:
        with pytest.raises(StoreError):
            self.store.record(self.make(0, "gain", new_id()))

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = open_store(self.folder / "records.db", self.folder / "attachments")

    @invariant()
    def what_is_stored_is_what_was_recorded(self) -> None:
        if not hasattr(self, "store"):
            return
        assert stored_ids(self.store) == sorted(self.recorded)
        shown = readings_of_part_arrow(self.store, "B1").column("reading_id").to_pylist()
        assert set(shown) == {str(i) for i in self.recorded if i not in self.superseded}
        assert len(shown) == len(set(shown))
        sent = [row.fact_id for row in self.store.unsent(10_000) if row.table_name == "reading"]
        assert sent == [i.hex for i in self.recorded]

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.store.close()
            shutil.rmtree(self.folder)


def stored_ids(store: Store) -> list[UUID]:
    with store.session() as session:
        return sorted(session.exec(select(Reading.id)))


TestRecords = Records.TestCase
TestRecords.settings = settings(max_examples=12, stateful_step_count=12, deadline=None)
