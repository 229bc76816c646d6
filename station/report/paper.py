"""The report on paper: A4 pages with the label and the verdict in each header."""

import io
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.lib.colors import HexColor
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    Image,
    KeepTogether,
    LongTable,
    PageTemplate,
    Paragraph,
    Spacer,
    TableStyle,
)
from reportlab.platypus import Table as Grid

from station.events import Verdict
from station.report import board_maps, plots, tables
from station.report.drawing import LIGHT, Figure, draw, verdict_mark
from station.report.model import FoundDefect, ModuleReport
from station.report.page import (
    MOST_SPECTRA,
    footer,
    place_of,
    subtitle,
    undrawn,
    verdict_word,
)
from station.report.pictures import MOST_PICTURES, smaller
from station.report.tables import Cell, Column, Table

REGULAR, BOLD = "TesseraSans", "TesseraSans-Bold"
_MARGIN = 15 * mm
_WIDTH = A4[0] - 2 * _MARGIN
_HEADER, _FOOTER = 16 * mm, 12 * mm
_CELL_PT, _DENSE_PT = 7.0, 5.6
_MOST_REASONS, _LONGEST_REASON = 8, 160


def pdf(report: ModuleReport) -> bytes:
    """The report as a PDF file. The same report always gives the same bytes."""
    _register_fonts()
    target = io.BytesIO()
    document = BaseDocTemplate(
        target,
        pagesize=A4,
        leftMargin=_MARGIN,
        rightMargin=_MARGIN,
        title=f"{report.label} {verdict_word(report)}",
        author=report.site,
        subject="Tile module report",
        creator="Tessera",
        invariant=1,
    )
    frame = Frame(
        _MARGIN, _FOOTER + 4 * mm, _WIDTH, A4[1] - _HEADER - _FOOTER - 14 * mm,
        leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0,
    )  # fmt: skip
    document.addPageTemplates(PageTemplate("page", [frame]))
    document.build(_story(report), canvasmaker=_numbered(report))
    return target.getvalue()


def _story(report: ModuleReport) -> list[Flowable]:
    return [
        *_front(report),
        *_maps(report),
        *_flagged(report),
        *_placement(report),
        *_findings(report),
        *_section("Every channel", tables.channel_table(report), size=_DENSE_PT),
        *_section("Every tile: sizes", tables.size_table(report), size=_DENSE_PT),
        *_section("Every tile: placement", tables.placement_table(report), size=_DENSE_PT),
        *_section("Limits used", tables.limits_table(report)),
        *_runs(report),
        _signatures(),
    ]


def _front(report: ModuleReport) -> list[Flowable]:
    story: list[Flowable] = []
    if report.missing:
        story += _box("Not finished: no verdict yet", report.missing, "ink2")
        story.append(Spacer(1, 4 * mm))
    left: list[Flowable] = [_heading("Identity")]
    left += [
        Grid(
            [[name, _text(value, 7.5)] for name, value in tables.identity(report)],
            colWidths=[24 * mm, 62 * mm],
            style=TableStyle(
                [
                    ("FONT", (0, 0), (0, -1), REGULAR, 7.5),
                    ("TEXTCOLOR", (0, 0), (0, -1), _colour("ink2")),
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("LEFTPADDING", (0, 0), (-1, -1), 0),
                    ("TOPPADDING", (0, 0), (-1, -1), 1.2),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 1.2),
                ]
            ),
        )
    ]
    counts = tables.summary(report)
    if counts:
        left.append(Spacer(1, 2 * mm))
        left.append(_Counts(counts))
    if report.reasons:
        left.append(Spacer(1, 3 * mm))
        left += _box(
            "Reasons", _first(report.reasons), report.verdict or "ink2", width=_WIDTH / 2 - 6 * mm
        )
    right = _Drawing(board_maps.verdict_map(report, width=88 * mm, height=92 * mm))
    story.append(_side_by_side(left, [_heading("Channels"), right]))
    if report.notices:
        story.append(Spacer(1, 3 * mm))
        story += _box("Notices", report.notices, "ink2")
    module = tables.module_table(report)
    if module.rows or report.iv is not None:
        story.append(_heading("Module"))
    if module.rows:
        story.append(_grid(module))
    if report.iv is not None:
        vbd = report.readings.get(None, {}).get("vbd_iv")
        story.append(Spacer(1, 3 * mm))
        story.append(_Drawing(plots.iv_plot(report.iv, vbd, width=150 * mm, height=62 * mm)))
    return story


