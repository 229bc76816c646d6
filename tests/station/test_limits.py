"""A value with an error is judged honestly against a recipe's limits."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from station.events import Reading
from station.limits import Limit, judge, worst

LIMIT = Limit(unit="ADC/pe", low=26.0, high=30.5, guard_sigmas=2.0, max_sigma=0.5)


def reading(value: float | None, sigma: float | None = 0.05) -> Reading:
    return Reading(
        "gain",
        value,
        sigma,
        "ADC/pe",
        "test",
        channel=3,
        reasons=() if value is not None else ("no peaks",),
    )


def test_a_value_well_inside_passes_without_a_word() -> None:
    assert judge(reading(28.0), LIMIT) == ("pass", ())


def test_a_value_outside_fails_and_says_by_how_much() -> None:
    verdict, (reason,) = judge(reading(24.31), LIMIT)
    assert verdict == "fail"
    assert "1.69 beyond the lower limit 26" in reason
    assert "33.8 sigma" in reason


def test_a_value_inside_but_within_its_guard_band_is_flagged() -> None:
    assert judge(reading(26.05), LIMIT)[0] == "flag"
    assert judge(reading(30.45), LIMIT)[0] == "flag"


def test_what_could_not_be_measured_is_unknown_with_its_reason() -> None:
    assert judge(reading(None, None), LIMIT) == ("unknown", ("no peaks",))


def test_a_value_with_too_large_an_error_counts_as_not_measured() -> None:
    verdict, (reason,) = judge(reading(28.0, 0.9), LIMIT)
    assert verdict == "unknown"
    assert "error above 0.5" in reason


def test_a_limit_in_another_unit_is_refused_instead_of_compared() -> None:
    with pytest.raises(ValueError, match="ADC/pe"):
        judge(reading(28.0), Limit(unit="electrons", low=1.0))


def test_limits_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValidationError, match="not below"):
        Limit(unit="V", low=2.0, high=1.0)
    with pytest.raises(ValidationError, match="needs 'low'"):
        Limit(unit="V")


def test_the_worst_verdict_counts_and_nothing_at_all_is_unknown() -> None:
    assert worst(["pass", "flag", "fail", "unknown"]) == "fail"
    assert worst(["pass", "flag", "unknown"]) == "unknown"
    assert worst([]) == "unknown"


@given(st.floats(0, 60), st.floats(1e-6, 0.5))
def test_no_value_outside_its_limits_ever_passes(value: float, sigma: float) -> None:
    verdict, _ = judge(reading(value, sigma), LIMIT)
    inside = 26.0 <= value <= 30.5
    assert (verdict == "fail") == (not inside)
    if verdict == "pass":
        assert min(value - 26.0, 30.5 - value) >= 2 * sigma * (1 - 1e-12)


def test_a_value_beyond_one_limit_fails_although_it_is_in_the_guard_band_of_the_other() -> None:
    narrow = Limit(unit="ADC/pe", low=0.0, high=1.0, guard_sigmas=2.0)
    verdict, (reason,) = judge(reading(1.2, 1.0), narrow)
    assert verdict == "fail"
    assert "beyond the upper limit 1" in reason


@pytest.mark.parametrize(
    "given_limit", [{"low": math.nan}, {"high": math.inf}, {"low": 1.0, "guard_sigmas": -1.0}]
)
def test_a_limit_that_would_let_everything_pass_is_refused(given_limit: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Limit(unit="V", **given_limit)  # type: ignore[arg-type]
