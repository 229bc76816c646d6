import numpy as np
import pytest

from analysis.sipm.moments import Flaw, moments, one_pair, one_summary, pairs
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.pair_toys import Toy, charges, random_toy, spectrum

EDGES = np.arange(401) - 0.5


def table(rng: np.random.Generator, mean_pe: float, n_channels: int) -> np.ndarray:
    rows = []
    for _ in range(n_channels):
        toy = Toy(gain=rng.uniform(8, 15), noise=rng.uniform(0.2, 1.5), pedestal=100.0)
        rows.append(np.histogram(np.rint(charges(rng, toy, mean_pe, 1000)), EDGES)[0])
    return np.array(rows, dtype=np.float64)


def test_moments_are_those_of_the_charges() -> None:
    rng = np.random.default_rng(1)
    values = np.rint(charges(rng, Toy(), 3.0, 5000))
    found = one_summary(Spectrum.from_charges(values))
    assert found.mean[0] == pytest.approx(values.mean())
    assert found.variance[0] == pytest.approx(values.var(ddof=1))
    for column, order in enumerate(range(2, 7)):
        wanted = ((values - values.mean()) ** order).mean()
        assert found.central[0, column] == pytest.approx(wanted)


def test_the_covariance_is_the_scatter_of_repeated_runs() -> None:
    rng = np.random.default_rng(2)
    runs = [one_summary(spectrum(rng, Toy(noise=0.5), 2.0, 2000)) for _ in range(400)]
    seen = np.array([[r.mean[0], r.variance[0], r.third[0]] for r in runs])
    predicted = np.mean([r.covariance[0] for r in runs], axis=0)
    scatter = np.cov(seen.T)
    assert np.diag(scatter) == pytest.approx(np.diag(predicted), rel=0.25)
    correlation = predicted / np.sqrt(np.outer(np.diag(predicted), np.diag(predicted)))
    assert np.corrcoef(seen.T) == pytest.approx(correlation, abs=0.08)


def test_many_channels_give_what_each_gives_alone() -> None:
    rng = np.random.default_rng(3)
    on, off = table(rng, 4.0, 60), table(rng, 0.0, 60)
    on[3] = 0
    off[4] *= 0.5
    on[5, 150] += 2000
    on[6, 200:] = 0
    on[7], off[8] = 0, 0
    on[7, 9] = 700
    many = pairs(on, off, EDGES)
    for i in range(60):
        alone = one_pair(Spectrum(on[i], EDGES), Spectrum(off[i], EDGES))
        for name in ("share", "below", "moved"):
            assert getattr(many, name)[i] == pytest.approx(getattr(alone, name)[0], nan_ok=True)
        for run in ("on", "off"):
            all_runs, this = getattr(many, run), getattr(alone, run)
            assert all_runs.flaws[i] == this.flaws[0]
            for name in ("entries", "mean", "central", "core"):
                assert getattr(all_runs, name)[i] == pytest.approx(
                    getattr(this, name)[0], nan_ok=True
                )


@pytest.mark.parametrize("kind", [np.uint16, np.int64, np.float32])
def test_the_type_of_the_counts_does_not_matter(kind: type) -> None:
    counts = table(np.random.default_rng(4), 4.0, 5)
    found, wanted = moments(counts.astype(kind), EDGES), moments(counts, EDGES)
    assert found.central == pytest.approx(wanted.central)
    assert list(found.flaws) == list(wanted.flaws)


def test_bad_contents_are_flaws_of_their_channel_alone() -> None:
    counts = table(np.random.default_rng(5), 4.0, 4)
    good = moments(counts, EDGES)
    counts[1, 7] = np.nan
    counts[2, 8] = -1
    found = moments(counts, EDGES)
    assert Flaw(int(found.flaws[1])) & Flaw.NOT_FINITE
    assert Flaw(int(found.flaws[2])) & Flaw.NEGATIVE
    assert found.mean[[0, 3]] == pytest.approx(good.mean[[0, 3]])
    assert not found.flaws[[0, 3]].any()


def test_shapes_that_do_not_fit_are_wrong_use() -> None:
    with pytest.raises(ValueError, match="edges"):
        moments(np.ones((3, 10)), np.arange(10))
    with pytest.raises(ValueError, match="increasing"):
        moments(np.ones((3, 10)), np.zeros(11))
    with pytest.raises(ValueError, match="light off"):
        pairs(np.ones((3, 10)), np.ones((2, 10)), np.arange(11))


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_a_spectrum_cut_off_is_seen_at_either_end(share: float) -> None:
    values = np.rint(charges(np.random.default_rng(6), Toy(noise=3.0), 10.0, 10_000))
    low, high = np.quantile(values, [1 - share, share])
    upper = one_summary(Spectrum.from_charges(values[values <= high]))
    lower = one_summary(Spectrum.from_charges(values[values >= low]))
    assert Flaw(int(upper.flaws[0])) == Flaw.CUT_HIGH
    assert Flaw(int(lower.flaws[0])) == Flaw.CUT_LOW


def test_natural_ends_are_not_taken_for_cuts() -> None:
    rng = np.random.default_rng(7)
    flawed = 0
    for _ in range(150):
        mean_pe, n_events = 10 ** rng.uniform(-0.5, 2), int(10 ** rng.uniform(2.5, 4.3))
        flawed += int(one_summary(spectrum(rng, random_toy(rng), mean_pe, n_events)).flaws[0] != 0)
    assert flawed <= 1


def test_a_stuck_code_is_seen() -> None:
    values = np.rint(charges(np.random.default_rng(8), Toy(), 5.0, 5000))
    values[::20] = np.median(values)
    found = one_summary(Spectrum.from_charges(values))
    assert Flaw(int(found.flaws[0])) == Flaw.SPIKE
