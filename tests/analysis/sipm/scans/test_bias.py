from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.estimate import Estimate, unknown
from analysis.sipm.scans import BiasScan, ScanPoint, gain_against_bias
from tests.analysis.sipm.scans.toys import Device, adc, biases, scanned

NARROW, WIDE = biases(53.0, 56.0, 0.5), biases(53.0, 60.0, 1.0)
TRUE = Device()


def pull(scan: BiasScan, sigma: float | None = None) -> float:
    assert scan.vbd_gain.value is not None, scan.reasons
    return (scan.vbd_gain.value - TRUE.vbd_gain) / (sigma or scan.vbd_gain.sigma or 0.0)


@pytest.mark.parametrize("places", [NARROW, WIDE])
@pytest.mark.parametrize("errors", [{}, {"scale_error": 0.03}, {"offset_error": 0.3}])
def test_vbd_of_a_linear_device_has_pulls_of_width_one(places: list, errors: dict) -> None:
    rng = np.random.default_rng(11)
    scans = [
        gain_against_bias(scanned(rng, places, **errors), curvature_per_v=0.0) for _ in range(300)
    ]
    pulls = np.array([pull(scan) for scan in scans])
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)
    assert abs(np.mean(pulls)) < 0.2
    assert np.mean(np.abs(pulls) < 1) == pytest.approx(0.683, abs=0.07)
    assert np.mean([scan.verdict == "pass" for scan in scans]) > 0.97


@pytest.mark.parametrize("places", [NARROW, WIDE])
def test_errors_cover_devices_of_unknown_curvature_bent_or_not(places: list) -> None:
    rng = np.random.default_rng(12)
    pulls, statistical = [], []
    for _ in range(250):
        device = replace(TRUE, curvature=0.003 * rng.standard_normal())
        scan = gain_against_bias(scanned(rng, places, device))
        pulls.append(pull(scan))
        statistical.append(pull(scan, scan.vbd_gain.goodness["statistical_sigma"]))
    assert 0.7 < np.sqrt(np.mean(np.square(pulls))) < 1.0
    assert 0.68 < np.mean(np.abs(pulls) < 1) < 0.92
    assert np.max(np.abs(pulls)) < 4
    assert np.std(statistical) > 2.5


def test_a_small_quadratic_term_is_flagged_and_fitted_near_breakdown() -> None:
    device = replace(TRUE, curvature=0.004)
    for seed in range(20):
        points = scanned(np.random.default_rng(seed), WIDE, device, relative=0.0006)
        scan = gain_against_bias(points)
        assert scan.tests is not None
        assert 40 < scan.tests.chi2 / scan.tests.ndf < 160
        assert not scan.linear
        assert scan.verdict == "flag"
        assert scan.fit_range_v is not None
        assert scan.fit_range_v[0] == 53.0
        assert scan.fit_range_v[1] <= 57.0
        assert "near breakdown" in scan.vbd_gain.method
        assert any("fitted from 53 to" in reason for reason in scan.reasons)
        assert abs(pull(scan)) < 1.5
        assert scan.vbd_curved.value == pytest.approx(51.0, abs=5 * (scan.vbd_curved.sigma or 0))
        assert len(scan.local_fits) == 6
        zeros = [local.vbd_gain.value or 0.0 for local in scan.local_fits]
        assert zeros[-1] > zeros[0] + 0.1


@pytest.mark.parametrize("kink_v", [55.0, 57.0])
def test_a_kink_is_left_out_of_the_local_fit(kink_v: float) -> None:
    rng = np.random.default_rng(3)
    places = biases(52.5, 60.0, 0.5)
    points = [
        replace(p, gain=adc(min(p.gain.value or 0, 9.3 * (kink_v - 51)), p.gain.sigma or 0))
        for p in scanned(rng, places)
    ]
    scan = gain_against_bias(points)
    assert scan.fit_range_v is not None
    assert scan.fit_range_v[1] <= kink_v + 0.5
    assert abs(pull(scan)) < 2


@pytest.mark.parametrize("bad", [0, 3, 6])
def test_one_wrong_point_is_named_and_left_out(bad: int) -> None:
    points = scanned(np.random.default_rng(bad), NARROW)
    points[bad] = replace(
        points[bad],
        gain=adc(1.04 * (points[bad].gain.value or 0), points[bad].gain.sigma or 0),
    )
    scan = gain_against_bias(points)
    assert scan.verdict == "flag"
    assert scan.linear
    assert [out.index for out in scan.left_out] == [bad]
    assert bad not in scan.used
    assert any(f"{points[bad].bias_v:g} V lies" in reason for reason in scan.reasons)
    assert abs(pull(scan)) < 3


