from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from station.report.rounding import (
    Scale,
    common_scale,
    limits,
    measured,
    plain,
    round_pair,
    scale_of,
)


@pytest.mark.parametrize(
    ("value", "sigma", "text"),
    [
        (24.3123, 0.0512, "24.31 ± 0.05"),
        (24.3123, 0.0123, "24.312 ± 0.012"),
        (2.4, 0.0354, "2.400 ± 0.035"),
        (2.4, 0.0355, "2.40 ± 0.04"),
        (2.4, 0.0949, "2.40 ± 0.09"),
        (2.4, 0.0962, "2.40 ± 0.10"),
        (37.78, 99.6, "40 ± 100"),
        (0.827, 0.119, "0.83 ± 0.12"),
        (0.827, 0.367, "0.8 ± 0.4"),
        (123456.0, 2300.0, "123500 ± 2300"),
        (1.2e9, 3.3e6, "(1.2000 ± 0.0033) × 10⁹"),
        (-3.2e-9, 2e-11, "(−3.200 ± 0.020) × 10⁻⁹"),
        (-0.0012, 0.5, "0.0 ± 0.5"),
        (-12.3, 1.5, "−12.3 ± 1.5"),
        (0.0, 0.1, "0.00 ± 0.10"),
        (5.0, 0.0, "5 ± 0"),
    ],
)
def test_value_and_error_are_rounded_at_the_same_digit(
    value: float, sigma: float, text: str
) -> None:
    assert str(round_pair(value, sigma)) == text


@given(
    value=st.floats(-1e12, 1e12),
    sigma=st.floats(1e-12, 1e12),
)
def test_rounding_keeps_the_error_within_a_twentieth_of_itself_and_the_value_within_it(
    value: float, sigma: float
) -> None:
    shown = round_pair(value, sigma)
    ten = Decimal(10) ** shown.power
    shown_value = Decimal(shown.value.replace("−", "-")) * ten
    shown_sigma = Decimal(shown.sigma) * ten
    exact_sigma = Decimal(repr(sigma))
    assert abs(shown_sigma - exact_sigma) <= Decimal("0.15") * exact_sigma
    assert abs(shown_value - Decimal(repr(value))) <= Decimal("0.151") * exact_sigma
    places = [len(text.partition(".")[2]) for text in (shown.value, shown.sigma)]
    assert places[0] == places[1]


@pytest.mark.parametrize(
    ("value", "sigma"),
    [(float("nan"), 1.0), (1.0, float("nan")), (float("inf"), 1.0), (1.0, -0.1)],
)
def test_what_is_no_measurement_is_refused(value: float, sigma: float) -> None:
    with pytest.raises(ValueError, match="not a finite value"):
        round_pair(value, sigma)


@pytest.mark.parametrize(
    ("quantity", "unit", "size", "scale"),
    [
        ("gain", "ADC/pe", 28.0, Scale(1.0, "ADC/p.e.")),
        ("crosstalk", "1", 0.05, Scale(100.0, "%")),
        ("enf_divisor", "1", 1.1, Scale(1.0, "")),
        ("dark_current", "A", 2.3e-7, Scale(1e9, "nA")),
        ("dcr", "Hz", 2.0e6, Scale(1e-6, "MHz")),
        ("placed_rotation", "rad", 0.004, Scale(1e3, "mrad")),
        ("height", "mm", 0.004, Scale(1.0, "mm")),
        ("dark_current", "A", 0.0, Scale(1.0, "A")),
    ],
)
def test_each_quantity_is_shown_in_a_scale_that_suits_its_size(
    quantity: str, unit: str, size: float, scale: Scale
) -> None:
    found = scale_of(quantity, unit, size)
    assert found.unit == scale.unit
    assert found.factor == pytest.approx(scale.factor)


def test_common_scale_follows_the_median_and_not_an_outlier() -> None:
    assert common_scale("dark_current", "A", [2e-9, 3e-9, 4e-9, 1e-3]).unit == "nA"


def test_measured_applies_the_scale_to_value_and_error() -> None:
    assert measured(0.048, 0.0031, Scale(100.0, "%")) == "4.80 ± 0.31"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (26.0, 30.5, "26 … 30.5"),
        (None, 0.25, "≤ 0.25"),
        (-0.25, None, "≥ −0.25"),
        (None, None, ""),
    ],
)
def test_limits_say_which_sides_are_asked(low: float | None, high: float | None, text: str) -> None:
    assert limits(low, high, Scale(1.0, "mm")) == text


def test_plain_numbers_use_powers_of_ten_only_when_they_must() -> None:
    assert [plain(x) for x in (0.0001, 123456, -2.5, 1.5e-7)] == [
        "0.0001", "123456", "−2.5", "1.5 × 10⁻⁷",
    ]  # fmt: skip
