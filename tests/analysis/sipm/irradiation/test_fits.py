from collections.abc import Callable

import numpy as np
import pytest

from analysis.estimate import Estimate
from analysis.sipm.irradiation import (
    arrhenius_factor,
    doubling_factor,
    exponential_decay,
    fit_annealing,
    fit_damage_constant,
    fit_logarithmic,
    fit_temperature,
    logarithmic_decay,
)

TRIES = 200


def pulls(
    fit: Callable[[np.ndarray], dict[str, tuple[Estimate, float]]],
    truth: np.ndarray,
    sigma: np.ndarray,
) -> dict[str, np.ndarray]:
    """(value - truth) / sigma of TRIES measurements of the same points."""
    rng = np.random.default_rng(1)
    found: dict[str, list[float]] = {}
    for _ in range(TRIES):
        for name, (estimate, true) in fit(rng.normal(truth, sigma)).items():
            assert estimate.value is not None, estimate.reasons
            assert estimate.sigma is not None
            found.setdefault(name, []).append((estimate.value - true) / estimate.sigma)
    return {name: np.array(values) for name, values in found.items()}


def assert_standard(found: dict[str, np.ndarray]) -> None:
    for name, values in found.items():
        assert abs(values.mean()) < 0.3, name
        assert 0.85 < values.std() < 1.15, name
        assert 0.6 < np.mean(np.abs(values) < 1) < 0.76, name


def test_the_damage_constant_has_standard_pulls() -> None:
    fluence = np.array([0, 1e11, 1e12, 3e12, 1e13])
    truth = 3e6 + 2e-4 * 2.0 * 3.0 * fluence
    sigma = 0.03 * truth

    def fit(rate: np.ndarray) -> dict[str, tuple[Estimate, float]]:
        found = fit_damage_constant(fluence, rate, sigma, area_mm2=2.0, overvoltage_v=3.0)
        return {"constant": (found.dark_rate, 2e-4), "before": (found.before, 3e6)}

    assert_standard(pulls(fit, truth, sigma))


def test_a_common_error_of_the_fluences_stays_in_the_constant() -> None:
    fluence = np.array([1e11, 1e12, 1e13])
    setting = {"area_mm2": 1.0, "overvoltage_v": 1.0}
    rate = 1e-4 * fluence
    plain = fit_damage_constant(fluence, rate, 0.01 * rate, **setting)
    common = fit_damage_constant(fluence, rate, 0.01 * rate, **setting, fluence_sigma=0.2)
    assert common.dark_rate.value == plain.dark_rate.value
    assert common.dark_rate.sigma == pytest.approx(2e-5, rel=0.01)
    assert common.before == plain.before


def test_a_curved_dependence_is_said_and_widens_the_error() -> None:
    fluence = np.array([1e11, 1e12, 3e12, 1e13])
    rate = 1e-4 * fluence * (fluence / 1e13) ** 0.3
    found = fit_damage_constant(fluence, rate, 0.02 * rate, area_mm2=1.0, overvoltage_v=1.0)
    assert "contradict" in found.dark_rate.reasons[0]
    assert found.dark_rate.goodness["p_value"] < 1e-6
    straight = fit_damage_constant(
        fluence, 1e-4 * fluence, 0.02 * rate, area_mm2=1.0, overvoltage_v=1.0
    )
    assert found.dark_rate.sigma > 3 * straight.dark_rate.sigma  # type: ignore[operator]


def test_the_activation_energy_has_standard_pulls() -> None:
    temperature = np.array([-30.0, -20, -10, 0, 10, 20, 30])
    truth = 1e8 * arrhenius_factor(temperature, 0.0, 0.55)
    sigma = 0.05 * truth

    def fit(rate: np.ndarray) -> dict[str, tuple[Estimate, float]]:
        found = fit_temperature(temperature, rate, sigma)
        return {"energy": (found.activation_energy, 0.55), "rate": (found.rate, 1e8)}

    assert_standard(pulls(fit, truth, sigma))


def test_the_doubling_temperature_has_standard_pulls() -> None:
    temperature = np.array([-30.0, -20, -10, 0, 10, 20, 30])
    truth = 1e8 * doubling_factor(temperature, 0.0, 9.3)
    sigma = 0.05 * truth

    def fit(rate: np.ndarray) -> dict[str, tuple[Estimate, float]]:
        return {"doubling": (fit_temperature(temperature, rate, sigma).doubling, 9.3)}

    assert_standard(pulls(fit, truth, sigma))


def test_precise_points_tell_the_two_laws_apart() -> None:
    temperature = np.linspace(-40, 40, 9)
    truth = arrhenius_factor(temperature, 0.0, 0.6)
    found = fit_temperature(temperature, truth, 0.01 * truth, unit="A")
    assert found.activation_energy.value == pytest.approx(0.6)
    assert found.rate.unit == "A"
    assert found.activation_energy.reasons == ()
    assert "contradict" in found.doubling.reasons[0]


