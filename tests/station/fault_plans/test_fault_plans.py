"""Whole shifts under seeded faults: nothing hangs, nothing wrong is stored, nothing is lost.

The bias comes down after every trip, and every sentence names the instrument and the remedy.
"""

from pathlib import Path

import pytest

from tests.station.fault_plans.shift_with_faults import shift_with_faults, wire_faults

HANGS_S = 300
SEEDS = (8, 15)
"""Plans with trips, lost instruments and misread digits in them."""


@pytest.mark.timeout(HANGS_S)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_shift_under_faults_keeps_every_promise(seed: int, tmp_path: Path) -> None:
    outcome = shift_with_faults(seed, tmp_path)
    assert outcome.hits, "this plan spoils replies"
    assert outcome.broken == []


def test_plans_are_the_same_every_time() -> None:
    assert [wire_faults(seed, "bias") for seed in range(50)] == [
        wire_faults(seed, "bias") for seed in range(50)
    ]


@pytest.mark.study
@pytest.mark.timeout(HANGS_S)
@pytest.mark.parametrize("seed", range(2000))
def test_two_thousand_plans_keep_every_promise(seed: int, tmp_path: Path) -> None:
    assert shift_with_faults(seed, tmp_path).broken == []
