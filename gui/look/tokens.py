"""Colours, sizes and type of the desktop, read from `tokens.json`; nothing is used beside them."""

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

ThemeName = Literal["light", "dark"]


@dataclass(frozen=True)
class Palette:
    """The colours of one theme, as `#RRGGBB`."""

    bg: str
    panel: str
    line: str
    ink: str
    ink2: str
    ink3: str
    accent: str
    accent_soft: str
    passed: str
    passed_soft: str
    flag: str
    flag_soft: str
    fail: str
    fail_soft: str
    unknown: str
    unknown_soft: str
    on_fill: str

    def of(self, tone: str) -> str:
        """Colour of a verdict ("pass", "flag", "fail", "unknown") or of another tone by name."""
        return str(getattr(self, _PYTHON_NAME.get(tone, tone)))

    def soft(self, tone: str) -> str:
        """The background that belongs to `of(tone)`."""
        return str(getattr(self, _PYTHON_NAME.get(tone, tone) + "_soft"))


@dataclass(frozen=True)
class Spacing:
    hair: int
    tight: int
    close: int
    even: int
    wide: int
    broad: int


@dataclass(frozen=True)
class Type:
    caption: int
    body: int
    instruction: int
    title: int
    label: int
    verdict: int


@dataclass(frozen=True)
class Target:
    """Least height of what is touched: by an operator in gloves, by a scientist at a desk."""

    operator_min: int
    scientist_min: int


@dataclass(frozen=True)
class Size:
    top_bar: int
    rail: int
    strip: int
    bottom_bar: int
    bar_low: int
    stop_width: int
    verdict_width: int
    progress: int
    dot: int
    trend_width: int
    trend_width_least: int
    row: int
    row_least: int
    row_tall: int
    readback_width: int
    state_width: int
    tile_gap: int
    outline: int
    hairline: int
    curve: int
    mark: int
    colour_bar: int
    colour_bar_labels: int
    entry_width: int
    sheet_width: int


@dataclass(frozen=True)
class Tokens:
    light: Palette
    dark: Palette
    sequential_colour_map: str
    families: tuple[str, ...]
    spacing: Spacing
    radius: int
    type: Type
    target: Target
    size: Size
    bar_opacity: float
    scrim_opacity: float

    def palette(self, theme: ThemeName) -> Palette:
        return self.dark if theme == "dark" else self.light


_PYTHON_NAME = {"pass": "passed", "pass_soft": "passed_soft"}


def _palette(colours: dict[str, str]) -> Palette:
    return Palette(**{_PYTHON_NAME.get(name, name): value for name, value in colours.items()})


@cache
def load_tokens() -> Tokens:
    """The tokens of `tokens.json`. Raises TypeError for a missing or unknown name."""
    data = json.loads(files(__package__).joinpath("tokens.json").read_text(encoding="utf-8"))
    return Tokens(
        light=_palette(data["light"]),
        dark=_palette(data["dark"]),
        sequential_colour_map=data["sequential_colour_map"],
        families=tuple(data["families"]),
        spacing=Spacing(**data["spacing_px"]),
        radius=data["radius_px"],
        type=Type(**data["type_px"]),
        target=Target(**data["target_px"]),
        size=Size(**data["size_px"]),
        bar_opacity=data["bar_opacity"],
        scrim_opacity=data["scrim_opacity"],
    )
