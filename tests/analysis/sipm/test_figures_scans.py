from io import BytesIO
from itertools import product

import numpy as np
import pytest

from analysis.sipm.figures_scans import (
    bias_figure,
    joint_figure,
    light_figure,
    temperature_figure,
)
from analysis.sipm.scans import (
    ScanPoint,
    gain_against_bias,
    gain_against_light,
    gain_against_temperature,
    joint_fit,
)
from tests.analysis.sipm.scans.toys import Device, adc, biases, scanned

RNG = np.random.default_rng(1)


def written(figure) -> str:  # type: ignore[no-untyped-def]
    file = BytesIO()
    figure.savefig(file, format="png", dpi=60)
    assert file.getbuffer().nbytes > 3000
    return "\n".join(text.get_text() for axes in figure.axes for text in axes.texts)


def test_the_bias_figure_reaches_down_to_the_breakdown_voltage() -> None:
    points = scanned(RNG, biases(53.0, 56.0, 0.5))
    scan = gain_against_bias(points)
    figure = bias_figure(points, scan)
    assert "V_\\mathrm{bd}" in written(figure)
    upper, lower = figure.axes
    assert upper.get_xlim()[0] < (scan.vbd_gain.value or 0) < 53.0
    assert "%" in lower.get_ylabel()
    assert len(lower.containers) == len(points)


def test_the_bias_figure_says_that_the_gain_bends() -> None:
    points = scanned(RNG, biases(53.0, 60.0, 1.0), Device(curvature=0.01))
    assert "not linear: fitted from 53" in written(bias_figure(points, gain_against_bias(points)))


def test_temperature_light_and_joint_figures_are_drawn() -> None:
    cooled = scanned(RNG, [(54.0, float(t)) for t in range(-20, 40, 10)])
    text = written(temperature_figure(cooled, gain_against_temperature(cooled)))
    assert "relative" in text
    lit = [ScanPoint(54.0, 25.0, adc(30, 0.1), light=light) for light in (0.0, 1e-8, 1e-6, 1e-4)]
    assert "change over the range" in written(light_figure(lit, gain_against_light(lit)))
    places = [(float(v), t) for t, v in product((-20.0, 25.0), (53, 54, 55, 56))]
    grid = scanned(RNG, places)
    assert "d$T$" in written(joint_figure(grid, joint_fit(grid)))


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_points_are_drawn_with_the_reason(n: int) -> None:
    points = scanned(RNG, biases(53.0, 56.0, 0.5))[:n]
    lit = [ScanPoint(54.0, 25.0, adc(30, 0.1), light=float(i)) for i in range(n)]
    assert "unknown" in written(bias_figure(points, gain_against_bias(points)))
    assert "unknown" in written(temperature_figure(points, gain_against_temperature(points)))
    assert "unknown" in written(light_figure(lit, gain_against_light(lit)))
    assert "unknown" in written(joint_figure(points, joint_fit(points)))
