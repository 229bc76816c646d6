"""The style sheet, written from the tokens."""

from gui.look.tokens import Palette, Tokens


def style_sheet(tokens: Tokens, palette: Palette) -> str:
    """Qt style sheet of one theme.

    Widgets choose their part by the dynamic properties `role` (what it is) and `tone` (a verdict,
    or "trip").
    """
    p, t, s, size = palette, tokens.type, tokens.spacing, tokens.size
    families = ", ".join(f'"{name}"' for name in tokens.families)
    verdict_tones = "".join(
        f"""
        QFrame[role="verdict"][tone="{tone}"], QFrame[role="chip"][tone="{tone}"] {{
            background: {p.soft(tone)}; }}
        QLabel[tone="{tone}"] {{ color: {p.of(tone)}; }}
        """
        for tone in ("pass", "flag", "fail", "unknown")
    )
    return f"""
    * {{ font-family: {families}; font-size: {t.body}px; color: {p.ink}; outline: none; }}
    QWidget#window, QWidget#work {{ background: {p.bg}; }}
    QToolTip {{ background: {p.panel}; color: {p.ink}; border: {size.hairline}px solid {p.line}; }}

    QFrame[role="bar"] {{ background: {p.panel}; border: none;
        border-bottom: {size.hairline}px solid {p.line}; }}
    QFrame[role="rail"] {{ background: {p.panel}; border: none;
        border-right: {size.hairline}px solid {p.line}; }}
    QFrame[role="panel"], QFrame[role="sheet"] {{ background: {p.panel};
        border: {size.hairline}px solid {p.line}; border-radius: {tokens.radius}px; }}
    QFrame[role="panel"][tone="trip"] {{ background: {p.fail_soft};
        border: {size.curve}px solid {p.fail}; }}
    QFrame[role="verdict"], QFrame[role="chip"] {{ background: {p.bg};
        border: none; border-radius: {tokens.radius}px; }}
    QWidget[role="clear"], QScrollArea, QScrollArea > QWidget > QWidget {{
        background: transparent; border: none; }}

    QLabel {{ background: transparent; border: none; }}
    QLabel[role="caption"] {{ font-size: {t.caption}px; color: {p.ink2}; }}
    QLabel[role="faint"] {{ font-size: {t.caption}px; color: {p.ink3}; }}
    QLabel[role="strong"] {{ font-weight: bold; }}
    QLabel[role="quiet"] {{ color: {p.ink2}; }}
    QLabel[role="instruction"] {{ font-size: {t.instruction}px; }}
    QLabel[role="number"] {{ font-size: {t.instruction}px; font-weight: bold; }}
    QLabel[role="title"] {{ font-size: {t.title}px; font-weight: bold; }}
    QLabel[role="label"] {{ font-size: {t.label}px; font-weight: bold; }}
    QLabel[role="verdict"] {{ font-size: {t.verdict}px; font-weight: bold; color: {p.ink3}; }}
    QLabel[role="chip"] {{ font-weight: bold; }}
    {verdict_tones}

    QPushButton {{ background: {p.panel}; color: {p.ink}; font-size: {t.body}px;
        border: {size.hairline}px solid {p.line}; border-radius: {tokens.radius}px;
        padding: 0 {s.close}px; min-height: {tokens.target.scientist_min - 2}px; }}
    QPushButton:pressed {{ background: {p.accent_soft}; }}
    QPushButton:focus {{ border: {size.curve}px solid {p.accent}; }}
    QPushButton:disabled {{ color: {p.ink3}; background: {p.bg}; }}
    QPushButton[role="choose"] {{ color: {p.ink2}; padding: 0 {s.tight}px; }}
    QPushButton[role="choose"]:checked {{ color: {p.accent}; background: {p.accent_soft};
        border: {size.hairline}px solid {p.accent}; }}
    QPushButton[role="choose"]:focus {{ border: {size.curve}px solid {p.accent}; }}
    QPushButton[role="action"], QPushButton[role="likely"], QPushButton[role="stop"] {{
        font-size: {t.instruction}px; font-weight: bold; padding: 0 {s.broad}px;
        min-height: {tokens.target.operator_min - 2}px; }}
    QPushButton[role="likely"] {{ background: {p.accent}; color: {p.on_fill};
        border: {size.hairline}px solid {p.accent}; }}
    QPushButton[role="likely"]:focus, QPushButton[role="stop"]:focus {{
        border: {size.outline}px solid {p.ink}; }}
    QPushButton[role="likely"]:pressed {{ background: {p.ink2}; }}
    QPushButton[role="likely"]:disabled {{ background: {p.bg}; color: {p.ink3};
        border: {size.hairline}px solid {p.line}; }}
    QPushButton[role="stop"] {{ background: {p.fail}; color: {p.on_fill};
        border: {size.hairline}px solid {p.fail}; font-size: {t.title}px; }}
    QPushButton[role="stop"]:pressed {{ background: {p.ink}; }}
    QPushButton[role="stop"]:disabled {{ background: {p.fail_soft}; color: {p.fail}; }}
    QPushButton[role="place"] {{ background: transparent; border: none; color: {p.ink2};
        text-align: left; padding: 0 {s.even}px; font-size: {t.instruction}px;
        min-height: {tokens.target.operator_min - 8}px; }}
    QPushButton[role="place"]:checked {{ background: {p.accent_soft}; color: {p.accent};
        font-weight: bold; }}
    QPushButton[role="place"]:focus {{ border: {size.curve}px solid {p.accent};
        padding: 0 {s.even - size.curve}px; }}
    QPushButton[role="plain"] {{ background: transparent; border: none; color: {p.ink2};
        text-align: left; padding: 0 {s.even}px; min-height: {tokens.target.scientist_min}px; }}
    QPushButton[role="plain"]:focus {{ border: {size.curve}px solid {p.accent};
        padding: 0 {s.even - size.curve}px; }}

    QLineEdit {{ background: {p.panel}; color: {p.ink}; border: {size.hairline}px solid {p.ink3};
        border-radius: {tokens.radius}px; padding: 0 {s.close}px; font-size: {t.instruction}px;
        min-height: {tokens.target.operator_min - 2}px; selection-background-color: {p.accent};
        selection-color: {p.on_fill}; placeholder-text-color: {p.ink3}; }}
    QLineEdit:focus {{ border: {size.curve}px solid {p.accent}; }}
    QLineEdit[tone="fail"] {{ border: {size.curve}px solid {p.fail}; }}

    QProgressBar {{ background: {p.bg}; border: none; border-radius: {size.progress // 2}px;
        min-height: {size.progress}px; max-height: {size.progress}px; }}
    QProgressBar::chunk {{ background: {p.accent}; border-radius: {size.progress // 2}px; }}

    QListWidget {{ background: transparent; border: none; }}
    QListWidget::item {{ padding: {s.hair}px 0; border: none; color: {p.ink}; }}
    QListWidget::item:selected {{ background: {p.accent_soft}; color: {p.ink}; }}
    QScrollBar:vertical {{ background: transparent; width: {s.close}px; margin: 0; }}
    QScrollBar::handle:vertical {{ background: {p.line}; border-radius: {s.close // 2}px;
        min-height: {tokens.target.scientist_min}px; }}
    QScrollBar::add-line, QScrollBar::sub-line, QScrollBar::add-page, QScrollBar::sub-page {{
        background: none; height: 0; }}
    """
