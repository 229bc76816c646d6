"""The journal: what is about to be done is on disk before it is done, whatever cuts it off."""

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drivers.errors import InstrumentTimeout, SetpointRefused
from station.journal import Journal
from station.journal_file import JournalError, read_journal
from station.last_known import NOWHERE, Carried, LastKnown

LINE = "TWIN/line 1"
TILE = Carried("320TCG31000004", 4, 3.2, "a-part")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "line.journal"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    opened = Journal.open(path, LINE)
    yield opened
    opened.close(clean=False)


def do(journal: Journal, name: str, **given: Any) -> None:
    with journal.act(name, given):
        pass


def grip(journal: Journal, tile: Carried) -> None:
    do(
        journal,
        "gripper.grip",
        label=tile.label,
        slot=tile.slot,
        thickness_mm=tile.thickness_mm,
        part_id=tile.part_id,
    )


def test_a_new_journal_knows_of_nothing_and_is_clean(journal: Journal, path: Path) -> None:
    assert journal.found == LastKnown(at=journal.found.at)
    assert not read_journal(path, LINE).clean


def test_the_intent_is_on_disk_before_the_act_begins(journal: Journal, path: Path) -> None:
    journal.begin_run(run_id="r", procedure="test_board", label="SN1", part_id="p")
    journal.step = "ramping to 40.78 V"
    with journal.act("bias.ramp", {"voltage_v": 40.78}):
        known = read_journal(path, LINE)
    act = known.doing("bias.ramp")
    assert act is not None
    assert (act.given, act.step) == ({"voltage_v": 40.78}, "ramping to 40.78 V")
    assert known.bias_v == 0.0
    assert known.highest_bias_v == 40.78
    assert known.run is not None
    assert (known.run.run_id, known.run.label, known.step) == ("r", "SN1", "ramping to 40.78 V")
    assert read_journal(path, LINE).bias_v == 40.78
    assert read_journal(path, LINE).under_way == ()


def test_what_hangs_on_the_nozzle_is_known_from_the_intent_until_it_is_released(
    journal: Journal, path: Path
) -> None:
    with journal.act("gripper.grip", {"label": TILE.label, "slot": 4, "thickness_mm": 3.2}):
        known = read_journal(path, LINE)
        assert known.carried is None
        assert known.may_carry is not None
        assert known.may_carry.slot == 4
    assert read_journal(path, LINE).carried is not None
    with journal.act("gripper.release", {}):
        assert read_journal(path, LINE).carried is not None
    assert read_journal(path, LINE).carried is None


def test_an_act_that_failed_leaves_the_worse_behind_and_a_refused_one_nothing(
    journal: Journal,
) -> None:
    do(journal, "gantry.move", x_mm=10.0, y_mm=20.0, z_mm=30.0)
    with pytest.raises(SetpointRefused), journal.act("gantry.move", {"x_mm": 9999.0}):
        raise SetpointRefused("outside the travel", port="here")
    assert journal.known.position_mm == (10.0, 20.0, 30.0)
    with pytest.raises(InstrumentTimeout), journal.act("gantry.move", {"x_mm": 50.0}):
        raise InstrumentTimeout("no answer", port="here")
    assert journal.known.position_mm == NOWHERE
    with pytest.raises(InstrumentTimeout), journal.act("bias.ramp", {"voltage_v": 40.0}):
        raise InstrumentTimeout("no answer", port="here")
    assert journal.known.highest_bias_v == 40.0


def test_acts_towards_safety_are_noted_with_the_next_record(journal: Journal, path: Path) -> None:
    do(journal, "bias.on")
    do(journal, "bias.ramp", voltage_v=40.0)
    journal.safe("bias.down", {"voltage_v": 0.0})
    assert read_journal(path, LINE).bias_on
    do(journal, "gantry.home")
    known = read_journal(path, LINE)
    assert (known.bias_on, known.highest_bias_v, known.homed) == (False, 0.0, True)


def test_a_clean_close_keeps_what_is_known_in_one_line(path: Path) -> None:
    journal = Journal.open(path, LINE)
    journal.instruments({"bias": "0456"})
    do(journal, "gantry.move", x_mm=1.0, y_mm=2.0, z_mm=3.0)
    journal.close(clean=True)
    assert path.read_bytes().count(b"\n") == 1
    found = read_journal(path, LINE)
    assert (found.clean, found.position_mm, dict(found.serials)) == (
        True,
        (1.0, 2.0, 3.0),
        {"bias": "0456"},
    )
    again = Journal.open(path, LINE)
    assert again.found == found
    again.close(clean=False)
    assert not read_journal(path, LINE).clean


