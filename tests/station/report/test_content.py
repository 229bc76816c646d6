from dataclasses import replace

import pytest

import db
from station.catalogue import Catalogue
from station.report import ReportError, collect
from station.report.model import channel_numbers
from tests.station.report.recorded import Bench, Module, record_module, record_test


def test_a_finished_module_has_a_verdict_and_nothing_missing(bench: Bench) -> None:
    module = record_module(bench, "G3L")
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.missing == ()
    assert report.verdict == "pass"
    assert report.flagged == ()
    assert set(report.channel_verdicts.values()) == {"pass"}
    assert len(report.channel_verdicts) == module.shape.n_channels
    assert report.iv is not None


def test_readings_come_with_error_unit_limits_and_verdict(shown: tuple[Bench, Module]) -> None:
    bench, module = shown
    report = collect(bench.store, bench.catalogue, module.label)
    gain = report.readings[7]["gain"]
    assert (gain.value, gain.sigma, gain.unit) == (pytest.approx(24.31), 0.051, "ADC/pe")
    assert (gain.low, gain.high, gain.verdict) == (26.0, 30.5, "fail")
    assert report.readings[None]["vbd_iv"].value == pytest.approx(38.342)


def test_channels_that_did_not_pass_come_worst_first_with_reason_and_spectrum(
    shown: tuple[Bench, Module],
) -> None:
    bench, module = shown
    report = collect(bench.store, bench.catalogue, module.label)
    assert [(f.channel, f.verdict) for f in report.flagged] == [
        (7, "fail"),
        (12, "unknown"),
        (3, "flag"),
    ]
    failed = report.flagged[0]
    assert failed.reasons == ("gain 24.31 ± 0.05 ADC/pe: 1.69 beyond the lower limit 26",)
    assert failed.spectrum is not None
    assert len(failed.spectrum.x) == len(failed.spectrum.y) + 1
    assert failed.spectrum.model is not None


def test_genealogy_reaches_the_bare_tiles(shown: tuple[Bench, Module]) -> None:
    bench, module = shown
    report = collect(bench.store, bench.catalogue, module.label)
    kinds = {part.kind: part.depth for part in report.parts}
    assert kinds == {"tile_module": 0, "tileboard": 1, "wrapped_tile": 1, "tile": 2}
    tile = report.tiles[3]
    assert tile.position.index == 3
    assert tile.wrapped_label.startswith("320TC")
    assert tile.bare_label.startswith("320BC")
    assert tile.inspection == "flag"
    assert tile.sizes["height"].sigma == 0.006
    assert tile.placement["sipm_offset_x"].high == 0.25


def test_a_finding_comes_with_the_picture_taken_before_it(shown: tuple[Bench, Module]) -> None:
    bench, module = shown
    report = collect(bench.store, bench.catalogue, module.label)
    (finding,) = report.findings
    assert (finding.kind, finding.position, finding.area_mm2) == ("chip", "R1C4", 0.42)
    assert finding.picture is not None
    assert finding.picture.startswith(b"\xff\xd8")


def test_runs_name_operator_recipe_software_and_instruments(shown: tuple[Bench, Module]) -> None:
    bench, module = shown
    report = collect(bench.store, bench.catalogue, module.label)
    assert [run.procedure for run in report.runs] == ["place_tiles", "test_board"]
    test = report.runs[-1]
    assert (test.operator, test.station, test.ending) == ("A. Weber", "line 2", "done")
    assert (test.recipe_name, test.recipe_version) == ("test_board", "1")
    assert test.instruments["bias"]["serial"] == "04096331"
    assert len(report.tile_runs) == module.shape.n_channels


def test_without_a_test_there_is_no_verdict_but_what_is_missing(bench: Bench) -> None:
    module = record_module(bench, "G3L", skip=("test_board",))
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    assert report.missing == ("electrical test: not done yet",)


def test_a_module_that_only_has_a_label_misses_everything(bench: Bench) -> None:
    module = record_module(bench, "G3L", skip=("inspect_tile", "place_tiles", "test_board"))
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    assert report.missing == ("tile placement: not done yet", "electrical test: not done yet")
    assert report.records_until is None


