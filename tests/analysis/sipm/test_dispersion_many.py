from dataclasses import replace

import numpy as np
import pytest

from analysis.estimate import Estimate
from analysis.sipm.dispersion import Broken, mean_dispersion, mean_dispersion_many
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.pair_toys import Toy, charges

EDGES = np.arange(513) - 0.5
TOY = Toy(gain=12.0, noise=1.0, pedestal=100.0)


def row(rng: np.random.Generator, toy: Toy, mean_pe: float, n_events: int = 3000) -> np.ndarray:
    values = np.clip(np.rint(charges(rng, toy, mean_pe, n_events)), 0, 511)
    return np.bincount(values.astype(int), minlength=512).astype(np.float64)


def mixed(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Good pairs, and one of every kind of broken ones."""
    rng = np.random.default_rng(seed)
    on = [row(rng, TOY, level) for level in (1, 2, 4, 8, 12, 15, 3, 5)]
    off = [row(rng, TOY, 0.0) for _ in on]
    broken = (
        (row(rng, TOY, 0.0), row(rng, TOY, 5.0)),
        (row(rng, TOY, 0.0), row(rng, TOY, 0.0)),
        (row(rng, TOY, 5.0, 150), row(rng, TOY, 0.0)),
        (np.zeros(512), row(rng, TOY, 0.0)),
        (row(rng, TOY, 60.0), row(rng, TOY, 0.0)),
        (0.5 * row(rng, TOY, 5.0), row(rng, TOY, 0.0)),
        (row(rng, replace(TOY, pedestal=80.0), 5.0), row(rng, TOY, 0.0)),
        (row(rng, replace(TOY, pedestal=140.0, noise=0.3), 0.4), row(rng, TOY, 0.0)),
        (row(rng, TOY, 3.0), row(rng, replace(TOY, noise=4.0), 0.0)),
    )
    on += [pair[0] for pair in broken]
    off += [pair[1] for pair in broken]
    return np.array(on), np.array(off)


def test_many_channels_get_the_answers_and_refusals_that_each_gets_alone() -> None:
    on, off = mixed(1)
    divisor, jitter = TOY.known_divisor(0.01), Estimate(0.01, 0.002, "1", "truth")
    many = mean_dispersion_many(
        on, off, EDGES, divisor.value, divisor.sigma, light_jitter=jitter, n_pixels=7284
    )
    answered = 0
    for i in range(len(on)):
        alone = mean_dispersion(
            Spectrum(on[i], EDGES), Spectrum(off[i], EDGES), divisor, jitter, n_pixels=7284
        )
        assert alone.known == (many.broken[i] == 0), (i, alone.reasons, Broken(int(many.broken[i])))
        assert alone.known == bool(np.isfinite(many.gain[i]))
        if alone.known:
            answered += 1
            assert many.gain[i] == pytest.approx(alone.value)
            assert many.sigma[i] == pytest.approx(alone.sigma)
        elif "broken" in alone.goodness:
            assert many.broken[i] == alone.goodness["broken"]
    assert answered == 8


def test_a_bad_channel_does_not_touch_the_others() -> None:
    on, off = mixed(2)
    good = mean_dispersion_many(on, off, EDGES, TOY.divisor, 0.01)
    on[1, 5], off[2, 6] = np.nan, -1
    found = mean_dispersion_many(on, off, EDGES, TOY.divisor, 0.01)
    others = np.setdiff1d(np.arange(len(on)), [1, 2])
    assert found.gain[others] == pytest.approx(good.gain[others], nan_ok=True)
    assert Broken(int(found.broken[1])) & Broken.ON_FLAWED
    assert Broken(int(found.broken[2])) & Broken.OFF_FLAWED


def test_every_channel_may_have_its_own_divisor() -> None:
    on, off = mixed(3)
    f = np.full(len(on), TOY.divisor)
    f[0], f[1] = np.nan, 0.5
    found = mean_dispersion_many(on, off, EDGES, f, 0.01)
    assert Broken(int(found.broken[0])) & Broken.NO_DIVISOR
    assert Broken(int(found.broken[1])) & Broken.IMPOSSIBLE_DIVISOR
    assert np.isfinite(found.gain[2])


def test_the_number_of_threads_does_not_matter() -> None:
    on, off = mixed(4)
    one = mean_dispersion_many(on, off, EDGES, TOY.divisor, 0.01, threads=1)
    three = mean_dispersion_many(on, off, EDGES, TOY.divisor, 0.01, threads=3)
    assert np.array_equal(one.gain, three.gain, equal_nan=True)