def test_annealing_times_and_shares_have_standard_pulls() -> None:
    hours = np.geomspace(0.5, 500, 25)
    truth = exponential_decay(hours, [0.5], [30.0], 0.4)
    sigma = np.full(25, 0.01)

    def fit(damage: np.ndarray) -> dict[str, tuple[Estimate, float]]:
        found = fit_annealing(hours, damage, sigma)
        return {
            "share": (found.shares[0], 0.5),
            "hours": (found.hours[0], 30.0),
            "rest": (found.rest, 0.4),
        }

    assert_standard(pulls(fit, truth, sigma))


def test_two_annealing_times_come_back_the_faster_first() -> None:
    hours = np.geomspace(0.1, 3000, 60)
    truth = exponential_decay(hours, [0.3, 0.4], [2.0, 200.0], 0.3)
    sigma = np.full(60, 0.005)

    def fit(damage: np.ndarray) -> dict[str, tuple[Estimate, float]]:
        found = fit_annealing(hours, damage, sigma, n_terms=2)
        return {
            "fast share": (found.shares[0], 0.3),
            "slow share": (found.shares[1], 0.4),
            "fast": (found.hours[0], 2.0),
            "slow": (found.hours[1], 200.0),
            "rest": (found.rest, 0.3),
        }

    assert_standard(pulls(fit, truth, sigma))


def test_logarithmic_annealing_has_standard_pulls() -> None:
    hours = np.geomspace(0.5, 500, 12)
    truth = logarithmic_decay(hours, 1.0, 0.08)

    def fit(damage: np.ndarray) -> dict[str, tuple[Estimate, float]]:
        found = fit_logarithmic(hours, damage, np.full(12, 0.02))
        return {"one hour": (found.at_one_hour, 1.0), "per e": (found.per_e_fold, 0.08)}

    assert_standard(pulls(fit, truth, np.full(12, 0.02)))


def test_times_that_the_points_do_not_determine_are_unknown() -> None:
    hours = np.linspace(1, 10, 12)
    rng = np.random.default_rng(3)
    flat = fit_annealing(hours, rng.normal(1.0, 0.01, 12), np.full(12, 0.01))
    assert flat.hours[0].value is None
    assert flat.hours[0].reasons


@pytest.mark.parametrize(
    ("x", "y"),
    [
        ([], []),
        ([1.0], [1.0]),
        ([1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 3.0, 4.0]),
        ([np.nan, 1.0, 2.0], [1.0, np.inf, 1.0]),
        ([-1.0, -2.0, -3.0, -4.0], [-1.0, -1.0, -1.0, -1.0]),
    ],
)
def test_points_that_say_nothing_give_reasons_instead(x: list[float], y: list[float]) -> None:
    sigma = np.full(len(x), 0.1)
    dose = fit_damage_constant(x, y, sigma, area_mm2=1.0, overvoltage_v=1.0)
    warm = fit_temperature(x, y, sigma)
    anneal, log = fit_annealing(x, y, sigma), fit_logarithmic(x, y, sigma)
    for estimate in (
        dose.dark_rate,
        warm.doubling,
        warm.activation_energy,
        anneal.hours[0],
        log.per_e_fold,
    ):
        assert estimate.value is None
        assert estimate.reasons


def test_a_constant_rate_has_no_doubling_temperature() -> None:
    temperature = np.linspace(-20, 20, 9)
    rate = np.random.default_rng(4).normal(100, 3, 9)
    found = fit_temperature(temperature, rate, np.full(9, 3.0))
    assert found.doubling.value is None
    assert "no significant rise" in found.doubling.reasons[0]


def test_bad_points_are_left_out_and_counted() -> None:
    fluence = np.array([1e11, 1e12, np.nan, 1e13, 2e13])
    rate = np.array([1e7, 1e8, 1.0, np.inf, 2e9])
    found = fit_damage_constant(fluence, rate, 0.01 * rate, area_mm2=1.0, overvoltage_v=1.0)
    assert found.dark_rate.value == pytest.approx(1e-4, rel=1e-3)
    assert "2 points left out" in found.dark_rate.reasons[0]


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="as many"):
        fit_temperature([1.0, 2.0], [1.0], [1.0])
    with pytest.raises(ValueError, match="positive"):
        fit_damage_constant([1.0], [1.0], [1.0], area_mm2=0.0, overvoltage_v=1.0)
    with pytest.raises(ValueError, match="terms"):
        fit_annealing([1.0], [1.0], [1.0], n_terms=0)
    with pytest.raises(ValueError, match="absolute zero"):
        fit_temperature([-300.0, 20.0], [1.0, 2.0], [0.1, 0.1])