def _maps(report: ModuleReport) -> list[Flowable]:
    half = _WIDTH / 2 - 4 * mm
    figures = [
        board_maps.quantity_map(report, quantity, width=half, height=78 * mm)
        for quantity in tables.channel_quantities(report)
    ]
    return _gallery("Board maps", [_Drawing(figure) for figure in figures], columns=2)


def _flagged(report: ModuleReport) -> list[Flowable]:
    if not report.flagged:
        return []
    names = {position.channel: position.name for position in report.shape.positions}
    width = _WIDTH / 3 - 4 * mm
    spectra = [
        _Drawing(plots.spectrum_plot(f, names.get(f.channel, ""), width=width, height=36 * mm))
        for f in report.flagged[:MOST_SPECTRA]
    ]
    story = _section("Channels that did not pass", tables.flagged_table(report))
    story.append(Spacer(1, 3 * mm))
    story += _gallery("", spectra, columns=3)
    if undrawn(report):
        story.append(_text(undrawn(report), 7))
    return story


def _placement(report: ModuleReport) -> list[Flowable]:
    if not any(tile.placement for tile in report.tiles):
        return []
    figure = board_maps.placement_map(report, width=125 * mm, height=122 * mm)
    return [KeepTogether([_heading("Tile placement"), _Drawing(figure)])]


def _findings(report: ModuleReport) -> list[Flowable]:
    width = _WIDTH / 3 - 4 * mm
    cells = [
        _finding(report, defect, width, with_picture=number < MOST_PICTURES)
        for number, defect in enumerate(report.findings)
    ]
    return _gallery("Findings", cells, columns=3)


def _finding(
    report: ModuleReport, defect: FoundDefect, width: float, *, with_picture: bool
) -> Flowable:
    cell: list[Flowable] = []
    small = smaller(defect.picture) if defect.picture is not None and with_picture else None
    if small is not None:
        height = width * small.height_px / small.width_px
        cell.append(Image(io.BytesIO(small.jpeg), width, height))
    tile_format = report.formats.get(defect.format_code or "")
    place = (
        plots.finding_plot(defect, tile_format, width=width, height=26 * mm)
        if tile_format
        else None
    )
    if place is not None:
        cell.append(_Drawing(place))
    at = f" at {defect.position}" if defect.position else ""
    lines = (
        f"<font name='{BOLD}'>{escape(tables.SIGNS[defect.verdict])}{escape(defect.kind)}</font> "
        f"({defect.verdict})",
        escape(f"{defect.part_label}{at}"),
        escape(defect.text),
        escape(place_of(defect)),
    )
    cell.append(Paragraph("<br/>".join(lines), _style(7)))
    return _Stack(cell, width)


def _runs(report: ModuleReport) -> list[Flowable]:
    story = _section("Runs", tables.run_table(report))
    for name, reasons in tables.run_reasons(report):
        story.append(Spacer(1, 2 * mm))
        story.append(_text(name, 7.5, bold=True))
        story += [_text(f"– {reason}", 7) for reason in reasons]
    for title, table in (
        ("Runs on the tiles", tables.tile_run_table(report)),
        ("Instruments", tables.instrument_table(report)),
        ("Calibration", tables.calibration_table(report)),
    ):
        story += _section(title, table)
    story.append(Spacer(1, 3 * mm))
    story.append(_text(footer(report), 6.5, colour="ink2"))
    return story


