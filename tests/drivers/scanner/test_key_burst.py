import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.scanner.key_burst import Heard, KeyBurst

LABEL = "320TMD8FC000471"
STX, ETX, CR = "\x02", "\x03", "\r"


class Keyboard:
    """Types into a burst and writes down what became of it."""

    def __init__(self, *, gap_s: float = 0.005) -> None:
        self.burst = KeyBurst()
        self.at_s = 100.0
        self.gap_s = gap_s
        self.labels: list[str] = []
        self.cut: list[str] = []
        self.left = ""

    def note(self, heard: Heard, character: str = "") -> None:
        if heard.label is not None:
            self.labels.append(heard.label)
        if heard.cut is not None:
            self.cut.append(heard.cut)
        if not heard.taken:
            self.left += character

    def type(self, text: str) -> "Keyboard":
        for character in text:
            self.at_s += self.gap_s
            self.note(self.burst.press(character, self.at_s), character)
        return self

    def type_in_field(self, text: str) -> "Keyboard":
        for character in text:
            self.at_s += self.gap_s
            self.note(self.burst.press_in_field(character, self.at_s), character)
        return self

    def wait(self, duration_s: float) -> "Keyboard":
        self.at_s += duration_s
        self.note(self.burst.settle(self.at_s))
        return self


def test_a_framed_scan_is_taken_key_by_key() -> None:
    for typed in (Keyboard().type, Keyboard().type_in_field):
        keyboard = typed(f"{STX}{LABEL} {ETX}")
        assert keyboard.labels == [f"{LABEL} "]
        assert keyboard.left == ""


def test_a_carriage_return_ends_a_framed_scan_after_a_moment() -> None:
    keyboard = Keyboard().type(f"{STX}{LABEL}{CR}")
    assert keyboard.labels == []
    assert keyboard.burst.settles_in_s() == 0.06
    assert keyboard.wait(0.07).labels == [LABEL]
    assert not keyboard.burst.is_framed


def test_lines_inside_a_scan_stay_lines() -> None:
    keyboard = Keyboard().type(f"{STX}0 320BC{CR}1 320BD{CR}{ETX}")
    assert keyboard.labels == ["0 320BC\n1 320BD"]


def test_a_scan_that_is_cut_off_is_told_and_keys_are_free_again() -> None:
    keyboard = Keyboard().type(f"{STX}320TM")
    assert keyboard.burst.is_framed
    assert keyboard.wait(0.6).cut == ["320TM"]
    assert keyboard.type_in_field("abc").left == "abc"
    assert keyboard.labels == []


def test_a_late_timer_changes_nothing() -> None:
    keyboard = Keyboard().type(f"{STX}320TM")
    keyboard.at_s += 5.0
    keyboard.type("x")
    assert keyboard.cut == ["320TM"]
    assert keyboard.left == "x"
    keyboard = Keyboard().type(f"{STX}{LABEL}{CR}")
    keyboard.at_s += 5.0
    assert keyboard.type(f"{STX}{LABEL}{ETX}").labels == [LABEL, LABEL]


def test_a_new_beginning_gives_the_old_one_up() -> None:
    keyboard = Keyboard().type(f"{STX}320{STX}{LABEL}{ETX}")
    assert (keyboard.labels, keyboard.cut) == ([LABEL], ["320"])


def test_an_unframed_burst_is_a_scan_and_its_return_is_taken() -> None:
    keyboard = Keyboard().type(f"{LABEL}{CR}")
    assert keyboard.labels == [LABEL]
    assert keyboard.left == LABEL


@pytest.mark.parametrize("typed", ["abcde", "two words", "ab\tcdefg"])
def test_short_or_spaced_bursts_are_a_person_s(typed: str) -> None:
    keyboard = Keyboard().type(f"{typed}{CR}")
    assert keyboard.labels == []
    assert keyboard.left == f"{typed}{CR}"


def test_slow_keys_are_a_person_s() -> None:
    keyboard = Keyboard(gap_s=0.2).type(f"{LABEL}{CR}")
    assert keyboard.labels == []
    assert keyboard.left == f"{LABEL}{CR}"


def test_a_text_field_keeps_its_fast_keys() -> None:
    keyboard = Keyboard().type_in_field(f"{LABEL}{CR}")
    assert keyboard.labels == []
    assert keyboard.left == f"{LABEL}{CR}"


def test_a_burst_without_an_end_is_given_up() -> None:
    keyboard = Keyboard().type(f"{STX}{'A' * 5000}")
    assert len(keyboard.cut) == 1
    assert not keyboard.burst.is_framed


def test_keys_without_a_character_are_taken_inside_a_scan_and_left_outside() -> None:
    burst = KeyBurst()
    assert not burst.press("", 1.0).taken
    burst.press(STX, 1.1)
    assert burst.press("", 1.11).taken


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=30))
def test_any_framed_label_comes_through(label: str) -> None:
    assert Keyboard().type(f"{STX}{label}{ETX}").labels == [label]


@given(st.text(max_size=40), st.sampled_from([0.001, 0.04, 0.3, 0.7]))
def test_any_keys_are_harmless(text: str, gap_s: float) -> None:
    keyboard = Keyboard(gap_s=gap_s).type(text).wait(1.0)
    assert not keyboard.burst.is_framed
