"""Results that survive a killed run."""

from pathlib import Path

import pytest

from analysis.sipm.batch import BatchError
from analysis.sipm.batch.journal import FILE, Journal, read_records


def record(key: str, *, again: bool = False) -> dict[str, object]:
    return {"key": key, "again": again, "reason": "größer"}


def test_finished_keys_are_known_when_the_journal_is_opened_again(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append([record("a"), record("b")])
        assert journal.finished == {"a", "b"}
    with Journal(tmp_path) as journal:
        assert journal.finished == {"a", "b"}


def test_what_is_worth_another_try_is_not_finished(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append([record("a", again=True)])
        assert journal.finished == set()


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_half_written_last_line_is_cut_off_and_nothing_else(tmp_path: Path, cut: int) -> None:
    with Journal(tmp_path) as journal:
        journal.append([record("a"), record("b")])
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes()[:-cut])
    with Journal(tmp_path) as journal:
        assert journal.finished == {"a"}
        journal.append([record("c")])
    assert [found["key"] for found in read_records(file)] == ["a", "c"]


def test_a_half_line_alone_is_cut_off(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"key": "a"')
    with Journal(tmp_path) as journal:
        assert journal.finished == set()
    assert (tmp_path / FILE).read_bytes() == b""


def test_damaged_lines_are_passed_over(tmp_path: Path) -> None:
    with Journal(tmp_path) as journal:
        journal.append([record("a")])
    with (tmp_path / FILE).open("ab") as stream:
        stream.write(b"\xff\x00 nonsense\n[1, 2]\n")
    with Journal(tmp_path) as journal:
        assert journal.finished == {"a"}


def test_two_batches_do_not_write_into_one_folder(tmp_path: Path) -> None:
    with Journal(tmp_path), pytest.raises(BatchError, match="another batch"):
        Journal(tmp_path)
    with Journal(tmp_path):
        pass


def test_a_folder_that_cannot_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BatchError, match="file"):
        Journal(tmp_path / "file" / "out")
