import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.fers import FersFileError, read_list
from drivers.fers.simulator import list_text, simulate_run, write_list
from drivers.roles import ChargeRun

HEAD = (
    "//************************************************\n"
    "// Board: 5202\n"
    "// File Format Version 3.4\n"
    "// Janus Release 4.0.0\n"
    "// Acquisition Mode: Spectroscopy\n"
    "// Energy Histogram Channels: 4096\n"
    "// Run start time: Sun Nov 22 05:00:00 2026 UTC\n"
    "//************************************************\n"
)
COLUMNS = "Brd  Ch       LG       HG        Tstamp_us        TrgID\t\tNHits\n"
ROWS = (
    "  7  00       51       68     10203578.136            0\t\t2\n"
    "  7  01       55       75 \n"
    "  7  00       60      152     10203778.148            1\t\t2\n"
    "  7  01       58       71 \n"
)
BAD_LINE = HEAD.count("\n") + 2


def saved(tmp_path, text):
    path = tmp_path / "Run1_list.txt"
    path.write_bytes(text.encode("latin-1"))
    return path


def test_a_file_as_the_vendor_writes_it_is_read_exactly(tmp_path):
    run = read_list(saved(tmp_path, HEAD + COLUMNS + ROWS))
    assert run.board == 7
    assert run.channels.tolist() == [0, 1]
    assert run.lg.tolist() == [[51, 60], [55, 58]]
    assert run.hg.tolist() == [[68, 152], [75, 71]]
    assert run.time_us.tolist() == [10203578.136, 10203778.148]
    assert run.trigger_id.tolist() == [0, 1]
    assert run.toa_ns is run.tot_ns is run.second_time_us is None
    assert run.settings["Janus Release"] == "4.0.0"
    assert run.settings["Run start time"] == "Sun Nov 22 05:00:00 2026 UTC"


def test_the_simulator_writes_exactly_what_the_vendor_writes(tmp_path):
    run = read_list(saved(tmp_path, HEAD + COLUMNS + ROWS))
    assert list_text([run]) == HEAD + COLUMNS + ROWS


def test_other_spellings_of_the_columns_are_the_same_columns(tmp_path):
    named = COLUMNS.replace("Tstamp_us", "TStamp_us").replace("NHits", "NChs")
    run = read_list(saved(tmp_path, HEAD.replace("3.4", "3.3") + named + ROWS))
    assert run.hg.tolist() == [[68, 152], [75, 71]]


def test_a_run_has_the_high_gain_as_its_charges_like_any_other_readout(tmp_path):
    run = read_list(saved(tmp_path, HEAD + COLUMNS + ROWS))
    charges = ChargeRun(adc=run.adc, settings=run.settings)
    assert charges.adc.shape == (2, 2)
    with pytest.raises(FersFileError, match="GainSelect BOTH"):
        _ = replace(run, hg=None).adc


@pytest.mark.parametrize("timing", [False, True])
def test_what_was_written_comes_back(tmp_path, timing):
    truth = simulate_run(300, seed=3, board=2, timing=timing)
    path = tmp_path / "list.txt"
    write_list(path, [truth])
    run = read_list(path)
    for name in ("lg", "hg", "time_us", "trigger_id", "channels", "toa_ns", "tot_ns"):
        np.testing.assert_array_equal(getattr(run, name), getattr(truth, name), err_msg=name)
    assert run.settings == truth.settings


def test_a_file_longer_than_the_buffer_is_read_the_same(tmp_path, monkeypatch):
    truth = simulate_run(50, seed=4, channels=range(5))
    path = tmp_path / "list.txt"
    write_list(path, [truth])
    monkeypatch.setattr("drivers.fers.list_file._MAX_HEADER_BYTES", 700)
    monkeypatch.setattr("drivers.fers.list_file.CHUNK_BYTES", 333)
    np.testing.assert_array_equal(read_list(path).hg, truth.hg)


def test_times_in_units_of_the_board_become_nanoseconds(tmp_path):
    text = (
        HEAD.replace("// Run", "// ToA/ToT LSB: 0.5 ns\n// Run")
        + "Brd  Ch       LG       HG  ToA_LSB  ToT_LSB        Tstamp_us        TrgID\t\t\tNHits\n"
        + "  0  00       51       68      100       21           10.000            0\t\t2\n"
        + "  0  03       51       68        -        - \n"
    )
    run = read_list(saved(tmp_path, text))
    assert run.toa_ns[0, 0] == 50
    assert run.tot_ns[0, 0] == 10.5
    assert math.isnan(run.toa_ns[1, 0])
    assert math.isnan(run.tot_ns[1, 0])


