from dataclasses import replace

import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.dark_dispersion import dark_only, gate_factors
from analysis.sipm.spectrum import Spectrum
from tests.analysis.sipm.pair_toys import Toy, charges, spectrum

TOY = Toy(noise=0.8, dark=12.0)
GATE_NS, TAU_NS = 60.0, 9.0


def known(value: float, sigma: float = 1e-3) -> Estimate:
    return Estimate(value, sigma, "ADC", "truth")


def found(
    dark: Spectrum, pedestal: float = TOY.pedestal, noise: float = TOY.noise * TOY.gain
) -> Estimate:
    return dark_only(dark, known(pedestal), TOY.known_divisor(0.005), GATE_NS, TAU_NS, known(noise))


@pytest.mark.parametrize("ratio", [0.05, 0.3, 2.0])
def test_gate_factors_are_the_integrals_over_the_arrival_times(ratio: float) -> None:
    to_end = np.linspace(0, 1 + 40 * ratio, 2_000_001)
    share = np.exp(-np.maximum(to_end - 1, 0) / ratio) - np.exp(-to_end / ratio)
    mean = np.trapezoid(share, to_end)
    square, cube = gate_factors(1.0, ratio)
    assert square == pytest.approx(np.trapezoid(share**2, to_end) / mean, rel=1e-4)
    assert cube == pytest.approx(np.trapezoid(share**3, to_end) / mean, rel=1e-4)


def test_dark_counts_alone_give_the_gain_with_honest_errors() -> None:
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(40):
        gain = found(spectrum(rng, TOY, 0.0, 4000))
        assert gain.value is not None, gain.reasons
        pulls.append((gain.value - TOY.gain) / (gain.sigma or 0))
        assert "effective gain" in gain.reasons[0]
    assert abs(np.mean(pulls)) < 0.5
    assert 0.7 < np.std(pulls) < 1.35


def test_an_ac_coupled_baseline_is_refused() -> None:
    values = charges(np.random.default_rng(2), TOY, 0.0, 20_000)
    coupled = Spectrum.from_charges(np.rint(values - values.mean() + TOY.pedestal))
    refused = found(coupled)
    assert not refused.known
    assert "AC coupling" in refused.reasons[0]


def test_a_partly_moved_baseline_is_refused_by_the_skewness() -> None:
    dark = spectrum(np.random.default_rng(3), TOY, 0.0, 50_000)
    assert not found(dark, pedestal=TOY.pedestal + 150).known


@pytest.mark.parametrize("missing", ["pedestal", "noise", "divisor F"])
def test_what_is_not_known_is_named(missing: str) -> None:
    nothing = unknown("ADC", "x", "never measured")
    inputs = {
        "pedestal": known(TOY.pedestal),
        "divisor F": TOY.known_divisor(),
        "noise": known(TOY.noise * TOY.gain),
    }
    inputs[missing] = nothing
    refused = dark_only(
        spectrum(np.random.default_rng(4), TOY, 0.0, 5000),
        inputs["pedestal"],
        inputs["divisor F"],
        GATE_NS,
        TAU_NS,
        inputs["noise"],
    )
    assert refused.reasons == (f"the {missing} is unknown: never measured",)


def test_few_dark_counts_are_refused() -> None:
    quiet = spectrum(np.random.default_rng(5), replace(TOY, dark=0.0), 0.0, 5000)
    assert "too few dark counts" in found(quiet).reasons[0]


def test_a_gate_without_length_is_wrong_use() -> None:
    dark = spectrum(np.random.default_rng(6), TOY, 0.0, 500)
    with pytest.raises(ValueError, match="positive"):
        dark_only(dark, known(300.0), None, 0.0, TAU_NS)
