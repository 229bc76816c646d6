"""Milliseconds per saved result, as `make bench` shows them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from db import Operator, Part, Reading, Recipe, Run, Site, Station, Store, open_store
from db.queries import module_readings_arrow

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "records.db", tmp_path / "attachments") as store:
        yield store


@pytest.fixture
def run(store: Store) -> Run:
    site = Site(name="Hamburg")
    station = Station(site_id=site.id, name="1")
    operator = Operator(site_id=site.id, name="Ada")
    recipe = Recipe(name="led", version="1", sha256="ab" * 32, content={})
    part = Part(kind="tileboard", label="B1", site_id=site.id)
    run = Run(
        procedure="test_board",
        part_id=part.id,
        recipe_id=recipe.id,
        operator_id=operator.id,
        station_id=station.id,
        started_at=NOW,
        software_version="1",
    )
    store.record(site, station, operator, recipe, part, run)
    return run


def readings(run: Run, n: int) -> list[Reading]:
    return [
        Reading(
            run_id=run.id,
            part_id=run.part_id,
            channel=channel,
            quantity="gain",
            value=41.5,
            sigma=0.2,
            unit="ADC/pe",
            method="peak fit",
            verdict="pass",
            conditions={"bias_v": 41.2, "temperature_c": 21.5},
            at=NOW,
        )
        for channel in range(n)
    ]


def test_one_result_saved_with_full_durability(benchmark: Any, store: Store, run: Run) -> None:
    benchmark.pedantic(
        store.record, setup=lambda: (tuple(readings(run, 1)), {}), rounds=300, warmup_rounds=5
    )


def test_a_board_of_400_results_saved_in_one_transaction(
    benchmark: Any, store: Store, run: Run
) -> None:
    benchmark.pedantic(
        store.record, setup=lambda: (tuple(readings(run, 400)), {}), rounds=20, warmup_rounds=1
    )


def test_a_curve_of_20_kb_attached(benchmark: Any, store: Store) -> None:
    numbers = iter(range(1_000_000))
    benchmark.pedantic(
        store.attach,
        setup=lambda: ((next(numbers).to_bytes(20_000, "little"), "application/x-npz"), {}),
        rounds=200,
        warmup_rounds=5,
    )


def test_the_newest_readings_of_a_module_with_20_000_readings(
    benchmark: Any, store: Store, run: Run
) -> None:
    for _ in range(50):
        store.record(*readings(run, 400))
    benchmark(module_readings_arrow, store, "B1")


def test_opening_the_records(benchmark: Any, tmp_path: Path, store: Store) -> None:
    benchmark(lambda: open_store(tmp_path / "records.db", tmp_path / "attachments").close())
