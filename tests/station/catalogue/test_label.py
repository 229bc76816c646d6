import string

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from station.catalogue import Label, LabelError, format_label, parse_label
from station.catalogue.label import (
    BOARD_CUTS,
    BOARD_LETTERS,
    BOARD_ROWS,
    KINDS,
    SIZE_CODES,
    parse_shape_name,
)

SHAPES = st.builds(
    "{}{}{}".format,
    st.sampled_from(BOARD_LETTERS),
    st.sampled_from(list(BOARD_ROWS)),
    st.sampled_from(BOARD_CUTS),
)
CODES = st.sampled_from("ABZ059")
SITE_DEFINED = st.one_of(
    st.builds("{}{}".format, CODES, CODES),
    st.builds("{}{}{}".format, CODES, CODES, st.sampled_from("ABZ")),
    st.builds("{}{}{}{}".format, CODES, CODES, CODES, st.sampled_from("ABZ")),
)
SUBTYPES = {
    "tile": st.sampled_from(sorted(SIZE_CODES)),
    "wrapped_tile": st.sampled_from(sorted(SIZE_CODES)),
    "sipm": st.sampled_from(["04", "09"]),
    "tileboard": SHAPES,
    "tile_module": st.builds("{}{}".format, SHAPES, st.sampled_from("CM")),
    "motherboard": SITE_DEFINED,
    "tester": SITE_DEFINED,
}

patiently = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def label_parts(draw):
    major = draw(st.sampled_from(sorted(KINDS)))
    subtype = draw(SUBTYPES[KINDS[major]])
    room = 10 - len(subtype)
    return major, subtype, draw(st.text(string.digits, min_size=room, max_size=room))


@patiently
@given(label_parts())
def test_parsing_gives_back_what_was_formatted(parts):
    major, subtype, serial = parts
    text = format_label(major, subtype, serial)
    label = parse_label(text)
    assert len(text) == 15
    assert (label.major, label.subtype, label.serial) == parts
    assert label.text == text
    assert label.kind == KINDS[major]
    assert parse_label(format_label(label.major, label.subtype, label.serial)) == label


@patiently
@given(st.text(string.ascii_uppercase + string.digits, min_size=15, max_size=15))
def test_whatever_is_accepted_formats_to_the_same_text(text):
    try:
        label = parse_label(text)
    except LabelError:
        return
    assert format_label(label.major, label.subtype, label.serial) == text


@patiently
@given(label_parts(), st.integers(0, 14), st.sampled_from(string.ascii_uppercase + string.digits))
def test_a_misread_character_never_goes_unseen(parts, at, character):
    text = format_label(*parts)
    misread = text[:at] + character + text[at + 1 :]
    try:
        label = parse_label(misread)
    except LabelError as error:
        refusal = error
    else:
        assert f"320{label.major}{label.subtype}{label.serial}" == label.text == misread
        return
    assert refusal.text == misread
    assert refusal.reason


@patiently
@given(st.text(max_size=20).filter(lambda text: not text.startswith("320")))
def test_any_other_text_is_refused_with_a_reason(text):
    with pytest.raises(LabelError) as refused:
        parse_label(text)
    assert refused.value.reason


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("320BC0012345678", Label("320BC0012345678", "tile", "BC", "00", "12345678",
                                  format_code="00", material="cast")),
        ("320TIF300000001", Label("320TIF300000001", "wrapped_tile", "TI", "F3", "00000001",
                                  format_code="F3", material="moulded")),
        ("320SP0900000042", Label("320SP0900000042", "sipm", "SP", "09", "00000042",
                                  sipm_area_mm2=9.0)),
        ("320TBD8F0000017", Label("320TBD8F0000017", "tileboard", "TB", "D8F", "0000017",
                                  shape_name="D8F")),
        ("320TPJ12R000017", Label("320TPJ12R000017", "tileboard", "TP", "J12R", "000017",
                                  shape_name="J12R")),
        ("320TMG5LC123456", Label("320TMG5LC123456", "tile_module", "TM", "G5LC", "123456",
                                  shape_name="G5L", material="cast")),
        ("320TMJ12FM12345", Label("320TMJ12FM12345", "tile_module", "TM", "J12FM", "12345",
                                  shape_name="J12F", material="moulded")),
        ("320WMAB00000001", Label("320WMAB00000001", "motherboard", "WM", "AB", "00000001")),
        ("320TSA1B0000001", Label("320TSA1B0000001", "tester", "TS", "A1B", "0000001")),
    ],
)  # fmt: skip
def test_each_kind_of_part_is_understood(text, expected):
    assert parse_label(text) == expected


