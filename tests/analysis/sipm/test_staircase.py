import numpy as np
import pytest

from analysis.sipm.dark import staircase

GAIN, OFFSET, DEAD_NS = 12.0, 1.5, 10.0


def counted(
    rng: np.random.Generator,
    threshold: np.ndarray,
    *,
    dcr_hz: float = 1e5,
    crosstalk: float = 0.1,
    width: float = 0.1,
    wall_hz: float = 1e8,
    live_s: float = 0.1,
) -> np.ndarray:
    """Rates of a counter to which pulses within its dead time are one."""
    n = 200_000
    pixels = np.ones(n, dtype=np.int64)
    generation = pixels
    while generation.any():
        generation = rng.poisson(crosstalk * generation)
        pixels = pixels + generation
    time = np.cumsum(rng.exponential(1e9 / dcr_hz, n))
    height = pixels + width * rng.standard_normal(n)
    first = np.cumsum(np.diff(time, prepend=-1e9) > DEAD_NS) - 1
    together = np.sort(np.bincount(first, weights=height)) * GAIN + OFFSET
    above = len(together) - np.searchsorted(together, threshold)
    wall = wall_hz * np.exp(-0.5 * ((threshold - OFFSET) / (0.08 * GAIN)) ** 2)
    rate = 1e9 * above / time[-1] + wall
    return rng.poisson(rate * live_s) / live_s


def scan(low: float = 0.15, high: float = 3.6, n: int = 60) -> np.ndarray:
    return OFFSET + GAIN * np.linspace(low, high, n)


@pytest.mark.parametrize("dcr_hz", [1e4, 1e6, 1e7])
@pytest.mark.parametrize("crosstalk", [0.03, 0.1, 0.4])
def test_rate_crosstalk_and_gain_are_found_with_honest_errors(
    dcr_hz: float, crosstalk: float
) -> None:
    rng = np.random.default_rng(1)
    live_s = max(1000 / dcr_hz, 0.01)
    rate = counted(rng, scan(), dcr_hz=dcr_hz, crosstalk=crosstalk, live_s=live_s)
    found = staircase(scan(), rate, live_s=live_s, dead_time_ns=DEAD_NS)
    for estimate, true in (
        (found.dcr, dcr_hz),
        (found.crosstalk, crosstalk),
        (found.crosstalk_probability, 1 - np.exp(-crosstalk)),
        (found.gain, GAIN),
        (found.offset, OFFSET),
    ):
        assert estimate.value is not None, estimate.reasons
        assert abs(estimate.value - true) < 3 * (estimate.sigma or 0)
        assert (estimate.sigma or 0) < max(0.25 * true, 0.05)


def test_the_noise_wall_is_no_plateau() -> None:
    rng = np.random.default_rng(2)
    rate = counted(rng, scan(0.0), wall_hz=3e8)
    found = staircase(scan(0.0), rate, live_s=0.1, dead_time_ns=DEAD_NS)
    assert found.dcr.value == pytest.approx(1e5, rel=0.03)


def test_errors_are_taken_from_the_scatter_when_none_are_given() -> None:
    rng = np.random.default_rng(3)
    found = staircase(scan(), counted(rng, scan()), dead_time_ns=DEAD_NS)
    assert abs((found.dcr.value or 0) - 1e5) < 3.5 * (found.dcr.sigma or 0)


def test_chance_coincidences_are_no_crosstalk() -> None:
    rng = np.random.default_rng(4)
    rate = counted(rng, scan(), dcr_hz=1e7, crosstalk=0.03, live_s=0.01)
    found = staircase(scan(), rate, live_s=0.01, dead_time_ns=DEAD_NS)
    blind = staircase(scan(), rate, live_s=0.01)
    assert (blind.crosstalk.value or 0) > 0.1
    assert abs((found.crosstalk.value or 0) - 0.03) < 2 * (found.crosstalk.sigma or 0)


def test_a_curve_without_its_first_plateau_is_not_told() -> None:
    rng = np.random.default_rng(5)
    late = scan(1.2, 4.0)
    found = staircase(late + 4 * GAIN, counted(rng, late), live_s=0.1)
    assert not found.dcr.known
    assert "noise wall" in found.dcr.reasons[0]


def test_washed_out_steps_are_not_told() -> None:
    rng = np.random.default_rng(6)
    rate = counted(rng, scan(), width=0.6, wall_hz=0.0)
    assert not staircase(scan(), rate, live_s=0.1).crosstalk.known


def test_a_counter_that_is_mostly_dead_tells_no_rate() -> None:
    rng = np.random.default_rng(7)
    rate = counted(rng, scan(), dcr_hz=1e6, live_s=0.01)
    found = staircase(scan(), rate, live_s=0.01, dead_time_ns=500.0)
    assert not found.dcr.known
    assert "dead" in found.dcr.reasons[0]


@pytest.mark.parametrize(
    "rate",
    [
        np.zeros(60),
        np.full(60, np.nan),
        np.full(60, 1e5),
        -np.ones(60),
        np.exp(-np.arange(60) / 8.0) * 1e6,
        np.random.default_rng(0).uniform(0, 1e6, 60),
    ],
    ids=["zero", "nan", "flat", "negative", "exponential", "random"],
)
def test_what_is_no_staircase_gives_no_number(rate: np.ndarray) -> None:
    found = staircase(scan(), rate)
    assert not found.dcr.known
    assert found.dcr.reasons


def test_wrong_use_is_refused() -> None:
    with pytest.raises(ValueError, match="thresholds for"):
        staircase([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="negative"):
        staircase([1.0], [1.0], dead_time_ns=-1)
