from pathlib import Path

import numpy as np

from analysis.sipm.figures_iv import curves_figure, forward_figure, reverse_figure
from analysis.sipm.iv import dark_current_at, fit_forward, reverse_iv
from tests.analysis.sipm.iv_devices import GOOD, ForwardDevice

V = np.arange(32.0, 42.0, 0.1)


def test_a_reverse_curve_is_drawn_with_every_definition(tmp_path: Path) -> None:
    found = reverse_iv(V, GOOD.current_a(V))
    dark = dark_current_at(V, GOOD.current_a(V), found.vbd_iv, 2.0)
    figure = reverse_figure(found, "SiPM 1", dark)
    current, slope, inverse = figure.axes
    labels = [text.get_text() for text in current.get_legend().get_texts()]
    for name in found.by_method:
        assert any(name.replace("_", " ") in label for label in labels)
    assert "current [A]" in current.get_ylabel()
    assert "1/V" in slope.get_ylabel()
    assert "bias [V]" in inverse.get_xlabel()
    figure.savefig(tmp_path / "iv.png")
    assert (tmp_path / "iv.png").stat().st_size > 10_000


def test_an_unknown_curve_is_drawn_with_its_reason(tmp_path: Path) -> None:
    figure = reverse_figure(reverse_iv(V, 1e-9 * V), "resistor")
    assert "cannot tell" in figure.axes[0].get_title()
    figure.savefig(tmp_path / "iv.svg")
    reverse_figure(reverse_iv([], []), "empty").savefig(tmp_path / "empty.png")


def test_a_forward_curve_is_drawn_with_its_fit() -> None:
    voltage = np.arange(0.02, 2.5, 0.03)
    fit = fit_forward(voltage, ForwardDevice(30.0).current_a(voltage))
    assert not isinstance(fit, str)
    figure = forward_figure(fit, 7000)
    assert "210 kΩ" in figure.axes[0].get_legend().get_texts()[1].get_text()


def test_many_curves_share_a_page() -> None:
    found = [(f"channel {n}", reverse_iv(V, (1 + n) * GOOD.current_a(V))) for n in range(3)]
    figure = curves_figure([*found, ("resistor", reverse_iv(V, 1e-9 * V))])
    assert len(figure.axes[0].lines) == 4
    assert [label.get_text() for label in figure.axes[1].get_xticklabels()][-1] == "resistor"
