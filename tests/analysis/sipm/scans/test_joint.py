from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.sipm.scans import JointFit, ScanPoint, joint_fit
from analysis.sipm.scans.joint_model import jacobian, model
from tests.analysis.sipm.scans.toys import Device, adc, scanned

PLACES = [(float(v), t) for t, v in product((-20.0, 0.0, 20.0, 30.0), np.arange(53.0, 56.1, 0.5))]
DEVICE = Device(gain_per_v_slope=-3e-4)
PLAIN = ("gain_per_v", "gain_per_v_slope", "vbd_gain", "vbd_slope")


def pulls(fit: JointFit, device: Device) -> dict[str, float]:
    return {
        name: ((e.value or 0) - getattr(device, name)) / (e.sigma or 0)
        for name, e in fit.parameters.items()
    }


def test_the_jacobian_is_the_derivative() -> None:
    values = np.array([9.3, -3e-4, 51.0, 0.05, 0.004, 2e-5])
    v, t = np.array([53.0, 56.0]), np.array([-40.0, 10.0])
    for place in range(6):
        step = np.zeros(6)
        step[place] = 1e-5 * max(abs(values[place]), 1e-3)
        rise = (model(values + step, v, t) - model(values - step, v, t)) / (2 * step[place])
        np.testing.assert_allclose(jacobian(values, v, t)[:, place], rise, rtol=1e-5)


@pytest.mark.parametrize("errors", [{}, {"scale_error": 0.02}, {"offset_error": 0.2}])
def test_parameters_of_a_plain_device_have_pulls_of_width_one(errors: dict) -> None:
    rng = np.random.default_rng(41)
    found, passed = [], 0
    for _ in range(120):
        points = scanned(rng, PLACES, DEVICE, **errors)
        fit = joint_fit(points, curvature_per_v=0.0, vbd_curvature_per_k2=0.0)
        passed += fit.verdict == "pass"
        found.append([pulls(fit, DEVICE)[name] for name in PLAIN])
    np.testing.assert_allclose(np.std(found, axis=0), 1.0, atol=0.22)
    np.testing.assert_allclose(np.mean(found, axis=0), 0.0, atol=0.35)
    assert passed > 112


def test_errors_cover_devices_with_quadratic_terms_of_any_size() -> None:
    rng = np.random.default_rng(42)
    found = []
    for _ in range(120):
        device = replace(
            DEVICE,
            curvature=0.003 * rng.standard_normal(),
            vbd_curvature=1e-5 * rng.standard_normal(),
        )
        fit = joint_fit(scanned(rng, PLACES, device))
        found.append([pulls(fit, device)[name] for name in PLAIN])
    rms = np.sqrt(np.mean(np.square(found), axis=0))
    assert np.all(rms < 1.05)
    assert np.all(np.mean(np.abs(found) < 1, axis=0) > 0.68)


def test_quadratic_terms_are_fitted_where_the_points_demand_them() -> None:
    device = replace(DEVICE, curvature=0.01, vbd_curvature=1e-4)
    rng = np.random.default_rng(43)
    for _ in range(10):
        fit = joint_fit(scanned(rng, PLACES, device, relative=0.001))
        assert fit.verdict == "flag"
        assert {"curvature", "vbd_curvature"} <= set(fit.parameters)
        assert fit.chi2 < fit.ndf + 5 * np.sqrt(2 * fit.ndf)
        assert np.max(np.abs(list(pulls(fit, device).values()))) < 4.5


def test_a_wrong_point_is_named() -> None:
    points = scanned(np.random.default_rng(44), PLACES, DEVICE)
    points[9] = replace(points[9], gain=adc(1.05 * (points[9].gain.value or 0), 0.05))
    fit = joint_fit(points)
    assert [out.index for out in fit.left_out] == [9]
    assert "54 V and 0 C lies" in fit.reasons[0]
    assert abs(pulls(fit, DEVICE)["vbd_gain"]) < 3


def test_one_temperature_gives_gain_and_breakdown_only() -> None:
    places = [(v, 25.0) for v in (53.0, 53.5, 54.0, 55.0, 56.0)]
    fit = joint_fit(scanned(np.random.default_rng(45), places, DEVICE))
    assert fit.verdict == "pass"
    assert fit.vbd_gain.value == pytest.approx(51.0, abs=3 * (fit.vbd_gain.sigma or 0))
    assert not fit.vbd_slope.known


@pytest.mark.parametrize(
    ("places", "why"),
    [
        (PLACES[:4], "5 are needed"),
        ([(54.0, float(t)) for t in range(-20, 30, 5)], "one bias"),
        ([(53.0 + 0.1 * t, 5.0 * t) for t in range(8)], "independently"),
    ],
)
def test_what_does_not_determine_the_model_is_refused(places: list, why: str) -> None:
    fit = joint_fit(scanned(np.random.default_rng(46), places, DEVICE))
    assert fit.verdict == "unknown"
    assert why in fit.reasons[0]
    assert not fit.gain_at(54.0, 25.0).known


def test_scatter_is_scaled_and_chaos_is_refused() -> None:
    rng = np.random.default_rng(47)
    points = [
        replace(p, gain=replace(p.gain, sigma=(p.gain.sigma or 0) / 5))
        for p in scanned(rng, PLACES, DEVICE, relative=0.005)
    ]
    fit = joint_fit(points)
    assert fit.error_scale > 2
    assert fit.verdict == "flag"
    chaos = [replace(p, gain=adc(rng.uniform(10, 50), 0.02)) for p in points]
    assert joint_fit(chaos).verdict == "unknown"


def test_the_fit_gives_the_gain_anywhere() -> None:
    fit = joint_fit(scanned(np.random.default_rng(48), PLACES, DEVICE))
    at = fit.gain_at(54.2, 10.0)
    assert at.value == pytest.approx(DEVICE.gain(54.2, 10.0), abs=4 * (at.sigma or 0))


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.one_of(st.floats(), st.integers(50, 54).map(float)),
            st.one_of(st.none(), st.floats(), st.integers(-3, 3).map(lambda t: 10.0 * t)),
            st.floats(-1e9, 1e9),
            st.floats(0, 1e6),
        ),
        max_size=10,
    )
)
def test_no_data_makes_it_raise(rows: list) -> None:
    points = [ScanPoint(v, t, adc(g, s)) for v, t, g, s in rows]
    with np.errstate(all="ignore"):
        fit = joint_fit(points)
    assert fit.known or fit.reasons