def _signatures() -> Flowable:
    line = "_" * 34
    rows = [
        [who, line, "Date", "_" * 18, "Signature", line[:28]]
        for who in ("Tested by", "Checked by", "Released by")
    ]
    grid = Grid(
        rows,
        colWidths=[20 * mm, 50 * mm, 11 * mm, 33 * mm, 18 * mm, None],
        rowHeights=11 * mm,
        style=TableStyle(
            [
                ("FONT", (0, 0), (-1, -1), REGULAR, 7.5),
                ("TEXTCOLOR", (0, 0), (-1, -1), _colour("ink2")),
                ("VALIGN", (0, 0), (-1, -1), "BOTTOM"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
            ]
        ),
        hAlign="LEFT",
    )
    return KeepTogether([Spacer(1, 5 * mm), _heading("Signatures"), grid])


def _section(title: str, table: Table, *, size: float = _CELL_PT) -> list[Flowable]:
    if not table.rows:
        return []
    return [CondPageBreak(35 * mm), _heading(title), _grid(table, size=size)]


def _gallery(title: str, cells: Sequence[Flowable], *, columns: int) -> list[Flowable]:
    if not cells:
        return []
    filled = [*cells, *[Spacer(1, 1)] * (-len(cells) % columns)]
    rows = [
        Grid(
            [filled[k : k + columns]],
            colWidths=[_WIDTH / columns] * columns,
            style=TableStyle(
                [
                    ("VALIGN", (0, 0), (-1, -1), "TOP"),
                    ("LEFTPADDING", (0, 0), (-1, -1), 0),
                    ("RIGHTPADDING", (0, 0), (-1, -1), 0),
                    ("BOTTOMPADDING", (0, 0), (-1, -1), 7),
                ]
            ),
            hAlign="LEFT",
        )
        for k in range(0, len(filled), columns)
    ]
    if not title:
        return list(rows)
    return [KeepTogether([_heading(title), rows[0]]), *rows[1:]]


def _grid(table: Table, *, size: float = _CELL_PT) -> Flowable:
    total = sum(column.weight for column in table.columns)
    widths = [_WIDTH * column.weight / total for column in table.columns]
    commands: list[Any] = [
        ("FONT", (0, 0), (-1, -1), REGULAR, size),
        ("FONT", (0, 0), (-1, 0), BOLD, size),
        ("LEADING", (0, 0), (-1, -1), 1.2 * size),
        ("TEXTCOLOR", (0, 0), (-1, 0), _colour("ink2")),
        ("TEXTCOLOR", (0, 1), (-1, -1), _colour("ink")),
        ("VALIGN", (0, 0), (-1, 0), "BOTTOM"),
        ("VALIGN", (0, 1), (-1, -1), "TOP"),
        ("LEFTPADDING", (0, 0), (-1, -1), 2),
        ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ("TOPPADDING", (0, 0), (-1, -1), 0.25 * size),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 0.25 * size),
        ("LINEBELOW", (0, 0), (-1, -1), 0.3, _colour("line")),
        ("LINEBELOW", (0, 0), (-1, 0), 0.6, _colour("ink3")),
    ]
    for place, column in enumerate(table.columns):
        if column.kind == "number":
            commands.append(("ALIGN", (place, 0), (place, -1), "RIGHT"))
    rows: list[list[Any]] = [[_head(column) for column in table.columns]]
    for number, row in enumerate(table.rows, start=1):
        rows.append([])
        for place, (cell, column) in enumerate(zip(row, table.columns, strict=True)):
            rows[-1].append(_cell(cell, column, size))
            if cell.verdict is not None and (cell.is_badge or cell.verdict != "pass"):
                spot = (place, number)
                commands.append(("TEXTCOLOR", spot, spot, _colour(cell.verdict)))
                if cell.verdict != "pass":
                    commands.append(("BACKGROUND", spot, spot, _colour(f"{cell.verdict}_soft")))
                    commands.append(("FONT", spot, spot, BOLD, size))
    return LongTable(
        rows,
        colWidths=widths,
        repeatRows=1,
        splitInRow=1,
        style=TableStyle(commands),
        hAlign="LEFT",
    )


def _head(column: Column) -> str:
    return f"{column.head}\n{column.unit}" if column.unit else column.head


def _cell(cell: Cell, column: Column, size: float) -> Any:
    if column.kind == "text":
        return _text(cell.text, size)
    return f"{tables.SIGNS[cell.verdict]}{cell.text}" if cell.verdict else cell.text