def test_the_place_of_a_time_over_threshold_that_is_off_is_passed_over(tmp_path):
    truth = replace(simulate_run(4, channels=range(3), timing=True), tot_ns=None)
    path = tmp_path / "list.txt"
    write_list(path, [truth])
    run = read_list(path)
    assert run.tot_ns is None
    np.testing.assert_array_equal(run.toa_ns, truth.toa_ns)


def test_a_second_time_stamp_is_kept(tmp_path):
    truth = simulate_run(4, channels=range(3))
    truth = replace(truth, second_time_us=truth.time_us + 0.5)
    path = tmp_path / "list.txt"
    write_list(path, [truth])
    np.testing.assert_array_equal(read_list(path).second_time_us, truth.second_time_us)


def test_a_gain_that_was_not_recorded_is_none(tmp_path):
    text = HEAD + COLUMNS + ROWS.replace("      51", "       -").replace("      55", "       -")
    text = text.replace("      60", "       -").replace("      58", "       -")
    run = read_list(saved(tmp_path, text))
    assert run.lg is None
    assert run.hg.tolist() == [[68, 152], [75, 71]]


def test_a_gain_recorded_now_and_then_is_refused(tmp_path):
    path = saved(tmp_path, HEAD + COLUMNS + ROWS.replace("      60", "       -"))
    with pytest.raises(FersFileError, match=rf"{path}:12: no LG value.*BOTH"):
        read_list(path)


class TestSeveralBoards:
    @pytest.fixture
    def path(self, tmp_path):
        path = tmp_path / "list.txt"
        runs = [simulate_run(20, seed=board, board=board) for board in (0, 3)]
        write_list(path, runs)
        return path

    def test_need_a_name(self, path):
        with pytest.raises(FersFileError, match=rf"{path}:\d+: .*boards 0, 3"):
            read_list(path)

    @pytest.mark.parametrize("board", [0, 3])
    def test_are_read_one_by_one(self, path, board):
        run = read_list(path, board=board)
        truth = simulate_run(20, seed=board, board=board)
        np.testing.assert_array_equal(run.hg, truth.hg)
        np.testing.assert_array_equal(run.time_us, truth.time_us)

    def test_do_not_hold_another(self, path):
        with pytest.raises(FersFileError, match="no event of board 1"):
            read_list(path, board=1)


class TestMissingChannels:
    text = HEAD + COLUMNS + ROWS.replace("1\t\t2\n  7  01       58       71 \n", "1\t\t1\n")

    def test_are_refused_with_the_line_of_their_event(self, tmp_path):
        path = saved(tmp_path, self.text)
        with pytest.raises(FersFileError, match=rf"{path}:12: the event has no channel 1"):
            read_list(path)

    def test_do_not_matter_when_others_are_wanted(self, tmp_path):
        run = read_list(saved(tmp_path, self.text), channels=[0])
        assert run.hg.tolist() == [[68, 152]]

    def test_that_come_later_are_refused(self, tmp_path):
        path = saved(tmp_path, HEAD + COLUMNS + ROWS + ROWS.replace("  7  01", "  7  02"))
        with pytest.raises(FersFileError, match=rf"{path}:15: channel 2, which the first event"):
            read_list(path)

    def test_are_named_when_asked_for(self, tmp_path):
        with pytest.raises(FersFileError, match="no channel 63"):
            read_list(saved(tmp_path, self.text), channels=[0, 63])

    def test_the_wanted_channels_come_in_the_wanted_order(self, tmp_path):
        run = read_list(saved(tmp_path, HEAD + COLUMNS + ROWS), channels=[1, 0])
        assert run.hg.tolist() == [[75, 71], [68, 152]]

    @pytest.mark.parametrize("wanted", [[], [0, 0], [64], [-1]])
    def test_wanted_channels_make_sense(self, tmp_path, wanted):
        with pytest.raises(ValueError, match="channels"):
            read_list(saved(tmp_path, HEAD + COLUMNS + ROWS), channels=wanted)


