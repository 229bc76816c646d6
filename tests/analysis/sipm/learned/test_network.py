import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from analysis.estimate import Estimate
from analysis.sipm.learned import model
from analysis.sipm.learned.data import Channel, GivenDivisor, Ranges, draw_examples, draw_pair
from analysis.sipm.learned.features import NAMES, features
from analysis.sipm.learned.model import CARD, HERE, MODEL, ModelError, learned_gain, load
from analysis.sipm.spectrum import Spectrum

CHANNEL = Channel(
    light_pe=5.0,
    noise_pe=0.5,
    dark_per_gate=2.0,
    n_on=30_000,
    n_off=30_000,
    crosstalk=0.1,
    gain_spread=0.05,
)
F = CHANNEL.enf_divisor


def given(error: float) -> GivenDivisor:
    return GivenDivisor(Estimate(F, error * F, "1", "test"))


def test_drawn_pairs_have_the_moments_of_their_channel() -> None:
    many = Channel(5.0, 0.5, 2.0, 10**9, 10**9, 0.1, 0.05)
    on, off = draw_pair(np.random.default_rng(1), many)
    assert on.mean - off.mean == pytest.approx(5.0 / 0.9, rel=2e-4)
    slope = (on.variance - off.variance) / (on.mean - off.mean)
    assert slope == pytest.approx(F, rel=1e-3)


def test_the_features_do_not_depend_on_gain_and_pedestal() -> None:
    on, off = draw_pair(np.random.default_rng(1), CHANNEL)
    seen = features(on, off, given(0.02))
    scaled = [Spectrum(s.counts, 37.0 * s.edges + 400.0) for s in (on, off)]
    again = features(*scaled, given(0.02))
    assert not isinstance(seen, str)
    assert not isinstance(again, str)
    np.testing.assert_allclose(again.values, seen.values, rtol=1e-3, atol=1e-3)
    assert again.slope == pytest.approx(37.0 * seen.slope)
    assert len(seen.values) == len(NAMES)


def test_a_pair_without_light_has_no_features() -> None:
    dark = draw_pair(np.random.default_rng(1), replace(CHANNEL, light_pe=1e-6))
    assert str(features(*dark)).startswith("no light")


def test_examples_follow_from_the_seed() -> None:
    first = draw_examples(np.random.default_rng([1, 2]), 3, Ranges())
    again = draw_examples(np.random.default_rng([1, 2]), 3, Ranges())
    other = draw_examples(np.random.default_rng([1, 3]), 3, Ranges())
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.array_equal(first[1], other[1])


@pytest.fixture(scope="module")
def shipped() -> model.Network:
    pytest.importorskip("onnxruntime")
    return load(HERE)


def test_the_shipped_network_finds_the_gain_with_errors_that_cover(shipped: model.Network) -> None:
    rng = np.random.default_rng(5)
    pulls = []
    for _ in range(25):
        found = learned_gain(*draw_pair(rng, CHANNEL), given(0.02))
        assert found.value is not None, found.reasons
        assert found.sigma is not None
        pulls.append((found.value - 1) / found.sigma)
    assert abs(np.mean(pulls)) < 0.8
    assert np.std(pulls) < 1.4
    assert np.abs(pulls).max() < 4


def test_far_from_its_training_the_network_says_so(shipped: model.Network) -> None:
    rng = np.random.default_rng(1)
    few = Channel(5.0, 0.5, 0.0, 700, 700, 0.1, 0.05)
    found = learned_gain(*draw_pair(rng, few))
    assert not found.known
    assert "outside the training data: ln_n_on" in found.reasons[0]


def test_a_changed_network_is_refused(shipped: model.Network, tmp_path: Path) -> None:
    for name in (MODEL, CARD):
        shutil.copy(HERE / name, tmp_path)
    content = bytearray((tmp_path / MODEL).read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / MODEL).write_bytes(content)
    with pytest.raises(ModelError, match="not the network of its card"):
        load(tmp_path)


def test_wrong_numbers_are_seen_by_the_parity_vector(
    shipped: model.Network, tmp_path: Path
) -> None:
    shutil.copy(HERE / MODEL, tmp_path)
    card = json.loads((HERE / CARD).read_text())
    card["parity"]["ln_gain"][0] += 0.01
    (tmp_path / CARD).write_text(json.dumps(card))
    with pytest.raises(ModelError, match="computes ln_gain wrong"):
        load(tmp_path)


def test_a_missing_network_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load(tmp_path)


def test_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for needed in ("torch", "onnx", "onnxruntime"):
        pytest.importorskip(needed)
    from analysis.sipm.learned.train import Plan, train

    plan = Plan(shards=2, shard_size=14, members=1, epochs=3, workers=1)
    work = tmp_path / "work"
    first = train(work, plan, Ranges(), tmp_path / "first")
    kept = {path: path.stat().st_mtime_ns for path in work.iterdir()}
    again = train(work, plan, Ranges(), tmp_path / "again")
    assert {path: path.stat().st_mtime_ns for path in work.iterdir()} == kept
    assert first == again
    (work / f"shard_{plan.seed}_001.npz").unlink()
    assert train(work, plan, Ranges(), tmp_path / "third") == first
    assert (tmp_path / "first" / MODEL).stat().st_size < 1_000_000
