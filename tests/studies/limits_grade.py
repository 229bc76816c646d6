"""Grades of a method from many outcomes with known truth."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import isnan, nan, sqrt

import numpy as np

from tests.studies.limits_trial import Outcome

CATASTROPHIC_PULL = 5.0
CATASTROPHIC_SHARE = 0.05
LEAST_ANSWERS = 0.9
FEW_ANSWERS = 0.1
LEAST_COVERAGE = 0.6


@dataclass(frozen=True)
class Grade:
    """How good the answers of one method are; all relative to the true gain.

    n: measurements; answered: share that got a value. bias and its error: mean deviation; seen:
    half the central 68 % interval of the deviations; claimed: median sigma. pull_width: rms pull.
    coverage: share of answers within one sigma. catastrophic: number of answers off by more than
    5 sigma and 5 %.
    """

    n: int
    answered: float
    bias: float
    bias_error: float
    seen: float
    claimed: float
    pull_width: float
    coverage: float
    catastrophic: int

    @property
    def known(self) -> int:
        return round(self.n * self.answered)

    @property
    def verdict(self) -> str:
        """works, partly (answers in 10 to 90 % of cases), refuses, or wrong.

        Wrong: a catastrophic answer, or a coverage below 60 % by more than 2.5 standard deviations.
        90 % of answers may be missed by one standard deviation.
        """
        if self.catastrophic:
            return "wrong"
        if self.known < max(FEW_ANSWERS * self.n, 1):
            return "refuses"
        error = sqrt(LEAST_COVERAGE * (1 - LEAST_COVERAGE) / max(self.known, 1))
        if self.coverage < LEAST_COVERAGE - 2.5 * error:
            return "wrong"
        luck = sqrt(LEAST_ANSWERS * (1 - LEAST_ANSWERS) / self.n)
        return "works" if self.answered >= LEAST_ANSWERS - luck else "partly"


def grade(outcomes: Iterable[Outcome]) -> Grade:
    """Grade of outcomes of one method."""
    every = list(outcomes)
    known = [o for o in every if not isnan(o.value)]
    if not known:
        return Grade(len(every), 0.0, nan, nan, nan, nan, nan, nan, 0)
    value, sigma, true = (
        np.array([getattr(o, name) for o in known]) for name in ("value", "sigma", "true")
    )
    away, error = value / true - 1, sigma / true
    pull = away / np.maximum(error, 1e-12)
    wrong = (np.abs(pull) > CATASTROPHIC_PULL) & (np.abs(away) > CATASTROPHIC_SHARE)
    low, high = np.quantile(away, [0.16, 0.84])
    return Grade(
        len(every),
        len(known) / len(every),
        float(away.mean()),
        float(away.std() / sqrt(len(away))),
        float(high - low) / 2,
        float(np.median(error)),
        float(np.sqrt(np.mean(pull**2))),
        float(np.mean(np.abs(pull) < 1)),
        int(wrong.sum()),
    )


def by_point(outcomes: Sequence[Outcome]) -> dict[tuple[str, str, float], Grade]:
    """Grades by (axis, method, x)."""
    grouped = defaultdict(list)
    for outcome in outcomes:
        grouped[outcome.axis, outcome.method, outcome.x].append(outcome)
    return {key: grade(group) for key, group in grouped.items()}
