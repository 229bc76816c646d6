"""How the desktop looks: one place for colours, sizes, type, style sheet and marks."""

from gui.look.marks import MARKED, draw_mark
from gui.look.style import style_sheet
from gui.look.theme import Look
from gui.look.tokens import Palette, ThemeName, Tokens, load_tokens

__all__ = [
    "MARKED",
    "Look",
    "Palette",
    "ThemeName",
    "Tokens",
    "draw_mark",
    "load_tokens",
    "style_sheet",
]
