from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot
from numpy.typing import NDArray

from drivers.tileboard_tester.run_file import (
    BRANCHES,
    TREE,
    RunFileError,
    read_run,
    run_words,
    write_words,
)

N_EVENTS = 20


@pytest.fixture
def adc() -> NDArray[np.int_]:
    return np.random.default_rng(5).integers(0, 1024, (144, N_EVENTS))


def written(folder: Path, words: dict[str, NDArray[Any]]) -> Path:
    path = folder / "run0.root"
    write_words(path, words)
    return path


def refusal(path: Path, n_events: int = N_EVENTS, n_rocs: int = 2) -> str:
    with pytest.raises(RunFileError) as caught:
        read_run(path, n_rocs=n_rocs, n_events=n_events)
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_charges_survive_the_file(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    read = read_run(written(tmp_path, run_words(adc, 2)), n_rocs=2, n_events=N_EVENTS)
    assert read.dtype == np.int_
    assert np.array_equal(read, adc)


def test_a_channel_is_found_by_chip_half_and_word(tmp_path: Path) -> None:
    adc = np.zeros((144, 1), np.int_)
    adc[72 + 36 + 5] = 777
    words = run_words(adc, 2)
    (row,) = np.flatnonzero(words["adc"])
    assert {name: int(words[name][row]) for name in ("event", "chip", "half", "channel")} == {
        "event": 0,
        "chip": 1,
        "half": 1,
        "channel": 5,
    }
    read = read_run(written(tmp_path, words), n_rocs=2, n_events=1)
    assert np.flatnonzero(read[:, 0]).tolist() == [113]


def test_calibration_and_common_mode_words_are_no_channels(
    tmp_path: Path, adc: NDArray[np.int_]
) -> None:
    words = run_words(adc, 2)
    assert words["channel"].max() == 38
    words["adc"][words["channel"] >= 36] = 999
    assert np.array_equal(read_run(written(tmp_path, words), n_rocs=2, n_events=N_EVENTS), adc)


def test_the_order_of_rows_does_not_matter(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    words = run_words(adc, 2)
    order = np.random.default_rng(1).permutation(words["event"].size)
    shuffled = {name: values[order] for name, values in words.items()}
    assert np.array_equal(read_run(written(tmp_path, shuffled), n_rocs=2, n_events=N_EVENTS), adc)


@pytest.mark.parametrize("step", [1, 3])
def test_event_numbers_may_start_anywhere_and_have_gaps(
    tmp_path: Path, adc: NDArray[np.int_], step: int
) -> None:
    words = run_words(adc, 2)
    words["event"] = words["event"] * step + 1000
    assert np.array_equal(read_run(written(tmp_path, words), n_rocs=2, n_events=N_EVENTS), adc)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "run0.root")


@pytest.mark.parametrize("part", [0.0, 0.01, 0.3, 0.6, 0.99])
def test_a_truncated_file_is_refused(tmp_path: Path, adc: NDArray[np.int_], part: float) -> None:
    path = written(tmp_path, run_words(adc, 2))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    assert "broken or truncated" in refusal(path)


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run0.root"
    path.write_text("event,channel,adc\n" * 100)
    assert "broken or truncated" in refusal(path)


def test_a_root_file_without_the_tree_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run0.root"
    with uproot.recreate(path) as file:
        file.mktree("other", {"event": np.dtype(np.int32)}).extend({"event": np.arange(3)})
    assert "no branch or tree 'unpacker_data'" in refusal(path)


def test_a_tree_without_a_branch_is_refused(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    words = run_words(adc, 2)
    del words["half"]
    path = tmp_path / "run0.root"
    with uproot.recreate(path) as file:
        kinds = {name: np.dtype(kind) for name, kind in BRANCHES.items() if name != "half"}
        file.mktree(TREE, kinds).extend(words)
    assert "half" in refusal(path)


def test_another_number_of_events_is_refused(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    path = written(tmp_path, run_words(adc, 2))
    assert f"{N_EVENTS} events, asked for 21" in refusal(path, n_events=21)
    assert f"{N_EVENTS} events, asked for 19" in refusal(path, n_events=19)


def test_no_events_are_refused(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    words = {name: values[:0] for name, values in run_words(adc, 2).items()}
    assert "no events" in refusal(written(tmp_path, words))


def test_a_missing_channel_is_refused_by_name(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    words = run_words(adc, 2)
    keep = ~((words["chip"] == 1) & (words["half"] == 0) & (words["channel"] == 9))
    path = written(tmp_path, {name: values[keep] for name, values in words.items()})
    assert "channel 81 is missing" in refusal(path)


def test_a_repeated_word_is_refused(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    words = run_words(adc, 2)
    doubled = {name: np.append(values, values[:1]) for name, values in words.items()}
    assert "channel 0 is 2 times in event number 0" in refusal(written(tmp_path, doubled))


def test_a_second_chip_on_a_one_chip_board_is_refused(
    tmp_path: Path, adc: NDArray[np.int_]
) -> None:
    assert "chip runs from 0 to 1" in refusal(written(tmp_path, run_words(adc, 2)), n_rocs=1)


@pytest.mark.parametrize(("branch", "value"), [("adc", 1024), ("adc", -1), ("half", 2)])
def test_a_word_that_the_chip_can_not_send_is_refused(
    tmp_path: Path, adc: NDArray[np.int_], branch: str, value: int
) -> None:
    words = run_words(adc, 2)
    words[branch][7] = value
    assert f"{branch} runs" in refusal(written(tmp_path, words))


def test_words_with_a_wrong_checksum_are_refused(tmp_path: Path, adc: NDArray[np.int_]) -> None:
    words = run_words(adc, 2)
    words["corruption"][3:6] = 2
    assert "3 words came with a wrong checksum" in refusal(written(tmp_path, words))
