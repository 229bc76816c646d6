"""The tables of a report as text, alike for the page and for paper."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from station.events import Verdict
from station.limits import worst
from station.report.model import (
    ENDINGS,
    PLACEMENT_QUANTITIES,
    TILE_QUANTITIES,
    Measured,
    ModuleReport,
    TileRecord,
    when,
)
from station.report.quantities import in_order, title_of
from station.report.records import RunRecord
from station.report.rounding import Scale, common_scale, limits, measured

SIGNS: Mapping[Verdict, str] = {"pass": "", "flag": "! ", "fail": "× ", "unknown": "? "}
"""What stands before a number that did not pass, so that colour is not needed to see it."""
_KEPT_APART = frozenset({"tile", "wrapped_tile"})


@dataclass(frozen=True)
class Cell:
    """Text of a table; `verdict` colours and signs it, `is_badge`: the text is the verdict."""

    text: str
    verdict: Verdict | None = None
    is_badge: bool = False


@dataclass(frozen=True)
class Column:
    """Heading, its unit, and how wide the column is compared with the others.

    `kind`: a short word, a number (aligned to the right) or a long text that wraps.
    """

    head: str
    unit: str = ""
    weight: float = 1.0
    kind: str = "word"


@dataclass(frozen=True)
class Table:
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class _LimitUse:
    quantity: str
    format_code: str
    unit: str
    low: float | None
    high: float | None

    @classmethod
    def of(cls, reading: Measured, format_code: str) -> "_LimitUse":
        unlimited = reading.low is None and reading.high is None
        return cls(
            reading.quantity,
            "" if unlimited else format_code,
            reading.unit,
            reading.low,
            reading.high,
        )


def identity(report: ModuleReport) -> list[tuple[str, str]]:
    """Names and values that say which module this is and of what it is made."""
    shape = report.shape
    boards = [part.label for part in report.parts if part.kind == "tileboard"]
    tiles = sum(1 for tile in report.tiles if tile.wrapped_label)
    rows = [
        ("Tile module", report.label),
        ("Board shape", f"{shape.name}: {shape.rows} rows, {shape.n_channels} channels, "
                        f"{shape.grid} grid"),
        ("Tileboard", ", ".join(boards) or "none recorded"),
        ("Tiles", f"{tiles} of {shape.n_channels} placed, {report.material} material"),
        ("Site", report.site),
    ]  # fmt: skip
    rows += [
        (part.kind.replace("_", " ").capitalize(), f"{part.label} at {part.position}")
        for part in report.parts
        if part.depth and part.kind not in _KEPT_APART and part.kind != "tileboard"
    ]
    if report.made_at is not None:
        rows.append(("Made", when(report.made_at)))
    if report.records_until is not None:
        rows.append(("Records until", when(report.records_until)))
    if report.note:
        rows.append(("Note", report.note))
    return rows


def summary(report: ModuleReport) -> list[tuple[Verdict, int]]:
    """How many channels got which verdict, the worst first, verdicts that occur only."""
    count = Counter(report.channel_verdicts.values())
    order: tuple[Verdict, ...] = ("fail", "unknown", "flag", "pass")
    return [(verdict, count[verdict]) for verdict in order if count[verdict]]


def channel_quantities(report: ModuleReport) -> list[str]:
    """Quantities that any channel has a reading of, in the order of reports."""
    return in_order(
        quantity
        for channel, of_channel in report.readings.items()
        if channel is not None
        for quantity in of_channel
    )


def channel_table(report: ModuleReport) -> Table:
    """One row per channel of the board: place, verdict, quantities. No rows without readings."""
    quantities = channel_quantities(report)
    of_channels = [found for channel, found in report.readings.items() if channel is not None]
    scales = _scales(quantities, of_channels)
    rows = []
    for position in sorted(report.shape.positions, key=lambda p: p.channel) if quantities else ():
        readings = report.readings.get(position.channel, {})
        rows.append(
            (
                Cell(str(position.channel)),
                Cell(position.name),
                _badge(report.channel_verdicts.get(position.channel)),
                *(_value(readings.get(q), scales[q]) for q in quantities),
            )
        )
    columns = (
        Column("Ch", "", 0.55, "number"),
        Column("Place", "", 0.8),
        Column("Verdict", "", 1.0),
        *(Column(title_of(q), scales[q].unit, 1.6, "number") for q in quantities),
    )
    return Table(columns, tuple(rows))


def flagged_table(report: ModuleReport) -> Table:
    """Channels that did not pass, with every reason."""
    names = {position.channel: position.name for position in report.shape.positions}
    return Table(
        (
            Column("Ch", "", 0.5, "number"),
            Column("Place", "", 0.8),
            Column("Verdict", "", 1.1),
            Column("Why", "", 9.0, "text"),
        ),
        tuple(
            (
                Cell(str(flagged.channel)),
                Cell(names.get(flagged.channel, "not on this board")),
                _badge(flagged.verdict),
                Cell("; ".join(flagged.reasons)),
            )
            for flagged in report.flagged
        ),
    )


def module_table(report: ModuleReport) -> Table:
    """Quantities of the module as a whole."""
    readings = report.readings.get(None, {})
    rows = []
    for quantity in in_order(readings):
        reading = readings[quantity]
        scale = _scale(quantity, [reading])
        rows.append(
            (
                Cell(title_of(quantity)),
                _value(reading, scale),
                Cell(scale.unit),
                Cell(limits(reading.low, reading.high, scale)),
                _badge(reading.verdict),
                Cell("; ".join((reading.method, *reading.reasons))),
            )
        )
    return Table(
        (
            Column("Quantity", "", 2.4),
            Column("Value", "", 1.5, "number"),
            Column("Unit", "", 0.6),
            Column("Limits", "", 1.2),
            Column("Verdict", "", 1.0),
            Column("Method", "", 3.5, "text"),
        ),
        tuple(rows),
    )


def size_table(report: ModuleReport) -> Table:
    """One row per tile: what it is, and the sizes of the bare tile. No rows without tiles."""
    quantities = [quantity for quantity in TILE_QUANTITIES if quantity != "tile_rotation"]
    scales = _scales(quantities, [tile.sizes for tile in report.tiles])
    return Table(
        (
            *_POSITION_COLUMNS,
            Column("Bare tile", "", 2.0),
            Column("Format", "", 0.9),
            Column("Inspected", "", 1.2),
            *(Column(title_of(q), scales[q].unit, 1.6, "number") for q in quantities),
        ),
        tuple(
            (
                *_position(tile),
                Cell(tile.bare_label or "—"),
                Cell(tile.position.format_code),
                _badge(tile.inspection),
                *(_value(tile.sizes.get(q), scales[q]) for q in quantities),
            )
            for tile in report.tiles
            if any(placed.wrapped_label for placed in report.tiles)
        ),
    )


def placement_table(report: ModuleReport) -> Table:
    """One row per position: which tile lies there, and its offset. No rows without tiles."""
    scales = _scales(PLACEMENT_QUANTITIES, [tile.placement for tile in report.tiles])
    return Table(
        (
            *_POSITION_COLUMNS,
            Column("Wrapped tile", "", 2.4),
            Column("Verdict", "", 1.4),
            *(Column(title_of(q), scales[q].unit, 2.0, "number") for q in PLACEMENT_QUANTITIES),
        ),
        tuple(
            (
                *_position(tile),
                Cell(tile.wrapped_label or "no tile"),
                _badge(
                    worst(r.verdict for r in tile.placement.values()) if tile.placement else None
                ),
                *(_value(tile.placement.get(q), scales[q]) for q in PLACEMENT_QUANTITIES),
            )
            for tile in report.tiles
            if any(placed.wrapped_label for placed in report.tiles)
        ),
    )


def limits_table(report: ModuleReport) -> Table:
    """Limits that were applied, and to how many readings; sizes of tiles by their format."""
    used: Counter[_LimitUse] = Counter()
    for of_channel in report.readings.values():
        used.update(_LimitUse.of(reading, "") for reading in of_channel.values())
    for tile in report.tiles:
        used.update(_LimitUse.of(r, tile.position.format_code) for r in tile.sizes.values())
        used.update(_LimitUse.of(reading, "") for reading in tile.placement.values())
    formats: dict[_LimitUse, list[str]] = defaultdict(list)
    counts: Counter[_LimitUse] = Counter()
    for use in sorted(used, key=lambda use: use.format_code):
        anywhere = replace(use, format_code="")
        counts[anywhere] += used[use]
        if use.format_code:
            formats[anywhere].append(use.format_code)
    places = {quantity: k for k, quantity in enumerate(in_order(use.quantity for use in counts))}
    rows = []
    for use in sorted(counts, key=lambda use: (places[use.quantity], formats[use], str(use))):
        bounds = [abs(v) for v in (use.low, use.high) if v is not None]
        scale = common_scale(use.quantity, use.unit, bounds)
        codes = formats[use]
        rows.append(
            (
                Cell(title_of(use.quantity)),
                Cell(f"format{'s' * (len(codes) > 1)} {', '.join(codes)}" if codes else ""),
                Cell(limits(use.low, use.high, scale) or "none"),
                Cell(scale.unit if bounds else ""),
                Cell(str(counts[use])),
            )
        )
    return Table(
        (
            Column("Quantity", "", 2.4),
            Column("Of", "", 2.0, "text"),
            Column("Allowed", "", 1.6, "number"),
            Column("Unit", "", 1.0),
            Column("Readings", "", 0.9, "number"),
        ),
        tuple(rows),
    )


def run_table(report: ModuleReport) -> Table:
    """Every run on the module and its tileboard, in the order of their start."""
    return Table(
        (
            Column("Procedure", "", 1.3),
            Column("Started", "", 1.8),
            Column("Ending", "", 1.5),
            Column("Verdict", "", 1.0),
            Column("Operator", "", 1.4, "text"),
            Column("Recipe", "", 2.2, "text"),
            Column("Software", "", 1.0, "text"),
        ),
        tuple(
            (
                Cell(run.procedure),
                Cell(when(run.started_at)),
                Cell(ENDINGS[run.ending] if run.ending else "has not ended"),
                _badge(run.verdict),
                Cell(run.operator),
                Cell(_recipe(run)),
                Cell(run.software_version),
            )
            for run in report.runs
        ),
    )


def run_reasons(report: ModuleReport) -> list[tuple[str, Sequence[str]]]:
    """What each run on the module gave as reasons; runs without any are left out."""
    return [
        (f"{run.procedure}, {when(run.started_at)}", tuple(dict.fromkeys(run.reasons)))
        for run in report.runs
        if run.reasons
    ]


def tile_run_table(report: ModuleReport) -> Table:
    """Runs on the tiles, summed up by procedure, recipe and software."""
    groups: dict[tuple[str, str, str], list[RunRecord]] = defaultdict(list)
    for run in report.tile_runs:
        groups[(run.procedure, _recipe(run), run.software_version)].append(run)
    rows = []
    for (procedure, recipe, software), runs in groups.items():
        endings = Counter(ENDINGS[run.ending] if run.ending else "not ended" for run in runs)
        verdicts = Counter(str(run.verdict) for run in runs if run.verdict)
        rows.append(
            (
                Cell(procedure),
                Cell(f"{when(runs[0].started_at)} to {when(runs[-1].started_at)}"),
                Cell(_counted(endings)),
                Cell(_counted(verdicts)),
                Cell(", ".join(sorted({run.operator for run in runs}))),
                Cell(recipe),
                Cell(software),
            )
        )
    return Table(
        (
            Column("Procedure", "", 1.2),
            Column("Started", "", 2.2, "text"),
            Column("Endings", "", 1.2, "text"),
            Column("Verdicts", "", 1.2, "text"),
            Column("Operators", "", 1.4, "text"),
            Column("Recipe", "", 2.0, "text"),
            Column("Software", "", 0.9, "text"),
        ),
        tuple(rows),
    )


def instrument_table(report: ModuleReport) -> Table:
    """Every instrument that the runs named, each way it was named once."""
    seen: dict[tuple[str, str], list[str]] = {}
    for run in (*report.runs, *report.tile_runs):
        for role, what in run.instruments.items():
            procedures = seen.setdefault((role, _described(what)), [])
            if run.procedure not in procedures:
                procedures.append(run.procedure)
    return Table(
        (
            Column("Role", "", 1.0),
            Column("Instrument as it named itself", "", 5.5, "text"),
            Column("Used by", "", 2.0, "text"),
        ),
        tuple(
            (Cell(role), Cell(described), Cell(", ".join(procedures)))
            for (role, described), procedures in sorted(seen.items())
        ),
    )


def calibration_table(report: ModuleReport) -> Table:
    """Calibration constants by the procedures that used them."""
    seen: dict[tuple[str, str], list[str]] = {}
    for run in (*report.runs, *report.tile_runs):
        for name, value in run.calibration.items():
            procedures = seen.setdefault((name, _described(value)), [])
            if run.procedure not in procedures:
                procedures.append(run.procedure)
    return Table(
        (
            Column("Constant", "", 2.0, "text"),
            Column("Value", "", 4.5, "text"),
            Column("Used by", "", 2.0, "text"),
        ),
        tuple(
            (Cell(name), Cell(described), Cell(", ".join(procedures)))
            for (name, described), procedures in sorted(seen.items())
        ),
    )


_POSITION_COLUMNS = (Column("#", "", 0.6, "number"), Column("Place", "", 0.9))


def _position(tile: TileRecord) -> tuple[Cell, Cell]:
    return Cell(str(tile.position.index)), Cell(tile.position.name)


def _scales(
    quantities: Iterable[str], readings: Sequence[Mapping[str, Measured]]
) -> dict[str, Scale]:
    return {q: _scale(q, [found[q] for found in readings if q in found]) for q in quantities}


def _scale(quantity: str, readings: Iterable[Measured]) -> Scale:
    """The scale that suits the limits, or the values where there are none."""
    listed = list(readings)
    unit = listed[0].unit if listed else ""
    bounds = [edge for r in listed for edge in (r.low, r.high) if edge]
    return common_scale(quantity, unit, bounds or [r.value for r in listed if r.value is not None])


def _value(reading: Measured | None, scale: Scale) -> Cell:
    if reading is None:
        return Cell("—")
    if reading.value is None or reading.sigma is None:
        return Cell("unknown", reading.verdict)
    return Cell(measured(reading.value, reading.sigma, scale), reading.verdict)


def _badge(verdict: Verdict | None) -> Cell:
    return Cell(verdict or "—", verdict, is_badge=True)


def _recipe(run: RunRecord) -> str:
    return f"{run.recipe_name} {run.recipe_version} ({run.recipe_sha256[:12]})"


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counts.items()))


def _described(what: object) -> str:
    if isinstance(what, Mapping):
        return ", ".join(
            f"{key} {_described(value)}" for key, value in what.items() if value not in ("", None)
        )
    if isinstance(what, (list, tuple)):
        return ", ".join(_described(value) for value in what)
    if isinstance(what, float):
        return f"{what:.9g}"
    return str(what)