def test_an_interrupted_test_leaves_the_module_unfinished(bench: Bench) -> None:
    module = record_module(bench, "G3L", bad={2: "fail"}, test_ending="interrupted")
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    (missing,) = report.missing
    assert missing.startswith("electrical test: the last run, of 2026-11-20")
    assert "was interrupted (interrupted: the operator stopped it)" in missing
    assert report.readings[2]["gain"].verdict == "fail"
    assert any("that was interrupted" in notice for notice in report.notices)


def test_an_earlier_pass_does_not_cover_an_interrupted_repetition(bench: Bench) -> None:
    module = record_module(bench, "G3L")
    record_test(bench, module, bad={}, ending="aborted", channels=(0,))
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    assert "was aborted" in report.missing[0]


def test_an_open_run_is_named_and_what_it_measured_is_left_out(bench: Bench) -> None:
    module = record_module(bench, "G3L", bad={1: "fail"}, test_ending=None)
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    assert report.readings == {}
    assert report.flagged == ()
    assert report.iv is None
    assert any("has not ended" in text for text in report.missing)
    assert any("not in this report" in text for text in report.notices)


def test_the_newest_reading_of_a_repeated_test_counts(bench: Bench) -> None:
    module = record_module(bench, "G3L", bad={4: "fail"})
    record_test(bench, module, bad={})
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict == "pass"
    assert report.readings[4]["gain"].verdict == "pass"
    assert report.flagged == ()


def test_channels_that_a_test_left_out_are_listed(bench: Bench) -> None:
    module = record_module(bench, "G3L", skip=("test_board",))
    channels = tuple(c for c in range(module.shape.n_channels) if c not in (3, 5, 6, 7))
    record_test(bench, module, bad={}, channels=channels)
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    n = module.shape.n_channels
    assert report.missing[0] == f"gain: no reading of 4 of {n} channels in the last test (3, 5–7)"


def test_a_repetition_that_left_channels_out_does_not_rest_on_the_earlier_test(
    bench: Bench,
) -> None:
    module = record_module(bench, "G3L", bad={4: "fail"})
    record_test(bench, module, bad={}, channels=(0, 1, 2))
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    assert "in the last test (3–17)" in report.missing[0]


def test_a_placement_that_went_on_after_an_interruption_is_finished(bench: Bench) -> None:
    module = record_module(bench, "G3L", placing=((7, "interrupted"), (1000, "done")))
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.missing == ()
    assert report.verdict == "pass"


def test_a_placement_cut_off_after_its_last_tile_is_finished(bench: Bench) -> None:
    module = record_module(bench, "G3L", placing=((1000, "interrupted"),))
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.missing == ()
    assert report.verdict == "pass"


def test_a_placement_cut_off_in_the_middle_is_not_finished(bench: Bench) -> None:
    module = record_module(bench, "G3L", placing=((7, "interrupted"),))
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    assert "was interrupted" in report.missing[0]
    assert report.missing[1] == "tiles: 11 of 18 positions have none (7–17)"


def test_a_tile_that_an_earlier_run_placed_badly_still_counts(bench: Bench) -> None:
    module = record_module(bench, "G3L", placing=((7, "interrupted"),), skip=("test_board",))
    run = bench.run("place_tiles", module.part.id)
    far = bench.reading(
        run, module.part.id, "sipm_offset_x", 0.31, 0.01, "mm", channel=2, low=-0.25, high=0.25,
        verdict="fail", reasons=("sipm_offset_x 0.31 mm: beyond the upper limit",),
    )  # fmt: skip
    bench.store.record(run, far, bench.end(run, "unknown", "interrupted", ending="interrupted"))
    record_test(bench, module, bad={})
    report = collect(bench.store, bench.catalogue, module.label)
    assert "R1C5: sipm_offset_x 0.31 mm: beyond the upper limit" in report.reasons


def test_tiles_without_inspection_are_listed(bench: Bench) -> None:
    module = record_module(bench, "G3L", skip=("inspect_tile",))
    report = collect(bench.store, bench.catalogue, module.label)
    n = module.shape.n_channels
    assert report.verdict is None
    assert report.missing == (
        f"inspection: the tiles at {n} positions have none that was finished (0–{n - 1})",
    )


