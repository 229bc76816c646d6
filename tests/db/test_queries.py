from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

from db import Curve, Event, Finding, Picture, StoreError, new_id, queries


def assert_same(frame: pd.DataFrame, table: pa.Table) -> None:
    assert list(frame.columns) == table.schema.names
    assert len(frame) == table.num_rows


def test_readings_of_a_part_tell_all_about_each(line: Any) -> None:
    line.store.record(
        line.reading(
            low=30.0,
            high=50.0,
            conditions={"bias_v": 41.2},
            channel=None,
            verdict="flag",
            reasons=["two", "reasons"],
        ),
        line.reading(value=None, sigma=None, verdict="unknown", reasons=["no peaks"]),
    )
    frame = queries.readings_of_part(line.store, line.board.label)
    known, unknown = frame.to_dict("records")
    assert known["value"] == 41.5
    assert known["reasons"] == ["two", "reasons"]
    assert known["conditions"] == {"bias_v": 41.2}
    assert pd.isna(known["channel"])
    assert known["at"] == datetime(2026, 11, 21, 8, 30, 1, tzinfo=UTC)
    assert known["run_id"] == str(line.run.id)
    assert (known["recipe"], known["recipe_version"]) == ("led", "1")
    assert known["software_version"] == "0.1.0"
    assert pd.isna(known["ending"])
    assert pd.isna(unknown["value"])
    assert pd.isna(unknown["sigma"])
    assert unknown["channel"] == 3
    assert frame["channel"].dtype == "Int64"
    assert frame["value"].dtype == "float64"
    table = queries.readings_of_part_arrow(line.store, line.board.id)
    assert table.column("value").to_pylist() == [41.5, None]
    assert table.column("conditions").to_pylist() == ['{"bias_v": 41.2}', "{}"]
    assert table.schema.field("at").type == pa.timestamp("us", tz="UTC")
    assert_same(frame, table)


def test_a_part_that_is_not_there_is_refused(line: Any) -> None:
    for name in ("nobody", new_id()):
        with pytest.raises(StoreError, match=f"no part {name}"):
            queries.readings_of_part(line.store, name)


def test_questions_without_an_answer_give_empty_tables_with_all_columns(line: Any) -> None:
    for ask in (
        queries.readings_of_part,
        queries.module_readings,
        queries.genealogy,
        queries.assembly_of,
        queries.curves_of_part,
        queries.pictures_of_part,
        queries.findings_of_part,
        queries.events_of_part,
    ):
        frame = ask(line.store, line.board.label)
        assert frame.empty
        assert len(frame.columns) > 5
        assert frame.equals(frame.sort_values("at"))


def test_a_channels_history_spans_all_runs_and_only_that_channel(line: Any) -> None:
    first = line.reading(value=41.0)
    line.store.record(first, line.reading(channel=4), line.reading(quantity="noise"))
    line.end(line.run)
    second_run = line.start(line.board)
    wrong = line.reading(run_id=second_run.id, value=99.0)
    right = line.reading(run_id=second_run.id, value=42.0, supersedes=wrong.id)
    line.store.record(wrong, right, line.reading(channel=None, value=7.0))
    history = queries.channel_history(line.store, line.board.label, 3, "gain")
    assert list(history["value"]) == [41.0, 42.0]
    assert list(history["run_id"]) == [str(line.run.id), str(second_run.id)]
    every = queries.channel_history(line.store, line.board.label, 3, "gain", which="all")
    assert list(every["value"]) == [41.0, 99.0, 42.0]
    assert list(every["superseded_by"].fillna("")) == ["", str(right.id), ""]
    whole = queries.channel_history(line.store, line.board.label, None, "gain")
    assert list(whole["value"]) == [7.0]
    assert_same(
        every,
        queries.channel_history_arrow(line.store, line.board.label, 3, "gain", which="all"),
    )


