import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers import pt1000


@pytest.mark.parametrize(
    # IEC 60751:2008, table 1, times ten
    ("temperature_c", "resistance_ohm"),
    [
        (-200.0, 185.201),
        (-100.0, 602.56),
        (-50.0, 803.06),
        (-30.0, 882.22),
        (0.0, 1000.00),
        (25.0, 1097.35),
        (100.0, 1385.06),
        (400.0, 2470.92),
        (850.0, 3904.81),
    ],
)
def test_the_standard_s_table_is_met_both_ways(temperature_c: float, resistance_ohm: float) -> None:
    assert pt1000.resistance_ohm(temperature_c) == pytest.approx(resistance_ohm, abs=0.006)
    assert pt1000.temperature_c(resistance_ohm) == pytest.approx(temperature_c, abs=0.003)


@given(st.floats(-200.0, 850.0))
def test_temperatures_survive_their_resistance(temperature_c: float) -> None:
    back_c = pt1000.temperature_c(pt1000.resistance_ohm(temperature_c))
    assert back_c == pytest.approx(temperature_c, abs=1e-9)


def test_the_cubic_term_counts_below_zero_only() -> None:
    without_c = pt1000.R0_OHM * (1 + pt1000.A * -60 + pt1000.B * 3600)
    assert pt1000.resistance_ohm(-60.0) - without_c == pytest.approx(-0.1446, abs=1e-3)
    assert pt1000.resistance_ohm(60.0) == pt1000.R0_OHM * (1 + pt1000.A * 60 + pt1000.B * 3600)


@pytest.mark.parametrize("temperature_c", [-200.1, 850.1, float("nan"), float("inf")])
def test_no_resistance_beyond_the_standard(temperature_c: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        pt1000.resistance_ohm(temperature_c)


@pytest.mark.parametrize("resistance_ohm", [0.0, 185.0, 3905.0, float("nan"), float("inf"), -1.0])
def test_no_temperature_from_a_broken_sensor(resistance_ohm: float) -> None:
    with pytest.raises(ValueError, match="outside"):
        pt1000.temperature_c(resistance_ohm)
