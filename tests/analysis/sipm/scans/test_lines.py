import numpy as np
import pytest

from analysis.sipm.scans.lines import fit_line, fit_linear, judge, line_design, runs_p_value
from analysis.sipm.scans.points import Measured


def measured(x: np.ndarray, y: np.ndarray, independent: np.ndarray, shared: np.ndarray) -> Measured:
    return Measured(x, y, independent, np.atleast_2d(shared), np.arange(len(x)))


def test_the_fit_is_generalised_least_squares() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(0.0, 3.0, 6)
    root = rng.normal(size=(6, 6))
    covariance = root @ root.T + np.eye(6)
    y = rng.normal(size=6)
    fit = fit_linear(line_design(x, 1.0), measured(x, y, covariance, np.zeros(6)))
    design, weight = line_design(x, 1.0), np.linalg.inv(covariance)
    expected = np.linalg.inv(design.T @ weight @ design)
    parameters = expected @ design.T @ weight @ y
    rest = y - design @ parameters
    np.testing.assert_allclose(fit.parameters, parameters)
    np.testing.assert_allclose(fit.covariance, expected)
    assert fit.chi2 == pytest.approx(rest @ weight @ rest)


def test_a_common_offset_gives_what_the_full_covariance_gives() -> None:
    rng = np.random.default_rng(2)
    x, y, sigma = np.arange(5.0), rng.normal(size=5), rng.uniform(0.1, 0.4, 5)
    apart = fit_line(measured(x, y, np.diag(sigma**2), np.full(5, 0.7)))
    full = np.diag(sigma**2) + 0.7**2
    design = line_design(x, float(x @ sigma**-2 / np.sum(sigma**-2)))
    whole = fit_linear(design, measured(x, y, full, np.zeros(5)))
    np.testing.assert_allclose(apart.parameters, whole.parameters)
    np.testing.assert_allclose(apart.covariance, whole.covariance, atol=1e-12)
    assert apart.chi2 == pytest.approx(whole.chi2)


def test_a_scale_error_does_not_pull_the_line_down_or_hide_a_misfit() -> None:
    x = np.arange(6.0)
    y = 10 + 5 * x + np.array([1, -1, 1, -1, 1, -1.0])
    plain = fit_line(measured(x, y, 0.01 * np.eye(6), np.zeros(6)))
    scaled = fit_line(measured(x, y, 0.01 * np.eye(6), 0.3 * y))
    np.testing.assert_allclose(scaled.parameters, plain.parameters)
    assert scaled.chi2 == pytest.approx(plain.chi2, rel=0.05)


@pytest.mark.parametrize(
    ("signs", "expected"),
    [("++++----", 2 / 70), ("+-+-+-+-", 1.0), ("++--", 2 / 6), ("++++", 1.0), ("+++-", 2 / 4)],
)
def test_runs_are_counted_exactly(signs: str, expected: float) -> None:
    values = np.array([1.0 if sign == "+" else -1.0 for sign in signs])
    assert runs_p_value(values) == pytest.approx(expected)


def test_a_straight_line_is_called_straight_in_99_of_100_cases() -> None:
    rng = np.random.default_rng(3)
    x = np.linspace(0, 5, 9)
    shapes = []
    for _ in range(1500):
        y = 3 + 2 * x + 0.1 * rng.standard_normal(9)
        shapes.append(judge(measured(x, y, 0.01 * np.eye(9), np.zeros(9))).shape)
    assert 0.983 < shapes.count("straight") / len(shapes) < 0.998


def test_a_slow_wave_is_seen_by_its_runs() -> None:
    x = np.linspace(0, 1, 60)
    y = 3 + 2 * x + 0.09 * np.sin(6 * np.pi * x)
    judged = judge(measured(x, y, 0.01 * np.eye(60), np.zeros(60)))
    assert judged.tests.p_value > 0.003
    assert abs(judged.tests.curvature_pull) < 3
    assert judged.shape != "straight"
