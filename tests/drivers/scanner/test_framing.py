import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.scanner.framing import LabelFramer, Scan
from drivers.scanner.protocol import is_label

LABEL = "320TMD8FC000471"
labels = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=40)


def texts(scans: list[Scan]) -> list[str]:
    return [scan.text if not scan.broken else f"broken: {scan.broken}" for scan in scans]


def fed(framer: LabelFramer, data: bytes, step: int = 1) -> list[Scan]:
    pieces = (data[k : k + step] for k in range(0, len(data), step))
    return [scan for k, piece in enumerate(pieces) for scan in framer.feed(piece, 1e-3 * k)]


@pytest.mark.parametrize(
    ("prefix", "suffix"), [("\x02", "\x03"), ("\x02", "\r"), ("", "\r"), ("", "\r\n")]
)
@pytest.mark.parametrize("step", [1, 3, 1000])
def test_labels_are_found_however_they_are_cut_into_bursts(
    prefix: str, suffix: str, step: int
) -> None:
    data = "".join(f"{prefix}{label}{suffix}" for label in (LABEL, "tile 7", "A"))
    assert texts(fed(LabelFramer(prefix, suffix), data.encode(), step)) == [LABEL, "tile 7", "A"]


def test_a_line_feed_after_a_carriage_return_belongs_to_nobody() -> None:
    assert texts(fed(LabelFramer("", "\r"), b"ABC\r\nDEF\r\n")) == ["ABC", "DEF"]


def test_lines_inside_a_label_stay_lines() -> None:
    framer = LabelFramer("\x02", "\x03")
    assert texts(fed(framer, b"\x020 320BC\r\n1 320BD\r\n\x03")) == ["0 320BC\n1 320BD"]


def test_what_is_outside_of_prefix_and_suffix_is_no_label() -> None:
    framer = LabelFramer("\x02", "\x03")
    assert texts(fed(framer, b"noise\x02ABC\x03", 100)) == ["broken: it has no beginning", "ABC"]
    assert texts(fed(framer, b"ABC\x03", 100)) == ["broken: it has no beginning"]


def test_a_new_prefix_cuts_the_label_before_it_off() -> None:
    framer = LabelFramer("\x02", "\x03")
    assert texts(fed(framer, b"\x02320TM\x02320TMD8\x03", 100)) == [
        "broken: it was cut off",
        "320TMD8",
    ]


def test_a_label_that_falls_silent_was_cut_off_and_spoils_nothing() -> None:
    for prefix in ("\x02", ""):
        framer = LabelFramer(prefix, "\r")
        assert framer.feed(f"{prefix}320TM".encode(), 1.0) == []
        assert framer.settle(1.4) == []
        assert texts(framer.feed(f"{prefix}{LABEL}\r".encode(), 2.0)) == [
            "broken: it was cut off",
            LABEL,
        ]


def test_empty_and_garbled_labels_are_broken() -> None:
    framer = LabelFramer("\x02", "\x03")
    assert texts(fed(framer, b"\x02\x03")) == ["broken: it is empty"]
    assert texts(fed(framer, b"\x0232\xff0\x03")) == ["broken: it has characters that no label has"]
    assert texts(fed(framer, b"\x02" + b"A" * 5000, 100)) == ["broken: it does not end"]


@given(st.lists(labels, max_size=5), st.integers(1, 17))
def test_any_labels_survive_any_bursts(sent: list[str], step: int) -> None:
    data = "".join(f"\x02{label}\x03" for label in sent).encode()
    assert [scan.text for scan in fed(LabelFramer("\x02", "\x03"), data, step)] == sent


@given(st.binary(max_size=60), st.integers(1, 9))
def test_any_bytes_give_labels_or_reasons(data: bytes, step: int) -> None:
    for prefix in ("\x02", ""):
        for scan in fed(LabelFramer(prefix, "\x03"), data, step):
            assert scan.broken or is_label(scan.text)


@pytest.mark.parametrize(("prefix", "suffix"), [("", ""), ("\x02", "\x02"), ("ab", "b")])
def test_impossible_frames_are_refused(prefix: str, suffix: str) -> None:
    with pytest.raises(ValueError, match="suffix"):
        LabelFramer(prefix, suffix)
