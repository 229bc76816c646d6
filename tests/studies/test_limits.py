"""The study of limits, and what the documentation claims about it."""

from collections.abc import Sequence
from math import isnan
from pathlib import Path

import pytest

from tests.studies.limits_grade import Grade, by_point, grade
from tests.studies.limits_map import limits, reach
from tests.studies.limits_page import write_page
from tests.studies.limits_run import FULL, run
from tests.studies.limits_trial import Outcome

DOCS = Path(__file__).parents[2] / "docs"
MEASURING = ("full_fit", "peak_spacing", "mean_dispersion", "intensity_scan", "chooser")

pytestmark = [pytest.mark.study, pytest.mark.timeout(3600)]


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    found = list(run(FULL))
    write_page(found, DOCS)
    return found


@pytest.fixture(scope="module")
def grades(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, float], Grade]:
    return by_point(outcomes)


def test_catastrophic_answers_of_the_chooser_are_fewer_than_one_in_two_hundred(
    outcomes: Sequence[Outcome],
) -> None:
    for method in ("chooser", "chooser_all"):
        mine = grade([o for o in outcomes if o.method == method])
        assert mine.known > 200
        assert mine.catastrophic < 0.005 * mine.known


@pytest.mark.parametrize("method", MEASURING)
def test_what_measures_the_gain_nearly_covers_it(outcomes: Sequence[Outcome], method: str) -> None:
    mine = grade([o for o in outcomes if o.method == method and not isnan(o.value)])
    assert mine.catastrophic < 0.01 * mine.known
    assert mine.coverage > 0.55
    assert mine.pull_width < 1.4


def test_peaks_tell_the_gain_up_to_the_dark_rate_that_the_page_names(
    grades: dict[tuple[str, str, float], Grade],
) -> None:
    found = limits(grades)
    assert 1e7 <= found.peaks <= 1e8
    assert 3e8 <= found.pair_good < found.pair_poor <= 1e10


def test_the_chooser_answers_wherever_a_method_of_its_pair_works(
    grades: dict[tuple[str, str, float], Grade],
) -> None:
    for axis in ("noise", "light", "statistics"):
        low, high = reach(grades, axis, "chooser")
        for method in ("full_fit", "mean_dispersion"):
            first, last = reach(grades, axis, method)
            assert low <= first
            assert high >= last


def test_noise_ends_the_peaks_but_not_the_pair(
    grades: dict[tuple[str, str, float], Grade],
) -> None:
    assert 0.25 <= reach(grades, "noise", "full_fit")[1] <= 0.5
    assert reach(grades, "noise", "mean_dispersion")[1] >= 4.0
