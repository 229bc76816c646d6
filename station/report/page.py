"""The report as one HTML file that needs nothing beside it."""

import base64
from dataclasses import dataclass
from functools import cache
from importlib import resources

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from station.events import Verdict
from station.report import board_maps, plots, tables
from station.report.drawing import DARK, LIGHT, Figure, svg, verdict_mark
from station.report.model import FoundDefect, ModuleReport
from station.report.pictures import MOST_PICTURES, smaller
from station.report.rounding import plain

MOST_SPECTRA = 48
"""Spectra that a report draws: a board without light has one that looks the same everywhere."""
_MOST_REASONS = 8


@dataclass(frozen=True)
class _ShownFinding:
    defect: FoundDefect
    picture: str | None
    place: Markup | None
    where: str


def html(report: ModuleReport) -> str:
    """The report as text of an HTML file: light or dark as the reader's screen, prints light."""
    maps = [
        _svg(board_maps.quantity_map(report, quantity, width=230, height=235))
        for quantity in tables.channel_quantities(report)
    ]
    names = {position.channel: position.name for position in report.shape.positions}
    spectra = [
        _svg(plots.spectrum_plot(f, names.get(f.channel, ""), width=165, height=110))
        for f in report.flagged[:MOST_SPECTRA]
    ]
    return _template().render(
        report=report,
        verdict_word=verdict_word(report),
        subtitle=subtitle(report),
        identity=tables.identity(report),
        summary=tables.summary(report),
        most_reasons=_MOST_REASONS,
        verdict_map=_svg(board_maps.verdict_map(report, width=420, height=400)),
        modules=tables.module_table(report),
        iv=_svg(plots.iv_plot(report.iv, report.readings.get(None, {}).get("vbd_iv"),
                              width=460, height=220)) if report.iv else None,
        maps=maps,
        flagged=tables.flagged_table(report),
        spectra=spectra,
        undrawn=undrawn(report),
        placement=_svg(board_maps.placement_map(report, width=460, height=480))
        if any(tile.placement for tile in report.tiles) else None,
        findings=[_shown(report, k, defect) for k, defect in enumerate(report.findings)],
        channels=tables.channel_table(report),
        tiles=tables.size_table(report),
        places=tables.placement_table(report),
        limits=tables.limits_table(report),
        runs=tables.run_table(report),
        run_reasons=tables.run_reasons(report),
        tile_runs=tables.tile_run_table(report),
        instruments=tables.instrument_table(report),
        calibration=tables.calibration_table(report),
        footer=footer(report),
        marks={verdict: _svg(_mark(verdict)) for verdict in tables.SIGNS},
        signs=tables.SIGNS,
        light=_variables(LIGHT),
        dark=_variables(DARK),
        style=Markup(_read("style.css")),
    )  # fmt: skip


def verdict_word(report: ModuleReport) -> str:
    """The verdict as a word, or that there is none yet."""
    return report.verdict.upper() if report.verdict else "NOT FINISHED"


def subtitle(report: ModuleReport) -> str:
    shape = report.shape
    cut = {"F": "full", "L": "left-cut", "R": "right-cut"}.get(shape.cut, shape.cut)
    return (
        f"{shape.letter}{shape.rows}, {cut}, {report.material} tiles, {shape.n_channels} channels"
        f" · {report.site}"
    )


def footer(report: ModuleReport) -> str:
    versions = sorted({run.software_version for run in (*report.runs, *report.tile_runs)})
    return (
        "Values are given with one standard deviation. Signs: × fail, ! flag, ? unknown. "
        f"Measured with Tessera {', '.join(versions) or '(no runs)'}."
    )


def undrawn(report: ModuleReport) -> str:
    """How many spectra are left out, empty when none is."""
    left_out = len(report.flagged) - MOST_SPECTRA
    return f"{left_out} more spectra are kept in the records." if left_out > 0 else ""


def place_of(defect: FoundDefect) -> str:
    """Where a finding is, in the part's frame, and how large."""
    parts = []
    if defect.x_mm is not None and defect.y_mm is not None:
        parts.append(f"x {plain(defect.x_mm, 4)} mm, y {plain(defect.y_mm, 4)} mm")
    if defect.area_mm2 is not None:
        parts.append(f"{plain(defect.area_mm2, 3)} mm²")
    return ", ".join(parts)


def _shown(report: ModuleReport, number: int, defect: FoundDefect) -> _ShownFinding:
    picture = None
    if defect.picture is not None and number < MOST_PICTURES:
        small = smaller(defect.picture)
        picture = base64.b64encode(small.jpeg).decode() if small else None
    tile_format = report.formats.get(defect.format_code or "")
    place = plots.finding_plot(defect, tile_format, width=90, height=80) if tile_format else None
    return _ShownFinding(defect, picture, _svg(place) if place else None, place_of(defect))


def _svg(figure: Figure) -> Markup:
    return Markup(svg(figure))


def _mark(verdict: Verdict) -> Figure:
    return Figure(14, 14, tuple(verdict_mark(verdict, 7, 7, 11)), verdict)


def _variables(colours: dict[str, str]) -> Markup:
    return Markup(" ".join(f"--{name}: {colour};" for name, colour in colours.items()))


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_read("module.html"))


def _read(name: str) -> str:
    return (resources.files("station.report") / name).read_text(encoding="utf-8")
