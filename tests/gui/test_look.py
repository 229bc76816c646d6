"""The tokens, the style sheet and the marks."""

import json
import re
from importlib.resources import files

import pytest

from tests.gui.conftest import NO_QT

pytest.importorskip("PyQt6.QtWidgets", reason=NO_QT, exc_type=ImportError)

from PyQt6.QtCore import QRectF
from PyQt6.QtGui import QColor, QImage, QPainter
from pytestqt.qtbot import QtBot

from gui.look import Palette, draw_mark, load_tokens, style_sheet
from gui.look.tokens import ThemeName

THEMES: tuple[ThemeName, ...] = ("light", "dark")
VERDICTS = ("pass", "flag", "fail", "unknown")


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


def pairs(palette: Palette) -> list[tuple[str, str]]:
    return [
        (palette.ink, palette.panel),
        (palette.ink2, palette.panel),
        (palette.on_fill, palette.accent),
        (palette.on_fill, palette.fail),
        (palette.accent, palette.accent_soft),
    ]


@pytest.mark.parametrize("theme", THEMES)
def test_words_can_be_read_on_what_they_stand_on(theme: ThemeName) -> None:
    palette = load_tokens().palette(theme)
    for words, ground in pairs(palette):
        assert contrast(words, ground) >= 4.5, (words, ground)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("verdict", VERDICTS)
def test_large_verdict_words_stand_out_of_their_ground(theme: ThemeName, verdict: str) -> None:
    palette = load_tokens().palette(theme)
    assert contrast(palette.of(verdict), palette.soft(verdict)) >= 3.0


@pytest.mark.parametrize("theme", THEMES)
def test_the_style_sheet_uses_the_theme_s_colours_and_no_others(theme: ThemeName) -> None:
    tokens = load_tokens()
    data = json.loads(files("gui.look").joinpath("tokens.json").read_text(encoding="utf-8"))
    used = set(re.findall(r"#[0-9A-Fa-f]{6}\b", style_sheet(tokens, tokens.palette(theme))))
    assert used
    assert used <= set(data[theme].values())


@pytest.mark.parametrize("theme", THEMES)
def test_every_verdict_has_a_shape_of_its_own(qtbot: QtBot, theme: ThemeName) -> None:
    """Marks differ when their colours are taken away."""
    palette = load_tokens().palette(theme)
    shapes = set()
    for verdict in VERDICTS:
        image = QImage(48, 48, QImage.Format.Format_ARGB32)
        image.fill(QColor(0, 0, 0, 0))
        painter = QPainter(image)
        draw_mark(painter, verdict, QRectF(0, 0, 48, 48), palette, on_panel=False)
        painter.end()
        alpha = bytes(
            image.pixelColor(x, y).alpha() // 128 for y in range(0, 48, 2) for x in range(0, 48, 2)
        )
        assert sum(alpha) > 20
        shapes.add(alpha)
    assert len(shapes) == len(VERDICTS)
