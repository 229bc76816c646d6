"""Mean and dispersion, the ratio of characteristic functions, and the network, side by side.

Tables and a figure are written into the folder TESSERA_STUDY names, or into pytest's own.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.estimate import Estimate
from analysis.sipm.learned.data import Channel, draw_pair
from tests.analysis.sipm.learned.study import (
    Knowledge,
    Merit,
    Pair,
    draw_resolution,
    full_monte_carlo,
    judge,
    known_divisor,
    table,
    together,
)

pytestmark = [pytest.mark.study, pytest.mark.timeout(3600)]

NOISE_PE = (0.3, 0.5, 0.8, 1.5, 3.0, 6.0)
LIGHT_PE = (0.5, 3.0, 15.0, 50.0)
N_EVENTS = (2_000, 20_000, 200_000)
GATE_NS = 60.0
DARK_HZ = (1e8, 1e9, 1e10)
PAIRS = int(os.environ.get("TESSERA_STUDY_PAIRS", "40"))
FEWEST_ANSWERS = 8


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnxruntime")
    chosen = os.environ.get("TESSERA_STUDY")
    target = Path(chosen) if chosen else tmp_path_factory.mktemp("study")
    target.mkdir(parents=True, exist_ok=True)
    return target


def sample(noise_pe: float, light_pe: float, n: int, dark_hz: float = 0.0) -> Iterator[Pair]:
    """Random crosstalk and gain spread; no ingredient that the models lack; the gain is 1."""
    rng = np.random.default_rng([int(100 * noise_pe), int(10 * light_pe), n, int(dark_hz)])
    for _ in range(PAIRS):
        dark = dark_hz * GATE_NS * 1e-9
        crosstalk, spread = rng.uniform(0.02, 0.2), rng.uniform(0.03, 0.08)
        channel = Channel(light_pe, noise_pe, dark, n, n, crosstalk, spread)
        on, off = draw_pair(rng, channel)
        jitter = Estimate(0.0, 1e-3, "1", "simulated")
        known = Knowledge(known_divisor(rng, channel.enf_divisor), jitter, n_pixels=10**7)
        yield Pair(on, off, 1.0, known)


def assert_honest(merit: Merit, *, low: float, high: float) -> None:
    assert low < merit.coverage < high
    catastrophes = (np.abs(merit.pulls) > 5) & (np.abs(merit.error[merit.answered]) > 0.05)
    assert not catastrophes.any()


@pytest.fixture(scope="module")
def cells(folder: Path) -> dict[tuple[float, float, float], dict[str, Merit]]:
    found = {
        (noise, light, n): judge(sample(noise, light, n))
        for n in N_EVENTS
        for light in LIGHT_PE
        for noise in NOISE_PE
    }
    rows = {f"{s:g} p.e. noise, {m:g} p.e., {n:g}": merits for (s, m, n), merits in found.items()}
    (folder / "pairs_over_noise.md").write_text(table(rows))
    draw_resolution(found, folder / "pairs_over_noise.png")
    return found


def test_all_ways_cover_over_noise_light_and_statistics(
    cells: dict[tuple[float, float, float], dict[str, Merit]], folder: Path
) -> None:
    whole = together(cells.values())
    by_noise = {
        f"noise {noise:g} p.e.": together(m for (s, _, _), m in cells.items() if s == noise)
        for noise in NOISE_PE
    }
    (folder / "pairs_together.md").write_text(table({"all": whole, **by_noise}))
    for name in ("ratio, F to 2 %", "ratio, no F"):
        assert_honest(whole[name], low=0.64, high=0.76)


def test_where_each_way_is_the_sharpest(
    cells: dict[tuple[float, float, float], dict[str, Merit]], folder: Path
) -> None:
    """Resolution over the pairs that both ways answer; a win is 10 % or more."""
    contests = [
        ("ratio, F to 2 %", "mean and dispersion, F to 2 %"),
        ("network, F to 2 %", "mean and dispersion, F to 2 %"),
        ("network, F to 2 %", "ratio, F to 2 %"),
        ("network, no F", "ratio, no F"),
    ]
    lines = [
        "| way | against | wins | even | loses | cells | median ratio of rms |",
        "|" + "---|" * 7,
    ]
    ratios = {}
    for one, other in contests:
        ratio = []
        for merits in cells.values():
            both = merits[one].answered & merits[other].answered
            if both.sum() >= FEWEST_ANSWERS:
                rms = [np.sqrt(np.mean(merits[way].error[both] ** 2)) for way in (one, other)]
                ratio.append(rms[0] / rms[1])
        ratios[one, other] = np.array(ratio)
        wins, loses = np.mean(ratios[one, other] < 0.9), np.mean(ratios[one, other] > 1.1)
        lines.append(
            f"| {one} | {other} | {wins:.0%} | {1 - wins - loses:.0%} | {loses:.0%} | "
            f"{len(ratio)} | {np.median(ratio):.2f} |"
        )
    (folder / "pairs_contests.md").write_text("\n".join(lines) + "\n")
    against = ratios["ratio, F to 2 %", "mean and dispersion, F to 2 %"]
    assert np.mean(against < 0.9) > 0.25
    assert np.mean(against > 1.25) < 0.05


def test_dark_counts_up_to_1e10_hz(folder: Path) -> None:
    found = {
        f"{rate:.0e} Hz, {light:g} p.e., {n:g}": judge(sample(0.3, light, n, rate))
        for rate in DARK_HZ
        for light in (3.0, 15.0, 50.0)
        for n in (20_000, 200_000)
    }
    whole = together(found.values())
    (folder / "pairs_over_dark_rate.md").write_text(table({"all": whole, **found}))
    assert_honest(whole["ratio, F to 2 %"], low=0.6, high=0.78)


def test_full_monte_carlo_with_what_the_models_lack(folder: Path) -> None:
    rng = np.random.default_rng(11)
    found = {
        f"noise {noise:g} p.e.": judge(
            full_monte_carlo(
                rng, float(np.exp(rng.uniform(np.log(0.5), np.log(20)))), noise, 20_000
            )
            for _ in range(2 * PAIRS)
        )
        for noise in (0.3, 0.5, 0.8, 1.5)
    }
    whole = together(found.values())
    (folder / "pairs_full_monte_carlo.md").write_text(table({"all": whole, **found}))
    for name in ("ratio, F to 2 %", "ratio, no F"):
        assert_honest(whole[name], low=0.6, high=0.8)
