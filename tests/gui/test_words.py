"""Digits, units, limits and sentences."""

import pytest

from gui.words import (
    Value,
    decimals_of,
    duration,
    limits_text,
    number,
    offset_value,
    plural,
    sentence,
    value_line,
    value_text,
    worst_of,
)
from station.events import Verdict


def gain(value: float | None, sigma: float | None, verdict: Verdict, *reasons: str) -> Value:
    return Value("gain", value, sigma, "ADC/pe", 26.0, 30.5, verdict, reasons)


@pytest.mark.parametrize(
    ("sigma", "decimals"),
    [(0.05, 2), (0.12, 2), (0.012, 3), (0.0031, 3), (1.4, 1), (3.0, 0), (40.0, 0)],
)
def test_an_error_decides_how_many_decimals_are_shown(sigma: float, decimals: int) -> None:
    assert decimals_of(sigma) == decimals


def test_a_value_comes_with_its_error_and_a_true_minus_sign() -> None:
    value = Value("sipm_offset_x", -0.0213, 0.006, "mm", -0.25, 0.25, "pass")
    assert value_text(value) == "−0.021 ± 0.006"
    assert limits_text(value) == "−0.25 … 0.25"


def test_crosstalk_is_shown_in_percent() -> None:
    value = Value("crosstalk", 0.048, 0.003, "1", None, 0.25, "pass")
    assert value_text(value) == "4.8 ± 0.3"
    assert limits_text(value) == "≤ 25"


def test_an_unknown_value_is_a_dash_and_its_sentence_gives_the_reason() -> None:
    value = gain(None, None, "unknown", "no peaks can be told apart")
    assert value_text(value) == "–"
    assert sentence(value) == "Gain is unknown: no peaks can be told apart."


def test_a_failed_value_says_what_is_wrong_by_how_much_and_what_to_try() -> None:
    said = sentence(gain(24.31, 0.05, "fail"))
    assert said.startswith("Gain is 1.7 ADC/p.e. below the lower limit 26, 34 σ.")
    assert "check its bias trim" in said


def test_a_flagged_value_says_that_it_may_be_outside() -> None:
    assert sentence(gain(30.45, 0.05, "flag")).startswith(
        "Gain is only 0.05 ADC/p.e. inside the upper limit 30.5, 1 σ: it may be outside."
    )


def test_a_value_whose_error_is_too_large_keeps_the_station_s_reason() -> None:
    said = sentence(gain(28.0, 4.0, "unknown", "gain 28 ± 4 ADC/pe: error above 0.5 ADC/pe"))
    assert said == "Gain is unknown: gain 28 ± 4 ADC/pe: error above 0.5 ADC/pe."


def test_a_passed_value_needs_no_sentence() -> None:
    assert sentence(gain(28.0, 0.05, "pass")) == ""


def test_the_offset_is_the_distance_with_its_propagated_error() -> None:
    parts = {
        "sipm_offset_x": Value("sipm_offset_x", 0.3, 0.01, "mm", -0.25, 0.25, "fail"),
        "sipm_offset_y": Value("sipm_offset_y", 0.4, 0.02, "mm", -0.25, 0.25, "fail"),
    }
    offset = offset_value(parts)
    assert offset is not None
    assert offset.value == pytest.approx(0.5)
    assert offset.sigma == pytest.approx(((0.6 * 0.01) ** 2 + (0.8 * 0.02) ** 2) ** 0.5)
    assert offset.verdict == "fail"


def test_half_an_offset_is_no_offset() -> None:
    x = Value("sipm_offset_x", 0.3, 0.01, "mm", None, None, "pass")
    assert offset_value({"sipm_offset_x": x}) is None


def test_the_worst_verdict_is_fail_then_unknown_then_flag() -> None:
    assert worst_of(["pass", "flag", "unknown", "fail"]) == "fail"
    assert worst_of(["pass", "flag", "unknown", None]) == "unknown"
    assert worst_of(["flag", "pass"]) == "flag"
    assert worst_of([]) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(2, "5 s"), (41, "40 s"), (130, "2 min 10 s"), (119.9, "2 min"), (3900, "1 h 5 min")],
)
def test_durations_are_coarse(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_counts_agree_with_their_noun() -> None:
    assert plural(1, "result") == "1 result"
    assert plural(0, "result") == "0 results"
    assert plural(12345, "result") == "12\u202f345 results"


def test_a_count_is_a_whole_number_without_error_and_unit() -> None:
    assert value_line(Value("wrapped_tiles", 18.0, 0.0, "1", None, None, "pass")) == (
        "Wrapped tiles 18"
    )
    assert value_line(Value("good_tiles", 3.0, 0.0, "1", None, None, None)) == "Good tiles 3"


def test_a_value_without_unit_keeps_its_error() -> None:
    assert value_text(Value("ratio", 1.0, 0.12, "1", None, None, None)) == "1.00 ± 0.12"


def test_what_rounds_to_zero_has_no_minus_sign() -> None:
    assert number(-0.0004, 3) == "0.000"
    assert number(-0.0006, 3) == "−0.001"
