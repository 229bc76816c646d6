"""Dew point of humid air by the Magnus formula over water.

    e = E0 exp(B t / (C + t)),    t_d = C g / (B - g),    g = ln(RH / 100) + B t / (C + t)

Coefficients of D. Sonntag, Z. Meteorol. 70 (1990) 340, as in WMO-No. 8, Guide to Instruments and
Methods of Observation, part I, annex 4.B: B = 17.62, C = 243.12 C, for -45 C to 60 C. The dew point
that they give is wrong by at most 0.35 K. Below 0 C this is the dew point over supercooled water,
which lies below the frost point: for the question whether ice can form, add up to 10 % of its
distance from 0 C.
"""

import math
from dataclasses import dataclass

B = 17.62
C = 243.12
RANGE_C = (-45.0, 60.0)
FORMULA_ERROR_K = 0.35
LOWEST_HUMIDITY_PERCENT = 0.01


@dataclass(frozen=True)
class DewPoint:
    """A dew point and its standard uncertainty, C."""

    value_c: float
    sigma_c: float


def dew_point_c(temperature_c: float, humidity_percent: float) -> float:
    """Dew point of air at a temperature with a relative humidity.

    Raises:
        ValueError: outside -45 C to 60 C or 0.01 to 100 %.

    >>> round(dew_point_c(20.0, 50.0), 1)
    9.3
    """
    low_c, high_c = RANGE_C
    if not low_c <= temperature_c <= high_c:
        raise ValueError(f"{temperature_c} C is outside {low_c:g} to {high_c:g} C")
    if not LOWEST_HUMIDITY_PERCENT <= humidity_percent <= 100.0:
        raise ValueError(
            f"a relative humidity is {LOWEST_HUMIDITY_PERCENT:g} to 100 % here, "
            f"not {humidity_percent}"
        )
    g = math.log(humidity_percent / 100.0) + B * temperature_c / (C + temperature_c)
    return C * g / (B - g)


def dew_point(
    temperature_c: float,
    humidity_percent: float,
    *,
    temperature_sigma_c: float,
    humidity_sigma_percent: float,
) -> DewPoint:
    """Dew point with the uncertainties of both readings and of the formula, added in squares.

    The formula's largest error counts as a rectangular distribution. Raises ValueError as
    :func:`dew_point_c`.
    """
    value_c = dew_point_c(temperature_c, humidity_percent)
    # from e(t_d) = RH e(t): the slope of ln e at both temperatures
    slope_dew = B * C / (C + value_c) ** 2
    slope_air = B * C / (C + temperature_c) ** 2
    from_temperature_c = slope_air / slope_dew * temperature_sigma_c
    from_humidity_c = humidity_sigma_percent / (humidity_percent * slope_dew)
    return DewPoint(
        value_c,
        math.hypot(from_temperature_c, from_humidity_c, FORMULA_ERROR_K / math.sqrt(3.0)),
    )


def highest_dew_point_c(
    temperature_c: float,
    humidity_percent: float,
    *,
    temperature_error_c: float,
    humidity_error_percent: float,
) -> float:
    """The dew point when both readings are too low by their largest errors and the formula too.

    What an interlock compares with the coldest surface; also defined at a reading of 0 %.
    Raises ValueError as :func:`dew_point_c`.
    """
    if temperature_error_c < 0 or humidity_error_percent <= 0:
        raise ValueError("largest errors must be positive")
    humidity_percent = min(100.0, humidity_percent + humidity_error_percent)
    warmer_c = min(RANGE_C[1], temperature_c + temperature_error_c)
    return dew_point_c(warmer_c, humidity_percent) + FORMULA_ERROR_K
