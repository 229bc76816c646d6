"""No part gets more than 6 V above its breakdown; what is refused names part, limit and source."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

import db
from db import Store
from station.bias_ceiling import (
    BiasCeiling,
    BiasNotAllowedError,
    KnownBreakdown,
    breakdown_from_records,
    ceiling_over,
)
from station.line import Line
from station.run_record import Crew
from station.twin.server import Twin

Measure = Callable[..., db.Reading]


@pytest.fixture
def run(store: Store, crew: Crew, module: db.Part) -> db.Run:
    recipe = store.ensure_recipe(
        db.Recipe(name="test_board", version="1", sha256="0" * 64, content={})
    )
    run = db.Run(
        procedure="test_board",
        part_id=module.id,
        recipe_id=recipe.id,
        operator_id=crew.operator_id,
        station_id=crew.station_id,
        started_at=datetime.now(UTC),
        software_version="0",
    )
    store.record(run)
    return run


@pytest.fixture
def measure(store: Store, run: db.Run, module: db.Part) -> Measure:
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    count = iter(range(1000))

    def record(
        value: float,
        *,
        channel: int | None = None,
        verdict: str = "pass",
        quantity: str = "vbd_iv",
        part: db.Part = module,
        temperature_c: float | None = 25.0,
        supersedes: db.Reading | None = None,
    ) -> db.Reading:
        reading = db.Reading(
            run_id=run.id,
            part_id=part.id,
            channel=channel,
            quantity=quantity,
            value=value,
            sigma=0.1,
            unit="V",
            method="test",
            verdict=verdict,
            reasons=[] if verdict != "unknown" else ["cannot tell"],
            conditions={} if temperature_c is None else {"temperature_c": temperature_c},
            at=begun + timedelta(minutes=next(count)),
            supersedes=None if supersedes is None else supersedes.id,
        )
        store.record(reading)
        return reading

    return record


def test_the_ceiling_is_6_v_over_the_breakdown_at_the_boards_temperature() -> None:
    known = KnownBreakdown(38.0, 25.0, "vbd_gain of the records")
    cold = ceiling_over(known, "SN1", temperature_c=-30.0, slope_v_per_k=0.034)
    assert cold.voltage_v == pytest.approx(38.0 - 55 * 0.034 + 6.0)
    cold.check(42.12)
    with pytest.raises(BiasNotAllowedError) as refused:
        cold.check(42.14)
    message = str(refused.value)
    assert "42.14 V is not allowed for SN1: at most 42.13 V" in message
    assert "vbd_gain of the records" in message


@pytest.mark.parametrize("voltage_v", [43.6, -43.6, float("nan"), float("inf")])
def test_what_is_no_allowed_voltage_is_refused(voltage_v: float) -> None:
    with pytest.raises(BiasNotAllowedError):
        BiasCeiling(43.5, "SN1", "recipe").check(voltage_v)


def test_a_part_without_a_breakdown_in_the_records_has_none(
    store: Store, module: db.Part, measure: Measure
) -> None:
    assert breakdown_from_records(store, [module.id]) is None
    measure(30.0, verdict="fail")
    measure(30.0, verdict="unknown")
    assert breakdown_from_records(store, [module.id]) is None


def test_the_lowest_of_the_newest_readings_counts(
    store: Store, module: db.Part, measure: Measure
) -> None:
    measure(36.0, channel=0)
    measure(37.9, channel=0)
    measure(37.5, channel=1, temperature_c=None)
    measure(38.2)
    known = breakdown_from_records(store, [module.id])
    assert known is not None
    assert (known.vbd_v, known.temperature_c) == (37.5, None)
    assert known.source == "vbd_iv of the records, measured 2026-01-01 00:02 UTC"


def test_a_corrected_reading_does_not_count(
    store: Store, module: db.Part, measure: Measure
) -> None:
    wrong = measure(33.0)
    measure(38.0, supersedes=wrong)
    known = breakdown_from_records(store, [module.id])
    assert known is not None
    assert known.vbd_v == 38.0


def test_a_sipm_that_is_built_in_counts(
    store: Store, crew: Crew, run: db.Run, module: db.Part, measure: Measure
) -> None:
    sipm = store.ensure_part(db.Part(kind="sipm", label="S1", site_id=crew.site_id))
    now = datetime.now(UTC)
    store.record(
        db.Assembly(parent_id=module.id, child_id=sipm.id, position="C0", run_id=run.id, at=now)
    )
    measure(38.0)
    measure(37.2, part=sipm, quantity="vbd_gain")
    known = breakdown_from_records(store, [module.id])
    assert known is not None
    assert known.vbd_v == 37.2


def test_a_line_sends_nothing_above_the_ceiling_of_its_part_or_of_its_profile(
    line: Line, twin: Twin
) -> None:
    line.switch_bias_on()
    with pytest.raises(BiasNotAllowedError, match=r"this line: at most 45.00 V \(max_voltage_v"):
        line.ramp_bias(45.5)
    line.limit_bias(BiasCeiling(30.0, "SN1", "recipe"))
    with pytest.raises(BiasNotAllowedError, match="SN1"):
        line.ramp_bias(30.1)
    assert twin.bias.true_voltage_v() < 0.1
    line.ramp_bias(30.0)
    line.limit_bias(None)
    line.bias_down()