def test_two_wrong_points_among_ten_are_named() -> None:
    points = scanned(np.random.default_rng(5), biases(52.5, 57.0, 0.5))
    for bad, factor in ((2, 1.04), (7, 0.95)):
        gain = points[bad].gain
        points[bad] = replace(points[bad], gain=adc(factor * (gain.value or 0), gain.sigma or 0))
    scan = gain_against_bias(points)
    assert sorted(out.index for out in scan.left_out) == [2, 7]


def test_scatter_beyond_the_errors_scales_them() -> None:
    rng = np.random.default_rng(8)
    pulls, shapes = [], 0
    for _ in range(60):
        points = [
            replace(p, gain=replace(p.gain, sigma=(p.gain.sigma or 0) / 6))
            for p in scanned(rng, biases(52.5, 57.0, 0.5), relative=0.006)
        ]
        scan = gain_against_bias(points)
        pulls.append(pull(scan))
        shapes += scan.vbd_gain.goodness["error_scale"] > 2
        assert scan.verdict == "flag"
    assert shapes > 45
    assert np.mean(np.abs(pulls) < 1) > 0.6
    assert np.mean(np.abs(pulls) < 3) > 0.95


def test_a_full_covariance_gives_the_same_as_its_parts() -> None:
    points = scanned(np.random.default_rng(4), NARROW, offset_error=0.2)
    parts = gain_against_bias(points)
    sigma = np.array([p.gain.sigma for p in points])
    shared = np.array([p.shared_sigma for p in points])
    whole = gain_against_bias(points, covariance=np.diag(sigma**2) + np.outer(shared, shared))
    assert whole.vbd_gain.value == pytest.approx(parts.vbd_gain.value, abs=1e-6)
    assert whole.vbd_gain.goodness["statistical_sigma"] == pytest.approx(
        parts.vbd_gain.goodness["statistical_sigma"], rel=1e-3
    )


def test_a_common_scale_error_does_not_move_the_breakdown_voltage() -> None:
    rng = np.random.default_rng(4)
    plain = scanned(rng, NARROW)
    with_scale = [replace(p, shared_sigma=0.1 * (p.gain.value or 0)) for p in plain]
    one, other = gain_against_bias(plain), gain_against_bias(with_scale)
    assert other.vbd_gain.value == pytest.approx(one.vbd_gain.value, abs=1e-9)
    assert other.vbd_gain.goodness["statistical_sigma"] == pytest.approx(
        one.vbd_gain.goodness["statistical_sigma"], rel=0.02
    )
    assert (other.slope.sigma or 0) > 0.09 * (other.slope.value or 0)


def test_a_poor_lever_arm_gives_an_uneven_interval_and_the_larger_half() -> None:
    points = [ScanPoint(v, 25.0, adc(9.3 * (v - 51), 0.9)) for v in (54.0, 55.0, 56.0)]
    scan = gain_against_bias(points, curvature_per_v=0.0)
    vbd, goodness = scan.vbd_gain, scan.vbd_gain.goodness
    assert vbd.value is not None
    below, above = vbd.value - goodness["fieller_low"], goodness["fieller_high"] - vbd.value
    assert below > 1.1 * above
    assert vbd.sigma == pytest.approx(below)


def test_errors_of_the_bias_enlarge_those_of_the_breakdown_voltage() -> None:
    rng = np.random.default_rng(10)
    pulls = []
    for _ in range(300):
        set_to = scanned(rng, NARROW, relative=0.0005)
        points = [
            replace(p, bias_v=p.bias_v + 0.01 * rng.standard_normal(), bias_sigma_v=0.01)
            for p in set_to
        ]
        pulls.append(pull(gain_against_bias(points, curvature_per_v=0.0)))
    assert np.std(pulls) == pytest.approx(1.0, abs=0.13)


def test_fewer_than_three_biases_are_not_enough() -> None:
    points = scanned(np.random.default_rng(1), NARROW)
    for few in ([], points[:1], points[:2], [points[0], points[0], points[1]]):
        scan = gain_against_bias(few)
        assert scan.verdict == "unknown"
        assert "needs 3" in scan.reasons[0]


def test_points_without_a_gain_are_skipped_with_a_note() -> None:
    points = scanned(np.random.default_rng(1), NARROW)
    points[2] = replace(points[2], gain=unknown("ADC/pe", "toy", "no peak stands out"))
    scan = gain_against_bias(points)
    assert scan.vbd_gain.known
    assert scan.verdict == "pass"
    assert any("54 V" in r and "no peak stands out" in r for r in scan.reasons)


def test_a_gain_that_does_not_rise_is_unknown() -> None:
    flat = [ScanPoint(v, 25.0, adc(20 + 0.01 * v, 0.5)) for v in (53.0, 54.0, 55.0, 56.0)]
    falling = [ScanPoint(v, 25.0, adc(80 - v, 0.05)) for v in (53.0, 54.0, 55.0, 56.0)]
    for points in (flat, falling):
        scan = gain_against_bias(points)
        assert scan.verdict == "unknown"
        assert "with bias by" in scan.reasons[0]


