import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analysis.sipm.iv import breakdown_from_iv, clean_curve, reverse_iv
from analysis.sipm.iv.power_law import fit_power_law
from analysis.sipm.iv.sighting import sight_knee
from analysis.sipm.iv.turn_on import V0
from tests.analysis.sipm.iv_devices import GOOD, Device, measured, random_device

METHODS = ("relative_derivative", "inverse_relative_derivative", "second_derivative", "model")
V = np.arange(32.0, 42.0, 0.1)


def good(voltage: np.ndarray = V, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return GOOD.current_a(voltage) * (1 + 0.01 * rng.standard_normal(len(voltage)))


def truths(device: Device, low_v: float, high_v: float) -> dict[str, float | None]:
    """Every definition applied to the dense curve without noise."""
    dense = np.arange(low_v, high_v, 0.02)
    current = device.current_a(dense)
    knee = sight_knee(clean_curve(dense, current, 0.005 * current))
    law = None if knee.model is None else fit_power_law(knee.curve, knee.model)
    return {
        "relative_derivative": device.knee_v(1),
        "inverse_relative_derivative": None if law is None else law.zero_v,
        "second_derivative": device.knee_v(2),
        "model": None if knee.model is None else float(knee.model.parameters[V0]),
    }


def pulls_of(n: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """(estimate - truth) and sigma for every method over random devices."""
    rng = np.random.default_rng(seed)
    off: dict[str, list[float]] = {name: [] for name in METHODS}
    sigma: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(n):
        device = random_device(rng)
        voltage, current = measured(rng, device)
        truth = truths(device, voltage[0], voltage[-1])
        for name, found in reverse_iv(voltage, current).by_method.items():
            true = truth[name]
            if found.value is not None and found.sigma is not None and true is not None:
                off[name].append(found.value - true)
                sigma[name].append(found.sigma)
    return (
        {name: np.array(values) for name, values in off.items()},
        {name: np.array(values) for name, values in sigma.items()},
    )


def test_the_errors_of_all_four_methods_cover_over_random_devices() -> None:
    off, sigma = pulls_of(50, seed=1)
    for name in METHODS:
        pull = off[name] / sigma[name]
        assert len(pull) > 35, name
        assert 0.55 < np.mean(np.abs(pull) < 1) < 0.92, name
        assert not np.any((np.abs(pull) > 5) & (np.abs(off[name]) > 0.2)), name
        assert np.median(sigma[name]) < 0.03, name


@pytest.mark.study
def test_study_of_bias_pulls_and_coverage() -> None:
    off, sigma = pulls_of(1000, seed=2)
    for name in METHODS:
        pull = off[name] / sigma[name]
        print(
            f"{name}: n {len(pull)} bias {np.median(off[name]):+.4f} V "
            f"sigma {np.median(sigma[name]):.4f} V pull width {pull.std():.2f} "
            f"coverage {np.mean(np.abs(pull) < 1):.3f} largest {np.abs(pull).max():.1f}"
        )
        assert 0.6 < np.mean(np.abs(pull) < 1) < 0.82, name
        assert abs(np.median(off[name])) < 0.005, name
        assert not np.any((np.abs(pull) > 5) & (np.abs(off[name]) > 0.25)), name


def test_the_definitions_keep_their_order_and_names() -> None:
    found = reverse_iv(V, good())
    assert tuple(found.by_method) == METHODS
    assert all("vbd_iv" in estimate.method for estimate in found.by_method.values())
    values = {name: estimate.value or np.nan for name, estimate in found.by_method.items()}
    assert values["second_derivative"] < values["relative_derivative"]
    assert found.spread_v == pytest.approx(max(values.values()) - min(values.values()))
    assert found.vbd_iv is found.by_method["relative_derivative"]


def test_the_short_way_gives_the_recommended_value() -> None:
    assert breakdown_from_iv(V, good()).value == reverse_iv(V, good()).vbd_iv.value


def test_a_given_noise_gives_a_chi2_that_means_something() -> None:
    current = good()
    right = reverse_iv(V, current, 0.01 * np.abs(current)).by_method["model"].goodness
    wrong = reverse_iv(V, current, 0.002 * np.abs(current)).by_method["model"].goodness
    assert 0.6 < right["chi2"] / right["ndf"] < 1.5
    assert wrong["chi2"] / wrong["ndf"] > 10


def near(found: float | None, sigma: float | None, truth: float) -> bool:
    return found is not None and sigma is not None and abs(found - truth) < max(4 * sigma, 0.02)


def harmless() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(5)
    twice = np.concatenate([V, V[::-1]])
    glitched = good()
    glitched[[20, 70]] *= [30.0, 0.1]
    overflow = good()
    overflow[[10, 11]] = [9.9e37, -1.0]
    beside = good()
    beside[57:60] *= 3
    log_spaced = 33 + np.geomspace(0.3, 9, 60)
    mixed = np.r_[np.arange(20, 36, 0.5), np.arange(36, 40, 0.02), np.arange(40, 44, 0.5)]
    from_below = np.arange(-1.0, 42.0, 0.1)
    coarse = np.arange(0.0, 45.0, 0.5)
    return {
        "up and down": (twice, np.concatenate([good(), good(seed=1)[::-1]])),
        "read back with jitter": (
            twice + 0.002 * rng.standard_normal(len(twice)),
            np.concatenate([good(), good(seed=1)[::-1]]),
        ),
        "hysteresis": (twice, np.concatenate([good(), 1.03 * good(seed=1)[::-1]])),
        "negative": (-V, -good()),
        "negative current": (V, -good()),
        "glitches": (V, glitched),
        "overflow": (V, overflow),
        "glitch of three points at the knee": (V, beside),
        "limit of the supply": (V, np.minimum(good(), 3e-8)),
        "change of range": (V, np.where(V > 38.5, 1.02, 1.0) * good()),
        "log spaced": (log_spaced, good(log_spaced)),
        "coarse and fine": (mixed, good(mixed)),
        "half volts": (coarse, good(coarse)),
        "from below zero": (from_below, np.where(from_below < 0, -1e-12, good(np.abs(from_below)))),
    }


@pytest.mark.parametrize("name", harmless())
def test_what_instruments_do_to_a_curve_does_not_move_the_knee(name: str) -> None:
    found = reverse_iv(*harmless()[name])
    for order, method in ((1, "relative_derivative"), (2, "second_derivative")):
        estimate = found.by_method[method]
        assert near(estimate.value, estimate.sigma, GOOD.knee_v(order)), (method, estimate)


def test_what_was_left_out_is_said() -> None:
    cases = harmless()
    assert "stands still at 3e-08 A" in reverse_iv(*cases["limit of the supply"]).reasons[0]
    assert "2 points far off" in reverse_iv(*cases["glitches"]).reasons[0]
    assert "not numbers" in reverse_iv(*cases["overflow"]).reasons[0]
    assert "other polarity" in reverse_iv(*cases["from below zero"]).reasons[0]


def hopeless() -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    rng = np.random.default_rng(6)
    noise = rng.standard_normal(len(V))
    wide = np.arange(0.0, 60.0, 0.5)
    diode_v = np.arange(0.0, 3.0, 0.02)
    return {
        "resistor": (wide, 1e-6 * wide, "a resistor of 1e+06 ohm"),
        "resistor in compliance": (wide, np.minimum(1e-6 * wide, 2e-5), "a resistor of 1e+06"),
        "open": (wide, 1e-12 * rng.standard_normal(len(wide)), ""),
        "short": (wide, np.full(len(wide), 1e-3), "does not rise"),
        "forward": (diode_v, 1e-3 * np.log1p(np.exp((diode_v - 0.7) / 0.05)), "ends at 2.98 V"),
        "ends before breakdown": (V[V < 37.5], good()[V < 37.5], "does not rise"),
        "ends at breakdown": (V[V < 38.15], good()[V < 38.15], "upper end"),
        "begins above breakdown": (V[V > 38.4], good()[V > 38.4], "lower end"),
        "ohmic leakage": (V, 1e-6 * V + good(), ""),
        "ohmic leakage that moves the knee": (V, 1e-8 * V + good(), "leakage hides the knee"),
        "lost in noise": (V, good() + 1e-9 * noise, "lost in noise"),
        "jump": (V, np.where(V < 38, 1e-11, 1e-6) * (1 + 0.01 * noise), "does not grow"),
        "two SiPMs": (V, good() + 1e-9 * np.maximum(V - 35, 0) ** 2, "two knees"),
        "exponential": (V, 1e-15 * np.exp(V / 2), ""),
        "any numbers": (V, 10 ** rng.uniform(-12, -6, len(V)), ""),
    }


@pytest.mark.parametrize("name", hopeless())
def test_a_curve_without_a_clear_knee_is_unknown_for_a_reason(name: str) -> None:
    voltage, current, reason = hopeless()[name]
    found = reverse_iv(voltage, current)
    assert not found.vbd_iv.known
    assert reason in found.reasons[0]


def test_other_definitions_survive_where_the_leakage_is_lost_in_noise() -> None:
    voltage, current, _ = hopeless()["lost in noise"]
    found = reverse_iv(voltage, current)
    model = found.by_method["model"]
    assert near(model.value, model.sigma, 38.0)
    assert not found.by_method["second_derivative"].known


def test_leakage_that_moves_the_knee_a_little_is_noted() -> None:
    found = reverse_iv(V, 3e-8 * V / 38 + good())
    assert found.vbd_iv.known
    assert "leakage moves the knee" in found.reasons[-1]


GARBAGE = arrays(
    np.float64,
    st.integers(0, 60),
    elements=st.one_of(
        st.floats(allow_nan=True, allow_infinity=True, width=64),
        st.floats(-1e-6, 1e-6),
        st.sampled_from([0.0, 1e-9, 9.91e37, -1e-12]),
    ),
)


@settings(max_examples=40)
@given(GARBAGE, st.floats(0.001, 2), st.floats(-60, 60))
def test_garbage_raises_nothing(current: np.ndarray, step_v: float, start_v: float) -> None:
    voltage = start_v + step_v * np.arange(len(current))
    found = reverse_iv(voltage, current)
    assert found.vbd_iv.known or found.reasons
    assert len(clean_curve(voltage, current)) <= len(current)


def garbage(rng: np.random.Generator) -> np.ndarray:
    """Smooth, jumpy, noisy or flat currents without any breakdown in them."""
    n = len(V)
    noise = rng.standard_normal(n)
    jumps = np.searchsorted(np.sort(rng.uniform(33, 41, 3)), V) * rng.uniform(0.5, 5)
    wave = 1 + rng.uniform(0, 1) * np.sin(rng.uniform(0.3, 6) * V) + 0.05 * noise
    kinds = [
        np.exp(np.cumsum(10 ** rng.uniform(-2, 0) * noise)),
        10 ** rng.uniform(-3, 3, n),
        V ** rng.uniform(-2, 6) * (1 + 10 ** rng.uniform(-3, -0.5) * noise),
        np.exp(rng.uniform(-2, 4) * (V - 37)) * (1 + 0.05 * noise),
        np.exp(jumps) * (1 + 10 ** rng.uniform(-3, -1) * noise),
        noise,
        wave,
    ]
    return np.asarray(10 ** rng.uniform(-12, -6) * kinds[rng.integers(len(kinds))])


def test_few_garbage_curves_are_taken_for_a_breakdown() -> None:
    rng = np.random.default_rng(7)
    taken = sum(breakdown_from_iv(V, garbage(rng)).known for _ in range(200))
    assert taken <= 2


def test_breakdowns_in_fuzz_are_never_far_off() -> None:
    """Half a curve, a wrong sign, dropped points, added offsets: right or unknown."""
    rng = np.random.default_rng(8)
    known = 0
    for _ in range(100):
        device = random_device(rng)
        voltage, current = measured(rng, device)
        keep = rng.random(len(voltage)) > rng.uniform(0, 0.6)
        current = current + rng.normal(0, 1) * 10 ** rng.uniform(-13, -9)
        found = breakdown_from_iv(rng.choice([-1, 1]) * voltage[keep], current[keep])
        if found.value is not None and found.sigma is not None:
            known += 1
            assert abs(found.value - device.vbd_v) < 1.2, (device, found)
    assert known > 60