def test_module_readings_are_the_newest_from_closed_runs(line: Any) -> None:
    line.store.record(
        line.reading(value=1.0),
        line.reading(value=2.0),
        line.reading(value=3.0, channel=4),
        line.reading(value=4.0, channel=None),
        line.reading(value=5.0, quantity="noise"),
    )
    line.end(line.run)
    open_run = line.start(line.board)
    line.store.record(line.reading(run_id=open_run.id, value=9.0))

    def values(**chosen: Any) -> dict[tuple[str, int], float]:
        frame = queries.module_readings(line.store, line.board.label, **chosen)
        return dict(
            zip(
                zip(frame["quantity"], frame["channel"].fillna(-1), strict=True),
                frame["value"],
                strict=True,
            )
        )

    expected = {("gain", -1): 4.0, ("gain", 3): 2.0, ("gain", 4): 3.0, ("noise", 3): 5.0}
    assert values() == expected
    assert list(values()) == list(expected)
    line.end(open_run, ending="aborted", verdict="unknown")
    assert values() == expected | {("gain", 3): 9.0}
    assert values(endings=("done",)) == expected


def test_a_superseded_reading_is_never_a_module_reading(line: Any) -> None:
    wrong = line.reading(value=99.0)
    line.store.record(line.reading(value=41.0), wrong)
    line.end(line.run)
    review = line.start(line.board, "review")
    right = line.reading(run_id=review.id, value=42.0, supersedes=wrong.id)
    line.store.record(right)
    frame = queries.module_readings(line.store, line.board.label)
    assert list(frame["value"]) == [41.0]
    line.end(review)
    frame = queries.module_readings(line.store, line.board.label)
    assert list(frame["value"]) == [42.0]


@pytest.fixture
def module(line: Any) -> Any:
    """M1 = board + 12 wrapped tiles, each around a tile; M1 sits on a motherboard."""
    module, mother = line.part("tile_module", "M1"), line.part("motherboard", "MB")
    facts = [line.assembly(module, line.board, "board"), line.assembly(mother, module, "2")]
    for number in reversed(range(1, 13)):
        wrapped, tile = (
            line.part("wrapped_tile", f"W{number}"),
            line.part("tile", f"T{number}"),
        )
        facts += [
            line.assembly(wrapped, tile, "wraps"),
            line.assembly(module, wrapped, f"R1C{number}"),
        ]
    line.store.record(*facts)
    return line


def test_genealogy_goes_down_to_the_last_part_in_the_order_of_positions(module: Any) -> None:
    frame = queries.genealogy(module.store, "M1")
    assert list(frame["direction"].unique()) == ["child"]
    direct = frame[frame["depth"] == 1]
    assert list(direct["position"]) == [*(f"R1C{i}" for i in range(1, 13)), "board"]
    deep = frame[frame["depth"] == 2]
    assert set(zip(deep["parent_label"], deep["child_label"], strict=True)) == {
        (f"W{i}", f"T{i}") for i in range(1, 13)
    }
    assert set(deep["child_kind"]) == {"tile"}
    assert len(frame) == 25
    assert_same(frame, queries.genealogy_arrow(module.store, "M1"))


def test_genealogy_goes_up_and_both_ways(module: Any) -> None:
    up = queries.genealogy(module.store, "T3", direction="up")
    assert list(up["parent_label"]) == ["W3", "M1", "MB"]
    assert list(up["depth"]) == [1, 2, 3]
    both = queries.genealogy(module.store, "W3", direction="both")
    assert list(zip(both["direction"], both["parent_label"], strict=True)) == [
        ("parent", "M1"),
        ("parent", "MB"),
        ("child", "W3"),
    ]


def test_assembly_of_a_module_lists_direct_parts_with_their_placement(module: Any) -> None:
    frame = queries.assembly_of(module.store, "M1")
    assert list(frame["position"]) == [*(f"R1C{i}" for i in range(1, 13)), "board"]
    assert set(frame["x_mm"]) == {1.0}
    assert set(frame["sigma_mm"]) == {0.01}
    assert_same(frame, queries.assembly_of_arrow(module.store, "M1"))