def test_a_long_journal_is_begun_anew_with_what_is_known(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("station.journal.COMPACT_BYTES", 2000)
    journal = Journal.open(path, LINE)
    for run in range(30):
        journal.begin_run(run_id=str(run), procedure="place_tiles", label="SN1", part_id="p")
        do(journal, "gantry.move", x_mm=float(run), y_mm=0.0, z_mm=0.0)
        assert path.stat().st_size < 4000
    journal.close(clean=False)
    assert read_journal(path, LINE) == journal.known
    assert journal.known.position_mm[0] == 29.0


def refuse_writes(monkeypatch: pytest.MonkeyPatch, after_bytes: int) -> None:
    """From now on the disk takes so many bytes, then it is full."""
    room = [after_bytes]
    write = os.write

    def full(file: int, data: bytes) -> int:
        if room[0] <= 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        n = write(file, bytes(data)[: room[0]])
        room[0] -= n
        return n

    monkeypatch.setattr("station.journal.os.write", full)


@pytest.mark.parametrize("room", [0, 1, 30])
def test_an_act_whose_intent_cannot_be_written_is_not_begun(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    do(journal, "bias.on")
    with monkeypatch.context() as full_disk:
        refuse_writes(full_disk, room)
        with (
            pytest.raises(JournalError, match=r"No space left.*line\.journal.*Make room"),
            journal.act("bias.ramp", {"voltage_v": 40.0}),
        ):
            raise AssertionError("begun")
        journal.safe("bias.down", {})
    known = read_journal(path, LINE)
    assert known.bias_on
    assert known.under_way == ()
    do(journal, "gantry.home")
    known = read_journal(path, LINE)
    assert (known.bias_on, known.homed) == (False, True)


def test_what_could_not_be_noted_as_done_is_noted_with_the_next_record(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as full_disk, journal.act("bias.on", {}):
        refuse_writes(full_disk, 0)
    assert read_journal(path, LINE).doing("bias.on") is not None
    do(journal, "gantry.home")
    assert read_journal(path, LINE).bias_on
    assert read_journal(path, LINE).under_way == ()


def test_an_intent_that_does_not_reach_the_disk_is_not_begun(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(file: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("station.journal._flush", broken)
    with pytest.raises(JournalError, match="Input/output error"), journal.act("bias.on", {}):
        raise AssertionError("begun")


def test_the_journal_of_another_line_is_refused_by_name(path: Path) -> None:
    Journal.open(path, LINE).close(clean=True)
    with pytest.raises(JournalError, match=r"line\.journal.*profile of that line") as refused:
        Journal.open(path, "DESY/line 2")
    assert "TWIN/line 1" in str(refused.value)


def test_a_journal_of_a_newer_version_is_refused(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as newer:
        newer.setattr("station.journal_file.FORMAT", 7)
        Journal.open(path, LINE).close(clean=False)
    with pytest.raises(JournalError, match=r"format 7.*newer version"):
        Journal.open(path, LINE)


@pytest.mark.parametrize("content", [b"this is no journal", b"hello\nworld\n", b"\x00" * 100])
def test_a_file_that_is_no_journal_is_refused_and_left_as_it_is(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with pytest.raises(JournalError, match=r"no journal.*move it away"):
        Journal.open(path, LINE)
    assert path.read_bytes() == content


def test_a_journal_that_is_damaged_in_the_middle_is_refused(path: Path, journal: Journal) -> None:
    do(journal, "bias.on")
    do(journal, "gantry.home")
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"bias.on", b"bias.no")
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(JournalError, match="line 3 is damaged"):
        read_journal(path, LINE)


ACTS = st.one_of(
    st.tuples(st.just("bias.on"), st.just({})),
    st.tuples(st.just("bias.ramp"), st.fixed_dictionaries({"voltage_v": st.floats(0, 60)})),
    st.tuples(
        st.just("gantry.move"),
        st.dictionaries(st.sampled_from(["x_mm", "y_mm", "z_mm"]), st.floats(0, 500), min_size=1),
    ),
    st.tuples(st.just("gantry.home"), st.just({})),
    st.tuples(
        st.just("gripper.grip"),
        st.builds(lambda n: {"label": f"T{n}", "slot": n, "thickness_mm": 3.2}, st.integers(0, 9)),
    ),
    st.tuples(st.just("gripper.release"), st.just({})),
    st.tuples(st.just("chiller.start"), st.just({})),
)
STEPS = st.one_of(
    st.tuples(st.just("do"), ACTS),
    st.tuples(st.just("fail"), ACTS),
    st.tuples(st.just("safe"), st.sampled_from(["bias.down", "switch.disconnect", "gantry.stop"])),
    st.tuples(st.just("run"), st.text(max_size=8)),
    st.tuples(st.just("end"), st.none()),
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(STEPS, max_size=12), cut=st.integers(min_value=0), junk=st.binary(max_size=40)
)
def test_any_part_of_the_file_gives_what_was_known_then(
    tmp_path: Path, steps: list[tuple[str, Any]], cut: int, junk: bytes
) -> None:
    path = tmp_path / "any.journal"
    path.unlink(missing_ok=True)
    journal = Journal.open(path, LINE)
    known_at = {0: LastKnown(), path.stat().st_size: journal.known}

    def note() -> None:
        known_at[path.stat().st_size] = journal.known

    for kind, what in steps:
        if kind == "run":
            journal.begin_run(run_id="r", procedure="p", label=what, part_id="p")
        elif kind == "end":
            journal.end_run("r")
        elif kind == "safe":
            journal.safe(what, {})
        else:
            try:
                with journal.act(*what):
                    note()
                    if kind == "fail":
                        raise InstrumentTimeout("no answer", port="here")
            except InstrumentTimeout:
                pass
        note()
    journal.close(clean=False)
    note()
    whole = path.read_bytes()
    part = whole[: cut % (len(whole) + 1)]
    path.write_bytes(part)
    found = read_journal(path, LINE)
    reached = len(part) - len(part.rpartition(b"\n")[2])
    if reached in known_at:
        assert found == known_at[reached] or reached == 0
    assert found.highest_bias_v <= 60
    assert found.carried is None or found.vacuum_on
    again = Journal.open(path, LINE)
    assert again.found == found or reached == 0
    do(again, "gantry.home")
    again.close(clean=False)
    assert read_journal(path, LINE) == again.known
    if b"\n" not in junk and part.endswith(b"\n"):
        path.write_bytes(part + junk)
        assert read_journal(path, LINE) == found
