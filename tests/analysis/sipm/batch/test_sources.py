"""Finding spectrum files and their light-off partners."""

import os
from pathlib import Path

import pytest

from analysis.sipm.batch import Item, Naming, find_items
from analysis.sipm.batch.parts import Expected, InFile, Refused
from tests.analysis.sipm.batch.toys import Toy, write_csv

CHARGES = Toy(1, 41.0).charges(n_events=200)


def items(*sources: str | Path, pattern: str | None = None) -> list[Item]:
    return list(find_items(sources, Naming(pattern)))


def names(found: list[Item]) -> list[str]:
    return [Path(item.source).name for item in found]


def test_folders_are_searched_to_the_bottom_for_spectra_only(tmp_path: Path) -> None:
    for name in ("a/ch1.csv", "a/b/ch2.txt", "a/.hidden/ch3.csv", "a/notes.md", "a/plot.png"):
        write_csv(tmp_path / name, CHARGES)
    assert sorted(names(items(tmp_path))) == ["ch1.csv", "ch2.txt"]


def test_the_folder_of_the_results_is_left_out(tmp_path: Path) -> None:
    write_csv(tmp_path / "ch1.csv", CHARGES)
    write_csv(tmp_path / "out" / "summary.csv", CHARGES)
    found = list(find_items([tmp_path], Naming(), leave_out=tmp_path / "out"))
    assert names(found) == ["ch1.csv"]


def test_patterns_find_files_and_the_same_file_counts_once(tmp_path: Path) -> None:
    for channel in range(3):
        write_csv(tmp_path / f"ch{channel}.csv", CHARGES)
    assert names(items(str(tmp_path / "ch[01].csv"), tmp_path / "ch0.csv")) == [
        "ch0.csv",
        "ch1.csv",
    ]


def test_light_off_goes_with_the_light_on_of_its_name(tmp_path: Path) -> None:
    for name in ("run1_40V_on", "run1_40V_off", "run1_41V_on", "run2_41V_off"):
        write_csv(tmp_path / f"{name}.csv", CHARGES)
    found = {Path(item.source).stem: item for item in items(tmp_path)}
    assert Path(found["run1_40V_on"].off_source).stem == "run1_40V_off"
    assert found["run1_41V_on"].off is None
    assert set(found) == {"run1_40V_on", "run1_41V_on", "run2_41V_off"}


def test_light_off_of_another_run_goes_with_the_same_channel_and_bias(tmp_path: Path) -> None:
    for name in ("run1_ch3_40V_led", "run2_ch3_40V_dark", "run3_ch4_40V_dark"):
        write_csv(tmp_path / f"{name}.csv", CHARGES)
    found = {Path(item.source).stem: item for item in items(tmp_path)}
    assert Path(found["run1_ch3_40V_led"].off_source).stem == "run2_ch3_40V_dark"
    assert set(found) == {"run1_ch3_40V_led", "run3_ch4_40V_dark"}


def test_of_two_light_off_spectra_none_is_guessed(tmp_path: Path) -> None:
    for name in ("run1_ch3_40V_on", "run2_ch3_40V_off", "run3_ch3_40V_off"):
        write_csv(tmp_path / f"{name}.csv", CHARGES)
    (item,) = items(tmp_path)
    assert item.off is None
    assert "2 light-off spectra fit, none is used" in item.notes[0]


def test_other_temperatures_and_other_folders_are_no_partners(tmp_path: Path) -> None:
    for name in ("a/ch1_40V_20C_on", "a/ch1_40V_25C_off", "b/ch1_40V_20C_off"):
        write_csv(tmp_path / f"{name}.csv", CHARGES)
    found = items(tmp_path)
    assert len(found) == 3
    assert all(item.off is None for item in found)


def test_a_pattern_pairs_names_that_say_it_in_their_own_way(tmp_path: Path) -> None:
    for name in ("B1_07_405_x_on", "B1_07_405_y_off"):
        write_csv(tmp_path / f"{name}.csv", CHARGES)
    (item,) = items(tmp_path, pattern="{board}_{channel}_{bias_v}_{}_{light}")
    assert (item.channel, item.bias_v) == (7, 405.0)
    assert Path(item.off_source).stem == "B1_07_405_y_off"


def test_what_is_not_there_is_an_item_that_says_so(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    first, second = items(empty, tmp_path / "missing.csv")
    assert isinstance(first.on, Refused)
    assert "no spectrum files" in first.on.reason
    assert isinstance(second.on, InFile)
    assert second.source == str(tmp_path / "missing.csv")


def test_the_identity_changes_with_the_file_and_with_its_partner(tmp_path: Path) -> None:
    on = write_csv(tmp_path / "ch1_40V_on.csv", CHARGES)
    alone = items(tmp_path)[0].identity
    off = write_csv(tmp_path / "ch1_40V_off.csv", CHARGES)
    paired = items(tmp_path)[0].identity
    assert items(tmp_path)[0].identity == paired != alone
    os.utime(off, ns=(1, 1))
    later = items(tmp_path)[0].identity
    assert later != paired
    on.write_text(on.read_text() + "500,1\n")
    assert items(tmp_path)[0].identity != later


def test_the_number_to_expect_is_known_before_files_are_read(tmp_path: Path) -> None:
    for channel in range(5):
        write_csv(tmp_path / f"ch{channel}_on.csv", CHARGES)
        write_csv(tmp_path / f"ch{channel}_off.csv", CHARGES)
    expected = Expected()
    next(iter(find_items([tmp_path], Naming(), expected=expected)))
    assert expected.spectra == 5


def test_a_name_without_sense_as_pattern_is_refused(tmp_path: Path) -> None:
    write_csv(tmp_path / "ch1.csv", CHARGES)
    with pytest.raises(ValueError, match="no name in braces"):
        items(tmp_path, pattern="ch1")