def test_runs_of_a_part_name_everything_and_how_they_ended(line: Any) -> None:
    line.end(line.run, ending="tripped", verdict="fail")
    line.start(line.board)
    first, second = queries.runs_of_part(line.store, line.board.label).to_dict("records")
    assert (first["ending"], first["verdict"]) == ("tripped", "fail")
    assert first["reasons"] == ["somebody stopped it"]
    assert (first["operator"], first["station"], first["site"]) == ("Ada", "line 1", "Hamburg")
    assert first["recipe_sha256"] == "ab" * 32
    assert first["ended_at"] > first["started_at"]
    assert pd.isna(second["ending"])
    assert pd.isna(second["ended_at"])
    assert second["reasons"] is None
    assert second["instruments"] == {"bias": {"serial": "04412345"}}
    assert queries.runs_of_part_arrow(line.store, line.board.label).num_rows == 2


def test_run_counts_are_those_of_the_span_by_ending(line: Any) -> None:
    line.end(line.run)
    line.end(line.start(line.board))
    line.end(line.start(line.board), ending="aborted", verdict="unknown")
    line.start(line.board)
    day = datetime(2026, 11, 21, tzinfo=UTC)
    frame = queries.run_counts(line.store, day, day + timedelta(days=1))
    counts = dict(zip(frame["ending"].fillna("open"), frame["runs"], strict=True))
    assert counts == {"done": 2, "aborted": 1, "open": 1}
    assert queries.run_counts(line.store, day + timedelta(days=1)).empty
    assert queries.run_counts_arrow(line.store, day).column("runs").to_pylist() == list(
        frame["runs"]
    )


def test_curves_pictures_findings_and_events_of_a_part_come_with_their_files(line: Any) -> None:
    sha256 = line.store.attach(b"pixels", "image/png")
    where = {"run_id": line.run.id, "part_id": line.board.id}
    picture = Picture(
        purpose="after placing",
        sha256=sha256,
        media_type="image/png",
        mm_per_px=0.01,
        pose={"x_mm": 3.0},
        at=line.now(),
        **where,
    )
    line.store.record(
        picture,
        Curve(
            channel=5,
            quantity="charge",
            x_unit="ADC",
            y_unit="1",
            sha256=sha256,
            meta={"n": 3},
            at=line.now(),
            **where,
        ),
        Finding(
            kind="chip",
            x_mm=1.0,
            y_mm=2.0,
            area_mm2=0.5,
            verdict="flag",
            picture_id=picture.id,
            at=line.now(),
            **where,
        ),
        Finding(kind="scratch", verdict="pass", at=line.now(), **where),
        Event(
            run_id=line.run.id,
            station_id=line.station.id,
            at=line.now(),
            kind="trip",
            text="over-current",
            data={"current_a": 1e-3},
        ),
    )
    label, store = line.board.label, line.store
    (curve,) = queries.curves_of_part(store, label).to_dict("records")
    assert (curve["sha256"], curve["channel"], curve["meta"]) == (sha256, 5, {"n": 3})
    (shot,) = queries.pictures_of_part(store, label).to_dict("records")
    assert (shot["sha256"], shot["pose"], shot["purpose"]) == (
        sha256,
        {"x_mm": 3.0},
        "after placing",
    )
    chip, scratch = queries.findings_of_part(store, label).to_dict("records")
    assert (chip["picture_sha256"], chip["x_mm"]) == (sha256, 1.0)
    assert pd.isna(scratch["picture_sha256"])
    (trip,) = queries.events_of_part(store, label).to_dict("records")
    assert (trip["text"], trip["data"]) == ("over-current", {"current_a": 1e-3})
    arrows: list[tuple[Callable[..., pa.Table], int]] = [
        (queries.curves_of_part_arrow, 1),
        (queries.pictures_of_part_arrow, 1),
        (queries.findings_of_part_arrow, 2),
        (queries.events_of_part_arrow, 1),
    ]
    assert [(ask(store, label).num_rows) for ask, _ in arrows] == [n for _, n in arrows]
