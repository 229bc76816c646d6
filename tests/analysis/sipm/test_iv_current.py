import numpy as np
import pytest

from analysis.estimate import Estimate, unknown
from analysis.sipm.iv import breakdown_from_iv, dark_current_at, fit_forward, quench_resistance
from tests.analysis.sipm.iv_devices import GOOD, ForwardDevice, measured, random_device

V = np.arange(32.0, 42.0, 0.1)
FORWARD_V = np.arange(0.02, 2.5, 0.03)


def test_the_dark_current_covers_with_the_error_of_the_breakdown() -> None:
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(250):
        device = random_device(rng)
        voltage, current = measured(rng, device)
        over, sigma = rng.uniform(0.3, 3), 10 ** rng.uniform(-3, -1)
        vbd = Estimate(device.vbd_v + sigma * rng.standard_normal(), sigma, "V", "vbd_gain")
        found = dark_current_at(voltage, current, vbd, over)
        if found.value is not None and found.sigma is not None:
            truth = float(device.current_a(np.array([device.vbd_v + over]))[0])
            pulls.append((found.value - truth) / found.sigma)
    assert len(pulls) > 220
    assert 0.6 < np.mean(np.abs(pulls) < 1) < 0.8
    assert np.mean(np.abs(pulls) > 3) < 0.03


def test_the_dark_current_names_the_breakdown_that_it_counts_from() -> None:
    vbd = breakdown_from_iv(V, GOOD.current_a(V))
    found = dark_current_at(V, GOOD.current_a(V), vbd, 2.0)
    assert vbd.method in found.method
    assert found.unit == "A"
    assert found.value == pytest.approx(GOOD.current_a(np.array([(vbd.value or 0) + 2]))[0], 0.01)
    assert "above 38 V" in dark_current_at(V, GOOD.current_a(V), 38.0, 2.0).method


def test_the_error_of_the_breakdown_is_in_the_dark_current() -> None:
    sure = dark_current_at(V, GOOD.current_a(V), Estimate(38.0, 0.0, "V", ""), 2.0)
    unsure = dark_current_at(V, GOOD.current_a(V), Estimate(38.0, 0.1, "V", ""), 2.0)
    slope = (GOOD.current_a(np.array([40.1])) - GOOD.current_a(np.array([39.9])))[0] / 0.2
    assert (unsure.sigma or 0) ** 2 - (sure.sigma or 0) ** 2 == pytest.approx(
        (0.1 * slope) ** 2, rel=0.05
    )


def test_nothing_is_extrapolated() -> None:
    current = GOOD.current_a(V)
    assert "outside" in dark_current_at(V, current, 38.0, 5.0).reasons[0]
    assert "outside" in dark_current_at(V, np.minimum(current, 3e-8), 38.0, 2.0).reasons[0]
    nothing = dark_current_at(V, current, unknown("V", "vbd_iv", "no knee"), 2.0)
    assert nothing.reasons == ("breakdown is not known", "no knee")
    assert not dark_current_at([], [], 38.0, 2.0).known
    assert not dark_current_at(V, np.full(len(V), np.nan), 38.0, 2.0).known


def test_a_current_under_the_floor_keeps_its_sign_and_error() -> None:
    rng = np.random.default_rng(2)
    noisy = 1e-12 * rng.standard_normal(len(V))
    found = dark_current_at(V, noisy + 1e-15, 35.0, 1.0)
    assert found.known
    assert abs(found.value or 0) < 4 * (found.sigma or 0)


def test_an_overvoltage_that_is_no_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="overvoltage of nan"):
        dark_current_at(V, V, 38.0, np.nan)


def forward_curve(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, float]:
    device = ForwardDevice(
        10 ** rng.uniform(0.5, 3), rng.uniform(0.026, 0.052), rng.uniform(0.45, 0.75)
    )
    voltage = np.arange(0.02, rng.uniform(1.2, 3.0), 10 ** rng.uniform(-2, -1))
    limit = rng.choice([np.inf, 1e-2, 2e-2])
    current = np.minimum(device.current_a(voltage), limit)
    noise = 10 ** rng.uniform(-3.5, -1.3) * (current < limit)
    current = current * (1 + noise * rng.standard_normal(len(voltage)))
    return voltage, current + 1e-11 * rng.standard_normal(len(voltage)), device.resistance_ohm


def test_the_quench_resistance_covers() -> None:
    rng = np.random.default_rng(3)
    pulls, relative = [], []
    for _ in range(70):
        voltage, current, truth = forward_curve(rng)
        found = quench_resistance(voltage, current, 1)
        if found.value is not None and found.sigma is not None:
            pulls.append((found.value - truth) / found.sigma)
            relative.append(found.sigma / truth)
    assert len(pulls) > 45
    assert 0.6 < np.mean(np.abs(pulls) < 1) < 0.95
    assert np.max(np.abs(pulls)) < 5
    assert np.median(relative) < 0.01


def test_the_resistance_is_that_of_one_pixel_and_says_what_it_contains() -> None:
    current = ForwardDevice(30.0).current_a(FORWARD_V)
    found = quench_resistance(FORWARD_V, current, 7000)
    assert found.value == pytest.approx(30.0 * 7000, rel=0.01)
    assert found.unit == "ohm"
    assert "series resistance" in found.reasons[0]
    turned = quench_resistance(-FORWARD_V, -current, 7000)
    assert turned.value == pytest.approx(found.value)


def test_a_straight_line_would_be_biased_where_this_is_not() -> None:
    voltage = np.arange(0.02, 1.6, 0.02)
    current = ForwardDevice(30.0, 0.05, 0.7).current_a(voltage)
    last = current > 0.5 * current.max()
    line = 1.0 / np.polyfit(voltage[last], current[last], 1)[0]
    found = quench_resistance(voltage, current, 1)
    assert line > 30.0 * 1.1
    assert found.value == pytest.approx(30.0, rel=0.01)


def no_resistance() -> dict[str, tuple[np.ndarray, np.ndarray, str]]:
    rng = np.random.default_rng(4)
    n = len(FORWARD_V)
    return {
        "resistor": (FORWARD_V, FORWARD_V / 50.0, "no diode"),
        "short": (FORWARD_V, np.full(n, 0.02), ""),
        "open": (FORWARD_V, 1e-12 * rng.standard_normal(n), ""),
        "ends too early": (
            FORWARD_V[FORWARD_V < 0.8],
            ForwardDevice(30.0).current_a(FORWARD_V[FORWARD_V < 0.8]),
            "the diodes govern",
        ),
        "few points": (FORWARD_V[:3], FORWARD_V[:3], "too few"),
        "nothing": (np.zeros(0), np.zeros(0), "too few"),
    }


@pytest.mark.parametrize("name", no_resistance())
def test_a_curve_without_an_ohmic_end_is_unknown(name: str) -> None:
    voltage, current, reason = no_resistance()[name]
    found = quench_resistance(voltage, current, 7000)
    assert not found.known
    assert reason in found.reasons[0]


def test_the_current_limit_is_cut_from_a_forward_curve() -> None:
    current = np.minimum(ForwardDevice(30.0).current_a(FORWARD_V), 0.02)
    fit = fit_forward(FORWARD_V, current)
    assert not isinstance(fit, str)
    assert fit.to_v < 2.0
    assert fit.resistance_ohm == pytest.approx(30.0, rel=0.01)


def test_less_than_one_pixel_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 pixels"):
        quench_resistance([1.0], [1.0], 0)
