import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.sipm.simulate import pulse_of
from analysis.sipm.simulate.pulses import area_between, area_until, sampled
from tests.analysis.sipm.simulate.devices import plain

SHAPES = st.builds(
    lambda tau, slow, share, rise: plain(
        pulse_tau_ns=tau, pulse_slow_ns=slow, pulse_slow_share=share, pulse_rise_ns=rise
    ),
    st.floats(2, 50),
    st.floats(20, 300),
    st.floats(0, 1),
    st.floats(0, 20),
)


@given(SHAPES)
def test_a_pulse_rises_from_zero_to_unit_area(truth) -> None:  # type: ignore[no-untyped-def]
    pulse = pulse_of(truth)
    time = np.linspace(0, 100, 500)
    area = area_until(pulse, time)
    assert area_until(pulse, np.array([-1.0, 1e5])) == pytest.approx([0.0, 1.0], abs=1e-6)
    assert np.all(np.diff(area) >= -1e-9)


def test_a_pulse_with_rise_is_the_difference_of_two_exponentials() -> None:
    pulse = pulse_of(plain(pulse_tau_ns=10.0, pulse_rise_ns=2.0))
    time = np.linspace(0, 60, 200)
    decay, rise = 10.0, 2.0
    integral = (decay * (1 - np.exp(-time / decay)) - rise * (1 - np.exp(-time / rise))) / 8.0
    assert area_until(pulse, time) == pytest.approx(integral, abs=1e-12)


@given(SHAPES)
def test_an_ac_coupling_takes_all_area_away(truth) -> None:  # type: ignore[no-untyped-def]
    pulse = pulse_of(truth, coupling_ns=1000.0)
    assert area_until(pulse, np.array([1e6]))[0] == pytest.approx(0.0, abs=1e-6)


def test_an_ac_coupling_is_the_high_pass_filter_of_the_pulse() -> None:
    truth, dt, coupling = plain(pulse_tau_ns=10.0, pulse_rise_ns=1.0), 0.002, 50.0
    edges = np.arange(0, 100, dt)
    current = np.diff(area_until(pulse_of(truth), edges)) / dt
    charged = 0.0
    passed = np.empty_like(current)
    for i, value in enumerate(current):
        passed[i] = value - charged
        charged += (value - charged) * dt / coupling
    seen = np.diff(area_until(pulse_of(truth, coupling), edges)) / dt
    assert np.abs(seen - passed).max() < 2e-5


@settings(max_examples=50)
@given(SHAPES, st.integers(0, 1000), st.sampled_from([np.inf, 400.0]))
def test_samples_are_the_pulse_between_their_edges(truth, seed, coupling) -> None:  # type: ignore[no-untyped-def]
    rng = np.random.default_rng(seed)
    pulse = pulse_of(truth, coupling)
    time, size = rng.uniform(-100, 120, 20), rng.uniform(0, 2, 20)
    row = rng.integers(3, size=20)
    waves = sampled(pulse, row, time, size, n_rows=3, n_samples=50, dt_ns=2.0)
    for k in (0, 1, 7, 49):
        part = size * area_between(pulse, time, 2.0 * k, 2.0 * (k + 1)) / 2.0
        assert waves[:, k] == pytest.approx(np.bincount(row, part, minlength=3), abs=1e-9)


@pytest.mark.parametrize(
    "wrong",
    [
        {"pulse_tau_ns": 0.0},
        {"pulse_slow_ns": -1.0},
        {"pulse_rise_ns": -1.0},
        {"pulse_slow_share": 1.1},
    ],
)
def test_impossible_pulses_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        pulse_of(plain(**wrong))
