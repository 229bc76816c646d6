import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.dew_point import dew_point, dew_point_c, highest_dew_point_c

air_c = st.floats(-40.0, 60.0)
humidities = st.floats(0.5, 100.0)


@pytest.mark.parametrize(
    # saturation pressures over water in tables: 42.43 hPa at 30 C, 4.215 hPa at -5 C ...
    ("temperature_c", "humidity_percent", "expected_c"),
    [(20.0, 50.0, 9.27), (25.0, 60.0, 16.7), (20.0, 100.0, 20.0), (30.0, 10.0, -4.92)],
)
def test_dew_points_agree_with_tables(
    temperature_c: float, humidity_percent: float, expected_c: float
) -> None:
    assert dew_point_c(temperature_c, humidity_percent) == pytest.approx(expected_c, abs=0.35)


@given(air_c, humidities)
def test_the_dew_point_is_never_above_the_air(temperature_c: float, humidity: float) -> None:
    assert dew_point_c(temperature_c, humidity) <= temperature_c + 1e-9


@given(air_c, st.floats(1.0, 99.0))
def test_more_humidity_means_a_higher_dew_point(temperature_c: float, humidity: float) -> None:
    assert dew_point_c(temperature_c, humidity + 1.0) > dew_point_c(temperature_c, humidity)


@given(st.floats(-30.0, 50.0), st.floats(3.0, 97.0))
def test_the_uncertainty_is_that_of_small_changes(temperature_c: float, humidity: float) -> None:
    estimate = dew_point(
        temperature_c, humidity, temperature_sigma_c=0.1, humidity_sigma_percent=0.5
    )
    by_temperature = dew_point_c(temperature_c + 0.1, humidity) - estimate.value_c
    by_humidity = (
        dew_point_c(temperature_c, humidity + 0.5) - dew_point_c(temperature_c, humidity - 0.5)
    ) / 2
    expected = math.hypot(by_temperature, by_humidity, 0.35 / math.sqrt(3))
    assert estimate.sigma_c == pytest.approx(expected, rel=0.03)


@given(air_c, st.floats(0.0, 100.0))
def test_the_highest_dew_point_is_a_bound(temperature_c: float, humidity: float) -> None:
    bound_c = highest_dew_point_c(
        temperature_c, humidity, temperature_error_c=0.3, humidity_error_percent=3.0
    )
    if humidity >= 0.01:
        assert bound_c > dew_point_c(temperature_c, humidity)


@pytest.mark.parametrize(
    ("temperature_c", "humidity_percent"),
    [(-46.0, 50.0), (61.0, 50.0), (20.0, 0.0), (20.0, 100.1), (math.nan, 50.0), (20.0, math.nan)],
)
def test_no_dew_point_outside_the_formula_s_range(
    temperature_c: float, humidity_percent: float
) -> None:
    with pytest.raises(ValueError, match=r"outside|humidity"):
        dew_point_c(temperature_c, humidity_percent)


def test_a_bound_needs_errors() -> None:
    with pytest.raises(ValueError, match="positive"):
        highest_dew_point_c(20.0, 50.0, temperature_error_c=0.1, humidity_error_percent=0.0)
