from dataclasses import replace

import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.light_scan import intensity_scan
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.pair_toys import Toy, charges, spectrum

LEVELS = (2.0, 5.0, 10.0, 20.0, 40.0, 80.0)
TOY = Toy(noise=1.0, jitter=0.03)


def taken(
    rng: np.random.Generator, toy: Toy = TOY, n_events: int = 2000
) -> list[tuple[Spectrum, Spectrum]]:
    off = spectrum(rng, toy, 0.0, n_events)
    return [(spectrum(rng, toy, level, n_events), off) for level in LEVELS]


def test_slope_and_jitter_come_out_with_honest_errors() -> None:
    rng = np.random.default_rng(1)
    slopes, curvatures = [], []
    for _ in range(60):
        scan = intensity_scan(taken(rng))
        assert scan.gain_times_f.value is not None, scan.gain_times_f.reasons
        assert scan.curvature.value is not None
        slopes.append(
            (scan.gain_times_f.value - TOY.gain * TOY.divisor) / (scan.gain_times_f.sigma or 0)
        )
        curvatures.append((scan.curvature.value - TOY.jitter**2) / (scan.curvature.sigma or 0))
    for pulls in (slopes, curvatures):
        assert abs(np.mean(pulls)) < 0.5
        assert 0.75 < np.std(pulls) < 1.3


def test_the_jitter_is_the_root_of_the_curvature() -> None:
    scan = intensity_scan(taken(np.random.default_rng(2), n_events=40_000))
    assert scan.light_jitter.value == pytest.approx(0.03, abs=4 * (scan.light_jitter.sigma or 0))
    assert (scan.light_jitter.sigma or 1) < 0.003
    assert not scan.linear


def test_steady_light_gives_a_straight_line() -> None:
    scan = intensity_scan(taken(np.random.default_rng(3), replace(TOY, jitter=0.0)))
    assert scan.linear
    assert scan.light_jitter.value is not None
    assert scan.light_jitter.value < 3 * (scan.light_jitter.sigma or 0)


def test_the_gain_needs_the_divisor_and_the_divisor_the_gain() -> None:
    scan = intensity_scan(taken(np.random.default_rng(4)))
    gain = scan.gain(TOY.known_divisor(0.01))
    assert gain.value == pytest.approx(TOY.gain, abs=4 * (gain.sigma or 0))
    divisor = scan.divisor(Estimate(TOY.gain, 0.01, "ADC/pe", "truth"))
    assert divisor.value == pytest.approx(TOY.divisor, abs=4 * (divisor.sigma or 0))
    assert "divisor F" in scan.gain(None).reasons[0]
    assert not scan.gain(unknown("1", "x", "no peaks")).known
    assert "below 1" in scan.gain(Estimate(0.8, 0.01, "1", "x")).reasons[0]
    assert not scan.divisor(unknown("ADC/pe", "x", "no peaks")).known


def test_an_odd_point_is_left_out_and_named() -> None:
    rng = np.random.default_rng(5)
    pairs = taken(rng)
    pairs[2] = (spectrum(rng, replace(TOY, noise=8.0), 10.0, 4000), pairs[2][1])
    scan = intensity_scan(pairs)
    assert scan.odd == (2,)
    assert any(reason.startswith("pair 3") for reason in scan.gain_times_f.reasons)
    slope = scan.gain_times_f
    assert slope.value == pytest.approx(TOY.gain * TOY.divisor, abs=4 * (slope.sigma or 0))


def test_an_overflowing_pair_is_left_out_and_named() -> None:
    rng = np.random.default_rng(6)
    pairs = taken(rng)
    bright = np.minimum(charges(rng, TOY, 80.0, 4000), 1800.0)
    pairs[5] = (Spectrum.from_charges(np.rint(bright)), pairs[5][1])
    scan = intensity_scan(pairs)
    assert scan.odd == (5,)
    assert any("pair 6" in reason and "last bin" in reason for reason in scan.gain_times_f.reasons)


def test_a_saturating_readout_loses_its_brightest_pairs() -> None:
    rng = np.random.default_rng(7)
    off = spectrum(rng, TOY, 0.0, 100_000)
    pairs = []
    for level in (*LEVELS, 130.0, 180.0):
        raw = charges(rng, TOY, level, 100_000) - TOY.pedestal
        pairs.append((Spectrum.from_charges(np.rint(300 + 3000 * np.tanh(raw / 3000))), off))
    scan = intensity_scan(pairs)
    assert 7 in scan.odd
    assert scan.gain_times_f.reasons


def test_too_few_levels_are_refused() -> None:
    pairs = taken(np.random.default_rng(8))
    assert not intensity_scan(pairs[:2]).gain_times_f.known
    assert not intensity_scan([]).gain_times_f.known


def test_a_light_off_run_that_serves_all_pairs_is_not_counted_as_independent() -> None:
    rng = np.random.default_rng(9)
    shared = taken(rng, n_events=3000)
    copies = [(on, Spectrum(off.counts, off.edges)) for on, off in shared]
    first, second = intensity_scan(shared), intensity_scan(copies)
    assert first.gain_times_f.sigma == pytest.approx(second.gain_times_f.sigma)
