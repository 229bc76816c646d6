import pytest

from analysis.estimate import Estimate, unknown


def test_a_value_without_sigma_is_refused() -> None:
    with pytest.raises(ValueError, match="needs its sigma"):
        Estimate(1.0, None, "V", "test")


def test_an_unknown_without_reason_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a reason"):
        Estimate(None, None, "V", "test")


@pytest.mark.parametrize(
    ("value", "sigma"), [(float("nan"), 1.0), (1.0, float("inf")), (1.0, -1.0)]
)
def test_numbers_that_are_no_measurement_are_refused(value: float, sigma: float) -> None:
    with pytest.raises(ValueError, match="not a measurement"):
        Estimate(value, sigma, "V", "test")


def test_unknown_says_why_and_is_not_known() -> None:
    estimate = unknown("V", "test", "no light")
    assert not estimate.known
    assert estimate.reasons == ("no light",)


def test_a_value_with_sigma_is_known() -> None:
    assert Estimate(1.0, 0.1, "V", "test").known