@pytest.mark.parametrize("framed", ["\x02{}\x03", "{}\r\n", "  {}\t", "\x02{}\r"])
def test_what_scanners_send_around_a_label_is_dropped(framed):
    assert parse_label(framed.format("320BC0012345678")).text == "320BC0012345678"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("\x02\r\n", "is empty"),
        ("320BC001234567", "has 14 characters, expected 15"),
        ("320BC00123456789", "has 16 characters, expected 15"),
        ("320bC0012345678", "character 4 is lower case 'b'"),
        ("320BC00 2345678", "character 8 is ' ', not a letter or digit"),
        ("320BC0012345é78", "character 13 is 'é', not a letter or digit"),
        ("320BC001234567٣", "character 15 is '٣', not a letter or digit"),
        ("321BC0012345678", "starts with '321', expected '320'"),
        ("320XX0012345678", "unknown part code 'XX', expected one of BC, BI, TC"),
        ("320BC0112345678", "unknown size code '01', expected 00 to 98 even, 99, F1 to F7 or S1"),
        ("320TIF812345678", "unknown size code 'F8'"),
        ("320SP0512345678", "unknown SiPM size '05', expected 04 or 09"),
        ("320TBH8F1234567", "unknown board letter 'H', expected one of A, B, C, D, E, G, J, K"),
        ("320TBDXF1234567", "no number of rows after board letter 'D'"),
        ("320TBD2F1234567", "2 tile rows, expected 3 to 12"),
        ("320TBD13F123456", "13 tile rows, expected 3 to 12"),
        ("320TBD08F123456", "08 tile rows, expected 3 to 12"),
        ("320TBD8X1234567", "board cut 'X' after 'D8', expected F (full), L or R"),
        ("320TBD812345678", "812345678 tile rows, expected 3 to 12"),
        ("320TMD8F1234567", "tile material '1' after 'D8F', expected C or M"),
        ("320TMD8FI123456", "tile material 'I' after 'D8F', expected C or M"),
        ("320BC001234567A", "serial '1234567A' after subtype '00' is not all digits"),
        ("320TBD8F12345A7", "serial '12345A7' after subtype 'D8F' is not all digits"),
        ("320WMABCDE12345", "has a letter after its fourth character"),
    ],
)
def test_each_refusal_names_its_reason(text, reason):
    with pytest.raises(LabelError) as refused:
        parse_label(text)
    assert reason in refused.value.reason
    assert isinstance(refused.value, ValueError)


def test_a_number_is_padded_to_the_room_that_is_left():
    assert format_label("BC", "F1", 7) == "320BCF100000007"
    assert format_label("TM", "J12FC", 99999) == "320TMJ12FC99999"


@pytest.mark.parametrize(
    ("major", "subtype", "serial", "reason"),
    [
        ("TM", "J12FC", 100000, "does not fit in 5 digits"),
        ("BC", "00", -1, "serial -1 does not fit"),
        ("BC", "00", "123", "has 10 characters"),
        ("BC", "00", "1234567 ", "is ' '|has 14 characters"),
        ("XX", "00", 1, "unknown part code"),
        ("TB", "D8", 1, "board cut|tile rows"),
        ("WM", "AB1", 1, "would be read as subtype 'AB' of WM, not 'AB1'"),
        ("WM", "A", 1, "would be read as subtype 'A0' of WM, not 'A'"),
        ("TS", "ABCDE", 1, "has a letter after its fourth"),
    ],
)
def test_parts_that_would_not_read_back_are_not_formatted(major, subtype, serial, reason):
    with pytest.raises(LabelError, match=reason):
        format_label(major, subtype, serial)


def test_there_are_as_many_board_subtypes_as_the_public_scheme_counts():
    names = {f"{a}{n}{c}" for a in BOARD_LETTERS for n in BOARD_ROWS for c in BOARD_CUTS}
    assert len(names) == 240
    assert all(parse_shape_name(name) == (name[0], int(name[1:-1]), name[-1]) for name in names)


def test_nothing_may_follow_a_board_shape_name():
    with pytest.raises(LabelError, match="'C' follows the board shape 'D8F'"):
        parse_shape_name("D8FC")