def _correction(bench: Bench, module: Module, verdict: str, channel: int) -> None:
    with bench.store.session() as session:
        from sqlmodel import select

        old = session.exec(
            select(db.Reading).where(db.Reading.quantity == "gain", db.Reading.channel == channel)
        ).one()
    run = bench.run("correct", module.part.id)
    new = bench.reading(
        run, module.part.id, "gain", 27.7, 0.06, "ADC/pe", channel=channel, low=26.0, high=30.5,
        verdict=verdict, supersedes=old.id,
        reasons=("read again",) if verdict != "pass" else (),
    )  # fmt: skip
    bench.store.record(run, new, bench.end(run))


def test_a_correction_replaces_what_it_supersedes(bench: Bench) -> None:
    module = record_module(bench, "G3L")
    _correction(bench, module, "pass", 4)
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.readings[4]["gain"].value == 27.7
    assert report.verdict == "pass"


def test_a_correction_to_another_verdict_takes_the_modules_verdict_away(bench: Bench) -> None:
    module = record_module(bench, "G3L")
    _correction(bench, module, "fail", 4)
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.verdict is None
    assert "must be judged again" in report.missing[0]


def test_a_tile_of_the_wrong_format_fails_the_module(bench: Bench, catalogue: Catalogue) -> None:
    module = record_module(bench, "G3L")
    shape = catalogue.board_shapes["G3L"]
    other = next(c for c in catalogue.tile_formats if c != shape.positions[0].format_code)
    changed = replace(
        shape,
        positions=(replace(shape.positions[0], format_code=other), *shape.positions[1:]),
    )
    swapped = replace(catalogue, board_shapes={**catalogue.board_shapes, "G3L": changed})
    report = collect(bench.store, swapped, module.label)
    assert report.verdict == "fail"
    assert any(f"the position needs {other}" in reason for reason in report.reasons)


def test_a_damaged_spectrum_is_said_and_not_drawn(bench: Bench) -> None:
    module = record_module(bench, "G3L", bad={2: "fail"})
    with bench.store.session() as session:
        from sqlmodel import select

        curve = session.exec(select(db.Curve).where(db.Curve.channel == 2)).one()
    path = bench.store.attachment_path(curve.sha256)
    path.chmod(0o644)
    path.write_bytes(b"nothing like a spectrum")
    report = collect(bench.store, bench.catalogue, module.label)
    assert report.flagged[0].spectrum is None
    assert any("spectrum of channel 2: its file can't be read" in n for n in report.notices)
    assert report.verdict == "fail"


def test_units_that_differ_within_a_quantity_are_refused(bench: Bench) -> None:
    module = record_module(bench, "G3L")
    run = bench.run("test_board", module.part.id)
    odd = bench.reading(run, module.part.id, "gain", 1.0, 0.1, "electrons", channel=0)
    bench.store.record(run, odd, bench.end(run))
    with pytest.raises(ReportError, match="gain is recorded in different units"):
        collect(bench.store, bench.catalogue, module.label)


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("320TMD8FC000001", "no part with this label"),
        ("320BC1200000001", "label of a tile"),
        ("hello", "character"),
    ],
)
def test_a_label_without_a_module_is_refused_by_name(bench: Bench, label: str, reason: str) -> None:
    with pytest.raises(ReportError, match=reason) as refused:
        collect(bench.store, bench.catalogue, label)
    assert label in str(refused.value)
    assert refused.value.label == label


def test_a_board_shape_that_the_catalogue_lacks_is_refused(
    bench: Bench, catalogue: Catalogue
) -> None:
    module = record_module(bench, "G3L", skip=("inspect_tile", "place_tiles", "test_board"))
    empty = replace(catalogue, board_shapes={})
    with pytest.raises(ReportError, match="no board shape G3L"):
        collect(bench.store, empty, module.label)


def test_channels_are_listed_as_people_do() -> None:
    assert channel_numbers([9, 3, 5, 6, 8, 7, 11, 12]) == "3, 5–9, 11, 12"
    assert channel_numbers([]) == ""