def _box(title: str, lines: Sequence[str], colour: str, *, width: float = _WIDTH) -> list[Flowable]:
    return [
        _Barred(_text(title, 9, bold=True, colour=colour), colour, width),
        *(_Barred(_text(f"– {text}", 7.5), colour, width) for text in lines),
    ]


def _side_by_side(left: list[Flowable], right: list[Flowable]) -> Flowable:
    return Grid(
        [[left, right]],
        colWidths=[_WIDTH / 2, _WIDTH / 2],
        style=TableStyle(
            [
                ("VALIGN", (0, 0), (-1, -1), "TOP"),
                ("LEFTPADDING", (0, 0), (-1, -1), 0),
                ("RIGHTPADDING", (0, 0), (-1, -1), 0),
            ]
        ),
        hAlign="LEFT",
    )


def _first(texts: Sequence[str]) -> list[str]:
    """The first reasons, each cut to some lines: all of them are listed in full with the runs."""
    shown = [text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"
             for text in texts[:_MOST_REASONS]]  # fmt: skip
    if len(texts) > _MOST_REASONS:
        shown.append(f"and {len(texts) - _MOST_REASONS} more, listed with the runs")
    return shown


def _heading(text: str) -> Flowable:
    return Paragraph(escape(text), _style(10.5, bold=True, after=2 * mm))


def _text(text: str, size: float, *, bold: bool = False, colour: str = "ink") -> Flowable:
    return Paragraph(escape(text), _style(size, bold=bold, colour=colour))


@cache
def _style(
    size: float, *, bold: bool = False, colour: str = "ink", after: float = 0.0
) -> ParagraphStyle:
    return ParagraphStyle(
        f"{size}{bold}{colour}{after}",
        fontName=BOLD if bold else REGULAR,
        fontSize=size,
        leading=1.25 * size,
        textColor=_colour(colour),
        spaceBefore=2 * after,
        spaceAfter=after,
        splitLongWords=1,
        keepWithNext=int(after > 0),
    )


@cache
def _colour(name: str) -> Any:
    return HexColor(LIGHT[name])


@cache
def _register_fonts() -> None:
    """DejaVu Sans, which has ± µ ° − …, from the files that matplotlib brings along."""
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise FileNotFoundError("the fonts of reports come with matplotlib, which is not installed")
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    pdfmetrics.registerFont(TTFont(REGULAR, str(folder / "DejaVuSans.ttf")))
    pdfmetrics.registerFont(TTFont(BOLD, str(folder / "DejaVuSans-Bold.ttf")))


class _Drawing(Flowable):  # type: ignore[misc]
    """A figure as vector paths."""

    def __init__(self, figure: Figure) -> None:
        super().__init__()
        self.figure = figure
        self.width, self.height = figure.width, figure.height
        self.hAlign = "CENTER"

    def draw(self) -> None:
        draw(self.figure, self.canv, 0, 0, regular_font=REGULAR, bold_font=BOLD)


class _Barred(Flowable):  # type: ignore[misc]
    """A paragraph with a coloured bar on its left; long ones go on on the next page."""

    def __init__(self, paragraph: Paragraph, colour: str, width: float) -> None:
        super().__init__()
        self.paragraph, self.colour, self.width = paragraph, colour, width

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:
        _, height = self.paragraph.wrap(self.width - 8, available_height)
        self.height = height + 3
        return self.width, self.height

    def split(self, available_width: float, available_height: float) -> list[Flowable]:
        parts = self.paragraph.split(self.width - 8, available_height - 3)
        return [_Barred(part, self.colour, self.width) for part in parts]

    def draw(self) -> None:
        self.canv.setFillColor(_colour(self.colour))
        self.canv.rect(0, 0, 2, self.height, fill=1, stroke=0)
        self.paragraph.drawOn(self.canv, 8, 2)