def test_three_points_off_a_line_say_nothing() -> None:
    points = [ScanPoint(v, 25.0, adc(g, 0.05)) for v, g in ((53, 18.6), (54, 29.9), (55, 37.2))]
    scan = gain_against_bias(points)
    assert scan.verdict == "unknown"
    assert "nothing tells which" in scan.reasons[0]


def test_points_at_another_temperature_are_named() -> None:
    rng = np.random.default_rng(2)
    points = scanned(rng, [*NARROW, (53.7, -5.0)])
    scan = gain_against_bias(points)
    assert [out.index for out in scan.left_out] == [7]
    assert scan.verdict == "flag"
    assert scan.temperature_c == pytest.approx(25.0)
    assert abs(pull(scan)) < 1.5


def test_groups_of_temperatures_need_the_joint_fit() -> None:
    rng = np.random.default_rng(2)
    points = scanned(rng, [(v, t) for t in (-20.0, 0.0, 25.0) for v, _ in NARROW])
    scan = gain_against_bias(points)
    assert scan.verdict == "unknown"
    assert "3 temperatures" in scan.reasons[0]
    corrected = gain_against_bias(points, vbd_slope=Estimate(0.05, 0.001, "V/K", "toy"))
    mean = np.mean([p.temperature_c for p in points])
    assert corrected.temperature_c == pytest.approx(mean)
    assert corrected.vbd_gain.value == pytest.approx(
        51.0 + 0.05 * (mean - 25.0), abs=3 * (corrected.vbd_gain.sigma or 0)
    )


def test_a_drift_of_temperature_is_covered() -> None:
    pulls = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        drift = np.linspace(-0.8, 0.8, len(NARROW)) * rng.choice([-1, 1])
        slope = rng.choice([0.02, 0.06])
        device = replace(TRUE, vbd_slope=slope)
        places = [(v, t + d) for (v, t), d in zip(NARROW, drift, strict=True)]
        scan = gain_against_bias(scanned(rng, places, device), curvature_per_v=0.0)
        assert scan.verdict == "flag"
        pulls.append(pull(scan))
    assert np.sqrt(np.mean(np.square(pulls))) < 1.3
    assert np.max(np.abs(pulls)) < 3


def test_the_line_gives_the_gain_at_any_bias() -> None:
    scan = gain_against_bias(scanned(np.random.default_rng(1), NARROW, offset_error=0.1))
    at = scan.gain_at(54.5)
    assert at.value == pytest.approx(TRUE.gain(54.5), abs=4 * (at.sigma or 0))
    assert (at.sigma or 0) > 0.09


def test_order_does_not_matter() -> None:
    points = scanned(np.random.default_rng(1), NARROW)
    one, other = gain_against_bias(points), gain_against_bias(points[::-1])
    assert one.vbd_gain.value == pytest.approx(other.vbd_gain.value, abs=1e-9)


def test_different_units_are_not_mixed() -> None:
    points = scanned(np.random.default_rng(1), NARROW)
    points[0] = replace(points[0], gain=Estimate(1e6, 1e4, "electrons", "toy"))
    assert gain_against_bias(points).verdict == "unknown"


def test_wrong_use_raises() -> None:
    points = scanned(np.random.default_rng(1), NARROW)
    with pytest.raises(ValueError, match="7 x 7"):
        gain_against_bias(points, covariance=np.eye(3))
    with pytest.raises(ValueError, match="positive"):
        gain_against_bias(points, covariance=np.ones((7, 7)))
    with pytest.raises(ValueError, match="symmetric"):
        gain_against_bias(points, covariance=np.triu(np.ones((7, 7))))
    with pytest.raises(ValueError, match="curvature_per_v"):
        gain_against_bias(points, curvature_per_v=-1.0)
    with pytest.raises(ValueError, match="shared_sigma"):
        ScanPoint(53.0, 25.0, adc(1, 1), shared_sigma=-1.0)


numbers = st.floats(allow_nan=True, allow_infinity=True)
finite = st.floats(-1e12, 1e12)


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(
            st.one_of(numbers, st.integers(50, 60).map(float)),
            st.one_of(st.none(), numbers),
            finite,
            st.floats(0, 1e9),
            st.floats(0, 1e6),
        ),
        max_size=12,
    )
)
def test_no_data_makes_it_raise_or_answer_without_an_error(rows: list) -> None:
    points = [ScanPoint(v, t, adc(g, s), shared) for v, t, g, s, shared in rows]
    with np.errstate(all="ignore"):
        scan = gain_against_bias(points)
    assert scan.vbd_gain.known == (scan.verdict != "unknown")
    assert scan.vbd_gain.known or scan.reasons
