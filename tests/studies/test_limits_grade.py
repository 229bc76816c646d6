"""The grades of the study of limits tell honest errors from others."""

from math import nan

import numpy as np
import pytest

from tests.studies.limits_grade import Grade, grade
from tests.studies.limits_map import dark_rate, fluence_at, reach
from tests.studies.limits_points import axes
from tests.studies.limits_trial import Outcome, true_divisor

TRUE = 28.0


def answers(seed: int, n: int, *, claimed: float, scatter: float = 0.01) -> list[Outcome]:
    value = TRUE * (1 + scatter * np.random.default_rng(seed).standard_normal(n))
    return [outcome(float(one), claimed * TRUE) for one in value]


def outcome(value: float, sigma: float) -> Outcome:
    return Outcome("dcr", 1e6, 0, "full_fit", TRUE, value, sigma, 0.04)


def test_honest_errors_cover_and_small_ones_are_found_out() -> None:
    honest = grade(answers(1, 4000, claimed=0.01))
    assert honest.verdict == "works"
    assert honest.coverage == pytest.approx(0.683, abs=0.03)
    assert honest.pull_width == pytest.approx(1.0, abs=0.05)
    assert honest.seen == pytest.approx(0.01, rel=0.05)
    assert grade(answers(1, 400, claimed=0.005)).verdict == "wrong"


def test_one_catastrophic_answer_is_enough_to_be_wrong() -> None:
    fine = answers(2, 100, claimed=0.01)
    assert grade(fine).verdict == "works"
    assert grade([*fine, outcome(2 * TRUE, 0.1)]).catastrophic == 1
    assert grade([*fine, outcome(2 * TRUE, 0.1)]).verdict == "wrong"


def test_answers_in_half_of_the_cases_and_in_none_have_their_own_words() -> None:
    silent = [outcome(nan, nan)] * 100
    assert grade(silent).verdict == "refuses"
    assert grade([*silent, *answers(3, 100, claimed=0.01)]).verdict == "partly"


def test_the_reach_of_a_method_is_its_longest_unbroken_stretch() -> None:
    works = grade(answers(1, 100, claimed=0.01))
    refuses = grade([outcome(nan, nan)] * 10)
    verdicts: dict[float, Grade] = {1.0: works, 2.0: refuses, 3.0: works, 4.0: works, 5.0: refuses}
    grades = {("dcr", "full_fit", x): g for x, g in verdicts.items()}
    assert reach(grades, "dcr", "full_fit") == (3.0, 4.0)


def test_fluence_and_dark_rate_are_each_others_inverse() -> None:
    fluence = fluence_at(1e8, 4.0, -30.0)
    assert dark_rate(fluence, 4.0, -30.0) == pytest.approx(1e8)
    assert dark_rate(fluence, 9.0, -30.0) == pytest.approx(2.25e8)
    assert fluence_at(1e8, 4.0, 0.0) < fluence


def test_the_divisor_of_the_reference_device_is_that_of_crosstalk_spread_and_afterpulses() -> None:
    point = axes()[0].points[0]
    crosstalk, spread = 0.06, point.truth.gain_spread
    without_afterpulses = 1 / (1 - crosstalk) ** 2 + spread**2
    found = true_divisor(point.truth, point.overvoltage_v, point.readout)
    assert without_afterpulses < found < without_afterpulses + 2 * point.truth.afterpulse