class _Stack(Flowable):  # type: ignore[misc]
    """Flowables below each other as one."""

    def __init__(self, parts: Sequence[Flowable], width: float) -> None:
        super().__init__()
        self.parts = parts
        self.width = width

    def wrap(self, available_width: float, available_height: float) -> tuple[float, float]:
        self.sizes = [part.wrap(self.width, available_height) for part in self.parts]
        self.height = sum(height + 3 for _, height in self.sizes)
        return self.width, self.height

    def draw(self) -> None:
        y = self.height
        for part, (_, height) in zip(self.parts, self.sizes, strict=True):
            y -= height + 3
            part.drawOn(self.canv, 0, y)


class _Counts(Flowable):  # type: ignore[misc]
    """How many channels got which verdict, with the marks."""

    def __init__(self, counts: Sequence[tuple[Verdict, int]]) -> None:
        super().__init__()
        self.counts = counts
        self.width, self.height = _WIDTH / 2, 16.0

    def draw(self) -> None:
        x = 0.0
        for verdict, count in self.counts:
            text = f"{count} {verdict}"
            wide = 22 + pdfmetrics.stringWidth(text, BOLD, 8)
            _badge(self.canv, verdict, text, x, 0, wide, 14, 8)
            x += wide + 5


def _badge(
    canvas: Any, verdict: Verdict | None, text: str, x: float, y: float, *sizes: float
) -> None:
    wide, high, size = sizes
    canvas.saveState()
    if verdict is None:
        canvas.setStrokeColor(_colour("ink3"))
        canvas.setDash(2, 2)
        canvas.roundRect(x, y, wide, high, 3, fill=0, stroke=1)
    else:
        canvas.setFillColor(_colour(f"{verdict}_soft"))
        canvas.roundRect(x, y, wide, high, 3, fill=1, stroke=0)
        mark = Figure(size, size, tuple(verdict_mark(verdict, size / 2, size / 2, size)), verdict)
        draw(mark, canvas, x + 5, y + (high - size) / 2, regular_font=REGULAR, bold_font=BOLD)
    canvas.setFillColor(_colour(verdict or "ink2"))
    canvas.setFont(BOLD, size)
    left = x + 8 + (size if verdict else 0)
    canvas.drawString(left, y + high / 2 - 0.36 * size, text)
    canvas.restoreState()


def _numbered(report: ModuleReport) -> type[Canvas]:
    """A canvas that draws header and footer when it knows how many pages there are."""

    class NumberedCanvas(Canvas):  # type: ignore[misc]
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self._pages: list[dict[str, Any]] = []

        def showPage(self) -> None:  # noqa: N802
            self._pages.append(dict(self.__dict__))
            self._startPage()

        def save(self) -> None:
            pages = self._pages
            for number, page in enumerate(pages, start=1):
                self.__dict__.update(page)
                _furniture(self, report, number, len(pages))
                super().showPage()
            super().save()

    return NumberedCanvas


def _furniture(canvas: Any, report: ModuleReport, number: int, pages: int) -> None:
    width, height = A4
    top = height - 10 * mm
    word = verdict_word(report)
    size = 15.0 if number == 1 else 10.0
    wide = pdfmetrics.stringWidth(word, BOLD, size) + 16 + (size if report.verdict else 0)
    _badge(
        canvas, report.verdict, word, width - _MARGIN - wide, top - 8.5 * mm, wide, 1.7 * size, size
    )
    canvas.setFillColor(_colour("ink"))
    canvas.setFont(BOLD, 15 if number == 1 else 11)
    canvas.drawString(_MARGIN, top - 4.6 * mm, report.label)
    canvas.setFillColor(_colour("ink2"))
    canvas.setFont(REGULAR, 7.5)
    canvas.drawString(_MARGIN, top - 8.6 * mm, f"Tile module report · {subtitle(report)}")
    canvas.setStrokeColor(_colour("line"))
    canvas.setLineWidth(0.6)
    canvas.line(_MARGIN, top - 11 * mm, width - _MARGIN, top - 11 * mm)
    canvas.line(_MARGIN, _FOOTER, width - _MARGIN, _FOOTER)
    canvas.setFont(REGULAR, 7)
    canvas.drawString(_MARGIN, _FOOTER - 4 * mm, f"Tessera · {report.label}")
    canvas.drawRightString(width - _MARGIN, _FOOTER - 4 * mm, f"page {number} of {pages}")