@pytest.mark.parametrize(
    ("broken", "line", "complaint"),
    [
        (ROWS[:-1], 13, "the last line has no end"),
        (ROWS[: ROWS.rindex("  7  01")], 12, "announces 2 channels and has 1; the file was cut"),
        (ROWS.replace("0\t\t2", "0\t\t3"), BAD_LINE, "announces 3 channels and has 2$"),
        (ROWS.replace("      75 ", ""), 11, "3 values in a row that should have 4, or 7"),
        (ROWS.replace("      75 ", "      75 9"), 11, "5 values in a row"),
        (ROWS.replace("      75", "     7x5"), 11, "'7x5' is no whole number from 0 to 8191"),
        (ROWS.replace("      75", "     -75"), 11, "'-75' is no whole number"),
        (ROWS.replace("      75", "    8192"), 11, "'8192' is no whole number from 0 to 8191"),
        (ROWS.replace("      75", "    75.0"), 11, r"'75\.0' is no whole number"),
        (ROWS.replace("      75", "     1e3"), 11, "'1e3' is no whole number"),
        (ROWS.replace("      75", "     \0\0\0"), 11, "no whole number"),
        (ROWS.replace("      75", "     ²"), 11, "no whole number"),
        (ROWS.replace("10203578.136", "10203578,136"), 10, "'10203578,136' is no number"),
        (ROWS.replace("10203578.136", "         nan"), 10, "'nan' is no number"),
        (ROWS.replace("10203578.136", "           -"), 10, "'-' is no number"),
        (ROWS.replace("10203578.136", "       1.2.3"), 10, r"'1\.2\.3' is no number"),
        (ROWS.replace("  7  01", "  7  64"), 11, "'64' is no whole number from 0 to 63"),
        (ROWS.replace("  7  01", "  7  00"), 11, "channel 0 after channel 0 of the same event"),
        (ROWS.replace("  7  01", "  6  01"), 11, "the board changes within an event"),
        (ROWS[ROWS.index("\n") + 1 :], 10, "the first event has no beginning"),
        (ROWS.replace("            0\t", " " + "9" * 30 + "\t"), 10, "is no whole number"),
        ("", 9, "no events"),
    ],
)
def test_a_broken_file_is_refused_with_its_name_and_line(tmp_path, broken, line, complaint):
    path = saved(tmp_path, HEAD + COLUMNS + broken)
    with pytest.raises(FersFileError, match=rf"^{path}:{line}: .*{complaint}"):
        read_list(path)


@pytest.mark.parametrize(
    ("head", "columns", "complaint"),
    [
        (HEAD.replace("3.4", "3.1"), COLUMNS, "9: list file format 3.1; known are 3.3 and 3.4"),
        ("", COLUMNS, "1: list file format not named"),
        (HEAD, "Brd  Ch  ToA_ns   ToT_ns         Tstamp_us\t\tNHits\n", "9: .*hold no charges"),
        (
            HEAD,
            "Brd  Ch          Cnt       Tstamp_us        TrgID\t\tNChs\n",
            "9: .*hold no charges",
        ),
        (HEAD, "Tstamp_us TrgID Brd Ch LG HG\n", "9: .*not those of a spectroscopy run"),
        (HEAD, "Brd Ch HG LG Tstamp_us TrgID NHits\n", "9: .*not those of a spectroscopy run"),
        (HEAD, "hello\n", "9: the columns 'hello'"),
        (HEAD.replace("4096", "40\xff6"), COLUMNS, "6: not a text file"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path, head, columns, complaint):
    path = saved(tmp_path, head + columns + ROWS)
    with pytest.raises(FersFileError, match=f"^{path}:{complaint}" if head else complaint):
        read_list(path)


def test_the_number_of_events_is_checked_when_it_is_known(tmp_path):
    path = saved(tmp_path, HEAD + COLUMNS + ROWS)
    assert read_list(path, n_events=2).trigger_id.size == 2
    with pytest.raises(FersFileError, match=f"{path}: 2 events, asked for 3"):
        read_list(path, n_events=3)


def test_a_file_that_ends_in_its_head_says_so(tmp_path):
    path = saved(tmp_path, HEAD)
    with pytest.raises(FersFileError, match=f"{path}:9: the file ends before the names"):
        read_list(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FersFileError, match=r"nowhere\.txt: No such file"):
        read_list(tmp_path / "nowhere.txt")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200), st.integers(0, len(HEAD + COLUMNS + ROWS)))
def test_any_bytes_in_a_file_give_numbers_that_stand_there_or_a_clear_error(
    tmp_path_factory, noise, at
):
    good = (HEAD + COLUMNS + ROWS).encode()
    path = tmp_path_factory.getbasetemp() / "noise.txt"
    path.write_bytes(good[:at] + noise + good[at + len(noise) :])
    try:
        run = read_list(path)
    except FersFileError as refused:
        complaint, charges = str(refused), []
    else:
        complaint = str(path)
        charges = [value for gain in (run.lg, run.hg) if gain is not None for value in gain.flat]
    assert str(path) in complaint
    tokens = {int(token) for token in path.read_bytes().split() if token.isdigit()}
    assert tokens.issuperset(charges)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, len(list_text([simulate_run(6, channels=range(4))])) - 1))
def test_a_file_cut_anywhere_gives_whole_events_or_an_error(tmp_path_factory, length):
    truth = simulate_run(6, channels=range(4))
    text = list_text([truth])
    path = tmp_path_factory.getbasetemp() / "cut.txt"
    path.write_text(text[:length])
    try:
        run = read_list(path)
    except FersFileError:
        return
    n_events = run.time_us.size
    np.testing.assert_array_equal(run.hg, truth.hg[:, :n_events])
