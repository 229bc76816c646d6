"""Platinum resistors of 1000 ohm: the Callendar-Van Dusen equation of IEC 60751, both ways.

    R = R0 (1 + A t + B t^2 + C (t - 100) t^3)    for -200 C to 0 C
    R = R0 (1 + A t + B t^2)                      for 0 C to 850 C

IEC 60751:2008, clause 4.2.
"""

import math

R0_OHM = 1000.0
A = 3.9083e-3
B = -5.775e-7
C = -4.183e-12
RANGE_C = (-200.0, 850.0)
_MOST_STEPS = 20


def resistance_ohm(temperature_c: float) -> float:
    """Resistance at a temperature.

    Raises:
        ValueError: outside -200 C to 850 C, where the equation is not defined.

    >>> round(resistance_ohm(-100.0), 3)
    602.558
    """
    low_c, high_c = RANGE_C
    if not low_c <= temperature_c <= high_c:
        raise ValueError(f"{temperature_c} C is outside {low_c:g} to {high_c:g} C")
    cubic = C * (temperature_c - 100.0) * temperature_c**3 if temperature_c < 0 else 0.0
    return R0_OHM * (1.0 + A * temperature_c + B * temperature_c**2 + cubic)


def temperature_c(resistance: float) -> float:
    """Temperature of a resistance (ohm), to better than 1e-9 K of the equation.

    Raises:
        ValueError: a resistance that a platinum resistor has not between -200 C and 850 C.

    >>> round(temperature_c(1385.055), 3)
    100.0
    """
    low, high = (resistance_ohm(end_c) for end_c in RANGE_C)
    if not low <= resistance <= high:
        raise ValueError(f"{resistance:g} ohm is outside {low:.2f} to {high:.1f} ohm")
    root = A**2 - 4.0 * B * (1.0 - resistance / R0_OHM)
    value_c = (-A + math.sqrt(root)) / (2.0 * B)
    if resistance >= R0_OHM:
        return value_c
    # Newton's steps from the quadratic, which is wrong by 2.4 K at most
    for _ in range(_MOST_STEPS):
        slope = A + 2.0 * B * value_c + C * (4.0 * value_c - 300.0) * value_c**2
        error = 1.0 + A * value_c + B * value_c**2 + C * (value_c - 100.0) * value_c**3
        step_c = (error - resistance / R0_OHM) / slope
        value_c -= step_c
        if abs(step_c) < 1e-11:
            break
    return max(value_c, RANGE_C[0])
